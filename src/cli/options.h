/*
 * Options and commands of the command line that belong to no method: tables generated from schema/cli.toml,
 * and the values given. Values are borrowed from the arguments of main. One thread.
 */
#pragma once
#include "base/error.h"
#include "cli-tables.h"

/* What a method must have so that an option is of use with it. */
typedef enum CliConcern {
    CLI_CONCERN_ALL,
    CLI_CONCERN_RESULT,
    CLI_CONCERN_JOB,
    CLI_CONCERN_DRY_RUN,
    CLI_CONCERN_CONFIRM,
    CLI_CONCERN_HOST_LOCAL,
} CliConcern;

typedef struct CliOption {
    const char *name, *doc;
    char letter;                 /* or 0 */
    const char *value;           /* how its argument is called; NULL: a switch, --NAME or --no-NAME */
    const char *const *values;   /* all that are allowed, NULL-terminated, or NULL */
    const char *const *commands; /* only these verbs and commands have it, NULL-terminated; NULL: all */
    CliConcern concern;
    bool is_list;
} CliOption;

typedef struct CliCommand {
    const char *name, *arguments, *doc;
} CliCommand;

/* Which objects completion offers behind a verb; a row with NULLs ends the table. */
typedef struct CliCandidates {
    const char *method, *filter;
} CliCandidates;

/* Of a noun, or of `lodge` itself; a row with NULLs ends the table. */
typedef struct CliExample {
    const char *noun, *run, *doc;
} CliExample;

extern const CliCandidates cli_candidates[];
extern const CliExample cli_examples[];
extern const CliOption cli_options[CLI_OPTION_MAX];
extern const CliCommand cli_commands[CLI_COMMAND_MAX];
extern const char *const *const cli_nouns; /* in the order of help, NULL-terminated */

typedef struct CliOptions {
    const char *values[CLI_OPTION_MAX]; /* NULL: not given; a switch: "true" or "false" */
    GPtrArray *unset;                   /* of const char *, for --unset */
} CliOptions;
void cli_options_clear(CliOptions *options);

/* A switch; `fallback` when it was not given. */
bool cli_option_is(const CliOptions *options, CliOptionId id, bool fallback);
/* Whether `command` (a verb or a command's name, or NULL) has that option. */
bool cli_option_applies(CliOptionId id, const char *command);
/* CLI_OPTION_MAX when `command` has no such option. A switch's name may have "no-" in front; *ret_is_negated.
 */
CliOptionId cli_option_find(const char *name, const char *command, bool *ret_is_negated);
CliOptionId cli_option_find_letter(char letter, const char *command);
/* Checks against the allowed values and keeps it. ERROR_INVALID names the option. */
bool cli_option_set(CliOptions *options, CliOptionId id, const char *value, Error *err);
