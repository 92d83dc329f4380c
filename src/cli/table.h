/*
 * A table of text, laid out by display width. Cells are UTF-8 without control characters. One thread.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct Table Table;

/* What may be cut where there is too little room. */
typedef enum TableWidth {
    TABLE_WHOLE, /* nothing: half an address is of no use */
    TABLE_WORD,  /* names, paths */
    TABLE_TEXT,  /* descriptions */
} TableWidth;

typedef struct TableColumn {
    const char *title;
    TableWidth width;
} TableColumn;

Table *table_new(const TableColumn *columns, size_t n_columns);
void table_free(Table *table); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Table, table_free)

/* Cells fill the columns of a row from left to right, then the next row. */
void table_add(Table *table, const char *cell);
/* Columns are two blanks apart, no blanks at the ends of lines. With `width` above 0 no line is longer unless
 * what may not be cut is: long texts and words give first, then titles that are wider than their cells, then
 * texts and words down to 4, the first column down to 16; at last whole columns of texts and words are left
 * out, the last one first. */
void table_write(const Table *table, bool has_titles, int width, GString *out);

/* Columns that a terminal gives to the text: 0 for combining marks, 2 for wide characters. */
int text_width(const char *text);
/* One field as RFC 4180 wants it: quoted when it has a comma, quote, or end of line, or blanks at its ends.
 */
void csv_append(GString *out, const char *text);
