/*
 * How Xen presents a machine. Pure; any thread.
 *
 * hvm: a full PC with emulated devices. pvh: the CPU's virtualization without emulated devices; boots a kernel, or
 * GRUB made for it. pv: paravirtual, for hosts without virtualization in the CPU.
 */
#pragma once
#include "hypervisor/hypervisor.h"

typedef struct XenHost {
    bool has_hvm;   /* the CPU's virtualization is there: hvm and pvh */
    bool has_pv;    /* the hypervisor takes paravirtual guests */
    bool has_grub;  /* GRUB for pvh is installed */
    bool has_uefi;  /* firmware for hvm is installed */
} XenHost;

/* From the words of /sys/hypervisor/properties/capabilities ("xen-3.0-x86_64 hvm-3.0-x86_64 …"). */
XenHost xen_host_read(const char *capabilities);
/* The mode of the definition, or for `auto` the lightest that can do all that is asked for. ERROR_UNSUPPORTED with
 * the field when the host cannot. `boots_kernel`: a kernel is handed over, no boot loader. */
bool xen_mode_choose(const Vm *vm, const XenHost *host, bool boots_kernel, VmMode *ret_mode, Error *err);
