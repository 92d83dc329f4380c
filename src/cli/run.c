/* Runs a method: by its kind. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "cli/console.h"
#include "cli/feed.h"
#include "cli/output.h"
#include "cli/plan.h"
#include "cli/run.h"
#include "cli/titles.h"
#include "cli/transfer.h"
#include "cli/value.h"
#include "cli/wait.h"
#include "cli/watch.h"

typedef struct Run {
    const Arguments *arguments;
    const MethodDescriptor *method;
    Session *session;
    GPtrArray *jobs; /* of json_t, submitted and not waited for yet */
    bool has_left;   /* the user does not want to wait any more */
    bool has_titles; /* they were written: not again for the next object */
} Run;

static bool number_of(const CliOptions *options, CliOptionId id, uint64_t *ret_number, Error *err) {
    const char *text = options->values[id];
    *ret_number = 0;
    if (text && !g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT32, ret_number, NULL))
        return error_set(
            err, ERROR_INVALID, NULL, "--%s: \"%s\" is not a number above 0", cli_options[id].name, text);
    return true;
}

static bool run_list(const Run *run, Error *err) {
    const CliOptions *options = &run->arguments->options;
    const char *filter = options->values[CLI_OPTION_FILTER], *sort = options->values[CLI_OPTION_SORT];
    const ResourceDescriptor *resource = &resources[run->method->rows];
    const GPtrArray *words = run->arguments->words;
    uint64_t limit = 0;
    if (!number_of(options, CLI_OPTION_LIMIT, &limit, err))
        return false;
    g_autofree char *conditions = filter ? titles_in_filter(resource, filter) : NULL;
    g_autofree char *keys = sort ? titles_in_sort(resource, sort) : NULL;
    g_autofree char *own = session_path(run->method->path, words->len > 0 ? words->pdata[0] : "");
    g_autoptr(GString) path = g_string_new(own);
    if (conditions)
        session_path_add(path, "filter", conditions);
    if (keys)
        session_path_add(path, "sort", keys);
    g_autofree char *fields = output_list_fields(options, run->method->rows);
    if (fields)
        session_path_add(path, "fields", fields);
    g_autoptr(json_t) objects = NULL;
    return session_list(run->session, path->str, limit, &objects, err) &&
           output_list(options, run->method->rows, objects, err);
}

/* Objects that a job made, by what its result says: {"vms": [{id, name, error?}]}. Null when it says nothing
 * such. */
static bool made_objects(const Run *run, const json_t *job, json_t **ret_objects, Error *err) {
    const ResourceDescriptor *resource = &resources[run->method->resource];
    const json_t *made = json_object_get(json_object_get(job, "result"), resource->plural);
    g_autoptr(json_t) objects = json_array();
    g_autofree char *template = g_strdup_printf("/v1/%s/{id}", resource->plural);
    size_t i;
    json_t *item;
    json_array_foreach ((json_t *)made, i, item) {
        const char *id = json_text_at(item, "id");
        json_t *fault = json_object_get(item, "error");
        if (json_is_object(fault)) {
            if (!error_is_set(err))
                error_from_json(fault, err);
            const char *name = json_text_at(item, "name"), *detail = json_text_at(fault, "detail");
            fprintf(stderr, "lodge: %s: %s\n", name ? name : "?", detail ? detail : "failed");
            continue;
        }
        g_autofree char *path = session_path(template, id ? id : "");
        json_t *object = NULL;
        if (id && session_get(run->session, path, &object, NULL))
            json_array_append_new(objects, object);
    }
    *ret_objects = g_steal_pointer(&objects);
    return !error_is_set(err);
}

static bool is_making(const MethodDescriptor *method) {
    return method->kind == METHOD_KIND_CREATE || method->kind == METHOD_KIND_COLLECTION_ACTION ||
           g_str_equal(method->verb, "clone");
}

static bool is_reading(const MethodDescriptor *method) {
    return method->kind == METHOD_KIND_GET || method->kind == METHOD_KIND_READ ||
           method->kind == METHOD_KIND_SINGLETON_GET;
}

/* The object that the job is about, when it can still be read. */
static json_t *target_of(const Run *run, const json_t *job) {
    const char *target = json_text_at(job, "target"), *noun = resources[run->method->resource].name;
    size_t length = strlen(noun);
    json_t *object = NULL;
    if (!target || strncmp(target, noun, length) != 0 || target[length] != '/')
        return NULL;
    g_autofree char *template = g_strdup_printf("/v1/%s/{id}", resources[run->method->resource].plural);
    g_autofree char *path = session_path(template, target + length + 1);
    return session_get(run->session, path, &object, NULL) ? object : NULL;
}

/* What a job made, also when it failed in part: its error is main's or finish_jobs' to tell. */
static bool show_made(const Run *run, const json_t *job, bool is_done, Error *err) {
    const CliOptions *options = &run->arguments->options;
    g_auto(Error) partial = {0};
    g_autoptr(json_t) objects = NULL;
    made_objects(run, job, &objects, &partial);
    g_autoptr(json_t) target = is_done && json_array_size(objects) == 0 ? target_of(run, job) : NULL;
    if (target)
        json_array_append(objects, target);
    if (json_array_size(objects) > 0 && !output_list(options, run->method->resource, objects, err))
        return false;
    if (!error_is_set(&partial))
        return true;
    error_move(err, &partial);
    return false;
}

/* One of several objects, in whatever format was asked for. */
static bool show_one(Run *run, const json_t *object, Error *err) {
    CliOptions options = run->arguments->options;
    if (run->has_titles && output_has_columns(&options))
        options.values[CLI_OPTION_HEADERS] = "false";
    run->has_titles = true;
    return output_object(&options, run->method->rows, object, err);
}

/* One line for people when something is done that has no result of its own. */
static void tell_done(const Run *run, const char *name) {
    fprintf(stderr, "%s %s: done\n", run->method->verb, name ? name : resources[run->method->resource].name);
}

/* "  memory, firmware: at the next start": JSON pointers in the job's result. */
static void tell_pending(const json_t *job) {
    const json_t *pending = json_object_get(json_object_get(job, "result"), "pending");
    g_autoptr(GString) fields = g_string_new(NULL);
    size_t i;
    json_t *pointer;
    json_array_foreach ((json_t *)pending, i, pointer) {
        const char *text = json_is_string(pointer) ? json_string_value(pointer) : "";
        g_string_append_printf(fields, "%s%s", fields->len ? ", " : "", text + (*text == '/'));
    }
    g_strdelimit(fields->str, "/", '.');
    if (fields->len)
        fprintf(stderr, "  %s: at the next start\n", fields->str);
}

/* What came along with a host, by kind and name. */
static void tell_adopted(const json_t *job) {
    const json_t *result = json_object_get(job, "result"), *adopted = json_object_get(result, "adopted");
    size_t i;
    json_t *item;
    if (!adopted)
        return;
    json_array_foreach ((json_t *)adopted, i, item) {
        const char *was = json_text_at(item, "was");
        fprintf(stderr, "  %s %s%s%s%s\n", json_text_at(item, "kind"), json_text_at(item, "name"),
            was ? " (was " : "", was ? was : "", was ? ")" : "");
    }
    json_int_t n = json_integer_value(json_object_get(result, "n_adopted"));
    if (n > (json_int_t)i)
        fprintf(stderr, "  and %lld more\n", (long long)n - (long long)i);
    if (n == 0)
        fprintf(stderr, "  everything that lies there was listed before\n");
}

/* Running VMs that went to other hosts, and those that did not. */
static void tell_moves(const json_t *job) {
    static const char *const lists[] = {"moved", "failed", "stay"};
    const json_t *result = json_object_get(job, "result");
    size_t i, n = 0;
    json_t *move;
    if (!json_is_array(json_object_get(result, "moved")))
        return;
    for (size_t list = 0; list < G_N_ELEMENTS(lists); list++)
        json_array_foreach (json_object_get(result, lists[list]), i, move) {
            const char *name = json_text_at(move, "vm"), *to = json_text_at(move, "to"),
                       *reason = json_text_at(move, "reason");
            if (list == 0)
                fprintf(stderr, "  %s is on %s now\n", name, to);
            else
                fprintf(stderr, "  %s stays: %s\n", name, reason);
            n++;
        }
    if (n == 0 && g_strcmp0(json_text_at(job, "kind"), "pool.balance") == 0)
        fprintf(stderr, "  its hosts carry alike: no VM had to move\n");
}

/* Hosts that can be switched off, and those that could not be emptied. */
static void tell_emptied(const json_t *job) {
    const json_t *emptied = json_at(job, "result.emptied");
    size_t i;
    json_t *host;
    json_array_foreach ((json_t *)emptied, i, host) {
        const char *reason = json_text_at(host, "reason");
        fprintf(stderr, "  %s %s%s\n", json_text_at(host, "host"),
            reason ? "is not empty: " : "is empty and in maintenance", reason ? reason : "");
    }
}

static void tell_rows(const char *title, const json_t *rows, const char *more) {
    size_t i;
    json_t *row;
    if (json_array_size(rows) > 0)
        fprintf(stderr, "%s:\n", title);
    json_array_foreach ((json_t *)rows, i, row) {
        const char *name = json_text_at(row, "name"), *reason = json_text_at(row, "reason"),
                   *advice = json_text_at(row, more);
        if (!name)
            name = json_text_at(row, "address");
        if (!name)
            name = json_text_at(row, "host");
        fprintf(stderr, "  %s: %s%s%s\n", name ? name : json_text_at(row, "what"), reason ? reason : "",
            reason && advice ? "; " : "", advice ? advice : "");
    }
}

/* A manager that was made anew: what is there, and what is not. */
static void tell_rebuilt(const json_t *job) {
    const json_t *result = json_object_get(job, "result"), *listed = json_object_get(result, "listed");
    const char *kind;
    json_t *n;
    bool is_first = true;
    if (!listed)
        return;
    fprintf(stderr, "Listed now:");
    json_object_foreach ((json_t *)listed, kind, n) {
        fprintf(stderr, "%s %lld %s", is_first ? "" : ",", (long long)json_integer_value(n), kind);
        is_first = false;
    }
    fprintf(stderr, "\n");
    tell_rows("Not taken", json_object_get(result, "not_taken"), "advice");
    tell_rows("Undecided", json_object_get(result, "undecided"), "host");
    tell_rows("Principals that were left out", json_object_get(result, "principals_left"), "advice");
    tell_rows("Not recovered", json_object_get(result, "unrecovered"), "advice");
}

static bool show_job(Run *run, const json_t *job, Error *err) {
    const CliOptions *options = &run->arguments->options;
    if (is_making(run->method)) {
        tell_adopted(job);
        return show_made(run, job, true, err);
    }
    tell_done(run, json_text_at(job, "target_name"));
    tell_pending(job);
    tell_adopted(job);
    tell_moves(job);
    tell_emptied(job);
    tell_rebuilt(job);
    if (!output_has_columns(options))
        return output_is_human(options) || output_value(options, run->method->result, job, err);
    g_autoptr(json_t) target = target_of(run, job);
    return !target || show_one(run, target, err);
}

static bool show_submitted(const Run *run, const json_t *job, Error *err) {
    const CliOptions *options = &run->arguments->options;
    const char *id = json_text_at(job, "id");
    if (!output_is_human(options))
        return output_value(options, run->method->result, job, err);
    g_autoptr(GString) line = g_string_new(id ? id : "-");
    return output_write(g_string_append_c(line, '\n'), err);
}

static bool finish_job(Run *run, const json_t *submitted, uint64_t timeout_s, Error *err) {
    g_autoptr(json_t) job = NULL;
    if (!cli_option_is(&run->arguments->options, CLI_OPTION_WAIT, true))
        return show_submitted(run, submitted, err);
    if (wait_for_job(run->session, submitted, (int64_t)timeout_s, &job, err))
        return show_job(run, job, err);
    run->has_left = err->code == ERROR_CANCELLED && job && !wait_has_ended(job);
    if (job && json_object_get(json_object_get(job, "result"), "refused"))
        tell_adopted(job);
    if (job && is_making(run->method))
        show_made(run, job, false, NULL);
    else if (job) {
        tell_moves(job);
        tell_rebuilt(job);
    }
    return false;
}

/* Every job gets its turn, whatever happened to those before it; the first error is left to main. */
static bool finish_jobs(Run *run, uint64_t timeout_s, Error *err) {
    bool has_all = true;
    for (guint i = 0; i < run->jobs->len; i++) {
        g_auto(Error) failure = {0};
        if (run->has_left) {
            g_autofree char *advice = wait_advice(run->jobs->pdata[i]);
            fprintf(stderr, "lodge: %s\n", advice);
            continue;
        }
        if (finish_job(run, run->jobs->pdata[i], timeout_s, &failure))
            continue;
        if (!has_all)
            output_error(&failure);
        else
            error_move(err, &failure);
        has_all = false;
    }
    return has_all;
}

/* An answer that is no job: what was made or read is the result, of a change only what was asked for. */
static bool show_object(Run *run, const json_t *answer, Error *err) {
    const CliOptions *options = &run->arguments->options;
    const MethodDescriptor *method = run->method;
    bool is_of_resource = method->result == resources[method->rows].type;
    if (!is_of_resource) {
        CliOptions whole = *options;
        if (method == &methods[METHOD_SYSTEM_RECOVERY_KIT] && !output_has_choice(options))
            whole.values[CLI_OPTION_OUTPUT] = "json"; /* a file, not for people */
        return output_value(&whole, method->result, answer, err);
    }
    if (is_making(method) && output_is_human(options) && !json_object_get(answer, "secret")) {
        g_autoptr(json_t) list = json_pack("[O]", answer);
        return output_list(options, method->resource, list, err);
    }
    if (!is_reading(method) && !is_making(method) && !output_has_choice(options))
        return true;
    return show_one(run, answer, err);
}

static bool show_plan(const Run *run, const json_t *plan, Error *err) {
    const CliOptions *options = &run->arguments->options;
    if (output_is_data(options))
        return output_value(options, NULL, plan, err);
    g_autoptr(GString) out = g_string_new(NULL);
    plan_text(run->session, run->method, plan, terminal_width(stdout), out);
    return output_write(out, err);
}

static bool show_answer(Run *run, const char *reference, json_t *answer, Error *err) {
    const Arguments *arguments = run->arguments;
    if (cli_option_is(&arguments->options, CLI_OPTION_DRY_RUN, false))
        return show_plan(run, answer, err);
    if (run->method->is_job) {
        g_ptr_array_add(run->jobs, json_incref(answer));
        return true;
    }
    if (!is_reading(run->method) && !is_making(run->method))
        tell_done(run, *reference ? reference : NULL);
    return json_is_null(answer) || show_object(run, answer, err);
}

static void add_parameter(GString *path, const char *name, const json_t *value) {
    g_autofree char *text = value_to_plain(value);
    session_path_add(path, name, text);
}

/* A list is its parameter repeated. */
static void add_parameters(GString *path, const json_t *parameters) {
    const char *name;
    json_t *value, *item;
    size_t i;
    json_object_foreach ((json_t *)parameters, name, value) {
        if (!json_is_array(value))
            add_parameter(path, name, value);
        json_array_foreach (value, i, item)
            add_parameter(path, name, item);
    }
}

static bool run_request(Run *run, const char *reference, Error *err) {
    const Arguments *arguments = run->arguments;
    const MethodDescriptor *method = run->method;
    g_autofree char *own = session_path(method->path, reference);
    g_autoptr(GString) path = g_string_new(own);
    bool has_body = g_str_equal(method->http, "POST") || g_str_equal(method->http, "PATCH");
    bool is_dry = cli_option_is(&arguments->options, CLI_OPTION_DRY_RUN, false);
    if (!has_body || arguments->file)
        add_parameters(path, arguments->parameters);
    if (is_dry)
        session_path_add(path, "dry_run", "true");
    g_autoptr(json_t) answer = NULL;
    if (arguments->file) {
        if (!transfer_upload(run->session, method, path->str, arguments->file, &answer, err))
            return false;
    } else {
        const SessionRequest request = {.method = method->http,
            .path = path->str,
            .body = has_body ? arguments->parameters : NULL,
            .is_idempotent_job = method->is_job && !is_dry};
        if (!session_request(run->session, &request, &answer, err))
            return false;
    }
    return show_answer(run, reference, answer, err);
}

static bool is_destructive(const Arguments *arguments, const MethodDescriptor *method) {
    return method->needs_confirmation &&
           (!method->confirm_for ||
               json_is_true(json_object_get(arguments->parameters, method->confirm_for)));
}

static bool confirm(const Arguments *arguments, const MethodDescriptor *method, Error *err) {
    if (!is_destructive(arguments, method) || cli_option_is(&arguments->options, CLI_OPTION_YES, false) ||
        cli_option_is(&arguments->options, CLI_OPTION_DRY_RUN, false))
        return true;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return error_set(err, ERROR_INVALID, NULL, "this needs --yes when nobody can be asked");
    fprintf(stderr, "%s %s", method->verb, resources[method->resource].name);
    for (guint i = 0; i < arguments->words->len; i++)
        fprintf(stderr, " %s", (const char *)arguments->words->pdata[i]);
    fprintf(stderr, "? [y/N] ");
    char answer[16] = "";
    if (!fgets(answer, sizeof answer, stdin) || g_ascii_tolower(answer[0]) != 'y')
        return error_set(err, ERROR_CANCELLED, NULL, "not confirmed");
    return true;
}

/* Every named object gets its turn, whatever happened to those before it; the first error counts. All jobs
 * are submitted before the first is waited for, so that they run side by side. */
static bool run_all(Run *run, Error *err) {
    const GPtrArray *names = run->arguments->words;
    bool has_all = true;
    uint64_t timeout_s = 0;
    if (!number_of(&run->arguments->options, CLI_OPTION_TIMEOUT, &timeout_s, err))
        return false;
    for (guint i = 0; i < MAX(names->len, 1); i++) {
        g_auto(Error) failure = {0};
        if (run_request(run, names->len ? names->pdata[i] : "", &failure))
            continue;
        if (!has_all)
            output_error(&failure);
        else
            error_move(err, &failure);
        has_all = false;
    }
    g_auto(Error) failure = {0};
    if (finish_jobs(run, timeout_s, &failure))
        return has_all;
    if (has_all)
        error_move(err, &failure);
    else
        output_error(&failure);
    return false;
}

bool run_method(const Arguments *arguments, Session *session, Error *err) {
    const MethodDescriptor *method = &methods[arguments->method];
    g_autoptr(GPtrArray) jobs = g_ptr_array_new_with_free_func((GDestroyNotify)json_decref);
    if (!output_check_columns(&arguments->options, method->rows, err))
        return false;
    Run run = {.arguments = arguments, .method = method, .session = session, .jobs = jobs};
    if (cli_option_is(&arguments->options, CLI_OPTION_DRY_RUN, false) && !method->has_dry_run)
        return error_set(err, ERROR_INVALID, NULL, "%s %s has no dry run; `lodge help` names what has one",
            resources[method->resource].name, method->verb);
    if (!confirm(arguments, method, err))
        return false;
    switch (method->kind) {
    case METHOD_KIND_LIST:
        return run_list(&run, err);
    case METHOD_KIND_STREAM:
        return watch_events(session, &arguments->options, method, err);
    case METHOD_KIND_FEED:
        return feed_run(session, arguments, method, err);
    case METHOD_KIND_WEBSOCKET: {
        g_autofree char *path = session_path(method->path, arguments->words->pdata[0]);
        return console_run(session, path, arguments->words->pdata[0], err);
    }
    case METHOD_KIND_DOWNLOAD:
        if (!transfer_download(session, method->path, arguments->file, err))
            return false;
        tell_done(&run, g_str_equal(arguments->file, "-") ? NULL : arguments->file);
        return true;
    default:
        return run_all(&run, err);
    }
}
