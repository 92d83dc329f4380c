/*
 * Fetches one URL into one open file, to be run in a jail: what it says on standard output is all that comes
 * out of it. Blocks; one thread.
 *
 * Lines: `progress DONE TOTAL` (bytes; TOTAL 0 while it is not known), `validator TEXT` (names the version
 * that is being fetched, to be given when it goes on), and last `done` or `error CODE TEXT`.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef struct FetchSpec {
    const char *url;
    const char *validator; /* of what lies in the file already; NULL: it begins anew */
    int fd;                /* of a regular file */
    uint64_t limit_bytes;
    bool allows_own; /* this machine's own addresses */
} FetchSpec;

/* False after an `error` line. */
bool fetch(const FetchSpec *spec);
