/* Errors with a code, a field, a message and a chain of causes. */
#include "base/error.h"
#include <errno.h>
#include <string.h>

const ErrorInfo *error_info(ErrorCode code) {
    g_assert(code < ERROR_MAX);
    return &error_infos[code];
}

ErrorCode error_code_from_name(const char *name) {
    for (ErrorCode code = ERROR_NONE + 1; code < ERROR_MAX; code++)
        if (g_str_equal(error_infos[code].name, name))
            return code;
    return ERROR_INTERNAL;
}

static ErrorCode code_from_errno(int errnum) {
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return ERROR_NO_SPACE;
    case ENOENT:
        return ERROR_NOT_FOUND;
    case EEXIST:
        return ERROR_EXISTS;
    case EACCES:
    case EPERM:
        return ERROR_DENIED;
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EPIPE:
        return ERROR_UNREACHABLE;
    case ETIMEDOUT:
        return ERROR_TIMED_OUT;
    default:
        return ERROR_IO;
    }
}

bool error_set(Error *err, ErrorCode code, const char *field, const char *format, ...) {
    g_assert(code > ERROR_NONE && code < ERROR_MAX);
    if (!err)
        return false;
    g_assert(!error_is_set(err));
    va_list arguments;
    va_start(arguments, format);
    err->message = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    err->code = code;
    err->field = g_strdup(field);
    return false;
}

bool error_set_errno(Error *err, int errnum, const char *format, ...) {
    if (!err)
        return false;
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *what = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    return error_set(err, code_from_errno(errnum), NULL, "%s: %s", what, g_strerror(errnum));
}

bool error_wrap(Error *err, ErrorCode code, const char *format, ...) {
    if (!err)
        return false;
    g_assert(error_is_set(err));
    Error *cause = g_new0(Error, 1);
    error_move(cause, err);
    va_list arguments;
    va_start(arguments, format);
    err->message = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    err->code = code == ERROR_NONE ? cause->code : code;
    err->field = g_strdup(cause->field);
    err->cause = cause;
    return false;
}

bool error_prefix_field(Error *err, const char *prefix) {
    if (!err)
        return false;
    char *field = g_strconcat(prefix, err->field, NULL);
    g_free(err->field);
    err->field = field;
    return false;
}

void error_move(Error *destination, Error *take_source) {
    if (!destination) {
        error_clear(take_source);
        return;
    }
    g_assert(!error_is_set(destination));
    *destination = *take_source;
    memset(take_source, 0, sizeof *take_source);
}

void error_copy(Error *destination, const Error *source) {
    memset(destination, 0, sizeof *destination);
    Error *to = destination;
    for (const Error *from = source; from; from = from->cause) {
        to->code = from->code;
        to->field = g_strdup(from->field);
        to->message = g_strdup(from->message);
        if (from->cause) {
            to->cause = g_new0(Error, 1);
            to = to->cause;
        }
    }
}

void error_clear(Error *err) {
    Error *cause = err->cause;
    g_free(err->field);
    g_free(err->message);
    memset(err, 0, sizeof *err);
    while (cause) {
        Error *next = cause->cause;
        g_free(cause->field);
        g_free(cause->message);
        g_free(cause);
        cause = next;
    }
}

char *error_text(const Error *err) {
    GString *text = g_string_new(err->message);
    for (const Error *cause = err->cause; cause; cause = cause->cause)
        g_string_append_printf(text, ": %s", cause->message);
    return g_string_free(text, FALSE);
}
