#include "manager/reconcile.h"
#include "base/log.h"

bool reconcile_is_needed(Inventory *inventory) {
    return store_epoch(inventory_store(inventory)) > 1;
}

static char *name_and_id(const Vm *vm) {
    return g_strdup_printf("%s (%s)", vm->name ? vm->name : "without name", vm->id);
}

static bool is_newer(const Vm *vm, const Vm *than) {
    return vm->epoch != than->epoch ? vm->epoch > than->epoch : vm->revision > than->revision;
}

/* Over what the store knows, because repositories hold no secrets. A job that changes the VM at this moment
 * wins: the commit compares revisions. */
static void take_over(Inventory *inventory, const Vm *known, const Vm *newer) {
    g_autoptr(json_t) merged = vm_encode(known, MODEL_ENCODE_DEFINITION);
    g_autoptr(json_t) above = vm_encode(newer, MODEL_ENCODE_DEFINITION);
    g_auto(Vm) vm = {0};
    g_auto(Error) err = {0};
    json_object_update_recursive(merged, above);
    if (!vm_decode(merged, MODEL_STORED, &vm, &err)) {
        log_warning("VM %s: its repository's definition cannot be taken over: %s", known->id, err.message);
        return;
    }
    log_info("VM %s: its repository's definition is newer than the backup; it is taken over", known->id);
    InventoryChange *change = inventory_change_new(inventory);
    inventory_change_put(change, RESOURCE_VM, &vm);
    inventory_commit(inventory, change, NULL, NULL);
}

static void compare(Inventory *inventory, const AgentRepositoryContent *content, RepositoryStatus *status) {
    g_autoptr(GHashTable) present = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t i = 0; i < content->vms.n; i++) {
        const Vm *vm = &content->vms.items[i];
        g_hash_table_add(present, vm->id);
        const Object *known = inventory_get(inventory, RESOURCE_VM, vm->id);
        g_autofree char *text = name_and_id(vm);
        if (!known)
            repository_status_add_unknown_vms(status, text);
        else if (is_newer(vm, known->data))
            take_over(inventory, known->data, vm);
    }
    const GPtrArray *vms = inventory_list(inventory, RESOURCE_VM);
    for (guint i = 0; i < vms->len; i++) {
        const Vm *vm = ((const Object *)vms->pdata[i])->data;
        bool is_being_made = vm_has(vm, VM_FIELD_STATUS) && vm->status.state == VM_STATE_CREATING;
        g_autofree char *text = name_and_id(vm);
        if (g_strcmp0(vm->repository, content->repository.id) == 0 && !is_being_made &&
            !g_hash_table_contains(present, vm->id))
            repository_status_add_missing_vms(status, text);
    }
}

void reconcile_repository(Inventory *inventory, const AgentRepositoryContent *content) {
    Repository *repository = inventory_runtime(inventory, RESOURCE_REPOSITORY, content->repository.id);
    if (!repository)
        return;
    RepositoryStatus *status = repository_put_status(repository);
    repository_status_clear(status);
    repository_status_copy(status, &content->repository.status);
    compare(inventory, content, status);
    inventory_runtime_changed(inventory, RESOURCE_REPOSITORY, repository->id);
}
