/* Help from the tables. */
#include "cli/help.h"
#include "cli/table.h"
#include "cli/value.h"

enum { LEFT_COLUMN = 30, WIDTH = 80 };

/* Words from column LEFT_COLUMN on, no line longer than WIDTH unless a word is. */
static void append_wrapped(GString *out, const char *text) {
    int column = LEFT_COLUMN;
    g_auto(GStrv) words = g_strsplit(text, " ", -1);
    for (char **word = words; *word; word++) {
        int width = text_width(*word);
        if (column > LEFT_COLUMN && column + 1 + width > WIDTH) {
            g_string_append_printf(out, "\n%*s", LEFT_COLUMN, "");
            column = LEFT_COLUMN;
        } else if (column > LEFT_COLUMN) {
            g_string_append_c(out, ' ');
            column++;
        }
        g_string_append(out, *word);
        column += width;
    }
    g_string_append_c(out, '\n');
}

/* A term and its explanation; a long term gets a line of its own. */
static void append_entry(GString *out, const char *term, const char *doc) {
    int blanks = LEFT_COLUMN - 2 - text_width(term);
    if (blanks < 2)
        g_string_append_printf(out, "  %s\n%*s", term, LEFT_COLUMN, "");
    else
        g_string_append_printf(out, "  %s%*s", term, blanks, "");
    append_wrapped(out, doc);
}

static void append_option(GString *out, const CliOption *option) {
    g_autoptr(GString) term = g_string_new(NULL);
    if (option->letter)
        g_string_append_printf(term, "-%c, ", option->letter);
    g_string_append_printf(
        term, "--%s%s%s", option->name, option->value ? " " : "", option->value ? option->value : "");
    g_autofree char *values = option->values ? g_strjoinv(", ", (char **)option->values) : NULL;
    g_autofree char *doc = values ? g_strdup_printf("%s (%s)", option->doc, values) : g_strdup(option->doc);
    append_entry(out, term->str, doc);
}

/* Those of a command that is no method: its own, and those of all that send something. */
static void append_options(GString *out, const char *command) {
    for (CliOptionId id = 0; id < CLI_OPTION_MAX; id++)
        if (cli_option_applies(id, command) && (cli_options[id].commands || !cli_options[id].concern))
            append_option(out, &cli_options[id]);
}

/* Which commands have --dry-run. */
static void append_dry_runs(GString *out) {
    g_autoptr(GString) verbs = g_string_new(NULL);
    for (MethodId id = 0; id < METHOD_MAX; id++)
        if (methods[id].has_dry_run && methods[id].is_in_cli)
            g_string_append_printf(verbs, "%s%s %s", verbs->len ? ", " : "",
                resources[methods[id].resource].name, methods[id].verb);
    g_string_append_c(out, '\n');
    append_entry(out, "With --dry-run:", verbs->str);
}

static void append_examples(GString *out, const char *noun) {
    bool is_first = true;
    for (const CliExample *example = cli_examples; example->noun; example++) {
        if (!g_str_equal(example->noun, noun))
            continue;
        g_string_append_printf(
            out, "%s  %s\n      %s\n", is_first ? "\nExamples:\n" : "", example->run, example->doc);
        is_first = false;
    }
}

void help_general(GString *out) {
    g_string_append(
        out, "lodge NOUN VERB [NAME] [OPTIONS]\n\nNouns (`lodge NOUN --help` lists the verbs):\n");
    for (const char *const *noun = cli_nouns; *noun; noun++)
        append_entry(out, *noun, resources[resource_find(*noun)].doc);
    g_string_append(out, "\nCommands:\n");
    for (CliCommandId id = 0; id < CLI_COMMAND_MAX; id++) {
        g_autofree char *term = g_strdup_printf("%s %s", cli_commands[id].name, cli_commands[id].arguments);
        append_entry(out, term, cli_commands[id].doc);
    }
    g_string_append(out, "\nOptions:\n");
    for (CliOptionId id = 0; id < CLI_OPTION_MAX; id++)
        if (!cli_options[id].commands)
            append_option(out, &cli_options[id]);
    append_dry_runs(out);
    append_examples(out, "lodge");
}

static void append_words(GString *out, const MethodDescriptor *method) {
    if (method_has_reference(method)) {
        g_autofree char *noun = g_ascii_strup(resources[method->resource].name, -1);
        g_string_append_printf(out, " %s%s", noun, method_takes_many(method) ? "..." : "");
    }
    for (size_t i = 0; i < method->parameters->n_fields; i++) {
        const FieldDescriptor *field = &method->parameters->fields[i];
        g_autofree char *title = g_ascii_strup(field->name, -1);
        if (flag_is_word(method, field))
            g_string_append_printf(out, " %s", title);
    }
    if (flag_upload_field(method))
        g_string_append(out, " FILE|URL");
    if (method->kind == METHOD_KIND_DOWNLOAD || (method->is_upload && !flag_upload_field(method)))
        g_string_append(out, " FILE");
}

void help_noun(ResourceId resource, GString *out) {
    g_string_append_printf(
        out, "lodge %s VERB [OPTIONS]\n\n%s\n\nVerbs:\n", resources[resource].name, resources[resource].doc);
    for (MethodId id = 0; id < METHOD_MAX; id++) {
        if (methods[id].resource != resource || !methods[id].is_in_cli)
            continue;
        g_autoptr(GString) term = g_string_new(methods[id].verb);
        append_words(term, &methods[id]);
        append_entry(out, term->str, methods[id].doc);
    }
    append_examples(out, resources[resource].name);
}

static void append_flag(GString *out, const FieldDescriptor *field) {
    g_autofree char *name = flag_name(field);
    const char *form = flag_form(field);
    g_autofree char *term = g_strdup_printf("--%s%s%s", name, form ? " " : "", form ? form : "");
    g_autoptr(GString) doc = g_string_new(field->doc);
    for (size_t i = 0; field->enumeration && i < field->enumeration->n_values; i++)
        g_string_append_printf(doc, "%s%s", i ? ", " : " (", field->enumeration->values[i].name);
    if (field->enumeration)
        g_string_append_c(doc, ')');
    if (field->is_list)
        g_string_append(doc, " May be repeated.");
    if (field->default_text && field->kind == FIELD_SIZE) {
        g_autofree char *size = value_size_text(g_ascii_strtoull(field->default_text, NULL, 10));
        g_string_append_printf(doc, " Default: %s.", size);
    } else if (field->default_text) {
        g_string_append_printf(doc, " Default: %s.", field->default_text);
    }
    append_entry(out, term, doc->str);
}

void help_verb(MethodId id, GString *out) {
    const MethodDescriptor *method = &methods[id];
    g_string_append_printf(out, "lodge %s %s", resources[method->resource].name, method->verb);
    append_words(out, method);
    g_string_append_printf(out, " [OPTIONS]\n\n%s\n\nOptions:\n", method->doc);
    for (size_t i = 0; i < method->parameters->n_fields; i++)
        if (flag_is_offered(method, &method->parameters->fields[i]))
            append_flag(out, &method->parameters->fields[i]);
    for (CliOptionId option = 0; option < CLI_OPTION_MAX; option++)
        if (method_has_option(method, option))
            append_option(out, &cli_options[option]);
    g_string_append(out, "\n`lodge help` lists the options of all commands.\n");
}

void help_command(CliCommandId id, GString *out) {
    const CliCommand *command = &cli_commands[id];
    g_string_append_printf(
        out, "lodge %s %s [OPTIONS]\n\n%s\n\nOptions:\n", command->name, command->arguments, command->doc);
    append_options(out, command->name);
}

static void help_named(const Arguments *arguments, GString *out) {
    if (arguments->command < CLI_COMMAND_MAX)
        help_command(arguments->command, out);
    else if (arguments->method < METHOD_MAX)
        help_verb(arguments->method, out);
    else if (arguments->resource < RESOURCE_MAX)
        help_noun(arguments->resource, out);
    else
        help_general(out);
}

/* `lodge help NOUN VERB` and `lodge NOUN VERB --help` are the same. */
bool help_for(const Arguments *arguments, GString *out, Error *err) {
    bool is_asked = cli_option_is(&arguments->options, CLI_OPTION_HELP, false);
    if (arguments->command != CLI_COMMAND_HELP || (is_asked && arguments->words->len == 0)) {
        help_named(arguments, out);
        return true;
    }
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    g_auto(Arguments) asked = {0};
    g_ptr_array_add(words, (void *)"lodge");
    g_ptr_array_extend(words, arguments->words, NULL, NULL);
    g_ptr_array_add(words, (void *)"--help");
    if (!arguments_parse((int)words->len, (const char *const *)words->pdata, &asked, err))
        return false;
    help_named(&asked, out);
    return true;
}
