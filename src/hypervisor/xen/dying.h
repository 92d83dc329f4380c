/*
 * Domains that have been ended and do not go away: a back end still works on their memory, because a disk
 * (its storage) does not answer. libvirt and xenstore have forgotten them, the hypervisor has not, and what
 * they have under way may still reach their disks: the VM is not stopped before they are gone. `xl list -v`
 * tells. Any thread; blocks for seconds.
 */
#pragma once
#include "hypervisor/xen/session.h"

/* Waits a while; ERROR_IN_USE when the domain of that VM is still dying then. */
bool xen_check_is_dead(HypervisorSession *session, const char *vm_id, Error *err);
/* A VM that libvirt does not know is stopping, not stopped, while its domain dies. As last seen; does not
 * block. */
void xen_dying_tell(HypervisorSession *session, const char *vm_id, AgentVmState *state);
/* Looks, and adds those that die to the list. */
void xen_dying_list(HypervisorSession *session, AgentInventory *inventory);

/* The row for something that is there after all: the one of a VM that has ended, emptied, or a new one. NULL
 * when the list has it as something that is there. */
AgentVmState *xen_row_for(AgentInventory *inventory, const char *vm_id);
