/* Files that survive a power cut. */
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"

#define TEMPORARY_MARK ".tmp-"

enum { MAX_OPEN_WALK = 32 };

void fd_close(int *fd) {
    int saved = errno;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved;
}

bool fd_write_all(int fd, const void *data, size_t length, Error *err) {
    const char *next = data;
    while (length > 0) {
        ssize_t n = write(fd, next, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, errno, "writing");
        next += n;
        length -= (size_t)n;
    }
    return true;
}

static bool write_synced(const char *path, const void *data, size_t length, mode_t mode, Error *err) {
    fd_auto int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return error_set_errno(err, errno, "creating %s", path);
    if (!fd_write_all(fd, data, length, err))
        return error_wrap(err, ERROR_NONE, "cannot write %s", path);
    if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
        return error_set_errno(err, errno, "saving %s", path);
    return true;
}

bool file_replace(const char *path, const void *data, size_t length, mode_t mode, Error *err) {
    g_autofree char *folder = g_path_get_dirname(path);
    g_autofree char *temporary =
        g_strdup_printf("%s" TEMPORARY_MARK "%d-%08x", path, (int)getpid(), g_random_int());
    if (!write_synced(temporary, data, length, mode, err)) {
        unlink(temporary);
        return false;
    }
    if (rename(temporary, path) < 0) {
        int saved = errno;
        unlink(temporary);
        return error_set_errno(err, saved, "replacing %s", path);
    }
    return folder_sync(folder, err);
}

static bool is_old_file(const char *path, int64_t age_s) {
    struct stat status;
    return lstat(path, &status) == 0 && !S_ISDIR(status.st_mode) &&
           (age_s == 0 || status.st_mtim.tv_sec + age_s < clock_realtime_ns(clock_system()) / NS_PER_S);
}

static void sweep_temporaries(const char *folder, const char *beginning, int64_t age_s) {
    GDir *names = g_dir_open(folder, 0, NULL);
    if (!names)
        return;
    for (const char *name; (name = g_dir_read_name(names));) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        if (g_str_has_prefix(name, beginning) && strstr(name, TEMPORARY_MARK) && is_old_file(path, age_s))
            unlink(path);
    }
    g_dir_close(names);
}

void file_replace_sweep(const char *folder, int64_t age_s) {
    sweep_temporaries(folder, "", age_s);
    GDir *names = g_dir_open(folder, 0, NULL);
    if (!names)
        return;
    for (const char *name; (name = g_dir_read_name(names));) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        if (!g_file_test(path, G_FILE_TEST_IS_SYMLINK) && g_file_test(path, G_FILE_TEST_IS_DIR))
            sweep_temporaries(path, "", age_s);
    }
    g_dir_close(names);
}

void file_replace_sweep_one(const char *path) {
    g_autofree char *folder = g_path_get_dirname(path), *name = g_path_get_basename(path);
    g_autofree char *beginning = g_strconcat(name, TEMPORARY_MARK, NULL);
    sweep_temporaries(folder, beginning, 0);
}

static bool is_touched_since(const char *path, int64_t since_s) {
    struct stat status;
    return lstat(path, &status) == 0 && status.st_mtim.tv_sec >= since_s;
}

bool folder_is_touched_within(const char *path, int64_t age_s) {
    int64_t since_s = clock_realtime_ns(clock_system()) / NS_PER_S - age_s;
    bool is_touched = age_s > 0 && is_touched_since(path, since_s);
    GDir *names = age_s > 0 ? g_dir_open(path, 0, NULL) : NULL;
    for (const char *name; names && !is_touched && (name = g_dir_read_name(names));) {
        g_autofree char *inner = g_build_filename(path, name, NULL);
        is_touched = is_touched_since(inner, since_s);
    }
    g_clear_pointer(&names, g_dir_close);
    return is_touched;
}

bool file_read(const char *path, size_t limit, char **ret_data, size_t *ret_length, Error *err) {
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_set_errno(err, errno, "opening %s", path);
    struct stat status;
    if (fstat(fd, &status) < 0)
        return error_set_errno(err, errno, "reading %s", path);
    if (!S_ISREG(status.st_mode))
        return error_set(err, ERROR_IO, NULL, "%s is not a regular file", path);
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    char block[16384];
    for (;;) {
        ssize_t n = read(fd, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, errno, "reading %s", path);
        if (n == 0)
            break;
        if (bytes->len + (size_t)n > limit)
            return error_set(err, ERROR_TOO_LARGE, NULL, "%s is larger than %zu bytes", path, limit);
        g_byte_array_append(bytes, (const guint8 *)block, (guint)n);
    }
    if (ret_length)
        *ret_length = bytes->len;
    g_byte_array_append(bytes, (const guint8 *)"", 1);
    *ret_data = (char *)g_byte_array_free(g_steal_pointer(&bytes), FALSE);
    return true;
}

bool folder_make(const char *path, mode_t mode, Error *err) {
    if (g_mkdir_with_parents(path, (int)mode) < 0)
        return error_set_errno(err, errno, "making the folder %s", path);
    return true;
}

bool folder_sync(const char *path, Error *err) {
    fd_auto int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return error_set_errno(err, errno, "saving the folder %s", path);
    return true;
}

static int remove_entry(const char *path, const struct stat *status G_GNUC_UNUSED, int type G_GNUC_UNUSED,
    struct FTW *walk G_GNUC_UNUSED) {
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

bool tree_remove(const char *path, Error *err) {
    if (nftw(path, remove_entry, MAX_OPEN_WALK, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 && errno != ENOENT)
        return error_set_errno(err, errno, "removing %s", path);
    return true;
}
