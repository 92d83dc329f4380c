/* Results in the format that the user chose. */
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "base/file.h"
#include "cli/output.h"
#include "cli/suggest.h"
#include "cli/table.h"
#include "cli/titles.h"
#include "cli/value.h"
#include "cli/yaml.h"

enum { WIDTH_FALLBACK = 80 };

static const char *format_of(const CliOptions *options) {
    const char *format = options->values[CLI_OPTION_OUTPUT];
    return format ? format : "table";
}

static bool has_format(const CliOptions *options, const char *format) {
    return g_str_equal(format_of(options), format);
}

bool output_is_human(const CliOptions *options) {
    return has_format(options, "table") || has_format(options, "wide");
}

bool output_is_data(const CliOptions *options) {
    return has_format(options, "json") || has_format(options, "yaml");
}

bool output_has_columns(const CliOptions *options) {
    return options->values[CLI_OPTION_COLUMNS] || has_format(options, "csv");
}

bool output_has_choice(const CliOptions *options) {
    return options->values[CLI_OPTION_COLUMNS] || options->values[CLI_OPTION_OUTPUT];
}

int terminal_width(FILE *stream) {
    struct winsize size = {0};
    if (!isatty(fileno(stream)))
        return 0;
    return ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : WIDTH_FALLBACK;
}

bool output_write(const GString *text, Error *err) {
    return fd_write_all(STDOUT_FILENO, text->str, text->len, err) ||
           error_wrap(err, ERROR_IO, "cannot write to standard output");
}

static bool refuse_column(const ResourceDescriptor *resource, const char *name, Error *err) {
    g_autoptr(GPtrArray) known = g_ptr_array_new_with_free_func(g_free);
    for (const ColumnDescriptor *column = resource->columns; column->title; column++)
        g_ptr_array_add(known, g_ascii_strdown(column->title, -1));
    for (const ColumnDescriptor *column = resource->wide; column->title; column++)
        g_ptr_array_add(known, g_ascii_strdown(column->title, -1));
    for (size_t i = 0; i < resource->type->n_fields; i++)
        g_ptr_array_add(known, g_strdup(resource->type->fields[i].name));
    g_autofree char *advice = suggest_text(name, known, "");
    return error_set(
        err, ERROR_INVALID, NULL, "--columns: %s has no column %s%s", resource->name, name, advice);
}

/* The columns chosen by --columns: those of the resource, or any path of its type. */
static bool choose_columns(
    const ResourceDescriptor *resource, const char *names, GArray *chosen, Error *err) {
    g_auto(GStrv) parts = g_strsplit(names, ",", -1);
    for (char **part = parts; *part; part++) {
        const ColumnDescriptor *found = title_find(resource, *part);
        if (!found && !value_field_at(resource->type, *part))
            return refuse_column(resource, *part, err);
        const char *path = g_intern_string(*part);
        g_autofree char *title = g_strdelimit(g_ascii_strup(path, -1), "_", ' ');
        const ColumnDescriptor own = {
            found ? found->title : g_intern_string(title), found ? found->path : path};
        g_array_append_val(chosen, own);
    }
    return true;
}

bool output_check_columns(const CliOptions *options, ResourceId resource, Error *err) {
    g_autoptr(GArray) columns = g_array_new(FALSE, FALSE, sizeof(ColumnDescriptor));
    const char *names = options->values[CLI_OPTION_COLUMNS];
    return !names || choose_columns(&resources[resource], names, columns, err);
}

static void append_columns(GArray *chosen, const ColumnDescriptor *columns) {
    for (; columns->title; columns++)
        g_array_append_val(chosen, *columns);
}

/* By the longest value that the schema allows: a column of single words, numbers or times is never cut. */
static TableWidth width_of(const FieldDescriptor *field) {
    enum { SHORT = 64, LONG = 1024 };
    if (!field || field->is_list || field->kind == FIELD_OBJECT || field->kind == FIELD_JSON)
        return TABLE_TEXT;
    bool is_name = field->format == FORMAT_NAME || field->format == FORMAT_REFERENCE;
    if (field->kind != FIELD_STRING || field->format == FORMAT_MAC || field->format == FORMAT_UUID)
        return TABLE_WHOLE;
    if (field->format == FORMAT_TEXT || field->maximum >= LONG)
        return TABLE_TEXT;
    return is_name || field->maximum > SHORT ? TABLE_WORD : TABLE_WHOLE;
}

static void append_table(const CliOptions *options, const ResourceDescriptor *resource, const json_t *objects,
    const GArray *columns, int width, GString *out) {
    g_autofree TableColumn *titles = g_new0(TableColumn, columns->len);
    const ColumnDescriptor *column = (const ColumnDescriptor *)(void *)columns->data;
    for (guint i = 0; i < columns->len; i++)
        titles[i] = (TableColumn){column[i].title, width_of(value_field_at(resource->type, column[i].path))};
    g_autoptr(Table) table = table_new(titles, columns->len);
    size_t row;
    json_t *object;
    json_array_foreach ((json_t *)objects, row, object) {
        for (guint i = 0; i < columns->len; i++) {
            const FieldDescriptor *field = value_field_at(resource->type, column[i].path);
            const json_t *value = json_at(object, column[i].path);
            bool is_age = field && field->kind == FIELD_TIME && resource != &resources[RESOURCE_EVENT];
            g_autofree char *text = is_age ? value_age_text(value) : value_to_text(field, value);
            table_add(table, text);
        }
    }
    bool is_wide = has_format(options, "wide");
    table_write(table, cli_option_is(options, CLI_OPTION_HEADERS, true), is_wide ? 0 : width, out);
}

static void append_csv(
    const CliOptions *options, const json_t *objects, const GArray *columns, GString *out) {
    const ColumnDescriptor *column = (const ColumnDescriptor *)(void *)columns->data;
    for (guint i = 0; i < columns->len && cli_option_is(options, CLI_OPTION_HEADERS, true); i++) {
        csv_append(out, column[i].title);
        g_string_append_c(out, i + 1 < columns->len ? ',' : '\n');
    }
    size_t row;
    json_t *object;
    json_array_foreach ((json_t *)objects, row, object) {
        for (guint i = 0; i < columns->len; i++) {
            g_autofree char *text = value_to_plain(json_at(object, column[i].path));
            csv_append(out, text);
            g_string_append_c(out, i + 1 < columns->len ? ',' : '\n');
        }
    }
}

static void append_name(const json_t *object, GString *out) {
    const char *name = json_text_at(object, "name");
    if (!name)
        name = json_text_at(object, "id");
    g_string_append_printf(out, "%s\n", name ? name : "-");
}

static void append_json(const json_t *value, GString *out) {
    g_autofree char *text = json_to_pretty_text(value);
    g_string_append(out, text);
}

/* True when `value` was written in a format that needs no columns. */
static bool append_data(const CliOptions *options, const json_t *value, GString *out) {
    if (has_format(options, "json"))
        append_json(value, out);
    else if (has_format(options, "yaml"))
        yaml_append(out, value);
    else
        return false;
    return true;
}

/* The columns of a table or of CSV. */
static bool columns_of(
    const CliOptions *options, const ResourceDescriptor *resource, GArray *columns, Error *err) {
    const char *names = options->values[CLI_OPTION_COLUMNS];
    if (names)
        return choose_columns(resource, names, columns, err);
    append_columns(columns, resource->columns);
    if (has_format(options, "wide"))
        append_columns(columns, resource->wide);
    return true;
}

char *output_list_fields(const CliOptions *options, ResourceId resource_id) {
    const ResourceDescriptor *resource = &resources[resource_id];
    g_autoptr(GArray) columns = g_array_new(FALSE, FALSE, sizeof(ColumnDescriptor));
    if (output_is_data(options) || !columns_of(options, resource, columns, NULL))
        return NULL;
    g_autoptr(GStrvBuilder) fields = g_strv_builder_new();
    g_autoptr(GHashTable) chosen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_strv_builder_add(fields, model_field(resource->type, "name") ? "name" : "id");
    for (guint i = 0; i < columns->len && !has_format(options, "name"); i++) {
        const char *path = g_array_index(columns, ColumnDescriptor, i).path;
        char *field = g_strndup(path, strcspn(path, "."));
        if (!g_str_equal(field, "name") && !g_hash_table_contains(chosen, field))
            g_strv_builder_add(fields, field);
        g_hash_table_add(chosen, field);
    }
    g_auto(GStrv) names = g_strv_builder_end(fields);
    return g_strjoinv(",", names);
}

bool output_list_text(const CliOptions *options, ResourceId resource_id, const json_t *objects, int width,
    GString *out, Error *err) {
    const ResourceDescriptor *resource = &resources[resource_id];
    if (append_data(options, objects, out))
        return true;
    size_t i;
    json_t *object;
    if (has_format(options, "name")) {
        json_array_foreach ((json_t *)objects, i, object)
            append_name(object, out);
        return true;
    }
    g_autoptr(GArray) columns = g_array_new(FALSE, FALSE, sizeof(ColumnDescriptor));
    if (!columns_of(options, resource, columns, err))
        return false;
    if (has_format(options, "csv"))
        append_csv(options, objects, columns, out);
    else
        append_table(options, resource, objects, columns, width, out);
    return true;
}

bool output_list(const CliOptions *options, ResourceId resource, const json_t *objects, Error *err) {
    g_autoptr(GString) out = g_string_new(NULL);
    return output_list_text(options, resource, objects, terminal_width(stdout), out, err) &&
           output_write(out, err);
}

/* Words that are not written as they are spelled. */
static const struct {
    const char *word, *text;
} spellings[] = {{"id", "ID"}, {"mac", "MAC"}, {"ca", "CA"}, {"os", "OS"}, {"iso", "ISO"}, {"vcpus", "vCPUs"},
    {"vms", "VMs"}, {"nics", "NICs"}, {"cpus", "CPUs"}, {"cpu", "CPU"}, {"vm", "VM"}, {"sha256", "SHA-256"},
    {"ssh", "SSH"}, {"uefi", "UEFI"}, {"cd", "CD"}, {"nic", "NIC"}, {"ms", "(ms)"}};

/* "disk_size" as "Disk size", "guest_os" as "Guest OS". */
static char *label_of(const char *name) {
    g_auto(GStrv) words = g_strsplit(name, "_", -1);
    words[0][0] = g_ascii_toupper(words[0][0]);
    for (char **word = words; *word; word++)
        for (size_t i = 0; i < G_N_ELEMENTS(spellings); i++)
            if (g_ascii_strcasecmp(*word, spellings[i].word) == 0) {
                g_free(*word);
                *word = g_strdup(spellings[i].text);
                break;
            }
    return g_strjoinv(" ", words);
}

static void append_fields(const TypeDescriptor *type, const json_t *object, int indent, GString *out);

/* Whether all that the objects of a list have are single values; what they have goes to `columns`, ids only
 * where there are no names. */
static bool is_flat(const TypeDescriptor *type, const json_t *list, GPtrArray *columns) {
    for (size_t i = 0; i < type->n_fields; i++) {
        const FieldDescriptor *field = &type->fields[i];
        size_t row, n_set = 0;
        json_t *item;
        json_array_foreach ((json_t *)list, row, item) {
            const json_t *value = json_object_get(item, field->name);
            if (json_is_object(value) || json_is_object(json_array_get(value, 0)))
                return false;
            n_set += value != NULL;
        }
        bool is_noise = g_str_equal(field->name, "id") && model_field(type, "name");
        if (n_set && !is_noise)
            g_ptr_array_add(columns, (void *)field);
    }
    return columns->len > 0;
}

/* False, nothing written, when a line would be too wide. */
static bool append_indented(const Table *table, int indent, GString *out) {
    g_autoptr(GString) text = g_string_new(NULL);
    table_write(table, true, 0, text);
    g_auto(GStrv) lines = g_strsplit(g_strchomp(text->str), "\n", -1);
    for (char **line = lines; *line; line++)
        if (text_width(*line) + indent > WIDTH_FALLBACK)
            return false;
    for (char **line = lines; *line; line++)
        g_string_append_printf(out, "%*s%s\n", indent, "", *line);
    return true;
}

/* Disks, NICs, steps: a row each. False, nothing written, when that would be too wide or hide something. */
static bool append_small_table(const TypeDescriptor *type, const json_t *list, int indent, GString *out) {
    g_autoptr(GPtrArray) columns = g_ptr_array_new(), titles = g_ptr_array_new_with_free_func(g_free);
    if (!is_flat(type, list, columns))
        return false;
    g_autofree TableColumn *column = g_new0(TableColumn, columns->len);
    for (guint i = 0; i < columns->len; i++) {
        g_autofree char *label = label_of(((const FieldDescriptor *)columns->pdata[i])->name);
        g_ptr_array_add(titles, g_utf8_strup(label, -1));
        column[i].title = titles->pdata[i];
    }
    g_autoptr(Table) table = table_new(column, columns->len);
    size_t row;
    json_t *item;
    json_array_foreach ((json_t *)list, row, item)
        for (guint i = 0; i < columns->len; i++) {
            const FieldDescriptor *field = columns->pdata[i];
            g_autofree char *text = value_to_text(field, json_object_get(item, field->name));
            table_add(table, text);
        }
    return append_indented(table, indent, out);
}

/* The one field that is no switch, where all others are; NULL for types that are not so. */
static const FieldDescriptor *key_of_switches(const TypeDescriptor *type) {
    const FieldDescriptor *key = NULL;
    for (size_t i = 0; i < type->n_fields; i++) {
        const FieldDescriptor *field = &type->fields[i];
        bool is_switch = field->kind == FIELD_BOOL && !field->is_list;
        if (!is_switch && (key || field->is_list || field->kind == FIELD_OBJECT || field->kind == FIELD_JSON))
            return NULL;
        if (!is_switch)
            key = field;
    }
    return type->n_fields > 2 ? key : NULL;
}

/* Lists of switches are read across: a row for each switch, a column for each object. */
static bool append_turned_table(const TypeDescriptor *type, const json_t *list, int indent, GString *out) {
    const FieldDescriptor *key = key_of_switches(type);
    size_t n = json_array_size(list);
    if (!key)
        return false;
    g_autoptr(GPtrArray) titles = g_ptr_array_new_with_free_func(g_free);
    g_autofree TableColumn *column = g_new0(TableColumn, n + 1);
    for (size_t i = 0; i <= n; i++) {
        const json_t *name = i ? json_object_get(json_array_get(list, i - 1), key->name) : NULL;
        g_autofree char *title = i ? value_to_text(key, name) : g_strdup(key->name);
        g_ptr_array_add(titles, g_utf8_strup(title, -1));
        column[i].title = titles->pdata[i];
    }
    g_autoptr(Table) table = table_new(column, n + 1);
    for (size_t row = 0; row < type->n_fields; row++) {
        const FieldDescriptor *field = &type->fields[row];
        if (field == key)
            continue;
        g_autofree char *label = label_of(field->name);
        table_add(table, label);
        for (size_t i = 0; i < n; i++) {
            bool is_on = json_is_true(json_object_get(json_array_get(list, i), field->name));
            table_add(table, is_on ? "yes" : "-");
        }
    }
    return append_indented(table, indent, out);
}

/* What is too wide for a row each is read across too, below the names. */
static bool append_named_columns(const TypeDescriptor *type, const json_t *list, int indent, GString *out) {
    g_autoptr(GPtrArray) fields = g_ptr_array_new();
    size_t n = json_array_size(list);
    if (!model_field(type, "name") || !is_flat(type, list, fields))
        return false;
    g_autofree TableColumn *column = g_new0(TableColumn, n + 1);
    column[0].title = "NAME";
    for (size_t i = 0; i < n; i++) {
        column[i + 1].title = json_text_at(json_array_get(list, i), "name");
        if (!column[i + 1].title)
            return false;
    }
    g_autoptr(Table) table = table_new(column, n + 1);
    for (guint row = 0; row < fields->len; row++) {
        const FieldDescriptor *field = fields->pdata[row];
        if (g_str_equal(field->name, "name"))
            continue;
        g_autofree char *label = label_of(field->name);
        table_add(table, label);
        for (size_t i = 0; i < n; i++) {
            g_autofree char *text =
                value_to_text(field, json_object_get(json_array_get(list, i), field->name));
            table_add(table, text);
        }
    }
    return append_indented(table, indent, out);
}

static void append_field(
    const FieldDescriptor *field, const char *name, const json_t *value, int indent, GString *out) {
    const TypeDescriptor *type = field ? field->type : NULL;
    g_autofree char *label = label_of(name);
    g_string_append_printf(out, "%*s%s:", indent, "", label);
    if (json_is_object(value) && json_object_size(value) > 0) {
        g_string_append_c(out, '\n');
        append_fields(type, value, indent + 2, out);
        return;
    }
    if (!json_is_object(json_array_get(value, 0))) {
        g_autofree char *text = value_to_text(field, value);
        g_string_append_printf(out, " %s\n", text);
        return;
    }
    g_string_append_c(out, '\n');
    if (type && (append_turned_table(type, value, indent + 2, out) ||
                    append_small_table(type, value, indent + 2, out) ||
                    append_named_columns(type, value, indent + 2, out)))
        return;
    size_t i;
    json_t *item;
    json_array_foreach ((json_t *)value, i, item) {
        if (i > 0)
            g_string_append_c(out, '\n');
        append_fields(type, item, indent + 2, out);
    }
}

/* "pool_name" tells what "pool" refers to: people read the name in the place of the id. */
static const json_t *name_beside(const json_t *object, const char *name) {
    g_autofree char *beside = g_strconcat(name, "_name", NULL);
    return json_object_get(object, beside);
}

static bool is_name_of_another(const json_t *object, const char *name) {
    if (!g_str_has_suffix(name, "_name"))
        return false;
    g_autofree char *other = g_strndup(name, strlen(name) - strlen("_name"));
    return json_object_get(object, other);
}

/* In the order of the answer; its depth is bounded by JSON_MAX_DEPTH. */
static void append_fields(const TypeDescriptor *type, const json_t *object, int indent, GString *out) {
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)object, name, value) {
        const FieldDescriptor *field = type ? model_field(type, name) : NULL;
        const json_t *shown = name_beside(object, name);
        if (!is_name_of_another(object, name))
            append_field(field, name, shown ? shown : value, indent, out);
    }
}

void output_fields_text(const TypeDescriptor *type, const json_t *object, GString *out) {
    append_fields(type, object, 0, out);
}

bool output_object(const CliOptions *options, ResourceId resource, const json_t *object, Error *err) {
    if (!output_has_columns(options))
        return output_value(options, resources[resource].type, object, err);
    g_autoptr(json_t) list = json_pack("[O]", object);
    return output_list(options, resource, list, err);
}

bool output_value(const CliOptions *options, const TypeDescriptor *type, const json_t *value, Error *err) {
    g_autoptr(GString) out = g_string_new(NULL);
    if (append_data(options, value, out))
        return output_write(out, err);
    if (has_format(options, "name") && json_is_object(value))
        append_name(value, out);
    else if (json_is_object(value))
        append_fields(type, value, 0, out);
    else
        append_json(value, out);
    return output_write(out, err);
}

/* "memory: must …" needs no "(/memory)" behind it. */
static bool names_field(const char *detail, const char *field) {
    size_t length = strlen(field);
    return *field == '/' && strncmp(detail, field + 1, length - 1) == 0 && detail[length - 1] == ':';
}

void output_error(const Error *err) {
    const ErrorInfo *info = error_info(err->code);
    g_autofree char *detail = error_text(err);
    fprintf(stderr, "lodge: %s: %s", info->title, detail);
    if (err->field && !names_field(detail, err->field))
        fprintf(stderr, " (%s)", err->field);
    fprintf(stderr, "\n");
    if (info->hint)
        fprintf(stderr, "  %s\n", info->hint);
}
