/*
 * From a request line to a method of the schema: compares the path with the templates of the generated table.
 * Pure; any thread.
 */
#pragma once
#include "http/http-target.h"
#include "model/method.h"

typedef struct Route {
    MethodId method;
    const char
        *object; /* the name or id in the path, borrowed from the target; NULL when the path has none */
} Route;

/* ERROR_NOT_FOUND: no such path. ERROR_METHOD_NOT_ALLOWED: then *ret_allowed (newly allocated, else NULL) is
 * the value of the Allow header. */
bool route_find(const char *http, const HttpTarget *target, Route *ret_route, char **ret_allowed, Error *err);
