/* Look-ups in the generated option table. */
#include "cli/options.h"

void cli_options_clear(CliOptions *options) {
    g_clear_pointer(&options->unset, g_ptr_array_unref);
    *options = (CliOptions){0};
}

bool cli_option_is(const CliOptions *options, CliOptionId id, bool fallback) {
    const char *value = options->values[id];
    return value ? g_str_equal(value, "true") : fallback;
}

bool cli_option_applies(CliOptionId id, const char *command) {
    const char *const *commands = cli_options[id].commands;
    return !commands || (command && g_strv_contains(commands, command));
}

CliOptionId cli_option_find(const char *name, const char *command, bool *ret_is_negated) {
    for (CliOptionId id = 0; id < CLI_OPTION_MAX; id++) {
        const CliOption *option = &cli_options[id];
        if (!cli_option_applies(id, command))
            continue;
        bool is_negated =
            !option->value && g_str_has_prefix(name, "no-") && g_str_equal(name + 3, option->name);
        if (is_negated || g_str_equal(name, option->name)) {
            *ret_is_negated = is_negated;
            return id;
        }
    }
    return CLI_OPTION_MAX;
}

CliOptionId cli_option_find_letter(char letter, const char *command) {
    for (CliOptionId id = 0; id < CLI_OPTION_MAX; id++)
        if (cli_options[id].letter == letter && cli_option_applies(id, command))
            return id;
    return CLI_OPTION_MAX;
}

bool cli_option_set(CliOptions *options, CliOptionId id, const char *value, Error *err) {
    const CliOption *option = &cli_options[id];
    if (option->values && !g_strv_contains(option->values, value)) {
        g_autofree char *all = g_strjoinv(", ", (char **)option->values);
        return error_set(err, ERROR_INVALID, NULL, "--%s: \"%s\" is none of %s", option->name, value, all);
    }
    if (id == CLI_OPTION_UNSET) {
        if (!options->unset)
            options->unset = g_ptr_array_new();
        g_ptr_array_add(options->unset, (void *)value);
    }
    options->values[id] = value;
    return true;
}
