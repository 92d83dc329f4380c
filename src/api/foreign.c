/*
 * VMs on a host that Lodge did not make. They are asked of the host each time; an adoption takes along what
 * the host told of the VM, so that what is planned and what is done are the same.
 */
#include <string.h>
#include "api/api-internal.h"
#include "api/query.h"

typedef struct Asking {
    ApiCall *call; /* held */
    Query *query;  /* of a list */
} Asking;

static void asking_free(Asking *asking) {
    query_free(asking->query);
    call_release(asking->call);
    g_free(asking);
}

static void ask(ApiCall *call, const char *host_id, Query *take_query, ApiAnswerFn done) {
    const ApiOptions *options = &call->api->options;
    Asking *asking = g_new0(Asking, 1);
    *asking = (Asking){call, take_query};
    call_hold(call);
    options->list_foreign(host_id, done, asking, options->hook_data);
}

/* Answers, unless there are rows. */
static bool has_arrived(ApiCall *call, const Error *err) {
    g_auto(Error) ending = {0};
    if (!err && call->api->is_closed)
        error_set(&ending, ERROR_UNREACHABLE, NULL, "the manager ends");
    if (!err && !error_is_set(&ending))
        return true;
    call_fail(call, err ? err : &ending);
    return false;
}

static bool is_offered(const ApiCall *call, Error *err) {
    return call->api->options.list_foreign ||
           error_set(err, ERROR_UNSUPPORTED, NULL, "this manager asks no hosts for other tools' VMs");
}

/* ---- the list ---- */

static void rows_arrived(const json_t *result, const Error *err, void *data) {
    Asking *asking = data;
    g_autoptr(GPtrArray) rows = g_ptr_array_new();
    size_t i;
    json_t *row;
    if (has_arrived(asking->call, err)) {
        json_array_foreach ((json_t *)result, i, row)
            if (query_matches(asking->query, row))
                g_ptr_array_add(rows, row);
        call_reply_page(asking->call, query_page(asking->query, rows));
    }
    asking_free(asking);
}

void handle_host_vms(ApiCall *call) {
    g_auto(Error) err = {0};
    g_autoptr(Query) query = NULL;
    const HttpTarget *target = http_request_target(call->request);
    const Object *host = call_object(call, &err);
    if (!host || !is_offered(call, &err) || !call_check_permission(call, host, &err) ||
        !query_parse(resources[call->method->rows].type, target, "name", &query, &err)) {
        call_fail(call, &err);
        return;
    }
    ask(call, host->id, g_steal_pointer(&query), rows_arrived);
}

/* ---- adopting one ---- */

static json_t *row_called(const json_t *rows, const char *wanted, Error *err) {
    size_t i;
    json_t *row, *found = NULL;
    json_array_foreach ((json_t *)rows, i, row) {
        if (g_strcmp0(json_text_at(row, "id"), wanted) == 0)
            return row;
        if (g_strcmp0(json_text_at(row, "name"), wanted) != 0)
            continue;
        if (found) {
            error_set(err, ERROR_AMBIGUOUS, "/vm", "several VMs there are called %s; name its uuid", wanted);
            return NULL;
        }
        found = row;
    }
    if (!found)
        error_set(err, ERROR_NOT_FOUND, "/vm",
            "there is no VM %s on that host that another tool made (lodge host vms HOST)", wanted);
    return found;
}

static void vm_arrived(const json_t *result, const Error *err, void *data) {
    Asking *asking = data;
    ApiCall *call = asking->call;
    g_auto(Error) missing = {0};
    if (has_arrived(call, err)) {
        json_t *row = row_called(result, json_text_at(call->parameters, "vm"), &missing);
        if (row) {
            json_object_set(call->parameters, "found", row);
            handle_job(call);
        } else {
            call_fail(call, &missing);
        }
    }
    asking_free(asking);
}

/* The one that was named, or the only one; it stands in the parameters then. */
static const char *choose_host(ApiCall *call, Error *err) {
    const GPtrArray *hosts = inventory_list(call->api->inventory, RESOURCE_HOST);
    if (!json_object_get(call->parameters, "host") && hosts->len == 1) {
        const Object *host = hosts->pdata[0];
        json_object_set_new(call->parameters, "host", json_string(host->id));
    }
    const char *id = json_text_at(call->parameters, "host");
    if (!id)
        error_set(err, ERROR_INVALID, "/host",
            hosts->len ? "host: there are several; name one" : "host: there is none yet");
    return id;
}

/* A job that was asked for with this key before is answered though the VM is Lodge's now. */
static bool is_repeated(ApiCall *call) {
    const char *key = NULL;
    if (call->is_dry_run || !call_idempotency_key(call, &key, NULL) || !key)
        return false;
    const GPtrArray *jobs = inventory_list(call->api->inventory, RESOURCE_JOB);
    for (guint i = 0; i < jobs->len; i++) {
        const Job *job = ((const Object *)jobs->pdata[i])->data;
        if (g_strcmp0(job->idempotency_key, key) || g_strcmp0(job->principal, call->who.name) ||
            g_strcmp0(job->kind, call->method->name))
            continue;
        json_t *found = json_object_get(job->parameters, "found");
        if (found)
            json_object_set(call->parameters, "found", found);
        return true;
    }
    return false;
}

void handle_vm_adopt(ApiCall *call) {
    g_auto(Error) err = {0};
    const char *host_id = NULL;
    if (!is_offered(call, &err) || !call_decode_parameters(call, &err) ||
        !call_check_permission(call, NULL, &err) || !(host_id = choose_host(call, &err))) {
        call_fail(call, &err);
        return;
    }
    if (is_repeated(call))
        handle_job(call);
    else
        ask(call, host_id, NULL, vm_arrived);
}
