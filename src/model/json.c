/* jansson with limits. */
#include "model/json.h"
#include <stdlib.h>
#include <string.h>

#define ERROR_URN "urn:lodge:error:"
enum { DETAIL_LIMIT = 8192 }; /* schema/common.toml, type fault */

/* jansson's parser recurses; count the nesting first, outside of strings. */
static bool is_too_deep(const char *text, size_t length) {
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < length; i++) {
        if (in_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        else if (!in_string && (text[i] == '[' || text[i] == '{') && ++depth > JSON_MAX_DEPTH)
            return true;
        else if (!in_string && (text[i] == ']' || text[i] == '}'))
            depth--;
    }
    return false;
}

json_t *json_parse(const char *text, size_t length, Error *err) {
    if (is_too_deep(text, length)) {
        error_set(err, ERROR_MALFORMED, NULL, "JSON is nested deeper than %d levels", JSON_MAX_DEPTH);
        return NULL;
    }
    json_error_t error;
    json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!json)
        error_set(err, ERROR_MALFORMED, NULL, "not JSON: line %d, column %d: %s", error.line, error.column,
            error.text);
    return json;
}

static char *dump(const json_t *json, size_t flags) {
    char *text = json_dumps(json, flags | JSON_ENCODE_ANY);
    g_assert(text);
    char *copy = g_strdup(text);
    free(text);
    return copy;
}

char *json_to_text(const json_t *json) {
    return dump(json, JSON_COMPACT);
}

char *json_to_pretty_text(const json_t *json) {
    g_autofree char *text = dump(json, JSON_INDENT(2));
    return g_strconcat(text, "\n", NULL);
}

void json_append_string(GString *text, const char *value) {
    g_string_append_c(text, '"');
    for (const char *from = value, *at = value;; at++) {
        if (*at && (guchar)*at >= ' ' && *at != '"' && *at != '\\')
            continue;
        g_string_append_len(text, from, at - from);
        if (!*at)
            break;
        if ((guchar)*at < ' ')
            g_string_append_printf(text, "\\u%04x", (unsigned)*at);
        else
            g_string_append_printf(text, "\\%c", *at);
        from = at + 1;
    }
    g_string_append_c(text, '"');
}

const json_t *json_at(const json_t *json, const char *dotted_path) {
    g_auto(GStrv) parts = g_strsplit(dotted_path, ".", -1);
    for (char **part = parts; *part && json; part++) {
        guint64 index = 0;
        if (json_is_array(json) && g_ascii_string_to_unsigned(*part, 10, 0, G_MAXINT, &index, NULL))
            json = json_array_get(json, index);
        else
            json = json_object_get(json, *part);
    }
    return json;
}

const char *json_text_at(const json_t *json, const char *dotted_path) {
    return json_string_value(json_at(json, dotted_path));
}

/* Depth is bounded: both sides went through json_parse or come from the schema. */
json_t *json_merge_patch(const json_t *target, const json_t *patch) {
    if (!json_is_object(patch))
        return json_deep_copy(patch);
    json_t *merged = json_is_object(target) ? json_copy((json_t *)target) : json_object();
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)patch, key, value) {
        if (json_is_null(value))
            json_object_del(merged, key);
        else
            json_object_set_new(merged, key, json_merge_patch(json_object_get(merged, key), value));
    }
    return merged;
}

/* What tools print may hold anything; a fault's detail is one line of limited length. */
static char *one_line(const char *text) {
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    for (char *at = valid; *at; at++)
        if (g_ascii_iscntrl(*at))
            *at = ' ';
    if (strlen(valid) > DETAIL_LIMIT)
        *g_utf8_find_prev_char(valid, valid + DETAIL_LIMIT) = '\0';
    return g_steal_pointer(&valid);
}

json_t *error_to_json(const Error *err) {
    const ErrorInfo *info = error_info(err->code);
    g_autofree char *type = g_strconcat(ERROR_URN, info->name, NULL);
    g_autofree char *detail = error_text(err);
    g_autofree char *valid = one_line(detail);
    json_t *json = json_pack("{ss ss ss si ss}", "type", type, "code", info->name, "title", info->title,
        "status", info->http_status, "detail", valid);
    if (err->field && g_utf8_validate(err->field, -1, NULL))
        json_object_set_new(json, "field", json_string(err->field));
    json_object_set_new(json, "hint", json_string(info->hint));
    return json;
}

bool json_is_problem(const json_t *json) {
    const json_t *field = json_object_get(json, "field");
    return json_is_string(json_object_get(json, "code")) && json_is_string(json_object_get(json, "detail")) &&
           (!field || json_is_string(field));
}

void error_from_json(const json_t *json, Error *err) {
    const char *code = json_string_value(json_object_get(json, "code"));
    const char *detail = json_string_value(json_object_get(json, "detail"));
    error_set(err, code ? error_code_from_name(code) : ERROR_INTERNAL,
        json_string_value(json_object_get(json, "field")), "%s", detail ? detail : "no details given");
}
