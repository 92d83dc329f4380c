/* The server's side: calls of the peer that wait for an answer. */
#include <string.h>
#include "model/json.h"
#include "rpc/rpc-connection-private.h"

struct RpcRequest {
    int references;
    RpcConnection *connection; /* NULL once answered or lost */
    int64_t id;
    json_t *message; /* the strings of method and context live in it */
    const char *method;
    json_t *parameters;
    RpcContext context;
    RpcClaim *claims;
    int64_t deadline_ns;
    bool is_answered;
    bool is_cancelled;
    void (*on_cancel)(void *data);
    void *cancel_data;
    json_t *newest_progress; /* held back; then the request is in connection->slow_progress */
};

/* ---- the call's context ---- */

static bool read_name(
    const json_t *object, const char *key, const char **ret_name, const char *field, Error *err) {
    const json_t *value = json_object_get(object, key);
    *ret_name = rpc_name_of(object, key);
    if (value && !*ret_name)
        return error_set(err, ERROR_INVALID, field, "must be a text of 1 to %d bytes", RPC_MAX_NAME);
    return true;
}

static bool read_claim(const json_t *json, size_t index, RpcClaim *ret_claim, Error *err) {
    g_autofree char *field = g_strdup_printf("/context/claims/%zu", index);
    const char *object = rpc_name_of(json, "object");
    const json_t *revision = json_object_get(json, "revision");
    if (!object || !json_is_integer(revision) || json_integer_value(revision) < 0)
        return error_set(err, ERROR_INVALID, field, "must hold an object and a revision");
    *ret_claim = (RpcClaim){.object = object, .revision = json_integer_value(revision)};
    return true;
}

static bool read_claims(RpcRequest *request, const json_t *claims, Error *err) {
    if (!claims)
        return true;
    size_t n = json_array_size(claims);
    if (!json_is_array(claims) || n > RPC_MAX_CLAIMS)
        return error_set(
            err, ERROR_INVALID, "/context/claims", "must be a list of at most %d claims", RPC_MAX_CLAIMS);
    request->claims = g_new0(RpcClaim, n);
    for (size_t i = 0; i < n; i++)
        if (!read_claim(json_array_get(claims, i), i, &request->claims[i], err))
            return false;
    request->context.claims = request->claims;
    request->context.n_claims = n;
    return true;
}

static bool read_context(RpcRequest *request, Error *err) {
    const json_t *json = json_object_get(request->message, "context");
    if (!json)
        return true;
    if (!json_is_object(json))
        return error_set(err, ERROR_INVALID, "/context", "must be an object");
    RpcContext *context = &request->context;
    const json_t *epoch = json_object_get(json, "epoch");
    if (epoch && (!json_is_integer(epoch) || json_integer_value(epoch) < 0))
        return error_set(err, ERROR_INVALID, "/context/epoch", "must be a number of at least 0");
    context->epoch = json_integer_value(epoch);
    return read_name(json, "owner", &context->owner, "/context/owner", err) &&
           read_name(json, "operation", &context->operation, "/context/operation", err) &&
           read_claims(request, json_object_get(json, "claims"), err);
}

static bool read_request(RpcRequest *request, Error *err) {
    request->parameters = json_object_get(request->message, "parameters");
    if (request->parameters && !json_is_object(request->parameters))
        return error_set(err, ERROR_INVALID, "/parameters", "must be an object");
    request->parameters = request->parameters ? json_incref(request->parameters) : json_object();
    const json_t *deadline = json_object_get(request->message, "deadline_ms");
    if (deadline && (!json_is_integer(deadline) || json_integer_value(deadline) < 1))
        return error_set(err, ERROR_INVALID, "/deadline_ms", "must be a number of at least 1");
    request->deadline_ns = INT64_MAX;
    if (deadline) {
        int64_t wait_ms = MIN(json_integer_value(deadline), INT64_MAX / 4 / NS_PER_MS);
        request->deadline_ns = rpc_connection_now_ns(request->connection) + wait_ms * NS_PER_MS;
    }
    return read_context(request, err);
}

/* ---- a call comes in ---- */

static void fail_plainly(RpcRequest *request, ErrorCode code, const char *message) {
    g_auto(Error) error = {0};
    error_set(&error, code, NULL, "%s", message);
    rpc_fail(request, &error);
}

static void dispatch(RpcConnection *connection, RpcRequest *take_request) {
    g_autoptr(RpcRequest) request = take_request;
    g_auto(Error) error = {0};
    if (!read_request(request, &error)) {
        rpc_fail(request, &error);
        return;
    }
    if (g_hash_table_size(connection->requests) > (guint)connection->options.max_requests) {
        fail_plainly(request, ERROR_BUSY, "too many calls at once on this connection");
        return;
    }
    const RpcOptions *options = &connection->options;
    RpcHandler handler = options->lookup ? options->lookup(request->method, options->data) : NULL;
    if (!handler) {
        error_set(&error, ERROR_NOT_FOUND, NULL, "there is no method %s", request->method);
        rpc_fail(request, &error);
        return;
    }
    handler(g_steal_pointer(&request), options->data);
}

bool rpc_requests_handle_call(RpcConnection *connection, json_t *message, Error *err) {
    int64_t id = 0;
    if (!rpc_id_of(message, &id, err))
        return false;
    const char *method = rpc_name_of(message, "method");
    if (!method)
        return error_set(err, ERROR_PROTOCOL, NULL, "a call names no method");
    if (g_hash_table_contains(connection->requests, &id))
        return error_set(err, ERROR_PROTOCOL, NULL, "a call reuses the id of another one");
    RpcRequest *request = g_new0(RpcRequest, 1);
    request->references = 1;
    request->connection = connection;
    request->id = id;
    request->message = json_incref(message);
    request->method = method;
    g_hash_table_insert(connection->requests, &request->id, request);
    dispatch(connection, request);
    return true;
}

static void tell_cancel(RpcRequest *request) {
    void (*on_cancel)(void *) = g_steal_pointer(&request->on_cancel);
    if (on_cancel)
        on_cancel(request->cancel_data);
}

bool rpc_requests_handle_cancel(RpcConnection *connection, const json_t *message, Error *err) {
    int64_t id = 0;
    if (!rpc_id_of(message, &id, err))
        return false;
    RpcRequest *request = g_hash_table_lookup(connection->requests, &id);
    if (!request || request->is_cancelled) /* the answer is on its way */
        return true;
    request->is_cancelled = true;
    g_autoptr(RpcRequest) held G_GNUC_UNUSED = rpc_request_ref(request);
    tell_cancel(request);
    return true;
}

/* ---- progress ---- */

static void send_progress(RpcRequest *request, json_t *take_progress) {
    json_t *message = json_pack(
        "{s:s, s:I, s:o}", "type", "progress", "id", (json_int_t)request->id, "progress", take_progress);
    rpc_connection_send(request->connection, message, NULL);
}

void rpc_progress(RpcRequest *request, json_t *take_progress) {
    if (!request->connection) {
        json_decref(take_progress);
        return;
    }
    if (!request->newest_progress && !rpc_connection_is_congested(request->connection)) {
        send_progress(request, take_progress);
        return;
    }
    if (!request->newest_progress)
        g_queue_push_tail(&request->connection->slow_progress, request);
    json_decref(request->newest_progress);
    request->newest_progress = take_progress;
}

void rpc_requests_flush_progress(RpcConnection *connection) {
    while (!rpc_connection_is_congested(connection)) {
        RpcRequest *request = g_queue_pop_head(&connection->slow_progress);
        if (!request)
            return;
        send_progress(request, g_steal_pointer(&request->newest_progress));
    }
}

/* ---- the answer ---- */

/* Out of the connection's tables; nothing of the request goes out any more. */
static void detach(RpcRequest *request) {
    if (request->newest_progress)
        g_queue_remove(&request->connection->slow_progress, request);
    g_clear_pointer(&request->newest_progress, json_decref);
    g_hash_table_remove(request->connection->requests, &request->id);
    request->connection = NULL;
}

static void answer(RpcRequest *request, const char *kind, json_t *take_value) {
    g_assert(!request->is_answered);
    request->is_answered = true;
    request->on_cancel = NULL;
    RpcConnection *connection = request->connection;
    if (!connection) {
        json_decref(take_value);
        return;
    }
    detach(request);
    json_int_t id = request->id;
    g_auto(Error) problem = {0};
    json_t *message = json_pack("{s:s, s:I, s:o}", "type", "reply", "id", id, kind, take_value);
    if (rpc_connection_send(connection, message, &problem))
        return;
    error_wrap(&problem, ERROR_NONE, "the answer to %s is too large", request->method);
    json_t *error = error_to_json(&problem);
    rpc_connection_send(
        connection, json_pack("{s:s, s:I, s:o}", "type", "reply", "id", id, "error", error), NULL);
}

void rpc_reply(RpcRequest *request, json_t *take_result) {
    answer(request, "result", take_result ? take_result : json_object());
}

void rpc_fail(RpcRequest *request, const Error *error) {
    g_assert(error_is_set(error));
    answer(request, "error", error_to_json(error));
}

void rpc_requests_detach_all(RpcConnection *connection) {
    g_autoptr(GList) requests = g_hash_table_get_values(connection->requests);
    for (GList *item = requests; item; item = item->next)
        detach(item->data);
}

GHashTable *rpc_requests_new(void) {
    return g_hash_table_new(g_int64_hash, g_int64_equal);
}

/* ---- what handlers see ---- */

RpcRequest *rpc_request_ref(RpcRequest *request) {
    request->references++;
    return request;
}

void rpc_request_unref(RpcRequest *request) {
    if (!request || --request->references > 0)
        return;
    if (!request->is_answered)
        fail_plainly(request, ERROR_INTERNAL, "the call was dropped without an answer");
    json_decref(request->parameters);
    json_decref(request->message);
    g_free(request->claims);
    g_free(request);
}

const char *rpc_request_method(const RpcRequest *request) {
    return request->method;
}

const json_t *rpc_request_parameters(const RpcRequest *request) {
    return request->parameters;
}

const RpcContext *rpc_request_context(const RpcRequest *request) {
    return &request->context;
}

int64_t rpc_request_deadline_ns(const RpcRequest *request) {
    return request->deadline_ns;
}

bool rpc_request_is_cancelled(const RpcRequest *request) {
    return request->is_cancelled;
}

void rpc_request_on_cancel(RpcRequest *request, void (*on_cancel)(void *data), void *data) {
    request->on_cancel = on_cancel;
    request->cancel_data = data;
    if (request->is_cancelled)
        tell_cancel(request);
}

RpcConnection *rpc_request_connection(const RpcRequest *request) {
    return request->connection;
}

/* ---- events ---- */

bool rpc_event(RpcConnection *connection, const char *event, json_t *take_data, Error *err) {
    if (!rpc_connection_is_open(connection)) {
        json_decref(take_data);
        return error_set(err, ERROR_UNREACHABLE, NULL, "%s was not sent: the connection is closed", event);
    }
    json_t *message = json_pack("{s:s, s:s}", "type", "event", "event", event);
    if (take_data)
        json_object_set_new(message, "data", take_data);
    return rpc_connection_send(connection, message, err);
}
