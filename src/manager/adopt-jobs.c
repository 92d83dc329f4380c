/*
 * Hosts that come with what lies on them, and go with it. Adopting reads what the host knows of and its
 * repositories hold, and stores a definition for each object that is not listed yet; releasing is the other
 * way round. Nothing on the host is touched by either.
 */
#include <string.h>
#include "engine/rebuild-place.h"
#include "manager/job-kinds.h"
#include "manager/repository-hosts.h"
#include "model/format.h"

#define HIGHEST_REVISION (INT64_MAX / 2)
/* An object and its index items, the MACs too, must fit into one transaction (STORE_MAX_OPERATIONS). */
enum { OPERATIONS_OF_ONE = 4, OPERATIONS_OF_NIC = 2, MOST_NICS = 48 };
enum {
    LONGEST_BASE = 58,
    OPERATIONS_AT_ONCE = 100,
    OBJECTS_AT_ONCE = 16,
    CLAIMS_AT_MOST = 100,
    SCAN_MS = 600 * 1000,
    MOST_NAMES = 1000,
    MOST_TRIES = 100,
    MOST_TOLD = 500,
    LONGEST_TEXT = 1500
};

static const char *host_id(const JobRun *run) {
    return job_definition(run)->target + strlen("host/");
}

static const Object *target_host(JobRun *run) {
    return inventory_get(job_inventory(run), RESOURCE_HOST, host_id(run));
}

static bool prepare_with_host(const JobRequest *asked, Job *job, const char *why, Error *err) {
    const Host *host = asked->target->data;
    job_claim_add(job, RESOURCE_HOST, asked->target->id, false, why);
    return host_has(host, HOST_FIELD_POOL) ||
           error_set(err, ERROR_WRONG_STATE, NULL, "%s belongs to no pool", host->name);
}

/* ---- host.adopt ---- */

/* How far an answer is dealt with, and what was told of that. */
typedef struct Place {
    size_t networks, repositories, templates, isos, vms;
    size_t n_adopted_told, n_refused_told;
    json_int_t n_adopted;
} Place;

/* What arrived in one answer, until all of it is stored. What lasts longer is in the job's data: the
 * repositories to read, how many were, and what was taken and refused. */
typedef struct Page {
    JobRun *run;
    AgentHoldings holdings;
    AgentRepositoryContent content;
    Place next, begun; /* `begun`: of the change that is being stored */
    int n_tries;       /* of that change */
    GHashTable *names; /* "kind/name" and MACs that this change takes */
} Page;

static Page *page_new(JobRun *run) {
    Page *page = g_new0(Page, 1);
    page->run = run;
    page->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    return page;
}

static void page_free(Page *page) {
    agent_holdings_clear(&page->holdings);
    agent_repository_content_clear(&page->content);
    g_hash_table_unref(page->names);
    g_free(page);
}

static json_t *list_of(JobRun *run, const char *name) {
    return json_object_get((json_t *)job_data(run), name);
}

/* Objects stay that nobody manages: whoever asked must see to them. */
static void tell_refusals(JobRun *run, Error *err) {
    const json_t *refused = list_of(run, "refused");
    g_autoptr(GString) text = g_string_new(NULL);
    size_t i;
    json_t *item;
    json_array_foreach ((json_t *)refused, i, item)
        if (text->len < LONGEST_TEXT)
            g_string_append_printf(text, "%s%s %s: %s", i ? "; " : "", json_text_at(item, "kind"),
                json_text_at(item, "name"), json_text_at(item, "reason"));
    if (text->len > 0)
        error_set(err, ERROR_CONFLICT, NULL,
            "%zu objects could not be taken over, what else lies there was: %s", json_array_size(refused),
            text->str);
}

static void adoption_end(JobRun *run, const Error *err) {
    g_auto(Error) refusals = {0};
    if (!err)
        tell_refusals(run, &refusals);
    job_result(run, json_pack("{sO sO sO}", "adopted", list_of(run, "adopted"), "refused",
                        list_of(run, "refused"), "n_adopted", list_of(run, "n_adopted")));
    static const char *const kept[] = {"adopted", "refused", "n_adopted", "repositories", "n_read", "after"};
    for (size_t i = 0; i < G_N_ELEMENTS(kept); i++)
        job_forget(run, kept[i]);
    if (error_is_set(&refusals))
        err = &refusals;
    if (err)
        job_step_failed(run, err);
    else
        job_step_done(run);
}

static void note_taken(Page *page, ResourceId kind, const char *name, const char *id, const char *was) {
    json_t *list = list_of(page->run, "adopted");
    json_int_t n = json_integer_value(list_of(page->run, "n_adopted")) + 1;
    job_remember(page->run, "n_adopted", json_integer(n));
    if (json_array_size(list) < MOST_TOLD)
        json_array_append_new(list, json_pack("{ss ss ss ss*}", "kind", resources[kind].name, "name", name,
                                        "id", id, "was", g_strcmp0(name, was) ? was : NULL));
}

static void note_refused(Page *page, ResourceId kind, const char *name, const char *id, const Error *err) {
    json_t *list = list_of(page->run, "refused");
    g_autofree char *text = error_text(err);
    if (json_array_size(list) < MOST_TOLD)
        json_array_append_new(list, json_pack("{ss ss ss* ss}", "kind", resources[kind].name, "name",
                                        name ? name : "(without name)", "id", id, "reason", text));
}

/* Names, MACs and ids that other jobs take meanwhile are seen when it is put together anew. */
static bool was_overtaken(Page *page, const Error *err) {
    return err && (err->code == ERROR_EXISTS || err->code == ERROR_PRECONDITION) &&
           page->n_tries++ < MOST_TRIES;
}

static void begin_change(Page *page) {
    page->begun = page->next;
    page->begun.n_adopted_told = json_array_size(list_of(page->run, "adopted"));
    page->begun.n_refused_told = json_array_size(list_of(page->run, "refused"));
    page->begun.n_adopted = json_integer_value(list_of(page->run, "n_adopted"));
}

static void cut(json_t *list, size_t n) {
    while (json_array_size(list) > n)
        json_array_remove(list, json_array_size(list) - 1);
}

static void take_back(Page *page) {
    page->next = page->begun;
    cut(list_of(page->run, "adopted"), page->begun.n_adopted_told);
    cut(list_of(page->run, "refused"), page->begun.n_refused_told);
    job_remember(page->run, "n_adopted", json_integer(page->begun.n_adopted));
}

/* Its own, or with a number behind it when another object has that. NULL when there is none. */
static char *free_name(Page *self, ResourceId kind, const char *wanted) {
    Inventory *inventory = job_inventory(self->run);
    const char *base = wanted ? wanted : "adopted";
    for (int i = 1; i < MOST_NAMES; i++) {
        g_autofree char *name = i == 1 ? g_strdup(base) : g_strdup_printf("%.*s-%d", LONGEST_BASE, base, i);
        if (!is_object_name(name))
            return NULL;
        g_autofree char *lower = g_ascii_strdown(name, -1);
        g_autofree char *key = g_strdup_printf("%s/%s", resources[kind].name, lower);
        if (inventory_has_name(inventory, kind, name) || g_hash_table_contains(self->names, key))
            continue;
        g_hash_table_add(self->names, g_steal_pointer(&key));
        return g_steal_pointer(&name);
    }
    return NULL;
}

static const char *pool_of(Page *self) {
    const Object *host = target_host(self->run);
    return host ? ((const Host *)host->data)->pool : NULL;
}

/* ---- one of each kind; false with an error when it cannot be taken, false without one when it is there ----
 */

/* A host may say anything: what cannot be stored must not reach the store. */
static bool is_sound(Page *self, const char *id, int64_t epoch, int64_t revision, Error *err) {
    if (!id || !is_uuid(id))
        return error_set(err, ERROR_PROTOCOL, "/id", "it has no id");
    if (epoch < 0 || epoch > HIGHEST_REVISION || revision < 0 || revision > HIGHEST_REVISION)
        return error_set(err, ERROR_PROTOCOL, "/revision", "its revision is none");
    return g_hash_table_add(self->names, g_strconcat("id/", id, NULL)) ||
           error_set(err, ERROR_PROTOCOL, "/id", "its id is there twice");
}

static bool is_known(Page *self, ResourceId kind, const char *id) {
    return inventory_get(job_inventory(self->run), kind, id);
}

static bool name_is_found(char *name, Error *err) {
    return name || error_set(err, ERROR_INVALID, "/name", "it has no name that can be used here");
}

static bool take_network(Page *self, InventoryChange *change, const Network *found, Error *err) {
    if (!is_sound(self, found->id, found->epoch, found->revision, err) ||
        is_known(self, RESOURCE_NETWORK, found->id))
        return false;
    g_autofree char *name = free_name(self, RESOURCE_NETWORK, found->name);
    g_auto(Network) network = {0};
    if (!name_is_found(name, err))
        return false;
    network_copy(&network, found);
    network_set_name(&network, name);
    network_set_pool(&network, pool_of(self));
    inventory_change_put(change, RESOURCE_NETWORK, &network);
    note_taken(self, RESOURCE_NETWORK, name, found->id, found->name);
    return true;
}

/* One that is listed for other hosts was refused, and is not read. */
static bool is_listed_here(JobRun *run, const char *id) {
    const Object *known = id ? inventory_get(job_inventory(run), RESOURCE_REPOSITORY, id) : NULL;
    const Object *host = target_host(run);
    return known && host && repository_is_of(known->data, host->data);
}

static bool take_repository(Page *self, InventoryChange *change, const Repository *found, Error *err) {
    if (!is_sound(self, found->id, found->epoch, found->revision, err))
        return false;
    const Object *known = inventory_get(job_inventory(self->run), RESOURCE_REPOSITORY, found->id);
    if (known && !is_listed_here(self->run, found->id))
        return error_set(
            err, ERROR_EXISTS, NULL, "the repository %s of another host has the same id", known->name);
    if (known)
        return false;
    g_autofree char *name = free_name(self, RESOURCE_REPOSITORY, found->name);
    g_auto(Repository) repository = {0};
    if (!name_is_found(name, err))
        return false;
    repository_copy(&repository, found);
    repository_set_name(&repository, name);
    repository_set_pool(&repository, pool_of(self));
    repository_set_host(&repository, repository_is_shared(found) ? NULL : host_id(self->run));
    inventory_change_put(change, RESOURCE_REPOSITORY, &repository);
    note_taken(self, RESOURCE_REPOSITORY, name, found->id, found->name);
    return true;
}

/* Templates and ISOs. */
static bool take_content(
    Page *self, InventoryChange *change, ResourceId kind, const void *found, Error *err) {
    const TypeDescriptor *type = resources[kind].type;
    g_autoptr(json_t) json = model_encode(type, found, MODEL_ENCODE_DEFINITION);
    const char *id = json_text_at(json, "id");
    if (!is_sound(self, id, json_integer_value(json_object_get(json, "epoch")),
            json_integer_value(json_object_get(json, "revision")), err) ||
        is_known(self, kind, id))
        return false;
    g_autofree char *name = free_name(self, kind, json_text_at(json, "name"));
    if (!name_is_found(name, err))
        return false;
    g_autofree char *was = g_strdup(json_text_at(json, "name"));
    json_object_set_new(json, "name", json_string(name));
    json_object_set_new(json, "repository", json_string(self->content.repository.id));
    void *data = g_malloc0(type->size);
    bool is_good = model_decode(type, json, MODEL_STORED, data, err);
    if (is_good) {
        inventory_change_put(change, kind, data);
        note_taken(self, kind, name, id, was);
    }
    model_free(type, data);
    return is_good;
}

static bool macs_are_free(Page *self, const Vm *vm, Error *err) {
    for (size_t i = 0; i < vm->nics.n; i++) {
        const char *mac = vm->nics.items[i].mac;
        g_autofree char *key = mac ? g_strconcat("mac/", mac, NULL) : NULL;
        if (i >= MOST_NICS)
            return error_set(err, ERROR_TOO_LARGE, "/nics", "it has more than %d NICs", MOST_NICS);
        if (mac && (inventory_has_mac(job_inventory(self->run), mac, NULL) ||
                       !g_hash_table_add(self->names, g_steal_pointer(&key))))
            return error_set(err, ERROR_EXISTS, "/nics", "another VM has its MAC %s", mac);
    }
    return true;
}

/* ---- as part of a rebuild (rebuild-jobs.c), which gives each host's job what it is to know ---- */

static const json_t *rebuild_of(JobRun *run) {
    return json_object_get(job_parameters(run), "rebuild");
}

/* A shared one is read by one host, whose job takes all that lies in it. */
static bool is_read_elsewhere(JobRun *run, const json_t *repository) {
    const char *id = json_text_at(repository, "id");
    const Object *known = id ? inventory_get(job_inventory(run), RESOURCE_REPOSITORY, id) : NULL;
    const json_t *shared = json_object_get(rebuild_of(run), "shared");
    size_t i;
    json_t *own;
    if (!rebuild_of(run) || !known || !repository_is_shared(known->data))
        return false;
    json_array_foreach ((json_t *)shared, i, own)
        if (g_strcmp0(json_string_value(own), id) == 0)
            return false;
    return true;
}

static bool is_host_here(const char *id, void *data) {
    return inventory_get(job_inventory(data), RESOURCE_HOST, id);
}

static bool place_rebuilt(Page *self, const Vm *found, const char **ret_host, Error *err) {
    const json_t *moves = json_object_get(rebuild_of(self->run), "moves"),
                 *move = json_object_get(moves, found->id);
    const PlaceFound place = {.here = host_id(self->run),
        .named = found->host,
        .is_shared = repository_is_shared(&self->content.repository),
        .move = {.from = json_text_at(move, "from"),
            .to = json_text_at(move, "to"),
            .has_left = json_is_true(json_object_get(move, "left")),
            .is_working = json_is_true(json_object_get(move, "working"))}};
    return rebuild_place(&place, is_host_here, self->run, ret_host, err);
}

/* Where it is; NULL without an error: not this host's to take. In a shared repository those of other hosts
 * lie too, which come with these. */
static const char *place_of(Page *self, const Vm *found, Error *err) {
    const char *host = NULL;
    if (rebuild_of(self->run))
        return place_rebuilt(self, found, &host, err) ? host : NULL;
    bool is_anothers = repository_is_shared(&self->content.repository) && found->host &&
                       g_strcmp0(found->host, host_id(self->run)) != 0;
    return is_anothers ? NULL : host_id(self->run);
}

static bool take_vm(Page *self, InventoryChange *change, const Vm *found, Error *err) {
    if (!is_sound(self, found->id, found->epoch, found->revision, err))
        return false;
    const Object *known = inventory_get(job_inventory(self->run), RESOURCE_VM, found->id);
    const char *repository = self->content.repository.id;
    if (known && g_strcmp0(((const Vm *)known->data)->repository, repository) != 0)
        return error_set(
            err, ERROR_EXISTS, NULL, "the VM %s in another repository has the same id", known->name);
    const char *host = known ? NULL : place_of(self, found, err);
    if (!host || !macs_are_free(self, found, err))
        return false;
    g_autofree char *name = free_name(self, RESOURCE_VM, found->name);
    g_auto(Vm) vm = {0};
    if (!name_is_found(name, err))
        return false;
    vm_copy(&vm, found);
    vm_set_name(&vm, name);
    vm_set_repository(&vm, repository);
    vm_set_host(&vm, host);
    vm_set_pool(&vm, pool_of(self));
    inventory_change_put(change, RESOURCE_VM, &vm);
    note_taken(self, RESOURCE_VM, name, found->id, found->name);
    return true;
}

/* ---- one change after the other ---- */

/* Whether it was put into the change; a refusal is noted. */
#define TAKE(kind, found, call)                                             \
    ({                                                                      \
        g_auto(Error) refusal = {0};                                        \
        bool is_taken = (call);                                             \
        if (error_is_set(&refusal))                                         \
            note_refused(self, kind, (found)->name, (found)->id, &refusal); \
        is_taken;                                                           \
    })

static size_t put_some(Page *self, InventoryChange *change) {
    AgentRepositoryContent *content = &self->content;
    size_t n = 0;
    while (n < OBJECTS_AT_ONCE && self->next.networks < self->holdings.networks.n) {
        const Network *found = &self->holdings.networks.items[self->next.networks++];
        n += TAKE(RESOURCE_NETWORK, found, take_network(self, change, found, &refusal));
    }
    while (n < OBJECTS_AT_ONCE && self->next.repositories < self->holdings.repositories.n) {
        const Repository *found = &self->holdings.repositories.items[self->next.repositories++];
        n += TAKE(RESOURCE_REPOSITORY, found, take_repository(self, change, found, &refusal));
    }
    while (n < OBJECTS_AT_ONCE && self->next.templates < content->templates.n) {
        const Template *found = &content->templates.items[self->next.templates++];
        n += TAKE(RESOURCE_TEMPLATE, found, take_content(self, change, RESOURCE_TEMPLATE, found, &refusal));
    }
    while (n < OBJECTS_AT_ONCE && self->next.isos < content->isos.n) {
        const Iso *found = &content->isos.items[self->next.isos++];
        n += TAKE(RESOURCE_ISO, found, take_content(self, change, RESOURCE_ISO, found, &refusal));
    }
    size_t operations = n * OPERATIONS_OF_ONE;
    while (self->next.vms < content->vms.n) {
        const Vm *found = &content->vms.items[self->next.vms];
        size_t more = OPERATIONS_OF_ONE + OPERATIONS_OF_NIC * found->nics.n;
        if (operations > 0 && operations + more > OPERATIONS_AT_ONCE)
            break;
        self->next.vms++;
        if (TAKE(RESOURCE_VM, found, take_vm(self, change, found, &refusal))) {
            operations += more;
            n++;
        }
    }
    return n;
}

/* What a host kept and its repository has not any more. */
static void forget_missing(Page *self, InventoryChange *change, ResourceId kind, const char *const *found,
    size_t n_found, size_t *n) {
    const GPtrArray *all = inventory_list(job_inventory(self->run), kind);
    for (guint i = 0; i < all->len && *n < OBJECTS_AT_ONCE; i++) {
        const Object *object = all->pdata[i];
        const char *repository = repository_of_content(kind, object->data);
        bool is_there = g_strcmp0(repository, self->content.repository.id) != 0;
        for (size_t k = 0; k < n_found && !is_there; k++)
            is_there = g_strcmp0(found[k], object->id) == 0;
        if (is_there)
            continue;
        inventory_change_delete(change, kind, object->id);
        (*n)++;
    }
}

/* The first page of a repository names all that is no VM. */
static size_t forget_some_missing(Page *self, InventoryChange *change) {
    const AgentRepositoryContent *content = &self->content;
    const char *after = json_text_at(job_data(self->run), "after");
    size_t n = 0;
    if (!rebuild_of(self->run) || !content->repository.id || (after && *after))
        return 0;
    g_autofree const char **ids = g_new0(const char *, content->templates.n + content->isos.n + 1);
    for (size_t i = 0; i < content->templates.n; i++)
        ids[i] = content->templates.items[i].id;
    for (size_t i = 0; i < content->isos.n; i++)
        ids[content->templates.n + i] = content->isos.items[i].id;
    forget_missing(self, change, RESOURCE_TEMPLATE, ids, content->templates.n, &n);
    forget_missing(self, change, RESOURCE_ISO, ids + content->templates.n, content->isos.n, &n);
    return n;
}

static void read_on(JobRun *run, const char *after);

static void store_some(const Error *err, void *data) {
    Page *self = data;
    JobRun *run = self->run;
    g_auto(Error) fault = {0};
    g_hash_table_remove_all(self->names); /* the inventory has them now */
    if (was_overtaken(self, err)) {
        take_back(self);
        err = NULL;
    } else {
        self->n_tries = 0;
    }
    if (!err && (job_is_abandoned(run) || job_is_cancelled(run))) {
        error_set(&fault, ERROR_CANCELLED, NULL, "what was taken over before stays");
        err = &fault;
    }
    if (err) {
        page_free(self);
        adoption_end(run, err);
        return;
    }
    begin_change(self);
    InventoryChange *change = inventory_change_new(job_inventory(run));
    if (put_some(self, change) > 0 || forget_some_missing(self, change) > 0) {
        inventory_change_by(change, job_definition(run)->principal, job_definition(run)->id);
        inventory_commit(job_inventory(run), change, store_some, self);
        return;
    }
    g_autofree char *after = g_strdup(self->content.next);
    inventory_change_free(change);
    page_free(self);
    read_on(run, after);
}

/* ---- reading ---- */

static size_t n_read(JobRun *run) {
    return (size_t)json_integer_value(list_of(run, "n_read"));
}

static void page_arrived(const json_t *result, const Error *fault, void *data) {
    JobRun *run = data;
    Page *page = page_new(run);
    const char *before = json_text_at(job_data(run), "after");
    g_auto(Error) err = {0};
    if (!fault && agent_repository_content_decode(result, MODEL_STORED, &page->content, &err) &&
        page->content.next && before && strcmp(page->content.next, before) <= 0)
        error_set(&err, ERROR_PROTOCOL, NULL, "its pages have no end");
    if (fault)
        error_copy(&err, fault);
    if (!error_is_set(&err) || err.code == ERROR_UNREACHABLE) {
        store_some(error_is_set(&err) ? &err : NULL, page);
        return;
    }
    /* What lies in it stays where it is; the others are read all the same. */
    const json_t *repository = json_array_get(list_of(run, "repositories"), n_read(run));
    note_refused(
        page, RESOURCE_REPOSITORY, json_text_at(repository, "name"), json_text_at(repository, "id"), &err);
    page_free(page);
    read_on(run, NULL);
}

/* The next page, or the first one of the next repository. */
static void read_on(JobRun *run, const char *after) {
    json_t *repositories = list_of(run, "repositories");
    size_t n = json_array_size(repositories), i = n_read(run);
    if (!after && json_object_get(job_data(run), "after"))
        i++; /* that one is read */
    while (i < n && (!is_listed_here(run, json_text_at(json_array_get(repositories, i), "id")) ||
                        is_read_elsewhere(run, json_array_get(repositories, i))))
        i++;
    job_remember(run, "n_read", json_integer((json_int_t)i));
    job_remember(run, "after", json_string(after ? after : ""));
    if (i < n) {
        json_t *repository = json_array_get(repositories, i);
        job_progress(run, (int)(i * 100 / n), json_text_at(repository, "name"));
        fleet_ask_within(job_host(run), SCAN_MS, host_id(run), AGENT_METHOD_REPOSITORY_SCAN,
            json_pack("{sO ss*}", "repository", repository, "after", after), page_arrived, run);
        return;
    }
    fleet_look_again(job_host(run), host_id(run));
    adoption_end(run, NULL);
}

static void holdings_arrived(JobRun *run, const json_t *result) {
    Page *page = page_new(run);
    g_auto(Error) err = {0};
    json_t *repositories = json_object_get(result, "repositories");
    job_remember(run, "repositories", repositories ? json_deep_copy(repositories) : json_array());
    job_remember(run, "adopted", json_array());
    job_remember(run, "refused", json_array());
    job_remember(run, "n_adopted", json_integer(0));
    job_remember(run, "n_read", json_integer(0));
    job_forget(run, "after");
    agent_holdings_decode(result, MODEL_STORED, &page->holdings, &err);
    store_some(error_is_set(&err) ? &err : NULL, page);
}

static void holdings_told(const json_t *result, const Error *err, void *data) {
    if (err)
        job_step_failed(data, err);
    else
        holdings_arrived(data, result);
}

/* A rebuild does not wait for a host that goes away. */
static void adopt_run(JobRun *run) {
    if (rebuild_of(run)) {
        fleet_ask(job_host(run), host_id(run), AGENT_METHOD_HOLDINGS, json_object(), holdings_told, run);
        return;
    }
    fleet_call(run, host_id(run), AGENT_METHOD_HOLDINGS, json_object(), RESOURCE_MAX, NULL, holdings_arrived);
}

static bool prepare_adopt(Inventory *inventory G_GNUC_UNUSED, const JobRequest *asked, Job *job, Error *err) {
    return prepare_with_host(asked, job, "what lies on it is taken over", err);
}

static const JobStepKind adopt_steps[] = {
    {"adopt", "Takes over what lies on it", adopt_run, NULL, .has_no_way_back = true}};
static const JobKind host_adopt = {"host.adopt", adopt_steps, G_N_ELEMENTS(adopt_steps), prepare_adopt};

/* ---- host.release ---- */

typedef bool (*IsOnHostFn)(Inventory *inventory, const void *data, const char *host);

static bool vm_is_on(Inventory *inventory G_GNUC_UNUSED, const void *data, const char *host) {
    return g_strcmp0(((const Vm *)data)->host, host) == 0;
}

static bool repository_is_on(Inventory *inventory G_GNUC_UNUSED, const void *data, const char *host) {
    return g_strcmp0(((const Repository *)data)->host, host) == 0;
}

static bool lies_on(Inventory *inventory, const char *repository_id, const char *host) {
    const Object *object = inventory_get(inventory, RESOURCE_REPOSITORY, repository_id);
    return object && repository_is_on(inventory, object->data, host);
}

static bool template_is_on(Inventory *inventory, const void *data, const char *host) {
    return lies_on(inventory, ((const Template *)data)->repository, host);
}

static bool iso_is_on(Inventory *inventory, const void *data, const char *host) {
    return lies_on(inventory, ((const Iso *)data)->repository, host);
}

/* In the order in which they go: what refers to another object first. */
static const struct {
    ResourceId kind;
    IsOnHostFn is_on;
} leaving[] = {{RESOURCE_VM, vm_is_on}, {RESOURCE_TEMPLATE, template_is_on}, {RESOURCE_ISO, iso_is_on},
    {RESOURCE_REPOSITORY, repository_is_on}};

static GPtrArray *objects_on(Inventory *inventory, size_t which, const char *host) {
    GPtrArray *found = g_ptr_array_new();
    const GPtrArray *all = inventory_list(inventory, leaving[which].kind);
    for (guint i = 0; i < all->len; i++)
        if (leaving[which].is_on(inventory, ((const Object *)all->pdata[i])->data, host))
            g_ptr_array_add(found, all->pdata[i]);
    return found;
}

/* Nobody else's host may work in a repository of this manager's. */
static bool check_shared(Inventory *inventory, const Host *host, Error *err) {
    const GPtrArray *vms = inventory_vms_on(inventory, host->id);
    for (guint i = 0; i < vms->len; i++) {
        const Vm *vm = ((const Object *)vms->pdata[i])->data;
        const Object *object = inventory_get(inventory, RESOURCE_REPOSITORY, vm->repository);
        if (object && repository_is_shared(object->data))
            return error_set(err, ERROR_IN_USE, NULL,
                "%s lies in the shared repository %s; move it to another host first", vm->name, object->name);
    }
    return true;
}

static bool prepare_release(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    const Host *host = asked->target->data;
    if (!check_shared(inventory, host, err))
        return false;
    HostState state = host->status.state;
    if (state != HOST_STATE_CONNECTED && state != HOST_STATE_DEGRADED && state != HOST_STATE_REFUSED)
        return error_set(err, ERROR_WRONG_STATE, NULL,
            "%s is not connected, so that it cannot be told that it is free", host->name);
    if (!prepare_with_host(asked, job, "it is released", err))
        return false;
    for (size_t which = 0; which < G_N_ELEMENTS(leaving); which++) {
        g_autoptr(GPtrArray) objects = objects_on(inventory, which, asked->target->id);
        /* Of more the agent tells itself whether something works on them. */
        for (guint i = 0; i < objects->len && job->claims.n < CLAIMS_AT_MOST; i++)
            job_claim_add(job, leaving[which].kind, ((const Object *)objects->pdata[i])->id, false,
                "its host is released");
    }
    return true;
}

static void shared_are_left(void *run) {
    job_step_done(run);
}

static void leave_run(JobRun *run) {
    const Object *host = target_host(run);
    g_auto(Error) err = {0};
    if (host && !check_shared(job_inventory(run), host->data, &err)) { /* one came meanwhile */
        job_step_failed(run, &err);
        return;
    }
    repositories_leave(job_host(run), job_inventory(run), host_id(run), shared_are_left, run);
}

static void join_again(JobRun *run) {
    repositories_look(job_host(run), job_inventory(run), host_id(run), true);
    job_step_done(run);
}

static void release_run(JobRun *run) {
    const Object *host = target_host(run);
    bool is_anothers = host && ((const Host *)host->data)->status.state == HOST_STATE_REFUSED;
    if (!host || is_anothers) /* before a crash, or by somebody else */
        job_step_done(run);
    else
        fleet_call(run, host_id(run), AGENT_METHOD_HOST_RELEASE, json_object(), RESOURCE_MAX, NULL, NULL);
}

/* A template that can be built stays as a recipe. */
static void forget_template(InventoryChange *change, const Template *template) {
    if (!template->recipe) {
        inventory_change_delete(change, RESOURCE_TEMPLATE, template->id);
        return;
    }
    g_auto(Template) recipe = {0};
    template_copy(&recipe, template);
    template_set_repository(&recipe, NULL);
    template_set_state(&recipe, TEMPLATE_STATE_BUILDABLE);
    inventory_change_put(change, RESOURCE_TEMPLATE, &recipe);
}

static size_t operations_of(const Object *object) {
    size_t n_nics = object->kind == RESOURCE_VM ? ((const Vm *)object->data)->nics.n : 0;
    return OPERATIONS_OF_ONE + OPERATIONS_OF_NIC * n_nics;
}

static size_t put_leaving(Inventory *inventory, InventoryChange *change, const char *host) {
    size_t n = 0;
    for (size_t which = 0; which < G_N_ELEMENTS(leaving) && n == 0; which++) {
        g_autoptr(GPtrArray) objects = objects_on(inventory, which, host);
        size_t operations = 0;
        for (; n < objects->len; n++) {
            const Object *object = objects->pdata[n];
            operations += operations_of(object);
            if (n > 0 && operations > OPERATIONS_AT_ONCE)
                break;
            if (leaving[which].kind == RESOURCE_TEMPLATE)
                forget_template(change, object->data);
            else
                inventory_change_delete(change, leaving[which].kind, object->id);
        }
    }
    return n;
}

static void forget_some(const Error *err, void *data) {
    JobRun *run = data;
    Inventory *inventory = job_inventory(run);
    const Object *host = target_host(run);
    if (err || !host) {
        if (err)
            job_step_failed(run, err);
        else
            job_step_done(run);
        return;
    }
    InventoryChange *change = inventory_change_new(inventory);
    if (put_leaving(inventory, change, host->id) == 0)
        inventory_change_delete(change, RESOURCE_HOST, host->id);
    inventory_change_by(change, job_definition(run)->principal, job_definition(run)->id);
    inventory_commit(inventory, change, forget_some, run);
}

static void forget_run(JobRun *run) {
    forget_some(NULL, run);
}

static const JobStepKind release_steps[] = {
    {"leave", "Lets it use shared repositories no more", leave_run, join_again},
    {"release", "Tells its agent that it has no owner any more", release_run, NULL, .has_no_way_back = true},
    {"forget", "Removes the definitions of all that lies on it", forget_run, NULL, .has_no_way_back = true},
};
static const JobKind host_release = {
    "host.release", release_steps, G_N_ELEMENTS(release_steps), prepare_release};

bool host_is_being_released(Inventory *inventory, const char *host) {
    const GPtrArray *jobs = inventory_list(inventory, RESOURCE_JOB);
    g_autofree char *target = g_strconcat("host/", host, NULL);
    for (guint i = 0; i < jobs->len; i++) {
        const Job *job = ((const Object *)jobs->pdata[i])->data;
        if (job->state == JOB_STATE_RUNNING && g_strcmp0(job->target, target) == 0 &&
            g_strcmp0(job->kind, host_release.name) == 0)
            return true;
    }
    return false;
}

const JobKind *const adopt_job_kinds[] = {&host_adopt, &host_release};
const size_t n_adopt_job_kinds = G_N_ELEMENTS(adopt_job_kinds);
