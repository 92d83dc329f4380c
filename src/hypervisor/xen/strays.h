/*
 * Strays: domains that bear the name of one of our VMs, and that libvirt does not know. Debian's xendomains
 * makes them: it saves every domain when the machine goes down, and restores it at the next start. They run
 * on the VM's disks, so that the VM counts neither as stopped nor as ours to command. Read from xenstore; any
 * thread.
 */
#pragma once
#include "hypervisor/libvirt/session.h"

/* ERROR_IN_USE when there is one, with what to do; waits a moment for one that is just going away. */
bool xen_check_no_stray(const HypervisorSession *session, const char *vm_id, Error *err);
/* The state of a VM that libvirt does not know: unknown, with the reason, where there is a stray. */
void xen_stray_tell(const HypervisorSession *session, const char *vm_id, AgentVmState *state);
/* Adds those that the list does not have. */
void xen_strays_list(const HypervisorSession *session, AgentInventory *inventory);
