/*
 * SHA-256 of a file, the only checksum that people are asked for. Blocks; any thread.
 */
#pragma once
#include <stdint.h>
#include "base/cancel.h"
#include "image/progress.h"

/* From the descriptor's position to the end. *ret_sha256 is 64 small hexadecimal digits, newly allocated.
 * `size_bytes` serves the progress (NULL: nobody asks). */
bool file_hash(int fd, uint64_t size_bytes, const ImageProgress *progress, const Cancel *cancel,
    char **ret_sha256, Error *err);
