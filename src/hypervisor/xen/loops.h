/*
 * Loop devices that Xen's hotplug script left: it is killed when it takes too long, between making one and
 * telling of it. Blocks for a moment; any thread.
 */
#pragma once
#include "hypervisor/hypervisor.h"

/* After a start or a change that failed: lets go of the loop devices behind the VM's disks that no back end
 * of Xen uses. */
void xen_release_loops(const HypervisorVm *vm);
