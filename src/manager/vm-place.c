/* The repository decides the host when it lies on one; the host decides the pool. */
#include "manager/vm-place.h"
#include "manager/job-kinds.h"
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

static bool occupies_memory(const Vm *vm) {
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

uint64_t host_promised_memory(Inventory *inventory, const char *host_id, const char *without_vm_id) {
    const GPtrArray *vms = inventory_list(inventory, RESOURCE_VM);
    uint64_t promised = 0;
    for (guint i = 0; i < vms->len; i++) {
        const Vm *vm = ((const Object *)vms->pdata[i])->data;
        if (g_strcmp0(vm->host, host_id) == 0 && g_strcmp0(vm->id, without_vm_id) != 0 && occupies_memory(vm))
            promised += vm->memory;
    }
    return promised;
}

static const Host *host_of(Inventory *inventory, const Vm *vm) {
    const Object *object = vm->host ? inventory_get(inventory, RESOURCE_HOST, vm->host) : NULL;
    return object ? object->data : NULL;
}

bool vm_may_start(Inventory *inventory, const Vm *vm, Error *err) {
    const Host *host = host_of(inventory, vm);
    if (!host || (vm->status.state != VM_STATE_STARTING && occupies_memory(vm)))
        return true;
    if (host->maintenance)
        return error_set(err, ERROR_WRONG_STATE, "/host", "the host %s is in maintenance", host->name);
    return vm_fits(vm, host, true, host_promised_memory(inventory, host->id, vm->id), err);
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

/* ---- place ---- */

typedef struct Place {
    const Object *pool, *host, *repository, *template;
} Place;

/* Named, or the template's, or the only one that fits to what was named. */
static bool find_repository(Inventory *inventory, const VmCreate *request, Place *place, Error *err) {
    const Template *template = place->template ? place->template->data : NULL;
    const char *wanted = request->repository ? request->repository : template ? template->repository : NULL;
    if (wanted) {
        place->repository = inventory_find(inventory, RESOURCE_REPOSITORY, wanted, err);
        return place->repository != NULL;
    }
    const GPtrArray *all = inventory_list(inventory, RESOURCE_REPOSITORY);
    g_autoptr(GString) names = g_string_new(NULL);
    guint n = 0;
    for (guint i = 0; i < all->len; i++) {
        const Object *object = all->pdata[i];
        const Repository *repository = object->data;
        if ((request->pool && repository->pool && g_strcmp0(repository->pool, request->pool) != 0) ||
            (request->host && repository->host && g_strcmp0(repository->host, request->host) != 0))
            continue;
        place->repository = object;
        g_string_append_printf(names, "%s%s", n++ ? ", " : "", object->name);
    }
    if (n == 1)
        return true;
    return error_set(err, ERROR_INVALID, "/repository",
        n ? "repository: there are several, name one: %s" : "repository: there is none%s yet", names->str);
}

static bool can_take(const Object *object, const char *pool_id) {
    const Host *host = object->data;
    return g_strcmp0(host->pool, pool_id) == 0 && !host->maintenance &&
           (host->status.state == HOST_STATE_CONNECTED || host->status.state == HOST_STATE_DEGRADED);
}

static int64_t free_memory(Inventory *inventory, const Object *object) {
    const Host *host = object->data;
    return (int64_t)host->status.memory - (int64_t)host->memory_reserve -
           (int64_t)host_promised_memory(inventory, object->id, NULL);
}

typedef struct Candidate {
    const Object *host;
    bool fits;
    int64_t free_memory;
} Candidate;

static bool is_better(const Candidate *one, const Candidate *other) {
    if (!other->host || one->fits != other->fits)
        return !other->host || one->fits;
    return one->free_memory > other->free_memory;
}

/* The one in the pool with the most free memory among those that can run it, else among all, so that the
 * reason can be told; the only one even while it is out of reach. */
static const Object *best_host(
    Inventory *inventory, const char *pool_id, const Vm *vm, const Template *source) {
    const GPtrArray *all = inventory_list(inventory, RESOURCE_HOST);
    const Object *only = NULL;
    Candidate best = {0};
    guint n = 0;
    for (guint i = 0; i < all->len; i++) {
        const Object *object = all->pdata[i];
        if (g_strcmp0(((const Host *)object->data)->pool, pool_id) == 0) {
            only = object;
            n++;
        }
        if (!can_take(object, pool_id))
            continue;
        Candidate candidate = {object, !vm || vm_plan_fits(vm, source, object->data, false, 0, NULL),
            free_memory(inventory, object)};
        if (is_better(&candidate, &best))
            best = candidate;
    }
    return best.host ? best.host : n == 1 ? only : NULL;
}

/* The first of the VMs, which all ask for the same; what cannot be planned is told later. */
static const Object *choose_host(
    Inventory *inventory, const VmCreate *request, const Place *place, const VmPlanWorld *world) {
    g_auto(Vm) first = {0};
    g_autoptr(GRand) random = g_rand_new();
    bool is_planned = vm_plan(request, world, 1, random, &first, NULL);
    return best_host(inventory, place->pool->id, is_planned ? &first : NULL, world->source);
}

static bool find_host(
    Inventory *inventory, const VmCreate *request, const VmPlanWorld *world, Place *place, Error *err) {
    const Repository *repository = place->repository->data;
    const char *wanted = request->host ? request->host : repository->host;
    if (wanted) {
        place->host = inventory_find(inventory, RESOURCE_HOST, wanted, err);
    } else {
        place->host = choose_host(inventory, request, place, world);
        if (!place->host)
            error_set(err, ERROR_NO_CAPACITY, "/pool", "the pool %s has no host that can be reached",
                place->pool->name);
    }
    if (!place->host)
        return false;
    if (repository->host && g_strcmp0(repository->host, place->host->id) != 0)
        return error_set(err, ERROR_CONFLICT, "/host", "the repository %s lies on another host than %s",
            place->repository->name, place->host->name);
    return true;
}

/* Named, or that of what was named. */
static bool find_pool(Inventory *inventory, const VmCreate *request, Place *place, Error *err) {
    const Repository *repository = place->repository->data;
    const char *host_id = request->host ? request->host : repository->host;
    const Object *host = host_id ? inventory_get(inventory, RESOURCE_HOST, host_id) : NULL;
    const char *wanted = request->pool ? request->pool
                         : host        ? ((const Host *)host->data)->pool
                                       : repository->pool;
    place->pool = the_object(inventory, RESOURCE_POOL, wanted, "pool", err);
    return place->pool != NULL;
}

static bool check_pool(const Place *place, Error *err) {
    const Host *host = place->host->data;
    const Repository *repository = place->repository->data;
    if (g_strcmp0(host->pool, place->pool->id) != 0)
        return error_set(err, ERROR_CONFLICT, "/pool", "the host %s does not belong to the pool %s",
            host->name, place->pool->name);
    if (repository->pool && g_strcmp0(repository->pool, place->pool->id) != 0)
        return error_set(err, ERROR_CONFLICT, "/pool", "the repository %s does not belong to the pool %s",
            repository->name, place->pool->name);
    return !host->maintenance ||
           error_set(err, ERROR_WRONG_STATE, "/host", "the host %s is in maintenance", host->name);
}

bool vm_place(Inventory *inventory, const VmCreate *request, VmPlanWorld *ret_world, Error *err) {
    Place place = {0};
    if (request->template &&
        !(place.template = inventory_find(inventory, RESOURCE_TEMPLATE, request->template, err)))
        return false;
    if (!find_repository(inventory, request, &place, err) || !find_pool(inventory, request, &place, err))
        return false;
    VmPlanWorld world = {.source = place.template ? place.template->data : NULL,
        .pool_id = place.pool->id,
        .repository_id = place.repository->id,
        .default_network_id = default_network(inventory),
        .mac_prefix = vm_mac_prefix(place.pool),
        .is_mac_taken = is_mac_taken,
        .new_id = new_id,
        .data = inventory};
    if (!find_host(inventory, request, &world, &place, err) || !check_pool(&place, err))
        return false;
    world.host_id = place.host->id;
    *ret_world = world;
    return true;
}
