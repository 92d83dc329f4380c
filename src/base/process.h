/*
 * Running other programs: a strict argument vector, never a shell. Blocking, for worker pools. Any thread.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/cancel.h"

/* Called in the calling thread for every complete line of standard output and error (without its newline). */
typedef void (*ProcessLineFn)(const char *line, void *data);

typedef struct ProcessSpec {
    const char *const *argv; /* NULL-terminated; argv[0] is searched in PATH */
    const char *const
        *environment;       /* NULL-terminated "NAME=value", or NULL for a minimal one (PATH, LANG=C.UTF-8) */
    const char *stdin_data; /* NUL-terminated, or NULL for /dev/null */
    const char *folder;     /* working folder, or NULL for / */
    int64_t timeout_ms;     /* 0: none; then the whole process group is killed */
    size_t output_limit;    /* what is kept of standard output; beyond it ERROR_TOO_LARGE. 0: 64 KiB */
    const Cancel *cancel;   /* may be NULL; then the whole process group is killed */
    ProcessLineFn on_line;  /* may be NULL */
    void *on_line_data;
    const int *keep_fds; /* these keep their number in the child; all others are closed */
    size_t n_keep_fds;
} ProcessSpec;

/* Runs it to its end. ERROR_TOOL_FAILED with the last lines of standard error when it ends with another
 * status than 0 or by a signal; ERROR_TIMED_OUT, ERROR_CANCELLED. *ret_output (may be NULL) is standard
 * output, NUL-terminated. */
bool process_run(const ProcessSpec *spec, char **ret_output, Error *err);
