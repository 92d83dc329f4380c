/* The trash, kept within bounds: oldest first, each entry whole. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "storage/definition.h"
#include "storage/dir.h"

/* What was thrown away a moment ago may still be on its way in. */
static const int64_t never_before_ns = 3600 * NS_PER_S;

typedef struct Entry {
    char *path;
    int64_t time_ns; /* when something was last thrown into it */
    uint64_t occupied_bytes;
} Entry;

static void entry_free(void *data) {
    Entry *entry = data;
    g_free(entry->path);
    g_free(entry);
}

static uint64_t occupied_by(const char *path) {
    struct stat status;
    return lstat(path, &status) < 0 ? 0 : (uint64_t)status.st_blocks * 512;
}

/* An entry holds disks and a VM's folder, which holds files: two levels. */
static uint64_t occupied_below(const char *path) {
    uint64_t sum = 0;
    g_autoptr(GPtrArray) names = NULL;
    if (!folder_list(path, &names, NULL))
        return 0;
    for (guint i = 0; i < names->len; i++) {
        g_autofree char *inner = g_build_filename(path, names->pdata[i], NULL);
        g_autoptr(GPtrArray) files = NULL;
        sum += occupied_by(inner);
        if (!folder_list(inner, &files, NULL))
            continue;
        for (guint k = 0; k < files->len; k++) {
            g_autofree char *file = g_build_filename(inner, files->pdata[k], NULL);
            sum += occupied_by(file);
        }
    }
    return sum;
}

static int compare_age(const void *a, const void *b) {
    const Entry *left = *(Entry *const *)a, *right = *(Entry *const *)b;
    return left->time_ns < right->time_ns ? -1 : left->time_ns > right->time_ns;
}

static GPtrArray *entries_of(const Repository *repository, uint64_t *ret_bytes, Error *err) {
    g_autofree char *trash = g_build_filename(repository->path, "trash", NULL);
    g_autoptr(GPtrArray) names = NULL;
    if (!folder_list(trash, &names, err))
        return NULL;
    GPtrArray *entries = g_ptr_array_new_with_free_func(entry_free);
    *ret_bytes = 0;
    for (guint i = 0; i < names->len; i++) {
        g_autofree char *path = g_build_filename(trash, names->pdata[i], NULL);
        struct stat status;
        if (lstat(path, &status) < 0)
            continue;
        Entry *entry = g_new0(Entry, 1);
        entry->time_ns = status.st_mtim.tv_sec * NS_PER_S + status.st_mtim.tv_nsec;
        entry->occupied_bytes = occupied_below(path);
        entry->path = g_steal_pointer(&path);
        *ret_bytes += entry->occupied_bytes;
        g_ptr_array_add(entries, entry);
    }
    g_ptr_array_sort(entries, compare_age);
    return entries;
}

bool dir_trash_bound(
    const Repository *repository, int64_t oldest_ns, uint64_t most_bytes, int64_t now_ns, Error *err) {
    uint64_t bytes = 0;
    if (!dir_check(repository, err))
        return false;
    g_autoptr(GPtrArray) entries = entries_of(repository, &bytes, err);
    for (guint i = 0; entries && i < entries->len; i++) {
        const Entry *entry = entries->pdata[i];
        int64_t age_ns = now_ns - entry->time_ns;
        bool is_due = age_ns > oldest_ns || bytes > most_bytes;
        if (!is_due || age_ns < never_before_ns)
            break;
        log_info("%s is removed for good: the trash keeps %s", entry->path,
            age_ns > oldest_ns ? "nothing so old" : "not so much");
        if (!tree_remove(entry->path, err))
            return false;
        bytes -= entry->occupied_bytes;
    }
    return entries != NULL;
}
