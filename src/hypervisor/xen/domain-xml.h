/*
 * A VM as libvirt's domain XML for Xen (https://libvirt.org/formatdomain.html; what of it the libxl driver
 * reads: docs/xen.md). Pure; every value is escaped. Golden files in golden/ show what comes out. Any thread.
 *
 * Disks are xvda, xvdb… in the order of the definition. In a full PC the first four are IDE drives too until
 * the guest has drivers for Xen; CD drives take the places d and c, and disks pass over these. A machine
 * without emulated devices has no CD drives: a CD is a disk that cannot be written.
 */
#pragma once
#include "hypervisor/hypervisor.h"

typedef struct XenXmlOptions {
    const char *instance;
    VmMode mode;              /* chosen already */
    const char *uefi_path;    /* firmware; NULL: none on this host */
    const char *grub_path;    /* GRUB for PVH; NULL: none on this host */
    const char *state_folder; /* gets the graphics console's socket, ID.vnc; NULL: a port on loopback */
    int64_t started_ns;       /* realtime; 0: no metadata at all */
    int64_t vcpus_limit;      /* 0: not known */
} XenXmlOptions;

/* ERROR_UNSUPPORTED or ERROR_INVALID with the field when this host cannot run the VM. Starts nothing. */
bool xen_domain_check(const HypervisorVm *vm, const XenXmlOptions *options, Error *err);
/* The whole domain, newly allocated. The VM has passed xen_domain_check. */
char *xen_domain_xml(const HypervisorVm *vm, const XenXmlOptions *options);
/* One device of it, for changes while it runs; newly allocated. */
char *xen_disk_xml(const HypervisorVm *vm, size_t i, const char *target, const XenXmlOptions *options);
char *xen_nic_xml(const HypervisorVm *vm, size_t i, const XenXmlOptions *options);
/* "xvdc" for place 2, "hdc" for CD drives of a full PC; newly allocated. */
char *xen_target_name(VmMode mode, const Disk *disk, size_t place);
/* The kernel's command line with the serial port that this mode has; newly allocated. */
char *xen_command_line(const HypervisorVm *vm, VmMode mode);
