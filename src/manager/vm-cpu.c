#include "manager/vm-cpu.h"
#include "engine/cpu-baseline.h"

enum { TOLD_FEATURES = 5 };

/* It counts as long as the VM runs that moved. */
static bool has_moved(const Vm *vm) {
    return vm_has(vm, VM_FIELD_CPU_FROM) && vm_status_has(&vm->status, VM_STATUS_FIELD_STARTED) &&
           vm->cpu_from.started == vm->status.started;
}

static const HostCpu *cpu_of(const Host *host) {
    return host && host_status_has(&host->status, HOST_STATUS_FIELD_CPU) ? &host->status.cpu : NULL;
}

bool vm_cpu_is_on(Inventory *inventory, const Vm *vm, const Host *target, Error *err) {
    const Object *from =
        inventory_get(inventory, RESOURCE_HOST, has_moved(vm) ? vm->cpu_from.host : vm->host);
    const HostCpu *cpu = from ? cpu_of(from->data) : NULL, *there = cpu_of(target);
    if (!cpu || !there || g_strcmp0(vm->status.acceleration, "kvm") != 0)
        return true;
    if (g_strcmp0(cpu->vendor, there->vendor) != 0)
        return error_set(err, ERROR_UNSUPPORTED, "/to_host",
            "%s was started on a processor of %s, and %s has one of %s", vm->name,
            cpu->vendor ? cpu->vendor : "another maker", target->name,
            there->vendor ? there->vendor : "another maker");
    g_auto(GStrv) missing = cpu_beyond(cpu, there);
    g_autofree char *names = cpu_names_text(missing, TOLD_FEATURES);
    return !missing[0] ||
           error_set(err, ERROR_UNSUPPORTED, "/to_host",
               "the processor of %s lacks what %s was started with: %s", target->name, vm->name, names);
}

json_t *vm_cpu_origin(const Vm *vm) {
    g_auto(VmCpuFrom) from = {0};
    if (has_moved(vm))
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
