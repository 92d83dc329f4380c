/* Error <-> JSON, without recursion. */
#include "rpc/rpc-error.h"
#include <jansson.h>

static json_t *one_to_json(const Error *error) {
    json_t *json = json_object();
    json_object_set_new(json, "code", json_string(error_info(error->code)->name));
    if (error->field && g_utf8_validate(error->field, -1, NULL))
        json_object_set_new(json, "field", json_string(error->field));
    /* A message may quote a file name or a tool, which need not be UTF-8. */
    g_autofree char *message = g_utf8_make_valid(error->message ? error->message : "", -1);
    json_object_set_new(json, "message", json_string(message));
    return json;
}

json_t *rpc_error_to_json(const Error *error) {
    json_t *json = one_to_json(error);
    json_t *last = json;
    int n = 0;
    for (const Error *cause = error->cause; cause && n < RPC_MAX_CAUSES; cause = cause->cause, n++) {
        json_t *next = one_to_json(cause);
        json_object_set_new(last, "cause", next);
        last = next;
    }
    return json;
}

static bool is_error_object(const json_t *json) {
    const json_t *field = json_object_get(json, "field");
    return json_is_string(json_object_get(json, "code")) &&
           json_is_string(json_object_get(json, "message")) && (!field || json_is_string(field));
}

bool rpc_error_from_json(const json_t *json, Error *ret_error, Error *err) {
    int n = 0;
    if (!json)
        return error_set(err, ERROR_PROTOCOL, NULL, "the peer's error is missing");
    for (const json_t *level = json; level; level = json_object_get(level, "cause"))
        if (++n > RPC_MAX_CAUSES + 1 || !is_error_object(level))
            return error_set(err, ERROR_PROTOCOL, NULL, "the peer's error is malformed");
    Error *to = ret_error;
    for (const json_t *level = json; level; level = json_object_get(level, "cause")) {
        if (level != json)
            to = to->cause = g_new0(Error, 1);
        to->code = error_code_from_name(json_string_value(json_object_get(level, "code")));
        to->field = g_strdup(json_string_value(json_object_get(level, "field")));
        to->message = g_strdup(json_string_value(json_object_get(level, "message")));
    }
    return true;
}
