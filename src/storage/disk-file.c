/* Disk files: FICLONE, sparse copies, qcow2 overlays. */
#include "storage/disk-file.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/process.h"

enum { COPY_STEP = 64 << 20, BLOCK = 64 << 10, QEMU_IMG_TIMEOUT_MS = 120 * 1000 };

static const char *ending_of(DiskFormat format) {
    return format == DISK_FORMAT_QCOW2 ? "qcow2" : "raw";
}

/* The file while it is not complete. */
static char *part_path(const char *path) {
    return g_strdup_printf("%s.part", path);
}

static bool part_finish(const char *part, const char *path, Error *err) {
    fd_auto int fd = open(part, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fchmod(fd, 0600) < 0 || fsync(fd) < 0)
        return error_set_errno(err, errno, "saving %s", part);
    if (rename(part, path) < 0)
        return error_set_errno(err, errno, "naming %s", path);
    g_autofree char *folder = g_path_get_dirname(path);
    return folder_sync(folder, err);
}

static bool qemu_img_run(const char *const *argv, const Cancel *cancel, Error *err) {
    const ProcessSpec spec = {.argv = argv, .timeout_ms = QEMU_IMG_TIMEOUT_MS, .cancel = cancel};
    return process_run(&spec, NULL, err);
}

static int part_open(const char *part, Error *err) {
    int fd = open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        error_set_errno(err, errno, "making %s", part);
    return fd;
}

static bool make_raw(const char *part, uint64_t size_bytes, Error *err) {
    fd_auto int fd = part_open(part, err);
    if (fd < 0)
        return false;
    if (ftruncate(fd, (off_t)size_bytes) < 0)
        return error_set_errno(err, errno, "sizing %s", part);
    return true;
}

static bool make_qcow2(const char *part, uint64_t size_bytes, const Cancel *cancel, Error *err) {
    g_autofree char *size = g_strdup_printf("%" PRIu64, size_bytes);
    const char *const argv[] = {"qemu-img", "create", "-q", "-f", "qcow2", part, size, NULL};
    return qemu_img_run(argv, cancel, err);
}

bool disk_file_make_empty(
    const char *path, DiskFormat format, uint64_t size_bytes, const Cancel *cancel, Error *err) {
    g_autofree char *part = part_path(path);
    unlink(part);
    bool is_made = format == DISK_FORMAT_QCOW2 ? make_qcow2(part, size_bytes, cancel, err)
                                               : make_raw(part, size_bytes, err);
    if (is_made && part_finish(part, path, err))
        return true;
    unlink(part);
    return false;
}

static bool make_reflink(const DiskSource *source, const char *part, Error *err) {
    fd_auto int from = open(source->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (from < 0)
        return error_set_errno(err, errno, "opening %s", source->path);
    fd_auto int to = part_open(part, err);
    if (to < 0)
        return false;
    if (ioctl(to, FICLONE, from) < 0)
        return error_set(err, ERROR_UNSUPPORTED, NULL, "this file system cannot share blocks between files");
    return true;
}

static bool make_overlay(
    const DiskSource *source, const char *part, uint64_t size_bytes, const Cancel *cancel, Error *err) {
    if (!source->can_back)
        return error_set(
            err, ERROR_UNSUPPORTED, NULL, "an overlay needs a template's disk in the same repository");
    g_autofree char *size = g_strdup_printf("%" PRIu64, size_bytes);
    /* Relative: the repository may move. */
    g_autofree char *backing = g_path_get_basename(source->path);
    const char *const argv[] = {"qemu-img", "create", "-q", "-f", "qcow2", "-F", ending_of(source->format),
        "-b", backing, part, size, NULL};
    return qemu_img_run(argv, cancel, err);
}

static bool is_zero(const char *data, size_t length) {
    return length == 0 || (data[0] == 0 && memcmp(data, data + 1, length - 1) == 0);
}

static bool write_at(int to, const char *data, size_t length, off_t position, Error *err) {
    while (length > 0) {
        ssize_t n = pwrite(to, data, length, position);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, errno, "copying a disk");
        data += n;
        length -= (size_t)n;
        position += n;
    }
    return true;
}

/* For two file systems, and for those that cannot copy by themselves. Zeros stay a hole of the new file. */
static bool copy_by_hand(int from, int to, off_t start, off_t end, const Cancel *cancel, Error *err) {
    g_autofree char *block = g_malloc(BLOCK);
    for (off_t position = start; position < end;) {
        if (!cancel_check(cancel, err))
            return false;
        ssize_t n = pread(from, block, (size_t)MIN(end - position, (off_t)BLOCK), position);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, errno, "copying a disk");
        if (n == 0)
            return error_set(err, ERROR_IO, NULL, "the disk that is copied became shorter");
        if (!is_zero(block, (size_t)n) && !write_at(to, block, (size_t)n, position, err))
            return false;
        position += n;
    }
    return true;
}

/* copy_file_range(2): EXDEV between file systems, others from such as cannot do it. */
static bool is_left_to_us(int errnum) {
    return errnum == EXDEV || errnum == ENOSYS || errnum == EOPNOTSUPP || errnum == EINVAL;
}

static bool copy_extent(int from, int to, off_t start, off_t end, const Cancel *cancel, Error *err) {
    off_t read_at = start, write_at = start;
    while (read_at < end) {
        if (!cancel_check(cancel, err))
            return false;
        size_t step = (size_t)MIN(end - read_at, (off_t)COPY_STEP);
        ssize_t n = copy_file_range(from, &read_at, to, &write_at, step, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && is_left_to_us(errno))
            return copy_by_hand(from, to, read_at, end, cancel, err);
        if (n < 0)
            return error_set_errno(err, errno, "copying a disk");
        if (n == 0)
            return error_set(err, ERROR_IO, NULL, "the disk that is copied became shorter");
    }
    return true;
}

/* Only what holds data is copied. */
static bool make_copy(const DiskSource *source, const char *part, const Cancel *cancel, Error *err) {
    fd_auto int from = open(source->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat status;
    if (from < 0 || fstat(from, &status) < 0)
        return error_set_errno(err, errno, "opening %s", source->path);
    fd_auto int to = part_open(part, err);
    if (to < 0)
        return false;
    if (ftruncate(to, status.st_size) < 0)
        return error_set_errno(err, errno, "sizing %s", part);
    for (off_t position = 0;;) {
        off_t start = lseek(from, position, SEEK_DATA);
        if (start < 0 && errno == ENXIO)
            return true;
        off_t end = start < 0 ? -1 : lseek(from, start, SEEK_HOLE);
        if (end < 0)
            return error_set_errno(err, errno, "reading %s", source->path);
        if (!copy_extent(from, to, start, end, cancel, err))
            return false;
        position = end;
    }
}

static bool grow(const char *path, DiskFormat format, uint64_t size_bytes, const Cancel *cancel, Error *err) {
    if (format == DISK_FORMAT_RAW) {
        if (truncate(path, (off_t)size_bytes) < 0)
            return error_set_errno(err, errno, "growing %s", path);
        return true;
    }
    g_autofree char *size = g_strdup_printf("%" PRIu64, size_bytes);
    const char *const argv[] = {"qemu-img", "resize", "-q", "-f", "qcow2", path, size, NULL};
    return qemu_img_run(argv, cancel, err);
}

/* What the guest sees; 0 when it cannot be read. qcow2: eight bytes at offset 24, big endian (QEMU's
 * docs/interop/ qcow2.txt); a running QEMU, which holds the lock that qemu-img wants, keeps them true. */
static uint64_t size_now(const char *path, DiskFormat format) {
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat status;
    uint64_t size = 0;
    if (fd < 0 || fstat(fd, &status) < 0)
        return 0;
    if (format == DISK_FORMAT_RAW)
        return (uint64_t)status.st_size;
    return pread(fd, &size, sizeof size, 24) == (ssize_t)sizeof size ? GUINT64_FROM_BE(size) : 0;
}

bool disk_file_grow(
    const char *path, DiskFormat format, uint64_t size_bytes, const Cancel *cancel, Error *err) {
    return size_now(path, format) >= size_bytes || grow(path, format, size_bytes, cancel, err);
}

static bool make_clone(const DiskSource *source, const char *part, uint64_t size_bytes, CloneMethod method,
    const Cancel *cancel, Error *err) {
    if (method == CLONE_METHOD_OVERLAY)
        return make_overlay(source, part, size_bytes, cancel, err);
    bool is_made = method == CLONE_METHOD_REFLINK ? make_reflink(source, part, err)
                                                  : make_copy(source, part, cancel, err);
    if (is_made && size_bytes > source->size_bytes)
        return grow(part, source->format, size_bytes, cancel, err);
    return is_made;
}

static bool try_clone(const DiskSource *source, const char *stem, uint64_t size_bytes, CloneMethod method,
    const Cancel *cancel, DiskFormat *ret_format, CloneMethod *ret_method, Error *err) {
    DiskFormat format = method == CLONE_METHOD_OVERLAY ? DISK_FORMAT_QCOW2 : source->format;
    g_autofree char *path = g_strdup_printf("%s.%s", stem, ending_of(format));
    g_autofree char *part = part_path(path);
    unlink(part);
    if (!make_clone(source, part, size_bytes, method, cancel, err) || !part_finish(part, path, err)) {
        unlink(part);
        return false;
    }
    *ret_format = format;
    *ret_method = method;
    return true;
}

bool disk_file_clone(const DiskSource *source, const char *stem, uint64_t size_bytes, CloneMethod method,
    const DiskFormat *wanted_format, const Cancel *cancel, DiskFormat *ret_format, CloneMethod *ret_method,
    Error *err) {
    bool keeps_format = !wanted_format || *wanted_format == source->format;
    bool may_overlay = source->can_back && (!wanted_format || *wanted_format == DISK_FORMAT_QCOW2);
    if (method != CLONE_METHOD_AUTO) {
        bool fits = method == CLONE_METHOD_OVERLAY ? !wanted_format || *wanted_format == DISK_FORMAT_QCOW2
                                                   : keeps_format;
        if (!fits)
            return error_set(err, ERROR_UNSUPPORTED, "/format", "this clone method cannot change the layout");
        return try_clone(source, stem, size_bytes, method, cancel, ret_format, ret_method, err);
    }
    g_auto(Error) refusal = {0};
    if (keeps_format &&
        try_clone(source, stem, size_bytes, CLONE_METHOD_REFLINK, cancel, ret_format, ret_method, &refusal))
        return true;
    if (error_is_set(&refusal) && refusal.code != ERROR_UNSUPPORTED) {
        error_move(err, &refusal);
        return false;
    }
    if (!may_overlay && !keeps_format)
        return error_set(err, ERROR_UNSUPPORTED, "/format", "the disk cannot be cloned into that layout");
    CloneMethod other = may_overlay ? CLONE_METHOD_OVERLAY : CLONE_METHOD_FULL;
    return try_clone(source, stem, size_bytes, other, cancel, ret_format, ret_method, err);
}

bool folder_can_reflink(const char *folder) {
    fd_auto int a = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    fd_auto int b = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    char block[4096] = {1};
    return a >= 0 && b >= 0 && fd_write_all(a, block, sizeof block, NULL) && ioctl(b, FICLONE, a) == 0;
}
