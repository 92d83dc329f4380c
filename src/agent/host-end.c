/*
 * Look, ask each VM that runs to stop, look again when all have answered: a start that was under way ends
 * only after the first look, and some hypervisors start a guest again that reboots. Each VM is stopped in its
 * queue, behind what works on it.
 */
#include "agent/host-end.h"
#include <string.h>
#include "base/clock.h"
#include "base/log.h"

enum { AGAIN_MS = 500, LEAST_MS = 1000, LATE_S = 20 };

struct HostEnd {
    Agent *agent;
    GPtrArray *waiters; /* RpcRequest */
    GHashTable *asked;  /* ids of VMs whose stop is under way */
    int64_t deadline_ns;
    int n_seen, n_stopped, n_killed, n_remaining; /* the last: as the last look found it */
    guint source;
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
    bool is_paused, is_copied, is_good, was_killed;
    Error err;
} Stop;

static int64_t left_ms(const HostEnd *end) {
    int64_t ms = (end->deadline_ns - clock_monotonic_ns(clock_system())) / (NS_PER_S / 1000);
    return MAX(ms, 0);
}

/* ---- the answer ---- */

static void end_free(HostEnd *end) {
    g_clear_handle_id(&end->source, g_source_remove);
    end->agent->host_end = NULL;
    end->agent->n_running--;
    g_ptr_array_unref(end->waiters);
    g_hash_table_unref(end->asked);
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

static void finish(HostEnd *end, const Error *err) {
    log_info("the machine goes down: %d VMs stopped, %d killed, %d remain", end->n_stopped, end->n_killed,
        end->n_remaining);
    answer_all(end, err);
    end_free(end);
}

static void tell_progress(const HostEnd *end) {
    g_autofree char *phase =
        g_strdup_printf("%d of %d VMs have ended", end->n_stopped + end->n_killed, end->n_seen);
    for (guint i = 0; i < end->waiters->len; i++)
        rpc_progress(end->waiters->pdata[i], json_pack("{ss}", "phase", phase));
}

/* ---- stopping one ---- */

static void stop_run(void *data) {
    Stop *stop = data;
    const Agent *agent = stop->end->agent;
    int64_t ms = left_ms(stop->end);
    g_autoptr(Cancel) cancel = cancel_new();
    stop->is_copied = ms > 0 && !held_check_free(agent->held, stop->vm_id, NULL);
    if (stop->is_copied)
        return;                    /* until the copy is complete, or there is no time left */
    if (ms > 0 && stop->is_paused) /* a guest that is held cannot put its files in order */
        agent->driver->resume(agent->session, stop->vm_id, NULL);
    stop->is_good = ms > 0 && agent->driver->stop(
                                  agent->session, stop->vm_id, MAX(ms, LEAST_MS), false, cancel, &stop->err);
    if (stop->is_good)
        return;
    error_clear(&stop->err);
    stop->is_good = stop->was_killed = agent->driver->kill(agent->session, stop->vm_id, &stop->err);
}

static void look(HostEnd *end);

static gboolean look_again(void *data) {
    HostEnd *end = data;
    end->source = 0;
    look(end);
    return G_SOURCE_REMOVE;
}

static void look_later(HostEnd *end) {
    if (!end->source)
        end->source = g_timeout_add(AGAIN_MS, look_again, end);
}

static void stop_done(void *data) {
    Stop *stop = data;
    HostEnd *end = stop->end;
    g_hash_table_remove(end->asked, stop->vm_id);
    if (stop->is_good) {
        end->n_stopped += !stop->was_killed;
        end->n_killed += stop->was_killed;
        tell_progress(end);
    } else if (!stop->is_copied) {
        log_warning("%s does not end: %s", stop->vm_id, stop->err.message ? stop->err.message : "unknown");
    }
    error_clear(&stop->err);
    g_free(stop->vm_id);
    g_free(stop);
    if (g_hash_table_size(end->asked) > 0)
        return;
    if (end->agent->is_stopping) /* it has answered who waited */
        end_free(end);
    else
        look_later(end);
}

static void ask(HostEnd *end, const AgentVmState *vm) {
    Stop *stop = g_new0(Stop, 1);
    *stop = (Stop){.end = end, .vm_id = g_strdup(vm->id), .is_paused = vm->status.state == VM_STATE_PAUSED};
    g_hash_table_add(end->asked, g_strdup(vm->id));
    if (work_pool_add_keyed(end->agent->pools[LANE_STOP], stop->vm_id, stop_run, stop_done, stop, &stop->err))
        return;
    stop_done(stop); /* the queue is full: at the next look */
}

/* ---- looking ---- */

static bool is_there(const AgentVmState *vm) {
    return vm->managed && vm->status.state != VM_STATE_STOPPED && vm->status.state != VM_STATE_CRASHED &&
           vm->status.state != VM_STATE_SAVED;
}

static bool can_be_asked(const AgentVmState *vm) {
    return vm->status.state == VM_STATE_RUNNING || vm->status.state == VM_STATE_PAUSED ||
           vm->status.state == VM_STATE_STOPPING;
}

static void look_run(void *data) {
    Look *look = data;
    Agent *agent = look->end->agent;
    look->n_starting = g_atomic_int_get(&agent->n_starting); /* before: what ends meanwhile is listed */
    look->is_good = agent->driver->list(agent->session, &look->inventory, &look->err);
}

static void ask_all(HostEnd *end, const AgentInventory *inventory) {
    end->n_remaining = 0;
    for (size_t i = 0; i < inventory->vms.n; i++)
        end->n_remaining += is_there(&inventory->vms.items[i]);
    end->n_seen = MAX(end->n_seen, end->n_remaining + end->n_stopped + end->n_killed);
    for (size_t i = 0; i < inventory->vms.n; i++) {
        const AgentVmState *vm = &inventory->vms.items[i];
        if (is_there(vm) && can_be_asked(vm) && !g_hash_table_contains(end->asked, vm->id))
            ask(end, vm);
    }
}

static void look_done(void *data) {
    Look *look = data;
    HostEnd *end = look->end;
    bool is_late = clock_monotonic_ns(clock_system()) > end->deadline_ns + LATE_S * NS_PER_S;
    if (look->is_good && !end->agent->is_stopping)
        ask_all(end, &look->inventory);
    bool is_idle = g_hash_table_size(end->asked) == 0; /* else the end of those goes on */
    if (is_idle && end->agent->is_stopping)
        end_free(end);
    else if (is_idle && (is_late || (look->is_good && end->n_remaining + look->n_starting == 0)))
        finish(end, look->is_good ? NULL : &look->err);
    else if (is_idle)
        look_later(end); /* the hypervisor does not answer, or a VM is about to run */
    agent_inventory_clear(&look->inventory);
    error_clear(&look->err);
    g_free(look);
}

static void look(HostEnd *end) {
    Look *look = g_new0(Look, 1);
    look->end = end;
    if (work_pool_add(end->agent->pools[LANE_PROBE], look_run, look_done, look, &look->err))
        return;
    look_done(look);
}

/* ---- the calls ---- */

static void request_release(void *request) {
    rpc_request_unref(request);
}

void serve_host_end(AgentClient *client, const void *parameters, RpcRequest *request) {
    const AgentHostEnd *asked = parameters;
    Agent *agent = client->agent;
    bool is_first = !agent->host_end;
    g_atomic_int_set(&agent->is_host_ending, 1);
    if (is_first) {
        agent->host_end = g_new0(HostEnd, 1);
        *agent->host_end = (HostEnd){.agent = agent,
            .waiters = g_ptr_array_new_with_free_func(request_release),
            .asked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL)};
        agent->n_running++; /* the agent's own end waits for it a moment */
    }
    agent->host_end->deadline_ns = clock_monotonic_ns(clock_system()) + asked->timeout_s * NS_PER_S;
    g_ptr_array_add(agent->host_end->waiters, rpc_request_ref(request));
    reporter_changed(NULL, agent->reporter);
    if (is_first)
        look(agent->host_end);
}

void serve_host_begin(AgentClient *client, const void *parameters G_GNUC_UNUSED, RpcRequest *request) {
    Agent *agent = client->agent;
    if (agent->host_end) {
        g_auto(Error) err = {0};
        error_set(&err, ERROR_BUSY, NULL, "VMs are just being stopped");
        rpc_fail(request, &err);
        return;
    }
    g_atomic_int_set(&agent->is_host_ending, 0);
    reporter_changed(NULL, agent->reporter);
    rpc_reply(request, NULL);
}

void host_end_stop(Agent *agent) {
    HostEnd *end = agent->host_end;
    if (!end)
        return;
    g_auto(Error) err = {0};
    error_set(&err, ERROR_BUSY, NULL, "the agent is stopping");
    answer_all(end, &err);
    if (end->source) /* else what works in a thread frees it */
        end_free(end);
}
