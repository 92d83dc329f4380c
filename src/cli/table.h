/*
 * A table of text, laid out by display width. Cells are UTF-8 without control characters. One thread.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct Table Table;

Table *table_new(const char *const *titles, size_t n_columns);
void table_free(Table *table); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Table, table_free)

/* Cells fill the columns of a row from left to right, then the next row. */
void table_add(Table *table, const char *cell);
/* Columns are two blanks apart. With `width` above 0 columns are shortened so that no line is longer: the
 * last one first, down to 4, then the widest ones, down to 8, at last the first one, down to 16. No blanks at
 * the ends of lines. */
void table_write(const Table *table, bool has_titles, int width, GString *out);

/* Columns that a terminal gives to the text: 0 for combining marks, 2 for wide characters. */
int text_width(const char *text);
/* One field as RFC 4180 wants it: quoted when it has a comma, quote, or end of line, or blanks at its ends.
 */
void csv_append(GString *out, const char *text);
