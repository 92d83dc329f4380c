/* In the order in which it happens: addresses, the search, secrets, visits, the epoch. */
#include <string.h>
#include "base/log.h"
#include "base/work.h"
#include "manager/discovery.h"
#include "manager/enrol.h"
#include "manager/host-visit.h"
#include "manager/rebuild-steps.h"
#include "model/format.h"

enum {
    VISITS_AT_ONCE = 32,
    TIMEOUT_MS = 3000,
    EPOCH_SPREAD = 1 << 20,
    MOST_HOSTS = 1000,
    MOST_LOST = 1000,
    RECIPES_AT_ONCE = 16
};

/* An agent that may be ours. */
typedef struct Candidate {
    char *address, *name;
    bool is_free; /* to be taken by the secret */
} Candidate;

typedef struct Finding {
    JobRun *run;
    WorkPool *pool; /* of the search */
    DiscoveryMeans means;
    GPtrArray *candidates; /* Candidate */
    guint next, n_open;
    GHashTable *ids; /* of hosts that were found */
    json_t *found, *lost;
    int64_t highest_epoch;
} Finding;

static void candidate_free(void *data) {
    Candidate *candidate = data;
    g_free(candidate->address);
    g_free(candidate->name);
    g_free(candidate);
}

void rebuild_tell_lost(
    json_t *list, const char *address, const char *name, const char *reason, const char *advice) {
    size_t n = json_array_size(list);
    if (n < MOST_LOST)
        json_array_append_new(list, json_pack("{ss* ss* ss ss*}", "address", address, "name", name, "reason",
                                        reason ? reason : "?", "advice", advice));
    else if (n == MOST_LOST)
        json_array_append_new(list, json_pack("{ss ss}", "name", "others", "reason", "there are more"));
}

/* ---- the end ---- */

static gboolean free_pool(void *pool) {
    work_pool_free(pool);
    return G_SOURCE_REMOVE;
}

static void finding_free(Finding *self) {
    g_idle_add(free_pool, self->pool); /* not inside of what it calls */
    g_ptr_array_unref(self->candidates);
    g_hash_table_unref(self->ids);
    json_decref(self->found);
    json_decref(self->lost);
    g_free(self);
}

static bool raise_epoch(Finding *self, Error *err) {
    const Store *store = inventory_store(job_inventory(self->run));
    if (self->highest_epoch <= store_epoch(store))
        return true;
    int64_t epoch = self->highest_epoch + 1 + g_random_int_range(0, EPOCH_SPREAD);
    log_info("a host has seen the epoch %" G_GINT64_FORMAT "; this manager goes on in %" G_GINT64_FORMAT,
        self->highest_epoch, epoch);
    g_autofree char *uuid = g_strdup(store_uuid(store));
    return job_becomes(self->run, uuid, epoch, err);
}

/* The row of an address; its place in *ret_i. */
static json_t *lost_at(const Finding *self, const char *address, size_t *ret_i) {
    size_t i;
    json_t *row;
    json_array_foreach (self->lost, i, row)
        if (g_strcmp0(json_text_at(row, "address"), address) == 0) {
            *ret_i = i;
            return row;
        }
    return NULL;
}

/* A host of the kit that answers under no address. Of one that is listed already its own state tells. */
static void tell_missing(Finding *self) {
    const json_t *kit = json_object_get(job_parameters(self->run), "kit_hosts");
    size_t i, place = 0;
    json_t *host;
    json_array_foreach ((json_t *)kit, i, host) {
        const char *id = json_text_at(host, "id"), *address = json_text_at(host, "address"),
                   *name = json_text_at(host, "name");
        bool is_listed = id && inventory_get(job_inventory(self->run), RESOURCE_HOST, id);
        bool is_found = id && g_hash_table_contains(self->ids, id);
        json_t *row = lost_at(self, address, &place);
        if (row && (is_listed || is_found))
            json_array_remove(self->lost, place);
        else if (row && name)
            json_object_set_new(row, "name", json_string(name));
        else if (!is_listed && !is_found)
            rebuild_tell_lost(self->lost, address, name, "it was found nowhere",
                "repeat the rebuild with its address when it is back");
    }
}

static void find_end(Finding *self, const Error *fault) {
    JobRun *run = self->run;
    g_auto(Error) err = {0};
    if (fault)
        error_copy(&err, fault);
    else if (json_array_size(self->found) > MOST_HOSTS)
        error_set(&err, ERROR_TOO_LARGE, "/hosts",
            "hosts: %zu were found; %d can be taken at a time: name some of them first",
            json_array_size(self->found), MOST_HOSTS);
    else
        raise_epoch(self, &err);
    tell_missing(self);
    job_remember(run, "found", json_incref(self->found));
    job_remember(run, "not_found", json_incref(self->lost));
    finding_free(self);
    if (error_is_set(&err))
        job_step_failed(run, &err);
    else
        job_step_done(run);
}

/* ---- visits ---- */

static bool has_secret(JobRun *run) {
    return json_object_get(job_parameters(run), "enrol_secret");
}

static void go_on(Finding *self);
static void begin_one(Finding *self, Candidate *candidate);

typedef struct Asking {
    Finding *finding;
    Candidate *candidate;
} Asking;

/* The kit's word on which key it had counts: one that was replaced is worth nothing. */
static bool has_other_key(const Finding *self, const VisitFound *found) {
    const json_t *kit = json_object_get(job_parameters(self->run), "kit_hosts");
    size_t i;
    json_t *host;
    json_array_foreach ((json_t *)kit, i, host) {
        const char *key = json_text_at(host, "key");
        if (g_strcmp0(json_text_at(host, "id"), found->id) == 0 && key && found->key)
            return strcmp(key, found->key) != 0;
    }
    return false;
}

static void lose(Finding *self, const Candidate *candidate, const VisitFound *found, const char *reason) {
    g_autofree char *advice = NULL;
    const char *manager = host_authority_manager(self->means.authority);
    if (found->owner && strcmp(found->owner, manager) != 0)
        advice = g_strdup_printf(
            "on the host, `lodge-agent release %s` and `lodge-agent enrol`; then here, `lodge "
            "host take NAME --address %s --code CODE`",
            found->owner, candidate->address);
    else if (found->owner)
        advice = g_strdup_printf(
            "on the host, `lodge-agent enrol`; then here, `lodge host take NAME --address %s --code CODE`",
            candidate->address);
    rebuild_tell_lost(
        self->lost, candidate->address, found->name ? found->name : candidate->name, reason, advice);
}

static void take_found(Finding *self, const Candidate *candidate, const VisitFound *found) {
    self->highest_epoch = MAX(self->highest_epoch, found->epoch);
    if (!g_hash_table_add(self->ids, g_strdup(found->id)))
        return; /* under another address, too */
    json_array_append_new(self->found,
        json_pack("{ss ss ss* ss* ss*}", "address", candidate->address, "id", found->id, "key", found->key,
            "name", found->name, "driver",
            found->has_driver ? model_enum_name(&hypervisor_driver_enum, (int)found->driver) : NULL));
}

static void visited(const VisitFound *found, const Error *err, void *data) {
    Asking *asking = data;
    Finding *self = asking->finding;
    g_autofree char *text = err ? error_text(err) : NULL;
    const char *manager = host_authority_manager(self->means.authority);
    bool is_to_be_taken = !err && !found->owner && !asking->candidate->is_free && has_secret(self->run);
    bool is_anothers = found->owner && strcmp(found->owner, manager) != 0;
    g_autofree char *owned =
        is_anothers ? g_strdup_printf("it belongs to the manager %s", found->owner) : NULL;
    if (is_to_be_taken) { /* its certificate is still of the owner that let it go */
        asking->candidate->is_free = true;
        begin_one(self, asking->candidate);
        g_free(asking);
        return;
    }
    if (owned)
        lose(self, asking->candidate, found, owned);
    else if (err)
        lose(self, asking->candidate, found, text);
    else if (!found->owner)
        lose(self, asking->candidate, found, "it has no owner");
    else if (!found->is_believed)
        lose(self, asking->candidate, found,
            "its certificate is not of this manager's authority, or has expired");
    else if (has_other_key(self, found))
        lose(self, asking->candidate, found, "it shows another key than the kit knows");
    else
        take_found(self, asking->candidate, found);
    g_free(asking);
    self->n_open--;
    go_on(self);
}

static void visit(Finding *self, Candidate *candidate) {
    Asking *asking = g_new0(Asking, 1);
    *asking = (Asking){self, candidate};
    const VisitRequest request = {.connector = self->means.connector,
        .authority = self->means.authority,
        .address = candidate->address,
        .epoch = store_epoch(inventory_store(job_inventory(self->run)))};
    host_visit(&request, visited, asking);
}

/* Its secret was proved, or not: what it says then tells. */
static void enrolled(const AgentIdentity *identity G_GNUC_UNUSED, const char *key G_GNUC_UNUSED,
    const Error *err, void *data) {
    Asking *asking = data;
    Finding *self = asking->finding;
    Candidate *candidate = asking->candidate;
    g_autofree char *text = err ? error_text(err) : NULL;
    g_free(asking);
    if (!err) {
        visit(self, candidate);
        return;
    }
    rebuild_tell_lost(self->lost, candidate->address, candidate->name, text, NULL);
    self->n_open--;
    go_on(self);
}

static void begin_one(Finding *self, Candidate *candidate) {
    if (!candidate->is_free) {
        visit(self, candidate);
        return;
    }
    Asking *asking = g_new0(Asking, 1);
    *asking = (Asking){self, candidate};
    const EnrolRequest request = {.store = inventory_store(job_inventory(self->run)),
        .network = fleet_network(job_host(self->run)),
        .address = candidate->address,
        .secret = json_text_at(job_parameters(self->run), "enrol_secret")};
    enrol_host(&request, enrolled, asking);
}

static void go_on(Finding *self) {
    g_autofree char *phase = g_strdup_printf("%zu hosts found", json_array_size(self->found));
    job_progress(
        self->run, self->candidates->len ? (int)(self->next * 100 / self->candidates->len) : 0, phase);
    bool is_wanted = !job_is_cancelled(self->run) && !job_is_abandoned(self->run);
    while (is_wanted && self->next < self->candidates->len && self->n_open < VISITS_AT_ONCE) {
        self->n_open++;
        begin_one(self, self->candidates->pdata[self->next++]);
    }
    if (self->n_open > 0)
        return;
    g_auto(Error) err = {0};
    if (!is_wanted)
        error_set(&err, ERROR_CANCELLED, NULL, "no host was taken");
    find_end(self, is_wanted ? NULL : &err);
}

/* ---- the search ---- */

static void add_candidate(Finding *self, const char *address, const char *name, bool is_free) {
    Candidate *candidate = g_new0(Candidate, 1);
    *candidate = (Candidate){g_strdup(address), g_strdup(name), is_free};
    g_ptr_array_add(self->candidates, candidate);
}

static void on_row(const FoundHost *row, void *data) {
    Finding *self = data;
    switch (row->state) {
    case FOUND_STATE_OURS: /* by this job before a crash, or by one before it */
        g_hash_table_add(self->ids, g_strdup(row->id));
        break;
    case FOUND_STATE_OWNED:
        add_candidate(self, row->address, row->name, false);
        break;
    case FOUND_STATE_NEW:
        if (has_secret(self->run)) {
            add_candidate(self, row->address, row->name, true);
            break;
        }
        rebuild_tell_lost(self->lost, row->address, row->name, "it has no owner",
            "on the host, `lodge-agent enrol`; then here, `lodge host take NAME --address ADDRESS --code "
            "CODE`");
        break;
    default: {
        g_autofree char *reason =
            g_strdup_printf("%s%s%s", model_enum_name(&found_state_enum, (int)row->state),
                row->detail ? ": " : "", row->detail ? row->detail : "");
        rebuild_tell_lost(self->lost, row->address, row->name, reason,
            row->state == FOUND_STATE_UNREACHABLE || row->state == FOUND_STATE_REFUSED
                ? "repeat the rebuild when it is back"
                : NULL);
    }
    }
}

static void search_ended(const Error *err, void *data) {
    Finding *self = data;
    if (err)
        find_end(self, err);
    else
        go_on(self);
}

static void add_addresses(const Finding *self, HostDiscover *asked) {
    const json_t *parameters = job_parameters(self->run);
    size_t i;
    json_t *item;
    json_array_foreach (json_object_get(parameters, "hosts"), i, item)
        host_discover_add_addresses(asked, json_string_value(item));
    json_array_foreach (json_object_get(parameters, "kit_hosts"), i, item) {
        const char *address = json_text_at(item, "address");
        if (address && !g_str_has_prefix(address, "unix:"))
            host_discover_add_addresses(asked, address);
    }
}

/* Sockets are no addresses that could be searched. */
static void add_sockets(Finding *self) {
    size_t i;
    json_t *item;
    json_array_foreach (json_object_get(job_parameters(self->run), "kit_hosts"), i, item) {
        const char *address = json_text_at(item, "address"), *id = json_text_at(item, "id");
        bool is_known = id && inventory_get(job_inventory(self->run), RESOURCE_HOST, id);
        if (address && !is_known && g_str_has_prefix(address, "unix:"))
            add_candidate(self, address, json_text_at(item, "name"), false);
    }
}

static void search(JobRun *run) {
    const FleetNetwork *network = fleet_network(job_host(run));
    Finding *self = g_new0(Finding, 1);
    *self = (Finding){.run = run,
        .pool = work_pool_new("rebuild", 1, 1),
        .candidates = g_ptr_array_new_with_free_func(candidate_free),
        .ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
        .found = json_array(),
        .lost = json_array()};
    self->means = (DiscoveryMeans){job_inventory(run), network->authority, network->connector, self->pool};
    g_auto(HostDiscover) asked = {0};
    g_auto(Error) err = {0};
    add_addresses(self, &asked);
    add_sockets(self);
    host_discover_set_timeout_ms(&asked, TIMEOUT_MS);
    if (asked.addresses.n == 0)
        go_on(self);
    else if (!discovery_begin(&self->means, &asked, on_row, search_ended, self, &err))
        find_end(self, &err);
}

/* ---- before the search ---- */

/* What hosts could build is told anew in the end: it may have the name of what a host has built. */
static void forget_recipes(const Error *err, void *data) {
    JobRun *run = data;
    Inventory *inventory = job_inventory(run);
    const GPtrArray *templates = inventory_list(inventory, RESOURCE_TEMPLATE);
    InventoryChange *change = inventory_change_new(inventory);
    guint n = 0;
    for (guint i = 0; i < templates->len && n < RECIPES_AT_ONCE; i++) {
        const Template *template = ((const Object *)templates->pdata[i])->data;
        if (template->repository || template->state != TEMPLATE_STATE_BUILDABLE)
            continue;
        inventory_change_delete(change, RESOURCE_TEMPLATE, template->id);
        n++;
    }
    if (n > 0 && !err) {
        inventory_commit(inventory, change, forget_recipes, run);
        return;
    }
    inventory_change_free(change);
    if (err)
        job_step_failed(run, err);
    else
        search(run);
}

void rebuild_find(JobRun *run) {
    forget_recipes(NULL, run);
}
