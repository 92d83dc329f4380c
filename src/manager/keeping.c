/* Changes are collected for a moment; then each host that answers is compared with what it was given. */
#include "manager/keeping.h"
#include <string.h>
#include "base/log.h"
#include "manager/repository-hosts.h"
#include "rpc/rpc-frame.h"

enum { COLLECT_MS = 500, MOST_BYTES = RPC_MAX_FRAME - 65536, MOST_OF_EACH = 4096 };

struct Keeping {
    Inventory *inventory;
    Fleet *fleet;
    GHashTable *given; /* host id -> digest of what it has; absent: not known */
    GHashTable *due;   /* ids of hosts that something concerns which has changed */
    guint source;
    int subscription;
};

/* ---- what a host is to keep ---- */

static const char *keeper_of(Inventory *inventory, const char *repository_id) {
    const Object *object =
        repository_id ? inventory_get(inventory, RESOURCE_REPOSITORY, repository_id) : NULL;
    return object ? repository_worker(inventory, object->data) : NULL;
}

/* Per-host bridges of others make it long: the host's own one says enough. */
static json_t *network_for(const Network *network, const char *host_id, bool is_short) {
    json_t *json = network_encode(network, MODEL_ENCODE_DEFINITION);
    json_t *bridges = json_object_get(json, "bridges");
    for (size_t i = json_array_size(bridges); is_short && i > 0; i--)
        if (g_strcmp0(json_text_at(json_array_get(bridges, i - 1), "host"), host_id) != 0)
            json_array_remove(bridges, i - 1);
    return json;
}

static json_t *networks_of(Inventory *inventory, const Host *host, bool is_short) {
    const GPtrArray *all = inventory_list(inventory, RESOURCE_NETWORK);
    json_t *networks = json_array();
    for (guint i = 0; i < all->len && json_array_size(networks) < MOST_OF_EACH; i++) {
        const Network *network = ((const Object *)all->pdata[i])->data;
        if (g_strcmp0(network->pool, host->pool) == 0)
            json_array_append_new(networks, network_for(network, host->id, is_short));
    }
    return networks;
}

static json_t *repositories_of(Inventory *inventory, const Host *host) {
    const GPtrArray *all = inventory_list(inventory, RESOURCE_REPOSITORY);
    json_t *repositories = json_array();
    for (guint i = 0; i < all->len && json_array_size(repositories) < MOST_OF_EACH; i++) {
        const Repository *repository = ((const Object *)all->pdata[i])->data;
        if (repository_is_of(repository, host))
            json_array_append_new(repositories, repository_encode(repository, MODEL_ENCODE_DEFINITION));
    }
    return repositories;
}

/* In repositories of the host. What all hosts of a pool see is kept by the one that works on it. */
static json_t *content_of(Inventory *inventory, const Host *host, ResourceId kind) {
    const GPtrArray *all = inventory_list(inventory, kind);
    json_t *content = json_array();
    for (guint i = 0; i < all->len; i++) {
        const Object *object = all->pdata[i];
        if (g_strcmp0(keeper_of(inventory, repository_of_content(kind, object->data)), host->id) == 0)
            json_array_append_new(
                content, model_encode(resources[kind].type, object->data, MODEL_ENCODE_DEFINITION));
    }
    return content;
}

/* Its secret stays here: whoever reads the host's disk must not join others to the pool. */
static json_t *pool_of(Inventory *inventory, const Host *host) {
    const Object *object = host->pool ? inventory_get(inventory, RESOURCE_POOL, host->pool) : NULL;
    json_t *pool = object ? pool_encode(object->data, MODEL_ENCODE_DEFINITION) : NULL;
    json_object_del(pool, "enrol_secret");
    return pool;
}

static json_t *keepsake_for(Inventory *inventory, const Host *host, bool is_short) {
    return json_pack("{so so* so so so so}", "host", host_encode(host, MODEL_ENCODE_DEFINITION), "pool",
        pool_of(inventory, host), "networks", networks_of(inventory, host, is_short), "repositories",
        repositories_of(inventory, host), "templates", content_of(inventory, host, RESOURCE_TEMPLATE), "isos",
        content_of(inventory, host, RESOURCE_ISO));
}

/* ---- giving it ---- */

typedef struct Giving {
    Keeping *keeping;
    char *host_id, *digest;
} Giving;

static void given(const json_t *result G_GNUC_UNUSED, const Error *err, void *data) {
    Giving *giving = data;
    if (err && err->code != ERROR_UNREACHABLE)
        log_debug("the host %s does not keep what it is given: %s", giving->host_id, err->message);
    if (err && err->code == ERROR_UNREACHABLE) /* it is given anew when it is back */
        g_hash_table_remove(giving->keeping->given, giving->host_id);
    g_free(giving->host_id);
    g_free(giving->digest);
    g_free(giving);
}

static int64_t revision_of(Store *store) {
    g_auto(StoreRange) range = {0};
    return store_range(store, "pool/", NULL, 1, &range, NULL) ? range.revision : 0; /* any read tells it */
}

static void give(Keeping *self, const Host *host) {
    json_t *keepsake = keepsake_for(self->inventory, host, false);
    g_autofree char *text = json_to_text(keepsake);
    if (strlen(text) > MOST_BYTES) {
        json_decref(keepsake);
        keepsake = keepsake_for(self->inventory, host, true);
        g_free(text);
        text = json_to_text(keepsake);
    }
    g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
    bool is_known = g_strcmp0(g_hash_table_lookup(self->given, host->id), digest) == 0;
    if (is_known || strlen(text) > MOST_BYTES) {
        if (!is_known)
            log_warning("the host %s cannot keep its pool's definitions: they are too long", host->name);
        json_decref(keepsake);
        return;
    }
    Store *store = inventory_store(self->inventory);
    json_object_set_new(keepsake, "epoch", json_integer((json_int_t)store_epoch(store)));
    json_object_set_new(keepsake, "revision", json_integer((json_int_t)revision_of(store)));
    g_hash_table_replace(self->given, g_strdup(host->id), g_strdup(digest));
    Giving *giving = g_new0(Giving, 1);
    *giving = (Giving){self, g_strdup(host->id), g_steal_pointer(&digest)};
    fleet_ask(self->fleet, host->id, AGENT_METHOD_KEEP, keepsake, given, giving);
}

static bool is_there(const Host *host) {
    return host_has(host, HOST_FIELD_STATUS) &&
           (host->status.state == HOST_STATE_CONNECTED || host->status.state == HOST_STATE_DEGRADED ||
               host->status.state == HOST_STATE_STOPPING);
}

static gboolean give_due(void *data) {
    Keeping *self = data;
    GHashTableIter each;
    void *id;
    self->source = 0;
    g_hash_table_iter_init(&each, self->due);
    while (g_hash_table_iter_next(&each, &id, NULL)) {
        const Object *object = inventory_get(self->inventory, RESOURCE_HOST, id);
        if (object && is_there(object->data))
            give(self, object->data);
    }
    g_hash_table_remove_all(self->due);
    return G_SOURCE_REMOVE;
}

static void give_soon(Keeping *self, const char *host_id) {
    g_hash_table_add(self->due, g_strdup(host_id));
    if (!self->source)
        self->source = g_timeout_add(COLLECT_MS, give_due, self);
}

/* All hosts of a pool; NULL: all. */
static void give_pool_soon(Keeping *self, const char *pool) {
    const GPtrArray *hosts = inventory_list(self->inventory, RESOURCE_HOST);
    for (guint i = 0; i < hosts->len; i++) {
        const Host *host = ((const Object *)hosts->pdata[i])->data;
        if (!pool || g_strcmp0(host->pool, pool) == 0)
            give_soon(self, host->id);
    }
}

void keeping_connected(Keeping *self, const char *host_id) {
    g_hash_table_remove(self->given, host_id); /* its agent may be another one, or not have it any more */
    give_soon(self, host_id);
}

static void repository_changed(Keeping *self, const Repository *repository) {
    if (repository->host)
        give_soon(self, repository->host);
    else
        give_pool_soon(self, repository->pool);
}

static void object_changed(Keeping *self, ResourceId kind, const char *id) {
    const Object *object = inventory_get(self->inventory, kind, id);
    const char *keeper = NULL;
    switch (kind) {
    case RESOURCE_HOST:
        give_soon(self, id);
        break;
    case RESOURCE_POOL:
        give_pool_soon(self, id);
        break;
    case RESOURCE_NETWORK:
        give_pool_soon(self, object ? ((const Network *)object->data)->pool : NULL);
        break;
    case RESOURCE_REPOSITORY:
        if (object)
            repository_changed(self, object->data);
        break;
    default:
        keeper = object ? keeper_of(self->inventory, repository_of_content(kind, object->data)) : NULL;
        if (keeper)
            give_soon(self, keeper);
    }
}

/* What goes is announced while it is still there. */
static void on_event(const Event *event, void *data) {
    static const ResourceId kinds[] = {
        RESOURCE_HOST, RESOURCE_POOL, RESOURCE_NETWORK, RESOURCE_REPOSITORY, RESOURCE_TEMPLATE, RESOURCE_ISO};
    bool is_definition = g_str_equal(event->kind, "created") || g_str_equal(event->kind, "changed") ||
                         g_str_equal(event->kind, "deleted");
    const char *slash = is_definition && event->object ? strchr(event->object, '/') : NULL;
    for (size_t i = 0; slash && i < G_N_ELEMENTS(kinds); i++) {
        const char *name = resources[kinds[i]].name;
        if (strlen(name) == (size_t)(slash - event->object) && g_str_has_prefix(event->object, name))
            object_changed(data, kinds[i], slash + 1);
    }
}

Keeping *keeping_new(Inventory *inventory, Fleet *fleet) {
    Keeping *self = g_new0(Keeping, 1);
    *self = (Keeping){.inventory = inventory,
        .fleet = fleet,
        .given = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free),
        .due = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL)};
    self->subscription = inventory_subscribe(inventory, on_event, self);
    return self;
}

void keeping_free(Keeping *self) {
    if (!self)
        return;
    inventory_unsubscribe(self->inventory, self->subscription);
    g_clear_handle_id(&self->source, g_source_remove);
    g_hash_table_unref(self->given);
    g_hash_table_unref(self->due);
    g_free(self);
}
