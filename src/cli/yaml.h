/*
 * JSON values as YAML 1.2, in block style. Strings that YAML could read as anything else are quoted. Any
 * thread.
 */
#pragma once
#include "model/json.h"

/* Appends the value with a newline at its end. Depth is bounded by JSON_MAX_DEPTH, with which the value was
 * parsed. */
void yaml_append(GString *out, const json_t *value);
