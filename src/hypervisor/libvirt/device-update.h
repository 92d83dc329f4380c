/*
 * Disks and NICs of a running domain, the same way for every hypervisor; what each does differently stands in
 * its DeviceDialect. Blocks.
 */
#pragma once
#include "hypervisor/device-change.h"
#include "hypervisor/libvirt/live-devices.h"
#include "hypervisor/libvirt/session.h"

typedef struct DeviceUpdate DeviceUpdate;

typedef struct DeviceDialect {
    /* Whether a disk can be added while the VM runs, and one be taken away (ERROR_WRONG_STATE). */
    bool (*can_come)(const DeviceUpdate *update, const Disk *disk);
    bool (*check_detach)(const DeviceUpdate *update, const Disk *disk, Error *err);
    /* Makes what a new disk is plugged into; NULL: nothing. */
    bool (*prepare_disk)(DeviceUpdate *update, const Disk *disk, const LiveDevices *live, Error *err);
    /* libvirt's name ("sdc" is place 2) and element of a disk, element of a NIC; newly allocated. */
    char *(*target_name)(const DeviceUpdate *update, const Disk *disk, size_t place);
    char *(*disk_xml)(const DeviceUpdate *update, size_t index, const char *target);
    char *(*nic_xml)(const DeviceUpdate *update, size_t index);
    /* Asks once; false with libvirt's error when it could not even be asked. */
    bool (*ask_to_let_go)(DeviceUpdate *update, const LiveDevice *device);
    /* False in *ret_has_it: it takes effect at the next start only. */
    bool (*grow)(DeviceUpdate *update, const HypervisorDisk *disk, bool *ret_has_it, Error *err);
    bool (*change_medium)(
        DeviceUpdate *update, const LiveDevice *device, const char *disk_xml, bool *ret_has_it, Error *err);
    /* The NIC of that index gets its new network or cable. */
    bool (*plug)(DeviceUpdate *update, size_t index, bool *ret_has_it, Error *err);
} DeviceDialect;

struct DeviceUpdate {
    HypervisorSession *session;
    const DeviceDialect *dialect;
    virDomain *domain;
    const HypervisorVm *vm;  /* what is wanted */
    const void *options;     /* the dialect's own */
    AgentVmChanged *changed; /* takes what waits for a restart */
    Vm *running;             /* brought forward with every change */
    const Cancel *cancel;
};

/* Devices that the guest let go of after we stopped waiting are taken out of `running`. */
bool device_update_sync(DeviceUpdate *update, Error *err);
/* As Hypervisor.update says. */
bool device_update_disks(DeviceUpdate *update, Error *err);
bool device_update_nics(DeviceUpdate *update, Error *err);
/* Adds a device. Returns false with an error that begins with `what`. */
bool device_update_attach(DeviceUpdate *update, const char *xml, const char *what, Error *err);
