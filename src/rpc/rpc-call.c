/* The caller's side: open calls, and how each of them ends exactly once. */
#include "model/json.h"
#include "rpc/rpc-connection-private.h"

typedef struct RpcCall {
    RpcConnection *connection;
    int64_t id;
    char *method;
    int64_t deadline_ns; /* INT64_MAX: none */
    RpcReplyFn on_reply;
    RpcProgressFn on_progress;
    void *data;
    Error failure;    /* why it could not even be sent, for `failing` */
    GSource *failing; /* NULL, or ends the call from the main loop */
} RpcCall;

static void call_free(void *data) {
    RpcCall *call = data;
    if (call->failing) {
        g_source_destroy(call->failing);
        g_source_unref(call->failing);
    }
    error_clear(&call->failure);
    g_free(call->method);
    g_free(call);
}

/* Takes the call out first: whatever on_reply does, the call cannot end again. */
static void call_end(RpcCall *call, const json_t *result, const Error *error) {
    g_hash_table_steal(call->connection->calls, &call->id);
    if (call->on_reply)
        call->on_reply(result, error, call->data);
    call_free(call);
}

/* ---- starting ---- */

static json_t *context_to_json(const RpcContext *context) {
    json_t *json = json_object();
    if (context->owner)
        json_object_set_new(json, "owner", json_string(context->owner));
    json_object_set_new(json, "epoch", json_integer(context->epoch));
    if (context->operation)
        json_object_set_new(json, "operation", json_string(context->operation));
    json_t *claims = json_array();
    for (size_t i = 0; i < context->n_claims; i++)
        json_array_append_new(claims, json_pack("{s:s, s:I}", "object", context->claims[i].object, "revision",
                                          (json_int_t)context->claims[i].revision));
    json_object_set_new(json, "claims", claims);
    return json;
}

static gboolean on_failing(void *data) {
    RpcCall *call = data;
    g_auto(Error) failure = {0};
    error_move(&failure, &call->failure);
    call_end(call, NULL, &failure);
    return G_SOURCE_REMOVE;
}

static void fail_soon(RpcCall *call) {
    call->failing = g_idle_source_new();
    g_source_set_priority(call->failing, G_PRIORITY_DEFAULT);
    g_source_set_callback(call->failing, on_failing, call, NULL);
    g_source_attach(call->failing, NULL);
}

static void send_call(
    RpcCall *call, json_t *take_parameters, const RpcContext *context, int64_t deadline_ms) {
    json_t *message =
        json_pack("{s:s, s:I, s:s}", "type", "call", "id", (json_int_t)call->id, "method", call->method);
    g_assert(message); /* a method's name is UTF-8 */
    if (take_parameters)
        json_object_set_new(message, "parameters", take_parameters);
    if (deadline_ms > 0)
        json_object_set_new(message, "deadline_ms", json_integer(deadline_ms));
    if (context)
        json_object_set_new(message, "context", context_to_json(context));
    if (!rpc_connection_send(call->connection, message, &call->failure)) {
        error_wrap(&call->failure, ERROR_NONE, "%s was not sent", call->method);
        fail_soon(call);
    }
}

int64_t rpc_call(RpcConnection *connection, const char *method, json_t *take_parameters,
    const RpcContext *context, int64_t deadline_ms, RpcReplyFn on_reply, RpcProgressFn on_progress,
    void *data) {
    RpcCall *call = g_new0(RpcCall, 1);
    call->connection = connection;
    call->id = connection->next_id++;
    call->method = g_strdup(method);
    call->deadline_ns = INT64_MAX;
    call->on_reply = on_reply;
    call->on_progress = on_progress;
    call->data = data;
    g_hash_table_insert(connection->calls, &call->id, call);
    if (!rpc_connection_is_open(connection)) {
        json_decref(take_parameters);
        error_set(
            &call->failure, ERROR_UNREACHABLE, NULL, "%s was not sent: the connection is closed", method);
        fail_soon(call);
        return call->id;
    }
    if (deadline_ms > 0) {
        deadline_ms = MIN(deadline_ms, INT64_MAX / 4 / NS_PER_MS);
        call->deadline_ns = rpc_connection_now_ns(connection) + deadline_ms * NS_PER_MS;
        connection->next_deadline_ns = MIN(connection->next_deadline_ns, call->deadline_ns);
        rpc_connection_arm(connection, call->deadline_ns);
    }
    send_call(call, take_parameters, context, deadline_ms);
    return call->id;
}

/* ---- while it runs ---- */

static void send_cancel(RpcConnection *connection, int64_t id) {
    rpc_connection_send(connection, json_pack("{s:s, s:I}", "type", "cancel", "id", (json_int_t)id), NULL);
}

void rpc_cancel(RpcConnection *connection, int64_t id) {
    const RpcCall *call = g_hash_table_lookup(connection->calls, &id);
    if (call && !call->failing)
        send_cancel(connection, id);
}

/* NULL for a call that timed out meanwhile, which is no error. */
static bool find_call(RpcConnection *connection, const json_t *message, RpcCall **ret_call, Error *err) {
    int64_t id = 0;
    if (!rpc_id_of(message, &id, err))
        return false;
    if (id >= connection->next_id)
        return error_set(err, ERROR_PROTOCOL, NULL, "the peer answers a call that was never made");
    RpcCall *call = g_hash_table_lookup(connection->calls, &id);
    *ret_call = call && !call->failing ? call : NULL;
    return true;
}

bool rpc_calls_handle_progress(RpcConnection *connection, const json_t *message, Error *err) {
    RpcCall *call = NULL;
    if (!find_call(connection, message, &call, err))
        return false;
    const json_t *progress = json_object_get(message, "progress");
    if (!progress)
        return error_set(err, ERROR_PROTOCOL, NULL, "a progress message holds no progress");
    if (call && call->on_progress)
        call->on_progress(progress, call->data);
    return true;
}

/* ---- how it ends ---- */

bool rpc_calls_handle_reply(RpcConnection *connection, const json_t *message, Error *err) {
    RpcCall *call = NULL;
    if (!find_call(connection, message, &call, err))
        return false;
    const json_t *result = json_object_get(message, "result");
    const json_t *failure = json_object_get(message, "error");
    if (!result == !failure)
        return error_set(err, ERROR_PROTOCOL, NULL, "a reply holds either a result or an error");
    if (failure && !json_is_problem(failure))
        return error_set(err, ERROR_PROTOCOL, NULL, "the peer's error is malformed");
    g_auto(Error) error = {0};
    if (failure)
        error_from_json(failure, &error);
    if (call)
        call_end(call, result, failure ? &error : NULL);
    return true;
}

/* The calls of which `is_wanted` says so, oldest first. Callbacks may end others, so who walks the list looks
 * each up again. */
static int compare_ids(const void *a, const void *b) {
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static GArray *ids_due(const RpcConnection *connection, int64_t now_ns) {
    GArray *ids = g_array_new(FALSE, FALSE, sizeof(int64_t));
    GHashTableIter iter;
    void *value;
    g_hash_table_iter_init(&iter, connection->calls);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const RpcCall *call = value;
        if (call->deadline_ns <= now_ns)
            g_array_append_val(ids, call->id);
    }
    g_array_sort(ids, compare_ids);
    return ids;
}

static int64_t earliest_deadline(const RpcConnection *connection) {
    int64_t earliest_ns = INT64_MAX;
    GHashTableIter iter;
    void *value;
    g_hash_table_iter_init(&iter, connection->calls);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        earliest_ns = MIN(earliest_ns, ((const RpcCall *)value)->deadline_ns);
    return earliest_ns;
}

static void time_out(RpcCall *call) {
    g_auto(Error) error = {0};
    error_set(&error, ERROR_TIMED_OUT, NULL, "%s was not answered in time", call->method);
    send_cancel(call->connection, call->id);
    call_end(call, NULL, &error);
}

void rpc_calls_check_deadlines(RpcConnection *connection) {
    int64_t now_ns = rpc_connection_now_ns(connection);
    if (now_ns >= connection->next_deadline_ns) {
        g_autoptr(GArray) ids = ids_due(connection, now_ns);
        for (guint i = 0; i < ids->len; i++) {
            RpcCall *call = g_hash_table_lookup(connection->calls, &g_array_index(ids, int64_t, i));
            if (call && !call->failing)
                time_out(call);
        }
        connection->next_deadline_ns = earliest_deadline(connection);
    }
    rpc_connection_arm(connection, connection->next_deadline_ns);
}

static void end_lost(RpcCall *call, const Error *why) {
    g_auto(Error) error = {0};
    if (call->failing) {
        error_move(&error, &call->failure);
    } else {
        error_copy(&error, why);
        error_wrap(&error, ERROR_UNREACHABLE,
            "the connection was lost before %s was answered; whether it happened is unknown", call->method);
    }
    call_end(call, NULL, &error);
}

void rpc_calls_end_all(RpcConnection *connection, const Error *why) {
    g_autoptr(GArray) ids = ids_due(connection, INT64_MAX);
    for (guint i = 0; i < ids->len; i++) {
        RpcCall *call = g_hash_table_lookup(connection->calls, &g_array_index(ids, int64_t, i));
        if (call)
            end_lost(call, why);
    }
}

GHashTable *rpc_calls_new(void) {
    return g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, call_free);
}
