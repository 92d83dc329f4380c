/* In the order in which it happens: the kit, the store, the identity, the principals. */
#include "manager/rebuild.h"
#include <string.h>
#include "base/log.h"
#include "manager/host-visit.h"
#include "model/format.h"
#include "rpc/rpc-range.h"

#define REBUILT_KEY "meta/rebuilt"
/* Above what restores of backups may have made of the lost manager's epoch on hosts that are away now. Two
 * managers that are made of one kit do not get the same: the later call of the higher one counts. */
enum { EPOCH_GAP = 1000, EPOCH_SPREAD = 1 << 20, PRINCIPALS_AT_ONCE = 16, VISITS_AT_ONCE = 16 };

typedef struct Prepare {
    RebuildMeans means;
    json_t *parameters;
    bool is_dry, has_kit;
    OpenedKit kit;
    HostAuthority *believer; /* of a dry run */
    size_t next, n_open;     /* principals, or visits */
    json_t *told;            /* rows of a dry run; principals that were not taken */
    json_int_t n_principals;
    RecoveryFn done;
    void *data;
    Error err;
} Prepare;

static void prepare_end(Prepare *self, const json_t *result, const Error *err) {
    self->done(err ? NULL : result, err, self->data);
    opened_kit_clear(&self->kit);
    host_authority_free(self->believer);
    json_decref(self->parameters);
    json_decref(self->told);
    error_clear(&self->err);
    g_free(self);
}

/* ---- the store ---- */

json_t *rebuild_note(Inventory *inventory) {
    g_auto(StoreItem) item = {0};
    size_t length = 0;
    if (!store_get(inventory_store(inventory), REBUILT_KEY, &item, NULL))
        return NULL;
    const char *text = g_bytes_get_data(item.value, &length);
    return json_parse(text, length, NULL);
}

static bool was_rebuilt(Inventory *inventory) {
    g_autoptr(json_t) note = rebuild_note(inventory);
    return note != NULL;
}

static void write_note(Inventory *inventory, const json_t *note) {
    g_autofree char *text = json_to_text(note);
    StoreTransaction *transaction = store_transaction_new();
    store_transaction_put(transaction, REBUILT_KEY, text, strlen(text), 0);
    store_commit(inventory_store(inventory), transaction, NULL, NULL);
}

/* Templates that are recipes only say what could be built. */
static guint n_of(Inventory *inventory, ResourceId kind) {
    const GPtrArray *objects = inventory_list(inventory, kind);
    guint n = 0;
    for (guint i = 0; i < objects->len; i++) {
        const void *data = ((const Object *)objects->pdata[i])->data;
        n += kind != RESOURCE_TEMPLATE || ((const Template *)data)->repository ? 1 : 0;
    }
    return n;
}

bool rebuild_check_empty(Inventory *inventory, Error *err) {
    static const ResourceId kinds[] = {RESOURCE_POOL, RESOURCE_HOST, RESOURCE_VM, RESOURCE_REPOSITORY,
        RESOURCE_NETWORK, RESOURCE_TEMPLATE, RESOURCE_ISO};
    g_autoptr(GString) text = g_string_new(NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        guint n = n_of(inventory, kinds[i]);
        if (n)
            g_string_append_printf(text, "%s%u %s", text->len ? ", " : "", n,
                n == 1 ? resources[kinds[i]].name : resources[kinds[i]].plural);
    }
    if (!text->len || was_rebuilt(inventory))
        return true;
    return error_set(err, ERROR_CONFLICT, NULL,
        "this manager has %s already: a rebuild begins on an empty store (move the manager's state folder "
        "away and start it anew)",
        text->str);
}

bool rebuild_is_open(Inventory *inventory) {
    const GPtrArray *jobs = inventory_list(inventory, RESOURCE_JOB);
    for (guint i = 0; i < jobs->len; i++) {
        const Job *job = ((const Object *)jobs->pdata[i])->data;
        bool is_open = job->state == JOB_STATE_QUEUED || job->state == JOB_STATE_RUNNING ||
                       job->state == JOB_STATE_UNDOING;
        if (is_open && g_strcmp0(job->kind, REBUILD_JOB) == 0)
            return true;
    }
    return false;
}

/* ---- what the job is told ---- */

static void add_parts(const char *text, json_t *addresses) {
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);
    for (char **part = parts; *part; part++)
        if (*g_strstrip(*part))
            json_array_append_new(addresses, json_string(*part));
}

/* "a,b" and ["c", "d"] become ["a", "b", "c", "d"]. */
static json_t *addresses_of(const json_t *parameters) {
    static const char *const lists[] = {"hosts", "more"};
    json_t *addresses = json_array(), *item;
    size_t i;
    for (size_t list = 0; list < G_N_ELEMENTS(lists); list++)
        json_array_foreach (json_object_get(parameters, lists[list]), i, item)
            add_parts(json_string_value(item), addresses);
    return addresses;
}

static json_t *job_parameters_of(const Prepare *self) {
    return json_pack("{so sO* sO* sO*}", "hosts", addresses_of(self->parameters), "kit_hosts",
        self->kit.hosts, "kit_pools", self->kit.pools, "enrol_secret",
        json_object_get(self->parameters, "enrol_secret"));
}

/* ---- the principals ---- */

static void take_principals(Prepare *self);

static void principals_taken(const Error *err, void *data) {
    Prepare *self = data;
    if (err)
        prepare_end(self, NULL, err);
    else
        take_principals(self);
}

static void tell_left(Prepare *self, const json_t *row, const char *why) {
    const char *name = json_text_at(row, "name");
    json_array_append_new(self->told, json_pack("{ss ss}", "name", name ? name : "?", "reason", why));
}

static bool put_principal(Prepare *self, InventoryChange *change, const json_t *row) {
    Inventory *inventory = self->means.inventory;
    g_auto(Principal) principal = {0};
    g_auto(Error) err = {0};
    if (!principal_decode(row, MODEL_STORED, &principal, &err) || !principal.id || !is_uuid(principal.id)) {
        tell_left(self, row, "its definition is not understood");
        return false;
    }
    if (inventory_get(inventory, RESOURCE_PRINCIPAL, principal.id))
        return false;
    if (inventory_has_name(inventory, RESOURCE_PRINCIPAL, principal.name)) {
        tell_left(self, row, "there is one of that name already, which keeps its password");
        return false;
    }
    inventory_change_put(change, RESOURCE_PRINCIPAL, &principal);
    self->n_principals++;
    return true;
}

static void take_principals(Prepare *self) {
    size_t n = 0;
    InventoryChange *change = inventory_change_new(self->means.inventory);
    while (n < PRINCIPALS_AT_ONCE && self->next < json_array_size(self->kit.principals))
        n += put_principal(self, change, json_array_get(self->kit.principals, self->next++));
    if (n > 0) {
        inventory_commit(self->means.inventory, change, principals_taken, self);
        return;
    }
    inventory_change_free(change);
    g_autoptr(json_t) note = json_pack("{sI sO}", "n_principals", self->n_principals, "left", self->told);
    if (self->n_principals > 0) /* a repeated request finds them there */
        write_note(self->means.inventory, note);
    g_autoptr(json_t) parameters = job_parameters_of(self);
    prepare_end(self, parameters, NULL);
}

/* ---- the identity ---- */

static bool has_identity(const Prepare *self) {
    Store *store = inventory_store(self->means.inventory);
    return g_strcmp0(store_uuid(store), self->kit.manager) == 0 &&
           g_strcmp0(host_authority_pem(self->means.authority), self->kit.authority.certificate_pem) == 0;
}

static bool take_identity(Prepare *self, Error *err) {
    if (has_identity(self))
        return true;
    int64_t mine = store_epoch(inventory_store(self->means.inventory));
    int64_t epoch = MAX(mine, self->kit.epoch) + EPOCH_GAP + g_random_int_range(0, EPOCH_SPREAD);
    if (!host_authority_become(self->means.authority, &self->kit.authority, self->kit.manager, err) ||
        !jobs_become(self->means.jobs, self->kit.manager, epoch, err))
        return false;
    log_info("this manager takes the place of %s, in the epoch %" G_GINT64_FORMAT, self->kit.manager, epoch);
    return true;
}

static void begin_rebuild(Prepare *self) {
    g_autoptr(json_t) note = json_object();
    if (!was_rebuilt(self->means.inventory))
        write_note(self->means.inventory, note);
    self->told = json_array();
    take_principals(self);
}

/* ---- a dry run: who would believe us? ---- */

static void visit_more(Prepare *self);

typedef struct DryVisit {
    Prepare *prepare;
    json_t *host; /* row of the kit */
} DryVisit;

static void visited(const VisitFound *found, const Error *err, void *data) {
    DryVisit *visit = data;
    Prepare *self = visit->prepare;
    g_autofree char *text = err ? error_text(err) : NULL;
    bool is_that = g_strcmp0(found->id, json_text_at(visit->host, "id")) == 0;
    const char *reason = text       ? text
                         : !is_that ? "another host answers there"
                                    : "it does not believe the kit";
    bool is_good = !err && is_that && found->is_believed;
    json_array_append_new(self->told,
        json_pack("{ss ss sb ss*}", "name", json_text_at(visit->host, "name"), "address",
            json_text_at(visit->host, "address"), "believes", is_good, "reason", is_good ? NULL : reason));
    json_decref(visit->host);
    g_free(visit);
    self->n_open--;
    visit_more(self);
}

static void visit_more(Prepare *self) {
    size_t n = json_array_size(self->kit.hosts);
    while (self->n_open < VISITS_AT_ONCE && self->next < n) {
        DryVisit *visit = g_new0(DryVisit, 1);
        *visit = (DryVisit){self, json_incref(json_array_get(self->kit.hosts, self->next++))};
        const VisitRequest request = {.connector = self->means.connector,
            .authority = self->believer,
            .address = json_text_at(visit->host, "address"),
            .epoch = self->kit.epoch};
        self->n_open++;
        host_visit(&request, visited, visit);
    }
    if (self->n_open > 0)
        return;
    g_autoptr(json_t) plan = json_pack("{ss s[{ss ss}{ss ss}{ss ss}] s{so sO sI sI ss*}}", "kind",
        REBUILD_JOB, "steps", "name", "find", "description",
        "Finds the hosts, and an epoch that none of them has seen", "name", "take", "description",
        "Takes them with their pools, networks and repositories", "name", "adopt", "description",
        "Lists what lies in their repositories", "data", "hosts", addresses_of(self->parameters), "kit_hosts",
        self->told, "pools", (json_int_t)json_array_size(self->kit.pools), "principals",
        (json_int_t)json_array_size(self->kit.principals), "manager", self->kit.manager);
    prepare_end(self, plan, NULL);
}

static void dry_run(Prepare *self) {
    g_auto(Error) err = {0};
    self->told = json_array();
    if (self->has_kit)
        self->believer = host_authority_of(&self->kit.authority, self->kit.manager, clock_system(), &err);
    if (error_is_set(&err))
        prepare_end(self, NULL, &err);
    else
        visit_more(self); /* without a kit there is nobody to visit */
}

/* ---- the kit ---- */

static void open_kit(void *data) {
    Prepare *self = data;
    const char *kit = json_text_at(self->parameters, "kit"),
               *passphrase = json_text_at(self->parameters, "passphrase");
    if (!error_is_set(&self->err) && kit)
        self->has_kit = recovery_open(kit, passphrase, &self->kit, &self->err);
}

/* What other jobs made meanwhile counts too. */
static void opened(void *data) {
    Prepare *self = data;
    if (!error_is_set(&self->err) && rebuild_check_empty(self->means.inventory, &self->err) &&
        self->has_kit && was_rebuilt(self->means.inventory) && !has_identity(self) &&
        n_of(self->means.inventory, RESOURCE_HOST) > 0)
        error_set(&self->err, ERROR_CONFLICT, "/kit",
            "kit: this manager was made anew in place of another one than that of the kit, and has hosts");
    if (!error_is_set(&self->err) && !self->is_dry && self->has_kit)
        take_identity(self, &self->err);
    if (error_is_set(&self->err))
        prepare_end(self, NULL, &self->err);
    else if (self->is_dry)
        dry_run(self);
    else
        begin_rebuild(self);
}

static gboolean opened_without(void *data) {
    opened(data);
    return G_SOURCE_REMOVE;
}

static bool check_addresses(const json_t *addresses, Error *err) {
    g_auto(RpcTargets) targets;
    rpc_targets_init(&targets);
    size_t i;
    json_t *text;
    json_array_foreach ((json_t *)addresses, i, text)
        if (!rpc_targets_add(&targets, json_string_value(text), err))
            return error_prefix_field(err, "/hosts");
    return true;
}

static bool check_asked(Prepare *self, Error *err) {
    const json_t *parameters = self->parameters;
    g_autoptr(json_t) addresses = addresses_of(parameters);
    bool has_kit = json_object_get(parameters, "kit");
    if (has_kit && !json_object_get(parameters, "passphrase"))
        return error_set(err, ERROR_INVALID, "/passphrase", "passphrase: the kit needs it");
    if (!has_kit && json_array_size(addresses) == 0)
        return error_set(err, ERROR_INVALID, "/hosts", "hosts: without a kit, name some");
    return check_addresses(addresses, err) && rebuild_check_empty(self->means.inventory, err);
}

void rebuild_prepare(
    const RebuildMeans *means, const json_t *parameters, bool is_dry, RecoveryFn done, void *data) {
    Prepare *self = g_new0(Prepare, 1);
    *self = (Prepare){.means = *means,
        .parameters = json_incref((json_t *)parameters),
        .is_dry = is_dry,
        .done = done,
        .data = data};
    if (!check_asked(self, &self->err) || !json_object_get(parameters, "kit") ||
        !work_pool_add(means->pool, open_kit, opened, self, &self->err))
        g_idle_add(opened_without, self);
}
