/* What the files of the qemu driver share; no one else includes it. */
#pragma once
#include <sys/types.h>
#include "hypervisor/libvirt/session.h"
#include "hypervisor/qemu/domain-xml.h"

typedef struct QemuSession {
    HypervisorSession base;    /* first: the plug point hands it in */
    Acceleration acceleration; /* the host's override */
    GMutex lock;               /* guards all below */
    int64_t vcpus_limit;       /* 0: not asked yet */
    HostCpu cpu;               /* no features: not known yet */
    bool is_user_known;
    uid_t uid; /* whom libvirt runs QEMU as */
    gid_t gid;
    char *helpers; /* folder of lodge-migrate */
} QemuSession;

/* Whom libvirt runs QEMU as; 0 where that is itself. */
typedef struct QemuUser {
    uid_t uid;
    gid_t gid;
} QemuUser;

/* driver.c */
QemuXmlOptions qemu_xml_options(QemuSession *session, const HypervisorVm *vm);

/* update.c */
bool qemu_update(HypervisorSession *session, const HypervisorVm *vm, AgentVmChanged *ret_pending,
    const Cancel *cancel, Error *err);

/* save.c */
bool qemu_is_whole_image(int fd);
bool qemu_restore(
    HypervisorSession *session, const HypervisorVm *vm, const char *path, const Cancel *cancel, Error *err);

/* statistics.c */
bool qemu_statistics(HypervisorSession *session, const char *vm_id, VmStatistics *statistics, Error *err);

/* migration.c */
extern const HypervisorMover qemu_mover;

/* backing.c */
bool qemu_user(QemuSession *session, QemuUser *ret_user, Error *err);
/* Lets QEMU's user read the templates' disks below the VM's overlays, which stay ours; in a shared repository
 * the VM's own files become its. */
bool qemu_share_backing(QemuSession *session, const HypervisorVm *vm, Error *err);
