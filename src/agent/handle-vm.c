/* VMs: files through the repository's kind, running ones through the driver. */
#include <string.h>
#include <unistd.h>
#include "agent/agent-private.h"
#include "agent/copy-source.h"
#include "agent/cpu-note.h"
#include "agent/saved-memory.h"
#include "agent/vm-plan.h"
#include "base/clock.h"
#include "base/file.h"
#include "rpc/rpc-splice.h"
#include "storage/repository-kind.h"

enum { CONSOLE_TICKET_MS = 30 * 1000, STOP_TIMEOUT_S = 60 };

static bool report_state(const AgentCall *call, const char *vm_id, Error *err) {
    return agent_vm_state(call->agent, vm_id, call->result, err);
}

/* For what would change disks that are being copied, or whether their VM is held. */
static bool check_not_copied(const AgentCall *call, const char *vm_id, Error *err) {
    return held_check_free(call->agent->held, vm_id, err);
}

/* For what needs a VM in memory. */
static bool check_not_saved(const AgentCall *call, const char *vm_id, Error *err) {
    if (!saved_memory_settle(call->agent, vm_id, call->cancel, err))
        return false;
    return !saved_memory_exists(call->agent, vm_id) ||
           error_set(err, ERROR_WRONG_STATE, NULL, "the VM is saved; start it, and it goes on");
}

static bool is_running(const AgentVmState *state) {
    switch (state->status.state) {
    case VM_STATE_STARTING:
    case VM_STATE_RUNNING:
    case VM_STATE_PAUSED:
    case VM_STATE_STOPPING:
    case VM_STATE_UNKNOWN: /* perhaps */
        return true;
    default:
        return false;
    }
}

/* Disks that a guest writes to cannot be copied: the copy would hold two moments. */
bool agent_check_vm_stands(const AgentCall *call, const Vm *source, Error *err) {
    g_auto(AgentVmState) state = {0};
    if (!check_not_saved(call, source->id, err) ||
        !call->agent->driver->state(call->agent->session, source->id, &state, err))
        return false;
    return !is_running(&state) ||
           error_set(err, ERROR_WRONG_STATE, NULL, "%s runs; stop it to copy it", source->name);
}

bool handle_vm_create(AgentCall *call, Error *err) {
    AgentVm *request = call->parameters;
    AgentVmMade *made = call->result;
    const RepositoryKindOps *kind = repository_kind_of(&request->repository, err);
    CopySource source;
    g_auto(Vm) vm = {0};
    vm_copy(&vm, &request->vm);
    if (!kind || !copy_source_take(call, request, &source, err))
        return false;
    bool is_made = kind->vm_create(request, &vm, call->cancel, err);
    copy_source_release(&source, is_made ? NULL : err);
    if (!is_made)
        return false;
    for (size_t i = 0; i < vm.disks.n; i++)
        disk_copy(agent_vm_made_add_disks(made), &vm.disks.items[i]);
    return true;
}

static Acceleration acceleration_of(const AgentCall *call, const AgentVm *request) {
    return agent_vm_has(request, AGENT_VM_FIELD_ACCELERATION) ? request->acceleration
                                                              : call->agent->acceleration;
}

/* The VM's file and libvirt's beside it are true before the VM runs. */
static bool write_definition(const AgentCall *call, const RepositoryKindOps *kind,
    const Repository *repository, Vm *vm, const VmPlan *plan, Error *err) {
    g_autofree char *text = NULL;
    const Hypervisor *driver = call->agent->driver;
    if (driver->definition && !driver->definition(call->agent->session, &plan->vm, &text, err))
        return false;
    return kind->vm_write(repository, vm, text, err);
}

static bool start_vm(AgentCall *call, Error *err) {
    AgentVm *request = call->parameters;
    const RepositoryKindOps *kind = repository_kind_of(&request->repository, err);
    const Repository *home =
        agent_vm_has(request, AGENT_VM_FIELD_TEMPLATE_REPOSITORY) ? &request->template_repository : NULL;
    if (!kind || (home && !kind->check(home, err)) || !check_not_copied(call, request->vm.id, err))
        return false;
    held_forget(call->agent->held, request->vm.id);
    const VmPlanSource source = {.vm = &request->vm,
        .repository = &request->repository,
        .template_repository = home,
        .networks = request->networks.items,
        .n_networks = request->networks.n,
        .isos = request->isos.items,
        .n_isos = request->isos.n,
        .acceleration = acceleration_of(call, request),
        .cpu = agent_vm_has(request, AGENT_VM_FIELD_CPU) ? &request->cpu : NULL};
    g_auto(VmPlan) plan = {0};
    if (!vm_plan_make(&source, &plan, err) ||
        !saved_memory_settle(call->agent, request->vm.id, call->cancel, err) ||
        !write_definition(call, kind, &request->repository, &request->vm, &plan, err))
        return false;
    const Agent *agent = call->agent;
    bool is_started = saved_memory_exists(agent, request->vm.id)
                          ? saved_memory_restore(call, &plan.vm, err)
                          : agent->driver->start(agent->session, &plan.vm, call->cancel, err);
    return is_started && report_state(call, request->vm.id, err);
}

/* Counted before it looks: either it is refused, or the end of the host waits for it. */
static bool run_start(AgentCall *call, AgentWorkFn start, Error *err) {
    Agent *agent = call->agent;
    g_atomic_int_inc(&agent->n_starting);
    bool is_started = g_atomic_int_get(&agent->is_host_ending)
                          ? error_set(err, ERROR_WRONG_STATE, NULL,
                                "the host is going down; start the VM when the host is back")
                          : start(call, err);
    g_atomic_int_add(&agent->n_starting, -1);
    return is_started;
}

bool handle_vm_start(AgentCall *call, Error *err) {
    if (!run_start(call, start_vm, err))
        return false;
    if (call->method == AGENT_METHOD_VM_START && call->operation_id)
        cpu_note_take(call->agent, call->parameters);
    return true;
}

/* As the plug does. */
static bool drop_memory(const AgentCall *call, const char *vm_id, Error *err) {
    return saved_memory_drop(call->agent, vm_id, call->cancel, err);
}

bool handle_vm_stop(AgentCall *call, Error *err) {
    const AgentVmRef *ref = call->parameters;
    int64_t timeout_s = agent_vm_ref_has(ref, AGENT_VM_REF_FIELD_TIMEOUT_S) ? ref->timeout_s : STOP_TIMEOUT_S;
    if (ref->force ? !drop_memory(call, ref->id, err) : !check_not_saved(call, ref->id, err))
        return false;
    return call->agent->driver->stop(
               call->agent->session, ref->id, timeout_s * 1000, ref->force, call->cancel, err) &&
           report_state(call, ref->id, err);
}

bool handle_vm_kill(AgentCall *call, Error *err) {
    const AgentVmRef *ref = call->parameters;
    return drop_memory(call, ref->id, err) && call->agent->driver->kill(call->agent->session, ref->id, err) &&
           report_state(call, ref->id, err);
}

static bool reset_vm(AgentCall *call, Error *err) {
    const AgentVmRef *ref = call->parameters;
    return check_not_copied(call, ref->id, err) && check_not_saved(call, ref->id, err) &&
           call->agent->driver->reset(call->agent->session, ref->id, err) && report_state(call, ref->id, err);
}

/* Some hypervisors end it and start it again. */
bool handle_vm_reset(AgentCall *call, Error *err) {
    return run_start(call, reset_vm, err);
}

bool handle_vm_pause(AgentCall *call, Error *err) {
    const AgentVmRef *ref = call->parameters;
    if (!check_not_copied(call, ref->id, err))
        return false;
    held_forget(call->agent->held, ref->id);
    return check_not_saved(call, ref->id, err) &&
           call->agent->driver->pause(call->agent->session, ref->id, err) && report_state(call, ref->id, err);
}

bool handle_vm_resume(AgentCall *call, Error *err) {
    const AgentVmRef *ref = call->parameters;
    return check_not_copied(call, ref->id, err) && check_not_saved(call, ref->id, err) &&
           call->agent->driver->resume(call->agent->session, ref->id, err) &&
           report_state(call, ref->id, err);
}

bool handle_vm_save(AgentCall *call, Error *err) {
    const AgentVmRef *ref = call->parameters;
    if (!agent_vm_ref_has(ref, AGENT_VM_REF_FIELD_REPOSITORY))
        return error_set(err, ERROR_INVALID, "/repository", "the repository is needed");
    const RepositoryKindOps *kind = repository_kind_of(&ref->repository, err);
    if (!kind || !kind->check(&ref->repository, err) || !check_not_copied(call, ref->id, err) ||
        !saved_memory_save(call, ref, err))
        return false;
    reporter_changed(ref->id, call->agent->reporter); /* what was seen meanwhile is told late */
    return report_state(call, ref->id, err);
}

static bool discard_disks(const RepositoryKindOps *kind, const AgentVmChange *change, Error *err) {
    for (size_t i = 0; i < change->discard.n; i++)
        if (!kind->disk_discard(&change->repository, change->vm.id, change->discard.items[i], err))
            return false;
    return true;
}

/* New files before a running VM can have them; old files go when it has let go of them. */
bool handle_vm_update(AgentCall *call, Error *err) {
    AgentVmChange *change = call->parameters;
    AgentVmChanged *changed = call->result;
    const RepositoryKindOps *kind = repository_kind_of(&change->repository, err);
    g_auto(AgentVmState) state = {0};
    if (!kind || !check_not_copied(call, change->vm.id, err) ||
        !saved_memory_settle(call->agent, change->vm.id, call->cancel, err) ||
        !call->agent->driver->state(call->agent->session, change->vm.id, &state, err))
        return false;
    int flags =
        (is_running(&state) ? VM_CHANGE_WHILE_IT_RUNS : 0) | (change->discard.n > 0 ? VM_CHANGE_DISCARDS : 0);
    if (!kind->vm_prepare(&change->repository, &change->vm, flags, err))
        return false;
    const VmPlanSource source = {.vm = &change->vm,
        .repository = &change->repository,
        .networks = change->networks.items,
        .n_networks = change->networks.n,
        .isos = change->isos.items,
        .n_isos = change->isos.n,
        .acceleration = call->agent->acceleration};
    g_auto(VmPlan) plan = {0};
    if (!vm_plan_make(&source, &plan, err) ||
        !call->agent->driver->update(call->agent->session, &plan.vm, changed, call->cancel, err) ||
        !discard_disks(kind, change, err) || !kind->vm_write(&change->repository, &change->vm, NULL, err))
        return false;
    for (size_t i = 0; i < change->vm.disks.n; i++)
        disk_copy(agent_vm_changed_add_disks(changed), &change->vm.disks.items[i]);
    return true;
}

static bool check_has_ended(const AgentCall *call, const char *vm_id, Error *err) {
    g_auto(AgentVmState) state = {0};
    if (!call->agent->driver->state(call->agent->session, vm_id, &state, err))
        return false;
    return !is_running(&state) ||
           error_set(err, ERROR_HYPERVISOR, NULL, "the VM still runs after it was ended");
}

/* Also where nothing seems to run: files must not go, and no other host have it, while a guest may write. */
static bool end_for_certain(AgentCall *call, const AgentVmRef *ref, Error *err) {
    return call->agent->driver->kill(call->agent->session, ref->id, err) &&
           check_has_ended(call, ref->id, err);
}

static bool check_stopped(const AgentCall *call, const AgentVmRef *ref, Error *err) {
    g_auto(AgentVmState) state = {0};
    if (!call->agent->driver->state(call->agent->session, ref->id, &state, err))
        return false;
    return !is_running(&state) || ref->force || error_set(err, ERROR_WRONG_STATE, NULL, "the VM runs");
}

/* The console's log last: until then it may tell why. */
static bool forget(const AgentCall *call, const AgentVmRef *ref, Error *err) {
    const Hypervisor *driver = call->agent->driver;
    return !driver->forget || driver->forget(call->agent->session, ref->id, err);
}

/* In a shared repository lie VMs of other hosts too. */
static bool check_is_ours(
    const AgentCall *call, const RepositoryKindOps *kind, const AgentVmRef *ref, Error *err) {
    g_auto(Vm) found = {0};
    g_auto(Error) missing = {0};
    if (ref->repository.kind != REPOSITORY_KIND_SHARED)
        return true;
    if (!kind->vm_read(&ref->repository, ref->id, &found, &missing)) {
        if (missing.code == ERROR_NOT_FOUND)
            return true;
        error_move(err, &missing);
        return false;
    }
    return !found.host || strcmp(found.host, call->agent->host_id) == 0 ||
           g_strcmp0(found.host, ref->of) == 0 ||
           error_set(err, ERROR_CONFLICT, NULL, "in %s the VM belongs to another host (%s)",
               ref->repository.path, found.host);
}

bool handle_vm_delete(AgentCall *call, Error *err) {
    const AgentVmRef *ref = call->parameters;
    const RepositoryKindOps *kind = NULL;
    if (!agent_vm_ref_has(ref, AGENT_VM_REF_FIELD_REPOSITORY))
        return error_set(err, ERROR_INVALID, "/repository", "the repository is needed");
    kind = repository_kind_of(&ref->repository, err);
    return kind && check_is_ours(call, kind, ref, err) && check_stopped(call, ref, err) &&
           drop_memory(call, ref->id, err) && end_for_certain(call, ref, err) &&
           kind->vm_delete(&ref->repository, ref->id, ref->purge, err) && forget(call, ref, err);
}

/* What a move left that was not brought to its end. */
static bool drop_left(const AgentCall *call, const AgentVmRef *ref, Error *err) {
    const HypervisorMover *mover = call->agent->driver->mover;
    MigrationHere here = MIGRATION_NOTHING;
    if (!mover)
        return true;
    return mover->look(call->agent->session, ref->id, &here, err) &&
           (here != MIGRATION_LEFT || mover->act(call->agent->session, ref->id, MIGRATION_DROP_SOURCE, err));
}

bool handle_vm_leave(AgentCall *call, Error *err) {
    const AgentVmRef *ref = call->parameters;
    return check_not_saved(call, ref->id, err) && check_stopped(call, ref, err) &&
           end_for_certain(call, ref, err) && drop_left(call, ref, err) &&
           (ref->keep || forget(call, ref, err));
}

bool handle_vm_statistics(AgentCall *call, Error *err) {
    const AgentVmRef *ref = call->parameters;
    const Hypervisor *driver = call->agent->driver;
    if (!driver->statistics)
        return error_set(err, ERROR_UNSUPPORTED, NULL, "the driver %s tells no statistics", driver->name);
    if (!driver->statistics(call->agent->session, ref->id, call->result, err))
        return false;
    vm_statistics_set_time(call->result, clock_realtime_ns(clock_system()));
    return true;
}

/* ---- console: a ticket; who presents it gets the serial line ---- */

bool handle_vm_console(AgentCall *call, Error *err) {
    const AgentVmRef *ref = call->parameters;
    g_auto(AgentVmState) state = {0};
    if (!call->agent->driver->state(call->agent->session, ref->id, &state, err))
        return false;
    return is_running(&state) || error_set(err, ERROR_WRONG_STATE, NULL, "the VM does not run");
}

typedef struct ConsoleOpening {
    Agent *agent;
    RpcStream *stream;
    char *vm_id;
    int fd;
    RpcSplice *splice;
} ConsoleOpening;

static void console_ended(uint64_t in_bytes G_GNUC_UNUSED, uint64_t out_bytes G_GNUC_UNUSED,
    const Error *err G_GNUC_UNUSED, void *data) {
    ConsoleOpening *console = data;
    g_hash_table_remove(console->agent->splices, console->splice);
    g_free(console);
}

static void open_console(void *data) {
    ConsoleOpening *console = data;
    /* Refused: the stream just ends; the caller was told the VM's state when it asked for the ticket. */
    if (!console->agent->driver->console(console->agent->session, console->vm_id, &console->fd, NULL))
        console->fd = -1;
}

static void console_opened(void *data) {
    ConsoleOpening *console = data;
    g_clear_pointer(&console->vm_id, g_free);
    if (console->fd < 0 || console->agent->is_stopping) {
        fd_close(&console->fd);
        rpc_stream_free(console->stream);
        g_free(console);
        return;
    }
    console->splice = rpc_splice(console->stream, rpc_stream_new_fd(console->fd), console_ended, console);
    g_hash_table_insert(console->agent->splices, console->splice, console);
}

static void console_claimed(
    RpcStream *take_stream, const char *purpose G_GNUC_UNUSED, const char *vm_id, void *data) {
    Agent *agent = data;
    ConsoleOpening *console = g_new0(ConsoleOpening, 1);
    *console = (ConsoleOpening){.agent = agent, .stream = take_stream, .vm_id = g_strdup(vm_id), .fd = -1};
    if (!work_pool_add(agent->pools[LANE_PROBE], open_console, console_opened, console, NULL))
        console_opened(console);
}

bool finish_vm_console(AgentCall *call, Error *err) {
    const AgentVmRef *ref = call->parameters;
    g_autofree char *ticket = rpc_ticket_issue(
        call->agent->tickets, "console", ref->id, CONSOLE_TICKET_MS, console_claimed, call->agent, NULL, err);
    if (!ticket)
        return false;
    agent_ticket_set_ticket(call->result, ticket);
    return true;
}
