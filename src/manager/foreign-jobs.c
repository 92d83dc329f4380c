/*
 * vm.adopt: a VM that another tool made becomes one of Lodge. What its host told of it comes with the
 * request; the definition that follows is settled before anything begins, and its host compares it with what
 * is there. From the moment when the other tool has forgotten the VM there is no way back.
 */
#include <string.h>
#include "manager/job-kinds.h"
#include "manager/network-hosts.h"
#include "manager/reconcile.h"
#include "manager/repository-hosts.h"
#include "model/format.h"

enum { TEXT_BYTES = 400 };

/* What an adoption is planned from; borrowed. */
typedef struct Adoption {
    Inventory *inventory;
    const VmAdopt *request;
    const ForeignVm *found;
    const Host *host;
    const Repository *repository;
} Adoption;

/* ---- may it be? ---- */

static bool check_obstacles(const Adoption *self, Error *err) {
    const ForeignVm *found = self->found;
    g_autoptr(GString) text = g_string_new(NULL);
    for (size_t i = 0; i < found->obstacles.n && text->len < TEXT_BYTES; i++)
        g_string_append_printf(text, "%s%s", i ? "; " : "", found->obstacles.items[i]);
    return text->len == 0 || error_set(err, ERROR_UNSUPPORTED, "/vm", "%s on %s cannot be adopted: %s",
                                 found->name, self->host->name, text->str);
}

static const char *name_of(const Adoption *self) {
    return self->request->name ? self->request->name : self->found->name;
}

static bool check_name(const Adoption *self, Error *err) {
    const char *name = name_of(self);
    if (!is_object_name(name))
        return error_set(
            err, ERROR_INVALID, "/name", "name: %s is no name of a VM here; give it another one", name);
    const Object *same = inventory_get(self->inventory, RESOURCE_VM, self->found->id);
    if (same)
        return error_set(
            err, ERROR_EXISTS, "/vm", "the VM %s of Lodge has its uuid %s", same->name, self->found->id);
    return !inventory_has_name(self->inventory, RESOURCE_VM, name) ||
           error_set(err, ERROR_EXISTS, "/name",
               "there is a VM %s already; give this one another name (name)", name);
}

static bool check_macs(const Adoption *self, Error *err) {
    const ForeignVm *found = self->found;
    for (size_t i = 0; i < found->nics.n; i++) {
        const char *owner = NULL, *mac = found->nics.items[i].mac;
        if (!inventory_has_mac(self->inventory, mac, &owner))
            continue;
        const Object *other = inventory_get(self->inventory, RESOURCE_VM, owner);
        return error_set(err, ERROR_EXISTS, "/vm", "the VM %s has its MAC %s already",
            other ? other->name : "another", mac);
    }
    return true;
}

static const Disk *disk_at(const Vm *vm, const char *path) {
    for (size_t i = 0; path && i < vm->disks.n; i++)
        if (g_strcmp0(vm->disks.items[i].path, path) == 0)
            return &vm->disks.items[i];
    return NULL;
}

/* Two VMs must not write to one disk. */
static bool check_disks(const Adoption *self, Error *err) {
    const GPtrArray *vms = inventory_list(self->inventory, RESOURCE_VM);
    for (guint i = 0; i < vms->len; i++) {
        const Vm *vm = ((const Object *)vms->pdata[i])->data;
        if (g_strcmp0(vm->host, self->host->id) != 0)
            continue;
        for (size_t d = 0; d < self->found->disks.n; d++)
            if (disk_at(vm, self->found->disks.items[d].path))
                return error_set(err, ERROR_IN_USE, "/vm", "the VM %s has its disk %s", vm->name,
                    self->found->disks.items[d].path);
    }
    return true;
}

/* The named one, or the only one of the host's own. */
static bool choose_repository(Adoption *self, Error *err) {
    const GPtrArray *all = inventory_list(self->inventory, RESOURCE_REPOSITORY);
    const char *named = self->request->repository;
    size_t n = 0;
    for (guint i = 0; i < all->len; i++) {
        const Repository *repository = ((const Object *)all->pdata[i])->data;
        bool is_meant = named ? strcmp(repository->id, named) == 0 : !repository_is_shared(repository);
        if (!is_meant || !repository_is_of(repository, self->host))
            continue;
        self->repository = repository;
        n++;
    }
    if (n != 1)
        return error_set(err, ERROR_INVALID, "/repository",
            n       ? "repository: %s has several; name one"
            : named ? "repository: that one is not on %s"
                    : "repository: %s has none of its own yet",
            self->host->name);
    if (repository_is_shared(self->repository) && self->found->disks.n > 0)
        return error_set(err, ERROR_UNSUPPORTED, "/repository",
            "repository: %s is shared by several hosts, but the VM's disks are seen by %s only; use one of "
            "its "
            "own",
            self->repository->name, self->host->name);
    return repository_check_on(self->repository, self->host, err) &&
           reconcile_check(self->inventory, self->repository->id, err);
}

/* ---- its networks ---- */

static bool is_plugged_into(const Adoption *self, const ForeignNic *nic, const Network *network) {
    g_autoptr(json_t) there = network_definition(network, self->host->id);
    const char *bridge = json_text_at(there, "bridge");
    bool is_of_pool = !network->pool || g_strcmp0(network->pool, self->host->pool) == 0;
    return is_of_pool && bridge && g_strcmp0(bridge, nic->bridge) == 0;
}

/* NULL: none. */
static const char *network_for(const Adoption *self, const ForeignNic *nic) {
    const VmAdopt *request = self->request;
    for (size_t i = 0; i < request->networks.n; i++) {
        const char *from = request->networks.items[i].from;
        if (g_strcmp0(from, nic->bridge) == 0 || g_strcmp0(from, nic->network) == 0)
            return request->networks.items[i].to;
    }
    const GPtrArray *all = inventory_list(self->inventory, RESOURCE_NETWORK);
    for (guint i = 0; i < all->len; i++) {
        const Network *network = ((const Object *)all->pdata[i])->data;
        if (is_plugged_into(self, nic, network))
            return network->id;
    }
    return NULL;
}

static bool no_network(const Adoption *self, const ForeignNic *nic, Error *err) {
    const char *plug = nic->bridge ? nic->bridge : nic->network ? nic->network : "?";
    return error_set(err, ERROR_NOT_FOUND, "/networks",
        "no network of Lodge on %s has the bridge %s%s%s%s of the NIC %s: say which one it gets (--network "
        "from=%s,to=NETWORK), or make one of it (lodge network create NAME --kind bridge --bridge %s)",
        self->host->name, plug, nic->network ? " (network " : "", nic->network ? nic->network : "",
        nic->network ? ")" : "", nic->mac, plug, plug);
}

/* A word that stands for nothing is a slip. */
static bool check_named_networks(const Adoption *self, Error *err) {
    for (size_t i = 0; i < self->request->networks.n; i++) {
        const char *from = self->request->networks.items[i].from;
        bool is_used = false;
        for (size_t n = 0; n < self->found->nics.n; n++)
            is_used |= g_strcmp0(from, self->found->nics.items[n].bridge) == 0 ||
                       g_strcmp0(from, self->found->nics.items[n].network) == 0;
        g_autofree char *field = g_strdup_printf("/networks/%zu/from", i);
        if (!is_used)
            return error_set(
                err, ERROR_NOT_FOUND, field, "from: %s has no NIC on %s", self->found->name, from);
    }
    return true;
}

/* ---- its definition ---- */

static void add_disk(Vm *vm, const Disk *found, size_t index) {
    g_autofree char *id = uuid_new(), *name = g_strdup_printf("disk%zu", index);
    Disk *disk = vm_add_disks(vm);
    disk_copy(disk, found);
    disk_set_id(disk, id);
    if (!disk->name)
        disk_set_name(disk, name);
    model_apply_defaults(&disk_type, disk);
}

static bool add_nic(const Adoption *self, Vm *vm, const ForeignNic *found, size_t index, Error *err) {
    const char *network = network_for(self, found);
    g_autofree char *id = uuid_new(), *name = g_strdup_printf("nic%zu", index);
    if (!network)
        return no_network(self, found, err);
    Nic *nic = vm_add_nics(vm);
    nic_set_id(nic, id);
    nic_set_name(nic, name);
    nic_set_network(nic, network);
    nic_set_mac(nic, found->mac);
    if (foreign_nic_has(found, FOREIGN_NIC_FIELD_MODEL))
        nic_set_model(nic, found->model);
    nic_set_connected(nic, !foreign_nic_has(found, FOREIGN_NIC_FIELD_CONNECTED) || found->connected);
    nic_set_pci(nic, found->pci);
    return true;
}

static void set_machine(const ForeignVm *found, Vm *vm) {
    vm_set_vcpus(vm, found->vcpus);
    if (foreign_vm_has(found, FOREIGN_VM_FIELD_VCPUS_MAXIMUM))
        vm_set_vcpus_maximum(vm, found->vcpus_maximum);
    vm_set_memory(vm, found->memory);
    vm_set_firmware(vm, found->firmware);
    if (foreign_vm_has(found, FOREIGN_VM_FIELD_CHIPSET))
        vm_set_chipset(vm, found->chipset);
    if (foreign_vm_has(found, FOREIGN_VM_FIELD_MODE))
        vm_set_mode(vm, found->mode);
    for (size_t i = 0; i < found->boot_order.n; i++)
        *vm_add_boot_order(vm) = found->boot_order.items[i];
    if (foreign_vm_has(found, FOREIGN_VM_FIELD_CONSOLE))
        console_copy(vm_put_console(vm), &found->console);
    vm_set_run_policy(vm, found->autostart ? RUN_POLICY_ALWAYS : RUN_POLICY_MANUAL);
}

static bool plan_vm(const Adoption *self, Vm *vm, Error *err) {
    const ForeignVm *found = self->found;
    vm_set_id(vm, found->id);
    vm_set_name(vm, name_of(self));
    vm_set_pool(vm, self->host->pool);
    vm_set_host(vm, self->host->id);
    vm_set_repository(vm, self->repository->id);
    set_machine(found, vm);
    for (size_t i = 0; i < found->disks.n; i++)
        add_disk(vm, &found->disks.items[i], i);
    for (size_t i = 0; i < found->nics.n; i++)
        if (!add_nic(self, vm, &found->nics.items[i], i, err))
            return false;
    model_apply_defaults(&vm_type, vm);
    return true;
}

static bool begin_adoption(Inventory *inventory, const VmAdopt *request, Adoption *ret_self, Error *err) {
    const Object *host = inventory_get(inventory, RESOURCE_HOST, request->host);
    if (!vm_adopt_has(request, VM_ADOPT_FIELD_FOUND) || !request->found.id || !request->found.name)
        return error_set(err, ERROR_NOT_FOUND, "/vm", "its host has not told of it");
    if (!host)
        return error_set(err, ERROR_NOT_FOUND, "/host", "the host is gone");
    *ret_self =
        (Adoption){.inventory = inventory, .request = request, .found = &request->found, .host = host->data};
    return true;
}

static json_t *warnings_of(const ForeignVm *found) {
    json_t *list = json_array();
    for (size_t i = 0; i < found->warnings.n; i++)
        json_array_append_new(list, json_string(found->warnings.items[i]));
    return list;
}

static bool prepare_adopt(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    g_auto(VmAdopt) request = {0};
    g_auto(Vm) vm = {0};
    Adoption self;
    if (!vm_adopt_decode(asked->parameters, MODEL_STORED, &request, err) ||
        !begin_adoption(inventory, &request, &self, err) || !check_obstacles(&self, err) ||
        !check_name(&self, err) || !check_macs(&self, err) || !check_disks(&self, err) ||
        !choose_repository(&self, err) || !check_named_networks(&self, err) || !plan_vm(&self, &vm, err))
        return false;
    g_autofree char *target = g_strconcat("vm/", vm.id, NULL);
    job_set_target(job, target);
    job_set_target_name(job, vm.name);
    job_claim_add(job, RESOURCE_VM, vm.id, false, "it is adopted");
    job_claim_add(job, RESOURCE_HOST, self.host->id, true, "the VM is there");
    claim_needs(job, &vm);
    json_t *plan = vm_encode(&vm, MODEL_ENCODE_DEFINITION);
    job_take_data(job, json_pack("{s[o] so}", "vms", plan, "warnings", warnings_of(self.found)));
    return true;
}

/* ---- steps ---- */

static bool planned_vm(JobRun *run, Vm *ret_vm, Error *err) {
    return vm_decode(json_array_get(json_object_get(job_data(run), "vms"), 0), MODEL_STORED, ret_vm, err);
}

static const char *target_id(JobRun *run) {
    return job_definition(run)->target + strlen("vm/");
}

/* Ids of disks and NICs are drawn anew for each job. */
static bool is_of_this_job(const Vm *listed, const Vm *vm) {
    bool is_same = listed->disks.n == vm->disks.n && listed->nics.n == vm->nics.n;
    for (size_t i = 0; is_same && i < vm->disks.n; i++)
        is_same = g_strcmp0(listed->disks.items[i].id, vm->disks.items[i].id) == 0;
    for (size_t i = 0; is_same && i < vm->nics.n; i++)
        is_same = g_strcmp0(listed->nics.items[i].id, vm->nics.items[i].id) == 0;
    return is_same && g_strcmp0(listed->name, vm->name) == 0;
}

static bool check_again(JobRun *run, const Vm *vm, Error *err) {
    const json_t *parameters = job_parameters(run);
    g_auto(VmAdopt) request = {0};
    Adoption self;
    return vm_adopt_decode(parameters, MODEL_STORED, &request, err) &&
           begin_adoption(job_inventory(run), &request, &self, err) && check_name(&self, err) &&
           check_macs(&self, err) && check_disks(&self, err) && check_needs(job_inventory(run), vm, err);
}

static void define(JobRun *run) {
    g_auto(Vm) vm = {0};
    g_auto(Error) err = {0};
    if (!planned_vm(run, &vm, &err)) {
        job_step_failed(run, &err);
        return;
    }
    const Object *listed = inventory_get(job_inventory(run), RESOURCE_VM, vm.id);
    if (listed && is_of_this_job(listed->data, &vm)) { /* before a crash */
        job_step_done(run);
        return;
    }
    if (!check_again(run, &vm, &err)) {
        job_step_failed(run, &err);
        return;
    }
    vm_status_set_state(vm_put_status(&vm), VM_STATE_CREATING);
    vm_status_set_job(&vm.status, job_definition(run)->id);
    InventoryChange *change = inventory_change_new(job_inventory(run));
    inventory_change_put(change, RESOURCE_VM, &vm);
    commit_and_go_on(run, change);
}

static void undefine(JobRun *run) {
    g_auto(Vm) vm = {0};
    const Object *listed = inventory_get(job_inventory(run), RESOURCE_VM, target_id(run));
    if (!listed || !planned_vm(run, &vm, NULL) || !is_of_this_job(listed->data, &vm)) {
        job_step_done(run);
        return;
    }
    InventoryChange *change = inventory_change_new(job_inventory(run));
    inventory_change_delete(change, RESOURCE_VM, vm.id);
    commit_and_go_on(run, change);
}

static void taken(JobRun *run, const json_t *result) {
    take_vm_state(job_inventory(run), result);
    const Object *vm = inventory_get(job_inventory(run), RESOURCE_VM, target_id(run));
    job_result(run, json_pack("{ss* ss*}", "id", vm ? vm->id : NULL, "name", vm ? vm->name : NULL));
    job_step_done(run);
}

static void take(JobRun *run) {
    g_auto(Error) err = {0};
    const Object *object = inventory_get(job_inventory(run), RESOURCE_VM, target_id(run));
    json_t *message = object ? agent_vm_message(job_inventory(run), object->data, NULL, &err) : NULL;
    if (!object)
        error_set(&err, ERROR_NOT_FOUND, NULL, "the VM is gone");
    if (message)
        fleet_call(run, ((const Vm *)object->data)->host, AGENT_METHOD_VM_ADOPT, message, RESOURCE_VM,
            object->id, taken);
    else
        job_step_failed(run, &err);
}

static const JobStepKind adopt_steps[] = {
    {"define", "Takes its name, uuid and MACs", define, undefine},
    {"take",
        "Writes its definition beside the other tool's, and lets that tool forget it; its disks stay where "
        "they are",
        take, NULL, .has_no_way_back = true},
};
static const JobKind vm_adopt = {"vm.adopt", adopt_steps, G_N_ELEMENTS(adopt_steps), prepare_adopt};

const JobKind *const foreign_job_kinds[] = {&vm_adopt};
const size_t n_foreign_job_kinds = G_N_ELEMENTS(foreign_job_kinds);
