/*
 * What the drivers above libvirt share: qemu and xen include it, no one else does. Functions of the plug
 * point are described in hypervisor.h.
 */
#pragma once
#include "hypervisor/libvirt/connection.h"
#include "hypervisor/libvirt/domain.h"
#include "hypervisor/libvirt/foreign-xml.h"
#include "hypervisor/libvirt/work-connections.h"

/* What differs below the shared code. */
typedef struct LibvirtDialect {
    const char *uri;
    unsigned console_flags; /* of virDomainOpenConsole */
    bool has_agent;         /* libvirt passes questions on to an agent in the guest */
    unsigned stop_flags[2]; /* of virDomainShutdownFlags, tried in turn */
    /* A domain that an interrupted start left behind, in that state of libvirt's. */
    bool (*is_half_started)(virDomain *domain, int state, int reason);
    /* A domain that is shut off may be on its way to its next start, because its guest rebooted: it has ended
     * only when libvirt does not know it any more. */
    bool restarts_itself;
    /* Whether such a domain, of that VM, has gone for good though libvirt still knows it; may be NULL. */
    bool (*has_gone)(HypervisorSession *session, const char *vm_id);
    VmMode (*mode_of)(virDomain *domain); /* how a running domain is presented */
    /* Whether a file of a saved domain was written to its end. */
    bool (*is_whole_image)(int fd);
    /* Lets a domain go on that an interrupted save has stopped, where libvirt does not; may be NULL. */
    bool (*run_on)(virDomain *domain, Error *err);
    /* Whether the console that was opened just now is this domain's and nobody else's; may be NULL. */
    bool (*owns_console)(virDomain *domain, Error *err);
    /* Called once for each run of a domain of ours, when it is seen first; may be NULL. */
    void (*see_run)(virDomain *domain);
    /* Not a guest at all; may be NULL. */
    bool (*is_no_guest)(virDomain *domain);
    /* What stands against adopting it here; may be NULL. */
    void (*check_foreign)(HypervisorSession *session, ForeignVm *vm, const ForeignExtra *extra);
    /* VMs that libvirt does not know; may be NULL. */
    void (*add_foreign)(virConnect *connection, AgentForeignList *list);
} LibvirtDialect;

/* The beginning of a driver's own session. */
struct HypervisorSession {
    const LibvirtDialect *dialect;
    Connection *connection; /* for questions */
    WorkConnections *work;  /* for starting and ending */
    char *instance, *state_folder;
    GMutex network_lock; /* one network is made at a time, so that two do not choose one subnet */
    GMutex counted_lock;
    GHashTable *counted; /* "uuid/id" of our domains when they were last counted; NULL: never */
};

/* session.c */
void session_init(
    HypervisorSession *session, const LibvirtDialect *dialect, const HypervisorOptions *options);
void session_clear(HypervisorSession *session);
/* A connection for calls that take long, once libvirt answers; to be dropped by virConnectClose. */
virConnect *session_work(HypervisorSession *session, Error *err);
/* Whether nothing is left of a domain that libvirt knows and that does not run. */
bool session_has_gone(HypervisorSession *session, const char *vm_id);
/* The domain of that VM. NULL without an error when libvirt knows none or it does not run. ERROR_IN_USE when
 * the id belongs to a domain that is not this instance's, ERROR_BUSY while it is just being made. */
bool session_find(HypervisorSession *session, const char *vm_id, virDomain **ret_domain, Error *err);
bool session_find_with(HypervisorSession *session, virConnect *connection, const char *vm_id,
    virDomain **ret_domain, Error *err);
/* As session_find_with, but waits a while for a domain that is just starting again, because its guest
 * rebooted.
 */
bool session_find_settled(HypervisorSession *session, virConnect *connection, const char *vm_id,
    const Cancel *cancel, virDomain **ret_domain, Error *err);
/* The domain of a VM that must run; NULL with an error. */
virDomain *session_find_running(HypervisorSession *session, const char *vm_id, Error *err);
/* Fills in vms_running and unmanaged. */
void session_count_vms(HypervisorSession *session, virConnect *connection, HostStatus *status);
/* libvirt's way to pack a version: "1.2.3", newly allocated. */
char *session_version_text(unsigned long version);

/* state.c */
/* Whether this instance started the domain; *ret_element (may be NULL) is our mark, newly allocated, or left
 * alone. ERROR_NOT_FOUND when the domain has ended meanwhile. */
bool session_is_managed(
    HypervisorSession *session, virDomain *domain, bool *ret_is_managed, char **ret_element, Error *err);
/* After session_is_managed failed: a domain of ours by its name that is just being made, or has just ended;
 * nothing else can be said of it. */
bool session_is_between_states(const HypervisorSession *session, virDomain *domain, const char *id);
/* Whether its domain is another tool's that was adopted, and runs since then. */
bool session_is_adopted(const HypervisorSession *session, virDomain *domain);
VmState session_vm_state(int libvirt_state);
bool session_list(HypervisorSession *session, AgentInventory *inventory, Error *err);
bool session_state(HypervisorSession *session, const char *vm_id, AgentVmState *ret_state, Error *err);
/* Unless it is there already, of the guest alone, or one of too many. `mac` may be NULL. */
void session_add_address(VmStatus *status, const char *text, const char *mac, AddressSource source);
bool session_guest(HypervisorSession *session, const char *vm_id, VmStatus *ret_status, Error *err);

/* power.c */
/* What a start that was interrupted left behind counts as not running and is removed. */
bool session_runs_already(HypervisorSession *session, virDomain *domain);
/* Makes a domain of the XML and starts it. `flags` are virDomainCreateXML's. NULL with an error. */
virDomain *session_create(HypervisorSession *session, virConnect *connection, const char *vm_id,
    const char *xml, unsigned flags, Error *err);
bool session_stop(HypervisorSession *session, const char *vm_id, int64_t timeout_ms, bool force,
    const Cancel *cancel, Error *err);
bool session_kill(HypervisorSession *session, const char *vm_id, Error *err);
bool session_pause(HypervisorSession *session, const char *vm_id, Error *err);
bool session_resume(HypervisorSession *session, const char *vm_id, Error *err);
bool session_forget(HypervisorSession *session, const char *vm_id, Error *err);

/* save.c */
bool session_save(HypervisorSession *session, const char *vm_id, const char *path,
    const ImageProgress *progress, const Cancel *cancel, Error *err);
bool session_save_settle(HypervisorSession *session, const char *vm_id, const char *path, bool *ret_is_saved,
    const Cancel *cancel, Error *err);
bool session_restore(
    HypervisorSession *session, const HypervisorVm *vm, const char *path, const Cancel *cancel, Error *err);

/* foreign.c */
bool session_foreign(HypervisorSession *session, AgentForeignList *ret_list, Error *err);
bool session_foreign_read(
    HypervisorSession *session, const char *vm_id, ForeignVm *ret_vm, char **ret_text, Error *err);
bool session_adopt(HypervisorSession *session, const Vm *vm, Error *err);

/* console.c */
bool session_console(HypervisorSession *session, const char *vm_id, int *ret_fd, Error *err);

/* network.c */
bool session_network_open(HypervisorSession *session, Network *network, Error *err);
bool session_network_close(HypervisorSession *session, const Network *network, Error *err);
/* All networks that the VM is plugged into. */
bool session_open_networks(HypervisorSession *session, const HypervisorVm *vm, Error *err);
