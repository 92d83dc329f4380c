/* How a method's parameters appear on the command line. */
#include <string.h>
#include "cli/flags.h"

bool flag_reads_file(const FieldDescriptor *field) {
    return field->cli_file || (field->flags & FIELD_SECRET && !(field->flags & FIELD_TYPED));
}

char *flag_name(const FieldDescriptor *field) {
    bool is_file = flag_reads_file(field) && !field->cli_file;
    char *name = g_strconcat(field->cli ? field->cli : field->name, is_file ? "-file" : NULL, NULL);
    return g_strdelimit(name, "_", '-');
}

const char *flag_form(const FieldDescriptor *field) {
    static const char *const forms[] = {
        [FIELD_BOOL] = NULL,
        [FIELD_INT] = "N",
        [FIELD_SIZE] = "SIZE",
        [FIELD_STRING] = "TEXT",
        [FIELD_ENUM] = "VALUE",
        [FIELD_TIME] = "TIME",
        [FIELD_OBJECT] = "FIELD=VALUE,...",
        [FIELD_JSON] = "JSON",
    };
    if (flag_reads_file(field))
        return "FILE";
    if (field->kind != FIELD_STRING)
        return forms[field->kind];
    switch (field->format) {
    case FORMAT_REFERENCE:
    case FORMAT_NAME:
        return "NAME";
    case FORMAT_TAG:
        return "TAG";
    case FORMAT_PATH:
        return "PATH";
    case FORMAT_MAC:
        return "MAC";
    default:
        return "TEXT";
    }
}

bool flag_is_word(const MethodDescriptor *method, const FieldDescriptor *field) {
    if (field->cli)
        return g_str_equal(field->cli, "positional");
    return method->kind == METHOD_KIND_CREATE && g_str_equal(field->name, "name");
}

const FieldDescriptor *flag_upload_field(const MethodDescriptor *method) {
    for (size_t i = 0; i < method->parameters->n_fields; i++) {
        const FieldDescriptor *field = &method->parameters->fields[i];
        if (field->cli && g_str_equal(field->cli, "positional-upload"))
            return field;
    }
    return NULL;
}

bool flag_is_offered(const MethodDescriptor *method, const FieldDescriptor *field) {
    if (field->flags & FIELD_READ_ONLY || flag_is_word(method, field) || method->kind == METHOD_KIND_LIST)
        return false;
    if (method->kind == METHOD_KIND_UPDATE && field->flags & FIELD_CREATE_ONLY)
        return false;
    return !field->cli || (!g_str_equal(field->cli, "none") && !g_str_equal(field->cli, "positional-upload"));
}

const FieldDescriptor *flag_find(const MethodDescriptor *method, const char *name, bool *ret_is_negated) {
    for (size_t i = 0; i < method->parameters->n_fields; i++) {
        const FieldDescriptor *field = &method->parameters->fields[i];
        if (!flag_is_offered(method, field))
            continue;
        g_autofree char *own = flag_name(field);
        bool is_negated =
            field->kind == FIELD_BOOL && g_str_has_prefix(name, "no-") && g_str_equal(name + 3, own);
        if (is_negated || g_str_equal(name, own)) {
            *ret_is_negated = is_negated;
            return field;
        }
    }
    return NULL;
}

bool method_has_reference(const MethodDescriptor *method) {
    return strstr(method->path, "{id}") != NULL;
}

bool method_takes_many(const MethodDescriptor *method) {
    if (!method_has_reference(method) || method->kind == METHOD_KIND_WEBSOCKET ||
        method->kind == METHOD_KIND_UPDATE || method->kind == METHOD_KIND_LIST)
        return false;
    for (size_t i = 0; i < method->parameters->n_fields; i++)
        if (flag_is_word(method, &method->parameters->fields[i]))
            return false;
    return true;
}

const char *method_command(const MethodDescriptor *method) {
    return method->kind == METHOD_KIND_UPDATE ? "update" : method->verb;
}

bool method_has_option(const MethodDescriptor *method, CliOptionId id) {
    if (!cli_option_applies(id, method_command(method)))
        return false;
    switch (cli_options[id].concern) {
    case CLI_CONCERN_RESULT:
        return method->kind != METHOD_KIND_WEBSOCKET && method->kind != METHOD_KIND_DOWNLOAD;
    case CLI_CONCERN_JOB:
        return method->is_job;
    case CLI_CONCERN_DRY_RUN:
        return method->has_dry_run;
    case CLI_CONCERN_CONFIRM:
        return method->needs_confirmation;
    case CLI_CONCERN_HOST_LOCAL:
        return method->host_local < AGENT_METHOD_MAX;
    case CLI_CONCERN_ALL:
        break;
    }
    return cli_options[id].commands != NULL;
}
