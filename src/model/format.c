/* Formats of strings: one predicate each, and the table that names them. */
#include "model/format.h"
#include <string.h>

enum { UUID_LENGTH = 36, MAC_LENGTH = 17, NAME_MAX_LENGTH = 63 };

static bool is_lower_hex(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

bool is_uuid(const char *text) {
    if (strlen(text) != UUID_LENGTH)
        return false;
    for (int i = 0; i < UUID_LENGTH; i++) {
        bool is_hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        if (is_hyphen ? text[i] != '-' : !is_lower_hex(text[i]))
            return false;
    }
    return true;
}

bool is_mac(const char *text) {
    if (strlen(text) != MAC_LENGTH)
        return false;
    for (int i = 0; i < MAC_LENGTH; i++)
        if (i % 3 == 2 ? text[i] != ':' : !is_lower_hex(text[i]))
            return false;
    return g_ascii_xdigit_value(text[1]) % 2 == 0; /* unicast */
}

bool is_object_name(const char *text) {
    size_t length = strlen(text);
    if (length < 1 || length > NAME_MAX_LENGTH)
        return false;
    for (const char *c = text; *c; c++)
        if (!g_ascii_isalnum(*c) && *c != '-' && *c != '.')
            return false;
    return g_ascii_isalnum(text[0]) && g_ascii_isalnum(text[length - 1]);
}

static bool is_tag(const char *text) {
    size_t length = strlen(text);
    for (const char *c = text; *c; c++)
        if (!g_ascii_isalnum(*c) && !strchr("-_.:/=", *c))
            return false;
    return length >= 1 && length <= NAME_MAX_LENGTH;
}

static bool has_controls(const char *text, const char *allowed) {
    for (const char *c = text; *c; c++)
        if (((unsigned char)*c < ' ' || *c == 127) && !strchr(allowed, *c))
            return true;
    return false;
}

static bool is_line(const char *text) {
    return !has_controls(text, "");
}

static bool is_text(const char *text) {
    return !has_controls(text, "\n\r\t");
}

static bool is_path(const char *text) {
    if (text[0] != '/' || !is_line(text))
        return false;
    g_auto(GStrv) parts = g_strsplit(text, "/", -1);
    for (char **part = parts; *part; part++)
        if (g_str_equal(*part, "..") || g_str_equal(*part, "."))
            return false;
    return true;
}

static bool is_reference(const char *text) {
    return is_uuid(text) || is_object_name(text);
}

static const struct {
    bool (*is_valid)(const char *text);
    const char *what;
} formats[] = {
    [FORMAT_LINE] = {is_line, "must not contain control characters"},
    [FORMAT_TEXT] = {is_text, "must not contain control characters other than line breaks and tabs"},
    [FORMAT_NAME] = {is_object_name,
        "must be 1 to 63 letters, digits, hyphens or dots, beginning and ending with a letter or digit"},
    [FORMAT_TAG] = {is_tag, "must be 1 to 63 letters, digits or any of -_.:/="},
    [FORMAT_PATH] = {is_path, "must be an absolute path without . and .."},
    [FORMAT_UUID] = {is_uuid, "must be a UUID in lower case"},
    [FORMAT_MAC] = {is_mac, "must be a unicast MAC such as 52:54:00:12:34:56, in lower case"},
    [FORMAT_REFERENCE] = {is_reference, "must be the name or the id of an object"},
};

bool model_check_string(const FieldDescriptor *field, const char *value, Error *err) {
    g_autofree char *pointer = g_strconcat("/", field->name, NULL);
    size_t length = strlen(value);
    if (length > (uint64_t)field->maximum)
        return error_set(err, ERROR_INVALID, pointer,
            "%s: must have at most %" G_GINT64_FORMAT " bytes, has %zu", field->name, field->maximum, length);
    if (!formats[field->format].is_valid(value))
        return error_set(err, ERROR_INVALID, pointer, "%s: %s", field->name, formats[field->format].what);
    return true;
}

char *uuid_new(void) {
    return g_uuid_string_random();
}
