/* One short connection: hello, own, good-bye. */
#include "manager/enrol.h"
#include <string.h>
#include "rpc/rpc-connection.h"

#define UNIX_PREFIX "unix:"
enum { ENROL_TIMEOUT_MS = 10000 };

typedef struct Enrolment {
    RpcConnection *connection;
    Store *store;
    EnrolFn done;
    void *data;
    Error fault; /* found before there was a connection */
    bool is_over;
} Enrolment;

static gboolean dispose(void *data) {
    Enrolment *enrolment = data;
    rpc_connection_free(enrolment->connection);
    error_clear(&enrolment->fault);
    g_free(enrolment);
    return G_SOURCE_REMOVE;
}

static void finish(Enrolment *enrolment, const AgentIdentity *identity, const Error *err) {
    if (enrolment->is_over)
        return;
    enrolment->is_over = true;
    enrolment->done(identity, err, enrolment->data);
    g_idle_add(dispose, enrolment); /* not inside a callback of its connection */
}

static gboolean report_fault(void *data) {
    Enrolment *enrolment = data;
    finish(enrolment, NULL, &enrolment->fault);
    return G_SOURCE_REMOVE;
}

static void owned(const json_t *result, const Error *err, void *data) {
    g_auto(AgentIdentity) identity = {0};
    g_auto(Error) fault = {0};
    if (err || !agent_identity_decode(result, MODEL_STORED, &identity, &fault))
        finish(data, NULL, err ? err : &fault);
    else
        finish(data, &identity, NULL);
}

static void on_ready(RpcConnection *connection, void *data) {
    Enrolment *enrolment = data;
    const char *manager = store_uuid(enrolment->store);
    int64_t epoch = store_epoch(enrolment->store);
    g_autofree char *operation = g_strdup_printf("own/%s/%" G_GINT64_FORMAT, manager, epoch);
    RpcContext context = {.owner = manager, .epoch = epoch, .operation = operation};
    rpc_call(connection, "own", json_pack("{ss sI}", "manager", manager, "epoch", (json_int_t)epoch),
        &context, ENROL_TIMEOUT_MS, owned, NULL, enrolment);
}

static void on_closed(RpcConnection *connection G_GNUC_UNUSED, const Error *why, void *data) {
    finish(data, NULL, why);
}

void enrol_host(Store *store, const char *address, EnrolFn done, void *data) {
    Enrolment *enrolment = g_new0(Enrolment, 1);
    *enrolment = (Enrolment){.store = store, .done = done, .data = data};
    RpcStream *stream = NULL;
    if (g_str_has_prefix(address, UNIX_PREFIX))
        stream = rpc_stream_connect_unix(address + strlen(UNIX_PREFIX), &enrolment->fault);
    else
        error_set(
            &enrolment->fault, ERROR_INVALID, "/address", "address: must be unix:PATH of the agent's socket");
    if (!stream) {
        g_idle_add(report_fault, enrolment);
        return;
    }
    RpcOptions options = {.on_ready = on_ready,
        .on_closed = on_closed,
        .data = enrolment,
        .software = "lodged " LODGE_VERSION,
        .lowest_version = 1,
        .highest_version = 1};
    enrolment->connection = rpc_connection_new(stream, RPC_INITIATOR, &options);
}
