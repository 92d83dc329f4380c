/* In the order in which it happens: visits, what hosts keep is merged, where each is reached, all of it
 * stored. */
#include <string.h>
#include "manager/host-visit.h"
#include "manager/rebuild-steps.h"
#include "manager/repository-hosts.h"
#include "model/format.h"

enum { VISITS_AT_ONCE = 32, OBJECTS_AT_ONCE = 16, MOST_NAMES = 1000, LONGEST_BASE = 58 };
#define POOL_NAME "recovered"

/* In this order they are stored: a host that is stored is connected to, and told what to keep. */
static const ResourceId kinds[] = {
    RESOURCE_POOL, RESOURCE_NETWORK, RESOURCE_REPOSITORY, RESOURCE_TEMPLATE, RESOURCE_ISO, RESOURCE_HOST};
enum { POOLS, NETWORKS, REPOSITORIES, TEMPLATES, ISOS, HOSTS, KINDS };

typedef struct Taking {
    JobRun *run;
    size_t next, n_open;
    GHashTable *objects[KINDS]; /* id -> json_t, the newest definition of each */
    GHashTable *names;          /* "kind/name", taken by this */
    json_t *moves, *taken, *lost;
    GPtrArray *order; /* what is stored: Put */
    guint n_put;
} Taking;

typedef struct Put {
    size_t kind;
    json_t *definition; /* borrowed */
} Put;

static void release_json(void *data) {
    json_decref(data);
}

static void taking_free(Taking *self) {
    for (size_t i = 0; i < KINDS; i++)
        g_hash_table_unref(self->objects[i]);
    g_hash_table_unref(self->names);
    g_ptr_array_unref(self->order);
    json_decref(self->moves);
    json_decref(self->taken);
    json_decref(self->lost);
    g_free(self);
}

static void take_end(Taking *self, const Error *err) {
    JobRun *run = self->run;
    job_remember(run, "moves", json_incref(self->moves));
    job_remember(run, "taken", json_incref(self->taken));
    job_remember(run, "not_found", json_incref(self->lost));
    taking_free(self);
    if (err)
        job_step_failed(run, err);
    else
        job_step_done(run);
}

/* ---- the newest of several hosts wins ---- */

static int64_t number_of(const json_t *definition, const char *name) {
    return json_integer_value(json_object_get(definition, name));
}

static bool is_newer(const json_t *definition, const json_t *than) {
    int64_t epoch = number_of(definition, "epoch"), before = number_of(than, "epoch");
    return epoch != before ? epoch > before : number_of(definition, "revision") > number_of(than, "revision");
}

static void merge(Taking *self, size_t kind, const json_t *definition) {
    const char *id = json_text_at(definition, "id");
    if (!id || !is_uuid(id))
        return;
    const json_t *known = g_hash_table_lookup(self->objects[kind], id);
    if (!known || is_newer(definition, known))
        g_hash_table_replace(self->objects[kind], g_strdup(id), json_deep_copy(definition));
}

static void merge_list(Taking *self, size_t kind, const json_t *list) {
    size_t i;
    json_t *definition;
    json_array_foreach ((json_t *)list, i, definition)
        merge(self, kind, definition);
}

/* Hosts do not know what is secret of a pool. */
static void take_secrets(Taking *self) {
    size_t i;
    json_t *pool;
    json_array_foreach (json_object_get(job_parameters(self->run), "kit_pools"), i, pool) {
        merge(self, POOLS, pool);
        const char *id = json_text_at(pool, "id");
        json_t *newest = id ? g_hash_table_lookup(self->objects[POOLS], id) : NULL;
        if (newest && !json_object_get(newest, "enrol_secret") && json_object_get(pool, "enrol_secret"))
            json_object_set(newest, "enrol_secret", json_object_get(pool, "enrol_secret"));
    }
}

/* Only the host from which a VM moves knows whether it has left. */
static void take_moves(Taking *self, const char *host_id, const json_t *moves) {
    size_t i;
    json_t *move;
    json_array_foreach ((json_t *)moves, i, move) {
        const char *vm = json_text_at(move, "vm"), *peer = json_text_at(move, "peer");
        if (!vm || !peer || !json_is_true(json_object_get(move, "source")))
            continue;
        /* Of two moves nobody knows which one was later. */
        bool is_known = json_object_get(self->moves, vm) != NULL;
        bool is_working = is_known || json_is_true(json_object_get(move, "working"));
        json_object_set_new(self->moves, vm,
            json_pack("{ss ss sO* sb}", "from", host_id, "to", peer, "left", json_object_get(move, "left"),
                "working", is_working));
    }
}

/* ---- a host that keeps nothing: its agent is older, or was never told ---- */

static const json_t *kit_row(const Taking *self, const char *id) {
    size_t i;
    json_t *host;
    json_array_foreach (json_object_get(job_parameters(self->run), "kit_hosts"), i, host)
        if (g_strcmp0(json_text_at(host, "id"), id) == 0)
            return host;
    return NULL;
}

static json_t *bare_host(const Taking *self, const json_t *found) {
    const json_t *row = kit_row(self, json_text_at(found, "id"));
    const char *name = json_text_at(row, "name");
    g_autofree char *own = json_text_at(found, "name")
                               ? g_ascii_strdown(json_text_at(found, "name"),
                                     (gssize)MIN(strcspn(json_text_at(found, "name"), "."), LONGEST_BASE))
                               : NULL;
    return json_pack("{ss ss ss ss* ss*}", "id", json_text_at(found, "id"), "name",
        name                             ? name
        : is_object_name(own ? own : "") ? own
                                         : "host",
        "address", json_text_at(found, "address"), "pool", json_text_at(row, "pool"), "driver",
        json_text_at(found, "driver"));
}

/* ---- stored ---- */

static bool has_name(Taking *self, ResourceId kind, const char *name) {
    g_autofree char *lower = g_ascii_strdown(name, -1);
    g_autofree char *key = g_strdup_printf("%s/%s", resources[kind].name, lower);
    return inventory_has_name(job_inventory(self->run), kind, name) ||
           !g_hash_table_add(self->names, g_steal_pointer(&key));
}

/* Its own, or with a number behind it. */
static void settle_name(Taking *self, size_t kind, json_t *definition) {
    const char *own = json_text_at(definition, "name");
    g_autofree char *base = g_strdup(own && is_object_name(own) ? own : resources[kinds[kind]].name);
    g_autofree char *name = g_strdup(base);
    for (int i = 2; i < MOST_NAMES && has_name(self, kinds[kind], name); i++) {
        g_free(name);
        name = g_strdup_printf("%.*s-%d", LONGEST_BASE, base, i);
    }
    json_object_set_new(definition, "name", json_string(name));
}

static int compare_puts(const void *a, const void *b) {
    const Put *left = *(const Put *const *)a, *right = *(const Put *const *)b;
    if (left->kind != right->kind)
        return left->kind < right->kind ? -1 : 1;
    return g_strcmp0(json_text_at(left->definition, "id"), json_text_at(right->definition, "id"));
}

static void put_in_order(Taking *self) {
    for (size_t kind = 0; kind < KINDS; kind++) {
        GHashTableIter each;
        void *id, *definition;
        g_hash_table_iter_init(&each, self->objects[kind]);
        while (g_hash_table_iter_next(&each, &id, &definition)) {
            if (inventory_get(job_inventory(self->run), kinds[kind], id))
                continue; /* before a crash, or by a rebuild before this one */
            Put *put = g_new0(Put, 1);
            *put = (Put){kind, definition};
            g_ptr_array_add(self->order, put);
        }
    }
    g_ptr_array_sort(self->order, compare_puts);
}

/* A host may say anything: what is not understood is told and left out. */
static bool put_one(Taking *self, InventoryChange *change, const Put *put) {
    const TypeDescriptor *type = resources[kinds[put->kind]].type;
    void *data = g_malloc0(type->size);
    g_auto(Error) err = {0};
    settle_name(self, put->kind, put->definition);
    bool is_good = model_decode(type, put->definition, MODEL_STORED, data, &err);
    if (is_good) {
        if (put->kind == HOSTS)
            model_apply_defaults(type, data);
        inventory_change_put(change, kinds[put->kind], data);
    } else {
        g_autofree char *text = error_text(&err);
        rebuild_tell_lost(self->lost, json_text_at(put->definition, "address"),
            json_text_at(put->definition, "name"), text, NULL);
    }
    if (is_good && put->kind == HOSTS)
        json_array_append_new(self->taken, json_pack("{ss ss}", "id", json_text_at(put->definition, "id"),
                                               "name", json_text_at(put->definition, "name")));
    model_free(type, data);
    return is_good;
}

static void store_some(const Error *err, void *data) {
    Taking *self = data;
    if (err) {
        take_end(self, err);
        return;
    }
    InventoryChange *change = inventory_change_new(job_inventory(self->run));
    inventory_change_by(change, job_definition(self->run)->principal, job_definition(self->run)->id);
    size_t n = 0;
    while (n < OBJECTS_AT_ONCE && self->n_put < self->order->len)
        n += put_one(self, change, self->order->pdata[self->n_put++]);
    if (n > 0) {
        inventory_commit(job_inventory(self->run), change, store_some, self);
        return;
    }
    inventory_change_free(change);
    take_end(self, NULL);
}

/* The only pool that there is; else one for all hosts of which nobody knows it. */
static const char *pool_for_lost(Taking *self) {
    GHashTableIter each;
    void *id = NULL, *unused;
    const GPtrArray *listed = inventory_list(job_inventory(self->run), RESOURCE_POOL);
    if (g_hash_table_size(self->objects[POOLS]) == 1) {
        g_hash_table_iter_init(&each, self->objects[POOLS]);
        g_hash_table_iter_next(&each, &id, &unused);
        return id;
    }
    if (g_hash_table_size(self->objects[POOLS]) == 0 && listed->len == 1)
        return ((const Object *)listed->pdata[0])->id;
    g_autofree char *new_id = uuid_new();
    json_t *pool = json_pack("{ss ss}", "id", new_id, "name", POOL_NAME);
    char *key = g_steal_pointer(&new_id);
    g_hash_table_replace(self->objects[POOLS], key, pool);
    return key;
}

static void find_pools(Taking *self) {
    const char *fallback = NULL;
    GHashTableIter each;
    void *host;
    g_hash_table_iter_init(&each, self->objects[HOSTS]);
    while (g_hash_table_iter_next(&each, NULL, &host)) {
        const char *pool = json_text_at(host, "pool");
        if (pool && (g_hash_table_contains(self->objects[POOLS], pool) ||
                        inventory_get(job_inventory(self->run), RESOURCE_POOL, pool)))
            continue;
        if (!fallback)
            fallback = pool_for_lost(self);
        json_object_set_new(host, "pool", json_string(fallback));
    }
}

/* What those that were taken before the end tell of: a crash lies between. */
static void note_taken_before(Taking *self) {
    size_t i;
    json_t *found;
    json_array_foreach (json_object_get(job_data(self->run), "found"), i, found) {
        const char *id = json_text_at(found, "id");
        const Object *known = id ? inventory_get(job_inventory(self->run), RESOURCE_HOST, id) : NULL;
        if (known)
            json_array_append_new(self->taken, json_pack("{ss ss}", "id", id, "name", known->name));
    }
}

static void store_all(Taking *self) {
    take_secrets(self);
    find_pools(self);
    note_taken_before(self);
    put_in_order(self);
    store_some(NULL, self);
}

/* ---- where it is reached: its own address, where that leads to it from here ---- */

typedef struct Visiting {
    Taking *taking;
    const json_t *found;
    json_t *host; /* its definition; NULL until it is known */
} Visiting;

static void go_on(Taking *self);

static void visiting_end(Visiting *visiting) {
    Taking *self = visiting->taking;
    json_decref(visiting->host);
    g_free(visiting);
    self->n_open--;
    go_on(self);
}

static void take_host(Visiting *visiting, const char *address) {
    const char *key = json_text_at(visiting->found, "key");
    json_object_set_new(visiting->host, "address", json_string(address));
    if (key)
        json_object_set_new(visiting->host, "key", json_string(key));
    else
        json_object_del(visiting->host, "key");
    merge(visiting->taking, HOSTS, visiting->host);
    visiting_end(visiting);
}

static VisitRequest request_for(const Taking *self, const char *address, bool owns) {
    const FleetNetwork *network = fleet_network(job_host(self->run));
    return (VisitRequest){.connector = network->connector,
        .authority = network->authority,
        .address = address,
        .epoch = store_epoch(inventory_store(job_inventory(self->run))),
        .owns = owns};
}

static void own_address_tried(const VisitFound *found, const Error *err, void *data) {
    Visiting *visiting = data;
    bool is_it = !err && found->is_believed &&
                 g_strcmp0(found->id, json_text_at(visiting->host, "id")) == 0 &&
                 g_strcmp0(found->key, json_text_at(visiting->found, "key")) == 0;
    g_autofree char *address = g_strdup(json_text_at(is_it ? visiting->host : visiting->found, "address"));
    take_host(visiting, address);
}

/* ---- visits ---- */

static void take_keepsake(Visiting *visiting, const json_t *keepsake) {
    Taking *self = visiting->taking;
    const char *id = json_text_at(visiting->found, "id");
    const json_t *kept = json_object_get(keepsake, "kept"), *host = json_object_get(kept, "host");
    take_moves(self, id, json_object_get(keepsake, "moves"));
    merge_list(self, NETWORKS, json_object_get(kept, "networks"));
    merge_list(self, REPOSITORIES, json_object_get(kept, "repositories"));
    merge_list(self, TEMPLATES, json_object_get(kept, "templates"));
    merge_list(self, ISOS, json_object_get(kept, "isos"));
    if (json_object_get(kept, "pool"))
        merge(self, POOLS, json_object_get(kept, "pool"));
    bool is_own = g_strcmp0(json_text_at(host, "id"), id) == 0 && json_text_at(host, "address");
    visiting->host = is_own ? json_deep_copy(host) : bare_host(self, visiting->found);
}

static void visited(const VisitFound *found, const Error *err, void *data) {
    Visiting *visiting = data;
    Taking *self = visiting->taking;
    const char *address = json_text_at(visiting->found, "address");
    g_autofree char *text = err ? error_text(err) : NULL;
    if (err || !found->is_believed || g_strcmp0(found->id, json_text_at(visiting->found, "id")) != 0) {
        rebuild_tell_lost(self->lost, address, json_text_at(visiting->found, "name"),
            text ? text : "another host answers there now", "repeat the rebuild when it is back");
        visiting_end(visiting);
        return;
    }
    take_keepsake(visiting, found->keepsake);
    if (g_strcmp0(json_text_at(visiting->host, "address"), address) == 0) {
        take_host(visiting, address);
        return;
    }
    const VisitRequest request = request_for(self, json_text_at(visiting->host, "address"), false);
    host_visit(&request, own_address_tried, visiting);
}

static void go_on(Taking *self) {
    const json_t *found = json_object_get(job_data(self->run), "found");
    size_t n = json_array_size(found);
    g_auto(Error) err = {0};
    bool is_wanted = !job_is_cancelled(self->run) && !job_is_abandoned(self->run);
    job_progress(self->run, n ? (int)(self->next * 100 / n) : 0, "Asks hosts what they keep");
    while (is_wanted && self->next < n && self->n_open < VISITS_AT_ONCE) {
        Visiting *visiting = g_new0(Visiting, 1);
        *visiting = (Visiting){self, json_array_get(found, self->next++), NULL};
        const VisitRequest request = request_for(self, json_text_at(visiting->found, "address"), true);
        self->n_open++;
        host_visit(&request, visited, visiting);
    }
    if (self->n_open > 0)
        return;
    if (is_wanted) {
        store_all(self);
        return;
    }
    error_set(&err, ERROR_CANCELLED, NULL, "nothing was stored");
    take_end(self, &err);
}

void rebuild_take(JobRun *run) {
    Taking *self = g_new0(Taking, 1);
    json_t *lost = json_object_get(job_data(run), "not_found");
    *self = (Taking){.run = run,
        .names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
        .order = g_ptr_array_new_with_free_func(g_free),
        .moves = json_object(),
        .taken = json_array(),
        .lost = lost ? json_deep_copy(lost) : json_array()};
    for (size_t i = 0; i < KINDS; i++)
        self->objects[i] = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, release_json);
    go_on(self);
}
