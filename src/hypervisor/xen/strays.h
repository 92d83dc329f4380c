/*
 * Strays: domains that bear the name of one of our VMs, and that libvirt does not know. Debian's xendomains
 * makes them: it saves every domain when the machine goes down, and restores it at the next start. libvirt
 * itself does when a domain is ended just as its guest reboots: it has forgotten the domain, and starts it
 * all the same (libxlDomainShutdownThread). They run on the VM's disks, so that the VM does not count as
 * stopped. Read from xenstore; any thread.
 */
#pragma once
#include "hypervisor/libvirt/session.h"

/* ERROR_IN_USE when there is one, with what to do; waits a moment for one that is just going away. */
bool xen_check_no_stray(const HypervisorSession *session, const char *vm_id, Error *err);
/* Whether libvirt is about to start the VM again, because its guest asked for a reboot: then one may come. */
bool xen_may_stray(const char *vm_id);
/* As the driver's `stop` does with a domain that libvirt knows. */
bool xen_stop_stray(const HypervisorSession *session, const char *vm_id, int64_t timeout_ms, bool force,
    const Cancel *cancel, Error *err);
/* Pulls its plug, by `xl destroy`; `may_come`: waits a while for it to come. */
bool xen_end_stray(const HypervisorSession *session, const char *vm_id, bool may_come, Error *err);
/* The state of a VM that libvirt does not know: unknown, with the reason, where there is a stray. */
void xen_stray_tell(const HypervisorSession *session, const char *vm_id, AgentVmState *state);
/* Adds those that the list does not have. */
void xen_strays_list(const HypervisorSession *session, AgentInventory *inventory);
