/*
 * How a method's parameters appear on the command line: which are flags, which are words, what they are
 * called. The manual pages (tools/lodgeschema/man.py) follow the same rules. Static data; any thread.
 */
#pragma once
#include "cli/options.h"
#include "model/method.h"

/* `--disk-size`; a field with `cli` has that name; secrets are read from files: `--password-file`. Newly
 * allocated. */
char *flag_name(const FieldDescriptor *field);
bool flag_reads_file(const FieldDescriptor *field);
/* What stands behind the flag in help, or NULL for a switch. */
const char *flag_form(const FieldDescriptor *field);

bool flag_is_offered(const MethodDescriptor *method, const FieldDescriptor *field);
/* Given as a word behind the verb. */
bool flag_is_word(const MethodDescriptor *method, const FieldDescriptor *field);
/* The field whose value is a URL, in place of a local file to upload; NULL when there is none. */
const FieldDescriptor *flag_upload_field(const MethodDescriptor *method);
/* NULL when the method has no such flag. Switches may have "no-" in front; *ret_is_negated. */
const FieldDescriptor *flag_find(const MethodDescriptor *method, const char *name, bool *ret_is_negated);

/* Whether its first word names the object. */
bool method_has_reference(const MethodDescriptor *method);
/* Whether several objects can be named at once. */
bool method_takes_many(const MethodDescriptor *method);
/* The verb by which options say what they are for. */
const char *method_command(const MethodDescriptor *method);
/* Whether the option is of use with the method, so that help names it there. */
bool method_has_option(const MethodDescriptor *method, CliOptionId id);
