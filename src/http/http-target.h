/*
 * The target of a request ("/v1/vms/web-1?limit=5"), parsed strictly. Plain data, no library; any thread.
 *
 * Each segment of the path is percent-decoded by itself. Refused: NUL and control characters, bad UTF-8, an
 * encoded slash, empty segments (so also a trailing slash; "/" alone has no segment), "." and "..". In the
 * query "+" is a space.
 */
#pragma once
#include <stddef.h>
#include "base/error.h"

enum { HTTP_TARGET_SEGMENTS_MAX = 32, HTTP_TARGET_PARAMETERS_MAX = 64 };

typedef struct HttpTarget HttpTarget;
struct HttpTarget {
    char *path;                  /* decoded, "/" between the segments; never NULL */
    GPtrArray *segments;         /* of char *, decoded */
    GPtrArray *parameter_names;  /* of char *, decoded, in their order; names may repeat */
    GPtrArray *parameter_values; /* of char *, as many as names */
};

/* ERROR_INVALID with a reason. */
bool http_target_parse(const char *text, HttpTarget **ret_target, Error *err);
void http_target_free(HttpTarget *target); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HttpTarget, http_target_free)

/* The first parameter of that name, or NULL. */
const char *http_target_parameter(const HttpTarget *target, const char *name);
