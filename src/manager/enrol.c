/* One short connection, in the order of its steps: connect, prove, own, certificate, good-bye. */
#include "manager/enrol.h"
#include <string.h>
#include "base/work.h"
#include "rpc/rpc-connection.h"
#include "tls/tls-code.h"

enum { ENROL_TIMEOUT_MS = 15000 };

typedef struct Proving Proving;

typedef struct Enrolment {
    Store *store;
    const FleetNetwork *network;
    RpcConnecting *connecting;
    RpcConnection *connection;
    EnrolFn done;
    void *data;
    char *code;    /* NULL: on a UNIX socket */
    char *host_id; /* NULL: any */
    Proving *proving;
    TlsProofs proofs;
    AgentIdentity identity;
    Error fault; /* found before there was a connection */
    bool is_over;
} Enrolment;

/* Outlives the enrolment when that ends first. */
struct Proving {
    Enrolment *enrolment; /* NULL: it has ended */
    char *code;
    uint8_t binding[TLS_BINDING_BYTES];
    TlsProofs proofs;
    Error err;
};

/* ---- the end ---- */

static gboolean dispose(void *data) {
    Enrolment *self = data;
    rpc_connecting_free(self->connecting);
    rpc_connection_free(self->connection);
    if (self->proving)
        self->proving->enrolment = NULL;
    agent_identity_clear(&self->identity);
    error_clear(&self->fault);
    g_free(self->code);
    g_free(self->host_id);
    g_free(self);
    return G_SOURCE_REMOVE;
}

static void finish(Enrolment *self, const char *key, const Error *err) {
    if (self->is_over)
        return;
    self->is_over = true;
    self->done(err ? NULL : &self->identity, key, err, self->data);
    g_idle_add(dispose, self); /* not inside a callback of its connection */
}

static gboolean report_fault(void *data) {
    Enrolment *self = data;
    finish(self, NULL, &self->fault);
    return G_SOURCE_REMOVE;
}

static const TlsShown *shown_by(const Enrolment *self) {
    const RpcStream *stream = rpc_connection_stream(self->connection);
    return stream ? rpc_stream_shown(stream) : NULL;
}

/* ---- the certificate ---- */

static void certified(const json_t *result G_GNUC_UNUSED, const Error *err, void *data) {
    Enrolment *self = data;
    const TlsShown *shown = err ? NULL : shown_by(self);
    g_auto(Error) fault = {0};
    if (!err && !shown) {
        error_set(&fault, ERROR_UNREACHABLE, NULL, "the connection broke off");
        err = &fault;
    }
    finish(self, shown ? shown->key_fingerprint : NULL, err);
}

static RpcContext context_of(const Enrolment *self) {
    return (RpcContext){.owner = store_uuid(self->store), .epoch = store_epoch(self->store)};
}

static void certify(Enrolment *self) {
    const TlsShown *shown = shown_by(self);
    g_autofree char *certificate = NULL;
    g_auto(Error) err = {0};
    RpcContext context = context_of(self);
    if (!shown)
        error_set(&err, ERROR_UNREACHABLE, NULL, "the connection broke off");
    else
        host_authority_sign(
            self->network->authority, shown->certificate_pem, self->identity.host, &certificate, &err);
    if (!certificate) {
        finish(self, NULL, &err);
        return;
    }
    rpc_call(self->connection, "certificate.apply", json_pack("{ss}", "certificate", certificate), &context,
        ENROL_TIMEOUT_MS, certified, NULL, self);
}

/* ---- owning ---- */

static void owned(const json_t *result, const Error *err, void *data) {
    Enrolment *self = data;
    g_auto(Error) fault = {0};
    if (self->is_over)
        return;
    if (err || !agent_identity_decode(result, MODEL_STORED, &self->identity, &fault)) {
        finish(self, NULL, err ? err : &fault);
    } else if (!self->code) {
        finish(self, NULL, NULL);
    } else if (!tls_proof_is(self->proofs.acceptor, self->identity.proof)) {
        error_set(&fault, ERROR_DENIED, "/enrol_code",
            "what answers at this address does not know the code: it is not that host");
        finish(self, NULL, &fault);
    } else {
        certify(self);
    }
}

static void own(Enrolment *self) {
    RpcContext context = context_of(self);
    g_autofree char *operation = g_strdup_printf("own/%s/%" G_GINT64_FORMAT, context.owner, context.epoch);
    context.operation = operation;
    json_t *parameters = json_pack("{ss sI}", "manager", context.owner, "epoch", (json_int_t)context.epoch);
    if (self->code) {
        json_object_set_new(parameters, "proof", json_string(self->proofs.initiator));
        json_object_set_new(
            parameters, "authority", json_string(host_authority_pem(self->network->authority)));
    }
    rpc_call(self->connection, "own", parameters, &context, ENROL_TIMEOUT_MS, owned, NULL, self);
}

/* ---- the proof ---- */

static void prove(void *data) {
    Proving *proving = data;
    tls_code_prove(proving->code, proving->binding, &proving->proofs, &proving->err);
}

static void proved(void *data) {
    Proving *proving = data;
    Enrolment *self = proving->enrolment;
    if (self) {
        self->proving = NULL;
        self->proofs = proving->proofs;
    }
    if (self && error_is_set(&proving->err))
        finish(self, NULL, &proving->err);
    else if (self && !self->is_over)
        own(self);
    error_clear(&proving->err);
    g_free(proving->code);
    g_free(proving);
}

static void begin_proof(Enrolment *self) {
    Proving *proving = g_new0(Proving, 1);
    proving->enrolment = self;
    proving->code = g_strdup(self->code);
    if (rpc_stream_binding(rpc_connection_stream(self->connection), proving->binding, &proving->err) &&
        work_pool_add(self->network->proofs, prove, proved, proving, &proving->err))
        self->proving = proving;
    else
        proved(proving);
}

/* ---- the connection ---- */

static void take(Enrolment *self) {
    if (self->code)
        begin_proof(self);
    else
        own(self);
}

/* It may lie: whoever knows the code is believed. This finds mistakes before a wrong host is taken. */
static void greeted(const json_t *result, const Error *err, void *data) {
    Enrolment *self = data;
    g_auto(AgentIdentity) identity = {0};
    g_auto(Error) fault = {0};
    if (self->is_over)
        return;
    if (!err && agent_identity_decode(result, MODEL_STORED, &identity, &fault) &&
        strcmp(identity.host, self->host_id) != 0)
        error_set(&fault, ERROR_INVALID, "/address",
            "address: another host answers there, %s; a host that was installed anew is removed and added "
            "again",
            identity.name);
    if (err || error_is_set(&fault))
        finish(self, NULL, err ? err : &fault);
    else
        take(self);
}

static void on_ready(RpcConnection *connection G_GNUC_UNUSED, void *data) {
    Enrolment *self = data;
    if (!self->host_id) {
        take(self);
        return;
    }
    RpcContext context = context_of(self);
    rpc_call(self->connection, "hello",
        json_pack("{ss sI}", "manager", context.owner, "epoch", (json_int_t)context.epoch), &context,
        ENROL_TIMEOUT_MS, greeted, NULL, self);
}

static void on_closed(RpcConnection *connection G_GNUC_UNUSED, const Error *why, void *data) {
    finish(data, NULL, why);
}

static void connected(RpcStream *take_stream, const Error *err, void *data) {
    Enrolment *self = data;
    self->connecting = NULL;
    if (err) {
        finish(self, NULL, err);
        return;
    }
    RpcOptions options = {.on_ready = on_ready,
        .on_closed = on_closed,
        .data = self,
        .software = "lodged " LODGE_VERSION,
        .lowest_version = 1,
        .highest_version = 1};
    self->connection = rpc_connection_new(take_stream, RPC_INITIATOR, &options);
}

/* Who it is the code's proof will show: by any key, as long as there is one. */
static bool has_key(const TlsShown *shown, void *data G_GNUC_UNUSED, Error *err) {
    return shown->key_fingerprint || error_set(err, ERROR_DENIED, NULL, "the host shows no key");
}

static bool read_code(const EnrolRequest *request, const RpcAddress *address, char **ret_code, Error *err) {
    char code[TLS_CODE_LENGTH + 1];
    const char *text = request->code ? request->code : request->secret;
    if (address->path)
        return !request->code ||
               error_set(err, ERROR_INVALID, "/enrol_code", "code: none is needed for a UNIX socket");
    if (!text)
        return error_set(err, ERROR_INVALID, "/enrol_code",
            "code: a host that is reached over the network shows one: run `lodge-agent enrol` on it");
    if (strlen(text) >= TLS_SECRET_LEAST) {
        *ret_code = g_strdup(text);
        return true;
    }
    if (!tls_code_parse(text, code, err))
        return false;
    *ret_code = g_strdup(code);
    return true;
}

void enrol_host(const EnrolRequest *request, EnrolFn done, void *data) {
    Enrolment *self = g_new0(Enrolment, 1);
    *self = (Enrolment){.store = request->store,
        .network = request->network,
        .host_id = g_strdup(request->host_id),
        .done = done,
        .data = data};
    g_auto(RpcAddress) address = {0};
    if (!rpc_address_parse(request->address, &address, &self->fault) ||
        !read_code(request, &address, &self->code, &self->fault)) {
        g_idle_add(report_fault, self);
        return;
    }
    const RpcConnectOptions options = {
        .tls = {.credentials = host_authority_credentials(self->network->authority), .check = has_key}};
    self->connecting = rpc_connect(self->network->connector, &address, &options, connected, self);
}
