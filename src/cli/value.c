/* Values as people write and read them. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"
#include "cli/value.h"

enum { INPUT_LIMIT = 1 << 20 };

static const char units[] = "KMGTPE";

/* The power of 1024 that a unit names, or -1. */
static int unit_power(const char *unit) {
    if (!*unit || g_ascii_strcasecmp(unit, "B") == 0)
        return 0;
    const char *found = strchr(units, g_ascii_toupper(*unit));
    if (!found)
        return -1;
    const char *rest = unit + 1;
    if (*rest && g_ascii_strcasecmp(rest, "iB") != 0 && g_ascii_strcasecmp(rest, "B") != 0 &&
        strcmp(rest, "i") != 0)
        return -1;
    return (int)(found - units) + 1;
}

bool value_parse_size(const char *text, uint64_t *ret_bytes, Error *err) {
    if (!g_ascii_isdigit(*text))
        return error_set(err, ERROR_INVALID, NULL, "\"%s\" is not a size such as 512M or 2G", text);
    size_t n = strspn(text, "0123456789.");
    const char *unit = text + n + (text[n] == ' ');
    g_autofree char *digits = g_strndup(text, n);
    char *end = NULL;
    int power = unit_power(unit);
    if (power < 0 || n > 20)
        return error_set(err, ERROR_INVALID, NULL, "\"%s\" is not a size such as 512M or 2G", text);
    if (!strchr(digits, '.')) {
        uint64_t number = g_ascii_strtoull(digits, &end, 10);
        if (number > (uint64_t)MODEL_SIZE_MAX >> (10 * power))
            return error_set(err, ERROR_INVALID, NULL, "\"%s\" is too large", text);
        *ret_bytes = number << (10 * power);
        return true;
    }
    double number = g_ascii_strtod(digits, &end);
    if (*end || power == 0)
        return error_set(err, ERROR_INVALID, NULL, "\"%s\" is not a size such as 512M or 2G", text);
    number *= (double)(UINT64_C(1) << (10 * power));
    if (number > (double)MODEL_SIZE_MAX)
        return error_set(err, ERROR_INVALID, NULL, "\"%s\" is too large", text);
    *ret_bytes = (uint64_t)number;
    return true;
}

char *value_size_text(uint64_t bytes) {
    int power = 0;
    while (power < 6 && bytes >> (10 * (power + 1)))
        power++;
    if (power == 0)
        return g_strdup_printf("%" G_GUINT64_FORMAT " B", bytes);
    double number = (double)bytes / (double)(UINT64_C(1) << (10 * power));
    char text[G_ASCII_DTOSTR_BUF_SIZE];
    g_ascii_formatd(text, sizeof text, "%.1f", number);
    if (g_str_has_suffix(text, ".0"))
        text[strlen(text) - 2] = 0;
    return g_strdup_printf("%s %ciB", text, units[power - 1]);
}

static json_t *parse_integer(const char *text, Error *err) {
    gint64 number = 0;
    if (!g_ascii_string_to_signed(text, 10, G_MININT64, G_MAXINT64, &number, NULL)) {
        error_set(err, ERROR_INVALID, NULL, "\"%s\" is not a whole number", text);
        return NULL;
    }
    return json_integer(number);
}

static json_t *parse_bool(const char *text, Error *err) {
    static const char *const yes[] = {"true", "yes", "on", "1", NULL}, *const no[] = {
                                                                           "false", "no", "off", "0", NULL};
    if (g_strv_contains(yes, text))
        return json_true();
    if (g_strv_contains(no, text))
        return json_false();
    error_set(err, ERROR_INVALID, NULL, "\"%s\" is neither yes nor no", text);
    return NULL;
}

static json_t *parse_enum(const EnumDescriptor *enumeration, const char *text, Error *err) {
    if (model_enum_value(enumeration, text) >= 0)
        return json_string(text);
    g_autoptr(GString) all = g_string_new(NULL);
    for (size_t i = 0; i < enumeration->n_values; i++)
        g_string_append_printf(all, "%s%s", i ? ", " : "", enumeration->values[i].name);
    error_set(err, ERROR_INVALID, NULL, "\"%s\" is none of %s", text, all->str);
    return NULL;
}

static json_t *parse_json(const char *text, Error *err) {
    g_autofree char *content = NULL;
    size_t length = strlen(text);
    if (*text == '@' && !value_read_input(text + 1, INPUT_LIMIT, &content, &length, err))
        return NULL;
    return json_parse(content ? content : text, length, err);
}

/* "size=10G,bus=virtio": fields of the object, by their names. Its own objects and lists need JSON. */
static json_t *parse_pairs(const TypeDescriptor *type, const char *text, Error *err) {
    g_autoptr(json_t) object = json_object();
    g_auto(GStrv) pairs = g_strsplit(text, ",", -1);
    for (char **pair = pairs; *pair; pair++) {
        char *equals = strchr(*pair, '=');
        if (!equals) {
            error_set(err, ERROR_INVALID, NULL, "\"%s\" is not FIELD=VALUE,… nor JSON", *pair);
            return NULL;
        }
        *equals = 0;
        g_strdelimit(*pair, "-", '_');
        const FieldDescriptor *field = model_field(type, *pair);
        if (!field || field->is_list || field->kind == FIELD_OBJECT) {
            error_set(err, ERROR_INVALID, NULL, "there is no field %s that takes one value", *pair);
            return NULL;
        }
        json_t *value = value_from_text(field, equals + 1, err);
        if (!value) {
            error_wrap(err, ERROR_NONE, "%s", field->name);
            return NULL;
        }
        json_object_set_new(object, field->name, value);
    }
    return g_steal_pointer(&object);
}

/* The flag names the field already: of "mac: must be …" only the second half is kept. */
static bool check_string(const FieldDescriptor *field, const char *text, Error *err) {
    g_auto(Error) fault = {0};
    if (model_check_string(field, text, &fault))
        return true;
    g_autofree char *named = g_strconcat(field->name, ": ", NULL);
    size_t skipped = g_str_has_prefix(fault.message, named) ? strlen(named) : 0;
    return error_set(err, fault.code, NULL, "%s", fault.message + skipped);
}

static json_t *parse_string(const FieldDescriptor *field, const char *written, Error *err) {
    g_autofree char *text = field->format == FORMAT_MAC ? g_ascii_strdown(written, -1) : g_strdup(written);
    if (!g_utf8_validate(text, -1, NULL)) {
        error_set(err, ERROR_INVALID, NULL, "is not UTF-8");
        return NULL;
    }
    return check_string(field, text, err) ? json_string(text) : NULL;
}

static json_t *parse_size(const FieldDescriptor *field, const char *text, Error *err) {
    uint64_t bytes = 0;
    if (!value_parse_size(text, &bytes, err))
        return NULL;
    if (field->minimum > 0 && bytes < (uint64_t)field->minimum) {
        g_autofree char *least = value_size_text((uint64_t)field->minimum), *own = value_size_text(bytes);
        error_set(err, ERROR_INVALID, NULL, "must be at least %s, not %s", least, own);
        return NULL;
    }
    return json_integer((json_int_t)bytes);
}

/* "12h", "30d", "2w": from now on. */
static bool parse_duration(const char *text, int64_t *ret_s) {
    static const struct {
        const char *unit;
        int64_t seconds;
    } spans[] = {{"h", 3600}, {"d", 86400}, {"w", 7 * 86400}};
    size_t n = strspn(text, "0123456789");
    g_autofree char *digits = g_strndup(text, n);
    guint64 number = 0;
    if (!g_ascii_string_to_unsigned(digits, 10, 1, 99999, &number, NULL))
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(spans); i++)
        if (g_str_equal(text + n, spans[i].unit)) {
            *ret_s = (int64_t)number * spans[i].seconds;
            return true;
        }
    return false;
}

/* RFC 3339, a date (where it begins here), or a time from now. */
static json_t *parse_time(const char *text, Error *err) {
    int64_t time_ns = 0, time_s = 0, span_s = 0;
    if (time_from_text(text, &time_ns))
        return json_string(text);
    g_autoptr(GTimeZone) here = g_time_zone_new_local();
    g_autofree char *midnight = g_strconcat(text, "T00:00:00", NULL);
    bool is_date = strlen(text) == strlen("2030-01-31") && text[4] == '-';
    g_autoptr(GDateTime) date = is_date ? g_date_time_new_from_iso8601(midnight, here) : NULL;
    if (date)
        time_s = g_date_time_to_unix(date);
    else if (parse_duration(text, &span_s))
        time_s = clock_realtime_ns(clock_system()) / NS_PER_S + span_s;
    if (time_s > 0 && time_s < INT64_MAX / NS_PER_S) {
        g_autofree char *time = time_to_text(time_s * NS_PER_S);
        return json_string(time);
    }
    error_set(err, ERROR_INVALID, NULL,
        "\"%s\" is not a time such as 2030-01-31, 2030-01-31T12:00:00Z, 12h, 30d or 2w", text);
    return NULL;
}

json_t *value_from_text(const FieldDescriptor *field, const char *text, Error *err) {
    switch (field->kind) {
    case FIELD_BOOL:
        return parse_bool(text, err);
    case FIELD_INT:
        return parse_integer(text, err);
    case FIELD_SIZE:
        return parse_size(field, text, err);
    case FIELD_ENUM:
        return parse_enum(field->enumeration, text, err);
    case FIELD_TIME:
        return parse_time(text, err);
    case FIELD_OBJECT:
        return *text == '{' || *text == '@' ? parse_json(text, err) : parse_pairs(field->type, text, err);
    case FIELD_JSON:
        return parse_json(text, err);
    case FIELD_STRING:
        break;
    }
    return parse_string(field, text, err);
}

bool value_read_input(const char *path, size_t limit, char **ret_text, size_t *ret_length, Error *err) {
    bool is_stdin = g_str_equal(path, "-");
    fd_auto int fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, ERROR_LOCAL_FILE, NULL, "cannot open %s: %s", path, g_strerror(errno));
    g_autoptr(GByteArray) all = g_byte_array_new();
    guint8 chunk[16384];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof chunk)) > 0) {
        g_byte_array_append(all, chunk, (guint)n);
        if (all->len > limit)
            return error_set(err, ERROR_TOO_LARGE, NULL, "%s has more than %zu bytes", path, limit);
    }
    if (n < 0)
        return error_set(err, ERROR_LOCAL_FILE, NULL, "cannot read %s: %s", path, g_strerror(errno));
    *ret_length = all->len;
    g_byte_array_append(all, (const guint8 *)"", 1);
    *ret_text = (char *)g_byte_array_free(g_steal_pointer(&all), FALSE);
    return true;
}

/* As in authorized_keys (sshd(8)): options, the key's type, its base64, which begins with the length of the
 * type's name, and a comment. */
static bool is_public_key(const char *line) {
    static const char *const types[] = {"ssh-ed25519 AAAA", "ssh-rsa AAAA", "ssh-dss AAAA",
        "ecdsa-sha2-nistp256 AAAA", "ecdsa-sha2-nistp384 AAAA", "ecdsa-sha2-nistp521 AAAA",
        "sk-ssh-ed25519@openssh.com AAAA", "sk-ecdsa-sha2-nistp256@openssh.com AAAA"};
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        const char *found = strstr(line, types[i]);
        if (found && (found == line || found[-1] == ' '))
            return true;
    }
    return false;
}

/* What is no public key may be a secret: it is neither sent nor shown. */
static bool check_line(
    const FieldDescriptor *field, const char *path, const char *line, size_t number, Error *err) {
    if (!g_str_equal(field->name, "ssh_keys") || is_public_key(line))
        return true;
    bool is_private = strstr(line, "PRIVATE KEY") || g_str_has_prefix(line, "PuTTY-User-Key-File");
    if (is_private && !g_str_equal(path, "-"))
        return error_set(err, ERROR_INVALID, NULL,
            "%s is a private key and was not sent; the public one is usually %s.pub", path, path);
    if (is_private)
        return error_set(err, ERROR_INVALID, NULL,
            "this is a private key and was not sent; the public one is in the .pub file");
    return error_set(err, ERROR_INVALID, NULL,
        "line %zu of %s is no public key such as those in .pub files (ssh-ed25519 AAAA… name)", number, path);
}

static json_t *lines_of(const FieldDescriptor *field, const char *path, const char *text, Error *err) {
    g_autoptr(json_t) list = json_array();
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_strstrip(*line);
        if (!**line || **line == '#')
            continue;
        if (!check_line(field, path, *line, (size_t)(line - lines) + 1, err))
            return NULL;
        json_t *item = value_from_text(field, *line, err);
        if (!item)
            return NULL;
        json_array_append_new(list, item);
    }
    if (json_array_size(list) == 0) {
        error_set(err, ERROR_INVALID, NULL, "the file holds no value");
        return NULL;
    }
    return g_steal_pointer(&list);
}

json_t *value_from_file(const FieldDescriptor *field, const char *path, Error *err) {
    g_autofree char *text = NULL;
    size_t length = 0;
    if (!value_read_input(path, INPUT_LIMIT, &text, &length, err))
        return NULL;
    if (strlen(text) != length || !g_utf8_validate(text, -1, NULL)) {
        error_set(err, ERROR_INVALID, NULL, "%s is not UTF-8 text", path);
        return NULL;
    }
    if (field->is_list)
        return lines_of(field, path, text, err);
    if (field->flags & FIELD_SECRET && field->format == FORMAT_LINE)
        g_strchomp(text);
    return value_from_text(field, text, err);
}

const FieldDescriptor *value_field_at(const TypeDescriptor *type, const char *dotted_path) {
    g_auto(GStrv) parts = g_strsplit(dotted_path, ".", -1);
    const FieldDescriptor *field = NULL;
    for (char **part = parts; *part; part++) {
        if (g_ascii_isdigit(**part))
            continue;
        field = type ? model_field(type, *part) : NULL;
        if (!field)
            return NULL;
        type = field->type;
    }
    return field;
}

static char *local_time_text(const char *text) {
    int64_t time_ns = 0;
    if (!time_from_text(text, &time_ns))
        return g_strdup(text);
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(time_ns / NS_PER_S);
    return g_date_time_format(time, "%Y-%m-%d %H:%M:%S");
}

char *value_age_text(const json_t *time) {
    static const struct {
        int64_t below_s, unit_s;
        const char *unit;
    } steps[] = {{120, 1, "s"}, {2 * 3600, 60, "min"}, {48 * 3600, 3600, "h"}, {60 * 86400, 86400, "d"}};
    int64_t time_ns = 0;
    if (!json_is_string(time) || !time_from_text(json_string_value(time), &time_ns))
        return g_strdup("-");
    int64_t age_s = (clock_realtime_ns(clock_system()) - time_ns) / NS_PER_S;
    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++)
        if (ABS(age_s) < steps[i].below_s)
            return g_strdup_printf(age_s < 0 ? "in %" G_GINT64_FORMAT " %s" : "%" G_GINT64_FORMAT " %s ago",
                ABS(age_s) / steps[i].unit_s, steps[i].unit);
    return local_time_text(json_string_value(time));
}

/* Nothing that a terminal would obey, one line. */
static char *printable(const char *text) {
    GString *out = g_string_new(NULL);
    for (const char *at = text; *at; at = g_utf8_next_char(at)) {
        gunichar character = g_utf8_get_char(at);
        if (character == '\n' || character == '\t')
            g_string_append_c(out, ' ');
        else if (g_unichar_iscntrl(character) || g_unichar_type(character) == G_UNICODE_FORMAT)
            g_string_append_c(out, '?');
        else
            g_string_append_unichar(out, character);
    }
    return g_string_free(out, FALSE);
}

static char *scalar_to_text(const FieldDescriptor *field, const json_t *value) {
    if (json_is_boolean(value))
        return g_strdup(json_is_true(value) ? "yes" : "no");
    if (json_is_integer(value) && field && field->kind == FIELD_SIZE && json_integer_value(value) >= 0)
        return value_size_text((uint64_t)json_integer_value(value));
    if (json_is_string(value) && field && field->kind == FIELD_TIME)
        return local_time_text(json_string_value(value));
    g_autofree char *plain = value_to_plain(value);
    return *plain ? printable(plain) : g_strdup("-");
}

char *value_to_text(const FieldDescriptor *field, const json_t *value) {
    if (!value || json_is_null(value))
        return g_strdup("-");
    if (!json_is_array(value))
        return scalar_to_text(field, value);
    if (json_array_size(value) == 0)
        return g_strdup("-");
    GString *out = g_string_new(NULL);
    size_t i;
    json_t *item;
    json_array_foreach ((json_t *)value, i, item) {
        g_autofree char *text = scalar_to_text(field, item);
        g_string_append_printf(out, "%s%s", i ? "," : "", text);
    }
    return g_string_free(out, FALSE);
}

char *value_to_plain(const json_t *value) {
    if (!value || json_is_null(value))
        return g_strdup("");
    if (json_is_string(value))
        return g_strdup(json_string_value(value));
    return json_to_text(value);
}
