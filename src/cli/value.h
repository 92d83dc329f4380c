/*
 * Values as people write and read them: text of a flag to JSON by the field's descriptor, and back to short
 * text for tables. One thread.
 */
#pragma once
#include "model/model.h"

/* "2G", "512MiB", "512M", "1.5T": units are binary, "iB" or "B" may follow; without unit bytes.
 * ERROR_INVALID. */
bool value_parse_size(const char *text, uint64_t *ret_bytes, Error *err);
/* "512 MiB", "1.5 GiB": exact up to one decimal; newly allocated. */
char *value_size_text(uint64_t bytes);

/* One value (one item of a list). Times are RFC 3339, a date, or "12h", "30d", "2w" from now. Objects are
 * "field=value,field=value", JSON, or @FILE with it. NULL with ERROR_INVALID. */
json_t *value_from_text(const FieldDescriptor *field, const char *text, Error *err);
/* The value that a file holds ("-": standard input): a list's items are its lines without empty ones and
 * comments. */
json_t *value_from_file(const FieldDescriptor *field, const char *path, Error *err);

/* Up to `limit` bytes of a file, or of standard input for "-"; any kind of file. The text is NUL-terminated.
 * ERROR_LOCAL_FILE. */
bool value_read_input(const char *path, size_t limit, char **ret_text, size_t *ret_length, Error *err);

/* The descriptor behind a path such as "status.addresses.0.address"; NULL when the type has none. */
const FieldDescriptor *value_field_at(const TypeDescriptor *type, const char *dotted_path);
/* For a table or a line: "-" for nothing, yes/no, human sizes, local times; lists joined by commas; control
 * characters replaced. `field` may be NULL. Newly allocated. */
char *value_to_text(const FieldDescriptor *field, const json_t *value);
/* A time as people say it: "42 s ago", "in 3 d"; a date when it is further away than 60 days. "-" for
 * nothing.
 */
char *value_age_text(const json_t *time);
/* For machines (CSV): "" for nothing, numbers and times as in JSON. Newly allocated. */
char *value_to_plain(const json_t *value);
