/*
 * One process at a time uses a store: flock on "<path>.lock". (Not on the file itself: SQLite's own POSIX
 * locks there would be lost with any other descriptor of it that is closed.) The file stays.
 */
#pragma once
#include "base/file.h"

/* *ret_fd holds the lock until it is closed. ERROR_IN_USE. */
bool lock_take(const char *path, int *ret_fd, Error *err);
