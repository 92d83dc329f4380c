/*
 * Jobs that change a VM's definition: vm.update and one for each kind of device. All have the same steps, in
 * this order: the old definition is remembered, the new one is stored, the host makes it true. Going back
 * stores the old definition again and then lets the host make that true, so that no file stays that no
 * definition names.
 */
#include <string.h>
#include "engine/vm-change.h"
#include "manager/job-kinds.h"
#include "manager/reconcile.h"
#include "manager/vm-place.h"

static MethodId method_of(const Job *job) {
    for (MethodId id = 0; id < METHOD_MAX; id++)
        if (g_str_equal(methods[id].name, job->kind))
            return id;
    return METHOD_MAX;
}

/* ---- the world as the engine sees it ---- */

typedef struct MacQuestion {
    Inventory *inventory;
    const char *vm_id;
} MacQuestion;

static bool is_mac_of_another(const char *mac, void *data) {
    const MacQuestion *question = data;
    const char *owner = NULL;
    return inventory_has_mac(question->inventory, mac, &owner) && g_strcmp0(owner, question->vm_id) != 0;
}

static bool change(
    Inventory *inventory, const Job *job, const Vm *before, guint32 seed, Vm *ret_vm, Error *err) {
    MacQuestion question = {inventory, before->id};
    const Object *pool = inventory_get(inventory, RESOURCE_POOL, before->pool);
    const char *range = pool ? ((const Pool *)pool->data)->mac_range : NULL;
    const VmChangeWorld world = {.default_network_id = default_network(inventory),
        .mac_prefix = range ? range : DEFAULT_MAC_PREFIX,
        .is_mac_taken = is_mac_of_another,
        .data = &question};
    return vm_change(method_of(job), before, job->parameters, &world, seed, ret_vm, err);
}

/* ---- before anything starts ---- */

static bool check_iso(Inventory *inventory, const Vm *vm, const char *id, Error *err) {
    const Object *iso = inventory_get(inventory, RESOURCE_ISO, id);
    if (!iso)
        return error_set(err, ERROR_NOT_FOUND, "/image", "the ISO is gone");
    return g_strcmp0(((const Iso *)iso->data)->repository, vm->repository) == 0 ||
           error_set(err, ERROR_UNSUPPORTED, "/image", "the ISO %s lies in another repository than %s",
               iso->name, vm->name);
}

/* ISOs that come into a drive; `job` (may be NULL) holds them, so that nobody deletes them meanwhile. */
static bool check_new_isos(Inventory *inventory, const Vm *before, const Vm *vm, Job *job, Error *err) {
    for (size_t i = 0; i < vm->disks.n; i++) {
        const Disk *disk = &vm->disks.items[i], *old = vm_disk_find(before, disk->id);
        if (!disk->image || (old && g_strcmp0(old->image, disk->image) == 0))
            continue;
        if (!check_iso(inventory, vm, disk->image, err))
            return false;
        if (job)
            job_claim_add(job, RESOURCE_ISO, disk->image, true, "it is put into a drive");
    }
    return true;
}

static bool has_nic_in(const Vm *vm, const char *network) {
    for (size_t i = 0; i < vm->nics.n; i++)
        if (g_strcmp0(vm->nics.items[i].network, network) == 0)
            return true;
    return false;
}

/* Networks that a NIC is plugged into; as with ISOs. */
static bool check_new_networks(Inventory *inventory, const Vm *before, const Vm *vm, Job *job, Error *err) {
    for (size_t i = 0; i < vm->nics.n; i++) {
        const char *network = vm->nics.items[i].network;
        if (!network || has_nic_in(before, network))
            continue;
        if (!inventory_get(inventory, RESOURCE_NETWORK, network))
            return error_set(err, ERROR_NOT_FOUND, "/network", "the network is gone");
        if (job)
            job_claim_add(job, RESOURCE_NETWORK, network, true, "a NIC is plugged into it");
    }
    return true;
}

static json_t *machine_of(const Vm *vm) {
    static const char *const beside[] = {"name", "description", "tags", "affinity", "anti_affinity", "cpu",
        "keymap", "run_policy", "protected", "cpu_from", "created", "updated", "revision"};
    json_t *definition = vm_encode(vm, MODEL_ENCODE_DEFINITION);
    for (size_t i = 0; i < G_N_ELEMENTS(beside); i++)
        json_object_del(definition, beside[i]);
    return definition;
}

/* What lies in a file is the memory of just this machine with just these disks. */
static bool check_memory(const Vm *now, const Vm *before, const Vm *after, Error *err) {
    if (!vm_has(now, VM_FIELD_STATUS) ||
        (now->status.state != VM_STATE_SAVED && now->status.state != VM_STATE_SAVING))
        return true;
    g_autoptr(json_t) old = machine_of(before), new = machine_of(after);
    return json_equal(old, new) ||
           error_set(err, ERROR_WRONG_STATE, NULL,
               "%s is saved: start it first, or kill it, which drops its memory", now->name);
}

/* What a dry run shows. */
static json_t *devices_of(const Vm *vm) {
    g_autoptr(json_t) all = vm_encode(vm, MODEL_ENCODE_DEFINITION);
    return json_pack(
        "{sO* sO*}", "disks", json_object_get(all, "disks"), "nics", json_object_get(all, "nics"));
}

/* Only an update's parameters have the definition's fields. */
static bool check_host(Inventory *inventory, const Job *job, const Vm *before, const Vm *vm, Error *err) {
    if (vm_may_become(inventory, before, vm, err))
        return true;
    if (err && method_of(job) != METHOD_VM_UPDATE)
        g_clear_pointer(&err->field, g_free);
    return false;
}

static bool prepare_change(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    const Vm *before = asked->target->data;
    guint32 seed = g_random_int();
    g_auto(Vm) vm = {0};
    if (!change(inventory, job, before, seed, &vm, err) || !check_memory(before, before, &vm, err) ||
        !check_new_isos(inventory, before, &vm, job, err) ||
        !check_new_networks(inventory, before, &vm, job, err))
        return false;
    const Object *other = inventory_find(inventory, RESOURCE_VM, vm.name, NULL);
    if (other && !g_str_equal(other->id, vm.id))
        return error_set(err, ERROR_EXISTS, "/name", "there is a VM %s already", vm.name);
    if (!vm.host)
        return error_set(err, ERROR_WRONG_STATE, NULL, "%s has no host", vm.name);
    if (!check_host(inventory, job, before, &vm, err) || !reconcile_check(inventory, vm.repository, err))
        return false;
    job_claim_add(job, RESOURCE_VM, vm.id, false, job->kind);
    job_take_data(job, json_pack("{sI so}", "seed", (json_int_t)seed, "planned", devices_of(&vm)));
    return true;
}

/* ---- 1. remember ---- */

static const char *target_id(JobRun *run) {
    return job_definition(run)->target + strlen("vm/");
}

static const Vm *target_vm(JobRun *run) {
    const Object *object = inventory_get(job_inventory(run), RESOURCE_VM, target_id(run));
    if (!object)
        step_failed(run, ERROR_NOT_FOUND, NULL, "the VM is gone");
    return object ? object->data : NULL;
}

static void remember(JobRun *run) {
    const Vm *vm = target_vm(run);
    if (!vm)
        return;
    job_remember(run, "before", vm_encode(vm, MODEL_ENCODE_DEFINITION));
    job_step_done(run);
}

/* The definitions before and after; the same ones however often they are asked for. */
static bool read_change(JobRun *run, Vm *ret_before, Vm *ret_after, Error *err) {
    const json_t *data = job_data(run);
    guint32 seed = (guint32)json_integer_value(json_object_get(data, "seed"));
    return vm_decode(json_object_get(data, "before"), MODEL_STORED, ret_before, err) &&
           change(job_inventory(run), job_definition(run), ret_before, seed, ret_after, err);
}

/* Disks whose files must not stay: going forward those that the user wants purged, going back those that are
 * new. */
static json_t *discarded(const Vm *from, const Vm *to, bool is_wanted) {
    json_t *ids = json_array();
    for (size_t i = 0; is_wanted && i < from->disks.n; i++)
        if (from->disks.items[i].kind == DISK_KIND_DISK && !vm_disk_find(to, from->disks.items[i].id))
            json_array_append_new(ids, json_string(from->disks.items[i].id));
    return ids;
}

static void tell_host(JobRun *run, const Vm *vm, json_t *take_discarded, FleetDoneFn done) {
    g_auto(Error) err = {0};
    json_t *message = agent_vm_message(job_inventory(run), vm, NULL, &err);
    if (!message) {
        json_decref(take_discarded);
        job_step_failed(run, &err);
        return;
    }
    json_object_set_new(message, "discard", take_discarded);
    fleet_call(run, vm->host, AGENT_METHOD_VM_UPDATE, message, RESOURCE_VM, vm->id, done);
}

/* ---- 2. define ---- */

static void define(JobRun *run) {
    g_auto(Vm) before = {0}, after = {0};
    g_auto(Error) err = {0};
    const Vm *now = target_vm(run);
    if (!now)
        return;
    if (!read_change(run, &before, &after, &err) || !check_memory(now, &before, &after, &err) ||
        !check_new_isos(job_inventory(run), &before, &after, NULL, &err) ||
        !check_new_networks(job_inventory(run), &before, &after, NULL, &err)) {
        job_step_failed(run, &err);
        return;
    }
    job_remember(run, "is_defined", json_true());
    InventoryChange *stored = inventory_change_new(job_inventory(run));
    inventory_change_put(stored, RESOURCE_VM, &after);
    commit_and_go_on(run, stored);
}

static bool is_defined(JobRun *run) {
    return json_is_true(json_object_get(job_data(run), "is_defined"));
}

static void define_again(JobRun *run) {
    g_auto(Vm) before = {0};
    if (!is_defined(run) || !inventory_get(job_inventory(run), RESOURCE_VM, target_id(run)) ||
        !vm_decode(json_object_get(job_data(run), "before"), MODEL_STORED, &before, NULL)) {
        job_step_done(run);
        return;
    }
    InventoryChange *stored = inventory_change_new(job_inventory(run));
    inventory_change_put(stored, RESOURCE_VM, &before);
    commit_and_go_on(run, stored);
}

/* ---- 3. apply ---- */

/* At once; the host's next report says the same. */
static void show_pending(Inventory *inventory, const char *vm_id, const json_t *result) {
    Vm *vm = inventory_runtime(inventory, RESOURCE_VM, vm_id);
    json_t *pending = json_object_get(result, "pending");
    g_autoptr(json_t) status = vm_status_encode(vm_put_status(vm), MODEL_ENCODE_ALL);
    g_auto(VmStatus) shown = {0};
    json_object_del(status, "pending");
    if (pending)
        json_object_set(status, "pending", pending);
    if (!vm_status_decode(status, MODEL_STORED, &shown, NULL))
        return;
    vm_status_clear(&vm->status);
    vm_status_copy(&vm->status, &shown);
    inventory_runtime_changed(inventory, RESOURCE_VM, vm_id);
}

static void applied(JobRun *run, const json_t *result) {
    Inventory *inventory = job_inventory(run);
    const Object *object = inventory_get(inventory, RESOURCE_VM, target_id(run));
    g_auto(AgentVmChanged) changed = {0};
    g_auto(Error) err = {0};
    if (!object || !agent_vm_changed_decode(result, MODEL_STORED, &changed, &err)) {
        step_failed(run, ERROR_PROTOCOL, NULL, "the agent's answer is not understood");
        return;
    }
    show_pending(inventory, object->id, result);
    job_result(run, json_deep_copy(result));
    /* what the repository chose for a new disk */
    g_auto(Vm) vm = {0};
    vm_copy(&vm, object->data);
    for (size_t i = 0; i < changed.disks.n; i++) {
        Disk *disk = (Disk *)vm_disk_find(&vm, changed.disks.items[i].id);
        if (disk && disk_has(&changed.disks.items[i], DISK_FIELD_FORMAT))
            disk_set_format(disk, changed.disks.items[i].format);
    }
    if (model_equal(&vm_type, &vm, object->data)) {
        job_step_done(run);
        return;
    }
    InventoryChange *stored = inventory_change_new(inventory);
    inventory_change_put(stored, RESOURCE_VM, &vm);
    commit_and_go_on(run, stored);
}

static void apply(JobRun *run) {
    g_auto(Vm) before = {0}, after = {0};
    g_auto(Error) err = {0};
    const Vm *vm = target_vm(run);
    if (!vm)
        return;
    if (!read_change(run, &before, &after, &err)) {
        job_step_failed(run, &err);
        return;
    }
    const Job *job = job_definition(run);
    tell_host(
        run, vm, discarded(&before, &after, vm_change_purges(method_of(job), job->parameters)), applied);
}

/* The last step back: the store has the old definition again. */
static void apply_again(JobRun *run) {
    g_auto(Vm) before = {0}, after = {0};
    const Object *object = inventory_get(job_inventory(run), RESOURCE_VM, target_id(run));
    if (!object || !is_defined(run) || !read_change(run, &before, &after, NULL))
        job_step_done(run);
    else
        tell_host(run, object->data, discarded(&after, &before, true), NULL);
}

static const JobStepKind steps[] = {
    {"remember", "Remembers what is", remember, apply_again},
    {"define", "Stores the new definition", define, define_again},
    {"apply", "Makes and removes disks, writes vm.json, changes what can be changed while it runs", apply,
        NULL},
};

#define CHANGE(identifier, method) \
    static const JobKind identifier = {method, steps, G_N_ELEMENTS(steps), prepare_change}

CHANGE(vm_update, "vm.update");
CHANGE(vm_attach_disk, "vm.attach-disk");
CHANGE(vm_detach_disk, "vm.detach-disk");
CHANGE(vm_resize_disk, "vm.resize-disk");
CHANGE(vm_attach_nic, "vm.attach-nic");
CHANGE(vm_detach_nic, "vm.detach-nic");
CHANGE(vm_change_nic, "vm.change-nic");
CHANGE(vm_insert_iso, "vm.insert-iso");
CHANGE(vm_eject_iso, "vm.eject-iso");

const JobKind *const vm_change_job_kinds[] = {&vm_update, &vm_attach_disk, &vm_detach_disk, &vm_resize_disk,
    &vm_attach_nic, &vm_detach_nic, &vm_change_nic, &vm_insert_iso, &vm_eject_iso};
const size_t n_vm_change_job_kinds = G_N_ELEMENTS(vm_change_job_kinds);
