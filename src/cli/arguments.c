/* Understands the arguments in one pass; words are given their meaning when all flags are known. */
#include <string.h>
#include "cli/arguments.h"
#include "cli/suggest.h"
#include "cli/value.h"

typedef struct Parser {
    Arguments *arguments;
    int argc, at;
    const char *const *argv;
    bool has_no_more_flags;
} Parser;

void arguments_clear(Arguments *arguments) {
    cli_options_clear(&arguments->options);
    g_clear_pointer(&arguments->words, g_ptr_array_unref);
    g_clear_pointer(&arguments->parameters, json_decref);
}

const char *arguments_context(const Arguments *arguments) {
    if (arguments->method < METHOD_MAX)
        return method_command(&methods[arguments->method]);
    return arguments->command < CLI_COMMAND_MAX ? cli_commands[arguments->command].name : NULL;
}

static bool take_value(
    Parser *parser, const char *flag, const char *inline_value, const char **ret_value, Error *err) {
    if (inline_value)
        *ret_value = inline_value;
    else if (parser->at < parser->argc)
        *ret_value = parser->argv[parser->at++];
    else
        return error_set(err, ERROR_INVALID, NULL, "%s needs a value", flag);
    return true;
}

static bool set_field(
    Parser *parser, const FieldDescriptor *field, const char *flag, const char *text, Error *err) {
    g_autoptr(json_t) value =
        flag_reads_file(field) ? value_from_file(field, text, err) : value_from_text(field, text, err);
    if (!value)
        return error_wrap(err, ERROR_NONE, "%s", flag);
    json_t *parameters = parser->arguments->parameters;
    if (!field->is_list && json_object_get(parameters, field->name))
        return error_set(err, ERROR_INVALID, NULL, "%s is given twice", flag);
    if (!field->is_list) {
        json_object_set(parameters, field->name, value);
        return true;
    }
    json_t *list = json_object_get(parameters, field->name);
    if (!list) {
        list = json_array();
        json_object_set_new(parameters, field->name, list);
    }
    if (json_is_array(value))
        json_array_extend(list, value);
    else
        json_array_append(list, value);
    return true;
}

static bool parse_field_flag(Parser *parser, const FieldDescriptor *field, bool is_negated, const char *flag,
    const char *inline_value, Error *err) {
    if (field->kind == FIELD_BOOL && !inline_value)
        return set_field(parser, field, flag, is_negated ? "false" : "true", err);
    const char *value = NULL;
    return take_value(parser, flag, inline_value, &value, err) && set_field(parser, field, flag, value, err);
}

static bool parse_option(
    Parser *parser, CliOptionId id, bool is_negated, const char *flag, const char *inline_value, Error *err) {
    CliOptions *options = &parser->arguments->options;
    if (!cli_options[id].value) {
        if (inline_value)
            return error_set(err, ERROR_INVALID, NULL, "%s takes no value", flag);
        return cli_option_set(options, id, is_negated ? "false" : "true", err);
    }
    if (options->values[id] && !cli_options[id].is_list)
        return error_set(err, ERROR_INVALID, NULL, "%s is given twice", flag);
    const char *value = NULL;
    return take_value(parser, flag, inline_value, &value, err) && cli_option_set(options, id, value, err);
}

static bool refuse_flag(const Parser *parser, const char *flag, Error *err) {
    const Arguments *arguments = parser->arguments;
    g_autoptr(GPtrArray) known = g_ptr_array_new_with_free_func(g_free);
    const MethodDescriptor *method = arguments->method < METHOD_MAX ? &methods[arguments->method] : NULL;
    for (size_t i = 0; method && i < method->parameters->n_fields; i++) {
        g_autofree char *name = flag_name(&method->parameters->fields[i]);
        if (flag_is_offered(method, &method->parameters->fields[i]))
            g_ptr_array_add(known, g_strconcat("--", name, NULL));
    }
    for (CliOptionId id = 0; id < CLI_OPTION_MAX; id++)
        if (cli_option_applies(id, arguments_context(arguments)))
            g_ptr_array_add(known, g_strconcat("--", cli_options[id].name, NULL));
    g_autofree char *advice = suggest_text(flag, known, "; --help lists the options");
    return error_set(err, ERROR_INVALID, NULL, "there is no %s here%s", flag, advice);
}

static bool parse_long_flag(Parser *parser, const char *argument, Error *err) {
    const char *equals = strchr(argument, '=');
    g_autofree char *flag = equals ? g_strndup(argument, (size_t)(equals - argument)) : g_strdup(argument);
    const char *inline_value = equals ? equals + 1 : NULL;
    const Arguments *arguments = parser->arguments;
    bool is_negated = false;
    if (arguments->method < METHOD_MAX) {
        const FieldDescriptor *field = flag_find(&methods[arguments->method], flag + 2, &is_negated);
        if (field)
            return parse_field_flag(parser, field, is_negated, flag, inline_value, err);
    }
    CliOptionId id = cli_option_find(flag + 2, arguments_context(arguments), &is_negated);
    if (id < CLI_OPTION_MAX)
        return parse_option(parser, id, is_negated, flag, inline_value, err);
    return refuse_flag(parser, flag, err);
}

static bool parse_flag(Parser *parser, const char *argument, Error *err) {
    if (g_str_equal(argument, "--")) {
        parser->has_no_more_flags = true;
        return true;
    }
    if (argument[1] == '-')
        return parse_long_flag(parser, argument, err);
    CliOptionId id = cli_option_find_letter(argument[1], arguments_context(parser->arguments));
    char flag[] = {'-', argument[1], 0};
    if (id == CLI_OPTION_MAX || (argument[2] && !cli_options[id].value))
        return error_set(err, ERROR_INVALID, NULL, "there is no %s here", argument);
    return parse_option(parser, id, false, flag, argument[2] ? argument + 2 : NULL, err);
}

/* What only shows in another noun's lists is none. */
static bool is_noun(ResourceId id) {
    return id < RESOURCE_MAX && g_strv_contains(cli_nouns, resources[id].name);
}

static bool parse_noun(Arguments *arguments, const char *word, Error *err) {
    for (CliCommandId id = 0; id < CLI_COMMAND_MAX; id++)
        if (g_str_equal(cli_commands[id].name, word)) {
            arguments->command = id;
            return true;
        }
    arguments->resource = resource_find(word);
    for (ResourceId id = 0; arguments->resource == RESOURCE_MAX && id < RESOURCE_MAX; id++)
        if (g_str_equal(resources[id].plural, word))
            arguments->resource = id;
    if (is_noun(arguments->resource))
        return true;
    arguments->resource = RESOURCE_MAX;
    g_autoptr(GPtrArray) known = g_ptr_array_new();
    for (const char *const *noun = cli_nouns; *noun; noun++)
        g_ptr_array_add(known, (void *)*noun);
    for (CliCommandId id = 0; id < CLI_COMMAND_MAX; id++)
        g_ptr_array_add(known, (void *)cli_commands[id].name);
    g_autofree char *advice = suggest_text(word, known, "; `lodge help` lists them");
    return error_set(err, ERROR_INVALID, NULL, "there is no noun \"%s\"%s", word, advice);
}

static bool refuse_verb(ResourceId resource, const char *word, Error *err) {
    g_autoptr(GPtrArray) known = g_ptr_array_new();
    for (MethodId id = 0; id < METHOD_MAX; id++)
        if (methods[id].resource == resource && methods[id].is_in_cli)
            g_ptr_array_add(known, (void *)methods[id].verb);
    const char *noun = resources[resource].name;
    g_autofree char *listed = g_strdup_printf("; `lodge %s --help` lists them", noun);
    g_autofree char *advice = suggest_text(word, known, listed);
    return error_set(err, ERROR_INVALID, NULL, "%s has no verb \"%s\"%s", noun, word, advice);
}

static bool parse_word(Arguments *arguments, const char *word, Error *err) {
    if (arguments->command < CLI_COMMAND_MAX || arguments->method < METHOD_MAX) {
        g_ptr_array_add(arguments->words, (void *)word);
        return true;
    }
    if (arguments->resource == RESOURCE_MAX)
        return parse_noun(arguments, word, err);
    arguments->method = method_find(arguments->resource, word);
    if (arguments->method < METHOD_MAX && methods[arguments->method].is_in_cli)
        return true;
    arguments->method = METHOD_MAX;
    return refuse_verb(arguments->resource, word, err);
}

/* The word is a file and nothing else. */
static bool takes_file(const MethodDescriptor *method) {
    return method->kind == METHOD_KIND_DOWNLOAD || (method->is_upload && !flag_upload_field(method));
}

static bool assign_list(
    Parser *parser, const FieldDescriptor *field, const char *title, guint first, Error *err) {
    GPtrArray *words = parser->arguments->words;
    while (words->len > first)
        if (!set_field(parser, field, title, g_ptr_array_remove_index(words, first), err))
            return false;
    return true;
}

/* Takes the words that are values of fields out of `words`; what names objects stays. */
static bool assign_words(Parser *parser, Error *err) {
    Arguments *arguments = parser->arguments;
    const MethodDescriptor *method = &methods[arguments->method];
    guint first = method_has_reference(method) ? 1 : 0;
    if (method_takes_many(method))
        return arguments->words->len > 0 || error_set(err, ERROR_INVALID, NULL, "the name is missing");
    if (arguments->words->len < first)
        return error_set(
            err, ERROR_INVALID, NULL, "the name of the %s is missing", resources[method->resource].name);
    for (size_t i = 0; i < method->parameters->n_fields; i++) {
        const FieldDescriptor *field = &method->parameters->fields[i];
        if (!flag_is_word(method, field))
            continue;
        g_autofree char *title = g_ascii_strup(field->name, -1);
        if (field->is_list) { /* the last: it takes all that is left */
            if (!assign_list(parser, field, title, first, err))
                return false;
            continue;
        }
        if (arguments->words->len <= first)
            return error_set(err, ERROR_INVALID, NULL, "%s is missing", title);
        if (!set_field(parser, field, title, arguments->words->pdata[first], err))
            return false;
        g_ptr_array_remove_index(arguments->words, first);
    }
    const FieldDescriptor *upload = flag_upload_field(method);
    if (arguments->words->len > first && (upload || takes_file(method))) {
        const char *word = g_ptr_array_remove_index(arguments->words, first);
        if (upload && strstr(word, "://"))
            return set_field(parser, upload, "URL", word, err);
        arguments->file = word;
    }
    if (arguments->words->len > first)
        return error_set(err, ERROR_INVALID, NULL, "\"%s\" is one word too many",
            (const char *)arguments->words->pdata[first]);
    return true;
}

static bool apply_unset(Arguments *arguments, Error *err) {
    const GPtrArray *unset = arguments->options.unset;
    for (guint i = 0; unset && i < unset->len; i++) {
        bool is_negated = false;
        const FieldDescriptor *field = flag_find(&methods[arguments->method], unset->pdata[i], &is_negated);
        if (!field || is_negated)
            return error_set(
                err, ERROR_INVALID, NULL, "--unset: there is no field %s", (const char *)unset->pdata[i]);
        json_object_set_new(arguments->parameters, field->name, json_null());
    }
    return true;
}

static bool check_complete(const Arguments *arguments, Error *err) {
    const MethodDescriptor *method = &methods[arguments->method];
    if (method->kind == METHOD_KIND_UPDATE && json_object_size(arguments->parameters) == 0)
        return error_set(err, ERROR_INVALID, NULL, "nothing to change was given");
    if (takes_file(method) && !arguments->file)
        return error_set(err, ERROR_INVALID, NULL, "FILE is missing");
    if (flag_upload_field(method) && !arguments->file &&
        !json_object_get(arguments->parameters, flag_upload_field(method)->name))
        return error_set(err, ERROR_INVALID, NULL, "a FILE or URL is missing");
    for (size_t i = 0; i < method->parameters->n_fields && method->kind != METHOD_KIND_UPDATE; i++) {
        const FieldDescriptor *field = &method->parameters->fields[i];
        g_autofree char *name = flag_name(field);
        if (field->flags & FIELD_REQUIRED && flag_is_offered(method, field) &&
            !json_object_get(arguments->parameters, field->name))
            return error_set(err, ERROR_INVALID, NULL, "--%s is required", name);
    }
    return true;
}

bool arguments_parse(int argc, const char *const *argv, Arguments *arguments, Error *err) {
    *arguments = (Arguments){.command = CLI_COMMAND_MAX,
        .resource = RESOURCE_MAX,
        .method = METHOD_MAX,
        .words = g_ptr_array_new(),
        .parameters = json_object()};
    Parser parser = {.arguments = arguments, .argc = argc, .at = 1, .argv = argv};
    while (parser.at < argc) {
        const char *argument = argv[parser.at++];
        bool is_flag = !parser.has_no_more_flags && argument[0] == '-' && argument[1];
        if (!(is_flag ? parse_flag(&parser, argument, err) : parse_word(arguments, argument, err)))
            return false;
    }
    if (arguments->method == METHOD_MAX || cli_option_is(&arguments->options, CLI_OPTION_HELP, false))
        return true;
    return assign_words(&parser, err) && apply_unset(arguments, err) && check_complete(arguments, err);
}
