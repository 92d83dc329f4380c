/*
 * How a manager becomes this host's owner: on the machine's own socket by asking, over the network by proving
 * the code that the host shows. Then the certificate that it gives the host.
 */
#include <string.h>
#include "agent/agent-private.h"
#include "base/log.h"

enum { HANG_UP_MS = 100 };

/* Whether that manager may own the host at all. */
static bool check_claim(const Agent *agent, const AgentOwn *own, Error *err) {
    const char *owner = journal_owner(agent->journal);
    if (owner && strcmp(owner, own->manager) != 0)
        return error_set(err, ERROR_NOT_OWNER, NULL, "this host belongs to another manager, %s", owner);
    if (owner && own->epoch < journal_epoch(agent->journal))
        return error_set(err, ERROR_STALE_EPOCH, NULL, "this host knows a later epoch of its manager");
    return true;
}

/* ---- the end of both ways ---- */

typedef struct Owning {
    Agent *agent;
    RpcRequest *request;
    AgentOwn own;
    /* Over the network: */
    uint8_t binding[TLS_BINDING_BYTES];
    RemoteCodes codes; /* what may be proved */
    TlsProofs proofs;
    bool is_proved, is_good; /* over the network */
    bool is_by_code;
    bool is_newer; /* whoever asked in the epoch before is not the owner any more */
    Error err;
} Owning;

static void owning_free(Owning *owning) {
    rpc_request_unref(owning->request);
    agent_own_clear(&owning->own);
    remote_codes_clear(&owning->codes);
    error_clear(&owning->err);
    g_free(owning);
}

/* NULL once it is gone. */
static AgentClient *client_of(const Owning *owning) {
    const RpcConnection *connection = rpc_request_connection(owning->request);
    GPtrArray *clients = owning->agent->clients;
    for (guint i = 0; connection && i < clients->len; i++)
        if (((AgentClient *)g_ptr_array_index(clients, i))->connection == connection)
            return g_ptr_array_index(clients, i);
    return NULL;
}

static void answer(Owning *owning) {
    g_auto(AgentIdentity) identity = {0};
    agent_identity_fill(owning->agent, &identity);
    if (owning->is_proved)
        agent_identity_set_proof(&identity, owning->proofs.acceptor);
    rpc_reply(owning->request, agent_identity_encode(&identity, MODEL_ENCODE_ALL));
}

/* Not before the answer is out. */
static gboolean hang_up(void *data) {
    Agent *agent = data;
    agent->release_source = 0;
    for (guint i = agent->clients->len; i > 0; i--)
        if (((const AgentClient *)g_ptr_array_index(agent->clients, i - 1))->is_former)
            g_ptr_array_remove_index(agent->clients, i - 1);
    return G_SOURCE_REMOVE;
}

/* Another manager has taken the place of the one that is connected: that hears nothing from now on. */
static void leave_former(Agent *agent, const AgentClient *owner) {
    for (guint i = 0; i < agent->clients->len; i++) {
        AgentClient *client = g_ptr_array_index(agent->clients, i);
        client->is_former |= client != owner && client->is_owner;
        client->is_owner &= client == owner;
    }
    if (!agent->release_source)
        agent->release_source = g_timeout_add(HANG_UP_MS, hang_up, agent);
}

static void owned(int64_t revision G_GNUC_UNUSED, const Error *err, void *data) {
    Owning *owning = data;
    AgentClient *client = client_of(owning);
    g_auto(Error) fault = {0};
    if (err) {
        rpc_fail(owning->request, err);
    } else if (owning->is_proved && !agent_reload_remote(owning->agent, client, &fault)) {
        rpc_fail(owning->request, &fault);
    } else {
        if (owning->is_newer)
            leave_former(owning->agent, client);
        if (client)
            client->is_owner = true;
        answer(owning);
    }
    owning_free(owning);
}

static void own_now(Owning *take_owning) {
    const AgentOwn *own = &take_owning->own;
    const Journal *journal = take_owning->agent->journal;
    take_owning->is_newer = journal_owner(journal) && own->epoch > journal_epoch(journal);
    journal_own(take_owning->agent->journal, own->manager, own->epoch, owned, take_owning);
}

/* ---- over the network ---- */

static bool is_proved_by(Owning *owning, const char *code) {
    if (!code || !owning->is_good)
        return false;
    owning->is_good = tls_code_prove(code, owning->binding, &owning->proofs, &owning->err);
    return owning->is_good && tls_proof_is(owning->proofs.initiator, owning->own.proof);
}

static void prove(void *data) {
    Owning *owning = data;
    owning->is_good = true;
    owning->is_by_code = is_proved_by(owning, owning->codes.code);
    owning->is_proved = owning->is_by_code || is_proved_by(owning, owning->codes.secret);
    if (owning->is_proved)
        owning->is_good = remote_write_authority(
            owning->agent->remote, owning->own.manager, owning->own.authority, &owning->err);
}

static void proved(void *data) {
    Owning *owning = data;
    AgentClient *client = client_of(owning);
    if (owning->is_good && !owning->is_proved)
        owning->is_good = error_set(
            &owning->err, ERROR_DENIED, "/enrol_code", "the code is not the one that this host shows");
    /* Somebody else may have been quicker. */
    if (owning->is_by_code)
        remote_tried_well(owning->agent->remote, owning->own.manager);
    if (!owning->is_good || !check_claim(owning->agent, &owning->own, &owning->err)) {
        rpc_fail(owning->request, &owning->err);
        owning_free(owning);
        return;
    }
    if (client) {
        g_free(client->proved_for);
        client->proved_for = g_strdup(owning->own.manager);
    }
    own_now(owning);
}

static bool begin_proof(Owning *owning, const AgentClient *client, Error *err) {
    const AgentOwn *own = &owning->own;
    if (!own->authority || !own->proof)
        return error_set(err, ERROR_INVALID, own->proof ? "/authority" : "/enrol_code",
            "over the network a manager shows its authority and the host's code");
    return rpc_stream_binding(rpc_connection_stream(client->connection), owning->binding, err) &&
           remote_try(client->agent->remote, own->manager, &owning->codes, err) &&
           work_pool_add(client->agent->pools[LANE_HOST], prove, proved, owning, err);
}

/* No code is asked on the machine's own socket: whoever reaches it is root or was named by root at the
 * agent's start. */
void serve_own(AgentClient *client, const void *parameters, RpcRequest *request) {
    Owning *owning = g_new0(Owning, 1);
    g_auto(Error) err = {0};
    owning->agent = client->agent;
    owning->request = rpc_request_ref(request);
    agent_own_copy(&owning->own, parameters);
    /* An owner that proves a code again did not get the answer. */
    bool needs_proof = !client_is_believed(client) || (client->is_remote && owning->own.proof);
    bool is_begun =
        check_claim(client->agent, &owning->own, &err) && (!needs_proof || begin_proof(owning, client, &err));
    if (!is_begun) {
        rpc_fail(request, &err);
        owning_free(owning);
    } else if (!needs_proof) {
        own_now(owning);
    }
}

/* ---- the end of owning ---- */

typedef struct Releasing {
    Agent *agent;
    RpcRequest *request;
} Releasing;

static void let_go(Agent *agent) {
    g_auto(Error) err = {0};
    if (!agent_take_credentials(agent, &err))
        log_warning("whom this host believes cannot be read: %s", err.message);
    for (guint i = 0; i < agent->clients->len; i++) {
        AgentClient *client = g_ptr_array_index(agent->clients, i);
        client->is_owner = false;
        client->is_former = client->is_remote;
    }
    if (!agent->release_source)
        agent->release_source = g_timeout_add(HANG_UP_MS, hang_up, agent);
}

static void released(int64_t revision G_GNUC_UNUSED, const Error *err, void *data) {
    Releasing *releasing = data;
    if (err) {
        rpc_fail(releasing->request, err);
    } else {
        rpc_reply(releasing->request, NULL);
        let_go(releasing->agent);
    }
    rpc_request_unref(releasing->request);
    g_free(releasing);
}

/* They are their manager's, whose other hosts use them. */
static void leave_shared(Agent *agent) {
    g_autoptr(GPtrArray) repositories = NULL;
    if (!journal_repositories(agent->journal, &repositories, NULL))
        return;
    for (guint i = 0; i < repositories->len; i++) {
        const Repository *repository = repositories->pdata[i];
        if (repository->kind == REPOSITORY_KIND_SHARED)
            journal_repository_delete(agent->journal, repository->id);
    }
}

void serve_host_release(AgentClient *client, const void *parameters G_GNUC_UNUSED, RpcRequest *request) {
    Agent *agent = client->agent;
    g_auto(Error) err = {0};
    if (journal_is_busy(agent->journal)) {
        error_set(&err, ERROR_BUSY, NULL, "operations run on this host; wait for their end or cancel them");
        rpc_fail(request, &err);
        return;
    }
    leave_shared(agent);
    Releasing *releasing = g_new0(Releasing, 1);
    *releasing = (Releasing){agent, rpc_request_ref(request)};
    journal_release(agent->journal, released, releasing);
}

void serve_enrol_release(AgentClient *client, const void *parameters, RpcRequest *request) {
    const AgentRelease *release = parameters;
    const char *owner = journal_owner(client->agent->journal);
    g_auto(Error) err = {0};
    if (!owner)
        error_set(&err, ERROR_WRONG_STATE, NULL, "this host has no owner");
    else if (strcmp(owner, release->manager) != 0)
        error_set(&err, ERROR_CONFLICT, "/manager", "this host belongs to the manager %s", owner);
    if (error_is_set(&err))
        rpc_fail(request, &err);
    else
        serve_host_release(client, NULL, request);
}

void serve_holdings(AgentClient *client, const void *parameters G_GNUC_UNUSED, RpcRequest *request) {
    g_auto(AgentHoldings) holdings = {0};
    g_auto(Error) err = {0};
    if (journal_holdings(client->agent->journal, &holdings, &err))
        rpc_reply(request, agent_holdings_encode(&holdings, MODEL_ENCODE_ALL));
    else
        rpc_fail(request, &err);
}

/* ---- the code ---- */

void serve_enrol_code(AgentClient *client, const void *parameters G_GNUC_UNUSED, RpcRequest *request) {
    Agent *agent = client->agent;
    g_auto(AgentCode) answer = {0};
    agent_code_set_code(&answer, remote_code_make(agent->remote));
    agent_code_set_seconds(&answer, REMOTE_CODE_S);
    agent_code_set_key(&answer, remote_key(agent->remote));
    if (agent->address)
        agent_code_set_address(&answer, agent->address);
    if (journal_owner(agent->journal))
        agent_code_set_owner(&answer, journal_owner(agent->journal));
    rpc_reply(request, agent_code_encode(&answer, MODEL_ENCODE_ALL));
}

/* ---- certificate.apply ---- */

const char *key_of_certificate(const void *parameters G_GNUC_UNUSED) {
    return "certificate"; /* one after the other */
}

bool handle_certificate_apply(AgentCall *call, Error *err) {
    const AgentCertificate *request = call->parameters;
    return remote_write_certificate(call->agent->remote, request->certificate, err);
}

/* Connections that are open keep what they began with. */
bool finish_certificate_apply(AgentCall *call, Error *err) {
    Agent *agent = call->agent;
    if (!remote_reload(agent->remote, err))
        return false;
    if (agent->remote_listener)
        rpc_listener_set_credentials(agent->remote_listener, remote_credentials(agent->remote));
    return true;
}
