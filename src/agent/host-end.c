/*
 * Every second: look, and ask what runs and was not asked yet to stop, because a start that was under way
 * ends only later, and some hypervisors start a guest again that reboots. Each VM is stopped in its queue,
 * behind what works on it. When the time is over all that waits is cancelled, and the plug of what is left is
 * pulled.
 */
#include "agent/host-end.h"
#include <string.h>
#include "base/clock.h"
#include "base/log.h"

enum { LOOK_S = 1, LEAST_MS = 1000, LATE_S = 20 };

struct HostEnd {
    Agent *agent;
    GPtrArray *waiters; /* RpcRequest */
    GHashTable *asked;  /* id of a VM whose stop is under way -> Cancel */
    GHashTable *seen;   /* ids of all VMs that had to end */
    int64_t deadline_ns;
    int n_stopped, n_killed, n_remaining; /* the last: as the last look found it */
    guint source;
    bool is_looking, is_time_over, lets_begin;
};

typedef struct Look {
    HostEnd *end;
    AgentInventory inventory;
    Error err;
    int n_starting;
    bool is_good;
} Look;

typedef struct Stop {
    HostEnd *end;
    char *vm_id;
    Cancel *cancel;
    bool is_good, was_killed;
    Error err;
} Stop;

static int64_t left_ms(const HostEnd *end) {
    int64_t ms = (end->deadline_ns - clock_monotonic_ns(clock_system())) / (NS_PER_S / 1000);
    return MAX(ms, 0);
}

/* ---- the answer ---- */

static bool is_idle(const HostEnd *end) {
    return !end->is_looking && g_hash_table_size(end->asked) == 0;
}

static void end_free(HostEnd *end) {
    Agent *agent = end->agent;
    g_clear_handle_id(&end->source, g_source_remove);
    if (end->lets_begin) {
        g_atomic_int_set(&agent->is_host_ending, 0);
        if (!agent->is_stopping)
            reporter_changed(NULL, agent->reporter);
    }
    agent->host_end = NULL;
    agent->n_running--;
    g_ptr_array_unref(end->waiters);
    g_hash_table_unref(end->asked);
    g_hash_table_unref(end->seen);
    g_free(end);
}

static void answer_all(HostEnd *end, const Error *err) {
    g_auto(AgentHostEnded) ended = {0};
    agent_host_ended_set_stopped(&ended, end->n_stopped);
    agent_host_ended_set_killed(&ended, end->n_killed);
    agent_host_ended_set_remaining(&ended, end->n_remaining);
    for (guint i = 0; i < end->waiters->len; i++) {
        if (err)
            rpc_fail(end->waiters->pdata[i], err);
        else
            rpc_reply(end->waiters->pdata[i], agent_host_ended_encode(&ended, MODEL_ENCODE_ALL));
    }
    g_ptr_array_set_size(end->waiters, 0);
}

static void answer(HostEnd *end, const Error *err) {
    if (end->waiters->len > 0)
        log_info("the machine goes down: %d VMs stopped, %d killed, %d remain", end->n_stopped, end->n_killed,
            end->n_remaining);
    answer_all(end, err);
}

static void tell_progress(const HostEnd *end) {
    g_autofree char *phase = g_strdup_printf(
        "%d of %u VMs have ended", end->n_stopped + end->n_killed, g_hash_table_size(end->seen));
    for (guint i = 0; i < end->waiters->len; i++)
        rpc_progress(end->waiters->pdata[i], json_pack("{ss}", "phase", phase));
}

/* ---- stopping one ---- */

/* A guest that is held cannot put its files in order; one that is held for a copy is let be until that is
 * done.
 */
static bool let_go(const Stop *stop, Error *err) {
    const Agent *agent = stop->end->agent;
    g_auto(AgentVmState) state = {0};
    MigrationHere here = MIGRATION_NOTHING;
    if (agent->driver->mover && !agent->driver->mover->look(agent->session, stop->vm_id, &here, err))
        return false;
    if (here == MIGRATION_HELD || here == MIGRATION_ARRIVING || here == MIGRATION_ARRIVED)
        return error_set(err, ERROR_WRONG_STATE, NULL, "it is on its way between two hosts");
    return held_check_free(agent->held, stop->vm_id, err) &&
           agent->driver->state(agent->session, stop->vm_id, &state, err) &&
           (state.status.state != VM_STATE_PAUSED || agent->driver->resume(agent->session, stop->vm_id, err));
}

/* What fails before the time is over is tried again at the next look. */
static void stop_run(void *data) {
    Stop *stop = data;
    const Agent *agent = stop->end->agent;
    int64_t ms = left_ms(stop->end);
    stop->is_good =
        ms > 0 && let_go(stop, &stop->err) &&
        agent->driver->stop(agent->session, stop->vm_id, MAX(ms, LEAST_MS), false, stop->cancel, &stop->err);
    if (stop->is_good || (left_ms(stop->end) > 0 && stop->err.code != ERROR_TIMED_OUT))
        return;
    error_clear(&stop->err);
    stop->is_good = stop->was_killed = agent->driver->kill(agent->session, stop->vm_id, &stop->err);
}

static void look(HostEnd *end);

static void stop_done(void *data) {
    Stop *stop = data;
    HostEnd *end = stop->end;
    g_hash_table_remove(end->asked, stop->vm_id);
    if (stop->is_good) {
        end->n_stopped += !stop->was_killed;
        end->n_killed += stop->was_killed;
        tell_progress(end);
    } else {
        log_warning(
            "%s does not end yet: %s", stop->vm_id, stop->err.message ? stop->err.message : "no reason");
    }
    bool is_good = stop->is_good;
    error_clear(&stop->err);
    g_free(stop->vm_id);
    g_free(stop);
    if (end->agent->is_stopping && is_idle(end))
        end_free(end);
    else if (!end->agent->is_stopping && is_idle(end) && is_good) /* perhaps the last one */
        look(end);
}

static void cancel_release(void *cancel) {
    cancel_unref(cancel);
}

static void ask(HostEnd *end, const AgentVmState *vm) {
    Stop *stop = g_new0(Stop, 1);
    *stop = (Stop){.end = end, .vm_id = g_strdup(vm->id), .cancel = cancel_new()};
    if (work_pool_add_keyed(
            end->agent->pools[LANE_STOP], stop->vm_id, stop_run, stop_done, stop, &stop->err)) {
        g_hash_table_insert(end->asked, g_strdup(vm->id), stop->cancel);
        return;
    }
    cancel_unref(stop->cancel); /* the queue is full: at the next look */
    error_clear(&stop->err);
    g_free(stop->vm_id);
    g_free(stop);
}

/* ---- looking ---- */

static bool is_there(const AgentVmState *vm) {
    return vm->managed && vm->status.state != VM_STATE_STOPPED && vm->status.state != VM_STATE_CRASHED &&
           vm->status.state != VM_STATE_SAVED;
}

/* One that starts cannot be asked yet; when the time is over it is killed. */
static bool can_be_asked(const HostEnd *end, const AgentVmState *vm) {
    return vm->status.state != VM_STATE_STARTING || left_ms(end) == 0;
}

static void look_run(void *data) {
    Look *look = data;
    Agent *agent = look->end->agent;
    look->n_starting = g_atomic_int_get(&agent->n_starting); /* before: what ends meanwhile is listed */
    look->is_good = agent->driver->list(agent->session, &look->inventory, &look->err);
}

static void ask_all(HostEnd *end, const AgentInventory *inventory, int n_starting) {
    end->n_remaining = n_starting;
    for (size_t i = 0; i < inventory->vms.n; i++) {
        const AgentVmState *vm = &inventory->vms.items[i];
        if (!is_there(vm))
            continue;
        end->n_remaining++;
        g_hash_table_add(end->seen, g_strdup(vm->id));
        if (can_be_asked(end, vm) && !g_hash_table_contains(end->asked, vm->id))
            ask(end, vm);
    }
}

/* Whoever waits for a guest waits no longer: ours goes on to pull the plug, others make way for that. */
static void call_time(HostEnd *end) {
    GHashTableIter each;
    void *cancel;
    end->is_time_over = true;
    g_hash_table_iter_init(&each, end->asked);
    while (g_hash_table_iter_next(&each, NULL, &cancel))
        cancel_trigger(cancel);
    GList *operations = journal_operations(end->agent->journal);
    for (GList *item = operations; item; item = item->next) {
        const Operation *operation = item->data;
        if (operation->method == AGENT_METHOD_VM_STOP && operation->state == OPERATION_STATE_RUNNING)
            cancel_trigger(operation->cancel);
    }
    g_list_free(operations);
}

static void look_done(void *data) {
    Look *look = data;
    HostEnd *end = look->end;
    bool is_late = clock_monotonic_ns(clock_system()) > end->deadline_ns + LATE_S * NS_PER_S;
    end->is_looking = false;
    if (look->is_good && !end->agent->is_stopping)
        ask_all(end, &look->inventory, look->n_starting);
    bool is_done = look->is_good && end->n_remaining == 0;
    if (end->agent->is_stopping) {
        if (is_idle(end))
            end_free(end);
    } else if ((is_done && is_idle(end)) || is_late) {
        answer(end, look->is_good ? NULL : &look->err);
        if (is_idle(end))
            end_free(end);
    }
    agent_inventory_clear(&look->inventory);
    error_clear(&look->err);
    g_free(look);
}

static void look(HostEnd *end) {
    Look *look = g_new0(Look, 1);
    look->end = end;
    end->is_looking = work_pool_add(end->agent->pools[LANE_PROBE], look_run, look_done, look, &look->err);
    if (end->is_looking)
        return;
    error_clear(&look->err); /* the queue is full: a second later */
    g_free(look);
}

static gboolean tick(void *data) {
    HostEnd *end = data;
    if (!end->is_time_over && left_ms(end) == 0)
        call_time(end);
    if (!end->is_looking)
        look(end);
    return G_SOURCE_CONTINUE;
}

/* ---- the calls ---- */

static void request_release(void *request) {
    rpc_request_unref(request);
}

static void begin(Agent *agent) {
    HostEnd *end = g_new0(HostEnd, 1);
    *end = (HostEnd){.agent = agent,
        .waiters = g_ptr_array_new_with_free_func(request_release),
        .asked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, cancel_release),
        .seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL)};
    agent->host_end = end;
    agent->n_running++; /* the agent's own end waits for it a moment */
    end->source = g_timeout_add_seconds(LOOK_S, tick, end);
}

void serve_host_end(AgentClient *client, const void *parameters, RpcRequest *request) {
    const AgentHostEnd *asked = parameters;
    Agent *agent = client->agent;
    bool is_first = !agent->host_end;
    g_atomic_int_set(&agent->is_host_ending, 1);
    if (is_first)
        begin(agent);
    HostEnd *end = agent->host_end;
    end->deadline_ns = clock_monotonic_ns(clock_system()) + asked->timeout_s * NS_PER_S;
    end->is_time_over = end->lets_begin = false;
    g_ptr_array_add(end->waiters, rpc_request_ref(request));
    reporter_changed(NULL, agent->reporter);
    if (is_first)
        look(end);
}

/* While VMs are being stopped: once that is over. */
void serve_host_begin(AgentClient *client, const void *parameters G_GNUC_UNUSED, RpcRequest *request) {
    Agent *agent = client->agent;
    if (agent->host_end) {
        agent->host_end->lets_begin = true;
    } else {
        g_atomic_int_set(&agent->is_host_ending, 0);
        reporter_changed(NULL, agent->reporter);
    }
    rpc_reply(request, NULL);
}

void host_end_make_way(Agent *agent, const char *vm_id) {
    Cancel *cancel = agent->host_end && vm_id ? g_hash_table_lookup(agent->host_end->asked, vm_id) : NULL;
    if (cancel)
        cancel_trigger(cancel);
}

void host_end_stop(Agent *agent) {
    HostEnd *end = agent->host_end;
    if (!end)
        return;
    g_auto(Error) err = {0};
    GHashTableIter each;
    void *cancel;
    error_set(&err, ERROR_BUSY, NULL, "the agent is stopping");
    answer_all(end, &err);
    g_clear_handle_id(&end->source, g_source_remove);
    g_hash_table_iter_init(&each, end->asked);
    while (g_hash_table_iter_next(&each, NULL, &cancel))
        cancel_trigger(cancel);
    if (is_idle(end)) /* else what works in a thread frees it */
        end_free(end);
}
