/*
 * What a module's file says of itself: the section .modinfo of an ELF file, plain or packed (gz, xz, zstd).
 * Any thread.
 */
#pragma once
#include <stddef.h>
#include "base/error.h"

/* The section's entries, "firmware=iwlwifi-7260-17.ucode", NULL-terminated, newly allocated (g_strfreev); at
 * most 4,096. ERROR_CORRUPT for what is no ELF file of this machine's kind. Without the section: none. */
bool module_file_entries(const void *data, size_t length, char ***ret_entries, Error *err);
/* The same of a file. ERROR_TOO_LARGE beyond 64 MiB unpacked. */
bool module_file_read(const char *path, char ***ret_entries, Error *err);
/* Whether /lib/firmware below `root` has it, packed or not, in the places where kernel `release` looks (see
 * its Documentation/driver-api/firmware). Patterns (`*`) match any. */
bool firmware_exists(const char *root, const char *release, const char *name);
