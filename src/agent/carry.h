/*
 * Files on their way to another host, over a socket that leads there: the source sends each one's pieces that
 * hold anything, the target writes them and says when all of it is durable. Blocks; any thread.
 *
 * Each frame: a byte that tells its kind, three that are 0, the length of what follows (4 bytes), an offset
 * (8); numbers are big endian.
 */
#pragma once
#include <stdint.h>
#include "base/cancel.h"
#include "image/progress.h"
#include "model/json.h"

/* What several files of one move have in common, in the source. */
typedef struct Carrying {
    int fd; /* non-blocking */
    const Cancel *cancel;
    const ImageProgress *progress;
    uint64_t bandwidth;      /* bytes a second; 0: as fast as it goes */
    uint64_t total, carried; /* bytes that files occupy; carried so far */
    int64_t began_ns;        /* when `paced` bytes ago its pace was begun */
    uint64_t paced;
} Carrying;

/* Bytes that the file occupies; 0 when it is not there. */
uint64_t carry_weight(const char *path);
/* Returns once it is durable there. ERROR_LOST: the way to the other host broke, or nothing moved on it for a
 * minute; the target's own error when it could not write. */
bool carry_send(Carrying *carrying, const char *name, const char *path, Error *err);

/* Where a file of that name belongs; newly allocated, NULL: it is not expected. */
typedef char *(*CarryPathFn)(const char *name, void *data);
/* Until the other side ends it. What was there of a file is overwritten. The source is told of a failure. */
bool carry_receive(int fd, CarryPathFn path_of, void *data, Error *err);
