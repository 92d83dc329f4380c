/*
 * A call from the socket to its answer, in the order in which it happens: may the caller ask, is the
 * operation known, journal, work in a thread, journal, answer. Who asks for an operation that runs already
 * waits for the same end.
 */
#include <string.h>
#include "agent/agent-private.h"
#include "agent/host-end.h"
#include "agent/host-local.h"
#include "base/heap.h"
#include "base/log.h"

enum { TRIM_AFTER_MS = 5000, HYPERVISOR_PATIENCE_S = 30, HYPERVISOR_RETRY_MS = 200 };

/* Who waits for an operation's end. */
typedef struct Waiter {
    RpcRequest *request;
    bool wants_outcome; /* operation.attach: the outcome is the result */
} Waiter;

/* ---- answers ---- */

static void fill_outcome(AgentOperation *outcome, const Operation *operation) {
    agent_operation_set_operation(outcome, operation->id);
    agent_operation_set_state(outcome, operation->state);
    if (operation->method < AGENT_METHOD_MAX)
        agent_operation_set_method(outcome, agent_methods[operation->method].name);
    if (operation->state == OPERATION_STATE_DONE && operation->result)
        agent_operation_take_result(outcome, json_deep_copy(operation->result));
    if (operation->state != OPERATION_STATE_FAILED)
        return;
    g_autoptr(json_t) fault = error_to_json(&operation->error);
    fault_decode(fault, MODEL_STORED, agent_operation_put_error(outcome), NULL);
}

static void answer(const Operation *operation, const Waiter *waiter) {
    if (waiter->wants_outcome) {
        g_auto(AgentOperation) outcome = {0};
        fill_outcome(&outcome, operation);
        rpc_reply(waiter->request, agent_operation_encode(&outcome, MODEL_ENCODE_ALL));
    } else if (operation->state == OPERATION_STATE_DONE) {
        rpc_reply(waiter->request, json_deep_copy(operation->result));
    } else {
        rpc_fail(waiter->request, &operation->error);
    }
}

static void answer_all(Operation *operation) {
    while (operation->waiters->len > 0) {
        Waiter *waiter = g_ptr_array_steal_index(operation->waiters, 0);
        answer(operation, waiter);
        rpc_request_unref(waiter->request);
        g_free(waiter);
    }
}

static void cancel_operation(void *data) {
    cancel_trigger(data);
}

static void wait_for(Operation *operation, RpcRequest *request, bool wants_outcome) {
    Waiter *waiter = g_new0(Waiter, 1);
    *waiter = (Waiter){rpc_request_ref(request), wants_outcome};
    g_ptr_array_add(operation->waiters, waiter);
    if (!wants_outcome)
        rpc_request_on_cancel(request, cancel_operation, operation->cancel);
}

static void fail(RpcRequest *request, ErrorCode code, const char *field, const char *text) {
    g_auto(Error) err = {0};
    error_set(&err, code, field, "%s", text);
    rpc_fail(request, &err);
}

/* ---- a call's life ---- */

typedef struct ProgressNote {
    Operation *operation;
    json_t *progress;
} ProgressNote;

static gboolean send_progress(void *data) {
    ProgressNote *note = data;
    for (guint i = 0; i < note->operation->waiters->len; i++)
        rpc_progress(((Waiter *)g_ptr_array_index(note->operation->waiters, i))->request,
            json_deep_copy(note->progress));
    json_decref(note->progress);
    g_free(note);
    return G_SOURCE_REMOVE;
}

/* In the working thread. The call and its operation outlive what is queued here: the end of the work is
 * queued later. */
static void on_progress(int percent, const char *phase, void *data) {
    AgentCall *call = data;
    if (call->percent == percent && g_strcmp0(call->phase, phase) == 0)
        return;
    call->percent = percent;
    g_free(call->phase);
    call->phase = g_strdup(phase);
    ProgressNote *note = g_new0(ProgressNote, 1);
    *note = (ProgressNote){call->operation, json_pack("{si ss*}", "percent", percent, "phase", phase)};
    g_idle_add_full(G_PRIORITY_DEFAULT, send_progress, note, NULL);
}

static AgentCall *call_new(Agent *agent, Operation *operation, void *take_parameters) {
    AgentCall *call = g_new0(AgentCall, 1);
    *call = (AgentCall){.agent = agent,
        .operation = operation_ref(operation),
        .method = operation->method,
        .operation_id = g_strdup(operation->id),
        .parameters = take_parameters,
        .result = g_malloc0(agent_methods[operation->method].result->size),
        .cancel = operation->cancel,
        .percent = -1};
    call->progress = (ImageProgress){on_progress, call};
    agent->n_running++;
    return call;
}

static void call_free(AgentCall *call) {
    if (--call->agent->n_running == 0)
        heap_trim_later(&call->agent->trim_source, TRIM_AFTER_MS);
    model_free(agent_methods[call->method].parameters, call->parameters);
    model_free(agent_methods[call->method].result, call->result);
    operation_unref(call->operation);
    error_clear(&call->err);
    g_free(call->phase);
    g_free(call->operation_id);
    g_free(call);
}

static void call_recorded(int64_t revision G_GNUC_UNUSED, const Error *err, void *data) {
    AgentCall *call = data;
    if (err) /* the answer is true all the same; after a crash the operation counts as interrupted */
        log_warning("the journal cannot be written: %s", err->message);
    answer_all(call->operation);
    call_free(call);
}

static void call_end(AgentCall *call) {
    Operation *operation = call->operation;
    if (operation->key)
        reporter_touch(call->agent->reporter, operation->key);
    if (!call->is_good && operation->key && g_strcmp0(agent_methods[call->method].object, "vm") == 0)
        reporter_changed(operation->key, call->agent->reporter);
    if (call->is_good) {
        operation->state = OPERATION_STATE_DONE;
        operation->result = model_encode(agent_methods[call->method].result, call->result, MODEL_ENCODE_ALL);
    } else {
        operation->state = OPERATION_STATE_FAILED;
        g_autofree char *text = error_text(&call->err);
        log_info("%s failed: %s", agent_methods[call->method].name, text);
        error_move(&operation->error, &call->err);
    }
    if (operation->id)
        journal_end(call->agent->journal, operation, call_recorded, call);
    else
        call_recorded(0, NULL, call);
}

/* The same parameters again: handlers may have changed their copy. */
static bool call_try(AgentCall *call) {
    const AgentMethodDescriptor *method = &agent_methods[call->method];
    void *parameters = g_malloc0(method->parameters->size), *original = call->parameters;
    model_copy(method->parameters, parameters, original);
    model_clear(method->result, call->result);
    error_clear(&call->err);
    call->parameters = parameters;
    const AgentHandler *handler = &agent_handlers[call->method];
    bool may_run = handler->is_certain || cancel_check(call->cancel, &call->err);
    if (!may_run && handler->abandon)
        handler->abandon(call);
    call->is_good = may_run && handler->run(call, &call->err);
    call->parameters = original;
    model_free(method->parameters, parameters);
    return call->is_good;
}

/* A hypervisor's daemon that died is back within seconds, and changes can be repeated: a job does not fail
 * for that. Nothing that fails is answered as `unreachable`, which would say that this agent is away. */
static void call_run(void *data) {
    AgentCall *call = data;
    bool is_build = agent_handlers[call->method].lane == LANE_BUILD;
    bool is_patient = agent_methods[call->method].is_change && !is_build;
    gint64 end = g_get_monotonic_time() + (is_patient ? HYPERVISOR_PATIENCE_S * G_TIME_SPAN_SECOND : 0);
    while (!call_try(call) && call->err.code == ERROR_UNREACHABLE && g_get_monotonic_time() < end &&
           !is_cancelled(call->cancel))
        g_usleep(HYPERVISOR_RETRY_MS * 1000);
    if (!call->is_good && call->err.code == ERROR_UNREACHABLE)
        call->err.code = is_build ? ERROR_TOOL_FAILED : ERROR_HYPERVISOR;
}

static void call_done(void *data) {
    AgentCall *call = data;
    const AgentHandler *handler = &agent_handlers[call->method];
    if (call->is_good && handler->finish)
        call->is_good = handler->finish(call, &call->err);
    call_end(call);
}

/* It never began: it is not remembered, so that it can be sent again. */
static void call_refuse(AgentCall *call, const Error *err) {
    Operation *operation = call->operation;
    operation->state = OPERATION_STATE_FAILED;
    error_copy(&operation->error, err);
    answer_all(operation);
    if (operation->id)
        journal_forget(call->agent->journal, operation->id);
    call_free(call);
}

/* Pulling the plug does not wait behind a stop that waits for the guest. */
static void make_way_for(const AgentCall *call) {
    if (call->method != AGENT_METHOD_VM_KILL)
        return;
    host_end_make_way(call->agent, call->operation->key);
    GList *operations = journal_operations(call->agent->journal);
    for (GList *item = operations; item; item = item->next) {
        Operation *other = item->data;
        if (other->method == AGENT_METHOD_VM_STOP && other->state == OPERATION_STATE_RUNNING &&
            g_strcmp0(other->key, call->operation->key) == 0)
            cancel_trigger(other->cancel);
    }
    g_list_free(operations);
}

static void call_begin(int64_t revision G_GNUC_UNUSED, const Error *err, void *data) {
    AgentCall *call = data;
    if (err) {
        call_refuse(call, err);
        return;
    }
    const AgentHandler *handler = &agent_handlers[call->method];
    bool is_long = handler->is_long && handler->is_long(call->parameters);
    WorkPool *pool = call->agent->pools[is_long ? LANE_COPY : handler->lane];
    const char *key = call->operation->key;
    g_auto(Error) busy = {0};
    make_way_for(call);
    bool is_queued = key ? work_pool_add_keyed(pool, key, call_run, call_done, call, &busy)
                         : work_pool_add(pool, call_run, call_done, call, &busy);
    if (!is_queued)
        call_refuse(call, &busy);
}

/* ---- may it be asked? ---- */

static bool check_access(const AgentClient *client, const AgentMethodDescriptor *method, Error *err) {
    AgentAccess access = client_access(client);
    if (method->is_local && access != ACCESS_LOCAL)
        return error_set(err, ERROR_DENIED, NULL, "%s is asked on the host itself only", method->name);
    if (method->is_root && !client_is_root(client))
        return error_set(
            err, ERROR_DENIED, NULL, "only root on the host itself may ask for %s", method->name);
    if (access == ACCESS_PEER)
        return method->is_peer || method->is_free ||
               error_set(err, ERROR_DENIED, NULL, "another host may not ask for %s", method->name);
    if (method->is_peer)
        return error_set(err, ERROR_DENIED, NULL, "%s is between hosts", method->name);
    return access != ACCESS_STRANGER || method->is_free ||
           error_set(err, ERROR_DENIED, NULL, "show the host's code first");
}

static bool check_owner(Agent *agent, const RpcContext *context, Error *err) {
    const char *owner = journal_owner(agent->journal);
    if (!owner)
        return error_set(err, ERROR_NOT_OWNER, NULL, "this host has no owner yet");
    if (g_strcmp0(owner, context->owner) != 0)
        return error_set(err, ERROR_NOT_OWNER, NULL, "this host belongs to the manager %s", owner);
    int64_t epoch = journal_epoch(agent->journal);
    if (context->epoch < epoch)
        return error_set(err, ERROR_STALE_EPOCH, NULL,
            "the call is of epoch %" G_GINT64_FORMAT ", this host knows %" G_GINT64_FORMAT, context->epoch,
            epoch);
    if (context->epoch > epoch)
        journal_own(agent->journal, owner, context->epoch, NULL, NULL);
    return true;
}

/* Claims name their object "kind/id". A change of a VM must hold one. */
static bool check_claims(Agent *agent, const AgentMethodDescriptor *method, const char *key,
    const RpcContext *context, Error *err) {
    g_autofree char *object = g_strdup_printf("%s/%s", method->object ? method->object : "", key ? key : "");
    bool is_held = !method->object || strcmp(method->object, "vm") != 0;
    for (size_t i = 0; i < context->n_claims; i++) {
        const RpcClaim *claim = &context->claims[i];
        int64_t highest = journal_claim(agent->journal, claim->object);
        if (claim->revision < highest)
            return error_set(err, ERROR_STALE_CLAIM, NULL,
                "the claim on %s has revision %" G_GINT64_FORMAT ", this host has seen %" G_GINT64_FORMAT,
                claim->object, claim->revision, highest);
        is_held = is_held || strcmp(claim->object, object) == 0;
    }
    return is_held || error_set(err, ERROR_STALE_CLAIM, NULL, "the call holds no claim on %s", object);
}

/* ---- begin ---- */

static void start_call(Agent *agent, Operation *operation, void *take_parameters, const RpcContext *context) {
    AgentCall *call = call_new(agent, operation, take_parameters);
    if (!operation->id) {
        call_begin(0, NULL, call);
        return;
    }
    g_autofree JournalClaim *claims = g_new0(JournalClaim, context->n_claims + 1);
    for (size_t i = 0; i < context->n_claims; i++)
        claims[i] = (JournalClaim){context->claims[i].object, context->claims[i].revision};
    journal_begin(agent->journal, operation, claims, context->n_claims, call_begin, call);
}

/* True when the operation is known and the request was dealt with. */
static bool join_known(Agent *agent, AgentMethodId method, RpcRequest *request) {
    Operation *known = journal_find(agent->journal, rpc_request_context(request)->operation);
    if (!known || known->state == OPERATION_STATE_INTERRUPTED)
        return false;
    const Waiter waiter = {request, false};
    if (known->method != method)
        fail(request, ERROR_CONFLICT, NULL, "this operation's id was used for another method");
    else if (known->state == OPERATION_STATE_RUNNING)
        wait_for(known, request, false);
    else
        answer(known, &waiter);
    return true;
}

static bool check_change(
    Agent *agent, const AgentMethodDescriptor *method, const char *key, RpcRequest *request, Error *err) {
    const RpcContext *context = rpc_request_context(request);
    if (!context->operation || strlen(context->operation) > 128)
        return error_set(err, ERROR_INVALID, "/context/operation",
            "a change needs an operation's id of at most 128 bytes");
    return check_claims(agent, method, key, context, err);
}

static void work(Agent *agent, AgentMethodId id, void *take_parameters, RpcRequest *request) {
    const AgentMethodDescriptor *method = &agent_methods[id];
    const AgentHandler *handler = &agent_handlers[id];
    const char *key = handler->key ? handler->key(take_parameters) : NULL;
    g_auto(Error) err = {0};
    bool is_ended = true;
    if (handler->key && !key)
        fail(request, ERROR_INVALID, NULL, "the object needs an id");
    else if (method->is_change && !check_change(agent, method, key, request, &err))
        rpc_fail(request, &err);
    else
        is_ended = method->is_change && join_known(agent, id, request);
    if (is_ended) {
        model_free(method->parameters, take_parameters);
        return;
    }
    const RpcContext *context = rpc_request_context(request);
    Operation *operation = operation_new(method->is_change ? context->operation : NULL, id);
    operation->key = g_strdup(key);
    wait_for(operation, request, false);
    start_call(agent, operation, take_parameters, context);
    operation_unref(operation);
}

/* ---- answered at once ---- */

static void serve_hello(AgentClient *client, const void *parameters, RpcRequest *request) {
    const AgentHello *hello = parameters;
    Journal *journal = client->agent->journal;
    g_auto(AgentIdentity) identity = {0};
    bool is_believed = client_is_believed(client);
    client->is_owner = is_believed && g_strcmp0(journal_owner(journal), hello->manager) == 0 &&
                       hello->epoch >= journal_epoch(journal);
    agent_identity_fill(client->agent, &identity);
    if (is_believed) {
        agent_identity_set_time(&identity, clock_realtime_ns(clock_system()));
        agent_identity_set_epoch(&identity, journal_epoch(journal));
    }
    rpc_reply(request, agent_identity_encode(&identity, MODEL_ENCODE_ALL));
}

static void serve_operation_list(
    AgentClient *client, const void *parameters G_GNUC_UNUSED, RpcRequest *request) {
    g_auto(AgentOperationList) list = {0};
    GList *operations = journal_operations(client->agent->journal);
    for (GList *item = operations; item && list.operations.n < 4096; item = item->next) {
        const Operation *operation = item->data;
        AgentOperation *row = agent_operation_list_add_operations(&list);
        agent_operation_set_operation(row, operation->id); /* results are fetched one by one */
        agent_operation_set_state(row, operation->state);
        if (operation->method < AGENT_METHOD_MAX)
            agent_operation_set_method(row, agent_methods[operation->method].name);
    }
    g_list_free(operations);
    rpc_reply(request, agent_operation_list_encode(&list, MODEL_ENCODE_ALL));
}

static void serve_operation_attach(AgentClient *client, const void *parameters, RpcRequest *request) {
    const AgentOperationIds *ids = parameters;
    if (ids->operations.n != 1) {
        fail(request, ERROR_INVALID, "/operations", "exactly one operation can be waited for");
        return;
    }
    Operation *known = journal_find(client->agent->journal, ids->operations.items[0]);
    if (known && known->state == OPERATION_STATE_RUNNING) {
        wait_for(known, request, true);
        return;
    }
    Operation unknown = {
        .id = ids->operations.items[0], .method = AGENT_METHOD_MAX, .state = OPERATION_STATE_UNKNOWN};
    const Waiter waiter = {request, true};
    answer(known ? known : &unknown, &waiter);
}

static void serve_operation_forget(AgentClient *client, const void *parameters, RpcRequest *request) {
    const AgentOperationIds *ids = parameters;
    for (size_t i = 0; i < ids->operations.n; i++)
        journal_forget(client->agent->journal, ids->operations.items[i]);
    rpc_reply(request, NULL);
}

typedef void (*ServeFn)(AgentClient *client, const void *parameters, RpcRequest *request);
static const ServeFn served_at_once[AGENT_METHOD_MAX] = {
    [AGENT_METHOD_HELLO] = serve_hello,
    [AGENT_METHOD_OWN] = serve_own,
    [AGENT_METHOD_OPERATION_LIST] = serve_operation_list,
    [AGENT_METHOD_OPERATION_ATTACH] = serve_operation_attach,
    [AGENT_METHOD_OPERATION_FORGET] = serve_operation_forget,
    [AGENT_METHOD_ENROL_CODE] = serve_enrol_code,
    [AGENT_METHOD_HOST_RELEASE] = serve_host_release,
    [AGENT_METHOD_ENROL_RELEASE] = serve_enrol_release,
    [AGENT_METHOD_HOLDINGS] = serve_holdings,
    [AGENT_METHOD_KEEP] = serve_keep,
    [AGENT_METHOD_KEPT] = serve_kept,
    [AGENT_METHOD_MIGRATION_STREAM] = serve_migration_stream,
    [AGENT_METHOD_MIGRATION_FILES] = serve_migration_files,
    [AGENT_METHOD_MIGRATION_GIVE] = serve_migration_give,
    [AGENT_METHOD_HOST_END] = serve_host_end,
    [AGENT_METHOD_HOST_BEGIN] = serve_host_begin,
    [AGENT_METHOD_LOCAL_LIST] = serve_local_list,
    [AGENT_METHOD_LOCAL_START] = serve_local_change,
    [AGENT_METHOD_LOCAL_STOP] = serve_local_change,
    [AGENT_METHOD_LOCAL_KILL] = serve_local_change,
    [AGENT_METHOD_LOCAL_ACTIONS] = serve_local_actions,
    [AGENT_METHOD_LOCAL_FORGET] = serve_local_forget,
};

static void serve(RpcRequest *take_request, void *data) {
    g_autoptr(RpcRequest) request = take_request;
    AgentClient *client = data;
    AgentMethodId id = agent_method_find(rpc_request_method(request));
    const AgentMethodDescriptor *method = &agent_methods[id];
    g_auto(Error) err = {0};
    if (client->agent->is_stopping) {
        fail(request, ERROR_BUSY, NULL, "the agent is stopping");
        return;
    }
    if (!check_access(client, method, &err) ||
        (!method->is_free && !method->is_peer &&
            !check_owner(client->agent, rpc_request_context(request), &err))) {
        rpc_fail(request, &err);
        return;
    }
    void *parameters = g_malloc0(method->parameters->size);
    if (!model_decode(method->parameters, rpc_request_parameters(request), MODEL_STORED, parameters, &err)) {
        rpc_fail(request, &err);
    } else if (method->is_peer && !migration_check_peer(client, rpc_request_parameters(request), &err)) {
        rpc_fail(request, &err);
    } else if (!migration_check_method(client->agent, id, parameters, &err)) {
        rpc_fail(request, &err);
    } else if (served_at_once[id]) {
        served_at_once[id](client, parameters, request);
    } else if (!agent_handlers[id].run) {
        fail(request, ERROR_UNSUPPORTED, NULL, "this agent does not offer that");
    } else {
        work(client->agent, id, g_steal_pointer(&parameters), request);
    }
    if (parameters)
        model_free(method->parameters, parameters);
}

RpcHandler agent_lookup(const char *method, void *client G_GNUC_UNUSED) {
    return agent_method_find(method) == AGENT_METHOD_MAX ? NULL : serve;
}
