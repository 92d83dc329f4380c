/*
 * Results on standard output in the format that the user chose, words for people on standard error. One
 * thread.
 */
#pragma once
#include <stdio.h>
#include "cli/options.h"
#include "model/method.h"

/* A list of a resource's objects as the API shows them. ERROR_INVALID for an unknown column. */
bool output_list(const CliOptions *options, ResourceId resource, const json_t *objects, Error *err);
/* What a list needs of each object, for the API's `fields`: names with commas between them. NULL: all. */
char *output_list_fields(const CliOptions *options, ResourceId resource);
/* One object: with `-o table` (the default) all of its fields, one a line. */
bool output_object(const CliOptions *options, ResourceId resource, const json_t *object, Error *err);
/* Any other value: as text for people by default, else JSON or YAML. */
bool output_value(const CliOptions *options, const TypeDescriptor *type, const json_t *value, Error *err);

/* Parts of the above, for tests: `width` 0 is no terminal. */
bool output_list_text(const CliOptions *options, ResourceId resource, const json_t *objects, int width,
    GString *out, Error *err);
void output_fields_text(const TypeDescriptor *type, const json_t *object, GString *out);

/* "lodge: TITLE: detail (field)" and the hint. */
void output_error(const Error *err);
bool output_is_human(const CliOptions *options);
/* JSON or YAML: whole values. */
bool output_is_data(const CliOptions *options);
/* Rows and columns were asked for: --columns, or -o csv. */
bool output_has_columns(const CliOptions *options);
/* The user said how the result is to be written. */
bool output_has_choice(const CliOptions *options);
/* ERROR_INVALID when --columns names what a resource does not have: to be known before something is done. */
bool output_check_columns(const CliOptions *options, ResourceId resource, Error *err);
/* Columns of the terminal behind `stream`, 0 when it is none. */
int terminal_width(FILE *stream);
bool output_write(const GString *text, Error *err);
