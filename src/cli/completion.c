/* Candidates from the tables; names from the server. */
#include <string.h>
#include "cli/arguments.h"
#include "cli/completion.h"
#include "cli/session.h"

enum { NAMES_TIMEOUT_MS = 1000 };

static const struct {
    const char *shell, *script;
} scripts[] = {
    {"bash", "_lodge() {\n"
             "    local IFS=$'\\n'\n"
             "    COMPREPLY=($(lodge __complete \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null))\n"
             "}\n"
             "complete -o default -F _lodge lodge\n"},
    {"zsh", "#compdef lodge\n"
            "_lodge() {\n"
            "    local -a candidates\n"
            "    candidates=(${(f)\"$(lodge __complete \"${(@)words[2,CURRENT]}\" 2>/dev/null)\"})\n"
            "    if (( ${#candidates} )); then compadd -a candidates; else _files; fi\n"
            "}\n"
            "compdef _lodge lodge\n"},
    {"fish", "function __lodge_complete\n"
             "    set -l words (commandline -opc) (commandline -ct)\n"
             "    lodge __complete $words[2..-1] 2>/dev/null\n"
             "end\n"
             "complete -c lodge -a '(__lodge_complete)'\n"},
};

bool completion_script(const char *shell, GString *out, Error *err) {
    for (size_t i = 0; i < G_N_ELEMENTS(scripts); i++)
        if (g_str_equal(scripts[i].shell, shell)) {
            g_string_append(out, scripts[i].script);
            return true;
        }
    return error_set(err, ERROR_INVALID, NULL, "\"%s\" is none of bash, zsh, fish", shell);
}

static void offer(GString *out, const char *typed, const char *prefix, const char *candidate) {
    g_autofree char *whole = g_strconcat(prefix, candidate, NULL);
    if (g_str_has_prefix(whole, typed))
        g_string_append_printf(out, "%s\n", whole);
}

static void offer_names(GString *out, const CliOptions *options, const char *typed, ResourceId resource) {
    g_autoptr(Session) session = NULL;
    g_autoptr(json_t) answer = NULL;
    if (resource == RESOURCE_MAX || resources[resource].is_singleton ||
        !session_open(options, &session, NULL))
        return;
    g_autofree char *path = g_strdup_printf("/v1/%s?limit=1000", resources[resource].plural);
    const SessionRequest request = {.method = "GET", .path = path, .timeout_ms = NAMES_TIMEOUT_MS};
    if (!session_request(session, &request, &answer, NULL))
        return;
    size_t i;
    json_t *item;
    json_array_foreach (json_object_get(answer, "items"), i, item) {
        const char *name = json_text_at(item, "name");
        if (!name)
            name = json_text_at(item, "short_id");
        if (name)
            offer(out, typed, "", name);
    }
}

static void offer_flags(GString *out, const char *typed, MethodId id) {
    const MethodDescriptor *method = id < METHOD_MAX ? &methods[id] : NULL;
    const char *command = method ? method_command(method) : NULL;
    for (size_t i = 0; method && i < method->parameters->n_fields; i++) {
        g_autofree char *name = flag_name(&method->parameters->fields[i]);
        if (flag_is_offered(method, &method->parameters->fields[i]))
            offer(out, typed, "--", name);
    }
    for (CliOptionId option = 0; option < CLI_OPTION_MAX; option++)
        if (cli_option_applies(option, command))
            offer(out, typed, "--", cli_options[option].name);
}

/* What may follow `flag`; false when it takes no value. */
static bool offer_values(GString *out, const Arguments *arguments, const char *flag, const char *typed) {
    bool is_negated = false;
    const FieldDescriptor *field = NULL;
    CliOptionId id = CLI_OPTION_MAX;
    if (flag[0] == '-' && flag[1] && flag[1] != '-' && !flag[2])
        id = cli_option_find_letter(flag[1], NULL);
    else if (!g_str_has_prefix(flag, "--") || strchr(flag, '='))
        return false;
    if (id == CLI_OPTION_MAX && arguments->method < METHOD_MAX)
        field = flag_find(&methods[arguments->method], flag + 2, &is_negated);
    if (field && field->kind == FIELD_BOOL)
        return false;
    if (field) {
        for (size_t i = 0; field->enumeration && i < field->enumeration->n_values; i++)
            offer(out, typed, "", field->enumeration->values[i].name);
        if (field->reference)
            offer_names(out, &arguments->options, typed, resource_find(field->reference));
        return true;
    }
    if (id == CLI_OPTION_MAX)
        id = cli_option_find(flag + 2, NULL, &is_negated);
    if (id == CLI_OPTION_MAX || !cli_options[id].value)
        return false;
    for (const char *const *value = cli_options[id].values; value && *value; value++)
        offer(out, typed, "", *value);
    return true;
}

static void offer_words(GString *out, const Arguments *arguments, const char *typed) {
    if (arguments->command == CLI_COMMAND_COMPLETION) {
        for (size_t i = 0; i < G_N_ELEMENTS(scripts); i++)
            offer(out, typed, "", scripts[i].shell);
    } else if (arguments->method < METHOD_MAX) {
        const MethodDescriptor *method = &methods[arguments->method];
        if (method_has_reference(method) && (arguments->words->len == 0 || method_takes_many(method)))
            offer_names(out, &arguments->options, typed, method->resource);
    } else if (arguments->resource < RESOURCE_MAX) {
        for (MethodId id = 0; id < METHOD_MAX; id++)
            if (methods[id].resource == arguments->resource && methods[id].is_in_cli)
                offer(out, typed, "", methods[id].verb);
    } else if (arguments->command == CLI_COMMAND_MAX || arguments->command == CLI_COMMAND_HELP) {
        for (ResourceId id = 0; id < RESOURCE_MAX; id++)
            offer(out, typed, "", resources[id].name);
        for (CliCommandId id = 0; arguments->command == CLI_COMMAND_MAX && id < CLI_COMMAND_MAX; id++)
            offer(out, typed, "", cli_commands[id].name);
    }
}

void completion_candidates(int n_words, const char *const *words, GString *out) {
    if (n_words < 1)
        return;
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_ptr_array_add(argv, (void *)"lodge");
    for (int i = 0; i < n_words - 1; i++)
        g_ptr_array_add(argv, (void *)words[i]);
    g_auto(Arguments) arguments = {0};
    g_auto(Error) incomplete = {0};
    arguments_parse((int)argv->len, (const char *const *)argv->pdata, &arguments, &incomplete);
    const char *typed = words[n_words - 1], *before = n_words > 1 ? words[n_words - 2] : "";
    if (offer_values(out, &arguments, before, typed))
        return;
    if (*typed == '-')
        offer_flags(out, typed, arguments.method);
    else
        offer_words(out, &arguments, typed);
}
