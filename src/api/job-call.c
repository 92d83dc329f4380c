/* Methods that are jobs: submitted, or only described. */
#include "api/api-internal.h"
#include <string.h>

static void submitted(const char *job_id, const Error *err, void *data) {
    ApiCall *call = data;
    g_auto(Error) inner = {0};
    const Object *job =
        job_id && !call->api->is_closed ? inventory_get(call->api->inventory, RESOURCE_JOB, job_id) : NULL;
    call->job_id = g_strdup(job_id);
    if (job && !call->object_name)
        call->object_name = g_strdup(((const Job *)job->data)->target_name);
    if (job) {
        call_reply_object(call, 202, job);
    } else {
        if (!err)
            error_set(&inner, ERROR_INTERNAL, NULL, "the job %s is gone", job_id);
        call_fail(call, err ? err : &inner);
    }
    call_release(call);
}

static void describe(ApiCall *call, const JobRequest *request) {
    g_auto(Error) err = {0};
    g_autoptr(json_t) plan = job_dry_run(call->api->jobs, call->method->name, request, &err);
    if (plan)
        call_reply_json(call, 200, plan, NULL, 0);
    else
        call_fail(call, &err);
}

static bool is_possible(ApiCall *call, Error *err) {
    if (!jobs_has_kind(call->api->jobs, call->method->name))
        return error_set(err, ERROR_UNSUPPORTED, NULL, "this version cannot do %s", call->method->name);
    return true;
}

/* An update comes with its patch decoded already. */
static bool read_job_parameters(ApiCall *call, const Object *object, Error *err) {
    if (object && !call_check_match(call, object, err))
        return false;
    if (!call->parameters && !call_decode_parameters(call, err))
        return false;
    return object || call_check_permission(call, NULL, err);
}

/* With the parameters that it has. */
void call_submit(ApiCall *call) {
    g_auto(Error) err = {0};
    const char *key = NULL;
    if (!call_idempotency_key(call, &key, &err)) {
        call_fail(call, &err);
        return;
    }
    const JobRequest request = {.target_kind = call->method->resource,
        .parameters = call->parameters,
        .principal = call->who.name,
        .source = call->source};
    call_hold(call);
    job_submit(call->api->jobs, call->method->name, &request, key, submitted, call);
}

void handle_job(ApiCall *call) {
    g_auto(Error) err = {0};
    const char *key = NULL;
    const Object *object = call->object_id ? call_object(call, &err) : NULL;
    bool ok = !error_is_set(&err) && is_possible(call, &err) && call_idempotency_key(call, &key, &err) &&
              read_job_parameters(call, object, &err);
    if (!ok) {
        call_fail(call, &err);
        return;
    }
    JobRequest request = {.target_kind = call->method->resource,
        .target = object,
        .parameters = call->parameters,
        .principal = call->who.name,
        .source = call->source};
    if (call->is_dry_run) {
        describe(call, &request);
        return;
    }
    call_hold(call);
    job_submit(call->api->jobs, call->method->name, &request, key, submitted, call);
}

void handle_job_cancel(ApiCall *call) {
    g_auto(Error) err = {0};
    if (job_cancel(call->api->jobs, call->object_id, &err))
        handle_get(call);
    else
        call_fail(call, &err);
}

void handle_job_break(ApiCall *call) {
    g_auto(Error) err = {0};
    const char *reason = NULL;
    bool ok = call_decode_parameters(call, &err);
    if (ok)
        reason = json_string_value(json_object_get(call->parameters, "reason"));
    if (ok && job_break(call->api->jobs, call->object_id, reason, &err))
        handle_get(call);
    else
        call_fail(call, &err);
}
