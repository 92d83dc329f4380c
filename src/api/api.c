/* From a request to its handler: route, caller, object, permission. */
#include "api/api.h"
#include <string.h>
#include "api/api-internal.h"
#include "api/openapi.h"
#include "api/password.h"
#include "api/route.h"

enum { HASH_THREADS = 1, MAX_HASHES_QUEUED = 32, LOGIN_BODY_BYTES = 4096 };
#define OPENAPI_PATH "/v1/openapi.json"

Api *api_new(const ApiOptions *options) {
    Api *self = g_new0(Api, 1);
    self->references = 1;
    self->options = *options;
    self->inventory = options->inventory;
    self->jobs = options->jobs;
    self->clock = options->clock;
    self->started_ns = clock_realtime_ns(options->clock);
    self->hashes = work_pool_new("hashes", HASH_THREADS, MAX_HASHES_QUEUED);
    self->throttle = throttle_new(options->clock);
    self->streams = event_streams_new(self);
    self->repeats = repeats_new();
    self->request_prefix = secret_make("", 4);
    return self;
}

void api_free(Api *api) {
    if (!api)
        return;
    event_streams_free(api->streams);
    api->is_closed = true;
    work_pool_free(api->hashes);
    throttle_free(api->throttle);
    repeats_free(api->repeats);
    g_free(api->request_prefix);
    if (--api->references == 0)
        g_free(api);
}

static bool is_ours(const HttpRequest *request) {
    const HttpTarget *target = http_request_target(request);
    return target->segments->len > 0 && g_str_equal(g_ptr_array_index(target->segments, 0), "v1");
}

static bool identify(ApiCall *call, Error *err) {
    char *token = access_request_token(call->request);
    if (g_str_equal(call->method->permission, "anyone"))
        g_clear_pointer(&token, secret_free);
    else if (!access_identify(call->api->inventory, call->api->clock, http_request_peer(call->request), token,
                 &call->who, err))
        call->who = (Identity){0};
    secret_free(token);
    return !error_is_set(err);
}

/* Whoever asks for a dry run must never get a real one. */
static bool read_dry_run(ApiCall *call, Error *err) {
    const char *text = http_target_parameter(http_request_target(call->request), "dry_run");
    if (!text || call->method->kind == METHOD_KIND_LIST || g_str_equal(text, "false"))
        return true;
    if (!g_str_equal(text, "true"))
        return error_set(err, ERROR_INVALID, "/dry_run", "dry_run: must be true or false");
    if (!call->method->has_dry_run)
        return error_set(err, ERROR_UNSUPPORTED, "/dry_run", "%s has no dry run", call->method->name);
    call->is_dry_run = true;
    return true;
}

/* What is made or changed comes in the body alone. */
static bool check_query(ApiCall *call, Error *err) {
    MethodKind kind = call->method->kind;
    const GPtrArray *names = http_request_target(call->request)->parameter_names;
    for (guint i = 0; (kind == METHOD_KIND_CREATE || kind == METHOD_KIND_UPDATE) && i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        if (!g_str_equal(name, "dry_run"))
            return error_set(
                err, ERROR_UNKNOWN_FIELD, NULL, "%s: not a parameter of %s", name, call->method->name);
    }
    return true;
}

static bool find_object(ApiCall *call, const char *name_or_id, Error *err) {
    if (!name_or_id)
        return true;
    const Object *object = inventory_find(call->api->inventory, call->method->resource, name_or_id, err);
    call->object_name = g_strdup(object && object->name ? object->name : name_or_id);
    if (!object)
        return false;
    call->object_id = g_strdup(object->id);
    return true;
}

/* A grant may lie in the object, or in the pool that only the parameters name: then the handler asks again.
 * Lists and the event stream choose what they show. */
static bool check_permission(ApiCall *call, Error *err) {
    bool waits_for_parameters =
        !call->object_id && (call->method->kind == METHOD_KIND_CREATE || call->method->is_job);
    bool shows_what_is_granted = call->who.name && (call->method->kind == METHOD_KIND_LIST ||
                                                       call->method->kind == METHOD_KIND_STREAM);
    if (waits_for_parameters || shows_what_is_granted)
        return true;
    const Object *object = NULL;
    if (call->object_id)
        object = inventory_get(call->api->inventory, call->method->resource, call->object_id);
    return call_check_permission(call, object, err);
}

/* A body that is passed on to a host while it arrives. */
static bool is_upload(const ApiCall *call) {
    return call->method && call->method->is_upload && call->id != METHOD_SYSTEM_RESTORE &&
           upload_is_meant(call->request);
}

static bool check_body_type(ApiCall *call, Error *err) {
    const char *type = http_request_header(call->request, "Content-Type");
    bool is_json = call->id == METHOD_SYSTEM_RESTORE || !type || strstr(type, "json") ||
                   g_str_has_prefix(type, "application/x-www-form-urlencoded");
    if (is_json || is_upload(call) || http_request_content_length(call->request) == 0 ||
        g_str_equal(call->method->http, "GET"))
        return true;
    return error_set(err, ERROR_UNSUPPORTED, NULL, "a body must be JSON, not %s", type);
}

static bool prepare_call(ApiCall *call, char **ret_allowed, Error *err) {
    HttpRequest *request = call->request;
    Route route = {0};
    if (!route_find(http_request_method(request), http_request_target(request), &route, ret_allowed, err))
        return false;
    call->id = route.method;
    call->method = &methods[route.method];
    if (g_str_equal(call->method->permission, "anyone"))
        http_request_set_body_limit(request, LOGIN_BODY_BYTES);
    return identify(call, err) && read_dry_run(call, err) && check_query(call, err) &&
           find_object(call, route.object, err) && check_permission(call, err) && check_body_type(call, err);
}

static void reply_openapi(ApiCall *call) {
    static const HttpHeader headers[] = {{"Content-Type", "application/json"}, {"Cache-Control", "no-cache"}};
    g_autoptr(GBytes) body = g_bytes_new_static(openapi_json, strlen(openapi_json));
    http_reply(call->request, 200, headers, G_N_ELEMENTS(headers), body);
}

/* 1. Before the body is read, so that strangers cannot send one. */
static void take_headers(HttpRequest *request, void *data) {
    Api *api = data;
    if (!is_ours(request))
        return;
    ApiCall *call = call_new(api, request);
    http_request_set_data(request, call, call_free);
    g_auto(Error) err = {0};
    g_autofree char *allowed = NULL;
    if (g_str_equal(http_request_target(request)->path, OPENAPI_PATH) &&
        g_str_equal(http_request_method(request), "GET")) {
        reply_openapi(call);
        return;
    }
    bool is_good = prepare_call(call, &allowed, &err);
    if (is_good && call->id == METHOD_SYSTEM_RESTORE)
        is_good = restore_begin(call, &err);
    if (is_good)
        recovery_begin(call);
    if (!is_good)
        call_refuse(call, allowed, &err);
    else if (is_upload(call))
        upload_begin(call);
}

static void (*const handlers[])(ApiCall *call) = {
    [METHOD_KIND_LIST] = handle_list,
    [METHOD_KIND_GET] = handle_get,
    [METHOD_KIND_CREATE] = handle_create,
    [METHOD_KIND_UPDATE] = handle_update,
    [METHOD_KIND_DELETE] = handle_delete,
};

static void refuse_unknown(ApiCall *call) {
    g_auto(Error) err = {0};
    error_set(&err, ERROR_UNSUPPORTED, NULL, "this version cannot do %s", call->method->name);
    call_fail(call, &err);
}

/* 2. With the body. */
static void take_request(HttpRequest *request, void *data) {
    Api *api = data;
    ApiCall *call = http_request_data(request);
    if (!call && api->options.on_other) {
        api->options.on_other(request, api->options.hook_data);
        return;
    }
    if (!call) {
        http_reply_text(request, 404, "text/plain", "not found\n");
        return;
    }
    const ApiRule *rule = rule_find(call->id);
    MethodKind kind = call->method->kind;
    if (rule->handle)
        rule->handle(call);
    else if (is_upload(call))
        upload_end(call);
    else if (call->method->is_job && kind != METHOD_KIND_UPDATE)
        handle_job(call);
    else if (kind < G_N_ELEMENTS(handlers) && handlers[kind])
        handlers[kind](call);
    else
        refuse_unknown(call);
}

static void refused(HttpRequest *request, const Error *why, void *data) {
    ApiCall *call = http_request_data(request);
    if (!call) {
        call = call_new(data, request);
        http_request_set_data(request, call, call_free);
    }
    call_fail(call, why);
}

const HttpHandler api_http_handler = {
    .on_headers = take_headers, .on_request = take_request, .on_refused = refused};
