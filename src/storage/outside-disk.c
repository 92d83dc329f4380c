/* Looked at without following what somebody else could change, and by the first bytes of a qcow2 only. */
#include "storage/outside-disk.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "storage/dir-trust.h"

/* QEMU's docs/interop/qcow2.txt: numbers are big endian. */
enum {
    HEADER_BYTES = 104,
    AT_VERSION = 4,
    AT_BACKING = 8,
    AT_SIZE = 24,
    AT_INCOMPATIBLE = 72,
    HAS_DATA_FILE = 1 << 2,
    MAX_LINKS = 8
};
static const char magic[] = {'Q', 'F', 'I', (char)0xfb};

static bool folder_is_trusted(const char *path, Error *err) {
    g_autofree char *folder = g_path_get_dirname(path);
    fd_auto int fd = -1;
    if (trusted_folder_open(folder, false, &fd, err))
        return true;
    if (err)
        g_clear_pointer(&err->field, g_free); /* it is no repository's */
    return false;
}

/* Where a link in a folder that only root can change leads to; NULL with an error. */
static char *target_of(const char *path, Error *err) {
    char target[PATH_MAX] = "";
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n < 0) {
        error_set_errno(err, errno, "following %s", path);
        return NULL;
    }
    g_autofree char *folder = g_path_get_dirname(path);
    return g_path_is_absolute(target) ? g_strdup(target) : g_build_filename(folder, target, NULL);
}

static bool check_link_owner(const struct stat *status, const char *path, Error *err) {
    return status->st_uid == 0 || status->st_uid == geteuid() ||
           error_set(err, ERROR_INVALID, NULL,
               "%s is a symbolic link of the user %u, who could lead the agent to any file", path,
               status->st_uid);
}

/* *ret_path is where the links end. */
static bool settle(const char *path, char **ret_path, struct stat *ret_status, Error *err) {
    g_autofree char *now = g_strdup(path);
    for (int i = 0; i < MAX_LINKS; i++) {
        if (!g_path_is_absolute(now))
            return error_set(err, ERROR_INVALID, NULL, "%s is no absolute path", now);
        if (!folder_is_trusted(now, err))
            return false;
        if (lstat(now, ret_status) < 0)
            return errno == ENOENT ? error_set(err, ERROR_NOT_FOUND, NULL, "%s does not exist", now)
                                   : error_set_errno(err, errno, "looking at %s", now);
        if (!S_ISLNK(ret_status->st_mode)) {
            *ret_path = g_steal_pointer(&now);
            return true;
        }
        char *next = check_link_owner(ret_status, now, err) ? target_of(now, err) : NULL;
        if (!next)
            return false;
        g_free(now);
        now = next;
    }
    return error_set_errno(err, ELOOP, "following %s", path);
}

static bool settle_disk(const char *path, char **ret_path, struct stat *ret_status, Error *err) {
    return settle(path, ret_path, ret_status, err) &&
           (S_ISREG(ret_status->st_mode) || S_ISBLK(ret_status->st_mode) ||
               error_set(err, ERROR_INVALID, NULL, "%s is neither a file nor a block device", path));
}

bool outside_disk_check(const char *path, Error *err) {
    g_autofree char *real = NULL;
    struct stat status;
    return settle_disk(path, &real, &status, err);
}

static uint64_t number_at(const char *header, size_t offset) {
    uint64_t number = 0;
    memcpy(&number, header + offset, sizeof number);
    return GUINT64_FROM_BE(number);
}

static bool look_into_qcow2(int fd, const char *path, OutsideDisk *disk, Error *err) {
    char header[HEADER_BYTES] = {0};
    uint32_t version = 0;
    ssize_t n = pread(fd, header, sizeof header, 0);
    if (n < AT_INCOMPATIBLE || memcmp(header, magic, sizeof magic) != 0)
        return error_set(err, ERROR_CORRUPT, NULL, "%s does not begin as a qcow2 does", path);
    memcpy(&version, header + AT_VERSION, sizeof version);
    bool has_features = GUINT32_FROM_BE(version) >= 3 && n == HEADER_BYTES;
    bool has_data_file = has_features && (number_at(header, AT_INCOMPATIBLE) & HAS_DATA_FILE);
    disk->size_bytes = number_at(header, AT_SIZE);
    disk->is_whole = number_at(header, AT_BACKING) == 0 && !has_data_file;
    return true;
}

bool outside_disk_look(const char *path, DiskFormat format, OutsideDisk *ret_disk, Error *err) {
    g_autofree char *real = NULL;
    struct stat status;
    *ret_disk = (OutsideDisk){.is_whole = true};
    if (!settle_disk(path, &real, &status, err))
        return false;
    fd_auto int fd = open(real, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return error_set_errno(err, errno, "opening %s", real);
    ret_disk->is_device = S_ISBLK(status.st_mode);
    if (format == DISK_FORMAT_QCOW2)
        return look_into_qcow2(fd, path, ret_disk, err);
    ret_disk->size_bytes = (uint64_t)status.st_size;
    return !ret_disk->is_device || ioctl(fd, BLKGETSIZE64, &ret_disk->size_bytes) == 0 ||
           error_set_errno(err, errno, "asking for the size of %s", path);
}

bool outside_disk_check_copy(const char *path, DiskFormat format, Error *err) {
    OutsideDisk disk;
    if (!outside_disk_look(path, format, &disk, err))
        return false;
    if (disk.is_device)
        return error_set(err, ERROR_UNSUPPORTED, NULL,
            "%s is a block device outside of the repository, which is not copied yet", path);
    return disk.is_whole || error_set(err, ERROR_UNSUPPORTED, NULL,
                                "%s lies outside of the repository and on another file, which is not copied "
                                "yet: make one of both (qemu-img rebase)",
                                path);
}
