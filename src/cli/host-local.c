/* The agent's answers as JSON, from a program that is run for each question. */
#include "cli/host-local.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/process.h"
#include "cli/output.h"
#include "cli/suggest.h"

enum { OUTPUT_LIMIT = 4 << 20 }; /* more than a frame of the agent's protocol */

/* ---- asking ---- */

static const char *program(void) {
    const char *named = g_getenv("LODGE_AGENT");
    return named && *named ? named : LODGE_AGENT_PROGRAM;
}

static char *socket_path(void) {
    const char *named = g_getenv("LODGE_AGENT_SOCKET"), *instance = g_getenv("LODGE_INSTANCE");
    if (named && *named)
        return g_strdup(named);
    return g_strdup_printf("/run/%s/agent.sock", instance && *instance ? instance : "lodge");
}

/* The result is a new reference. */
static bool ask(AgentMethodId method, const json_t *parameters, json_t **ret_result, Error *err) {
    const char *what = strchr(agent_methods[method].name, '.') + 1;
    g_autofree char *socket = socket_path(), *text = json_to_text(parameters), *output = NULL;
    const char *const argv[] = {program(), "--socket", socket, "local", what, text, NULL};
    const ProcessSpec spec = {.argv = argv, .output_limit = OUTPUT_LIMIT};
    if (!process_run(&spec, &output, err))
        return error_wrap(err, ERROR_NONE, "%s cannot ask the agent of this host", argv[0]);
    g_autoptr(json_t) answer = json_parse(output, strlen(output), err);
    if (!answer)
        return error_wrap(err, ERROR_PROTOCOL, "the answer of %s is no JSON", argv[0]);
    const json_t *error = json_object_get(answer, "error");
    json_t *result = json_object_get(answer, "result");
    if (error) {
        error_from_json(error, err);
        return false;
    }
    *ret_result = json_incref(result);
    return result || error_set(err, ERROR_PROTOCOL, NULL, "the agent's answer has no result");
}

/* ---- VMs ---- */

static bool add_pages(json_t *vms, Error *err) {
    g_autofree char *after = NULL;
    do {
        g_autoptr(json_t) parameters = json_pack("{ss*}", "after", after), page = NULL;
        if (!ask(AGENT_METHOD_LOCAL_LIST, parameters, &page, err))
            return false;
        json_array_extend(vms, json_object_get(page, "vms"));
        const char *next = json_text_at(page, "next");
        if (next && after && strcmp(next, after) <= 0)
            return error_set(err, ERROR_PROTOCOL, NULL, "the agent's pages have no end");
        g_free(after);
        after = g_strdup(next);
    } while (after);
    return true;
}

/* web-2 stands before web-10. */
static int compare_names(const void *a, const void *b) {
    const char *left = json_text_at(*(json_t *const *)a, "name"),
               *right = json_text_at(*(json_t *const *)b, "name");
    g_autofree char *left_key = g_utf8_collate_key_for_filename(left ? left : "", -1);
    g_autofree char *right_key = g_utf8_collate_key_for_filename(right ? right : "", -1);
    return strcmp(left_key, right_key);
}

bool host_local_vms(json_t **ret_vms, Error *err) {
    g_autoptr(json_t) found = json_array();
    g_autoptr(GPtrArray) sorted = g_ptr_array_new();
    size_t i;
    json_t *vm;
    if (!add_pages(found, err))
        return false;
    json_array_foreach (found, i, vm)
        g_ptr_array_add(sorted, vm);
    g_ptr_array_sort(sorted, compare_names);
    *ret_vms = json_array();
    for (i = 0; i < sorted->len; i++)
        json_array_append(*ret_vms, sorted->pdata[i]);
    return true;
}

static bool refuse_name(const json_t *vms, const char *name, Error *err) {
    g_autoptr(GPtrArray) known = g_ptr_array_new();
    size_t i;
    json_t *vm;
    json_array_foreach ((json_t *)vms, i, vm)
        if (json_text_at(vm, "name"))
            g_ptr_array_add(known, (void *)json_text_at(vm, "name"));
    g_autofree char *advice = suggest_text(name, known, "");
    return error_set(err, ERROR_NOT_FOUND, NULL, "there is no vm \"%s\" on this host%s", name, advice);
}

/* Borrowed. By id, or by a name that only one has; names ignore case. */
static bool find_vm(const json_t *vms, const char *name, const json_t **ret_vm, Error *err) {
    size_t i, n = 0;
    json_t *vm;
    json_array_foreach ((json_t *)vms, i, vm) {
        const char *id = json_text_at(vm, "id"), *own = json_text_at(vm, "name");
        bool is_id = g_strcmp0(id, name) == 0;
        if (!is_id && (!own || g_ascii_strcasecmp(own, name) != 0))
            continue;
        *ret_vm = vm;
        n = is_id ? 1 : n + 1;
        if (is_id)
            break;
    }
    if (n > 1)
        return error_set(err, ERROR_AMBIGUOUS, NULL, "%zu VMs on this host are called \"%s\"", n, name);
    return n == 1 || refuse_name(vms, name, err);
}

/* ---- what was asked for ---- */

static bool refuse_method(Error *err) {
    g_autoptr(GString) verbs = g_string_new(NULL);
    for (MethodId id = 0; id < METHOD_MAX; id++)
        if (methods[id].host_local < AGENT_METHOD_MAX)
            g_string_append_printf(verbs, "%s%s %s", verbs->len ? ", " : "",
                resources[methods[id].resource].name, methods[id].verb);
    return error_set(
        err, ERROR_INVALID, NULL, "--host-local is for %s only; all else needs the manager", verbs->str);
}

static bool check_options(const CliOptions *options, Error *err) {
    static const CliOptionId of_manager[] = {CLI_OPTION_FILTER, CLI_OPTION_SORT, CLI_OPTION_LIMIT,
        CLI_OPTION_WAIT, CLI_OPTION_TIMEOUT, CLI_OPTION_DRY_RUN, CLI_OPTION_SERVER, CLI_OPTION_TOKEN_FILE};
    for (size_t i = 0; i < G_N_ELEMENTS(of_manager); i++)
        if (options->values[of_manager[i]])
            return error_set(err, ERROR_INVALID, NULL,
                "--%s needs the manager; it is nothing for --host-local", cli_options[of_manager[i]].name);
    return true;
}

typedef struct LocalRun {
    const Arguments *arguments;
    const MethodDescriptor *method;
    json_t *vms;
    bool has_titles; /* they were written: not again for the next object */
} LocalRun;

static bool show(LocalRun *run, const json_t *vm, Error *err) {
    CliOptions options = run->arguments->options;
    if (run->has_titles && output_has_columns(&options))
        options.values[CLI_OPTION_HEADERS] = "false";
    run->has_titles = true;
    return output_object(&options, run->method->rows, vm, err);
}

/* As it is afterwards, when the user said how to write that. */
static bool show_again(LocalRun *run, const char *id, Error *err) {
    g_autoptr(json_t) vms = NULL;
    const json_t *vm = NULL;
    if (!output_has_choice(&run->arguments->options))
        return true;
    return host_local_vms(&vms, err) && find_vm(vms, id, &vm, err) && show(run, vm, err);
}

/* In place of this program, which has nothing more to do. */
static bool become_console(const char *id, Error *err) {
    g_autofree char *socket = socket_path();
    char *const argv[] = {(char *)program(), "--socket", socket, "console", (char *)id, NULL};
    execv(argv[0], argv);
    return error_set(err, ERROR_LOCAL_FILE, NULL, "cannot run %s: %s", argv[0], g_strerror(errno));
}

static bool run_one(LocalRun *run, const char *name, Error *err) {
    const json_t *vm = NULL;
    g_autoptr(json_t) parameters = json_deep_copy(run->arguments->parameters), state = NULL;
    if (!find_vm(run->vms, name, &vm, err))
        return false;
    if (run->method->kind == METHOD_KIND_GET)
        return show(run, vm, err);
    const char *id = json_text_at(vm, "id");
    if (run->method->kind == METHOD_KIND_WEBSOCKET)
        return become_console(id, err);
    json_object_set_new(parameters, "id", json_string(id));
    if (!ask(run->method->host_local, parameters, &state, err))
        return false;
    fprintf(stderr, "%s %s: done\n", run->method->verb, json_text_at(vm, "name"));
    return show_again(run, id, err);
}

/* Every VM gets its turn; the first error counts. */
static bool run_each(LocalRun *run, Error *err) {
    const GPtrArray *names = run->arguments->words;
    bool has_all = true;
    for (guint i = 0; i < names->len; i++) {
        g_auto(Error) failure = {0};
        if (run_one(run, names->pdata[i], &failure))
            continue;
        if (!has_all)
            output_error(&failure);
        else
            error_move(err, &failure);
        has_all = false;
    }
    return has_all;
}

bool host_local_run(const Arguments *arguments, Error *err) {
    const CliOptions *options = &arguments->options;
    if (arguments->method == METHOD_MAX || methods[arguments->method].host_local == AGENT_METHOD_MAX)
        return refuse_method(err);
    const MethodDescriptor *method = &methods[arguments->method];
    g_autoptr(json_t) vms = NULL;
    if (!check_options(options, err) || !output_check_columns(options, method->rows, err) ||
        !host_local_vms(&vms, err))
        return false;
    LocalRun run = {.arguments = arguments, .method = method, .vms = vms};
    return method->kind == METHOD_KIND_LIST ? output_list(options, method->rows, vms, err)
                                            : run_each(&run, err);
}
