#include "manager/vm-cpu.h"
#include <string.h>
#include "engine/cpu-baseline.h"
#include "inventory/pool-status.h"

enum { TOLD_FEATURES = 5, MOST_LEVELS = 64, KEPT_LEVELS = 16 };

bool vm_cpu_is_on(Inventory *inventory, const Vm *vm, const Host *target, Error *err) {
    g_auto(HostCpu) cpu = {0};
    const HostCpu *there = host_known_cpu(target);
    if (!there || !vm_given_cpu(inventory, vm, &cpu, NULL))
        return true;
    if (g_strcmp0(cpu.vendor, there->vendor) != 0)
        return error_set(err, ERROR_UNSUPPORTED, "/to_host",
            "%s was started on a processor of %s, and %s has one of %s", vm->name,
            cpu.vendor ? cpu.vendor : "another maker", target->name,
            there->vendor ? there->vendor : "another maker");
    g_auto(GStrv) missing = cpu_beyond(&cpu, there);
    g_autofree char *names = cpu_names_text(missing, TOLD_FEATURES);
    return !missing[0] ||
           error_set(err, ERROR_UNSUPPORTED, "/to_host",
               "the processor of %s lacks what %s was started with: %s", target->name, vm->name, names);
}

json_t *vm_cpu_origin(const Vm *vm) {
    g_auto(VmCpuFrom) from = {0};
    if (vm_has_moved(vm))
        return vm_cpu_from_encode(&vm->cpu_from, MODEL_ENCODE_ALL);
    if (!vm->host || !vm_status_has(&vm->status, VM_STATUS_FIELD_STARTED))
        return json_null();
    vm_cpu_from_set_host(&from, vm->host);
    vm_cpu_from_set_started(&from, vm->status.started);
    return vm_cpu_from_encode(&from, MODEL_ENCODE_ALL);
}

void vm_cpu_take_along(Vm *there, const json_t *origin) {
    g_auto(VmCpuFrom) from = {0};
    if (json_is_object(origin) && vm_cpu_from_decode(origin, MODEL_STORED, &from, NULL)) {
        vm_cpu_from_clear(vm_put_cpu_from(there));
        vm_cpu_from_copy(&there->cpu_from, &from);
    }
}

/* ---- what it is given ---- */

static const Pool *pool_of(Inventory *inventory, const Vm *vm) {
    const Object *object = vm->pool ? inventory_get(inventory, RESOURCE_POOL, vm->pool) : NULL;
    return object ? object->data : NULL;
}

static bool wants_common(const Pool *pool, const Vm *vm) {
    if (vm_has(vm, VM_FIELD_CPU))
        return vm->cpu == GUEST_CPU_COMMON;
    return !pool_has(pool, POOL_FIELD_CPU) || pool->cpu == GUEST_CPU_COMMON; /* of an earlier version */
}

bool vm_cpu_level(Inventory *inventory, const Vm *vm, CpuLevel *ret_level) {
    const Pool *pool = pool_of(inventory, vm);
    const Object *host = vm->host ? inventory_get(inventory, RESOURCE_HOST, vm->host) : NULL;
    const HostCpu *own = host ? host_known_cpu(host->data) : NULL;
    if (!pool || !own || !wants_common(pool, vm))
        return false;
    g_autoptr(GPtrArray) cpus = pool_known_cpus(inventory, pool->id);
    return cpu_level_for(own, (const HostCpu *const *)cpus->pdata, cpus->len, ret_level);
}

static bool has_level(const Pool *pool, const char *id) {
    for (size_t i = 0; i < pool->cpu_levels.n; i++)
        if (g_strcmp0(pool->cpu_levels.items[i].id, id) == 0)
            return true;
    return false;
}

static bool is_used(Inventory *inventory, const char *level) {
    const GPtrArray *vms = inventory_list(inventory, RESOURCE_VM);
    for (guint i = 0; i < vms->len; i++) {
        const Vm *vm = ((const Object *)vms->pdata[i])->data;
        if (vm_has(vm, VM_FIELD_STATUS) && g_strcmp0(vm->status.cpu_level, level) == 0)
            return true;
    }
    return false;
}

/* What VMs on hosts that are away have is not known. */
static bool are_all_connected(Inventory *inventory, const char *pool_id) {
    const GPtrArray *hosts = inventory_list(inventory, RESOURCE_HOST);
    for (guint i = 0; i < hosts->len; i++) {
        const Host *host = ((const Object *)hosts->pdata[i])->data;
        if (g_strcmp0(host->pool, pool_id) == 0 &&
            (!host_has(host, HOST_FIELD_STATUS) || host->status.state != HOST_STATE_CONNECTED))
            return false;
    }
    return true;
}

static void remove_level(Pool *pool, size_t index) {
    CpuLevel *level = &pool->cpu_levels.items[index];
    cpu_level_clear(level);
    memmove(level, level + 1, (pool->cpu_levels.n - index - 1) * sizeof *level);
    pool->cpu_levels.n--;
}

/* The newest stay: a VM may be on its way to have one of them. */
static void drop_unused(Inventory *inventory, Pool *pool) {
    bool is_known = are_all_connected(inventory, pool->id);
    for (size_t i = 0; is_known && pool->cpu_levels.n > KEPT_LEVELS && i < pool->cpu_levels.n - KEPT_LEVELS;)
        if (is_used(inventory, pool->cpu_levels.items[i].id))
            i++;
        else
            remove_level(pool, i);
    while (pool->cpu_levels.n >= MOST_LEVELS)
        remove_level(pool, 0);
}

InventoryChange *vm_cpu_remember(Inventory *inventory, const Vm *vm, const CpuLevel *level) {
    const Pool *pool = pool_of(inventory, vm);
    if (!pool || has_level(pool, level->id))
        return NULL;
    g_auto(Pool) changed = {0};
    pool_copy(&changed, pool);
    drop_unused(inventory, &changed);
    cpu_level_copy(pool_add_cpu_levels(&changed), level);
    InventoryChange *change = inventory_change_new(inventory);
    inventory_change_put(change, RESOURCE_POOL, &changed);
    return change;
}

InventoryChange *host_cpu_remember(Inventory *inventory, const char *host_id) {
    const Object *object = inventory_get(inventory, RESOURCE_HOST, host_id);
    const Host *host = object ? object->data : NULL;
    if (!host || !host_has(host, HOST_FIELD_STATUS) || host->status.state != HOST_STATE_CONNECTED)
        return NULL;
    bool tells = host_status_has(&host->status, HOST_STATUS_FIELD_CPU);
    bool has_seen = host_has(host, HOST_FIELD_CPU_SEEN);
    if (tells == has_seen && (!tells || model_equal(&host_cpu_type, &host->cpu_seen, &host->status.cpu)))
        return NULL;
    g_auto(Host) changed = {0};
    host_copy(&changed, host);
    HostCpu *seen = host_put_cpu_seen(&changed);
    host_cpu_clear(seen);
    if (tells)
        host_cpu_copy(seen, &host->status.cpu);
    else
        changed.present &= ~MODEL_BIT(HOST_FIELD_CPU_SEEN);
    InventoryChange *change = inventory_change_new(inventory);
    inventory_change_put(change, RESOURCE_HOST, &changed);
    return change;
}
