/* Candidates from the tables; names from the server. */
#include <string.h>
#include "cli/arguments.h"
#include "cli/completion.h"
#include "cli/host-local.h"
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

static void offer_local_names(GString *out, const char *typed) {
    g_autoptr(json_t) vms = NULL;
    size_t i;
    json_t *vm;
    if (!host_local_vms(&vms, NULL))
        return;
    json_array_foreach (vms, i, vm)
        if (json_text_at(vm, "name"))
            offer(out, typed, "", json_text_at(vm, "name"));
}

/* The names of a resource's objects, or their ids where those are words. */
static void offer_names(
    GString *out, const CliOptions *options, const char *typed, ResourceId resource, const char *filter) {
    g_autoptr(Session) session = NULL;
    if (resource == RESOURCE_VM && cli_option_is(options, CLI_OPTION_HOST_LOCAL, false)) {
        offer_local_names(out, typed);
        return;
    }
    g_autoptr(json_t) answer = NULL;
    if (resource == RESOURCE_MAX || resources[resource].is_singleton ||
        !session_open(options, &session, NULL))
        return;
    g_autofree char *path = g_strdup_printf("/v1/%s?limit=1000", resources[resource].plural);
    g_autoptr(GString) full = g_string_new(path);
    if (filter)
        session_path_add(full, "filter", filter);
    const SessionRequest request = {.method = "GET", .path = full->str, .timeout_ms = NAMES_TIMEOUT_MS};
    if (!session_request(session, &request, &answer, NULL))
        return;
    const FieldDescriptor *id = model_field(resources[resource].type, "id");
    const char *key = id && id->format != FORMAT_UUID ? "id" : "name";
    size_t i;
    json_t *item;
    json_array_foreach (json_object_get(answer, "items"), i, item) {
        const char *name = json_text_at(item, key);
        if (!name)
            name = json_text_at(item, "short_id");
        if (name)
            offer(out, typed, "", name);
    }
}

static void offer_flags(GString *out, const char *typed, const Arguments *arguments) {
    const MethodDescriptor *method = arguments->method < METHOD_MAX ? &methods[arguments->method] : NULL;
    for (size_t i = 0; method && i < method->parameters->n_fields; i++) {
        g_autofree char *name = flag_name(&method->parameters->fields[i]);
        if (flag_is_offered(method, &method->parameters->fields[i]))
            offer(out, typed, "--", name);
    }
    const char *context = arguments_context(arguments);
    for (CliOptionId option = 0; option < CLI_OPTION_MAX; option++) {
        bool is_common = !cli_options[option].commands && !cli_options[option].concern;
        bool is_own = method    ? method_has_option(method, option)
                      : context ? cli_options[option].commands && cli_option_applies(option, context)
                                : !cli_options[option].commands;
        if (is_common || is_own)
            offer(out, typed, "--", cli_options[option].name);
    }
}

/* What a string field takes that is called like a resource: ids of guest operating systems, the disks of the
 * VM that was named. */
static void offer_field(
    GString *out, const Arguments *arguments, const char *typed, const FieldDescriptor *field) {
    const MethodDescriptor *method = &methods[arguments->method];
    for (size_t i = 0; field->enumeration && i < field->enumeration->n_values; i++)
        offer(out, typed, "", field->enumeration->values[i].name);
    g_autofree char *noun = g_strdelimit(g_strdup(field->name), "_", '-');
    ResourceId resource = resource_find(field->reference ? field->reference : noun);
    if (resource == RESOURCE_MAX || field->kind != FIELD_STRING)
        return;
    const char *owner = resources[method->resource].name;
    bool is_owned = !field->reference && method_has_reference(method) && arguments->words->len > 0 &&
                    model_field(resources[resource].type, owner);
    g_autofree char *filter =
        is_owned ? g_strdup_printf("%s=%s", owner, (const char *)arguments->words->pdata[0]) : NULL;
    offer_names(out, &arguments->options, typed, resource, filter);
}

static void offer_fields(GString *out, const char *typed, const char *prefix, const TypeDescriptor *type) {
    for (size_t i = 0; i < type->n_fields; i++) {
        const FieldDescriptor *field = &type->fields[i];
        if (field->kind != FIELD_OBJECT && !(field->flags & (FIELD_SECRET | FIELD_WRITE_ONLY)))
            offer(out, typed, prefix, field->name);
        else if (field->kind == FIELD_OBJECT && g_str_equal(field->name, "status"))
            for (size_t j = 0; j < field->type->n_fields; j++)
                offer(out, typed, prefix, field->type->fields[j].name);
    }
}

/* `fields`: what was offered already, or NULL. */
static void offer_titles(GString *out, const char *typed, const char *prefix, const ColumnDescriptor *columns,
    const TypeDescriptor *fields) {
    const FieldDescriptor *status = fields ? model_field(fields, "status") : NULL;
    for (; columns->title; columns++) {
        g_autofree char *title = g_ascii_strdown(columns->title, -1);
        const char *word = strchr(title, ' ') ? columns->path : title;
        bool is_known = (fields && model_field(fields, word)) ||
                        (status && status->type && model_field(status->type, word));
        if (!is_known)
            offer(out, typed, prefix, word);
    }
}

/* Lists joined by commas: the last word is completed. */
static void offer_of_resource(GString *out, CliOptionId id, const char *typed, ResourceId resource) {
    const ResourceDescriptor *of = &resources[resource];
    const char *comma = strrchr(typed, ',');
    size_t done = comma ? (size_t)(comma - typed) + 1 : 0;
    done += id == CLI_OPTION_SORT && typed[done] == '-';
    g_autofree char *prefix = g_strndup(typed, done);
    const TypeDescriptor *fields = id == CLI_OPTION_COLUMNS ? NULL : of->type;
    if (fields)
        offer_fields(out, typed, prefix, fields);
    offer_titles(out, typed, prefix, of->columns, fields);
    offer_titles(out, typed, prefix, of->wide, fields);
}

static void offer_unset(GString *out, const char *typed, const MethodDescriptor *method) {
    for (size_t i = 0; i < method->parameters->n_fields; i++) {
        const FieldDescriptor *field = &method->parameters->fields[i];
        g_autofree char *name = flag_name(field);
        if (flag_is_offered(method, field) && !(field->flags & FIELD_REQUIRED))
            offer(out, typed, "", name);
    }
}

static void offer_option(GString *out, const Arguments *arguments, CliOptionId id, const char *typed) {
    for (const char *const *value = cli_options[id].values; value && *value; value++)
        offer(out, typed, "", *value);
    if (arguments->method == METHOD_MAX)
        return;
    if (id == CLI_OPTION_UNSET)
        offer_unset(out, typed, &methods[arguments->method]);
    if (id == CLI_OPTION_COLUMNS || id == CLI_OPTION_FILTER || id == CLI_OPTION_SORT)
        offer_of_resource(out, id, typed, methods[arguments->method].rows);
}

/* What may follow `flag`; false when it takes no value. */
static bool offer_values(GString *out, const Arguments *arguments, const char *flag, const char *typed) {
    const char *context = arguments_context(arguments);
    bool is_negated = false;
    const FieldDescriptor *field = NULL;
    CliOptionId id = CLI_OPTION_MAX;
    if (flag[0] == '-' && flag[1] && flag[1] != '-' && !flag[2])
        id = cli_option_find_letter(flag[1], context);
    else if (!g_str_has_prefix(flag, "--") || strchr(flag, '='))
        return false;
    if (id == CLI_OPTION_MAX && arguments->method < METHOD_MAX)
        field = flag_find(&methods[arguments->method], flag + 2, &is_negated);
    if (field && field->kind == FIELD_BOOL)
        return false;
    if (field) {
        offer_field(out, arguments, typed, field);
        return true;
    }
    if (id == CLI_OPTION_MAX)
        id = cli_option_find(flag + 2, context, &is_negated);
    if (id == CLI_OPTION_MAX || !cli_options[id].value)
        return false;
    offer_option(out, arguments, id, typed);
    return true;
}

static void offer_verbs(GString *out, const char *typed, ResourceId resource) {
    for (MethodId id = 0; resource < RESOURCE_MAX && id < METHOD_MAX; id++)
        if (methods[id].resource == resource && methods[id].is_in_cli)
            offer(out, typed, "", methods[id].verb);
}

static void offer_nouns(GString *out, const char *typed) {
    for (const char *const *noun = cli_nouns; *noun; noun++)
        offer(out, typed, "", *noun);
    for (CliCommandId id = 0; id < CLI_COMMAND_MAX; id++)
        offer(out, typed, "", cli_commands[id].name);
}

/* The field that the next word is a value of, behind the object's name; NULL when there is none. */
static const FieldDescriptor *next_word(const Arguments *arguments) {
    const MethodDescriptor *method = &methods[arguments->method];
    guint n = method_has_reference(method) ? 1 : 0;
    for (size_t i = 0; i < method->parameters->n_fields; i++)
        if (flag_is_word(method, &method->parameters->fields[i]) && n++ == arguments->words->len)
            return &method->parameters->fields[i];
    return NULL;
}

static void offer_method_words(GString *out, const Arguments *arguments, const char *typed) {
    const MethodDescriptor *method = &methods[arguments->method];
    if (method_has_reference(method) && (arguments->words->len == 0 || method_takes_many(method))) {
        const CliCandidates *candidates = cli_candidates;
        while (candidates->method && !g_str_equal(candidates->method, method->name))
            candidates++;
        offer_names(out, &arguments->options, typed, method->resource, candidates->filter);
        return;
    }
    const FieldDescriptor *field = next_word(arguments);
    if (field)
        offer_field(out, arguments, typed, field);
}

static void offer_words(GString *out, const Arguments *arguments, const char *typed) {
    const GPtrArray *words = arguments->words;
    if (arguments->command == CLI_COMMAND_COMPLETION) {
        for (size_t i = 0; i < G_N_ELEMENTS(scripts); i++)
            offer(out, typed, "", scripts[i].shell);
    } else if (arguments->method < METHOD_MAX) {
        offer_method_words(out, arguments, typed);
    } else if (arguments->resource < RESOURCE_MAX) {
        offer_verbs(out, typed, arguments->resource);
    } else if (arguments->command == CLI_COMMAND_HELP && words->len == 1) {
        offer_verbs(out, typed, resource_find(words->pdata[0]));
    } else if (arguments->command == CLI_COMMAND_MAX ||
               (arguments->command == CLI_COMMAND_HELP && !words->len)) {
        offer_nouns(out, typed);
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
        offer_flags(out, typed, &arguments);
    else
        offer_words(out, &arguments, typed);
}
