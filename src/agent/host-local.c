/*
 * A change in the order in which it happens: may it be, the note in the journal, work in the VM's queue, what
 * came of it into the note, the answer. The manager may be back before the work begins: its calls for the VM
 * wait in the same queue, and the definition is read when it is this one's turn.
 */
#include "agent/host-local.h"
#include <string.h>
#include <unistd.h>
#include "agent/cpu-note.h"
#include "agent/host-end.h"
#include "agent/local-rules.h"
#include "agent/migration.h"
#include "base/clock.h"
#include "base/log.h"
#include "model/format.h"

enum { TEXT_LENGTH = 1000 };

static const struct {
    AgentMethodId asked, done_as; /* what the API calls it */
    AgentLane lane;
    AgentWorkFn run; /* with agent_vm_ref; a start has to find out more */
} kinds[] = {[LOCAL_START] = {AGENT_METHOD_LOCAL_START, AGENT_METHOD_VM_START, LANE_START, NULL},
    [LOCAL_STOP] = {AGENT_METHOD_LOCAL_STOP, AGENT_METHOD_VM_STOP, LANE_STOP, handle_vm_stop},
    [LOCAL_KILL] = {AGENT_METHOD_LOCAL_KILL, AGENT_METHOD_VM_KILL, LANE_KILL, handle_vm_kill}};

/* Belongs to the thread while it works, but for its cancel. */
struct LocalChange {
    Agent *agent;
    RpcRequest *request;
    LocalAction action;
    AgentVmRef asked;
    char *host; /* this one's id */
    AgentHoldings holdings;
    AgentLocalAction note;
    Cancel *cancel;
    AgentVmState state;
    Error err;
    bool is_good;
};

static void change_free(LocalChange *change) {
    g_ptr_array_remove_fast(change->agent->local_changes, change);
    change->agent->n_running--;
    rpc_request_unref(change->request);
    agent_vm_ref_clear(&change->asked);
    agent_holdings_clear(&change->holdings);
    agent_local_action_clear(&change->note);
    agent_vm_state_clear(&change->state);
    error_clear(&change->err);
    cancel_unref(change->cancel);
    g_free(change->host);
    g_free(change);
}

/* ---- may it be? ---- */

static bool is_manager_connected(const Agent *agent) {
    for (guint i = 0; i < agent->clients->len; i++) {
        const AgentClient *client = g_ptr_array_index(agent->clients, i);
        if (client->is_owner && client->connection && rpc_connection_is_open(client->connection))
            return true;
    }
    return false;
}

/* A stop that waits for its guest does not keep anybody from pulling the plug. */
static bool stands_against(const Operation *operation, LocalAction action, const char *vm_id) {
    return operation->state == OPERATION_STATE_RUNNING && g_strcmp0(operation->key, vm_id) == 0 &&
           !(action == LOCAL_KILL && operation->method == AGENT_METHOD_VM_STOP);
}

static const char *operation_on(const Agent *agent, LocalAction action, const char *vm_id) {
    const char *found = NULL;
    g_autoptr(GList) operations = journal_operations(agent->journal);
    for (const GList *item = operations; item && !found; item = item->next) {
        const Operation *operation = item->data;
        if (stands_against(operation, action, vm_id))
            found = agent_methods[operation->method].name;
    }
    return found;
}

static bool is_admitted(const Agent *agent, LocalAction action, const char *vm_id, Error *err) {
    g_autoptr(GHashTable) obstacles = migration_obstacles(agent);
    const LocalAdmission admission = {.is_manager_connected = is_manager_connected(agent),
        .operation = operation_on(agent, action, vm_id),
        .migration = g_hash_table_lookup(obstacles, vm_id)};
    return local_admits(action, &admission, err);
}

/* ---- in the thread ---- */

static bool is_running(const AgentVmState *state) {
    return state->managed && state->status.state != VM_STATE_STOPPED &&
           state->status.state != VM_STATE_CRASHED;
}

/* NULL when no repository that can be read has it. */
static const Repository *find_definition(const LocalChange *change, Vm *ret_vm) {
    for (size_t i = 0; i < change->holdings.repositories.n; i++) {
        const Repository *repository = &change->holdings.repositories.items[i];
        const RepositoryKindOps *kind = repository_kind_find(repository->kind);
        if (kind && kind->vm_read(repository, change->asked.id, ret_vm, NULL))
            return repository;
        vm_clear(ret_vm);
    }
    return NULL;
}

static bool look(LocalChange *change, Vm *ret_vm, const Repository **ret_repository, Error *err) {
    const Agent *agent = change->agent;
    const HypervisorMover *mover = agent->driver->mover;
    g_auto(AgentVmState) state = {0};
    LocalView view = {.host = change->host, .here = MIGRATION_NOTHING};
    if (!agent_vm_state(agent, change->asked.id, &state, err) ||
        (mover && !mover->look(agent->session, change->asked.id, &view.here, err)))
        return false;
    *ret_repository = find_definition(change, ret_vm);
    view.has_definition = *ret_repository != NULL;
    view.definition_host = ret_vm->host;
    view.is_running = is_running(&state);
    const char *name = view.has_definition ? ret_vm->name : state.name;
    if (name)
        agent_local_action_set_name(&change->note, name);
    return local_may(change->action, &view, err);
}

static bool add_isos(AgentVm *request, Error *err) {
    const RepositoryKindOps *kind = repository_kind_of(&request->repository, err);
    if (!kind)
        return false;
    for (size_t i = 0; i < request->vm.disks.n; i++) {
        const char *image = request->vm.disks.items[i].image;
        if (image && !kind->iso_read(&request->repository, image, agent_vm_add_isos(request), err))
            return false;
    }
    return true;
}

/* Where the kernel of its template lies, if it is started with one. */
static void add_template_home(const AgentHoldings *holdings, AgentVm *request) {
    const DirectBoot *boot = &request->vm.direct_boot;
    if (!vm_has(&request->vm, VM_FIELD_DIRECT_BOOT) || !boot->template || !boot->kernel)
        return;
    for (size_t i = 0; i < holdings->repositories.n; i++) {
        const Repository *repository = &holdings->repositories.items[i];
        g_autofree char *path = repository_template_file_path(repository, boot->template, boot->kernel);
        if (access(path, R_OK) != 0)
            continue;
        repository_copy(agent_vm_put_template_repository(request), repository);
        return;
    }
}

/* What the manager would send: all of it is known here too, but for the host's own wish for an acceleration.
 */
static bool run_start(
    AgentCall *call, const AgentHoldings *holdings, const Vm *vm, const Repository *repository, Error *err) {
    g_auto(AgentVm) request = {0};
    vm_copy(agent_vm_put_vm(&request), vm);
    repository_copy(agent_vm_put_repository(&request), repository);
    for (size_t i = 0; i < holdings->networks.n; i++)
        network_copy(agent_vm_add_networks(&request), &holdings->networks.items[i]);
    add_template_home(holdings, &request);
    cpu_note_give(call->agent, &request);
    call->parameters = &request;
    return add_isos(&request, err) && handle_vm_start(call, err);
}

static void change_run(void *data) {
    LocalChange *change = data;
    g_auto(Vm) vm = {0};
    const Repository *repository = NULL;
    AgentCall call = {.agent = change->agent,
        .method = kinds[change->action].done_as,
        .parameters = &change->asked,
        .result = &change->state,
        .cancel = change->cancel,
        .percent = -1};
    change->is_good =
        cancel_check(change->cancel, &change->err) && look(change, &vm, &repository, &change->err);
    if (change->is_good && change->action == LOCAL_START)
        change->is_good = run_start(&call, &change->holdings, &vm, repository, &change->err);
    else if (change->is_good)
        change->is_good = kinds[change->action].run(&call, &change->err);
    if (change->err.code == ERROR_UNREACHABLE) /* which would say that this agent is away */
        change->err.code = ERROR_HYPERVISOR;
}

/* ---- the end ---- */

static void tell_manager(const Agent *agent) {
    for (guint i = 0; i < agent->clients->len; i++) {
        const AgentClient *client = g_ptr_array_index(agent->clients, i);
        if (client->is_owner && client->connection && rpc_connection_is_ready(client->connection))
            rpc_event(client->connection, "local", NULL, NULL);
    }
}

static void note_outcome(LocalChange *change) {
    AgentLocalAction *note = &change->note;
    agent_local_action_set_outcome(note, change->is_good ? "ok" : error_info(change->err.code)->name);
    if (!change->is_good) {
        g_autofree char *text = error_text(&change->err), *valid = g_utf8_make_valid(text, -1);
        g_autofree char *limited =
            g_utf8_substring(valid, 0, MIN(g_utf8_strlen(valid, -1), TEXT_LENGTH / 4)); /* of bytes */
        agent_local_action_set_text(note, limited);
    }
    log_info("%s of %s, which uid %" G_GINT64_FORMAT " asked for on the host itself: %s%s%s", note->method,
        note->name ? note->name : note->vm, note->uid, note->outcome, note->text ? ": " : "",
        note->text ? note->text : "");
    journal_action_end(change->agent->journal, note);
    tell_manager(change->agent);
}

static void change_done(void *data) {
    LocalChange *change = data;
    reporter_touch(change->agent->reporter, change->asked.id);
    reporter_changed(change->asked.id, change->agent->reporter);
    note_outcome(change);
    if (change->is_good)
        rpc_reply(change->request, agent_vm_state_encode(&change->state, MODEL_ENCODE_PUBLIC));
    else
        rpc_fail(change->request, &change->err);
    change_free(change);
}

/* ---- the beginning ---- */

/* Pulling the plug does not wait behind a stop that waits for the guest. */
static void make_way_for(const LocalChange *change) {
    const Agent *agent = change->agent;
    if (change->action != LOCAL_KILL)
        return;
    host_end_make_way(change->agent, change->asked.id);
    for (guint i = 0; i < agent->local_changes->len; i++) {
        const LocalChange *other = g_ptr_array_index(agent->local_changes, i);
        if (other->action == LOCAL_STOP && g_str_equal(other->asked.id, change->asked.id))
            cancel_trigger(other->cancel);
    }
    g_autoptr(GList) operations = journal_operations(agent->journal);
    for (const GList *item = operations; item; item = item->next) {
        const Operation *operation = item->data;
        if (operation->method == AGENT_METHOD_VM_STOP && operation->state == OPERATION_STATE_RUNNING &&
            g_strcmp0(operation->key, change->asked.id) == 0)
            cancel_trigger(operation->cancel);
    }
}

/* A host whose journal cannot be written must be operable all the same; the log has it. */
static void change_begin(int64_t revision G_GNUC_UNUSED, const Error *err, void *data) {
    LocalChange *change = data;
    log_info("uid %" G_GINT64_FORMAT " asks for %s of %s on the host itself", change->note.uid,
        change->note.method, change->note.vm);
    WorkPool *pool = change->agent->pools[kinds[change->action].lane];
    if (err)
        log_warning("the journal cannot be written: %s", err->message);
    make_way_for(change);
    if (work_pool_add_keyed(pool, change->asked.id, change_run, change_done, change, &change->err))
        return;
    change->is_good = false;
    change_done(change);
}

static void cancel_change(void *cancel) {
    cancel_trigger(cancel);
}

static void note_request(LocalChange *change, const AgentClient *client) {
    RpcPeer peer = {.uid = (uid_t)-1};
    AgentLocalAction *note = &change->note;
    rpc_connection_peer(client->connection, &peer, NULL);
    agent_local_action_set_time(note, clock_realtime_ns(clock_system()));
    agent_local_action_set_uid(note, peer.uid);
    agent_local_action_set_method(note, agent_methods[kinds[change->action].done_as].name);
    agent_local_action_set_vm(note, change->asked.id);
}

static LocalAction action_of(const RpcRequest *request) {
    AgentMethodId asked = agent_method_find(rpc_request_method(request));
    LocalAction action = LOCAL_START;
    while (kinds[action].asked != asked)
        action++;
    return action;
}

void serve_local_change(AgentClient *client, const void *parameters, RpcRequest *request) {
    Agent *agent = client->agent;
    const char *vm_id = ((const AgentVmRef *)parameters)->id;
    LocalAction action = action_of(request);
    g_auto(AgentHoldings) holdings = {0};
    g_auto(Error) err = {0};
    if (!vm_id || !is_uuid(vm_id)) {
        error_set(&err, ERROR_INVALID, "/id", "the VM's id is needed");
        rpc_fail(request, &err);
        return;
    }
    if (!is_admitted(agent, action, vm_id, &err) || !journal_holdings(agent->journal, &holdings, &err)) {
        rpc_fail(request, &err);
        return;
    }
    LocalChange *change = g_new0(LocalChange, 1);
    *change = (LocalChange){.agent = agent,
        .request = rpc_request_ref(request),
        .action = action,
        .host = g_strdup(journal_host(agent->journal)),
        .holdings = holdings,
        .cancel = cancel_new()};
    holdings = (AgentHoldings){0};
    agent_vm_ref_copy(&change->asked, parameters);
    g_ptr_array_add(agent->local_changes, change);
    agent->n_running++;
    note_request(change, client);
    rpc_request_on_cancel(request, cancel_change, change->cancel);
    journal_action_begin(agent->journal, &change->note, change_begin, change);
}

/* ---- the owner takes note ---- */

void serve_local_actions(AgentClient *client, const void *parameters G_GNUC_UNUSED, RpcRequest *request) {
    g_auto(AgentLocalActions) actions = {0};
    journal_actions(client->agent->journal, &actions);
    rpc_reply(request, agent_local_actions_encode(&actions, MODEL_ENCODE_ALL));
}

void serve_local_forget(AgentClient *client, const void *parameters, RpcRequest *request) {
    journal_actions_forget(client->agent->journal, ((const AgentLocalForget *)parameters)->through);
    rpc_reply(request, NULL);
}
