/*
 * What differs between the devices of a running VM and those that are wanted, the same for every driver.
 * Pure; any thread.
 *
 * The rule that users see: what is added or changed takes effect at once where the machine can, else at the
 * next start (pending). What is taken away is taken away at once or refused, and then nothing changes: a
 * definition must not say that a disk is gone while a guest still writes to it.
 */
#pragma once
#include "types.h"

typedef enum DeviceChangeKind {
    DEVICE_DETACH,  /* `running` goes */
    DEVICE_ATTACH,  /* `wanted` is new */
    DEVICE_GROW,    /* a disk */
    DEVICE_MEDIUM,  /* of a CD drive */
    DEVICE_PLUG,    /* a NIC's network or cable */
    DEVICE_RESTART, /* anything else: at the next start */
} DeviceChangeKind;

typedef struct DeviceChange {
    DeviceChangeKind kind;
    size_t running, wanted; /* indexes in the two definitions, where the kind has them */
} DeviceChange;

/* Arrays of DeviceChange, what goes first; owned by the caller. Disks are told apart by id; NICs by id, or by
 * MAC where one has none. */
GArray *disk_changes(const Vm *running, const Vm *wanted);
GArray *nic_changes(const Vm *running, const Vm *wanted);

/* How the guest sees the disk: as its definition says, else as its guest OS can. */
DiskBus cd_bus_of(const Vm *vm);
DiskBus disk_bus_of(const Vm *vm, const Disk *disk);
/* Whether a disk can be added while the VM runs: its bus allows it, and it is no empty drive. */
bool disk_can_come(const Vm *vm, const Disk *disk);
/* Refuses to take away what cannot go: ERROR_WRONG_STATE. */
bool disk_check_detach(const Vm *running, const Disk *disk, Error *err);

/* What a driver has done is done to its definition of the running VM too. */
void vm_remove_disk(Vm *vm, size_t index);
void vm_remove_nic(Vm *vm, size_t index);
