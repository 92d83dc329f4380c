/* One question after the other. */
#include "hypervisor/xen/mode.h"
#include <string.h>
#include "hypervisor/libvirt/domain.h"

XenHost xen_host_read(const char *capabilities) {
    g_auto(GStrv) words = g_strsplit_set(capabilities, " \n", -1);
    XenHost host = {0};
    for (char **word = words; *word; word++) {
        host.has_hvm |= g_str_has_prefix(*word, "hvm-");
        host.has_pv |= g_str_has_prefix(*word, "xen-");
    }
    return host;
}

/* GRUB for pvh looks for /boot/grub/grub.cfg, and the kernel must know this mode (Linux 4.11 or later). */
static bool boots_by_grub(const char *guest_os) {
    static const char *const beginnings[] = {"debian1", "ubuntu18.", "ubuntu19.", "ubuntu2"};
    for (size_t i = 0; guest_os && i < G_N_ELEMENTS(beginnings); i++) {
        size_t length = strlen(beginnings[i]);
        if (g_str_has_prefix(guest_os, beginnings[i]) && g_ascii_isdigit(guest_os[length]))
            return true;
    }
    return false;
}

static bool wants_network_first(const Vm *vm) {
    return vm->boot_order.n && vm->boot_order.items[0] == BOOT_DEVICE_NETWORK;
}

/* A CD that is there already is a disk that cannot be written; one that may come needs a drive. */
static bool wants_drive(const Vm *vm) {
    for (size_t i = 0; i < vm->disks.n; i++)
        if (vm->disks.items[i].kind == DISK_KIND_CD && !vm->disks.items[i].image)
            return true;
    return false;
}

/* Field for which a full PC is needed, or NULL. */
static const char *needs_pc(const Vm *vm, bool boots_kernel) {
    if (domain_is_uefi(vm))
        return "/firmware";
    if (domain_has_graphics(vm))
        return "/console/graphics";
    if (!boots_kernel && wants_network_first(vm))
        return "/boot_order";
    if (wants_drive(vm))
        return "/disks";
    return NULL;
}

static bool refuse(const char *field, const char *reason, Error *err) {
    return error_set(err, ERROR_UNSUPPORTED, field, "%s", reason);
}

static bool check_named(const Vm *vm, const XenHost *host, bool boots_kernel, Error *err) {
    const char *field = needs_pc(vm, boots_kernel);
    if (vm->mode != VM_MODE_PV && !host->has_hvm)
        return refuse("/mode", "this host's CPU or firmware offers no virtualization; only pv works here", err);
    if (vm->mode == VM_MODE_PV && !host->has_pv)
        return refuse("/mode", "this hypervisor takes no paravirtual guests", err);
    if (vm->mode != VM_MODE_HVM && field)
        return refuse(field, "needs the mode hvm", err);
    if (vm->mode == VM_MODE_PV && !boots_kernel)
        return refuse("/mode", "pv boots kernels only; a boot loader in the disk needs pvh or hvm", err);
    return true;
}

bool xen_mode_choose(const Vm *vm, const XenHost *host, bool boots_kernel, VmMode *ret_mode, Error *err) {
    bool is_named = vm_has(vm, VM_FIELD_MODE) && vm->mode != VM_MODE_AUTO;
    if (is_named) {
        *ret_mode = vm->mode;
        return check_named(vm, host, boots_kernel, err);
    }
    bool is_linux = boots_kernel || (boots_by_grub(vm->guest_os) && host->has_grub);
    if (!host->has_hvm && !boots_kernel)
        return refuse("/mode",
            "this host's CPU or firmware offers no virtualization: only templates that hand over a kernel run here", err);
    if (!host->has_hvm)
        *ret_mode = VM_MODE_PV;
    else
        *ret_mode = is_linux && !needs_pc(vm, boots_kernel) ? VM_MODE_PVH : VM_MODE_HVM;
    return true;
}
