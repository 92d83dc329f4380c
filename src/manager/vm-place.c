/*
 * What is named decides: a repository its host when it lies on one, a host its pool. Among what is left the
 * engine chooses; here the world is only collected for it. The only host and the only repository are taken
 * even while they are out of reach: the job waits for them.
 */
#include "manager/vm-place.h"
#include "engine/placement.h"
#include "manager/job-kinds.h"
#include "manager/repository-hosts.h"
#include "model/format.h"
#include "model/vm-mode.h"

static bool is_mac_taken(const char *mac, void *inventory) {
    return inventory_has_mac(inventory, mac, NULL);
}

static char *new_id(void *data G_GNUC_UNUSED) {
    return uuid_new();
}

const char *vm_mac_prefix(const Object *pool) {
    const char *range = pool ? ((const Pool *)pool->data)->mac_range : NULL;
    return range ? range : DEFAULT_MAC_PREFIX;
}

/* ---- what a host has ---- */

bool vm_occupies_memory(const Vm *vm) {
    if (!vm_has(vm, VM_FIELD_STATUS))
        return false;
    switch (vm->status.state) {
    case VM_STATE_STARTING:
    case VM_STATE_RUNNING:
    case VM_STATE_PAUSED:
    case VM_STATE_STOPPING:
    case VM_STATE_SAVING:
        return true;
    default:
        return false;
    }
}

/* The running VM that a job is bringing to another host; NULL: none, or it is there. */
static const Vm *arriving_vm(Inventory *inventory, const Job *job) {
    if (job->state != JOB_STATE_RUNNING || strcmp(job->kind, "vm.migrate") != 0 ||
        json_is_true(json_object_get(job->data, "is_stopped")))
        return NULL;
    const Object *object = inventory_get(inventory, RESOURCE_VM, job->target + strlen("vm/"));
    const Vm *vm = object ? object->data : NULL;
    return vm && g_strcmp0(vm->host, json_text_at(job->data, "to")) != 0 ? vm : NULL;
}

/* Of VMs that are on their way to it from another host. */
static uint64_t arriving_memory(Inventory *inventory, const char *host_id, const char *without_vm_id) {
    const GPtrArray *jobs = inventory_list(inventory, RESOURCE_JOB);
    uint64_t promised = 0;
    for (guint i = 0; i < jobs->len; i++) {
        const Job *job = ((const Object *)jobs->pdata[i])->data;
        const Vm *vm = arriving_vm(inventory, job);
        if (vm && g_strcmp0(json_text_at(job->data, "to"), host_id) == 0 &&
            g_strcmp0(vm->id, without_vm_id) != 0)
            promised += vm->memory;
    }
    return promised;
}

uint64_t host_promised_memory(Inventory *inventory, const char *host_id, const char *without_vm_id) {
    const GPtrArray *vms = inventory_vms_on(inventory, host_id);
    uint64_t promised = arriving_memory(inventory, host_id, without_vm_id);
    for (guint i = 0; i < vms->len; i++) {
        const Vm *vm = ((const Object *)vms->pdata[i])->data;
        if (g_strcmp0(vm->id, without_vm_id) != 0 && vm_occupies_memory(vm))
            promised += vm->memory;
    }
    return promised;
}

static const Host *host_of(Inventory *inventory, const Vm *vm) {
    const Object *object = vm->host ? inventory_get(inventory, RESOURCE_HOST, vm->host) : NULL;
    return object ? object->data : NULL;
}

bool vm_host_takes(Inventory *inventory, const Vm *vm, Error *err) {
    const Host *host = host_of(inventory, vm);
    return !host || !host->maintenance ||
           error_set(err, ERROR_WRONG_STATE, "/host", "the host %s is in maintenance", host->name);
}

static PlacementNames tags_of(const Vm *vm) {
    return (PlacementNames){(const char *const *)vm->tags.items, vm->tags.n};
}

static PlacementNames anti_affinity_of(const Vm *vm) {
    return (PlacementNames){(const char *const *)vm->anti_affinity.items, vm->anti_affinity.n};
}

/* Beside VMs that run there now, whose names not everybody may see. Affinity does not count: a VM that starts
 * has no other host to go to. */
static bool may_run_beside(Inventory *inventory, const Vm *vm, const Host *host, Error *err) {
    const GPtrArray *all = inventory_vms_on(inventory, host->id);
    for (guint i = 0; i < all->len; i++) {
        const Vm *other = ((const Object *)all->pdata[i])->data;
        if (g_strcmp0(other->id, vm->id) == 0 || !vm_occupies_memory(other))
            continue;
        const char *own = placement_common(anti_affinity_of(vm), tags_of(other)),
                   *theirs = placement_common(anti_affinity_of(other), tags_of(vm));
        if (own || theirs)
            return error_set(err, ERROR_WRONG_STATE, "/anti_affinity",
                "a VM that %s the tag %s runs on the host %s; stop it first", own ? "has" : "keeps away from",
                own ? own : theirs, host->name);
    }
    return true;
}

bool vm_may_start(Inventory *inventory, const Vm *vm, Error *err) {
    const Host *host = host_of(inventory, vm);
    if (!host || (vm->status.state != VM_STATE_STARTING && vm_occupies_memory(vm)))
        return true;
    return vm_host_takes(inventory, vm, err) && may_run_beside(inventory, vm, host, err) &&
           vm_fits(vm, host, true, host_promised_memory(inventory, host->id, vm->id), err);
}

bool vm_may_become(Inventory *inventory, const Vm *before, const Vm *vm, Error *err) {
    const Host *host = host_of(inventory, vm);
    return !host || !vm_fits(before, host, false, 0, NULL) || vm_fits(vm, host, false, 0, err);
}

const char *vm_mode_name(Inventory *inventory, const Vm *vm) {
    const Host *host = host_of(inventory, vm);
    VmMode mode = VM_MODE_AUTO;
    if (!host || !vm_mode_choose(vm, &host->status, vm_has(vm, VM_FIELD_DIRECT_BOOT), &mode, NULL) ||
        mode == VM_MODE_AUTO)
        return NULL;
    return model_enum_name(&vm_mode_enum, (int)mode);
}

/* ---- what was named ---- */

enum { TOLD_HOSTS = 5 }; /* in an error or an explanation */

struct VmPlaces {
    Inventory *inventory;
    const VmCreate *request;
    const Object *pool, *template, *iso;
    const Object *host, *repository; /* that all must have; NULL: any */
    VmPlanWorld plan;
    Vm first;                        /* all ask for the same */
    GPtrArray *hosts, *repositories; /* of Object, in the order of the world */
    GHashTable *host_numbers;        /* index + 1 by id */
    GArray *placed_hosts, *placed_repositories, *placed_vms, *lacks;
    GPtrArray *texts, *planned; /* that the world borrows; Vm */
    PlacementNames networks;
    const char **network_names;
    PlacementWorld world;
    PlacementRequest asked;
    Placement *placement;
};

static const Template *template_of(const VmPlaces *self) {
    return self->template ? self->template->data : NULL;
}

static bool is_built(const Template *template) {
    return template->state == TEMPLATE_STATE_READY;
}

/* The template's, when none is named. */
static bool find_repository(VmPlaces *self, Error *err) {
    const Template *template = template_of(self);
    const char *wanted = self->request->repository ? self->request->repository
                         : template                ? template->repository
                                                   : NULL;
    if (wanted)
        self->repository = inventory_find(self->inventory, RESOURCE_REPOSITORY, wanted, err);
    return !wanted || self->repository;
}

static bool find_host(VmPlaces *self, Error *err) {
    const Repository *repository = self->repository ? self->repository->data : NULL;
    const char *wanted = self->request->host ? self->request->host : repository ? repository->host : NULL;
    if (wanted && !(self->host = inventory_find(self->inventory, RESOURCE_HOST, wanted, err)))
        return false;
    if (repository && repository->host && g_strcmp0(repository->host, self->host->id) != 0)
        return error_set(err, ERROR_CONFLICT, "/host", "the repository %s lies on another host than %s",
            repository->name, self->host->name);
    return true;
}

/* The pool that all repositories belong to; NULL when there are several. */
static const char *pool_of_repositories(Inventory *inventory) {
    const GPtrArray *all = inventory_list(inventory, RESOURCE_REPOSITORY);
    const char *pool = NULL;
    for (guint i = 0; i < all->len; i++) {
        const Repository *repository = ((const Object *)all->pdata[i])->data;
        if (pool && g_strcmp0(pool, repository->pool) != 0)
            return NULL;
        pool = repository->pool;
    }
    return pool;
}

/* Named, or that of what was named, or the only one. */
static bool find_pool(VmPlaces *self, Error *err) {
    const Repository *repository = self->repository ? self->repository->data : NULL;
    const Host *host = self->host ? self->host->data : NULL;
    const char *wanted = self->request->pool ? self->request->pool
                         : host              ? host->pool
                         : repository        ? repository->pool
                                             : pool_of_repositories(self->inventory);
    self->pool = the_object(self->inventory, RESOURCE_POOL, wanted, "pool", err);
    return self->pool != NULL;
}

static bool check_pool(const VmPlaces *self, Error *err) {
    const Host *host = self->host ? self->host->data : NULL;
    const Repository *repository = self->repository ? self->repository->data : NULL;
    if (host && g_strcmp0(host->pool, self->pool->id) != 0)
        return error_set(err, ERROR_CONFLICT, "/pool", "the host %s does not belong to the pool %s",
            host->name, self->pool->name);
    if (repository && repository->pool && g_strcmp0(repository->pool, self->pool->id) != 0)
        return error_set(err, ERROR_CONFLICT, "/pool", "the repository %s does not belong to the pool %s",
            repository->name, self->pool->name);
    return true;
}

static bool check_template(const VmPlaces *self, Error *err) {
    const Template *template = template_of(self);
    return !template || template->recipe || is_built(template) ||
           error_set(err, ERROR_WRONG_STATE, "/template", "the template %s is not ready", template->name);
}

static bool find_named(VmPlaces *self, Error *err) {
    const VmCreate *request = self->request;
    if (request->template &&
        !(self->template = inventory_find(self->inventory, RESOURCE_TEMPLATE, request->template, err)))
        return false;
    if (request->iso && !(self->iso = inventory_find(self->inventory, RESOURCE_ISO, request->iso, err)))
        return false;
    return find_repository(self, err) && find_host(self, err) && find_pool(self, err) &&
           check_pool(self, err) && check_template(self, err);
}

/* ---- the world ---- */

static const char *keep(VmPlaces *self, char *take_text) {
    g_ptr_array_add(self->texts, take_text);
    return take_text;
}

static size_t number_of(const VmPlaces *self, const char *host_id) {
    size_t number = host_id ? GPOINTER_TO_SIZE(g_hash_table_lookup(self->host_numbers, host_id)) : 0;
    return number ? number - 1 : PLACEMENT_NONE;
}

static const char *away_text(const Host *host) {
    static const char *const texts[] = {[HOST_STATE_UNKNOWN] = "was not reached yet",
        [HOST_STATE_CONNECTING] = "is being asked what there is",
        [HOST_STATE_UNREACHABLE] = "is unreachable",
        [HOST_STATE_REFUSED] = "belongs to another manager",
        [HOST_STATE_STOPPING] = "goes down"};
    size_t state = (size_t)host->status.state;
    return state < G_N_ELEMENTS(texts) ? texts[state] : NULL;
}

/* Why it cannot run there, memory apart; without the sentence that names VM and host. */
static const char *cannot_text(VmPlaces *self, const Host *host) {
    g_auto(Error) err = {0};
    if (vm_plan_fits(&self->first, self->plan.source, host, false, 0, &err))
        return NULL;
    return keep(self, g_strdup(err.cause ? err.cause->message : err.message));
}

static void add_host(VmPlaces *self, const Object *object) {
    const Host *host = object->data;
    PlacementHost own = {.name = object->name,
        .is_candidate = !self->host || self->host == object,
        .away = away_text(host),
        .is_in_maintenance = host->maintenance,
        .memory_bytes = host->status.memory,
        .reserve_bytes = host->memory_reserve,
        .cpus = host->status.cpus,
        .vcpus_limit = host->status.vcpus_limit,
        .networks = self->networks};
    own.cannot = own.is_candidate ? cannot_text(self, host) : NULL;
    g_array_append_val(self->placed_hosts, own);
    g_ptr_array_add(self->hosts, (void *)(uintptr_t)object);
    g_hash_table_insert(self->host_numbers, object->id, GSIZE_TO_POINTER(self->hosts->len));
}

/* Other NAT networks are made where a VM starts; a bridge is there only on hosts of the network's pool. */
static void collect_networks(VmPlaces *self) {
    const GPtrArray *all = inventory_list(self->inventory, RESOURCE_NETWORK);
    self->network_names = g_new0(const char *, all->len + 1);
    for (guint i = 0; i < all->len; i++) {
        const Network *network = ((const Object *)all->pdata[i])->data;
        if (network->kind == NETWORK_KIND_NAT || !network->pool ||
            g_strcmp0(network->pool, self->pool->id) == 0)
            self->network_names[self->networks.n++] = network->name;
    }
    self->networks.items = self->network_names;
}

static void collect_hosts(VmPlaces *self) {
    const GPtrArray *all = inventory_list(self->inventory, RESOURCE_HOST);
    for (guint i = 0; i < all->len; i++) {
        const Object *object = all->pdata[i];
        if (g_strcmp0(((const Host *)object->data)->pool, self->pool->id) == 0)
            add_host(self, object);
    }
}

/* What hosts of the pool say that they lack of it. */
static void add_lacks(VmPlaces *self, const Network *network) {
    for (size_t i = 0; i < network->status.hosts.n; i++) {
        const NetworkHost *row = &network->status.hosts.items[i];
        if (row->state != NETWORK_STATE_FAILED)
            continue;
        const Object *host = inventory_find(self->inventory, RESOURCE_HOST, row->host, NULL);
        const PlacementLack own = {number_of(self, host ? host->id : NULL), network->name, row->reason};
        if (own.host != PLACEMENT_NONE)
            g_array_append_val(self->lacks, own);
    }
}

static void collect_lacks(VmPlaces *self) {
    for (size_t i = 0; i < self->first.nics.n; i++) {
        const Object *network =
            inventory_get(self->inventory, RESOURCE_NETWORK, self->first.nics.items[i].network);
        if (network)
            add_lacks(self, network->data);
    }
}

static const char *unready_text(VmPlaces *self, const Repository *repository, const char *host_id) {
    char *text = repository_unready_text(repository, host_id);
    return text ? keep(self, text) : NULL;
}

/* Where the template lies, once it is built. */
static const Repository *home_of_template(const VmPlaces *self) {
    const Template *template = template_of(self);
    const Object *object = template && is_built(template)
                               ? inventory_get(self->inventory, RESOURCE_REPOSITORY, template->repository)
                               : NULL;
    return object ? object->data : NULL;
}

/* Hosts do not read from each other. */
static const Repository *unreadable_home(const VmPlaces *self, const Repository *repository) {
    const Repository *home = home_of_template(self);
    bool is_far = home && home->host && repository->host && g_strcmp0(home->host, repository->host) != 0;
    return is_far ? home : NULL;
}

/* Of a shared repository, by host. */
static const char *const *unready_texts(VmPlaces *self, const Repository *repository) {
    const Repository *home = home_of_template(self);
    const char **texts = g_new0(const char *, self->hosts->len + 1);
    keep(self, (char *)texts);
    for (guint i = 0; i < self->hosts->len; i++) {
        const char *id = ((const Object *)self->hosts->pdata[i])->id;
        texts[i] = unready_text(self, repository, id);
        if (!texts[i] && home && home->host && g_strcmp0(home->host, id) != 0)
            texts[i] =
                keep(self, g_strdup_printf("cannot be filled: the template %s lies on another host (%s)",
                               self->template->name, home->name));
    }
    return texts;
}

/* NULL when it lies there, or none is asked for. */
static const Object *missing_iso(const VmPlaces *self, const char *repository_id) {
    const Object *iso = self->iso;
    return iso && g_strcmp0(((const Iso *)iso->data)->repository, repository_id) != 0 ? iso : NULL;
}

static const char *lacks_text(VmPlaces *self, const Repository *repository) {
    const Object *iso = missing_iso(self, repository->id);
    if (iso)
        return keep(self, g_strdup_printf("lacks the ISO %s", iso->name));
    const Repository *home = unreadable_home(self, repository);
    return home ? keep(self, g_strdup_printf("lies on another host than the template %s (%s)",
                                 self->template->name, home->name))
                : NULL;
}

static bool may_hold(const VmPlaces *self, const Object *object) {
    const Repository *repository = object->data;
    if (self->repository)
        return self->repository == object;
    return (!repository->pool || g_str_equal(repository->pool, self->pool->id)) &&
           (!self->host || !repository->host || g_str_equal(repository->host, self->host->id));
}

static void add_repository(VmPlaces *self, const Object *object) {
    const Repository *repository = object->data;
    const RepositoryStatus *status = &repository->status;
    bool is_shared = repository_is_shared(repository);
    PlacementRepository own = {.name = object->name,
        .is_candidate = may_hold(self, object),
        .host = number_of(self, repository->host),
        .unready = is_shared ? NULL : unready_text(self, repository, repository->host),
        .unready_on = is_shared ? unready_texts(self, repository) : NULL,
        .lacks = lacks_text(self, repository),
        .free_bytes = repository_status_has(status, REPOSITORY_STATUS_FIELD_FREE) ? status->free
                                                                                  : PLACEMENT_UNKNOWN_BYTES};
    if (repository->host && own.host == PLACEMENT_NONE) /* in another pool */
        return;
    g_array_append_val(self->placed_repositories, own);
    g_ptr_array_add(self->repositories, (void *)(uintptr_t)object);
}

static void collect_repositories(VmPlaces *self) {
    const GPtrArray *all = inventory_list(self->inventory, RESOURCE_REPOSITORY);
    for (guint i = 0; i < all->len; i++)
        add_repository(self, all->pdata[i]);
}

static void add_vm(VmPlaces *self, const Vm *vm, const char *host_id, bool has_memory) {
    size_t number = number_of(self, host_id);
    if (number == PLACEMENT_NONE)
        return;
    PlacementHost *host = &g_array_index(self->placed_hosts, PlacementHost, number);
    host->assigned_bytes += vm->memory;
    host->vcpus_assigned += vm->vcpus;
    host->promised_bytes += has_memory ? vm->memory : 0;
    PlacementVm own = {number, tags_of(vm), anti_affinity_of(vm)};
    g_array_append_val(self->placed_vms, own);
}

static void collect_vms(VmPlaces *self) {
    const GPtrArray *all = inventory_list(self->inventory, RESOURCE_VM);
    for (guint i = 0; i < all->len; i++) {
        const Vm *vm = ((const Object *)all->pdata[i])->data;
        add_vm(self, vm, vm->host, vm_occupies_memory(vm));
    }
}

static void add_plan(VmPlaces *self, const json_t *plan, bool starts) {
    const char *id = json_text_at(plan, "id");
    if (!id || inventory_get(self->inventory, RESOURCE_VM, id))
        return;
    Vm *vm = g_new0(Vm, 1);
    g_ptr_array_add(self->planned, vm);
    if (vm_decode(plan, MODEL_STORED, vm, NULL))
        add_vm(self, vm, vm->host, starts);
}

/* What jobs have placed and not defined yet, and what they are bringing from other hosts. */
static void collect_plans(VmPlaces *self) {
    const GPtrArray *all = inventory_list(self->inventory, RESOURCE_JOB);
    for (guint i = 0; i < all->len; i++) {
        const Job *job = ((const Object *)all->pdata[i])->data;
        if (job->state != JOB_STATE_QUEUED && job->state != JOB_STATE_RUNNING)
            continue;
        const Vm *arriving = arriving_vm(self->inventory, job);
        if (arriving)
            add_vm(self, arriving, json_text_at(job->data, "to"), true);
        size_t k;
        json_t *plan;
        json_array_foreach (json_object_get(job->data, "vms"), k, plan)
            add_plan(self, plan, json_is_true(json_object_get(job->parameters, "start")));
    }
}

static bool has_repository(const VmPlaces *self, size_t host) {
    for (guint i = 0; i < self->repositories->len; i++) {
        const PlacementRepository *own = &g_array_index(self->placed_repositories, PlacementRepository, i);
        if (own->is_candidate && (own->host == PLACEMENT_NONE || own->host == host))
            return true;
    }
    return false;
}

/* Nothing is left to choose: the job waits until they are back. */
static void wait_for_the_only_one(VmPlaces *self) {
    PlacementHost *only_host = NULL;
    PlacementRepository *only_repository = NULL;
    size_t n_hosts = 0, n_repositories = 0;
    for (guint i = 0; i < self->hosts->len; i++) {
        PlacementHost *own = &g_array_index(self->placed_hosts, PlacementHost, i);
        if (!own->is_candidate || !has_repository(self, i))
            continue;
        only_host = own;
        n_hosts++;
    }
    for (guint i = 0; i < self->repositories->len; i++) {
        PlacementRepository *own = &g_array_index(self->placed_repositories, PlacementRepository, i);
        if (!own->is_candidate)
            continue;
        only_repository = own;
        n_repositories++;
    }
    if (n_hosts == 1)
        only_host->away = NULL;
    if (n_hosts == 1 && n_repositories == 1)
        only_repository->unready = NULL;
}

static void collect(VmPlaces *self) {
    self->hosts = g_ptr_array_new();
    self->repositories = g_ptr_array_new();
    self->host_numbers = g_hash_table_new(g_str_hash, g_str_equal);
    self->placed_hosts = g_array_new(FALSE, FALSE, sizeof(PlacementHost));
    self->placed_repositories = g_array_new(FALSE, FALSE, sizeof(PlacementRepository));
    self->placed_vms = g_array_new(FALSE, FALSE, sizeof(PlacementVm));
    self->lacks = g_array_new(FALSE, FALSE, sizeof(PlacementLack));
    collect_networks(self);
    collect_hosts(self);
    collect_lacks(self);
    collect_repositories(self);
    collect_vms(self);
    collect_plans(self);
    wait_for_the_only_one(self);
    self->world = (PlacementWorld){(const PlacementHost *)(void *)self->placed_hosts->data,
        self->placed_hosts->len, (const PlacementRepository *)(void *)self->placed_repositories->data,
        self->placed_repositories->len, (const PlacementVm *)(void *)self->placed_vms->data,
        self->placed_vms->len, (const PlacementLack *)(void *)self->lacks->data, self->lacks->len};
}

/* ---- the request ---- */

static PlacementNames network_names_of(VmPlaces *self) {
    const Vm *vm = &self->first;
    const char **names = g_new0(const char *, vm->nics.n + 1);
    size_t n = 0;
    keep(self, (char *)names);
    for (size_t i = 0; i < vm->nics.n; i++) {
        const Object *network = inventory_get(self->inventory, RESOURCE_NETWORK, vm->nics.items[i].network);
        if (network)
            names[n++] = network->name;
    }
    return (PlacementNames){names, n};
}

/* What is written at once: blocks that are shared, and those of a new disk, come later if at all. */
static uint64_t disk_bytes(const VmPlaces *self) {
    const Template *template = template_of(self);
    uint64_t bytes = 0;
    for (size_t i = 0; template && self->request->clone == CLONE_METHOD_FULL && i < template->disks.n; i++)
        bytes += template->disks.items[i].size;
    return MIN(bytes, template && template->size ? template->size : bytes);
}

static void ask(VmPlaces *self) {
    const Vm *vm = &self->first;
    const Template *template = template_of(self);
    self->asked = (PlacementRequest){.starts = self->request->start,
        .stays_together = template && !is_built(template),
        .memory_bytes = vm->memory,
        .vcpus = vm->vcpus,
        .vcpus_maximum = vm_has(vm, VM_FIELD_VCPUS_MAXIMUM) ? vm->vcpus_maximum : vm->vcpus,
        .disk_bytes = disk_bytes(self),
        .networks = network_names_of(self),
        .tags = tags_of(vm),
        .affinity = {(const char *const *)vm->affinity.items, vm->affinity.n},
        .anti_affinity = anti_affinity_of(vm)};
}

static bool plan_first(VmPlaces *self, Error *err) {
    g_autoptr(GRand) random = g_rand_new();
    self->plan = (VmPlanWorld){.source = template_of(self),
        .pool_id = self->pool->id,
        .default_network_id = default_network(self->inventory),
        .mac_prefix = vm_mac_prefix(self->pool),
        .is_mac_taken = is_mac_taken,
        .new_id = new_id,
        .data = self->inventory};
    return vm_plan(self->request, &self->plan, 1, random, &self->first, err);
}

static void free_vm(void *vm) {
    model_free(&vm_type, vm);
}

VmPlaces *vm_places_new(Inventory *inventory, const VmCreate *request, Error *err) {
    VmPlaces *self = g_new0(VmPlaces, 1);
    *self = (VmPlaces){.inventory = inventory, .request = request};
    self->texts = g_ptr_array_new_with_free_func(g_free);
    self->planned = g_ptr_array_new_with_free_func(free_vm);
    if (!find_named(self, err) || !plan_first(self, err)) {
        vm_places_free(self);
        return NULL;
    }
    collect(self);
    ask(self);
    self->placement = placement_new(&self->world, &self->asked);
    return self;
}

void vm_places_free(VmPlaces *self) {
    if (!self)
        return;
    placement_free(self->placement);
    vm_clear(&self->first);
    g_ptr_array_unref(self->texts);
    g_ptr_array_unref(self->planned);
    g_free(self->network_names);
    g_clear_pointer(&self->host_numbers, g_hash_table_unref);
    g_clear_pointer(&self->hosts, g_ptr_array_unref);
    g_clear_pointer(&self->repositories, g_ptr_array_unref);
    g_clear_pointer(&self->placed_hosts, g_array_unref);
    g_clear_pointer(&self->placed_repositories, g_array_unref);
    g_clear_pointer(&self->placed_vms, g_array_unref);
    g_clear_pointer(&self->lacks, g_array_unref);
    g_free(self);
}

/* ---- one VM after the other ---- */

/* How an error names what stands against a host; the rest is told by the plan. */
static const struct {
    ErrorCode code;
    const char *field;
} faults[PLACEMENT_FITS] = {
    [PLACEMENT_APART] = {ERROR_CONFLICT, "/count"},
    [PLACEMENT_AWAY] = {ERROR_NO_CAPACITY, "/pool"},
    [PLACEMENT_IN_MAINTENANCE] = {ERROR_WRONG_STATE, "/host"},
    [PLACEMENT_NO_REPOSITORY] = {ERROR_INVALID, "/repository"},
    [PLACEMENT_UNREADY] = {ERROR_WRONG_STATE, "/repository"},
    [PLACEMENT_LACKS] = {ERROR_UNSUPPORTED, "/template"},
    [PLACEMENT_NO_NETWORK] = {ERROR_CONFLICT, "/network"},
    [PLACEMENT_FEW_CPUS] = {ERROR_UNSUPPORTED, "/vcpus"},
    [PLACEMENT_CANNOT] = {ERROR_UNSUPPORTED, "/mode"},
    [PLACEMENT_NOT_BESIDE] = {ERROR_NO_CAPACITY, "/affinity"},
    [PLACEMENT_BESIDE] = {ERROR_NO_CAPACITY, "/anti_affinity"},
    [PLACEMENT_FULL] = {ERROR_NO_CAPACITY, "/memory"},
    [PLACEMENT_NO_ROOM] = {ERROR_NO_SPACE, "/repository"},
};

static uint64_t promised_on(const VmPlaces *self, size_t host, int64_t n_before) {
    return self->world.hosts[host].promised_bytes +
           (self->request->start ? (uint64_t)n_before * self->first.memory : 0);
}

/* In the words of the plan where it knows them: field, amounts, what could do it. */
static void tell_fault(
    const VmPlaces *self, const PlacementCandidate *closest, const char *name, int64_t n_before, Error *err) {
    const Object *host = self->hosts->pdata[closest->host];
    g_auto(Vm) vm = {0};
    vm_copy(&vm, &self->first);
    vm_set_name(&vm, name);
    bool is_of_host = closest->verdict == PLACEMENT_FEW_CPUS || closest->verdict == PLACEMENT_CANNOT ||
                      closest->verdict == PLACEMENT_FULL;
    if (is_of_host && !vm_plan_fits(&vm, self->plan.source, host->data, self->request->start,
                          promised_on(self, closest->host, n_before), err))
        return;
    g_autofree char *reason = placement_reason(self->placement, closest);
    const Object *repository =
        closest->repository == PLACEMENT_NONE ? NULL : self->repositories->pdata[closest->repository];
    bool is_iso = closest->verdict == PLACEMENT_LACKS && missing_iso(self, repository->id);
    error_set(err, faults[closest->verdict].code, is_iso ? "/iso" : faults[closest->verdict].field,
        "the host %s cannot take %s: %s", host->name, name, reason);
}

static bool refuse(const VmPlaces *self, const char *name, int64_t n_before, Error *err) {
    const PlacementCandidate *closest = placement_closest(self->placement);
    const PlacementCandidate *refused[1];
    if (!closest)
        return error_set(
            err, ERROR_NO_CAPACITY, "/pool", "the pool %s has no host that can be reached", self->pool->name);
    g_auto(Error) fault = {0};
    tell_fault(self, closest, name, n_before, &fault);
    if (placement_refused(self->placement, refused, G_N_ELEMENTS(refused)) == 1) {
        error_move(err, &fault);
        return false;
    }
    g_autofree char *reasons = placement_refusals(self->placement, TOLD_HOSTS);
    return error_set(err, fault.code, fault.field, "no host of the pool %s can take %s: %s", self->pool->name,
        name, reasons);
}

static json_t *explain(const VmPlaces *self, const PlacementCandidate *choice, const char *name) {
    const PlacementCandidate *refused[TOLD_HOSTS];
    size_t n = placement_refused(self->placement, refused, TOLD_HOSTS);
    g_autofree char *reason = placement_reason(self->placement, choice);
    json_t *list = json_array();
    for (size_t i = 0; i < MIN(n, TOLD_HOSTS); i++) {
        g_autofree char *why = placement_reason(self->placement, refused[i]);
        json_array_append_new(
            list, json_pack("{ss ss}", "host", self->world.hosts[refused[i]->host].name, "reason", why));
    }
    json_t *told = json_pack("{ss ss ss ss so}", "vm", name, "host", self->world.hosts[choice->host].name,
        "repository", self->world.repositories[choice->repository].name, "reason", reason, "refused", list);
    if (n > TOLD_HOSTS)
        json_object_set_new(told, "refused_more", json_integer((json_int_t)(n - TOLD_HOSTS)));
    return told;
}

bool vm_places_next(
    VmPlaces *self, int64_t i, const VmPlanWorld **ret_world, json_t **ret_reasons, Error *err) {
    const PlacementCandidate *choice = placement_look(self->placement);
    g_autofree char *name = vm_plan_name(self->request->name, i, self->request->count);
    if (!choice)
        return refuse(self, name, i - 1, err);
    if (ret_reasons)
        *ret_reasons = explain(self, choice, name);
    self->plan.host_id = ((const Object *)self->hosts->pdata[choice->host])->id;
    self->plan.repository_id = ((const Object *)self->repositories->pdata[choice->repository])->id;
    placement_take(self->placement, choice);
    *ret_world = &self->plan;
    return true;
}
