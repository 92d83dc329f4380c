/* Files that may be packed (gz, xz, zstd). Blocks; any thread. */
#pragma once
#include <stddef.h>
#include "base/error.h"

/* All of it, unpacked; by its content, not by its name. ERROR_TOO_LARGE beyond `limit` bytes. The data is
 * followed by a NUL that *ret_length does not count. */
bool packed_file_read(const char *path, size_t limit, char **ret_data, size_t *ret_length, Error *err);
