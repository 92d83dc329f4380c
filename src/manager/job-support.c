/* What several kinds of jobs need. */
#include <string.h>
#include "manager/job-kinds.h"
#include "manager/network-hosts.h"

const Object *the_object(
    Inventory *inventory, ResourceId kind, const char *id, const char *field, Error *err) {
    if (id)
        return inventory_find(inventory, kind, id, err);
    const GPtrArray *list = inventory_list(inventory, kind);
    if (list->len == 1)
        return list->pdata[0];
    g_autofree char *pointer = g_strconcat("/", field, NULL);
    error_set(err, ERROR_INVALID, pointer,
        list->len ? "%s: there are several; name one" : "%s: there is none yet", field);
    return NULL;
}

const char *default_network(Inventory *inventory) {
    const Object *object = inventory_find(inventory, RESOURCE_NETWORK, "default", NULL);
    return object ? object->id : NULL;
}

static json_t *encoded(Inventory *inventory, ResourceId kind, const char *id) {
    const Object *object = inventory_get(inventory, kind, id);
    return object ? model_encode(resources[kind].type, object->data, MODEL_ENCODE_DEFINITION) : NULL;
}

/* As they are on its host. */
static json_t *networks_of(Inventory *inventory, const Vm *vm) {
    json_t *networks = json_array();
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t i = 0; i < vm->nics.n; i++) {
        const Object *network = inventory_get(inventory, RESOURCE_NETWORK, vm->nics.items[i].network);
        if (network && g_hash_table_add(seen, network->id))
            json_array_append_new(networks, network_definition(network->data, vm->host));
    }
    return networks;
}

static json_t *isos_of(Inventory *inventory, const Vm *vm) {
    json_t *isos = json_array();
    for (size_t i = 0; i < vm->disks.n; i++) {
        json_t *iso =
            vm->disks.items[i].image ? encoded(inventory, RESOURCE_ISO, vm->disks.items[i].image) : NULL;
        if (iso)
            json_array_append_new(isos, iso);
    }
    return isos;
}

json_t *agent_vm_message(Inventory *inventory, const Vm *vm, const char *clone, Error *err) {
    json_t *repository = encoded(inventory, RESOURCE_REPOSITORY, vm->repository);
    if (!repository) {
        error_set(err, ERROR_NOT_FOUND, NULL, "the repository of %s is not known", vm->name);
        return NULL;
    }
    json_t *message = json_object();
    json_object_set_new(message, "vm", vm_encode(vm, MODEL_ENCODE_DEFINITION));
    json_object_set_new(message, "repository", repository);
    json_object_set_new(message, "networks", networks_of(inventory, vm));
    json_object_set_new(message, "isos", isos_of(inventory, vm));
    const Object *template = inventory_get(inventory, RESOURCE_TEMPLATE, vm->template);
    if (template) {
        const Template *definition = template->data;
        json_object_set_new(message, "template", encoded(inventory, RESOURCE_TEMPLATE, vm->template));
        json_t *home = encoded(inventory, RESOURCE_REPOSITORY, definition->repository);
        if (home)
            json_object_set_new(message, "template_repository", home);
    }
    if (clone)
        json_object_set_new(message, "clone", json_string(clone));
    const Object *host = inventory_get(inventory, RESOURCE_HOST, vm->host);
    if (host && host_has(host->data, HOST_FIELD_ACCELERATION))
        json_object_set_new(message, "acceleration",
            json_string(model_enum_name(&acceleration_enum, (int)((const Host *)host->data)->acceleration)));
    return message;
}

void claim_needs(Job *job, const Vm *vm) {
    if (vm->repository)
        job_claim_add(job, RESOURCE_REPOSITORY, vm->repository, true, "the VM lies in it");
    if (vm->template)
        job_claim_add(job, RESOURCE_TEMPLATE, vm->template, true, "the VM is made from it");
    for (size_t i = 0; i < vm->nics.n; i++)
        if (vm->nics.items[i].network)
            job_claim_add(job, RESOURCE_NETWORK, vm->nics.items[i].network, true, "a NIC is plugged into it");
    for (size_t i = 0; i < vm->disks.n; i++)
        if (vm->disks.items[i].image)
            job_claim_add(job, RESOURCE_ISO, vm->disks.items[i].image, true, "it is put into a drive");
}

static bool check_one(Inventory *inventory, ResourceId kind, const char *id, const char *field, Error *err) {
    if (!id || inventory_get(inventory, kind, id))
        return true;
    return error_set(err, ERROR_NOT_FOUND, field, "the %s that the VM needs is gone", resources[kind].name);
}

bool check_needs(Inventory *inventory, const Vm *vm, Error *err) {
    if (!check_one(inventory, RESOURCE_REPOSITORY, vm->repository, "/repository", err))
        return false;
    for (size_t i = 0; i < vm->nics.n; i++)
        if (!check_one(inventory, RESOURCE_NETWORK, vm->nics.items[i].network, "/network", err))
            return false;
    for (size_t i = 0; i < vm->disks.n; i++)
        if (!check_one(inventory, RESOURCE_ISO, vm->disks.items[i].image, "/iso", err))
            return false;
    return true;
}

void take_vm_state(Inventory *inventory, const json_t *agent_vm_state) {
    g_auto(AgentVmState) state = {0};
    if (!agent_vm_state_decode(agent_vm_state, MODEL_STORED, &state, NULL))
        return;
    Vm *vm = inventory_runtime(inventory, RESOURCE_VM, state.id);
    if (!vm)
        return;
    vm_status_clear(vm_put_status(vm));
    vm_status_copy(&vm->status, &state.status);
    inventory_runtime_changed(inventory, RESOURCE_VM, state.id);
}

void show_vm_state(Inventory *inventory, const char *vm_id, VmState state, const char *job_id) {
    Vm *vm = inventory_runtime(inventory, RESOURCE_VM, vm_id);
    if (!vm)
        return;
    vm_status_set_state(vm_put_status(vm), state);
    vm_status_set_job(&vm->status, job_id);
    inventory_runtime_changed(inventory, RESOURCE_VM, vm_id);
}

void step_failed(JobRun *run, ErrorCode code, const char *field, const char *message) {
    g_auto(Error) err = {0};
    error_set(&err, code, field, "%s", message);
    job_step_failed(run, &err);
}

static void change_is_durable(const Error *err, void *data) {
    if (err)
        job_step_failed(data, err);
    else
        job_step_done(data);
}

void commit_and_go_on(JobRun *run, InventoryChange *take_change) {
    const Job *job = job_definition(run);
    inventory_change_by(take_change, job->principal, job->id);
    inventory_commit(job_inventory(run), take_change, change_is_durable, run);
}
