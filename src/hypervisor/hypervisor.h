/*
 * The hypervisor plug point: one const struct of functions for each driver (qemu, xen, fake), found by
 * name. All functions block and may be called from several threads at once for different VMs; the caller sees
 * to it that two calls for one VM never overlap. A driver knows nothing of owners, claims or jobs.
 *
 * libvirt holds only what runs: start defines and starts, the end of a VM undefines it, nothing is ever set
 * to autostart.
 */
#pragma once
#include "base/cancel.h"
#include "hypervisor/migration.h"
#include "image/progress.h"
#include "types.h"

typedef struct HypervisorSession HypervisorSession; /* a driver's own struct */

/* Called in any thread when the state of a VM may have changed, with its id, or NULL for "ask for all again".
 */
typedef void (*HypervisorChangeFn)(const char *vm_id, void *data);

typedef struct HypervisorOptions {
    const char *instance; /* prefix of all names made at the hypervisor and on the host: "lodge" */
    /* The driver's own files, exists: ID.log (serial console), ID.nvram (UEFI variables; the hypervisor's
     * user must be able to search the folder and its parents). `forget` removes them. */
    const char *state_folder;
    Acceleration acceleration;
    const char *helpers;          /* folder of lodge-migrate */
    HypervisorChangeFn on_change; /* must not call close; is not called again once close has returned */
    void *on_change_data;
} HypervisorOptions;

enum { HYPERVISOR_BACKING_MAX = 16 };

typedef struct HypervisorBacking {
    const char *path;
    DiskFormat format;
} HypervisorBacking;

typedef struct HypervisorDisk {
    const Disk *disk;
    const char *path; /* of the file; NULL: an empty CD drive */
    /* Templates' disks below an overlay, the uppermost first. */
    HypervisorBacking backing[HYPERVISOR_BACKING_MAX];
    size_t n_backing;
} HypervisorDisk;

typedef struct HypervisorNic {
    const Nic *nic;
    const Network *network;
} HypervisorNic;

/* All that is needed to start a VM or to change a running one. Borrowed during the call. */
typedef struct HypervisorVm {
    const Vm *vm; /* complete; defaults applied */
    const HypervisorDisk *disks;
    size_t n_disks;
    const HypervisorNic *nics;
    size_t n_nics;
    const char *seed_path;                                /* cloud-init medium (raw), or NULL */
    const char *kernel_path, *initrd_path, *command_line; /* direct boot, or NULL */
    Acceleration acceleration;                            /* the host's override */
    /* Start: what of the processor it is given by hardware virtualization; NULL: all of it. */
    const CpuLevel *cpu;
    bool shares_files; /* its disks and media lie where other hosts see them */
} HypervisorVm;

typedef struct Hypervisor {
    const char *name; /* HypervisorDriver's name */
    /* Whether `auto` may take it on this machine; NULL: it must be named. */
    bool (*is_here)(void);
    /* Kernel modules that it and what it makes may need, NULL-terminated; no list of allowed modules blocks
     * them. NULL: none. */
    const char *const *modules;
    HypervisorSession *(*open)(
        const HypervisorOptions *options, Error *err); /* need not reach the hypervisor yet */
    void (*close)(HypervisorSession *session);

    /* Fills in all but state, since, agent_version; modes: see abilities.h. Reconnects by itself.
     * ERROR_UNREACHABLE when it does not answer. */
    bool (*probe)(HypervisorSession *session, HostStatus *status, Error *err);
    /* Every VM that the hypervisor knows, ours (managed) and others. Cheap: no guest agent is asked. */
    bool (*list)(HypervisorSession *session, AgentInventory *inventory, Error *err);
    /* One VM's present state. Cheap: its guest is not asked. A VM that does not run: state stopped, no error;
     * an error when that is not certain. */
    bool (*state)(HypervisorSession *session, const char *vm_id, AgentVmState *ret_state, Error *err);
    /* What the guest of a running VM says: addresses (agent, lease), the agent's version, the vCPUs that it
     * counts; nothing else is set. May take seconds. NULL: state and list tell that already. */
    bool (*guest)(HypervisorSession *session, const char *vm_id, VmStatus *ret_status, Error *err);

    /* What a running VM uses: id, started, CPU time (ms), vCPUs, memory (bytes), and a row for each disk and
     * NIC that it has now; counters since its start, absent what is not known. What the guest receives is
     * `received`. Does not wait for the guest; a hypervisor that hangs may hold the caller. ERROR_WRONG_STATE
     * when the VM does not run. */
    bool (*statistics)(
        HypervisorSession *session, const char *vm_id, VmStatistics *ret_statistics, Error *err);

    /* Refuses before anything starts what the host cannot do (ERROR_UNSUPPORTED with the field); `auto` is
     * settled as the manager does it (model/vm-mode.h), and the state of what runs tells its mode. A VM that
     * runs already is success: the call may be repeated. Half-started ones are cleaned away. */
    bool (*start)(HypervisorSession *session, const HypervisorVm *vm, const Cancel *cancel, Error *err);
    /* Asks the guest; waits. ERROR_TIMED_OUT when it still runs, unless `force`. A stopped VM is success. */
    bool (*stop)(HypervisorSession *session, const char *vm_id, int64_t timeout_ms, bool force,
        const Cancel *cancel, Error *err);
    bool (*kill)(HypervisorSession *session, const char *vm_id, Error *err); /* a stopped VM is success */
    bool (*reset)(HypervisorSession *session, const char *vm_id, Error *err);
    bool (*pause)(HypervisorSession *session, const char *vm_id, Error *err);
    bool (*resume)(HypervisorSession *session, const char *vm_id, Error *err);
    /* Holds a VM that runs, or is held already, so that its disks' files are what a copy of one moment needs:
     * every write that the guest knows to be done is in the file, nothing that describes the file is kept in
     * memory, and nothing is written any more. `resume` ends it, also after a failure, which may leave it
     * held. May be repeated. ERROR_UNSUPPORTED for disks where that cannot be. NULL: cannot. */
    bool (*quiesce)(HypervisorSession *session, const char *vm_id, const Cancel *cancel, Error *err);
    /* Writes the memory of a running VM to a file that is made or overwritten, and ends it. Afterwards the
     * file is complete and the VM is gone; on failure it runs on, or save_settle has to tell. NULL: cannot.
     */
    bool (*save)(HypervisorSession *session, const char *vm_id, const char *path,
        const ImageProgress *progress, const Cancel *cancel, Error *err);
    /* After a save that failed or was interrupted: waits for one that the hypervisor still works on, and sees
     * to it that a VM that is still there runs on. *ret_is_saved: it is gone and the file is complete. */
    bool (*save_settle)(HypervisorSession *session, const char *vm_id, const char *path, bool *ret_is_saved,
        const Cancel *cancel, Error *err);
    /* Makes a VM from such a file again and holds it (`resume` lets it go on): it has not run yet, so the
     * file is still true. On failure nothing stays. */
    bool (*restore)(HypervisorSession *session, const HypervisorVm *vm, const char *path,
        const Cancel *cancel, Error *err);
    /* Removes what was kept of a VM that does not run and is deleted now (its console's log, its UEFI
     * variables); may be repeated. NULL: nothing is kept. */
    bool (*forget)(HypervisorSession *session, const char *vm_id, Error *err);
    /* Brings a running VM to the new definition as far as possible (vCPUs and memory up, disks, NICs, cables,
     * media; see device-change.h); what needs a restart is added to ret_pending as JSON pointers. Done when
     * the guest counts the new vCPUs (or 30 s later: pending) and has let go of what was taken away (or 30 s
     * later: ERROR_TIMED_OUT). A VM that does not run: nothing to do. */
    bool (*update)(HypervisorSession *session, const HypervisorVm *vm, AgentVmChanged *ret_pending,
        const Cancel *cancel, Error *err);
    /* A non-blocking socket to the serial console; closing it ends the session. ERROR_IN_USE when taken. */
    bool (*console)(HypervisorSession *session, const char *vm_id, int *ret_fd, Error *err);
    /* The libvirt (or xl) definition that starts this VM without Lodge, newly allocated. */
    bool (*definition)(HypervisorSession *session, const HypervisorVm *vm, char **ret_text, Error *err);

    /* VMs that others made, running or not: what an adoption would take over, and what stands against it.
     * All three NULL: there are none. */
    bool (*foreign)(HypervisorSession *session, AgentForeignList *ret_list, Error *err);
    /* One of them, and how the tool that made it defines it, newly allocated; ERROR_NOT_FOUND when there is
     * none with that id, or not any more. */
    bool (*foreign_read)(
        HypervisorSession *session, const char *vm_id, ForeignVm *ret_vm, char **ret_text, Error *err);
    /* Takes it over: the tool that made it forgets it, one that runs stays as it is and is ours. May be
     * repeated, also when nothing is left to take. On failure it is still the other tool's. */
    bool (*adopt)(HypervisorSession *session, const Vm *vm, Error *err);

    const HypervisorMover *mover; /* NULL: no live migration */

    /* Makes or checks what a network needs on this host; may be repeated. Fills in bridge and subnet that
     * were absent. */
    bool (*network_open)(HypervisorSession *session, Network *network, Error *err);
    bool (*network_close)(HypervisorSession *session, const Network *network, Error *err);
} Hypervisor;

extern const Hypervisor hypervisor_fake;
extern const Hypervisor hypervisor_qemu;
extern const Hypervisor hypervisor_xen;
/* `auto`: the one for what this machine runs on. NULL when there is none of that name. */
const Hypervisor *hypervisor_find(const char *name);
