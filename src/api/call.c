/* One request from its headers to its answer: what every handler needs. */
#include "api/api-internal.h"
#include <string.h>
#include "api/reference.h"

enum { MAX_HEADERS = 8, MAX_KEY_LENGTH = 128, MAX_ETAGS = 16 };

ApiCall *call_new(Api *api, HttpRequest *request) {
    ApiCall *self = g_new0(ApiCall, 1);
    api->references++;
    self->api = api;
    self->request = request;
    self->source = access_source(http_request_peer(request));
    self->request_id = g_strdup_printf("%s-%" G_GINT64_MODIFIER "u", api->request_prefix, ++api->requests);
    return self;
}

void call_free(void *data) {
    ApiCall *call = data;
    if (call->repeat_name && !call->api->is_closed)
        repeats_end(call->api->repeats, call->repeat_name, NULL);
    if (call->definition)
        model_free(resources[call->method->resource].type, call->definition);
    json_decref(call->parameters);
    json_decref(call->extra);
    identity_clear(&call->who);
    g_free(call->request_id);
    g_free(call->object_id);
    g_free(call->object_name);
    g_free(call->job_id);
    g_free(call->upload.id);
    g_free(call->source);
    g_free(call->repeat_name);
    restore_free(call->restore);
    if (--call->api->references == 0)
        g_free(call->api);
    g_free(call);
}

void call_hold(ApiCall *call) {
    http_request_ref(call->request);
}

void call_release(ApiCall *call) {
    http_request_unref(call->request);
}

bool call_is_change(const ApiCall *call) {
    return call->method && !call->is_dry_run &&
           (!g_str_equal(call->method->http, "GET") || call->method->kind == METHOD_KIND_WEBSOCKET ||
               call->method->kind == METHOD_KIND_DOWNLOAD);
}

/* "role, disabled", of an update; their values may be secret. NULL otherwise. */
static char *changed_fields(const ApiCall *call) {
    const char *name;
    json_t *value;
    GString *names = g_string_new(NULL);
    if (call->method->kind == METHOD_KIND_UPDATE)
        json_object_foreach (call->parameters, name, value)
            g_string_append_printf(names, "%s%s", names->len ? ", " : "", name);
    return g_string_free(names, names->len == 0);
}

void call_audit(ApiCall *call, const char *outcome, const char *text) {
    if (!call_is_change(call) || call->api->is_closed || !call->who.name)
        return;
    g_auto(Event) event = {0};
    event_set_kind(&event, "audit");
    event_set_time(&event, clock_realtime_ns(call->api->clock));
    event_set_principal(&event, call->who.name);
    event_set_method(&event, call->method->name);
    event_set_outcome(&event, outcome);
    event_set_name(&event, call->object_name);
    event_set_job(&event, call->job_id);
    event_set_source(&event, call->source);
    g_autofree char *object =
        call->object_id ? g_strconcat(resources[call->method->resource].name, "/", call->object_id, NULL)
                        : NULL;
    event_set_object(&event, object);
    g_autofree char *changed = text ? NULL : changed_fields(call);
    g_autofree char *valid = text ? g_utf8_make_valid(text, -1) : g_steal_pointer(&changed);
    g_autofree char *limited = valid ? g_utf8_substring(valid, 0, MIN(g_utf8_strlen(valid, -1), 250)) : NULL;
    event_set_text(&event, limited);
    inventory_audit(call->api->inventory, &event);
}

HttpHeader call_request_id_header(const ApiCall *call) {
    return (HttpHeader){"X-Request-Id", call->request_id};
}

static void send_bytes(
    ApiCall *call, unsigned status, const char *type, GBytes *body, const HttpHeader *more, size_t n_more) {
    HttpHeader headers[MAX_HEADERS] = {{"Content-Type", type}, {"Cache-Control", "no-store"},
        {"X-Content-Type-Options", "nosniff"}, call_request_id_header(call)};
    size_t n = 4;
    for (size_t i = 0; i < n_more && n < MAX_HEADERS; i++)
        headers[n++] = more[i];
    http_reply(call->request, status, headers, n, body);
}

static void send_json(ApiCall *call, unsigned status, const char *type, const json_t *body,
    const HttpHeader *more, size_t n_more) {
    char *text = json_to_text(body);
    g_autoptr(GBytes) bytes = g_bytes_new_take(text, strlen(text));
    send_bytes(call, status, type, bytes, more, n_more);
}

void call_reply_text(ApiCall *call, GString *take_text) {
    g_autoptr(GBytes) bytes = g_string_free_to_bytes(take_text);
    call_audit(call, "ok", NULL);
    send_bytes(call, 200, "application/json", bytes, NULL, 0);
}

void call_reply_json(
    ApiCall *call, unsigned status, const json_t *body, const HttpHeader *more, size_t n_more) {
    call_audit(call, status == 202 ? "accepted" : "ok", NULL);
    send_json(call, status, "application/json", body, more, n_more);
}

void call_reply_empty(ApiCall *call) {
    call_audit(call, "ok", NULL);
    HttpHeader headers[] = {call_request_id_header(call)};
    http_reply(call->request, 204, headers, G_N_ELEMENTS(headers), NULL);
}

void call_reply_object(ApiCall *call, unsigned status, const Object *object) {
    g_autoptr(json_t) json = inventory_encode(call->api->inventory, object);
    if (call->extra)
        json_object_update(json, call->extra);
    const char *plural = resources[object->kind].plural;
    int64_t revision = definition_revision(object->kind, object->data); /* 0: a kind without */
    g_autofree char *etag = g_strdup_printf("\"%" G_GINT64_FORMAT "\"", revision);
    g_autofree char *location = g_strdup_printf("/v1/%s/%s", plural, object->id);
    HttpHeader headers[2];
    size_t n = 0;
    if (revision)
        headers[n++] = (HttpHeader){"ETag", etag};
    if (status == 201 || status == 202)
        headers[n++] = (HttpHeader){"Location", location};
    call_reply_json(call, status, json, headers, n);
}

static void fail_with(ApiCall *call, const Error *err, const HttpHeader *more) {
    const ErrorInfo *info = error_info(err->code);
    g_autofree char *text = error_text(err);
    if (err->code != ERROR_RATE_LIMITED) /* a stranger's flood must not become writes */
        call_audit(call, info->name, text);
    g_autoptr(json_t) json = error_to_json(err);
    json_object_set_new(json, "request_id", json_string(call->request_id));
    send_json(call, (unsigned)info->http_status, "application/problem+json", json, more, more ? 1 : 0);
}

void call_fail(ApiCall *call, const Error *err) {
    static const HttpHeader authenticate = {"WWW-Authenticate", "Bearer"}, retry = {"Retry-After", "1"};
    const HttpHeader *more = NULL;
    if (err->code == ERROR_UNAUTHENTICATED)
        more = &authenticate;
    else if (err->code == ERROR_RATE_LIMITED || err->code == ERROR_BUSY)
        more = &retry;
    fail_with(call, err, more);
}

void call_refuse(ApiCall *call, const char *allowed, const Error *err) {
    HttpHeader header = {"Allow", allowed};
    if (allowed)
        fail_with(call, err, &header);
    else
        call_fail(call, err);
}

json_t *call_body(ApiCall *call, bool is_required, Error *err) {
    size_t length = 0;
    const char *text = http_request_body(call->request, &length);
    if (!length && !is_required)
        return json_object();
    json_t *json = json_parse(text, length, err);
    if (json && !json_is_object(json)) {
        error_set(err, ERROR_MALFORMED, NULL, "the body must be a JSON object");
        g_clear_pointer(&json, json_decref);
    }
    return json;
}

static json_t *query_parameters(ApiCall *call) {
    const HttpTarget *target = http_request_target(call->request);
    return parameters_from_query(
        call->method->parameters, target->parameter_names, target->parameter_values, "dry_run");
}

/* The query's parameters count only where there is no body: an object that is created comes in the body. */
static json_t *read_parameters(ApiCall *call, Error *err) {
    size_t length = 0;
    http_request_body(call->request, &length);
    bool is_create = call->method->kind == METHOD_KIND_CREATE;
    if (length || is_create)
        return call_body(call, is_create, err);
    return query_parameters(call);
}

bool call_decode_parameters(ApiCall *call, Error *err) {
    const TypeDescriptor *type = call->method->parameters;
    g_autoptr(json_t) given = read_parameters(call, err);
    if (!given)
        return false;
    void *object = g_malloc0(type->size);
    bool ok = model_decode(type, given, MODEL_INPUT, object, err);
    if (ok) {
        model_apply_defaults(type, object);
        call->parameters = model_encode(type, object, MODEL_ENCODE_ALL);
        ok = reference_resolve(call->api->inventory, type, call->parameters, err);
    }
    model_free(type, object);
    return ok;
}

const Object *call_object(ApiCall *call, Error *err) {
    const Object *object = inventory_get(call->api->inventory, call->method->resource, call->object_id);
    if (!object)
        error_set(err, ERROR_NOT_FOUND, NULL, "%s %s was deleted meanwhile",
            resources[call->method->resource].name, call->object_name);
    return object;
}

bool call_check_match(ApiCall *call, const Object *object, Error *err) {
    const char *match = http_request_header(call->request, "If-Match");
    if (!match || g_str_equal(match, "*"))
        return true;
    int64_t revision = definition_revision(object->kind, object->data);
    g_autofree char *etag = g_strdup_printf("\"%" G_GINT64_FORMAT "\"", revision);
    g_auto(GStrv) accepted = g_strsplit(match, ",", MAX_ETAGS);
    for (char **one = accepted; *one; one++)
        if (g_str_equal(g_strstrip(*one), etag))
            return true;
    return error_set(
        err, ERROR_PRECONDITION, NULL, "its revision is %" G_GINT64_FORMAT ", not %s", revision, match);
}

bool call_idempotency_key(ApiCall *call, const char **ret_key, Error *err) {
    const char *key = http_request_header(call->request, "Idempotency-Key");
    if (key && (!*key || strlen(key) > MAX_KEY_LENGTH || !g_utf8_validate(key, -1, NULL)))
        return error_set(err, ERROR_INVALID, NULL, "Idempotency-Key: 1 to %d characters", MAX_KEY_LENGTH);
    *ret_key = key;
    return true;
}

bool call_check_permission(ApiCall *call, const Object *object, Error *err) {
    Inventory *inventory = call->api->inventory;
    if (object)
        return access_check_object(inventory, &call->who, call->method->permission, object, err);
    return access_check(inventory, &call->who, call->method->permission, call->method->resource, NULL,
        json_string_value(json_object_get(call->parameters, "pool")), err);
}
