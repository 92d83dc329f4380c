/* Calls from the manager: may it ask, who is there, owning, and a table of what else is answered. */
#include "fake-host.h"
#include <string.h>

/* ---- who is there ---- */

static json_t *identity_of(const FakeHost *host, const char *proof, bool has_time) {
    g_auto(AgentIdentity) identity = {0};
    agent_identity_set_host(&identity, host->id);
    agent_identity_set_owner(&identity, host->owner);
    agent_identity_set_name(&identity, host->name);
    agent_identity_set_version(&identity, LODGE_VERSION);
    agent_identity_set_driver(&identity, HYPERVISOR_DRIVER_FAKE);
    agent_identity_set_proof(&identity, proof);
    if (has_time) {
        agent_identity_set_time(&identity, clock_realtime_ns(clock_system()));
        agent_identity_set_epoch(&identity, host->epoch);
    }
    return agent_identity_encode(&identity, MODEL_ENCODE_ALL);
}

static void serve_hello(FakeClient *client, const void *parameters, RpcRequest *request) {
    const AgentHello *hello = parameters;
    const FakeHost *host = client->host;
    bool is_owner = fake_client_is_owner(client);
    client->is_owner = is_owner && g_strcmp0(host->owner, hello->manager) == 0 && hello->epoch >= host->epoch;
    rpc_reply(request, identity_of(host, NULL, is_owner));
}

/* ---- owning ---- */

typedef struct Owning {
    FakeHost *host;
    RpcRequest *request;
    AgentOwn own;
    uint8_t binding[TLS_BINDING_BYTES];
    TlsProofs proofs;
    bool is_good, is_proved;
    Error err;
} Owning;

static void owning_free(Owning *owning) {
    rpc_request_unref(owning->request);
    agent_own_clear(&owning->own);
    error_clear(&owning->err);
    g_free(owning);
}

/* NULL once it is gone. */
static FakeClient *client_of(const Owning *owning) {
    const RpcConnection *connection = rpc_request_connection(owning->request);
    GPtrArray *clients = owning->host->clients;
    for (guint i = 0; connection && i < clients->len; i++)
        if (((FakeClient *)g_ptr_array_index(clients, i))->connection == connection)
            return g_ptr_array_index(clients, i);
    return NULL;
}

static bool check_claim(const FakeHost *host, const AgentOwn *own, Error *err) {
    if (host->owner && strcmp(host->owner, own->manager) != 0)
        return error_set(err, ERROR_NOT_OWNER, NULL, "this host belongs to another manager, %s", host->owner);
    return !host->owner || own->epoch >= host->epoch ||
           error_set(err, ERROR_STALE_EPOCH, NULL, "this host knows a later epoch of its manager");
}

static void owned(int64_t revision G_GNUC_UNUSED, const Error *err, void *data) {
    Owning *owning = data;
    FakeClient *client = client_of(owning);
    g_auto(Error) fault = {0};
    if (err) {
        rpc_fail(owning->request, err);
    } else if (owning->is_proved && !fake_host_reload(owning->host, client, &fault)) {
        rpc_fail(owning->request, &fault);
    } else {
        if (client)
            client->is_owner = true;
        rpc_reply(owning->request,
            identity_of(owning->host, owning->is_proved ? owning->proofs.acceptor : NULL, true));
    }
    owning_free(owning);
}

static void own_now(Owning *take_owning) {
    FakeHost *host = take_owning->host;
    const AgentOwn *own = &take_owning->own;
    bool is_known = host->owner && host->epoch == own->epoch && !take_owning->is_proved;
    g_free(host->owner);
    host->owner = g_strdup(own->manager);
    host->epoch = own->epoch;
    if (take_owning->is_proved) {
        g_free(host->authority_pem);
        host->authority_pem = g_strdup(own->authority);
    }
    if (is_known)
        owned(0, NULL, take_owning);
    else
        fake_host_save(host, owned, take_owning);
}

static void prove(void *data) {
    Owning *owning = data;
    g_autofree char *unused = NULL;
    owning->is_good =
        tls_fingerprint(owning->own.authority, &unused, &owning->err) && /* it is a certificate */
        tls_code_prove(owning->host->shared->secret, owning->binding, &owning->proofs, &owning->err);
    owning->is_proved = owning->is_good && tls_proof_is(owning->proofs.initiator, owning->own.proof);
}

static void proved(void *data) {
    Owning *owning = data;
    FakeClient *client = client_of(owning);
    if (owning->is_good && !owning->is_proved)
        owning->is_good = error_set(
            &owning->err, ERROR_DENIED, "/enrol_code", "the code is not the one that this host shows");
    /* Somebody else may have been quicker. */
    if (!owning->is_good || !check_claim(owning->host, &owning->own, &owning->err)) {
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

static bool begin_proof(Owning *owning, const FakeClient *client, Error *err) {
    const FakeShared *shared = client->host->shared;
    const AgentOwn *own = &owning->own;
    if (!own->authority || !own->proof)
        return error_set(err, ERROR_INVALID, own->proof ? "/authority" : "/enrol_code",
            "over the network a manager shows its authority and the host's code");
    if (!shared->secret)
        return error_set(err, ERROR_DENIED, "/enrol_code", "this host holds no secret");
    return rpc_stream_binding(rpc_connection_stream(client->connection), owning->binding, err) &&
           work_pool_add(shared->proofs, prove, proved, owning, err);
}

static void serve_own(FakeClient *client, const void *parameters, RpcRequest *request) {
    Owning *owning = g_new0(Owning, 1);
    g_auto(Error) err = {0};
    owning->host = client->host;
    owning->request = rpc_request_ref(request);
    agent_own_copy(&owning->own, parameters);
    bool needs_proof = !fake_client_is_owner(client) || owning->own.proof;
    bool is_begun =
        check_claim(client->host, &owning->own, &err) && (!needs_proof || begin_proof(owning, client, &err));
    if (!is_begun) {
        rpc_fail(request, &err);
        owning_free(owning);
    } else if (!needs_proof) {
        own_now(owning);
    }
}

/* ---- all others: what is answered, or NULL with the error ---- */

typedef json_t *(*AnswerFn)(FakeHost *host, const void *parameters, Error *err);

static json_t *answer_nothing(
    FakeHost *host G_GNUC_UNUSED, const void *parameters G_GNUC_UNUSED, Error *err G_GNUC_UNUSED) {
    return json_object();
}

static json_t *answer_keep(FakeHost *host, const void *parameters, Error *err G_GNUC_UNUSED) {
    json_decref(host->kept);
    host->kept = agent_kept_encode(parameters, MODEL_ENCODE_DEFINITION);
    return json_object();
}

static json_t *answer_kept(FakeHost *host, const void *parameters G_GNUC_UNUSED, Error *err G_GNUC_UNUSED) {
    return json_pack("{sO*}", "kept", host->kept);
}

static json_t *answer_certificate(FakeHost *host, const void *parameters, Error *err) {
    const AgentCertificate *request = parameters;
    g_autofree char *key = NULL;
    if (!tls_key_fingerprint(request->certificate, &key, err)) {
        error_prefix_field(err, "/certificate");
        return NULL;
    }
    if (strcmp(key, host->key) != 0) {
        error_set(err, ERROR_INVALID, "/certificate", "certificate: it is for another key than this host's");
        return NULL;
    }
    g_free(host->identity.certificate_pem);
    host->identity.certificate_pem = g_strdup(request->certificate);
    fake_host_save(host, NULL, NULL);
    return fake_host_reload(host, NULL, err) ? json_object() : NULL;
}

static json_t *state_row(const FakeHost *host, int vm) {
    g_auto(AgentVmState) state = {0};
    world_fill_vm_state(host->shared->world, host->number, vm, &state);
    return agent_vm_state_encode(&state, MODEL_ENCODE_ALL);
}

static json_t *definition_row(const FakeHost *host, int vm) {
    g_auto(Vm) definition = {0};
    world_fill_vm(host->shared->world, host->number, vm, &definition);
    return vm_encode(&definition, MODEL_ENCODE_DEFINITION);
}

static char *id_of(const FakeHost *host, int vm) {
    g_autoptr(json_t) row = state_row(host, vm);
    return g_strdup(json_text_at(row, "id"));
}

/* Rows of VMs behind `after`, as many as fit; `next` when more follow. */
static void add_page(
    const FakeHost *host, const char *after, json_t *(*make)(const FakeHost *host, int vm), json_t *page) {
    json_t *rows = json_array();
    size_t bytes = 0;
    int n_vms = world_vms(host->shared->world);
    int first = after ? world_find(host->shared->world, host->number, after) + 1 : 0;
    json_object_set_new(page, "vms", rows);
    for (int vm = first; vm < n_vms; vm++) {
        json_t *row = make(host, vm);
        bytes += json_dumpb(row, NULL, 0, JSON_COMPACT) + 1;
        if (vm > first && bytes > host->shared->page_bytes) {
            g_autofree char *last = id_of(host, vm - 1);
            json_object_set_new(page, "next", json_string(last));
            json_decref(row);
            return;
        }
        json_array_append_new(rows, row);
    }
}

static json_t *answer_inventory(FakeHost *host, const void *parameters, Error *err G_GNUC_UNUSED) {
    const AgentInventoryAsk *request = parameters;
    g_auto(HostStatus) status = {0};
    world_fill_host(host->shared->world, host->number, &status);
    json_t *page = json_pack("{so}", "host", host_status_encode(&status, MODEL_ENCODE_ALL));
    add_page(host, request->after, state_row, page);
    return page;
}

static json_t *answer_holdings(
    FakeHost *host, const void *parameters G_GNUC_UNUSED, Error *err G_GNUC_UNUSED) {
    g_auto(AgentHoldings) holdings = {0};
    world_fill_repository(host->shared->world, host->number, agent_holdings_add_repositories(&holdings));
    world_fill_network(host->shared->world, agent_holdings_add_networks(&holdings));
    return agent_holdings_encode(&holdings, MODEL_ENCODE_ALL);
}

static bool is_own_repository(const FakeHost *host, const Repository *repository, Error *err) {
    g_auto(Repository) own = {0};
    world_fill_repository(host->shared->world, host->number, &own);
    return g_strcmp0(own.id, repository->id) == 0 ||
           error_set(err, ERROR_NOT_FOUND, NULL, "a fake host has the repository %s only", own.name);
}

static json_t *answer_scan(FakeHost *host, const void *parameters, Error *err) {
    const AgentRepositoryScan *request = parameters;
    if (!is_own_repository(host, &request->repository, err))
        return NULL;
    g_auto(Repository) repository = {0};
    repository_copy(&repository, &request->repository);
    world_fill_repository_status(host->shared->world, repository_put_status(&repository));
    json_t *page = json_pack("{so}", "repository", repository_encode(&repository, MODEL_ENCODE_ALL));
    add_page(host, request->after, definition_row, page);
    return page;
}

static json_t *answer_probe(FakeHost *host, const void *parameters, Error *err) {
    const AgentRepository *request = parameters;
    if (!is_own_repository(host, &request->repository, err))
        return NULL;
    g_auto(AgentRepository) answer = {0};
    agent_repository_copy(&answer, request);
    repository_status_clear(repository_put_status(&answer.repository));
    world_fill_repository_status(host->shared->world, &answer.repository.status);
    return agent_repository_encode(&answer, MODEL_ENCODE_ALL);
}

static json_t *answer_network(
    FakeHost *host G_GNUC_UNUSED, const void *parameters, Error *err G_GNUC_UNUSED) {
    const AgentNetwork *request = parameters;
    g_auto(AgentNetwork) answer = {0};
    agent_network_copy(&answer, request);
    network_status_clear(network_put_status(&answer.network));
    network_status_set_state(&answer.network.status, NETWORK_STATE_ACTIVE);
    return agent_network_encode(&answer, MODEL_ENCODE_ALL);
}

static json_t *answer_network_wish(FakeHost *host, const void *parameters, Error *err) {
    const AgentNetworkWish *wish = parameters;
    g_auto(AgentNetwork) request = {0};
    network_copy(agent_network_put_network(&request), &wish->network);
    return answer_network(host, &request, err);
}

static json_t *answer_modules(
    FakeHost *host G_GNUC_UNUSED, const void *parameters G_GNUC_UNUSED, Error *err G_GNUC_UNUSED) {
    g_auto(AgentModulesPlan) plan = {0};
    agent_modules_plan_set_blocked(&plan, 0);
    agent_modules_plan_set_available(&plan, 0);
    return agent_modules_plan_encode(&plan, MODEL_ENCODE_ALL);
}

static json_t *put_into(FakeHost *host, const char *vm_id, VmState state, bool must_run, Error *err) {
    World *world = host->shared->world;
    int vm = world_find(world, host->number, vm_id);
    if (vm < 0) {
        error_set(err, ERROR_NOT_FOUND, NULL, "this host has no VM %s", vm_id);
        return NULL;
    }
    if (must_run && world_state(world, host->number, vm) == VM_STATE_STOPPED) {
        error_set(err, ERROR_WRONG_STATE, NULL, "the VM does not run");
        return NULL;
    }
    world_set_state(world, host->number, vm, state);
    fake_host_changed(host, vm);
    return state_row(host, vm);
}

static json_t *answer_start(FakeHost *host, const void *parameters, Error *err) {
    return put_into(host, ((const AgentVm *)parameters)->vm.id, VM_STATE_RUNNING, false, err);
}

static json_t *answer_stop(FakeHost *host, const void *parameters, Error *err) {
    return put_into(host, ((const AgentVmRef *)parameters)->id, VM_STATE_STOPPED, false, err);
}

static json_t *answer_reset(FakeHost *host, const void *parameters, Error *err) {
    return put_into(host, ((const AgentVmRef *)parameters)->id, VM_STATE_RUNNING, true, err);
}

static json_t *answer_pause(FakeHost *host, const void *parameters, Error *err) {
    return put_into(host, ((const AgentVmRef *)parameters)->id, VM_STATE_PAUSED, true, err);
}

static json_t *answer_forget(FakeHost *host, const void *parameters, Error *err G_GNUC_UNUSED) {
    const AgentOperationIds *ids = parameters;
    for (size_t i = 0; i < ids->operations.n; i++)
        g_hash_table_remove(host->operations, ids->operations.items[i]);
    return json_object();
}

static const AnswerFn answers[AGENT_METHOD_MAX] = {
    [AGENT_METHOD_CERTIFICATE_APPLY] = answer_certificate,
    [AGENT_METHOD_INVENTORY] = answer_inventory,
    [AGENT_METHOD_HOLDINGS] = answer_holdings,
    [AGENT_METHOD_KEEP] = answer_keep,
    [AGENT_METHOD_KEPT] = answer_kept,
    [AGENT_METHOD_OPERATION_LIST] = answer_nothing,
    [AGENT_METHOD_LOCAL_ACTIONS] = answer_nothing,
    [AGENT_METHOD_OPERATION_FORGET] = answer_forget,
    [AGENT_METHOD_REPOSITORY_OPEN] = answer_probe,
    [AGENT_METHOD_REPOSITORY_PROBE] = answer_probe,
    [AGENT_METHOD_REPOSITORY_SCAN] = answer_scan,
    [AGENT_METHOD_REPOSITORY_CLOSE] = answer_nothing,
    [AGENT_METHOD_NETWORK_OPEN] = answer_network,
    [AGENT_METHOD_NETWORK_CLOSE] = answer_nothing,
    [AGENT_METHOD_NETWORK_APPLY] = answer_network_wish,
    [AGENT_METHOD_VM_START] = answer_start,
    [AGENT_METHOD_VM_STOP] = answer_stop,
    [AGENT_METHOD_VM_KILL] = answer_stop,
    [AGENT_METHOD_VM_RESET] = answer_reset,
    [AGENT_METHOD_VM_PAUSE] = answer_pause,
    [AGENT_METHOD_VM_RESUME] = answer_reset,
    [AGENT_METHOD_RECIPE_LIST] = answer_nothing,
    [AGENT_METHOD_MODULES_APPLY] = answer_modules,
    [AGENT_METHOD_MODULES_CHECK] = answer_modules,
    [AGENT_METHOD_MODULES_LIST] = answer_nothing,
    [AGENT_METHOD_CONTROL_APPLY] = answer_nothing,
};

/* ---- may it be asked? ---- */

static bool check_owner(FakeHost *host, const RpcContext *context, Error *err) {
    if (!host->owner)
        return error_set(err, ERROR_NOT_OWNER, NULL, "this host has no owner yet");
    if (g_strcmp0(host->owner, context->owner) != 0)
        return error_set(err, ERROR_NOT_OWNER, NULL, "this host belongs to the manager %s", host->owner);
    if (context->epoch < host->epoch)
        return error_set(err, ERROR_STALE_EPOCH, NULL,
            "the call is of epoch %" G_GINT64_FORMAT ", this host knows %" G_GINT64_FORMAT, context->epoch,
            host->epoch);
    if (context->epoch > host->epoch) {
        host->epoch = context->epoch;
        g_hash_table_remove_all(host->claims);
        fake_host_save(host, NULL, NULL);
    }
    return true;
}

/* Remembers the highest revision of each object. */
static bool take_claims(
    FakeHost *host, const AgentMethodDescriptor *method, const RpcContext *context, Error *err) {
    bool is_held = g_strcmp0(method->object, "vm") != 0;
    for (size_t i = 0; i < context->n_claims; i++) {
        const RpcClaim *claim = &context->claims[i];
        int64_t *highest = g_hash_table_lookup(host->claims, claim->object);
        if (highest && claim->revision < *highest)
            return error_set(err, ERROR_STALE_CLAIM, NULL,
                "the claim on %s has revision %" G_GINT64_FORMAT ", this host has seen %" G_GINT64_FORMAT,
                claim->object, claim->revision, *highest);
        is_held = is_held || g_str_has_prefix(claim->object, "vm/");
        highest = g_new(int64_t, 1);
        *highest = claim->revision;
        g_hash_table_replace(host->claims, g_strdup(claim->object), highest);
    }
    return is_held || error_set(err, ERROR_STALE_CLAIM, NULL, "the call holds no claim on a VM");
}

/* The outcome of a change is remembered: the same operation again has the same one. */
static json_t *change(
    FakeHost *host, AgentMethodId id, const void *parameters, const RpcContext *context, Error *err) {
    json_t *known = context->operation ? g_hash_table_lookup(host->operations, context->operation) : NULL;
    if (!context->operation) {
        error_set(err, ERROR_INVALID, "/context/operation", "a change needs an operation's id");
        return NULL;
    }
    if (!take_claims(host, &agent_methods[id], context, err))
        return NULL;
    json_t *result = known ? json_deep_copy(known) : answers[id](host, parameters, err);
    if (result && !known)
        g_hash_table_insert(host->operations, g_strdup(context->operation), json_deep_copy(result));
    return result;
}

static void answer(FakeClient *client, AgentMethodId id, const void *parameters, RpcRequest *request) {
    g_auto(Error) err = {0};
    json_t *result = NULL;
    if (!answers[id])
        error_set(&err, ERROR_UNSUPPORTED, NULL, "a fake host does not offer %s", agent_methods[id].name);
    else if (agent_methods[id].is_change)
        result = change(client->host, id, parameters, rpc_request_context(request), &err);
    else
        result = answers[id](client->host, parameters, &err);
    if (result)
        rpc_reply(request, result);
    else
        rpc_fail(request, &err);
}

static void serve(RpcRequest *take_request, void *data) {
    g_autoptr(RpcRequest) request = take_request;
    FakeClient *client = data;
    AgentMethodId id = agent_method_find(rpc_request_method(request));
    const AgentMethodDescriptor *method = &agent_methods[id];
    g_auto(Error) err = {0};
    void *parameters = g_malloc0(method->parameters->size);
    if (method->is_local)
        error_set(&err, ERROR_DENIED, NULL, "%s is asked on the host itself only", method->name);
    else if (!method->is_free && !fake_client_is_owner(client))
        error_set(&err, ERROR_DENIED, NULL, "show the host's code first");
    else if (!method->is_free)
        check_owner(client->host, rpc_request_context(request), &err);
    if (error_is_set(&err) ||
        !model_decode(method->parameters, rpc_request_parameters(request), MODEL_STORED, parameters, &err))
        rpc_fail(request, &err);
    else if (id == AGENT_METHOD_HELLO)
        serve_hello(client, parameters, request);
    else if (id == AGENT_METHOD_OWN)
        serve_own(client, parameters, request);
    else
        answer(client, id, parameters, request);
    model_free(method->parameters, parameters);
}

RpcHandler fake_answer_lookup(const char *method, void *client G_GNUC_UNUSED) {
    return agent_method_find(method) == AGENT_METHOD_MAX ? NULL : serve;
}
