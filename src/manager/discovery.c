/* In the order of its steps: addresses, ports in a thread, questions over TLS, rows. */
#include "manager/discovery.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include "base/cancel.h"
#include "base/work.h"
#include "model/format.h"
#include "rpc/rpc-connection.h"
#include "rpc/rpc-range.h"
#include "rpc/rpc-scan.h"
#include "tls/tls-identity.h"

enum { PROBES_AT_ONCE = 64, PROBE_MS = 5000, BATCH_MS = 50 };

/* What the thread found out about one target. */
typedef struct Reached {
    size_t target;
    RpcReach reach;
    unsigned services; /* bits by index into rpc_services */
    char *fault;       /* of a name that cannot be resolved */
} Reached;

/* What thread and main loop share; outlives the discovery while the thread works. */
typedef struct Shared {
    RpcTargets targets; /* addresses are resolved by the thread; it changes `socket` only */
    RpcScanOptions scan;
    bool tells_all;
    Cancel *cancel;
    Error err;
    GMutex lock;
    GArray *reached; /* Reached, under the lock: not yet taken by the main loop */
    /* The thread's own: */
    GArray *addresses, *indices; /* of the scan under way */
    GHashTable *silent_look;     /* targets whose other ports were seen: index -> bits */
    struct Discovery *discovery; /* NULL: ended early; main loop only */
} Shared;

typedef struct Probe {
    Discovery *discovery;
    RpcConnecting *connecting;
    RpcConnection *connection;
    FoundHost row;
    bool is_over;
} Probe;

struct Discovery {
    const DiscoveryMeans *means;
    Shared *shared;
    DiscoveryRowFn on_row;
    DiscoveryEndFn on_end;
    void *data;
    GQueue *open;       /* targets that answered and are not asked yet, as size_t */
    GHashTable *probes; /* Probe, under way */
    guint batch_source;
    bool is_scanned;
};

/* ---- in the thread ---- */

static void push(Shared *shared, Reached reached) {
    g_mutex_lock(&shared->lock);
    g_array_append_val(shared->reached, reached);
    g_mutex_unlock(&shared->lock);
}

static RpcTarget *target_at(const Shared *shared, size_t index) {
    return &g_array_index(shared->targets.addresses, RpcTarget, index);
}

/* Of several addresses of a name the first is tried. */
static bool resolve(Shared *shared, size_t index) {
    RpcTarget *target = target_at(shared, index);
    const RpcAddress address = {.host = target->host, .port = target->port};
    g_autoptr(GArray) found = NULL;
    g_auto(Error) err = {0};
    if (target->socket.length)
        return true;
    if (rpc_address_resolve(&address, &found, &err)) {
        target->socket = g_array_index(found, RpcSocketAddress, 0);
        return true;
    }
    push(shared, (Reached){.target = index, .reach = RPC_REACH_NO_WAY, .fault = g_strdup(err.message)});
    return false;
}

static void add_to_scan(Shared *shared, const RpcSocketAddress *address, size_t index) {
    g_array_append_vals(shared->addresses, address, 1);
    g_array_append_val(shared->indices, index);
}

static bool scan_now(
    Shared *shared, void (*on_result)(size_t index, RpcReach reach, void *data), void *data) {
    RpcScanOptions options = shared->scan;
    options.cancel = shared->cancel;
    options.on_result = on_result;
    options.data = data;
    return rpc_scan(
        (const RpcSocketAddress *)shared->addresses->data, shared->addresses->len, &options, &shared->err);
}

/* What has no agent is looked at again when somebody asked for it by name, or when all is to be told. */
static void agent_port_tried(size_t index, RpcReach reach, void *data) {
    Shared *shared = data;
    size_t target = g_array_index(shared->indices, size_t, index);
    bool is_wanted = shared->tells_all || target_at(shared, target)->is_named;
    if (reach == RPC_REACH_OPEN)
        push(shared, (Reached){.target = target, .reach = reach});
    else if (reach == RPC_REACH_REFUSED || is_wanted)
        g_hash_table_insert(shared->silent_look, GSIZE_TO_POINTER(target + 1),
            GUINT_TO_POINTER((unsigned)reach << RPC_SERVICES));
}

static void other_port_tried(size_t index, RpcReach reach, void *data) {
    Shared *shared = data;
    size_t target = g_array_index(shared->indices, size_t, index) / RPC_SERVICES;
    size_t service = g_array_index(shared->indices, size_t, index) % RPC_SERVICES;
    void *key = GSIZE_TO_POINTER(target + 1);
    unsigned bits = GPOINTER_TO_UINT(g_hash_table_lookup(shared->silent_look, key));
    if (reach == RPC_REACH_OPEN)
        g_hash_table_insert(shared->silent_look, key, GUINT_TO_POINTER(bits | 1U << service));
}

static bool try_agent_ports(Shared *shared) {
    for (size_t i = 0; i < shared->targets.addresses->len && !is_cancelled(shared->cancel); i++)
        if (resolve(shared, i))
            add_to_scan(shared, &target_at(shared, i)->socket, i);
    return scan_now(shared, agent_port_tried, shared);
}

static bool try_other_ports(Shared *shared) {
    GHashTableIter each;
    void *key;
    g_array_set_size(shared->addresses, 0);
    g_array_set_size(shared->indices, 0);
    g_hash_table_iter_init(&each, shared->silent_look);
    while (g_hash_table_iter_next(&each, &key, NULL))
        for (size_t service = 0; service < RPC_SERVICES; service++) {
            size_t target = GPOINTER_TO_SIZE(key) - 1;
            RpcSocketAddress address = target_at(shared, target)->socket;
            /* IPv4 and IPv6 have it in the same place. */
            ((struct sockaddr_in *)&address.storage)->sin_port = htons(rpc_services[service].port);
            add_to_scan(shared, &address, target * RPC_SERVICES + service);
        }
    return scan_now(shared, other_port_tried, shared);
}

static void tell_the_rest(Shared *shared) {
    for (size_t i = 0; i < shared->targets.addresses->len; i++) {
        void *value = NULL;
        if (!g_hash_table_lookup_extended(shared->silent_look, GSIZE_TO_POINTER(i + 1), NULL, &value))
            continue;
        unsigned bits = GPOINTER_TO_UINT(value);
        unsigned found = bits & ((1U << RPC_SERVICES) - 1);
        if (found || shared->tells_all || target_at(shared, i)->is_named)
            push(
                shared, (Reached){.target = i, .reach = (RpcReach)(bits >> RPC_SERVICES), .services = found});
    }
}

static void search(void *data) {
    Shared *shared = data;
    if (try_agent_ports(shared) && try_other_ports(shared))
        tell_the_rest(shared);
}

/* ---- rows ---- */

static char *text_of(const RpcTarget *target) {
    const RpcAddress address = {.host = target->host, .port = target->port};
    return target->port == RPC_PORT ? g_strdup(target->host) : rpc_address_text(&address);
}

static void tell(Discovery *self, FoundHost *row) {
    self->on_row(row, self->data);
}

/* Two ports may be of one service. */
static void add_service(FoundHost *row, const char *name) {
    for (size_t i = 0; i < row->services.n; i++)
        if (strcmp(row->services.items[i], name) == 0)
            return;
    found_host_add_services(row, name);
}

static char *list_services(const FoundHost *row) {
    GString *text = g_string_new("no agent, but ");
    for (size_t i = 0; i < row->services.n; i++)
        g_string_append_printf(text, "%s%s", i ? " and " : "", row->services.items[i]);
    return g_string_free(text, FALSE);
}

static void tell_no_agent(Discovery *self, const Reached *reached) {
    static const char *const details[] = {
        [RPC_REACH_OPEN] = NULL,
        [RPC_REACH_REFUSED] = "nobody listens at the agent's port",
        [RPC_REACH_SILENT] = "no answer in time",
        [RPC_REACH_NO_WAY] = "the network leads nowhere",
    };
    g_auto(FoundHost) row = {0};
    g_autofree char *address = text_of(target_at(self->shared, reached->target));
    bool is_there = reached->reach == RPC_REACH_REFUSED || reached->services;
    found_host_set_address(&row, address);
    found_host_set_state(&row, reached->fault ? FOUND_STATE_UNKNOWN
                               : is_there     ? FOUND_STATE_REFUSED
                                              : FOUND_STATE_UNREACHABLE);
    for (size_t i = 0; i < RPC_SERVICES; i++)
        if (reached->services & 1U << i)
            add_service(&row, rpc_services[i].name);
    g_autofree char *detail = row.services.n ? list_services(&row) : NULL;
    found_host_set_detail(&row, detail ? detail : reached->fault ? reached->fault : details[reached->reach]);
    tell(self, &row);
}

/* ---- asking who is there ---- */

static void go_on(Discovery *self);

static gboolean probe_free(void *data) {
    Probe *probe = data;
    rpc_connecting_free(probe->connecting);
    rpc_connection_free(probe->connection);
    found_host_clear(&probe->row);
    g_free(probe);
    return G_SOURCE_REMOVE;
}

/* Its connection may be calling back just now. */
static void probe_end(Probe *probe) {
    Discovery *self = probe->discovery;
    if (probe->is_over)
        return;
    probe->is_over = true;
    g_hash_table_remove(self->probes, probe);
    tell(self, &probe->row);
    g_idle_add(probe_free, probe);
    go_on(self);
}

static void probe_failed(Probe *probe, const Error *err) {
    if (probe->is_over)
        return;
    g_autofree char *text = error_text(err);
    if (!found_host_has(&probe->row, FOUND_HOST_FIELD_STATE))
        found_host_set_state(
            &probe->row, err->code == ERROR_UNSUPPORTED ? FOUND_STATE_OTHER_VERSION : FOUND_STATE_FOREIGN);
    if (!probe->row.detail)
        found_host_set_detail(&probe->row, text);
    probe_end(probe);
}

/* Its certificate says most of it. Only with one that has no owner, or is ours, hands are shaken. */
static bool note_shown(const TlsShown *shown, void *data, Error *err) {
    Probe *probe = data;
    const Discovery *self = probe->discovery;
    if (probe->is_over) /* the discovery may be gone */
        return error_set(err, ERROR_CANCELLED, NULL, "the search has ended");
    const char *id = tls_shown_name(shown, TLS_URI_PREFIX "host:"),
               *owner = tls_shown_name(shown, TLS_URI_PREFIX "owner:");
    if (!id || !is_uuid(id) || !shown->key_fingerprint)
        return error_set(err, ERROR_DENIED, NULL, "what answers shows no certificate of an agent");
    found_host_set_id(&probe->row, id);
    found_host_set_key(&probe->row, shown->key_fingerprint);
    if (!owner)
        return true;
    if (is_uuid(owner))
        found_host_set_owner(&probe->row, owner);
    if (strcmp(owner, host_authority_manager(self->means->authority)) == 0)
        return true; /* whether that is true its key will tell */
    found_host_set_state(&probe->row, FOUND_STATE_OWNED);
    found_host_set_detail(&probe->row, "another manager owns it");
    return error_set(err, ERROR_NOT_OWNER, NULL, "another manager owns it");
}

static void greeted(const json_t *result, const Error *err, void *data) {
    Probe *probe = data;
    g_auto(AgentIdentity) identity = {0};
    g_auto(Error) fault = {0};
    if (probe->is_over)
        return;
    const DiscoveryMeans *means = probe->discovery->means;
    if (err || !agent_identity_decode(result, MODEL_STORED, &identity, &fault)) {
        probe_failed(probe, err ? err : &fault);
        return;
    }
    const Object *known = inventory_get(means->inventory, RESOURCE_HOST, probe->row.id);
    bool is_ours = known && g_strcmp0(((const Host *)known->data)->key, probe->row.key) == 0;
    found_host_set_name(&probe->row, is_ours ? known->name : identity.name);
    found_host_set_version(&probe->row, identity.version);
    if (agent_identity_has(&identity, AGENT_IDENTITY_FIELD_DRIVER))
        found_host_set_driver(&probe->row, identity.driver);
    if (is_ours) {
        found_host_set_state(&probe->row, FOUND_STATE_OURS);
    } else if (!identity.owner) {
        found_host_set_state(&probe->row, FOUND_STATE_NEW);
        if (known)
            found_host_set_detail(
                &probe->row, "its id is that of a host that is managed already, with another key");
    } else {
        found_host_set_owner(&probe->row, identity.owner);
        found_host_set_state(&probe->row, FOUND_STATE_OWNED);
        if (strcmp(identity.owner, host_authority_manager(means->authority)) == 0)
            found_host_set_detail(&probe->row, "this manager owned it and does not know it any more");
    }
    probe_end(probe);
}

static void on_ready(RpcConnection *connection, void *data) {
    const Probe *probe = data;
    if (probe->is_over)
        return;
    const char *manager = host_authority_manager(probe->discovery->means->authority);
    rpc_call(connection, "hello", json_pack("{ss si}", "manager", manager, "epoch", 0), NULL, PROBE_MS,
        greeted, NULL, data);
}

static void on_closed(RpcConnection *connection G_GNUC_UNUSED, const Error *why, void *data) {
    probe_failed(data, why);
}

static void connected(RpcStream *take_stream, const Error *err, void *data) {
    Probe *probe = data;
    probe->connecting = NULL;
    if (err) {
        found_host_set_state(&probe->row, FOUND_STATE_UNREACHABLE);
        probe_failed(probe, err);
        return;
    }
    const RpcOptions options = {.on_ready = on_ready,
        .on_closed = on_closed,
        .data = probe,
        .software = "lodged " LODGE_VERSION,
        .lowest_version = 1,
        .highest_version = 1,
        .hello_ms = PROBE_MS};
    probe->connection = rpc_connection_new(take_stream, RPC_INITIATOR, &options);
}

static void begin_probe(Discovery *self, size_t index) {
    const RpcTarget *target = target_at(self->shared, index);
    const RpcAddress address = {.host = target->host, .port = target->port};
    g_autofree char *text = text_of(target);
    Probe *probe = g_new0(Probe, 1);
    probe->discovery = self;
    found_host_set_address(&probe->row, text);
    g_hash_table_add(self->probes, probe);
    const RpcConnectOptions options = {
        .tls = {.credentials = host_authority_credentials(self->means->authority),
            .check = note_shown,
            .data = probe},
        .timeout_ms = PROBE_MS};
    probe->connecting = rpc_connect(self->means->connector, &address, &options, connected, probe);
}

/* ---- the main loop's side ---- */

static void reached_clear(void *data) {
    g_free(((Reached *)data)->fault);
}

static void shared_free(Shared *shared) {
    rpc_targets_clear(&shared->targets);
    g_array_unref(shared->reached);
    g_array_unref(shared->addresses);
    g_array_unref(shared->indices);
    g_hash_table_unref(shared->silent_look);
    cancel_unref(shared->cancel);
    error_clear(&shared->err);
    g_mutex_clear(&shared->lock);
    g_free(shared);
}

static void discovery_free(Discovery *self) {
    g_clear_handle_id(&self->batch_source, g_source_remove);
    GHashTableIter each;
    void *probe;
    g_hash_table_iter_init(&each, self->probes);
    while (g_hash_table_iter_next(&each, &probe, NULL))
        probe_free(probe); /* ended early: not inside of any of them */
    g_hash_table_unref(self->probes);
    g_queue_free(self->open);
    g_free(self);
}

static void go_on(Discovery *self) {
    while (!g_queue_is_empty(self->open) && g_hash_table_size(self->probes) < PROBES_AT_ONCE)
        begin_probe(self, GPOINTER_TO_SIZE(g_queue_pop_head(self->open)));
    if (!self->is_scanned || g_hash_table_size(self->probes) > 0)
        return;
    Shared *shared = self->shared;
    self->on_end(error_is_set(&shared->err) ? &shared->err : NULL, self->data);
    discovery_free(self);
    shared_free(shared);
}

static void take_reached(Discovery *self) {
    Shared *shared = self->shared;
    GArray *reached = g_array_new(FALSE, FALSE, sizeof(Reached));
    g_array_set_clear_func(reached, reached_clear);
    g_mutex_lock(&shared->lock);
    GArray *taken = shared->reached;
    shared->reached = reached;
    g_mutex_unlock(&shared->lock);
    for (guint i = 0; i < taken->len; i++) {
        const Reached *one = &g_array_index(taken, Reached, i);
        if (one->reach == RPC_REACH_OPEN)
            g_queue_push_tail(self->open, GSIZE_TO_POINTER(one->target));
        else
            tell_no_agent(self, one);
    }
    g_array_unref(taken);
}

static gboolean batch(void *data) {
    Discovery *self = data;
    take_reached(self);
    go_on(self);
    return G_SOURCE_CONTINUE;
}

static void searched(void *data) {
    Shared *shared = data;
    Discovery *self = shared->discovery;
    if (!self) {
        shared_free(shared);
        return;
    }
    g_clear_handle_id(&self->batch_source, g_source_remove);
    take_reached(self);
    self->is_scanned = true;
    go_on(self);
}

static bool add_targets(RpcTargets *targets, const HostDiscover *asked, Error *err) {
    for (size_t i = 0; i < asked->addresses.n; i++)
        if (!rpc_targets_add(targets, asked->addresses.items[i], err))
            return false;
    for (size_t i = 0; i < asked->more.n; i++) {
        g_autofree char *line =
            g_strstrip(g_strndup(asked->more.items[i], strcspn(asked->more.items[i], "#")));
        if (*line && !rpc_targets_add(targets, line, err))
            return false;
    }
    return targets->addresses->len > 0 ||
           error_set(err, ERROR_INVALID, "/addresses", "addresses: name some, or a file with some");
}

Discovery *discovery_begin(const DiscoveryMeans *means, const HostDiscover *asked, DiscoveryRowFn on_row,
    DiscoveryEndFn on_end, void *data, Error *err) {
    Shared *shared = g_new0(Shared, 1);
    rpc_targets_init(&shared->targets);
    shared->scan = (RpcScanOptions){.most_a_second = (int)asked->rate, .timeout_ms = (int)asked->timeout_ms};
    shared->tells_all = asked->all;
    shared->cancel = cancel_new();
    g_mutex_init(&shared->lock);
    shared->reached = g_array_new(FALSE, FALSE, sizeof(Reached));
    g_array_set_clear_func(shared->reached, reached_clear);
    shared->addresses = g_array_new(FALSE, FALSE, sizeof(RpcSocketAddress));
    shared->indices = g_array_new(FALSE, FALSE, sizeof(size_t));
    shared->silent_look = g_hash_table_new(NULL, NULL);
    if (!add_targets(&shared->targets, asked, err) ||
        !work_pool_add(means->pool, search, searched, shared, err)) {
        shared_free(shared);
        return NULL;
    }
    Discovery *self = g_new0(Discovery, 1);
    *self = (Discovery){.means = means,
        .shared = shared,
        .on_row = on_row,
        .on_end = on_end,
        .data = data,
        .open = g_queue_new(),
        .probes = g_hash_table_new(NULL, NULL)};
    shared->discovery = self;
    self->batch_source = g_timeout_add(BATCH_MS, batch, self);
    return self;
}

void discovery_end(Discovery *discovery) {
    Shared *shared = discovery->shared;
    bool is_scanned = discovery->is_scanned;
    cancel_trigger(shared->cancel);
    shared->discovery = NULL;
    discovery_free(discovery);
    if (is_scanned)
        shared_free(shared);
}
