/* Titles to paths. */
#include <string.h>
#include "cli/titles.h"

static const ColumnDescriptor *find_in(const ColumnDescriptor *columns, const char *name) {
    for (; columns->title; columns++)
        if (g_ascii_strcasecmp(columns->title, name) == 0 || g_str_equal(columns->path, name))
            return columns;
    return NULL;
}

const ColumnDescriptor *title_find(const ResourceDescriptor *resource, const char *name) {
    const ColumnDescriptor *found = find_in(resource->columns, name);
    return found ? found : find_in(resource->wide, name);
}

/* "nics.mac" for "nics.0.mac": the server looks at every item of a list. */
static void append_path(GString *out, const char *path) {
    g_auto(GStrv) parts = g_strsplit(path, ".", -1);
    const char *dot = "";
    for (char **part = parts; *part; part++) {
        if (g_ascii_isdigit(**part))
            continue;
        g_string_append_printf(out, "%s%s", dot, *part);
        dot = ".";
    }
}

static void append_name(
    const ResourceDescriptor *resource, const char *name, bool has_fields_first, GString *out) {
    bool is_field = has_fields_first && model_field(resource->type, name);
    const ColumnDescriptor *column = is_field ? NULL : title_find(resource, name);
    if (column)
        append_path(out, column->path);
    else
        g_string_append(out, name);
}

/* A field has precedence over a title: a reference is compared with names as well as with ids. */
char *titles_in_filter(const ResourceDescriptor *resource, const char *conditions) {
    GString *out = g_string_new(NULL);
    g_auto(GStrv) parts = g_strsplit(conditions, ",", -1);
    for (char **part = parts; *part; part++) {
        size_t length = strcspn(*part, "!=~<>");
        g_autofree char *name = g_strndup(*part, length);
        if (part != parts)
            g_string_append_c(out, ',');
        append_name(resource, name, true, out);
        g_string_append(out, *part + length);
    }
    return g_string_free(out, FALSE);
}

/* A title has precedence over a field: people sort by names, not by ids. */
char *titles_in_sort(const ResourceDescriptor *resource, const char *keys) {
    GString *out = g_string_new(NULL);
    g_auto(GStrv) parts = g_strsplit(keys, ",", -1);
    for (char **part = parts; *part; part++) {
        bool is_descending = **part == '-';
        g_string_append_printf(out, "%s%s", part == parts ? "" : ",", is_descending ? "-" : "");
        append_name(resource, *part + is_descending, false, out);
    }
    return g_string_free(out, FALSE);
}
