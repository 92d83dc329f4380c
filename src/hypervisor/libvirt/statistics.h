/*
 * What a running domain uses, as far as both drivers ask it in the same way; each adds the counters of disks
 * and says which interfaces of the host a NIC has. Any thread.
 */
#pragma once
#include "hypervisor/libvirt/live-devices.h"
#include "hypervisor/libvirt/session.h"

/* A domain while it is asked. */
typedef struct Usage {
    virConnect *connection;
    virDomain *domain;
    Vm running; /* the definition that runs */
    LiveDevices *live;
    bool is_adopted; /* its devices have another tool's names */
} Usage;
void usage_clear(Usage *usage);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Usage, usage_clear)

/* Finds the domain on a connection of its own, and fills in id, started, CPU time, vCPUs and
 * memory. ERROR_WRONG_STATE when it does not run. */
bool usage_begin(
    HypervisorSession *session, const char *vm_id, Usage *ret_usage, VmStatistics *statistics, Error *err);

/* Sets what is known of the disk with that target ("vda"). */
typedef void (*UsageDiskFn)(const char *target, VmDiskStatistics *disk, const void *data);
/* Every disk that the domain has and the definition knows. */
void usage_add_disks(const Usage *usage, UsageDiskFn count, const void *data, VmStatistics *statistics);

/* Names of the host's interfaces that the NIC has, NULL-terminated, newly allocated; or NULL. */
typedef char **(*UsageInterfacesFn)(const LiveDevice *nic, const void *data);
void usage_add_nics(
    const Usage *usage, UsageInterfacesFn interfaces, const void *data, VmStatistics *statistics);
