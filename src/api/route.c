/* Paths are few and short: every template is compared, literal segments win over {id}. */
#include "api/route.h"
#include <string.h>

enum { NO_MATCH = -1 };

/* How many segments match literally, or NO_MATCH. *ret_object is the segment at {id}. */
static int match(const char *path, const GPtrArray *segments, const char **ret_object) {
    int literal = 0;
    guint i = 0;
    for (const char *at = path; *at == '/'; i++) {
        const char *start = at + 1, *end = strchrnul(start, '/');
        size_t length = (size_t)(end - start);
        if (i >= segments->len)
            return NO_MATCH;
        const char *segment = g_ptr_array_index(segments, i);
        if (length == strlen("{id}") && strncmp(start, "{id}", length) == 0)
            *ret_object = segment;
        else if (strlen(segment) == length && strncmp(start, segment, length) == 0)
            literal++;
        else
            return NO_MATCH;
        at = end;
    }
    return i == segments->len ? literal : NO_MATCH;
}

static void allow(GString *allowed, const char *http) {
    if (strstr(allowed->str, http))
        return;
    g_string_append_printf(allowed, "%s%s", allowed->len ? ", " : "", http);
}

bool route_find(
    const char *http, const HttpTarget *target, Route *ret_route, char **ret_allowed, Error *err) {
    g_autoptr(GString) allowed = g_string_new(NULL);
    Route best = {.method = METHOD_MAX};
    int best_literal = NO_MATCH;
    *ret_allowed = NULL;
    for (MethodId id = 0; id < METHOD_MAX; id++) {
        const char *object = NULL;
        int literal = match(methods[id].path, target->segments, &object);
        if (literal == NO_MATCH)
            continue;
        allow(allowed, methods[id].http);
        if (!g_str_equal(methods[id].http, http) || literal <= best_literal)
            continue;
        best = (Route){.method = id, .object = object};
        best_literal = literal;
    }
    if (best.method != METHOD_MAX) {
        *ret_route = best;
        return true;
    }
    if (!allowed->len)
        return error_set(err, ERROR_NOT_FOUND, NULL, "there is nothing at %s", target->path);
    *ret_allowed = g_strdup(allowed->str);
    return error_set(err, ERROR_METHOD_NOT_ALLOWED, NULL, "%s allows %s", target->path, allowed->str);
}
