/* Formats of strings: one predicate each, and the table that names them. */
#include "model/format.h"
#include <string.h>
#include "model/subnet.h"

enum {
    UUID_LENGTH = 36,
    MAC_LENGTH = 17,
    NAME_MAX_LENGTH = 63,
    INTERFACE_MAX_LENGTH = 15,
    MODULE_MAX_LENGTH = 64
};
#define BASE64 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="

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
        if (i % 3 == 2 ? text[i] != ':' : !g_ascii_isxdigit(text[i]))
            return false;
    return g_ascii_xdigit_value(text[1]) % 2 == 0; /* unicast */
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

static bool is_mac_range(const char *text) {
    g_autofree char *first = g_strconcat(text, ":00:00:00", NULL);
    return is_mac(first) && g_ascii_xdigit_value(text[1]) & 2; /* locally administered (IEEE 802) */
}

/* "ssh-ed25519 AAAA… me@here" */
static bool is_ssh_key(const char *text) {
    static const char *const kinds[] = {"ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"};
    bool is_kind = false;
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
        is_kind |= g_str_has_prefix(text, kinds[i]);
    size_t kind = strcspn(text, " ");
    size_t key = is_kind && text[kind] ? strspn(text + kind + 1, BASE64) : 0;
    const char *rest = text + kind + 1 + key;
    return key > 0 && (!*rest || *rest == ' ') && is_line(text);
}

/* A network, not an address in it. */
static bool is_subnet(const char *text) {
    Subnet subnet;
    if (!subnet_from_text(text, &subnet) || !subnet_is_private(&subnet))
        return false;
    g_autofree char *first = subnet_address_text(subnet.first);
    return g_str_has_prefix(text, first);
}

/* IFNAMSIZ and dev_valid_name() of Linux. */
static bool is_interface(const char *text) {
    size_t length = strlen(text);
    for (const char *c = text; *c; c++)
        if (!g_ascii_isgraph(*c) || strchr("/:'\"<>&%", *c))
            return false;
    return length >= 1 && length <= INTERFACE_MAX_LENGTH && strcmp(text, ".") != 0 && strcmp(text, "..") != 0;
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

static bool is_name_pattern(const char *text) {
    const char *mark = strstr(text, "{n}");
    if (!mark)
        return is_object_name(text);
    g_autofree char *name = g_strdup_printf("%.*s1%s", (int)(mark - text), text, mark + strlen("{n}"));
    return is_object_name(name);
}

static bool is_tag(const char *text) {
    size_t length = strlen(text);
    for (const char *c = text; *c; c++)
        if (!g_ascii_isalnum(*c) && !strchr("-_.:/=", *c))
            return false;
    return length >= 1 && length <= NAME_MAX_LENGTH;
}

/* MODULE_NAME_LEN of Linux is 56 with the terminating zero on 64-bit machines; older ones had a little more.
 */
bool is_module_name(const char *text) {
    size_t length = strlen(text);
    for (const char *c = text; *c; c++)
        if (!g_ascii_isalnum(*c) && *c != '-' && *c != '_')
            return false;
    return length >= 1 && length <= MODULE_MAX_LENGTH && text[0] != '-';
}

/* Of xkeyboard-config (rules/base.lst), those that are the layout of a country or a language. */
static const char *const layouts[] = {"af", "al", "am", "ara", "at", "az", "ba", "bd", "be", "bg", "br", "by",
    "ca", "ch", "cn", "cz", "de", "dk", "ee", "epo", "es", "fi", "fo", "fr", "gb", "ge", "gr", "hr", "hu",
    "ie", "il", "in", "iq", "ir", "is", "it", "jp", "kg", "kh", "kr", "kz", "la", "latam", "lk", "lt", "lv",
    "ma", "md", "me", "mk", "mm", "mn", "mt", "nl", "no", "np", "pk", "pl", "pt", "ro", "rs", "ru", "se",
    "si", "sk", "sy", "th", "tj", "tm", "tr", "tw", "ua", "us", "uz", "vn", "za", NULL};

/* "de", "de(nodeadkeys)" */
static bool is_keymap(const char *text) {
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz");
    g_autofree char *layout = g_strndup(text, length);
    const char *variant = text + length;
    size_t letters = *variant ? strspn(variant + 1, "abcdefghijklmnopqrstuvwxyz0123456789_-") : 0;
    bool has_variant = *variant == '(' && letters > 0 && strcmp(variant + 1 + letters, ")") == 0;
    return (!*variant || has_variant) && g_strv_contains(layouts, layout);
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
    [FORMAT_NAME_PATTERN] = {is_name_pattern,
        "must be 1 to 63 letters, digits, hyphens or dots, beginning and ending with a letter or digit; {n} "
        "stands for a number"},
    [FORMAT_TAG] = {is_tag, "must be 1 to 63 letters, digits or any of -_.:/="},
    [FORMAT_PATH] = {is_path, "must be an absolute path without . and .."},
    [FORMAT_UUID] = {is_uuid, "must be a UUID in lower case"},
    [FORMAT_MAC] = {is_mac, "must be a unicast MAC such as 52:54:00:12:34:56"},
    [FORMAT_MAC_RANGE] = {is_mac_range,
        "must be the first three bytes of locally administered unicast MACs such as 52:54:00 or 02:0a:1b"},
    [FORMAT_SSH_KEY] = {is_ssh_key, "must be one line of an OpenSSH public key file (id_ed25519.pub, say)"},
    [FORMAT_SUBNET] = {is_subnet,
        "must be a private IPv4 network such as 192.168.77.0/24, its prefix between 8 and 29"},
    [FORMAT_INTERFACE] = {is_interface, "must be the name of a network interface, 1 to 15 characters"},
    [FORMAT_MODULE] = {is_module_name,
        "must be the name of a kernel module: 1 to 64 letters, digits, - or _"},
    [FORMAT_KEYMAP] = {is_keymap,
        "must be the layout of a keyboard as XKB names it, with a variant or without: de, gb, "
        "de(nodeadkeys)"},
    [FORMAT_REFERENCE] = {is_reference, "must be the name or the id of an object"},
};

/* What is written in several ways and kept in one. */
char *model_normal_string(const FieldDescriptor *field, const char *value) {
    bool ignores_case = field->format == FORMAT_MAC || field->format == FORMAT_MAC_RANGE;
    if (field->format == FORMAT_MODULE)
        return g_strdelimit(g_strdup(value), "-", '_');
    return ignores_case ? g_ascii_strdown(value, -1) : g_strdup(value);
}

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
