/* What the files of the xen driver share; no one else includes it. */
#pragma once
#include "hypervisor/libvirt/session.h"
#include "hypervisor/xen/domain-xml.h"
#include "hypervisor/xen/remains.h"

typedef struct XenSession {
    HypervisorSession base;
    GMutex dying_lock;
    XenRemains *remains;
    char *helpers; /* folder of lodge-migrate */
    gint64 dying_asked_us;
    GHashTable *dying; /* ids of domains that had been ended and were still there when last looked */
} XenSession;

/* driver.c */
/* How the VM is to be started on this host. ERROR_UNSUPPORTED with the field. */
bool xen_xml_options(
    const HypervisorSession *session, const HypervisorVm *vm, XenXmlOptions *ret_options, Error *err);

VmMode xen_mode_of(virDomain *domain); /* how a running domain is presented */

/* console.c */
bool xen_owns_console(virDomain *domain, Error *err);

/* guest.c */
bool xen_guest(HypervisorSession *session, const char *vm_id, VmStatus *status, Error *err);

/* migration.c */
extern const HypervisorMover xen_mover;

/* quiesce.c */
bool xen_quiesce(HypervisorSession *session, const char *vm_id, const Cancel *cancel, Error *err);

/* statistics.c */
bool xen_statistics(HypervisorSession *session, const char *vm_id, VmStatistics *statistics, Error *err);

/* update.c */
bool xen_update(HypervisorSession *session, const HypervisorVm *vm, AgentVmChanged *ret_pending,
    const Cancel *cancel, Error *err);
