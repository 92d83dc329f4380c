/*
 * Titles of columns, as people read them in tables, in the place of the paths that the server knows. One
 * thread.
 */
#pragma once
#include "model/method.h"

/* The column with that title, in any case, or with that path; NULL when there is none. */
const ColumnDescriptor *title_find(const ResourceDescriptor *resource, const char *name);
/* Conditions and sort keys with paths instead of titles; what is no title stays for the server to judge.
 * Newly allocated. */
char *titles_in_filter(const ResourceDescriptor *resource, const char *conditions);
char *titles_in_sort(const ResourceDescriptor *resource, const char *keys);
