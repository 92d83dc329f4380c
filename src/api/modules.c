/*
 * Kernel modules of hosts: the list is asked of the host, and a new list of allowed ones is shown to the host
 * before it is stored, because only the host knows what it uses.
 */
#include <string.h>
#include "api/api-internal.h"
#include "api/query.h"
#include "model/host-control.h"

enum { NAMES_IN_STEP = 40 };

/* ---- the list ---- */

typedef struct Listing {
    ApiCall *call; /* held */
    Query *query;
} Listing;

static void listing_free(Listing *listing) {
    query_free(listing->query);
    call_release(listing->call);
    g_free(listing);
}

/* By state, whatever the filter. */
static json_t *count_states(const json_t *rows) {
    json_t *totals = json_object();
    size_t i;
    json_t *row;
    json_array_foreach ((json_t *)rows, i, row) {
        const char *state = json_text_at(row, "state");
        json_int_t n = state ? json_integer_value(json_object_get(totals, state)) : 0;
        if (state)
            json_object_set_new(totals, state, json_integer(n + 1));
    }
    return totals;
}

static void rows_arrived(const json_t *result, const Error *err, void *data) {
    Listing *listing = data;
    ApiCall *call = listing->call;
    g_auto(Error) ending = {0};
    if (!err && call->api->is_closed)
        error_set(&ending, ERROR_UNREACHABLE, NULL, "the manager ends");
    if (err || error_is_set(&ending)) {
        call_fail(call, err ? err : &ending);
        listing_free(listing);
        return;
    }
    g_autoptr(GPtrArray) rows = g_ptr_array_new();
    size_t i;
    json_t *row;
    json_array_foreach ((json_t *)result, i, row)
        if (query_matches(listing->query, row))
            g_ptr_array_add(rows, row);
    json_t *page = query_page(listing->query, rows);
    json_object_set_new(page, "totals", count_states(result));
    call_reply_page(call, page);
    listing_free(listing);
}

void handle_host_modules(ApiCall *call) {
    g_auto(Error) err = {0};
    g_autoptr(Query) query = NULL;
    const ApiOptions *options = &call->api->options;
    const HttpTarget *target = http_request_target(call->request);
    const Object *host = call_object(call, &err);
    if (host && !options->list_modules)
        error_set(&err, ERROR_UNSUPPORTED, NULL, "this manager asks no hosts for their modules");
    if (error_is_set(&err) || !call_check_permission(call, host, &err) ||
        !query_parse(resources[call->method->rows].type, target, "name", &query, &err)) {
        call_fail(call, &err);
        return;
    }
    Listing *listing = g_new0(Listing, 1);
    *listing = (Listing){call, g_steal_pointer(&query)};
    call_hold(call);
    options->list_modules(host->id, rows_arrived, listing, options->hook_data);
}

/* ---- the dry run of an update, in the words of a job's ---- */

static void add_step(json_t *steps, const char *name, char *take_description) {
    json_array_append_new(steps, json_pack("{ss ss}", "name", name, "description", take_description));
    g_free(take_description);
}

static void add_names_step(json_t *steps, const char *name, const char *what, const json_t *names) {
    g_autoptr(GString) text = g_string_new(what);
    size_t i;
    json_t *item;
    if (json_array_size(names) == 0)
        return;
    json_array_foreach ((json_t *)names, i, item)
        if (i < NAMES_IN_STEP)
            g_string_append_printf(text, "%s %s", i ? "," : ":", json_string_value(item));
    if (json_array_size(names) > NAMES_IN_STEP)
        g_string_append_printf(text, " and %zu more", json_array_size(names) - NAMES_IN_STEP);
    add_step(steps, name, g_strdup(text->str));
}

static void add_module_steps(json_t *steps, const json_t *plan) {
    add_step(steps, "block",
        g_strdup_printf("Block %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT
                        " kernel modules from now on, in %s",
            json_integer_value(json_object_get(plan, "blocked")),
            json_integer_value(json_object_get(plan, "available")), json_text_at(plan, "file")));
    add_names_step(steps, "lost", "Loaded now, and not after the next start", json_object_get(plan, "lost"));
    add_names_step(
        steps, "unknown", "Listed, and not known to this kernel", json_object_get(plan, "unknown"));
}

/* `plan` is NULL when no list of allowed modules is concerned. */
static void reply_plan(ApiCall *call, const json_t *plan) {
    g_autofree char *target = g_strdup_printf("host/%s", call->object_id);
    json_t *steps = json_array();
    add_step(steps, "store", g_strdup_printf("Change the definition of %s", call->object_name));
    if (plan)
        add_module_steps(steps, plan);
    g_autoptr(json_t) body = json_pack("{ss ss sO so sO*}", "target", target, "target_name",
        call->object_name, "parameters", call->parameters, "steps", steps, "data", (json_t *)plan);
    call_reply_json(call, 200, body, NULL, 0);
}

/* ---- an update ---- */

static void list_checked(const json_t *result, const Error *err, void *data) {
    ApiCall *call = data;
    g_auto(Error) ending = {0};
    if (!err && call->api->is_closed)
        error_set(&ending, ERROR_UNREACHABLE, NULL, "the manager ends");
    if (err || error_is_set(&ending))
        call_fail(call, err ? err : &ending);
    else if (call->is_dry_run)
        reply_plan(call, result);
    else
        call_store(call);
    call_release(call);
}

/* What stays as it is, or blocks nothing, may be stored while the host is away. */
static bool needs_check(const ApiCall *call, const Host *now) {
    const Host *next = call->definition;
    bool is_list = host_has(next, HOST_FIELD_MODULES) && next->modules.policy == MODULE_POLICY_ALLOW_LIST;
    bool is_same =
        host_has(now, HOST_FIELD_MODULES) && model_equal(&host_modules_type, &now->modules, &next->modules);
    return call->api->options.check_modules && is_list && !is_same;
}

/* A host that never answered is asked when it does; its status says what became of it. */
static bool check_control(const Host *now, const Host *next, Error *err) {
    bool is_same = host_has(now, HOST_FIELD_CONTROL) && host_has(next, HOST_FIELD_CONTROL) &&
                   model_equal(&host_control_type, &now->control, &next->control);
    return is_same || !host_has(next, HOST_FIELD_CONTROL) ||
           !host_status_has(&now->status, HOST_STATUS_FIELD_MEMORY) ||
           host_control_check(&next->control, &now->status, err);
}

void prepare_host_update(ApiCall *call) {
    g_auto(Error) err = {0};
    const ApiOptions *options = &call->api->options;
    const Object *now = call_object(call, &err);
    if (!now || !check_control(now->data, call->definition, &err)) {
        call_fail(call, &err);
    } else if (needs_check(call, now->data)) {
        call_hold(call);
        options->check_modules(call->definition, list_checked, call, options->hook_data);
    } else if (call->is_dry_run) {
        reply_plan(call, NULL);
    } else {
        call_store(call);
    }
}
