/* A table of text, laid out by display width. */
#include <string.h>
#include "cli/table.h"

enum { GAP = 2, LAST_COLUMN_MINIMUM = 4, COLUMN_MINIMUM = 8, FIRST_MINIMUM = 16 };

struct Table {
    GPtrArray *cells; /* of char *; the first row holds the titles */
    size_t n_columns;
};

Table *table_new(const char *const *titles, size_t n_columns) {
    Table *table = g_new0(Table, 1);
    table->cells = g_ptr_array_new_with_free_func(g_free);
    table->n_columns = n_columns;
    for (size_t i = 0; i < n_columns; i++)
        table_add(table, titles[i]);
    return table;
}

void table_free(Table *table) {
    if (!table)
        return;
    g_ptr_array_unref(table->cells);
    g_free(table);
}

void table_add(Table *table, const char *cell) {
    g_ptr_array_add(table->cells, g_strdup(cell));
}

static int character_width(gunichar character) {
    if (g_unichar_iszerowidth(character))
        return 0;
    return g_unichar_iswide(character) ? 2 : 1;
}

int text_width(const char *text) {
    int width = 0;
    for (const char *at = text; *at; at = g_utf8_next_char(at))
        width += character_width(g_utf8_get_char(at));
    return width;
}

static void append_shortened(GString *out, const char *text, int width) {
    if (text_width(text) <= width) {
        g_string_append(out, text);
        return;
    }
    int used = 0;
    for (const char *at = text; *at; at = g_utf8_next_char(at)) {
        gunichar character = g_utf8_get_char(at);
        used += character_width(character);
        if (used > width - 1)
            break;
        g_string_append_unichar(out, character);
    }
    g_string_append(out, "…");
}

static void write_row(const Table *table, size_t row, const int *widths, GString *out) {
    size_t n = table->n_columns;
    for (size_t i = 0; i < n; i++) {
        const char *cell = table->cells->pdata[row * n + i];
        append_shortened(out, cell, widths[i]);
        int blanks = MAX(widths[i] - text_width(cell), 0) + GAP;
        g_string_append_printf(out, "%*s", i + 1 < n ? blanks : 0, "");
    }
    while (out->len > 0 && out->str[out->len - 1] == ' ')
        g_string_truncate(out, out->len - 1);
    g_string_append_c(out, '\n');
}

/* The last column gives first, then the widest ones, at last the first, which names the row. */
static void fit(int *widths, size_t n, int width) {
    int total = (int)(n - 1) * GAP;
    for (size_t i = 0; i < n; i++)
        total += widths[i];
    int given = CLAMP(total - width, 0, MAX(widths[n - 1] - LAST_COLUMN_MINIMUM, 0));
    widths[n - 1] -= given;
    for (total -= given; total > width; total--) {
        size_t widest = 0;
        for (size_t i = 1; i < n; i++)
            if (widths[i] > COLUMN_MINIMUM && (!widest || widths[i] > widths[widest]))
                widest = i;
        if (!widest && widths[0] <= FIRST_MINIMUM)
            return;
        widths[widest]--; /* the first one when no other can */
    }
}

void table_write(const Table *table, bool has_titles, int width, GString *out) {
    size_t n = table->n_columns, n_rows = n ? table->cells->len / n : 0;
    if (n == 0)
        return;
    g_autofree int *widths = g_new0(int, n);
    for (size_t i = has_titles ? 0 : n; i < n_rows * n; i++)
        widths[i % n] = MAX(widths[i % n], text_width(table->cells->pdata[i]));
    if (width > 0)
        fit(widths, n, width);
    for (size_t row = has_titles ? 0 : 1; row < n_rows; row++)
        write_row(table, row, widths, out);
}

void csv_append(GString *out, const char *text) {
    size_t length = strlen(text);
    bool has_blank_end = length > 0 && (text[0] == ' ' || text[length - 1] == ' ');
    if (!strpbrk(text, ",\"\r\n") && !has_blank_end) {
        g_string_append(out, text);
        return;
    }
    g_string_append_c(out, '"');
    for (; *text; text++) {
        if (*text == '"')
            g_string_append_c(out, '"');
        g_string_append_c(out, *text);
    }
    g_string_append_c(out, '"');
}
