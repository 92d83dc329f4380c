/*
 * Loop devices, by which the kernel's back end reaches a disk's file: those that Xen's hotplug script left,
 * because it is killed when it takes too long between making one and telling of it; and how they read and
 * write. Blocks for a moment; any thread.
 */
#pragma once
#include "hypervisor/hypervisor.h"

/* After a start or a change that failed: lets go of the loop devices behind the VM's disks that no back end
 * of Xen uses. */
void xen_release_loops(const HypervisorVm *vm);
/* Reads and writes of the domain's disks go past the host's cache from now on, so that another host that has
 * the same files reads what was written. ERROR_UNSUPPORTED where their file system cannot. */
bool xen_bypass_cache(unsigned domain_id, Error *err);
