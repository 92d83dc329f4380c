/*
 * Disks of adopted VMs: files and block devices outside of a repository. They are used where they are and
 * never made, moved or removed. The format is what the definition says, never a guess. Blocks; any thread.
 */
#pragma once
#include "types.h"

typedef struct OutsideDisk {
    uint64_t size_bytes; /* as the guest sees it */
    bool is_device;
    bool is_whole; /* its content lies in no other file */
} OutsideDisk;

/* That it is a regular file or a block device, and that nobody but the agent's user can make the path lead
 * elsewhere; links of that user's are followed (dir-trust.h). ERROR_NOT_FOUND, ERROR_INVALID without field.
 */
bool outside_disk_check(const char *path, Error *err);
/* The same, and what it is. ERROR_CORRUPT when it does not begin as its format does. */
bool outside_disk_look(const char *path, DiskFormat format, OutsideDisk *ret_disk, Error *err);
/* ERROR_UNSUPPORTED unless its bytes can be copied as one file: no device, and no layer above another. */
bool outside_disk_check_copy(const char *path, DiskFormat format, Error *err);
