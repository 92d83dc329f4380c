/*
 * What the files of the libvirt driver share; no one else includes it. Functions of the plug point are
 * described in hypervisor.h.
 */
#pragma once
#include <sys/types.h>
#include "hypervisor/libvirt/connection.h"
#include "hypervisor/libvirt/domain-xml.h"
#include "hypervisor/libvirt/work-connections.h"

struct HypervisorSession {
    Connection *connection; /* for questions */
    WorkConnections *work;  /* for starting and ending */
    char *instance, *state_folder;
    Acceleration acceleration; /* the host's override */
    GMutex network_lock;       /* one network is made at a time, so that two do not choose one subnet */
    GMutex limits_lock;        /* guards all below */
    int64_t vcpus_limit;       /* 0: not asked yet */
    GHashTable *counted;       /* "uuid/id" of our domains when they were last counted; NULL: never */
    bool is_qemu_user_known;
    uid_t qemu_uid; /* whom libvirt runs QEMU as */
    gid_t qemu_gid;
};

/* driver.c */
/* The domain of that VM. NULL without an error when libvirt knows none or it does not run. ERROR_IN_USE when
 * the id belongs to a domain that is not this instance's. */
bool session_find(HypervisorSession *session, const char *vm_id, virDomain **ret_domain, Error *err);
/* The definition with which the domain runs now. False when it cannot be read. */
bool session_running_definition(virDomain *domain, Vm *ret_vm);

/* state.c */
/* Whether this instance started the domain; *ret_element (may be NULL) is our metadata, newly allocated, or
 * left alone. ERROR_NOT_FOUND when the domain has ended meanwhile. */
bool state_is_managed(
    HypervisorSession *session, virDomain *domain, bool *ret_is_managed, char **ret_element, Error *err);
bool qemu_list(HypervisorSession *session, AgentInventory *inventory, Error *err);
bool qemu_state(HypervisorSession *session, const char *vm_id, AgentVmState *ret_state, Error *err);
bool qemu_guest(HypervisorSession *session, const char *vm_id, VmStatus *ret_status, Error *err);

/* modes.c */
/* Adds what VMs can do on this host in each mode. */
void session_report_modes(HypervisorSession *session, HostStatus *status);

/* update.c */
bool qemu_update(HypervisorSession *session, const HypervisorVm *vm, AgentVmChanged *ret_pending,
    const Cancel *cancel, Error *err);

/* console.c */
bool qemu_console(HypervisorSession *session, const char *vm_id, int *ret_fd, Error *err);

/* network.c */
bool qemu_network_open(HypervisorSession *session, Network *network, Error *err);
bool qemu_network_close(HypervisorSession *session, const Network *network, Error *err);

/* backing.c */
/* Lets QEMU's user read the templates' disks below the VM's overlays; they stay ours. */
bool session_share_backing(HypervisorSession *session, const HypervisorVm *vm, Error *err);

/* driver.c, for update.c */
DomainXmlOptions session_xml_options(HypervisorSession *session, const HypervisorVm *vm);
