/*
 * A VM as libvirt's domain XML for QEMU (https://libvirt.org/formatdomain.html). Pure but for the two
 * questions to the disk that QemuXmlOptions carries; every value is escaped. Golden files in golden/ show
 * what comes out. Any thread. What all hypervisors' domains have in common: libvirt/domain.h.
 */
#pragma once
#include "hypervisor/hypervisor.h"

typedef struct QemuXmlOptions {
    const char *instance;
    const char
        *state_folder; /* takes ID.log (serial port, written by virtlogd) and ID.nvram (UEFI variables) */
    bool is_kvm;
    const char *uefi_code,
        *uefi_variables; /* firmware and its template of variables; NULL: none on this host */
    bool (*can_bypass_cache)(const char *path); /* whether O_DIRECT works there */
    int64_t started_ns;                         /* realtime; 0: no metadata at all */
    int64_t vcpus_limit;                        /* of this machine type; 0: not known */
} QemuXmlOptions;

/* ERROR_UNSUPPORTED or ERROR_INVALID with the field when this host cannot run the VM. Starts nothing. */
bool qemu_domain_check(const HypervisorVm *vm, const QemuXmlOptions *options, Error *err);
/* The whole domain, newly allocated. The VM has passed qemu_domain_check. */
char *qemu_domain_xml(const HypervisorVm *vm, const QemuXmlOptions *options);
/* One device of it, for changes while it runs; newly allocated. `index` is the disk's place among those that
 * share its letters ("sdc" is 2). */
char *qemu_disk_xml(const HypervisorVm *vm, size_t i, size_t index, const QemuXmlOptions *options);
char *qemu_nic_xml(const HypervisorVm *vm, size_t i, const QemuXmlOptions *options);
/* "vda", "sdb"…: what libvirt calls a disk; newly allocated. */
char *qemu_target_name(DiskBus bus, size_t index);
