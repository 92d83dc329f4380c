/* JSON values as YAML in block style. */
#include <string.h>
#include "cli/yaml.h"

static bool is_plain_string(const char *text) {
    static const char *const words[] = {
        "true", "false", "null", "yes", "no", "on", "off", "y", "n", "~", NULL};
    if (!*text || !g_ascii_isalpha(*text))
        return false;
    g_autofree char *lower = g_ascii_strdown(text, -1);
    if (g_strv_contains(words, lower) || strstr(text, ": ") || strstr(text, " #"))
        return false;
    size_t length = strlen(text);
    for (const char *at = text; *at; at++)
        if (!g_ascii_isprint(*at) || strchr("\"\\{}[]`", *at))
            return false;
    return text[length - 1] != ' ' && text[length - 1] != ':';
}

static void append_scalar(GString *out, const json_t *value) {
    if (json_is_string(value) && is_plain_string(json_string_value(value))) {
        g_string_append(out, json_string_value(value));
        return;
    }
    g_autofree char *text = json_to_text(value); /* JSON's scalars are YAML's */
    g_string_append(out, text);
}

static bool is_block(const json_t *value) {
    return json_object_size(value) > 0 || json_array_size(value) > 0;
}

static void append_blanks(GString *out, int n) {
    g_string_append_printf(out, "%*s", n, "");
}

static void append_block(GString *out, const json_t *value, int indent, bool is_begun);

static void append_object(GString *out, const json_t *object, int indent, bool is_begun) {
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)object, key, value) {
        if (!is_begun)
            append_blanks(out, indent);
        is_begun = false;
        g_autoptr(json_t) name = json_string(key);
        append_scalar(out, name);
        g_string_append_c(out, ':');
        g_string_append_c(out, is_block(value) ? '\n' : ' ');
        append_block(out, value, indent + 2, !is_block(value));
    }
}

/* `is_begun`: the indentation of the first line is there already. */
static void append_block(GString *out, const json_t *value, int indent, bool is_begun) {
    if (!is_block(value)) {
        append_scalar(out, value);
        g_string_append_c(out, '\n');
        return;
    }
    if (json_is_object(value)) {
        append_object(out, value, indent, is_begun);
        return;
    }
    size_t i;
    json_t *item;
    json_array_foreach ((json_t *)value, i, item) {
        if (!is_begun)
            append_blanks(out, indent);
        is_begun = false;
        g_string_append(out, "- ");
        append_block(out, item, indent + 2, true);
    }
}

void yaml_append(GString *out, const json_t *value) {
    append_block(out, value, 0, false);
}
