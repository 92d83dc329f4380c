/*
 * What the user typed, understood by the tables: `lodge [OPTIONS] NOUN VERB [WORDS] [FLAGS]` or a command
 * such as `login`. Strings are borrowed from argv. One thread.
 */
#pragma once
#include "cli/flags.h"
#include "cli/options.h"

typedef struct Arguments {
    CliOptions options;
    CliCommandId command; /* CLI_COMMAND_MAX when a noun was given, or nothing */
    ResourceId resource;  /* RESOURCE_MAX when none */
    MethodId method;      /* METHOD_MAX when none */
    GPtrArray *words;     /* of const char *: a command's words; a method's names of objects */
    json_t *parameters;   /* an object: what is sent */
    const char *file;     /* to upload or to download into, or NULL */
} Arguments;
void arguments_clear(Arguments *arguments);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Arguments, arguments_clear)

/* By what options say what they are for: the verb, the command, or NULL as long as neither is known. */
const char *arguments_context(const Arguments *arguments);

/* ERROR_INVALID names the flag or the word. Files that flags name are read. With --help nothing is missing.
 * On failure what was understood so far is kept, for help. */
bool arguments_parse(int argc, const char *const *argv, Arguments *arguments, Error *err);
