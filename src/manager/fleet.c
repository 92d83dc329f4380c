/* One Link for each host: connect, hello, own, inventory, events; calls that wait for it. */
#include "manager/fleet.h"
#include <string.h>
#include "base/log.h"
#include "base/timers.h"
#include "manager/fleet-private.h"
#include "manager/host-advice.h"
#include "manager/job-kinds.h"
#include "rpc/rpc-connection.h"

#define SOFTWARE "lodged " LODGE_VERSION
enum {
    RETRY_MS = 500, /* on this machine; a host's agent at first, then twice as long each time */
    LONGEST_RETRY_MS = 15000,
    SPREAD_MS = 10, /* at the start: of a thousand hosts each costs some milliseconds, and others wait too */
    MAX_AGENT_REQUESTS = 1024,
    CALL_TIMEOUT_MS = 60000,
    MAX_UNMANAGED = 4096,
    MAX_SETTLED = 4096 /* of agent_operation_ids; what is left the agent drops by itself one day */
};

typedef struct Link {
    Fleet *fleet;
    char *host_id, *key; /* fingerprint; NULL on a UNIX socket */
    RpcAddress address;
    RpcConnecting *connecting;
    RpcConnection *connection;
    GHashTable *calls;  /* Call, all that have not ended */
    GPtrArray *settled; /* operations that its agent may forget */
    GQueue *waiting;    /* those of them that are not sent or to be sent again */
    Timer *retry;
    int n_retries; /* since it was usable */
    int64_t hello_ns, clock_ahead_ms;
    bool is_usable; /* owned and its inventory is known */
    /* While the inventory arrives page by page: */
    GHashTable *seen;     /* ids of the VMs in it, and of those that events named meanwhile */
    GPtrArray *unmanaged; /* names */
    GPtrArray *unknown;   /* names of VMs that this instance started and the store does not know: it was
                             restored from a backup that is older than they are */
    char *after;          /* the last id of the newest page */
} Link;

struct Fleet {
    Inventory *inventory;
    const Clock *clock;
    FleetNetwork network;
    Timers *retries;
    GHashTable *links;    /* host id -> Link */
    int subscription;     /* 0: it starts, and nobody can know yet of what it finds */
    GHashTable *answered; /* operation -> id of the host that answered it; what came of it is not durable */
    GQueue *orphans;      /* Call, whose host was removed */
    guint orphan_source;
    FleetHooks hooks;
};

/* In place of the id of a call whose connection was lost. */
enum { SENT_BEFORE = -1 };

typedef struct Call {
    Link *link; /* NULL: its host was removed */
    JobRun *run;
    AgentMethodId method;
    json_t *parameters;
    char *operation, *claim_object;
    int64_t claim_revision, rpc_id;
    FleetDoneFn done;
} Call;

static void call_free(Call *call) {
    if (call->link)
        g_hash_table_remove(call->link->calls, call);
    json_decref(call->parameters);
    g_free(call->operation);
    g_free(call->claim_object);
    g_free(call);
}

/* It will not be answered any more. A run whose claims were broken belongs to its step alone. */
static void drop_call(void *data) {
    Call *call = data;
    if (job_is_abandoned(call->run))
        job_step_done(call->run);
    call_free(call);
}

static void set_host_state(Link *link, HostState state, const char *reason) {
    Host *host = inventory_runtime(link->fleet->inventory, RESOURCE_HOST, link->host_id);
    if (!host)
        return;
    HostStatus *status = host_put_status(host);
    if (status->state == state && g_strcmp0(status->reason, reason) == 0 &&
        host_status_has(status, HOST_STATUS_FIELD_SINCE))
        return;
    host_status_set_state(status, state);
    host_status_set_reason(status, reason);
    host_status_set_since(status, clock_realtime_ns(link->fleet->clock));
    inventory_runtime_changed(link->fleet->inventory, RESOURCE_HOST, link->host_id);
}

/* ---- what agents report ---- */

static void set_vm_status(Fleet *fleet, const AgentVmState *reported, const char *host_id) {
    Vm *vm = inventory_runtime(fleet->inventory, RESOURCE_VM, reported->id);
    if (!vm || g_strcmp0(vm->host, host_id) != 0)
        return;
    g_auto(VmStatus) before = {0};
    vm_status_copy(&before, &vm->status);
    VmStatus *status = vm_put_status(vm);
    vm_status_clear(status);
    vm_status_copy(status, &reported->status);
    if (!model_equal(&vm_status_type, &before, status))
        inventory_runtime_changed(fleet->inventory, RESOURCE_VM, reported->id);
}

static void set_vm_state(Fleet *fleet, const char *vm_id, VmState state, const char *reason) {
    Vm *vm = inventory_runtime(fleet->inventory, RESOURCE_VM, vm_id);
    if (!vm || (vm_has(vm, VM_FIELD_STATUS) && vm->status.state == state))
        return;
    vm_status_clear(vm_put_status(vm));
    vm_status_set_state(&vm->status, state);
    vm_status_set_reason(&vm->status, reason);
    if (fleet->subscription)
        inventory_runtime_changed(fleet->inventory, RESOURCE_VM, vm_id);
}

static void for_vms_of(Link *link, VmState state, const char *reason, GHashTable *except) {
    const GPtrArray *vms = inventory_vms_on(link->fleet->inventory, link->host_id);
    for (guint i = 0; i < vms->len; i++) {
        const char *id = ((const Object *)vms->pdata[i])->id;
        if (!(except && g_hash_table_contains(except, id)))
            set_vm_state(link->fleet, id, state, reason);
    }
}

static void take_host_status(Link *link, const HostStatus *reported) {
    Host *host = inventory_runtime(link->fleet->inventory, RESOURCE_HOST, link->host_id);
    if (!host)
        return;
    bool is_usual = reported->state != HOST_STATE_DEGRADED && reported->state != HOST_STATE_STOPPING;
    HostState state = is_usual ? HOST_STATE_CONNECTED : reported->state;
    int64_t since = host->status.state == state ? host->status.since : 0;
    host_status_clear(host_put_status(host));
    host_status_copy(&host->status, reported);
    host_status_set_state(&host->status, state);
    host_status_set_since(&host->status, since ? since : clock_realtime_ns(link->fleet->clock));
    host_status_set_clock_ahead_ms(&host->status, link->clock_ahead_ms);
    host_advice_add(&host->status, link->clock_ahead_ms);
    for (guint i = 0; i < link->unknown->len; i++)
        host_status_add_unmanaged(&host->status, g_ptr_array_index(link->unknown, i));
    inventory_runtime_changed(link->fleet->inventory, RESOURCE_HOST, link->host_id);
}

static void drop_pages(Link *link) {
    g_clear_pointer(&link->seen, g_hash_table_unref);
    g_clear_pointer(&link->unmanaged, g_ptr_array_unref);
    g_clear_pointer(&link->after, g_free);
}

static void take_page(Link *link, const AgentInventory *page) {
    if (!link->seen) {
        link->seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        link->unmanaged = g_ptr_array_new_with_free_func(g_free);
        g_ptr_array_set_size(link->unknown, 0);
    }
    for (size_t i = 0; i < page->vms.n; i++) {
        const AgentVmState *vm = &page->vms.items[i];
        g_hash_table_add(link->seen, g_strdup(vm->id));
        if (inventory_get(link->fleet->inventory, RESOURCE_VM, vm->id))
            set_vm_status(link->fleet, vm, link->host_id);
        else if (!vm->managed && vm->name && link->unmanaged->len < MAX_UNMANAGED)
            g_ptr_array_add(link->unmanaged, g_strdup(vm->name));
        else if (vm->managed && vm->name && link->unknown->len < MAX_UNMANAGED / 2)
            g_ptr_array_add(link->unknown, g_strdup(vm->name));
    }
}

/* All pages are there: what was in none of them does not run. */
static void take_inventory(Link *link, const HostStatus *host) {
    g_auto(HostStatus) status = {0};
    host_status_copy(&status, host);
    bool is_told = host_status_has(&status, HOST_STATUS_FIELD_UNMANAGED); /* by the host itself */
    for (guint i = 0; !is_told && i < link->unmanaged->len; i++)
        host_status_add_unmanaged(&status, g_ptr_array_index(link->unmanaged, i));
    take_host_status(link, &status);
    if (host->state == HOST_STATE_DEGRADED) /* what is not listed may run all the same */
        for_vms_of(link, VM_STATE_UNKNOWN, "its hypervisor does not answer", link->seen);
    else
        for_vms_of(link, VM_STATE_STOPPED, NULL, link->seen);
    drop_pages(link);
}

static void ask_for_inventory(Link *link);

static void take_host_report(Link *link, const HostStatus *reported) {
    const Host *host = inventory_runtime(link->fleet->inventory, RESOURCE_HOST, link->host_id);
    bool was_degraded = host && host->status.state == HOST_STATE_DEGRADED;
    /* Which VMs have stopped is known again: first that, because run policies start them once the host is
     * there.
     */
    if (was_degraded && reported->state != HOST_STATE_DEGRADED && !link->seen)
        ask_for_inventory(link);
    else
        take_host_status(link, reported);
}

static void on_event(
    RpcConnection *connection G_GNUC_UNUSED, const char *event, const json_t *data, void *user) {
    Link *link = user;
    g_auto(AgentStateReport) report = {0};
    g_auto(Error) err = {0};
    if (g_str_equal(event, "local")) {
        if (link->is_usable && link->fleet->hooks.on_local)
            link->fleet->hooks.on_local(link->host_id, link->fleet->hooks.data);
        return;
    }
    if (!g_str_equal(event, "state") || !agent_state_report_decode(data, MODEL_STORED, &report, &err)) {
        log_debug("event %s of host %s is not understood", event, link->host_id);
        return;
    }
    for (size_t i = 0; i < report.vms.n; i++) {
        set_vm_status(link->fleet, &report.vms.items[i], link->host_id);
        if (link->seen)
            g_hash_table_add(link->seen, g_strdup(report.vms.items[i].id));
    }
    if (link->is_usable && agent_state_report_has(&report, AGENT_STATE_REPORT_FIELD_HOST))
        take_host_report(link, &report.host);
}

/* ---- calls ---- */

static void call_replied(const json_t *result, const Error *error, void *data) {
    Call *call = data;
    if (error &&
        error->code == ERROR_UNREACHABLE) { /* it may have happened: ask again with the same operation */
        call->rpc_id = SENT_BEFORE;
        g_queue_push_tail(call->link->waiting, call);
        return;
    }
    Link *link = call->link;
    job_on_cancel(call->run, NULL, NULL); /* what `done` begins may outlive this call */
    if (job_is_abandoned(call->run)) {    /* nothing of it is to happen late */
        job_step_done(call->run);
        call_free(call);
        return;
    }
    g_hash_table_replace(link->fleet->answered, g_strdup(call->operation), g_strdup(link->host_id));
    /* The VM may be shown as starting or being deleted; the agent reports what changes only. */
    if (error && call->claim_object && g_str_has_prefix(call->claim_object, "vm/"))
        fleet_look_again(link->fleet, link->host_id);
    if (error)
        job_step_failed(call->run, error);
    else if (call->done)
        call->done(call->run, result);
    else
        job_step_done(call->run);
    call_free(call);
}

static void tell_settled(Link *link) {
    if (!link->is_usable || link->settled->len == 0)
        return;
    Store *store = inventory_store(link->fleet->inventory);
    RpcContext context = {.owner = store_uuid(store), .epoch = store_epoch(store)};
    json_t *operations = json_array();
    for (guint i = 0; i < link->settled->len && i < MAX_SETTLED; i++)
        json_array_append_new(operations, json_string(g_ptr_array_index(link->settled, i)));
    g_ptr_array_set_size(link->settled, 0);
    rpc_call(link->connection, "operation.forget", json_pack("{so}", "operations", operations), &context,
        CALL_TIMEOUT_MS, NULL, NULL, NULL);
}

/* Earlier, the agent would do it again for a manager that died before it stored the outcome. */
void fleet_settled(const char *operation, void *data) {
    Fleet *fleet = data;
    g_autofree char *key = NULL, *host_id = NULL;
    if (!g_hash_table_steal_extended(fleet->answered, operation, (void **)&key, (void **)&host_id))
        return;
    Link *link = g_hash_table_lookup(fleet->links, host_id);
    if (!link)
        return;
    g_ptr_array_add(link->settled, g_steal_pointer(&key));
    tell_settled(link);
}

static void call_progress(const json_t *json, void *data) {
    Call *call = data;
    if (job_is_abandoned(call->run))
        return;
    const char *phase = json_string_value(json_object_get(json, "phase"));
    job_progress(call->run, (int)json_integer_value(json_object_get(json, "percent")), phase ? phase : "");
}

static void send_call(Link *link, Call *call) {
    Store *store = inventory_store(link->fleet->inventory);
    RpcClaim claim = {.object = call->claim_object, .revision = call->claim_revision};
    RpcContext context = {.owner = store_uuid(store),
        .epoch = store_epoch(store),
        .operation = call->operation,
        .claims = &claim,
        .n_claims = call->claim_object ? 1 : 0};
    call->rpc_id = rpc_call(link->connection, agent_methods[call->method].name,
        json_deep_copy(call->parameters), &context, 0, call_replied, call_progress, call);
}

/* Whose claims were broken meanwhile has no right to it any more. A cancel that the agent could not be told
 * is told now: behind the call, because that may have happened. */
static void send_again(Link *link, Call *call) {
    if (!job_is_abandoned(call->run)) {
        send_call(link, call);
        if (job_is_cancelled(call->run))
            rpc_cancel(link->connection, call->rpc_id);
        return;
    }
    g_auto(Error) err = {0};
    error_set(&err, ERROR_STALE_CLAIM, NULL, "the claims of its job were broken");
    job_step_failed(call->run, &err);
    call_free(call);
}

static void cancel_call(JobRun *run, void *data) {
    Call *call = data;
    if (g_queue_find(call->link->waiting, call) && call->rpc_id == 0) { /* never sent: nothing happened */
        g_queue_remove(call->link->waiting, call);
        g_auto(Error) err = {0};
        error_set(&err, ERROR_CANCELLED, NULL, "cancelled before the host was reached");
        call_free(call);
        job_step_failed(run, &err);
    } else if (call->link->connection && call->rpc_id > 0) {
        rpc_cancel(call->link->connection, call->rpc_id);
    }
}

void fleet_call(JobRun *run, const char *host_id, AgentMethodId method, json_t *take_parameters,
    ResourceId claim_kind, const char *claim_id, FleetDoneFn done) {
    Fleet *fleet = job_host(run);
    Link *link = host_id ? g_hash_table_lookup(fleet->links, host_id) : NULL;
    if (!link) {
        g_auto(Error) err = {0};
        error_set(
            &err, ERROR_NOT_FOUND, NULL, "the host %s is not known any more", host_id ? host_id : "(none)");
        json_decref(take_parameters);
        job_step_failed(run, &err);
        return;
    }
    Call *call = g_new0(Call, 1);
    *call = (Call){.link = link,
        .run = run,
        .method = method,
        .parameters = take_parameters,
        .done = done,
        .operation = g_strdup(job_operation(run))};
    g_hash_table_add(link->calls, call);
    if (claim_kind != RESOURCE_MAX) {
        call->claim_object = g_strdup_printf("%s/%s", resources[claim_kind].name, claim_id);
        call->claim_revision = job_claim_revision(run, claim_kind, claim_id);
    }
    if (link->is_usable) {
        send_call(link, call);
    } else {
        g_queue_push_tail(link->waiting, call);
        const Object *host = inventory_get(fleet->inventory, RESOURCE_HOST, host_id);
        g_autofree char *phase = g_strdup_printf("Waiting for the host %s", host ? host->name : host_id);
        job_progress(run, 0, phase);
    }
    job_on_cancel(run, cancel_call, call);
}

const char *fleet_job_on(const Fleet *fleet, const char *host_id) {
    const Link *link = g_hash_table_lookup(fleet->links, host_id);
    GHashTableIter each;
    Call *call;
    if (!link)
        return NULL;
    g_hash_table_iter_init(&each, link->calls);
    while (g_hash_table_iter_next(&each, (void **)&call, NULL))
        if (!job_is_abandoned(call->run))
            return job_definition(call->run)->id;
    return NULL;
}

typedef struct Question {
    void (*done)(const json_t *result, const Error *err, void *data);
    void *data;
} Question;

static void answered(const json_t *result, const Error *err, void *data) {
    Question *question = data;
    question->done(result, err, question->data);
    g_free(question);
}

void fleet_ask(Fleet *fleet, const char *host_id, AgentMethodId method, json_t *take_parameters,
    void (*done)(const json_t *result, const Error *err, void *data), void *data) {
    fleet_ask_within(fleet, CALL_TIMEOUT_MS, host_id, method, take_parameters, done, data);
}

void fleet_ask_within(Fleet *fleet, int64_t timeout_ms, const char *host_id, AgentMethodId method,
    json_t *take_parameters, void (*done)(const json_t *result, const Error *err, void *data), void *data) {
    Link *link = host_id ? g_hash_table_lookup(fleet->links, host_id) : NULL;
    if (!link || !link->is_usable) {
        g_auto(Error) err = {0};
        error_set(&err, ERROR_UNREACHABLE, NULL, "the host cannot be reached");
        json_decref(take_parameters);
        done(NULL, &err, data);
        return;
    }
    Question *question = g_new0(Question, 1);
    *question = (Question){done, data};
    Store *store = inventory_store(fleet->inventory);
    RpcContext context = {.owner = store_uuid(store), .epoch = store_epoch(store)};
    rpc_call(link->connection, agent_methods[method].name, take_parameters, &context, timeout_ms, answered,
        NULL, question);
}

/* ---- a connection, in the order in which it comes up ---- */

/* Not all at the same moment: a manager may have a thousand of them. */
static int retry_ms(const Link *link) {
    if (link->address.path)
        return RETRY_MS;
    int wait_ms = MIN(RETRY_MS << MIN(link->n_retries, 10), LONGEST_RETRY_MS);
    return wait_ms + g_random_int_range(0, wait_ms / 4);
}

static void retry_later(Link *link) {
    if (timer_is_set(link->retry))
        return;
    timer_set(link->retry, retry_ms(link) * NS_PER_MS);
    link->n_retries++;
}

static void lose(Link *link, HostState state, const char *reason) {
    RpcConnection *connection = g_steal_pointer(&link->connection);
    link->is_usable = false;
    drop_pages(link);
    rpc_connection_free(connection); /* open calls come back as waiting */
    set_host_state(link, state, reason);
    for_vms_of(link, VM_STATE_UNKNOWN, "its host cannot be reached", NULL);
    retry_later(link);
}

static void on_closed(RpcConnection *connection G_GNUC_UNUSED, const Error *why, void *data) {
    g_autofree char *text = error_text(why);
    lose(data, HOST_STATE_UNREACHABLE, text);
}

static void call_agent(Link *link, const char *method, json_t *take_parameters, RpcReplyFn done) {
    Store *store = inventory_store(link->fleet->inventory);
    g_autofree char *operation =
        g_strdup_printf("%s/%s/%" G_GINT64_FORMAT, method, store_uuid(store), store_epoch(store));
    RpcContext context = {.owner = store_uuid(store), .epoch = store_epoch(store), .operation = operation};
    rpc_call(link->connection, method, take_parameters, &context, CALL_TIMEOUT_MS, done, NULL, link);
}

/* A connection that is lost in the middle of this chain is dealt with by on_closed. */
static bool is_refused(Link *link, const Error *err) {
    if (!err)
        return false;
    if (err->code != ERROR_UNREACHABLE && link->connection) {
        g_autofree char *text = error_text(err);
        lose(link, err->code == ERROR_NOT_OWNER ? HOST_STATE_REFUSED : HOST_STATE_UNREACHABLE, text);
    }
    return true;
}

static void inventory_arrived(const json_t *result, const Error *err, void *data);

/* False when the page leads back. */
static bool ask_next_page(Link *link, const char *after) {
    if (link->after && strcmp(after, link->after) <= 0)
        return false;
    g_free(link->after);
    link->after = g_strdup(after);
    call_agent(link, "inventory", json_pack("{ss}", "after", after), inventory_arrived);
    return true;
}

static void inventory_arrived(const json_t *result, const Error *err, void *data) {
    Link *link = data;
    if (is_refused(link, err))
        return;
    g_auto(AgentInventory) page = {0};
    g_auto(Error) fault = {0};
    if (!agent_inventory_decode(result, MODEL_STORED, &page, &fault)) {
        lose(link, HOST_STATE_UNREACHABLE, fault.message);
        return;
    }
    take_page(link, &page);
    if (page.next) {
        if (!ask_next_page(link, page.next))
            lose(link, HOST_STATE_UNREACHABLE, "its agent's inventory has no end");
        return;
    }
    link->is_usable = true;
    link->n_retries = 0;
    take_inventory(link, &page.host);
    tell_settled(link);
    for (guint n = g_queue_get_length(link->waiting); n > 0 && link->is_usable; n--)
        send_again(link, g_queue_pop_head(link->waiting));
    if (link->fleet->hooks.on_connected)
        link->fleet->hooks.on_connected(link->host_id, link->fleet->hooks.data);
}

static void ask_for_inventory(Link *link) {
    call_agent(link, "inventory", NULL, inventory_arrived);
}

static void certified(const json_t *result G_GNUC_UNUSED, const Error *err, void *data) {
    const Link *link = data;
    if (err)
        log_warning("the certificate of host %s could not be renewed: %s", link->host_id, err->message);
}

/* Long before it expires, for the same key. */
static void renew_certificate(Link *link) {
    const TlsShown *shown = rpc_stream_shown(rpc_connection_stream(link->connection));
    const HostAuthority *authority = link->fleet->network.authority;
    g_autofree char *certificate = NULL;
    g_auto(Error) err = {0};
    if (!shown || !host_authority_is_due(authority, shown->certificate_pem))
        return;
    if (host_authority_sign(authority, shown->certificate_pem, link->host_id, &certificate, &err))
        call_agent(link, "certificate.apply", json_pack("{ss}", "certificate", certificate), certified);
    else
        certified(NULL, &err, link);
}

static void owned(const json_t *result G_GNUC_UNUSED, const Error *err, void *data) {
    if (is_refused(data, err))
        return;
    renew_certificate(data);
    ask_for_inventory(data);
}

void fleet_look_again(Fleet *fleet, const char *host_id) {
    Link *link = g_hash_table_lookup(fleet->links, host_id);
    if (link && link->is_usable && !link->seen)
        ask_for_inventory(link);
}

/* Whether that was to be: it has done it, though its answer did not arrive. */
static bool was_released(Link *link) {
    bool was_asked = false;
    for (guint n = g_queue_get_length(link->waiting); n > 0; n--) {
        Call *call = g_queue_pop_head(link->waiting);
        if (call->method != AGENT_METHOD_HOST_RELEASE) {
            g_queue_push_tail(link->waiting, call);
            continue;
        }
        was_asked = true;
        call_replied(NULL, NULL, call);
    }
    return was_asked;
}

static void greeted(const json_t *result, const Error *err, void *data) {
    Link *link = data;
    g_auto(AgentIdentity) identity = {0};
    if (is_refused(link, err))
        return;
    if (agent_identity_decode(result, MODEL_STORED, &identity, NULL) &&
        agent_identity_has(&identity, AGENT_IDENTITY_FIELD_TIME))
        link->clock_ahead_ms =
            host_clock_ahead_ms(identity.time, link->hello_ns, clock_realtime_ns(link->fleet->clock));
    Store *store = inventory_store(link->fleet->inventory);
    const char *owner = json_string_value(json_object_get(result, "owner"));
    bool is_ours = owner && g_str_equal(owner, store_uuid(store));
    bool is_released = !is_ours && was_released(link);
    is_released |= !owner && host_is_being_released(link->fleet->inventory, link->host_id);
    if (is_released || (owner && !is_ours)) {
        lose(link, HOST_STATE_REFUSED,
            is_released ? "it was released" : "its agent belongs to another manager");
        return;
    }
    set_host_state(link, HOST_STATE_CONNECTING, NULL);
    call_agent(link, "own",
        json_pack("{ss sI}", "manager", store_uuid(store), "epoch", (json_int_t)store_epoch(store)), owned);
}

static void on_ready(RpcConnection *connection G_GNUC_UNUSED, void *data) {
    Link *link = data;
    Store *store = inventory_store(link->fleet->inventory);
    link->hello_ns = clock_realtime_ns(link->fleet->clock);
    call_agent(link, "hello",
        json_pack("{ss sI}", "manager", store_uuid(store), "epoch", (json_int_t)store_epoch(store)), greeted);
}

static bool check_host(const TlsShown *shown, void *data, Error *err) {
    const Link *link = data;
    const HostExpected expected = {link->host_id, link->key};
    return host_expected_check(&expected, shown, err);
}

static void connected(RpcStream *take_stream, const Error *err, void *data) {
    Link *link = data;
    link->connecting = NULL;
    if (err) {
        g_autofree char *text = error_text(err);
        set_host_state(link, HOST_STATE_UNREACHABLE, text);
        retry_later(link);
        return;
    }
    RpcOptions options = {.on_ready = on_ready,
        .on_event = on_event,
        .on_closed = on_closed,
        .data = link,
        .software = SOFTWARE,
        .lowest_version = 1,
        .highest_version = 1,
        .clock = link->fleet->clock,
        .max_requests = MAX_AGENT_REQUESTS};
    link->connection = rpc_connection_new(take_stream, RPC_INITIATOR, &options);
}

static void connect_link(void *data) {
    Link *link = data;
    const FleetNetwork *network = &link->fleet->network;
    const RpcConnectOptions options = {
        .tls = {.credentials = network->authority ? host_authority_credentials(network->authority) : NULL,
            .clock = link->fleet->clock,
            .check = check_host,
            .data = link}};
    link->connecting = rpc_connect(network->connector, &link->address, &options, connected, link);
}

/* ---- hosts come and go ---- */

/* Open calls are waiting then. */
static void close_link(Link *link) {
    timer_stop(link->retry);
    link->is_usable = false;
    drop_pages(link);
    rpc_connecting_free(g_steal_pointer(&link->connecting));
    rpc_connection_free(g_steal_pointer(&link->connection));
}

static void link_free(void *data) {
    Link *link = data;
    close_link(link);
    timer_free(link->retry);
    while (!g_queue_is_empty(link->waiting))
        drop_call(g_queue_pop_head(link->waiting));
    g_queue_free(link->waiting);
    g_hash_table_unref(link->calls);
    g_ptr_array_unref(link->unknown);
    g_ptr_array_unref(link->settled);
    rpc_address_clear(&link->address);
    g_free(link->host_id);
    g_free(link->key);
    g_free(link);
}

static void add_host(Fleet *fleet, const Host *host, int64_t delay_ms) {
    g_auto(RpcAddress) address = {0};
    if (g_hash_table_contains(fleet->links, host->id) || !rpc_address_parse(host->address, &address, NULL))
        return;
    Link *link = g_new0(Link, 1);
    *link = (Link){.fleet = fleet,
        .host_id = g_strdup(host->id),
        .key = g_strdup(host->key),
        .address = address,
        .retry = timer_new(fleet->retries, connect_link, link),
        .unknown = g_ptr_array_new_with_free_func(g_free),
        .settled = g_ptr_array_new_with_free_func(g_free),
        .calls = g_hash_table_new(NULL, NULL),
        .waiting = g_queue_new()};
    address = (RpcAddress){0};
    g_hash_table_insert(fleet->links, link->host_id, link);
    set_host_state(link, HOST_STATE_CONNECTING, NULL); /* until something else is known */
    for_vms_of(link, VM_STATE_UNKNOWN, "its host was not asked yet", NULL);
    timer_set(link->retry, delay_ms * NS_PER_MS);
}

static bool is_at(const Link *link, const RpcAddress *address) {
    return g_strcmp0(link->address.path, address->path) == 0 &&
           g_strcmp0(link->address.host, address->host) == 0 && link->address.port == address->port;
}

/* It may have moved, or be believed again. */
static void change_host(Fleet *fleet, const Host *host) {
    Link *link = g_hash_table_lookup(fleet->links, host->id);
    g_auto(RpcAddress) address = {0};
    if (!link || !rpc_address_parse(host->address, &address, NULL))
        return;
    if (!is_at(link, &address) || g_strcmp0(link->key, host->key) != 0) {
        rpc_address_clear(&link->address);
        link->address = address;
        address = (RpcAddress){0};
        g_free(link->key);
        link->key = g_strdup(host->key);
        rpc_connecting_free(g_steal_pointer(&link->connecting));
        lose(link, HOST_STATE_CONNECTING, NULL);
    }
    link->n_retries = 0;
    if (timer_is_set(link->retry))
        timer_set(link->retry, 0); /* at once, though not inside of the commit */
}

static gboolean end_orphans(void *data) {
    Fleet *fleet = data;
    fleet->orphan_source = 0;
    for (guint n = g_queue_get_length(fleet->orphans); n > 0; n--) {
        Call *call = g_queue_pop_head(fleet->orphans);
        g_auto(Error) err = {0};
        error_set(&err, ERROR_NOT_FOUND, NULL, "the host was removed");
        job_step_failed(call->run, &err);
        call_free(call);
    }
    return G_SOURCE_REMOVE;
}

/* Nobody will answer its calls: their steps fail, though not inside of the commit that removes the host. */
static void remove_host(Fleet *fleet, const char *host_id) {
    Link *link = g_hash_table_lookup(fleet->links, host_id);
    if (!link)
        return;
    close_link(link);
    for (guint n = g_queue_get_length(link->waiting); n > 0; n--) {
        Call *call = g_queue_pop_head(link->waiting);
        job_on_cancel(call->run, NULL, NULL);
        call->link = NULL;
        g_queue_push_tail(fleet->orphans, call);
    }
    g_hash_table_remove(fleet->links, host_id);
    if (!fleet->orphan_source)
        fleet->orphan_source = g_idle_add(end_orphans, fleet);
}

static void on_inventory_event(const Event *event, void *data) {
    Fleet *fleet = data;
    if (!event->object || !g_str_has_prefix(event->object, "host/"))
        return;
    const char *id = event->object + strlen("host/");
    const Object *object = inventory_get(fleet->inventory, RESOURCE_HOST, id);
    if (g_str_equal(event->kind, "created") && object)
        add_host(fleet, object->data, 0);
    else if (g_str_equal(event->kind, "changed") && object)
        change_host(fleet, object->data);
    else if (g_str_equal(event->kind, "deleted"))
        remove_host(fleet, id);
}

Fleet *fleet_new(Inventory *inventory, const Clock *clock, const FleetNetwork *network) {
    Fleet *fleet = g_new0(Fleet, 1);
    fleet->inventory = inventory;
    fleet->clock = clock;
    if (network)
        fleet->network = *network;
    fleet->retries = timers_new();
    fleet->orphans = g_queue_new();
    fleet->answered = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    fleet->links = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, link_free);
    return fleet;
}

void fleet_free(Fleet *fleet) {
    if (!fleet)
        return;
    inventory_unsubscribe(fleet->inventory, fleet->subscription);
    g_hash_table_unref(fleet->links);
    timers_free(fleet->retries);
    g_clear_handle_id(&fleet->orphan_source, g_source_remove);
    g_queue_free_full(fleet->orphans, drop_call);
    g_hash_table_unref(fleet->answered);
    g_free(fleet);
}

const FleetNetwork *fleet_network(const Fleet *fleet) {
    return &fleet->network;
}

void fleet_start(Fleet *fleet) {
    const GPtrArray *hosts = inventory_list(fleet->inventory, RESOURCE_HOST);
    for (guint i = 0; i < hosts->len; i++)
        add_host(fleet, ((const Object *)hosts->pdata[i])->data, i * SPREAD_MS);
    fleet->subscription = inventory_subscribe(fleet->inventory, on_inventory_event, fleet);
}

void fleet_set_hooks(Fleet *fleet, const FleetHooks *hooks) {
    fleet->hooks = *hooks;
}

bool fleet_place_of(const Fleet *fleet, const char *host_id, FleetPlace *ret_place) {
    const Link *link = host_id ? g_hash_table_lookup(fleet->links, host_id) : NULL;
    if (!link)
        return false;
    *ret_place = (FleetPlace){.network = fleet->network,
        .address = {.path = g_strdup(link->address.path),
            .host = g_strdup(link->address.host),
            .port = link->address.port},
        .id = g_strdup(link->host_id),
        .key = g_strdup(link->key)};
    return true;
}
