/* Back ends as Xen's docs/misc/xenstore-paths.pandoc has them: .../backend/vbd|qdisk/DOMAIN/DEVICE/params. */
#include "hypervisor/xen/preflight.h"
#include <string.h>
#include <sys/stat.h>
#include "hypervisor/xen/store.h"

#define BACKENDS "/local/domain/0/backend"

enum { OVERHEAD_BASE = 16 << 20, OVERHEAD_SHARE = 64 };

/* What Xen needs beside a guest's memory: page tables and, at most, a screen. */
static bool check_memory(virConnect *connection, const HypervisorVm *vm, VmMode mode, Error *err) {
    unsigned long long free_bytes = virNodeGetFreeMemory(connection);
    uint64_t memory = mode == VM_MODE_PV ? vm->vm->memory : domain_memory_maximum(vm->vm);
    uint64_t needed = memory + memory / OVERHEAD_SHARE + OVERHEAD_BASE;
    g_autofree char *needed_text = g_format_size_full(needed, G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *free_text = g_format_size_full(free_bytes, G_FORMAT_SIZE_IEC_UNITS);
    return !free_bytes || free_bytes >= needed ||
           error_set(err, ERROR_NO_CAPACITY, "/memory", "it needs %s of memory, the host has %s left",
               needed_text, free_text);
}

static bool is_same_file(const char *one, const char *other) {
    struct stat a, b;
    return !strcmp(one, other) ||
           (stat(one, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino);
}

bool xen_params_are(const char *params, const char *path) {
    const char *colon = strchr(params, ':');
    return is_same_file(params, path) || (colon && *params != '/' && is_same_file(colon + 1, path));
}

static char *read_text(XenStore *store, const char *folder, const char *name) {
    g_autofree char *path = g_strdup_printf("%s/%s", folder, name);
    return xen_store_text(store, path);
}

/* Calls `visit` for each entry of a folder until it says stop (false). */
typedef bool (*VisitFn)(XenStore *store, const char *path, void *data);
static bool each_entry(XenStore *store, const char *folder, VisitFn visit, void *data) {
    g_auto(GStrv) names = xen_store_names(store, folder);
    bool goes_on = true;
    for (char **name = names; goes_on && *name; name++) {
        g_autofree char *path = g_strdup_printf("%s/%s", folder, *name);
        goes_on = visit(store, path, data);
    }
    return goes_on;
}

typedef struct Search {
    const HypervisorVm *vm;
    Error *err;
} Search;

static bool visit_device(XenStore *store, const char *path, void *data) {
    const Search *search = data;
    g_autofree char *params = read_text(store, path, "params"), *mode = read_text(store, path, "mode");
    for (size_t i = 0; params && i < search->vm->n_disks; i++) {
        const HypervisorDisk *disk = &search->vm->disks[i];
        bool is_shared = disk->disk->kind == DISK_KIND_CD && g_strcmp0(mode, "r") == 0;
        if (!disk->path || is_shared || !xen_params_are(params, disk->path))
            continue;
        g_auto(GStrv) parts = g_strsplit(path + strlen(BACKENDS "/"), "/", 3);
        g_autofree char *folder = g_strdup_printf("/local/domain/%s", parts[1]);
        g_autofree char *name = read_text(store, folder, "name");
        if (name) /* else what a domain left that is gone */
            return error_set(search->err, ERROR_IN_USE, "/disks", "the disk %s is open in the domain %s",
                disk->disk->name ? disk->disk->name : disk->path, name);
    }
    return true;
}

static bool visit_domain(XenStore *store, const char *path, void *data) {
    return each_entry(store, path, visit_device, data);
}

static bool check_disks(const HypervisorVm *vm, Error *err) {
    static const char *const kinds[] = {BACKENDS "/vbd", BACKENDS "/qdisk"};
    g_autoptr(XenStore) store = vm->n_disks ? xen_store_open() : NULL;
    Search search = {vm, err};
    bool is_free = true;
    for (size_t i = 0; store && is_free && i < G_N_ELEMENTS(kinds); i++)
        is_free = each_entry(store, kinds[i], visit_domain, &search);
    return is_free;
}

bool xen_preflight(virConnect *connection, const HypervisorVm *vm, VmMode mode, Error *err) {
    return check_memory(connection, vm, mode, err) && check_disks(vm, err);
}
