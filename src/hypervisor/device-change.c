/* Differences by id. */
#include "hypervisor/device-change.h"
#include <string.h>
#include "model/guest-os.h"

static const size_t nowhere = SIZE_MAX;

static size_t disk_index(const Vm *vm, const Disk *disk) {
    for (size_t i = 0; i < vm->disks.n; i++)
        if (g_strcmp0(vm->disks.items[i].id, disk->id) == 0)
            return i;
    return nowhere;
}

static bool is_same_nic(const Nic *a, const Nic *b) {
    return a->id && b->id ? !strcmp(a->id, b->id) : g_strcmp0(a->mac, b->mac) == 0;
}

static size_t nic_index(const Vm *vm, const Nic *nic) {
    for (size_t i = 0; i < vm->nics.n; i++)
        if (is_same_nic(&vm->nics.items[i], nic))
            return i;
    return nowhere;
}

static void add(GArray *changes, DeviceChangeKind kind, size_t running, size_t wanted) {
    DeviceChange change = {kind, running, wanted};
    g_array_append_val(changes, change);
}

GArray *disk_changes(const Vm *running, const Vm *wanted) {
    GArray *changes = g_array_new(FALSE, FALSE, sizeof(DeviceChange));
    for (size_t i = 0; i < running->disks.n; i++)
        if (disk_index(wanted, &running->disks.items[i]) == nowhere)
            add(changes, DEVICE_DETACH, i, nowhere);
    for (size_t i = 0; i < wanted->disks.n; i++) {
        const Disk *now = &wanted->disks.items[i];
        size_t at = disk_index(running, now);
        if (at == nowhere) {
            add(changes, DEVICE_ATTACH, nowhere, i);
            continue;
        }
        const Disk *old = &running->disks.items[at];
        if (old->kind != now->kind || old->bus != now->bus || old->read_only != now->read_only ||
            g_strcmp0(old->serial, now->serial) || (now->kind == DISK_KIND_DISK && now->size < old->size))
            add(changes, DEVICE_RESTART, at, i);
        if (now->kind == DISK_KIND_DISK && now->size > old->size)
            add(changes, DEVICE_GROW, at, i);
        if (now->kind == DISK_KIND_CD && g_strcmp0(old->image, now->image) != 0)
            add(changes, DEVICE_MEDIUM, at, i);
    }
    return changes;
}

static bool is_plugged(const Nic *nic) {
    return !nic_has(nic, NIC_FIELD_CONNECTED) || nic->connected;
}

GArray *nic_changes(const Vm *running, const Vm *wanted) {
    GArray *changes = g_array_new(FALSE, FALSE, sizeof(DeviceChange));
    for (size_t i = 0; i < running->nics.n; i++)
        if (nic_index(wanted, &running->nics.items[i]) == nowhere)
            add(changes, DEVICE_DETACH, i, nowhere);
    for (size_t i = 0; i < wanted->nics.n; i++) {
        const Nic *now = &wanted->nics.items[i];
        size_t at = nic_index(running, now);
        if (at == nowhere) {
            add(changes, DEVICE_ATTACH, nowhere, i);
            continue;
        }
        const Nic *old = &running->nics.items[at];
        if (g_strcmp0(old->mac, now->mac) || old->model != now->model)
            add(changes, DEVICE_RESTART, at, i);
        else if (is_plugged(old) != is_plugged(now) || g_strcmp0(old->network, now->network))
            add(changes, DEVICE_PLUG, at, i);
    }
    return changes;
}

DiskBus cd_bus_of(const Vm *vm) {
    return guest_os_cd_bus(vm->guest_os);
}

DiskBus disk_bus_of(const Vm *vm, const Disk *disk) {
    if (disk_has(disk, DISK_FIELD_BUS))
        return disk->bus;
    return disk->kind == DISK_KIND_CD ? cd_bus_of(vm) : guest_os_disk_bus(vm->guest_os);
}

static bool is_bus_hot_pluggable(const Vm *vm, const Disk *disk) {
    DiskBus bus = disk_bus_of(vm, disk);
    return bus == DISK_BUS_VIRTIO || bus == DISK_BUS_SCSI;
}

bool disk_can_come(const Vm *vm, const Disk *disk) {
    return is_bus_hot_pluggable(vm, disk) && (disk->kind != DISK_KIND_CD || disk->image);
}

bool disk_check_detach(const Vm *running, const Disk *disk, Error *err) {
    if (is_bus_hot_pluggable(running, disk))
        return true;
    return error_set(err, ERROR_WRONG_STATE, NULL,
        "the disk %s is on the bus %s, which cannot let go of it while the VM runs; stop the VM first",
        disk->name ? disk->name : disk->id, model_enum_name(&disk_bus_enum, (int)disk_bus_of(running, disk)));
}

void vm_remove_disk(Vm *vm, size_t index) {
    Disk *disk = &vm->disks.items[index];
    disk_clear(disk);
    memmove(disk, disk + 1, (vm->disks.n - index - 1) * sizeof *disk);
    vm->disks.n--;
}

void vm_remove_nic(Vm *vm, size_t index) {
    Nic *nic = &vm->nics.items[index];
    nic_clear(nic);
    memmove(nic, nic + 1, (vm->nics.n - index - 1) * sizeof *nic);
    vm->nics.n--;
}
