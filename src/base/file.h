/*
 * File descriptors and files. All functions block: call them from `main` at start-up or from a worker pool.
 * Any thread.
 */
#pragma once
#include <stddef.h>
#include <sys/types.h>
#include "base/error.h"

/* `fd_auto int fd = -1;` is closed at the end of its scope. */
static inline int fd_steal(int *fd) {
    int value = *fd;
    *fd = -1;
    return value;
}
void fd_close(int *fd); /* accepts -1; sets it to -1; keeps errno */
#define fd_auto __attribute__((cleanup(fd_close)))

/* Writes all of it, through short writes and EINTR. */
bool fd_write_all(int fd, const void *data, size_t length, Error *err);

/* Replaces `path` so that after a power cut it holds the old or the new bytes, never a mixture: temporary
 * file in the same folder, fsync, rename, fsync of the folder. */
bool file_replace(const char *path, const void *data, size_t length, mode_t mode, Error *err);
/* Removes what a process that died in file_replace() left in the folder and in the folders in it, when it is
 * at least `age_s` seconds old. 0: only while nobody else replaces files there. */
void file_replace_sweep(const char *folder, int64_t age_s);
/* The same of one file: what lies beside it stays. */
void file_replace_sweep_one(const char *path);
/* Reads a regular file of at most `limit` bytes (ERROR_TOO_LARGE beyond); the text is followed by a NUL that
 * *ret_length (may be NULL) does not count. ERROR_NOT_FOUND when it does not exist. */
bool file_read(const char *path, size_t limit, char **ret_data, size_t *ret_length, Error *err);
/* Makes the folder and its parents; an existing folder is no error (its mode stays). */
bool folder_make(const char *path, mode_t mode, Error *err);
/* Whether it, or what lies in it, was changed in the last `age_s` seconds; never when that is 0. */
bool folder_is_touched_within(const char *path, int64_t age_s);
bool folder_sync(const char *path, Error *err);
/* Removes a tree without following symbolic links or leaving its file system. A missing one is no error. */
bool tree_remove(const char *path, Error *err);
