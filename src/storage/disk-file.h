/*
 * Making disk files: empty ones, clones, growing. Private to src/storage. A file appears under its name only
 * when it is complete. Blocks; any thread.
 */
#pragma once
#include "base/cancel.h"
#include "types.h"

typedef struct DiskSource {
    char *path;
    DiskFormat format;
    uint64_t size_bytes; /* as the guest sees it */
    bool can_back;       /* never changes and lies in the same folder: overlays are allowed */
} DiskSource;

/* Removes what stands at `path` and makes an empty disk, sparse. */
bool disk_file_make_empty(
    const char *path, DiskFormat format, uint64_t size_bytes, const Cancel *cancel, Error *err);

/* Removes what stands at the destination and makes a disk with the source's content and `size_bytes` (not
 * smaller). `wanted_format` is NULL where the repository may choose; *ret_format and *ret_method tell what
 * was done. The destination is `stem` and the format's ending. ERROR_UNSUPPORTED for a method that cannot
 * work here. */
bool disk_file_clone(const DiskSource *source, const char *stem, uint64_t size_bytes, CloneMethod method,
    const DiskFormat *wanted_format, const Cancel *cancel, DiskFormat *ret_format, CloneMethod *ret_method,
    Error *err);

/* One that is large enough already is success, also while a hypervisor has it open. */
bool disk_file_grow(
    const char *path, DiskFormat format, uint64_t size_bytes, const Cancel *cancel, Error *err);

/* Whether files in that folder can share blocks; tries it. */
bool folder_can_reflink(const char *folder);
