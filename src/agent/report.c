/*
 * State reports: the driver says that something may have changed, 50 ms later (more in a burst, so that
 * asking takes a quarter of the time at most) those VMs are asked in a thread, and what differs from what the
 * manager knows is sent. Every 10 s all is asked, because no driver is trusted to say everything. Guests are
 * not asked here (guest-watch.h): the slowest of them would hold up what is known of all.
 */
#include <string.h>
#include <unistd.h>
#include "agent/agent-private.h"
#include "agent/saved-memory.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/host-profile.h"
#include "image/tools.h"
#include "rpc/rpc-frame.h"

enum {
    DEBOUNCE_MS = 50,
    LONGEST_DEBOUNCE_MS = 1000,
    REST = 3,
    POLL_S = 10,
    PATIENCE_S = 25, /* with a round: libvirt's keep-alive has given up before, if that is what hangs */
    TOUCHED_S = 300,
    MESSAGE_BYTES = RPC_MAX_FRAME / 2, /* of VMs in one message; the host and the envelope need some too */
};

struct Reporter {
    Agent *agent;
    GHashTable *known;   /* id -> AgentVmState that the manager was told of; without ours that have stopped */
    HostStatus host;     /* the last one that it was told */
    GHashTable *touched; /* id -> when an operation on it ended, in µs: what was asked before is stale */
    guint poll_source, due_source;
    bool is_asking;
    gint64 asked_us;     /* while it is: since when */
    GMutex lock;         /* guards what is below */
    GHashTable *changed; /* ids */
    bool is_all_changed, is_due;
    int64_t debounce_ms;
};

/* One round of asking; belongs to the thread while it works. */
typedef struct Round {
    Reporter *reporter;
    const Agent *agent;
    GHashTable *ids; /* those that may have changed; may be NULL */
    bool is_all;     /* all that the hypervisor shows is asked; those of `ids` that it does not show, too */
    AgentInventory inventory;
    gint64 begun_us;
    int64_t took_ms;
    bool is_good;
} Round;

/* ---- asking, in threads ---- */

static void fill_missing_tools(HostStatus *status) {
    for (size_t i = 0; i < n_image_required_tools; i++)
        if (access(image_required_tools[i].path, R_OK) < 0)
            host_status_add_missing_tools(status, image_required_tools[i].package);
}

static void collect_host(const Agent *agent, HostStatus *status) {
    g_auto(Error) err = {0};
    bool is_good = agent->driver->probe(agent->session, status, &err);
    bool is_ending = g_atomic_int_get(&agent->is_host_ending);
    host_status_set_state(status, !is_good    ? HOST_STATE_DEGRADED
                                  : is_ending ? HOST_STATE_STOPPING
                                              : HOST_STATE_CONNECTED);
    host_status_set_agent_version(status, LODGE_VERSION);
    int driver = model_enum_value(&hypervisor_driver_enum, agent->driver->name);
    if (driver >= 0)
        host_status_set_driver(status, (HypervisorDriver)driver);
    module_keeper_fill(agent->modules, status);
    control_fill(agent, status);
    if (!host_status_has(status, HOST_STATUS_FIELD_MISSING_TOOLS))
        fill_missing_tools(status);
    host_profile_fill(agent->system_root, status);
    host_warnings_fill(agent->state, status);
    if (is_good)
        return;
    g_autofree char *reason = error_text(&err);
    reason[MIN(strlen(reason), 1000)] = '\0';
    host_status_set_reason(status, reason);
}

bool agent_vm_state(const Agent *agent, const char *vm_id, AgentVmState *ret_state, Error *err) {
    if (!agent->driver->state(agent->session, vm_id, ret_state, err))
        return false;
    saved_memory_fill(agent, ret_state);
    guest_watch_note(agent->guests, ret_state, true);
    guest_watch_fill(agent->guests, ret_state);
    return true;
}

bool agent_list_vms(const Agent *agent, AgentInventory *ret_inventory, Error *err) {
    if (!agent->driver->list(agent->session, ret_inventory, err)) {
        agent_inventory_clear(ret_inventory);
        return false;
    }
    saved_memory_list(agent, ret_inventory);
    for (size_t i = 0; i < ret_inventory->vms.n; i++) {
        guest_watch_note(agent->guests, &ret_inventory->vms.items[i], false);
        guest_watch_fill(agent->guests, &ret_inventory->vms.items[i]);
    }
    return true;
}

bool agent_collect(const Agent *agent, AgentInventory *ret_inventory, Error *err G_GNUC_UNUSED) {
    g_auto(Error) refusal = {0};
    agent_list_vms(agent, ret_inventory, &refusal); /* the host's state says why not */
    HostStatus *host = agent_inventory_put_host(ret_inventory);
    host_status_clear(host);
    collect_host(agent, host);
    if (error_is_set(&refusal) && host->state != HOST_STATE_DEGRADED) {
        host_status_set_state(host, HOST_STATE_DEGRADED);
        host_status_set_reason(host, refusal.message);
    }
    return true;
}

/* Copies: the inventory grows. */
static GHashTable *listed_ids(const AgentInventory *inventory) {
    GHashTable *ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (size_t i = 0; i < inventory->vms.n; i++)
        g_hash_table_add(ids, g_strdup(inventory->vms.items[i].id));
    return ids;
}

static void round_run(void *data) {
    Round *round = data;
    int64_t start_ns = clock_monotonic_ns(clock_system());
    round->is_good = true;
    if (round->is_all)
        round->is_good = agent_collect(round->agent, &round->inventory, NULL);
    else
        collect_host(
            round->agent, agent_inventory_put_host(&round->inventory)); /* its numbers change with VMs */
    if (!round->ids)
        return;
    g_autoptr(GHashTable) listed = listed_ids(&round->inventory);
    GHashTableIter each;
    void *id;
    g_hash_table_iter_init(&each, round->ids);
    while (g_hash_table_iter_next(&each, &id, NULL)) {
        if (g_hash_table_contains(listed, id))
            continue;
        g_auto(AgentVmState) state = {0};
        if (agent_vm_state(round->agent, id, &state, NULL))
            agent_vm_state_copy(agent_inventory_add_vms(&round->inventory), &state);
    }
    round->took_ms = (clock_monotonic_ns(clock_system()) - start_ns) / (NS_PER_S / 1000);
}

/* ---- comparing and sending, on the main loop ---- */

/* A report in the making. */
typedef struct Report {
    AgentStateReport message;
    size_t bytes; /* of its VMs, encoded */
} Report;

static void send_report(Reporter *reporter, Report *report) {
    const AgentStateReport *message = &report->message;
    if (message->present == 0)
        return;
    GPtrArray *clients = reporter->agent->clients;
    for (guint i = 0; i < clients->len; i++) {
        const AgentClient *client = g_ptr_array_index(clients, i);
        if (client->is_owner && client->connection && rpc_connection_is_ready(client->connection))
            rpc_event(
                client->connection, "state", agent_state_report_encode(message, MODEL_ENCODE_ALL), NULL);
    }
    agent_state_report_clear(&report->message);
    report->bytes = 0;
}

static bool is_gone(const AgentVmState *state) {
    return state->status.state == VM_STATE_STOPPED || state->status.state == VM_STATE_CRASHED;
}

/* False when the manager knows it already. */
static bool remember(Reporter *reporter, const AgentVmState *state) {
    const AgentVmState *before = g_hash_table_lookup(reporter->known, state->id);
    if (before && model_equal(&agent_vm_state_type, before, state))
        return false;
    if (is_gone(state) && state->managed) {
        g_hash_table_remove(reporter->known, state->id);
        return true;
    }
    AgentVmState *copy = g_new0(AgentVmState, 1);
    agent_vm_state_copy(copy, state);
    g_hash_table_replace(reporter->known, copy->id, copy);
    return true;
}

static size_t encoded_bytes(const AgentVmState *state) {
    g_autoptr(json_t) json = agent_vm_state_encode(state, MODEL_ENCODE_ALL);
    return json_dumpb(json, NULL, 0, JSON_COMPACT) + 1;
}

static void report_vm(Reporter *reporter, Report *report, const AgentVmState *state) {
    size_t bytes = encoded_bytes(state);
    if (report->bytes + bytes > MESSAGE_BYTES)
        send_report(reporter, report);
    report->bytes += bytes;
    agent_vm_state_copy(agent_state_report_add_vms(&report->message), state);
}

/* The operation's own answer said more: such a VM is asked again. */
static bool is_stale(Reporter *reporter, const Round *round, const char *vm_id) {
    const gint64 *ended_us = g_hash_table_lookup(reporter->touched, vm_id);
    if (!ended_us || *ended_us < round->begun_us)
        return false;
    reporter_changed(vm_id, reporter);
    return true;
}

/* What the hypervisor does not know any more has stopped. */
static void report_vanished(Reporter *reporter, Report *report, const Round *round) {
    const AgentInventory *inventory = &round->inventory;
    g_autoptr(GHashTable) present = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t i = 0; i < inventory->vms.n; i++)
        g_hash_table_add(present, inventory->vms.items[i].id);
    GHashTableIter each;
    void *id, *known;
    g_hash_table_iter_init(&each, reporter->known);
    while (g_hash_table_iter_next(&each, &id, &known)) {
        if (g_hash_table_contains(present, id) || is_stale(reporter, round, id))
            continue;
        g_auto(AgentVmState) gone = {0};
        agent_vm_state_set_id(&gone, id);
        agent_vm_state_set_managed(&gone, ((AgentVmState *)known)->managed);
        vm_status_set_state(agent_vm_state_put_status(&gone), VM_STATE_STOPPED);
        guest_watch_note(reporter->agent->guests, &gone, false);
        g_hash_table_iter_remove(&each);
        report_vm(reporter, report, &gone);
    }
}

static void report_host(Reporter *reporter, Report *report, const HostStatus *host) {
    if (model_equal(&host_status_type, &reporter->host, host))
        return;
    host_status_clear(&reporter->host);
    host_status_copy(&reporter->host, host);
    host_status_copy(agent_state_report_put_host(&report->message), host);
}

static void rest_after(Reporter *reporter, const Round *round) {
    if (round->is_all)
        return;
    g_mutex_lock(&reporter->lock);
    reporter->debounce_ms = CLAMP(REST * round->took_ms, DEBOUNCE_MS, LONGEST_DEBOUNCE_MS);
    g_mutex_unlock(&reporter->lock);
}

static void round_done(void *data) {
    Round *round = data;
    Reporter *reporter = round->reporter;
    Report report = {0}; /* empty again once it is sent */
    reporter->is_asking = false;
    rest_after(reporter, round);
    for (size_t i = 0; round->is_good && i < round->inventory.vms.n; i++) {
        const AgentVmState *state = &round->inventory.vms.items[i];
        /* What failed has changed nothing, but the manager shows the VM as starting, or as being deleted. */
        bool is_told_again = round->ids && g_hash_table_contains(round->ids, state->id) &&
                             g_hash_table_contains(reporter->touched, state->id);
        if (!is_stale(reporter, round, state->id) && (remember(reporter, state) || is_told_again))
            report_vm(reporter, &report, state);
    }
    bool is_complete = round->is_good && round->is_all;
    if (is_complete && round->inventory.host.state != HOST_STATE_DEGRADED)
        report_vanished(reporter, &report, round);
    if (round->is_good)
        report_host(reporter, &report, &round->inventory.host);
    send_report(reporter, &report);
    agent_inventory_clear(&round->inventory);
    if (round->ids)
        g_hash_table_unref(round->ids);
    g_free(round);
}

static void ask(Reporter *reporter, GHashTable *take_ids, bool is_all) {
    Round *round = g_new0(Round, 1);
    *round = (Round){.reporter = reporter,
        .agent = reporter->agent,
        .ids = take_ids,
        .is_all = is_all,
        .begun_us = g_get_monotonic_time()};
    reporter->is_asking = true;
    reporter->asked_us = round->begun_us;
    if (work_pool_add(reporter->agent->pools[LANE_PROBE], round_run, round_done, round, NULL))
        return;
    round->is_good = false;
    round_done(round);
}

static gboolean due(void *data) {
    Reporter *reporter = data;
    if (reporter->is_asking)
        return G_SOURCE_CONTINUE; /* again a moment later */
    g_mutex_lock(&reporter->lock);
    GHashTable *ids = g_steal_pointer(&reporter->changed);
    reporter->changed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    bool is_all = reporter->is_all_changed;
    reporter->is_all_changed = reporter->is_due = false;
    reporter->due_source = 0;
    g_mutex_unlock(&reporter->lock);
    ask(reporter, ids, is_all); /* one that has ended and was never told of is in no list */
    return G_SOURCE_REMOVE;
}

void reporter_changed(const char *vm_id, void *data) {
    Reporter *reporter = data;
    g_mutex_lock(&reporter->lock);
    if (vm_id)
        g_hash_table_add(reporter->changed, g_strdup(vm_id));
    else
        reporter->is_all_changed = true;
    if (!reporter->is_due)
        reporter->due_source = g_timeout_add((guint)reporter->debounce_ms, due, reporter);
    reporter->is_due = true;
    g_mutex_unlock(&reporter->lock);
}

void reporter_touch(Reporter *reporter, const char *vm_id) {
    gint64 *ended_us = g_new(gint64, 1);
    *ended_us = g_get_monotonic_time();
    g_hash_table_replace(reporter->touched, g_strdup(vm_id), ended_us);
}

/* A round does not take that long. */
static gboolean is_old(void *id G_GNUC_UNUSED, void *ended_us, void *now_us) {
    return *(gint64 *)ended_us < *(gint64 *)now_us - TOUCHED_S * G_USEC_PER_SEC;
}

/* Whatever it is that hangs: nobody takes for true what was known before. The round's end says more. */
static void report_silence(Reporter *reporter) {
    Report report = {0};
    g_auto(HostStatus) host = {0};
    gint64 silent_s = (g_get_monotonic_time() - reporter->asked_us) / G_USEC_PER_SEC;
    if (silent_s < PATIENCE_S || reporter->host.state == HOST_STATE_DEGRADED)
        return;
    g_autofree char *reason =
        g_strdup_printf("the hypervisor's tools have not answered for %" G_GINT64_FORMAT " s", silent_s);
    log_warning("%s", reason);
    host_status_copy(&host, &reporter->host);
    host_status_set_state(&host, HOST_STATE_DEGRADED);
    host_status_set_reason(&host, reason);
    report_host(reporter, &report, &host);
    send_report(reporter, &report);
}

static gboolean poll_all(void *data) {
    Reporter *reporter = data;
    gint64 now_us = g_get_monotonic_time();
    g_hash_table_foreach_remove(reporter->touched, is_old, &now_us);
    if (reporter->is_asking)
        report_silence(reporter);
    else
        ask(reporter, NULL, true);
    return G_SOURCE_CONTINUE;
}

void reporter_know(Reporter *reporter, const AgentInventory *inventory) {
    g_hash_table_remove_all(reporter->known);
    for (size_t i = 0; i < inventory->vms.n; i++)
        if (inventory->vms.items[i].id)
            remember(reporter, &inventory->vms.items[i]);
    host_status_clear(&reporter->host);
    host_status_copy(&reporter->host, &inventory->host);
}

static int compare_ids(const void *a, const void *b) {
    return strcmp(((const AgentVmState *)a)->id, ((const AgentVmState *)b)->id);
}

void reporter_page(const Reporter *reporter, const char *after, AgentInventory *ret_page) {
    g_autoptr(GList) states = g_list_sort(g_hash_table_get_values(reporter->known), compare_ids);
    const AgentVmState *last = NULL;
    size_t bytes = 0;
    host_status_copy(agent_inventory_put_host(ret_page), &reporter->host);
    for (const GList *item = states; item; item = item->next) {
        const AgentVmState *state = item->data;
        if (after && strcmp(state->id, after) <= 0)
            continue;
        bytes += encoded_bytes(state);
        if (last && bytes > MESSAGE_BYTES) {
            agent_inventory_set_next(ret_page, last->id);
            return;
        }
        agent_vm_state_copy(agent_inventory_add_vms(ret_page), state);
        last = state;
    }
}

static void release_state(void *data) {
    agent_vm_state_free(data);
}

Reporter *reporter_new(Agent *agent) {
    Reporter *reporter = g_new0(Reporter, 1);
    reporter->agent = agent;
    reporter->known = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, release_state);
    reporter->touched = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    reporter->changed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_mutex_init(&reporter->lock);
    reporter->debounce_ms = DEBOUNCE_MS;
    reporter->poll_source = g_timeout_add_seconds(POLL_S, poll_all, reporter);
    return reporter;
}

void reporter_stop(Reporter *reporter) {
    g_mutex_lock(&reporter->lock);
    g_clear_handle_id(&reporter->due_source, g_source_remove);
    reporter->is_due = true; /* no new one begins */
    g_mutex_unlock(&reporter->lock);
    g_clear_handle_id(&reporter->poll_source, g_source_remove);
}

void reporter_free(Reporter *reporter) {
    if (!reporter)
        return;
    reporter_stop(reporter);
    g_hash_table_unref(reporter->known);
    g_hash_table_unref(reporter->touched);
    g_hash_table_unref(reporter->changed);
    host_status_clear(&reporter->host);
    g_mutex_clear(&reporter->lock);
    g_free(reporter);
}
