/* One round for each host: network after network, so that no host is asked for all of them at once. */
#include "manager/network-hosts.h"
#include <string.h>
#include "engine/network-state.h"

enum { AGAIN_S = 30, LONGEST_REASON = 250 };

typedef struct Round {
    NetworkHosts *all;
    char *host_id;
    GPtrArray *network_ids;
    guint next;
} Round;

struct NetworkHosts {
    Inventory *inventory;
    Fleet *fleet;
    GHashTable *connected; /* ids of hosts: known to answer */
    GHashTable *rounds;    /* host id -> Round under way */
    int subscription;
    guint again_source, rows_source;
};

/* ---- the rows of a network ---- */

static bool is_away(const Host *host) {
    switch (host->status.state) {
    case HOST_STATE_UNKNOWN:
    case HOST_STATE_CONNECTING:
    case HOST_STATE_UNREACHABLE:
    case HOST_STATE_REFUSED:
        return true;
    default:
        return false;
    }
}

static void set_row(NetworkHost *row, NetworkState state, const char *bridge, const char *reason) {
    g_autofree char *start =
        reason ? g_utf8_substring(reason, 0, MIN(g_utf8_strlen(reason, -1), LONGEST_REASON)) : NULL;
    network_host_set_state(row, state);
    network_host_set_bridge(row, bridge);
    network_host_set_reason(row, start);
}

/* Hosts of other pools have no row, though a NAT network may be made there. */
static void show(Inventory *inventory, Network *network, const Host *host, NetworkState state,
    const char *bridge, const char *reason) {
    if (g_strcmp0(network->pool, host->pool) != 0)
        return;
    NetworkStatus *status = network_put_status(network);
    NetworkHost *row = network_state_of_host(status, host->name);
    g_auto(NetworkHost) before = {0};
    if (row)
        network_host_copy(&before, row);
    else
        network_host_set_host(row = network_status_add_hosts(status), host->name);
    set_row(row, state, bridge, reason);
    if (model_equal(&network_host_type, &before, row))
        return;
    network_state_sum(status);
    inventory_runtime_changed_soon(inventory, RESOURCE_NETWORK, network->id);
}

static void show_unknown(Inventory *inventory, Network *network, const Host *host) {
    show(inventory, network, host, NETWORK_STATE_UNKNOWN, NULL,
        is_away(host) ? "the host is not connected" : "the host was not asked yet");
}

/* A row for each host of the pool, in the order of their names, and none for others. */
static void renew_rows(Inventory *inventory, Network *network) {
    const GPtrArray *hosts = inventory_list(inventory, RESOURCE_HOST);
    g_auto(NetworkStatus) before = {0};
    NetworkStatus *status = network_put_status(network);
    network_status_copy(&before, status);
    network_status_clear(status);
    for (guint i = 0; i < hosts->len; i++) {
        const Host *host = ((const Object *)hosts->pdata[i])->data;
        const NetworkHost *row = network_state_of_host(&before, host->name);
        if (g_strcmp0(network->pool, host->pool) != 0)
            continue;
        if (row)
            network_host_copy(network_status_add_hosts(status), row);
        else
            show_unknown(inventory, network, host);
    }
    network_state_sum(status);
    if (!model_equal(&network_status_type, &before, status))
        inventory_runtime_changed_soon(inventory, RESOURCE_NETWORK, network->id);
}

static gboolean renew_all_rows(void *data) {
    NetworkHosts *self = data;
    const GPtrArray *networks = inventory_list(self->inventory, RESOURCE_NETWORK);
    self->rows_source = 0;
    for (guint i = 0; i < networks->len; i++)
        renew_rows(self->inventory,
            inventory_runtime(self->inventory, RESOURCE_NETWORK, ((const Object *)networks->pdata[i])->id));
    return G_SOURCE_REMOVE;
}

/* ---- telling one host ---- */

static const char *bridge_on(const Network *network, const char *host_id) {
    for (size_t i = 0; i < network->bridges.n; i++)
        if (g_strcmp0(network->bridges.items[i].host, host_id) == 0)
            return network->bridges.items[i].bridge;
    return network->bridge;
}

json_t *network_definition(const Network *network, const char *host_id) {
    json_t *definition = network_encode(network, MODEL_ENCODE_DEFINITION);
    const char *bridge = bridge_on(network, host_id);
    json_object_del(definition, network_type.fields[NETWORK_FIELD_BRIDGES].name);
    if (bridge)
        json_object_set_new(definition, network_type.fields[NETWORK_FIELD_BRIDGE].name, json_string(bridge));
    return definition;
}

typedef struct Asked {
    Inventory *inventory;
    char *network_id, *host_id;
    NetworkWish wish;
    NetworkAppliedFn done;
    void *data;
} Asked;

/* What says nothing of the network itself: an agent of an older version finds no such method. */
static bool is_no_answer(const Error *err) {
    return err->code == ERROR_UNREACHABLE || err->code == ERROR_TIMED_OUT || err->code == ERROR_BUSY ||
           err->code == ERROR_UNSUPPORTED || (err->code == ERROR_NOT_FOUND && !err->field);
}

static void show_answer(const Asked *asked, const Network *opened, const Error *err) {
    Network *network = inventory_runtime(asked->inventory, RESOURCE_NETWORK, asked->network_id);
    const Object *host = inventory_get(asked->inventory, RESOURCE_HOST, asked->host_id);
    if (!network || !host || asked->wish == NETWORK_GONE)
        return;
    g_autofree char *text = err ? error_text(err) : NULL;
    if (!err)
        show(asked->inventory, network, host->data, NETWORK_STATE_ACTIVE, opened->bridge, NULL);
    else if (is_no_answer(err))
        show(asked->inventory, network, host->data, NETWORK_STATE_UNKNOWN, NULL, text);
    else
        show(asked->inventory, network, host->data, NETWORK_STATE_FAILED, bridge_on(network, asked->host_id),
            text);
}

static void applied(const json_t *result, const Error *err, void *data) {
    Asked *asked = data;
    g_auto(AgentNetwork) answer = {0};
    g_auto(Error) fault = {0};
    if (!err && !agent_network_decode(result, MODEL_STORED, &answer, &fault))
        err = &fault;
    show_answer(asked, &answer.network, err);
    if (asked->done)
        asked->done(asked->host_id, err ? NULL : &answer.network, err, asked->data);
    g_free(asked->network_id);
    g_free(asked->host_id);
    g_free(asked);
}

void network_apply(Fleet *fleet, Inventory *inventory, const Network *network, const char *host_id,
    NetworkWish wish, NetworkAppliedFn done, void *data) {
    Asked *asked = g_new0(Asked, 1);
    *asked = (Asked){.inventory = inventory,
        .network_id = g_strdup(network->id),
        .host_id = g_strdup(host_id),
        .wish = wish,
        .done = done,
        .data = data};
    json_t *message = json_pack("{so}", "network", network_definition(network, host_id));
    if (wish == NETWORK_GONE)
        json_object_set_new(message, "gone", json_true());
    fleet_ask(fleet, host_id, AGENT_METHOD_NETWORK_APPLY, message, applied, asked);
}

/* ---- rounds ---- */

static void ask_next(Round *round);

static void end_round(Round *round) {
    g_hash_table_remove(round->all->rounds, round->host_id); /* frees it */
}

static void round_free(void *data) {
    Round *round = data;
    g_ptr_array_unref(round->network_ids);
    g_free(round->host_id);
    g_free(round);
}

/* A host that is away is asked for all anew when it is back. */
static void answered(
    const char *host_id G_GNUC_UNUSED, const Network *opened G_GNUC_UNUSED, const Error *err, void *data) {
    if (err && err->code == ERROR_UNREACHABLE)
        end_round(data);
    else
        ask_next(data);
}

static void ask_next(Round *round) {
    const NetworkHosts *all = round->all;
    const Object *network = NULL;
    while (!network && round->next < round->network_ids->len)
        network = inventory_get(all->inventory, RESOURCE_NETWORK, round->network_ids->pdata[round->next++]);
    if (network)
        network_apply(
            all->fleet, all->inventory, network->data, round->host_id, NETWORK_HERE, answered, round);
    else
        end_round(round);
}

/* One that is under way ends with what it was begun for, and the host is asked again behind it. */
static void begin_round(NetworkHosts *self, const char *host_id, GPtrArray *take_network_ids) {
    Round *known = g_hash_table_lookup(self->rounds, host_id);
    if (known) {
        g_ptr_array_extend_and_steal(known->network_ids, take_network_ids);
        return;
    }
    Round *round = g_new0(Round, 1);
    *round = (Round){self, g_strdup(host_id), take_network_ids, 0};
    g_hash_table_insert(self->rounds, round->host_id, round);
    ask_next(round);
}

static void ask_for_all(NetworkHosts *self, const char *host_id) {
    const Object *host = inventory_get(self->inventory, RESOURCE_HOST, host_id);
    const GPtrArray *networks = inventory_list(self->inventory, RESOURCE_NETWORK);
    GPtrArray *ids = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; host && i < networks->len; i++) {
        const Object *network = networks->pdata[i];
        if (g_strcmp0(((const Network *)network->data)->pool, ((const Host *)host->data)->pool) == 0)
            g_ptr_array_add(ids, g_strdup(network->id));
    }
    begin_round(self, host_id, ids);
}

static void ask_all_for(NetworkHosts *self, const Network *network) {
    g_autoptr(GPtrArray) hosts = network_hosts_of(self->inventory, network->pool);
    for (guint i = 0; i < hosts->len; i++) {
        GPtrArray *ids = g_ptr_array_new_with_free_func(g_free);
        g_ptr_array_add(ids, g_strdup(network->id));
        begin_round(self, hosts->pdata[i], ids);
    }
}

/* A bridge may be there by now. */
static gboolean ask_again(void *data) {
    NetworkHosts *self = data;
    const GPtrArray *networks = inventory_list(self->inventory, RESOURCE_NETWORK);
    for (guint i = 0; i < networks->len; i++) {
        const Network *network = ((const Object *)networks->pdata[i])->data;
        for (size_t k = 0; k < network->status.hosts.n; k++) {
            const NetworkHost *row = &network->status.hosts.items[k];
            const Object *host = inventory_find(self->inventory, RESOURCE_HOST, row->host, NULL);
            if (row->state != NETWORK_STATE_FAILED || !host)
                continue;
            GPtrArray *ids = g_ptr_array_new_with_free_func(g_free);
            g_ptr_array_add(ids, g_strdup(network->id));
            begin_round(self, host->id, ids);
        }
    }
    return G_SOURCE_CONTINUE;
}

/* ---- what happens ---- */

void network_hosts_connected(NetworkHosts *self, const char *host_id) {
    g_hash_table_add(self->connected, g_strdup(host_id));
    ask_for_all(self, host_id);
}

static void host_is_away(NetworkHosts *self, const Host *host) {
    const GPtrArray *networks = inventory_list(self->inventory, RESOURCE_NETWORK);
    for (guint i = 0; i < networks->len; i++)
        show_unknown(self->inventory,
            inventory_runtime(self->inventory, RESOURCE_NETWORK, ((const Object *)networks->pdata[i])->id),
            host);
}

static void on_host_event(NetworkHosts *self, const char *what, const char *host_id) {
    const Object *host = inventory_get(self->inventory, RESOURCE_HOST, host_id);
    bool is_runtime = g_str_equal(what, "runtime");
    if (is_runtime && host && is_away(host->data) && g_hash_table_remove(self->connected, host_id))
        host_is_away(self, host->data);
    if (is_runtime)
        return;
    if (g_str_equal(what, "deleted"))
        g_hash_table_remove(self->connected, host_id);
    if (!self->rows_source) /* not inside of the event: what is deleted is still listed */
        self->rows_source = g_idle_add(renew_all_rows, self);
    if (g_str_equal(what, "changed") && g_hash_table_contains(self->connected, host_id))
        ask_for_all(self, host_id);
}

/* Jobs on networks ask the hosts themselves, and tell what came of it. */
static bool is_of_network_job(const NetworkHosts *self, const Event *event) {
    const Object *job = inventory_get(self->inventory, RESOURCE_JOB, event->job);
    return job && g_str_has_prefix(((const Job *)job->data)->kind, "network.");
}

static void on_event(const Event *event, void *data) {
    NetworkHosts *self = data;
    bool is_definition = g_str_equal(event->kind, "created") || g_str_equal(event->kind, "changed");
    if (event->object && g_str_has_prefix(event->object, "host/"))
        on_host_event(self, event->kind, event->object + strlen("host/"));
    if (!event->object || !g_str_has_prefix(event->object, "network/") || !is_definition)
        return;
    const char *id = event->object + strlen("network/");
    Network *network = inventory_runtime(self->inventory, RESOURCE_NETWORK, id);
    if (!network)
        return;
    renew_rows(self->inventory, network);
    if (!is_of_network_job(self, event))
        ask_all_for(self, network);
}

NetworkHosts *network_hosts_new(Inventory *inventory, Fleet *fleet) {
    NetworkHosts *self = g_new0(NetworkHosts, 1);
    *self = (NetworkHosts){.inventory = inventory, .fleet = fleet};
    self->connected = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    self->rounds = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, round_free);
    self->subscription = inventory_subscribe(inventory, on_event, self);
    self->again_source = g_timeout_add_seconds(AGAIN_S, ask_again, self);
    renew_all_rows(self);
    return self;
}

void network_hosts_free(NetworkHosts *self) {
    if (!self)
        return;
    inventory_unsubscribe(self->inventory, self->subscription);
    g_clear_handle_id(&self->again_source, g_source_remove);
    g_clear_handle_id(&self->rows_source, g_source_remove);
    g_hash_table_unref(self->rounds);
    g_hash_table_unref(self->connected);
    g_free(self);
}

/* ---- for others ---- */

GPtrArray *network_hosts_of(Inventory *inventory, const char *pool_id) {
    const GPtrArray *all = inventory_list(inventory, RESOURCE_HOST);
    GPtrArray *ids = g_ptr_array_new();
    for (guint i = 0; i < all->len; i++) {
        const Object *object = all->pdata[i];
        const Host *host = object->data;
        if (!is_away(host) && (!pool_id || g_strcmp0(host->pool, pool_id) == 0))
            g_ptr_array_add(ids, object->id);
    }
    return ids;
}

bool vm_networks_are_on(Inventory *inventory, const Vm *vm, const Host *host, Error *err) {
    for (size_t i = 0; i < vm->nics.n; i++) {
        const Object *object = inventory_get(inventory, RESOURCE_NETWORK, vm->nics.items[i].network);
        const Network *network = object ? object->data : NULL;
        const NetworkHost *row = network ? network_state_of_host(&network->status, host->name) : NULL;
        if (row && row->state == NETWORK_STATE_FAILED)
            return error_set(err, ERROR_CONFLICT, "/to_host", "%s lacks the network %s: %s", host->name,
                network->name, row->reason ? row->reason : "it failed there");
    }
    return true;
}
