/* In the order of its steps: connect, hello, own, kept. */
#include "manager/host-visit.h"
#include <string.h>
#include "model/format.h"
#include "rpc/rpc-connection.h"

enum { ASK_MS = 15000, CONNECT_MS = 5000 };

typedef struct Visit {
    RpcConnecting *connecting;
    RpcConnection *connection;
    char *manager; /* who we are */
    int64_t epoch;
    bool owns, is_trusted, is_over;
    VisitFound found;
    VisitFn done;
    void *data;
    Error fault; /* found before there was a connection */
} Visit;

/* ---- the end ---- */

static gboolean dispose(void *data) {
    Visit *self = data;
    rpc_connecting_free(self->connecting);
    rpc_connection_free(self->connection);
    error_clear(&self->fault);
    json_decref(self->found.keepsake);
    g_free(self->found.id);
    g_free(self->found.key);
    g_free(self->found.owner);
    g_free(self->found.name);
    g_free(self->manager);
    g_free(self);
    return G_SOURCE_REMOVE;
}

static void finish(Visit *self, const Error *err) {
    if (self->is_over)
        return;
    self->is_over = true;
    self->done(&self->found, err, self->data);
    g_idle_add(dispose, self); /* not inside a callback of its connection */
}

static gboolean report_fault(void *data) {
    Visit *self = data;
    finish(self, &self->fault);
    return G_SOURCE_REMOVE;
}

/* ---- owned, and what it keeps ---- */

static void call_agent(Visit *self, const char *method, json_t *take_parameters, RpcReplyFn done) {
    g_autofree char *operation =
        g_strdup_printf("%s/%s/%" G_GINT64_FORMAT, method, self->manager, self->epoch);
    RpcContext context = {.owner = self->manager, .epoch = self->epoch, .operation = operation};
    rpc_call(self->connection, method, take_parameters, &context, ASK_MS, done, NULL, self);
}

static json_t *who_asks(const Visit *self) {
    return json_pack("{ss sI}", "manager", self->manager, "epoch", (json_int_t)self->epoch);
}

/* An agent of an earlier version keeps nothing. */
static void told(const json_t *result, const Error *err, void *data) {
    Visit *self = data;
    if (self->is_over)
        return;
    if (result)
        self->found.keepsake = json_incref((json_t *)result);
    bool is_old = err && (err->code == ERROR_UNSUPPORTED || err->code == ERROR_NOT_FOUND);
    finish(self, is_old ? NULL : err);
}

static void owned(const json_t *result G_GNUC_UNUSED, const Error *err, void *data) {
    Visit *self = data;
    if (self->is_over)
        return;
    if (err)
        finish(self, err);
    else
        call_agent(self, "kept", NULL, told);
}

/* ---- who is there ---- */

static bool take_identity(Visit *self, const json_t *result, Error *err) {
    g_auto(AgentIdentity) identity = {0};
    VisitFound *found = &self->found;
    if (!agent_identity_decode(result, MODEL_STORED, &identity, err))
        return false;
    if (found->id && strcmp(found->id, identity.host) != 0)
        return error_set(err, ERROR_DENIED, NULL, "it shows the certificate of another host");
    g_free(found->id);
    found->id = g_strdup(identity.host);
    g_free(found->owner);
    found->owner = g_strdup(identity.owner);
    found->name = g_strdup(identity.name);
    found->has_driver = agent_identity_has(&identity, AGENT_IDENTITY_FIELD_DRIVER);
    found->driver = identity.driver;
    found->epoch = agent_identity_has(&identity, AGENT_IDENTITY_FIELD_EPOCH) ? identity.epoch : 0;
    found->is_believed = self->is_trusted && g_strcmp0(found->owner, self->manager) == 0;
    return true;
}

static void greeted(const json_t *result, const Error *err, void *data) {
    Visit *self = data;
    g_auto(Error) fault = {0};
    if (self->is_over)
        return;
    if (err || !take_identity(self, result, &fault))
        finish(self, err ? err : &fault);
    else if (self->owns && self->found.is_believed)
        call_agent(self, "own", who_asks(self), owned);
    else
        finish(self, NULL);
}

static void on_ready(RpcConnection *connection G_GNUC_UNUSED, void *data) {
    Visit *self = data;
    if (!self->is_over)
        call_agent(self, "hello", who_asks(self), greeted);
}

static void on_closed(RpcConnection *connection G_GNUC_UNUSED, const Error *why, void *data) {
    finish(data, why);
}

/* Who it is decides nothing yet: also of a host that is not believed it is told what it shows. */
static bool note_shown(const TlsShown *shown, void *data, Error *err) {
    Visit *self = data;
    const char *id = tls_shown_name(shown, TLS_URI_PREFIX "host:"),
               *owner = tls_shown_name(shown, TLS_URI_PREFIX "owner:");
    if (self->is_over)
        return error_set(err, ERROR_CANCELLED, NULL, "it was given up");
    if (!id || !is_uuid(id) || !shown->key_fingerprint)
        return error_set(err, ERROR_DENIED, NULL, "what answers shows no certificate of an agent");
    self->found.id = g_strdup(id);
    self->found.key = g_strdup(shown->key_fingerprint);
    self->found.owner = owner && is_uuid(owner) ? g_strdup(owner) : NULL;
    self->is_trusted = shown->is_trusted;
    return true;
}

static void connected(RpcStream *take_stream, const Error *err, void *data) {
    Visit *self = data;
    self->connecting = NULL;
    if (err) {
        finish(self, err);
        return;
    }
    const RpcOptions options = {.on_ready = on_ready,
        .on_closed = on_closed,
        .data = self,
        .software = "lodged " LODGE_VERSION,
        .lowest_version = 1,
        .highest_version = 1,
        .hello_ms = ASK_MS};
    self->connection = rpc_connection_new(take_stream, RPC_INITIATOR, &options);
}

void host_visit(const VisitRequest *request, VisitFn done, void *data) {
    Visit *self = g_new0(Visit, 1);
    *self = (Visit){.manager = g_strdup(host_authority_manager(request->authority)),
        .epoch = request->epoch,
        .owns = request->owns,
        .done = done,
        .data = data};
    g_auto(RpcAddress) address = {0};
    if (!rpc_address_parse(request->address, &address, &self->fault)) {
        g_idle_add(report_fault, self);
        return;
    }
    self->is_trusted = address.path != NULL; /* whoever may open it is the machine's own */
    const RpcConnectOptions options = {.tls = {.credentials = host_authority_credentials(request->authority),
                                           .check = note_shown,
                                           .data = self},
        .timeout_ms = CONNECT_MS};
    self->connecting = rpc_connect(request->connector, &address, &options, connected, self);
}
