/* Strict parsing of request targets. */
#include "http/http-target.h"
#include <string.h>

/* Decodes length bytes; NULL when what comes out is not clean UTF-8 text. */
static char *decode(const char *text, size_t length, bool plus_is_space) {
    g_autoptr(GString) decoded = g_string_sized_new(length);
    for (size_t i = 0; i < length; i++) {
        char byte = text[i];
        if (byte == '%') {
            if (i + 2 >= length || !g_ascii_isxdigit(text[i + 1]) || !g_ascii_isxdigit(text[i + 2]))
                return NULL;
            byte = (char)(g_ascii_xdigit_value(text[i + 1]) * 16 + g_ascii_xdigit_value(text[i + 2]));
            i += 2;
        } else if (byte == '+' && plus_is_space) {
            byte = ' ';
        }
        if ((unsigned char)byte < ' ' || byte == 0x7f)
            return NULL;
        g_string_append_c(decoded, byte);
    }
    if (!g_utf8_validate(decoded->str, (gssize)decoded->len, NULL))
        return NULL;
    return g_string_free(g_steal_pointer(&decoded), FALSE);
}

static bool parse_segment(HttpTarget *target, const char *text, size_t length, Error *err) {
    g_autofree char *segment = decode(text, length, false);
    if (!segment)
        return error_set(err, ERROR_INVALID, NULL, "the path is not clean percent-encoded UTF-8");
    if (segment[0] == '\0' || g_str_equal(segment, ".") || g_str_equal(segment, "..") || strchr(segment, '/'))
        return error_set(
            err, ERROR_INVALID, NULL, "the path has an empty segment, a dot segment or an encoded slash");
    if (target->segments->len >= HTTP_TARGET_SEGMENTS_MAX)
        return error_set(err, ERROR_INVALID, NULL, "the path has too many segments");
    g_ptr_array_add(target->segments, g_steal_pointer(&segment));
    return true;
}

static bool parse_path(HttpTarget *target, const char *text, size_t length, Error *err) {
    if (length == 0 || text[0] != '/')
        return error_set(err, ERROR_INVALID, NULL, "the path does not start with a slash");
    const char *end = text + length, *next = text + 1;
    while (length > 1) {
        const char *slash = memchr(next, '/', (size_t)(end - next));
        if (!parse_segment(target, next, (size_t)((slash ? slash : end) - next), err))
            return false;
        if (!slash)
            break;
        next = slash + 1;
    }
    g_autoptr(GString) path = g_string_new(NULL);
    for (guint i = 0; i < target->segments->len; i++)
        g_string_append_printf(path, "/%s", (const char *)g_ptr_array_index(target->segments, i));
    target->path = path->len ? g_string_free(g_steal_pointer(&path), FALSE) : g_strdup("/");
    return true;
}

static bool parse_query(HttpTarget *target, const char *text, Error *err) {
    g_auto(GStrv) pairs = g_strsplit(text, "&", HTTP_TARGET_PARAMETERS_MAX + 1);
    if (g_strv_length(pairs) > HTTP_TARGET_PARAMETERS_MAX)
        return error_set(err, ERROR_INVALID, NULL, "the query has too many parameters");
    for (char **pair = pairs; *pair; pair++) {
        if (**pair == '\0')
            continue;
        const char *equals = strchr(*pair, '=');
        const char *value = equals ? equals + 1 : "";
        char *name = decode(*pair, equals ? (size_t)(equals - *pair) : strlen(*pair), true);
        if (!name)
            return error_set(err, ERROR_INVALID, NULL, "the query is not clean percent-encoded UTF-8");
        g_ptr_array_add(target->parameter_names, name);
        char *decoded = decode(value, strlen(value), true);
        if (!decoded)
            return error_set(err, ERROR_INVALID, NULL, "the query is not clean percent-encoded UTF-8");
        g_ptr_array_add(target->parameter_values, decoded);
    }
    return true;
}

bool http_target_parse(const char *text, HttpTarget **ret_target, Error *err) {
    g_autoptr(HttpTarget) target = g_new0(HttpTarget, 1);
    target->segments = g_ptr_array_new_with_free_func(g_free);
    target->parameter_names = g_ptr_array_new_with_free_func(g_free);
    target->parameter_values = g_ptr_array_new_with_free_func(g_free);
    size_t path_length = strcspn(text, "?");
    if (!parse_path(target, text, path_length, err))
        return false;
    if (text[path_length] == '?' && !parse_query(target, text + path_length + 1, err))
        return false;
    *ret_target = g_steal_pointer(&target);
    return true;
}

void http_target_free(HttpTarget *target) {
    if (!target)
        return;
    g_free(target->path);
    g_ptr_array_unref(target->segments);
    g_ptr_array_unref(target->parameter_names);
    g_ptr_array_unref(target->parameter_values);
    g_free(target);
}

const char *http_target_parameter(const HttpTarget *target, const char *name) {
    for (guint i = 0; i < target->parameter_names->len; i++)
        if (g_str_equal(g_ptr_array_index(target->parameter_names, i), name))
            return g_ptr_array_index(target->parameter_values, i);
    return NULL;
}
