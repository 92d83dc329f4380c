/* A table of text, laid out by display width. */
#include <string.h>
#include "cli/table.h"

enum { GAP = 2, TITLE_MINIMUM = 4, FIRST_MINIMUM = 16, HIDDEN = -1 };

struct Table {
    GPtrArray *cells; /* of char *; the first row holds the titles */
    TableWidth *kinds;
    size_t n_columns;
};

Table *table_new(const TableColumn *columns, size_t n_columns) {
    Table *table = g_new0(Table, 1);
    table->cells = g_ptr_array_new_with_free_func(g_free);
    table->kinds = g_new0(TableWidth, n_columns);
    table->n_columns = n_columns;
    for (size_t i = 0; i < n_columns; i++) {
        table->kinds[i] = columns[i].width;
        table_add(table, columns[i].title);
    }
    return table;
}

void table_free(Table *table) {
    if (!table)
        return;
    g_ptr_array_unref(table->cells);
    g_free(table->kinds);
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
    int blanks = 0; /* not written at the end of the line */
    for (size_t i = 0; i < n; i++) {
        const char *cell = table->cells->pdata[row * n + i];
        if (widths[i] == HIDDEN)
            continue;
        g_string_append_printf(out, "%*s", blanks, "");
        append_shortened(out, cell, widths[i]);
        blanks = MAX(widths[i] - text_width(cell), 0) + GAP;
    }
    while (out->len > 0 && out->str[out->len - 1] == ' ')
        g_string_truncate(out, out->len - 1);
    g_string_append_c(out, '\n');
}

static int total_of(const int *widths, size_t n) {
    int total = -GAP;
    for (size_t i = 0; i < n; i++)
        total += widths[i] == HIDDEN ? 0 : widths[i] + GAP;
    return total;
}

/* A title that is wider than its cells gives what it has too much, the one with the most of it first. */
static void shorten_titles(const int *cells, int *widths, size_t n, int width) {
    for (int total = total_of(widths, n); total > width; total--) {
        size_t loosest = n;
        int most = 0;
        for (size_t i = 0; i < n; i++) {
            int spare = widths[i] - MAX(cells[i], TITLE_MINIMUM);
            if (spare <= most)
                continue;
            most = spare;
            loosest = i;
        }
        if (loosest == n)
            return;
        widths[loosest]--;
    }
}

/* Columns of one kind, the widest first, down to `least`; the first column names the row and is not meant. */
static void shorten_columns(const Table *table, TableWidth kind, int least, int *widths, int width) {
    size_t n = table->n_columns;
    for (int total = total_of(widths, n); total > width; total--) {
        size_t widest = 0;
        for (size_t i = 1; i < n; i++)
            if (table->kinds[i] == kind && widths[i] > least && (!widest || widths[i] > widths[widest]))
                widest = i;
        if (!widest)
            return;
        widths[widest]--;
    }
}

static bool fit(const Table *table, const int *cells, int *widths, int width) {
    static const struct {
        TableWidth kind;
        int least;
    } passes[] = {{TABLE_TEXT, 24}, {TABLE_WORD, 24}, {TABLE_WHOLE, 0}, {TABLE_TEXT, 8}, {TABLE_WORD, 8},
        {TABLE_TEXT, 4}, {TABLE_WORD, 4}};
    size_t n = table->n_columns;
    for (size_t i = 0; i < G_N_ELEMENTS(passes); i++)
        if (passes[i].kind == TABLE_WHOLE)
            shorten_titles(cells, widths, n, width);
        else
            shorten_columns(table, passes[i].kind, passes[i].least, widths, width);
    int missing = total_of(widths, n) - width;
    if (missing > 0 && table->kinds[0] != TABLE_WHOLE)
        widths[0] -= CLAMP(widths[0] - FIRST_MINIMUM, 0, missing);
    return total_of(widths, n) <= width;
}

/* The last column that can be done without, or 0. */
static size_t dispensable(const Table *table, const int *widths) {
    for (size_t i = table->n_columns; i-- > 1;)
        if (widths[i] != HIDDEN && table->kinds[i] != TABLE_WHOLE)
            return i;
    return 0;
}

/* What is whole is not cut, even if the lines get too long then. */
static void choose_widths(const Table *table, const int *cells, bool has_titles, int width, int *widths) {
    size_t n = table->n_columns;
    g_autofree int *natural = g_new0(int, n);
    for (size_t i = 0; i < n; i++)
        natural[i] = MAX(cells[i], has_titles ? text_width(table->cells->pdata[i]) : 0);
    for (memcpy(widths, natural, n * sizeof *widths); width > 0 && !fit(table, cells, widths, width);) {
        size_t last = dispensable(table, natural);
        if (!last)
            return;
        natural[last] = HIDDEN;
        memcpy(widths, natural, n * sizeof *widths);
    }
}

void table_write(const Table *table, bool has_titles, int width, GString *out) {
    size_t n = table->n_columns, n_rows = n ? table->cells->len / n : 0;
    if (n == 0)
        return;
    g_autofree int *cells = g_new0(int, n), *widths = g_new0(int, n);
    for (size_t i = n; i < n_rows * n; i++)
        cells[i % n] = MAX(cells[i % n], text_width(table->cells->pdata[i]));
    choose_widths(table, cells, has_titles, width, widths);
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
