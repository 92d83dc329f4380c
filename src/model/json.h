/*
 * JSON through jansson: parsing with limits on all that foreign text can make us allocate, and a few
 * conveniences. The only place outside src/rpc that includes jansson.h. Any thread; a json_t belongs to one
 * thread at a time.
 */
#pragma once
#include <jansson.h>
#include "base/error.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_t, json_decref)

enum { JSON_MAX_DEPTH = 64 };

/* Parses UTF-8 text of any JSON value. Refuses duplicate keys, and nesting deeper than JSON_MAX_DEPTH before
 * parsing. NULL and ERROR_MALFORMED with line and column. */
json_t *json_parse(const char *text, size_t length, Error *err);
/* Compact text, keys in insertion order, newly allocated. */
char *json_to_text(const json_t *json);
/* For people and for files: indented, with a newline at the end. */
char *json_to_pretty_text(const json_t *json);

/* Appends the value as a JSON string; it is UTF-8. */
void json_append_string(GString *text, const char *value);

/* The value at a path such as "status.addresses.0.address", borrowed, or NULL. */
const json_t *json_at(const json_t *json, const char *dotted_path);
/* The string there, borrowed, or NULL when it is no string. */
const char *json_text_at(const json_t *json, const char *dotted_path);

/* RFC 7396: a new value that is `target` changed by `patch`. Both are left as they are. */
json_t *json_merge_patch(const json_t *target, const json_t *patch);

/*
 * Error <-> RFC 9457 problem:
 * {"type":"urn:lodge:error:CODE","code","title","status","detail","field"?,"hint"}. The one form of an error
 * outside of a process: REST, jobs, the journal, the agent protocol. `detail` is the whole text with all
 * causes; read back they are one message. A code that this version does not know becomes ERROR_INTERNAL.
 */
json_t *error_to_json(const Error *err);
/* Always sets *err: what is no problem (NULL is none) becomes ERROR_INTERNAL without details. */
void error_from_json(const json_t *json, Error *err);
bool json_is_problem(const json_t *json);
