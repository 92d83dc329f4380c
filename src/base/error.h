/*
 * The one error path of Lodge. A function that can fail is `bool f(…, Error *err)`: it returns false exactly
 * when it has set *err. Codes, HTTP status, exit status, titles and hints are declared in schema/errors.toml.
 *
 * An Error lives on the caller's stack (`g_auto(Error) err = {0};`) and owns its strings. It is set where the
 * fault is found, wrapped on the way up and logged only by `main`, the job runner and the dispatcher. `err`
 * may be NULL where the caller does not care. Not thread-safe by itself; pass it between threads by value
 * (error_move).
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include "error-codes.h"

typedef struct Error Error;
struct Error {
    ErrorCode code; /* ERROR_NONE when nothing is set */
    char *field;    /* JSON pointer of the field at fault ("/disks/0/size"), or NULL */
    char *message;  /* a sentence without a full stop, for people */
    Error *cause;   /* what was found further below, or NULL; owned */
};

/* What schema/errors.toml says of a code. Static; never freed. The table is generated. */
typedef struct ErrorInfo {
    const char *name; /* "not-found" */
    int http_status;
    int exit_status;
    const char *title;
    const char *hint;
} ErrorInfo;
extern const ErrorInfo error_infos[ERROR_MAX];

const ErrorInfo *error_info(ErrorCode code);
/* The code with that name, ERROR_INTERNAL for a name that this version does not know. */
ErrorCode error_code_from_name(const char *name);

/* Both return false, so that a caller can write `return error_set(err, …);`. `field` may be NULL.
 * A second set on an Error that is already set is a programming error and aborts. */
bool error_set(Error *err, ErrorCode code, const char *field, const char *format, ...) G_GNUC_PRINTF(4, 5);
bool error_set_errno(Error *err, int errnum, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* Makes what *err holds the cause of a new error; keeps the old code when `code` is ERROR_NONE. Returns
 * false. */
bool error_wrap(Error *err, ErrorCode code, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* Puts a path in front of the field: error_prefix_field(err, "/disks/0"). Returns false. */
bool error_prefix_field(Error *err, const char *prefix);

static inline bool error_is_set(const Error *err) {
    return err->code != ERROR_NONE;
}
void error_move(Error *destination, Error *take_source); /* destination must be unset or NULL */
void error_copy(Error *destination, const Error *source);
void error_clear(Error *err);
/* "message: cause: cause", newly allocated. */
char *error_text(const Error *err);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Error, error_clear)
