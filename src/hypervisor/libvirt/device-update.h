/* Disks and NICs of a running domain; private to the libvirt driver. Blocks. */
#pragma once
#include "hypervisor/libvirt/session.h"

typedef struct DeviceUpdate {
    HypervisorSession *session;
    virDomain *domain;
    const HypervisorVm *vm; /* what is wanted */
    const DomainXmlOptions *options;
    AgentVmChanged *changed; /* takes what waits for a restart */
    Vm *running;             /* brought forward with every change */
    const Cancel *cancel;
} DeviceUpdate;

/* Devices that the guest let go of after we stopped waiting are taken out of `running`. */
bool device_update_sync(DeviceUpdate *update, Error *err);
/* As Hypervisor.update says. */
bool device_update_disks(DeviceUpdate *update, Error *err);
bool device_update_nics(DeviceUpdate *update, Error *err);
