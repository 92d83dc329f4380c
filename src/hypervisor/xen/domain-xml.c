/* From the definition to the domain. */
#include "hypervisor/xen/domain-xml.h"
#include "hypervisor/xen/vcpus.h"
#include <inttypes.h>
#include <string.h>
#include "hypervisor/libvirt/domain.h"
#include "model/guest-os.h"

enum { N_IDE = 4, FIRST_CD_PLACE = 3, N_CD = 2, MAX_PLACES = 26 * 27 };

static bool is_cd(const Disk *disk) {
    return disk->kind == DISK_KIND_CD;
}

static bool is_qcow2(const Disk *disk) {
    return disk->kind == DISK_KIND_DISK && disk->format == DISK_FORMAT_QCOW2;
}

static bool has_drives(VmMode mode) {
    return mode == VM_MODE_HVM;
}

/* ---- checks ---- */

static bool check_disk(const HypervisorDisk *disk, VmMode mode, size_t *n_cds, Error *err) {
    if (disk->disk->kind == DISK_KIND_DISK && !disk->path)
        return error_set(err, ERROR_INVALID, "", "the disk has no file");
    if (is_cd(disk->disk) && has_drives(mode) && (*n_cds)++ >= N_CD)
        return error_set(err, ERROR_UNSUPPORTED, "/kind", "there is place for %d CD drives", N_CD);
    if (is_qcow2(disk->disk) && disk->disk->read_only)
        return error_set(err, ERROR_UNSUPPORTED, "/read_only",
            "a disk of format qcow2 cannot be read-only here: QEMU's back end refuses it; use one of format "
            "raw");
    return true;
}

static bool check_disks(const HypervisorVm *vm, VmMode mode, Error *err) {
    size_t n_cds = 0;
    for (size_t i = 0; i < vm->n_disks; i++) {
        if (check_disk(&vm->disks[i], mode, &n_cds, err))
            continue;
        g_autofree char *field = g_strdup_printf("/disks/%zu", i);
        return err ? error_prefix_field(err, field) : false;
    }
    return true;
}

static NicModel model_of(const Vm *vm, const Nic *nic) {
    return nic_has(nic, NIC_FIELD_MODEL) ? nic->model : guest_os_nic_model(vm->guest_os);
}

static bool check_nics(const HypervisorVm *vm, Error *err) {
    for (size_t i = 0; i < vm->n_nics; i++) {
        g_autofree char *field = g_strdup_printf("/nics/%zu/connected", i);
        if (!domain_is_connected(vm->nics[i].nic))
            return error_set(err, ERROR_UNSUPPORTED, field,
                "this hypervisor cannot pull a cable; take the NIC away instead");
    }
    return true;
}

static bool check_boot(const HypervisorVm *vm, const XenXmlOptions *options, Error *err) {
    if (domain_is_uefi(vm->vm) && options->mode != VM_MODE_HVM)
        return error_set(err, ERROR_UNSUPPORTED, "/firmware", "UEFI needs the mode hvm");
    if (domain_is_uefi(vm->vm) && !options->uefi_path)
        return error_set(err, ERROR_UNSUPPORTED, "/firmware",
            "the UEFI firmware (package xen-utils-common) is not installed");
    if (options->mode == VM_MODE_PVH && !vm->kernel_path && !options->grub_path)
        return error_set(err, ERROR_UNSUPPORTED, "/mode",
            "GRUB for this mode (package grub-xen-host) is not installed on the host; use the mode hvm");
    if (options->mode == VM_MODE_PV && !vm->kernel_path)
        return error_set(err, ERROR_UNSUPPORTED, "/mode",
            "a boot loader inside the disk needs the mode pvh or hvm: for pv the host would have to read the "
            "disk");
    return true;
}

bool xen_domain_check(const HypervisorVm *vm, const XenXmlOptions *options, Error *err) {
    const Vm *definition = vm->vm;
    int64_t maximum = domain_vcpus_maximum(definition);
    if (options->vcpus_limit && maximum > options->vcpus_limit)
        return error_set(err, ERROR_UNSUPPORTED,
            definition->vcpus > options->vcpus_limit ? "/vcpus" : "/vcpus_maximum",
            "%" G_GINT64_FORMAT " vCPUs are asked for, this host can give %" G_GINT64_FORMAT " to a VM",
            maximum, options->vcpus_limit);
    if (domain_has_graphics(definition) && options->mode != VM_MODE_HVM)
        return error_set(err, ERROR_UNSUPPORTED, "/console/graphics", "a screen needs the mode hvm");
    if (vm->n_disks != definition->disks.n || vm->n_nics != definition->nics.n)
        return error_set(err, ERROR_INTERNAL, NULL, "disks or NICs do not match the definition");
    return check_boot(vm, options, err) && check_disks(vm, options->mode, err) && check_nics(vm, err);
}

/* ---- how it starts ---- */

static const char *console_of(VmMode mode) {
    return mode == VM_MODE_HVM ? "console=ttyS0" : "console=hvc0";
}

char *xen_command_line(const HypervisorVm *vm, VmMode mode) {
    const char *extra = vm->vm->kernel_arguments;
    g_autofree char *all =
        g_strdup_printf("%s %s", vm->command_line ? vm->command_line : "", extra ? extra : "");
    g_auto(GStrv) words = g_strsplit(all, " ", -1);
    GString *line = g_string_new(NULL);
    for (char **word = words; *word; word++) {
        bool is_serial = g_str_has_prefix(*word, "console=ttyS0") || g_str_has_prefix(*word, "console=hvc0");
        if (**word)
            g_string_append_printf(line, "%s%s", line->len ? " " : "", is_serial ? console_of(mode) : *word);
    }
    return g_string_free(line, FALSE);
}

static void add_sizes(GString *xml, const Vm *vm, VmMode mode) {
    int64_t maximum = domain_vcpus_maximum(vm);
    domain_add(xml, "  <memory unit='b'>%" PRIu64 "</memory>\n", domain_memory_maximum(vm));
    domain_add(xml, "  <currentMemory unit='b'>%" PRIu64 "</currentMemory>\n", vm->memory);
    domain_add(xml, "  <vcpu placement='static' current='%" PRId64 "'>%" PRId64 "</vcpu>\n",
        xen_keeps_vcpus_back(vm, mode) ? maximum : vm->vcpus, maximum);
}

static void add_kernel(GString *xml, const HypervisorVm *vm, VmMode mode) {
    g_autofree char *line = xen_command_line(vm, mode);
    domain_add(xml, "    <kernel>%s</kernel>\n", vm->kernel_path);
    if (vm->initrd_path)
        domain_add(xml, "    <initrd>%s</initrd>\n", vm->initrd_path);
    domain_add(xml, "    <cmdline>%s</cmdline>\n", line);
}

static void add_os(GString *xml, const HypervisorVm *vm, const XenXmlOptions *options) {
    static const char *const types[VM_MODE_MAX] = {[VM_MODE_HVM] = "machine='xenfv'>hvm",
        [VM_MODE_PVH] = "machine='xenpvh'>xenpvh",
        [VM_MODE_PV] = "machine='xenpv'>linux"};
    g_string_append_printf(xml, "  <os>\n    <type arch='x86_64' %s</type>\n", types[options->mode]);
    if (domain_is_uefi(vm->vm))
        domain_add(xml, "    <loader readonly='yes' type='pflash'>%s</loader>\n", options->uefi_path);
    if (vm->kernel_path)
        add_kernel(xml, vm, options->mode);
    else if (options->mode == VM_MODE_HVM)
        domain_add_boot_devices(xml, vm->vm);
    else
        domain_add(xml, "    <kernel>%s</kernel>\n", options->grub_path);
    domain_add(xml, "  </os>\n");
    if (options->mode == VM_MODE_HVM)
        domain_add(xml, "  <features>\n    <acpi/>\n    <apic/>\n    <pae/>\n  </features>\n");
}

/* ---- devices ---- */

char *xen_target_name(VmMode mode, const Disk *disk, size_t place) {
    return domain_letters(has_drives(mode) && is_cd(disk) ? "hd" : "xvd", place);
}

static size_t count_cds(const HypervisorVm *vm, size_t before) {
    size_t n = 0;
    for (size_t i = 0; i < before; i++)
        n += is_cd(vm->disks[i].disk);
    return n;
}

/* Where disk `i` of the definition sits when the machine starts; `i` may be one beyond the last: the seed's.
 */
static size_t place_at_start(const HypervisorVm *vm, size_t i, VmMode mode) {
    if (!has_drives(mode))
        return i;
    size_t n_cds = count_cds(vm, vm->n_disks);
    if (i < vm->n_disks && is_cd(vm->disks[i].disk))
        return FIRST_CD_PLACE - count_cds(vm, i);
    size_t place = i - count_cds(vm, i);
    return place + n_cds < N_IDE ? place : place + n_cds;
}

/* A raw file goes through the kernel's back end, qcow2 through QEMU's, which refuses what cannot be written
 * (QEMU 10: "Block node is read-only"). Never is a format guessed. */
static void add_driver(GString *xml, const Disk *disk, bool is_drive) {
    if (is_qcow2(disk))
        domain_add(xml, "      <driver name='qemu' type='qcow2'/>\n");
    else
        domain_add(xml, "      <driver name='%s' type='raw'/>\n", is_drive ? "qemu" : "phy");
}

static void add_disk(GString *xml, const HypervisorDisk *disk, const char *target, VmMode mode) {
    bool is_drive = has_drives(mode) && is_cd(disk->disk);
    if (!disk->path && !is_drive)
        return;
    domain_add(xml, "    <disk type='file' device='%s'>\n", is_drive ? "cdrom" : "disk");
    add_driver(xml, disk->disk, is_drive);
    if (disk->path)
        domain_add(xml, "      <source file='%s'/>\n", disk->path);
    domain_add(xml, "      <target dev='%s' bus='%s'/>\n", target, is_drive ? "ide" : "xen");
    if (is_cd(disk->disk) || disk->disk->read_only)
        domain_add(xml, "      <readonly/>\n");
    if (disk->disk->id) {
        g_autofree char *alias = domain_alias(disk->disk->id);
        domain_add(xml, "      <alias name='%s'/>\n", alias);
    }
    domain_add(xml, "    </disk>\n");
}

static void add_seed(GString *xml, const HypervisorVm *vm, VmMode mode) {
    if (!vm->seed_path)
        return;
    g_autofree char *target = domain_letters("xvd", place_at_start(vm, vm->n_disks, mode));
    domain_add(xml,
        "    <disk type='file' device='disk'>\n      <driver name='phy' type='raw'/>\n"
        "      <source file='%s'/>\n      <target dev='%s' bus='xen'/>\n      <readonly/>\n    </disk>\n",
        vm->seed_path, target);
}

/* A full PC gets an emulated card beside Xen's, which the guest lets go of once it has the driver. */
static const char *model_name(const Vm *vm, const Nic *nic) {
    static const char *const names[NIC_MODEL_MAX] = {[NIC_MODEL_VIRTIO] = "rtl8139",
        [NIC_MODEL_E1000] = "e1000",
        [NIC_MODEL_E1000E] = "e1000",
        [NIC_MODEL_RTL8139] = "rtl8139"};
    return names[model_of(vm, nic)];
}

static void add_nic(GString *xml, const HypervisorNic *nic, const char *model, const XenXmlOptions *options) {
    bool is_nat = nic->network->kind == NETWORK_KIND_NAT;
    g_autofree char *name = is_nat ? domain_network_name(options->instance, nic->network->id) : NULL;
    domain_add(xml, "    <interface type='%s'>\n", is_nat ? "network" : "bridge");
    if (nic->nic->mac)
        domain_add(xml, "      <mac address='%s'/>\n", nic->nic->mac);
    domain_add(xml, "      <source %s='%s'/>\n", is_nat ? "network" : "bridge",
        is_nat ? name : nic->network->bridge);
    if (options->mode == VM_MODE_HVM)
        domain_add(xml, "      <model type='%s'/>\n", model);
    if (nic->nic->id) {
        g_autofree char *alias = domain_alias(nic->nic->id);
        domain_add(xml, "      <alias name='%s'/>\n", alias);
    }
    domain_add(xml, "    </interface>\n");
}

static void add_serial(GString *xml, VmMode mode) {
    if (mode == VM_MODE_HVM)
        domain_add(xml, "    <serial type='pty'>\n      <target port='0'/>\n    </serial>\n"
                        "    <console type='pty'>\n      <target type='serial' port='0'/>\n    </console>\n");
    else
        domain_add(xml, "    <console type='pty'>\n      <target type='xen' port='0'/>\n    </console>\n");
}

/* libxl hands an address with a colon in it to QEMU as it is, so that it can be a UNIX socket, which only
 * root may open. (A password is no way: Debian 13's QEMU has no DES, which VNC's passwords need.) */
static void add_graphics(GString *xml, const Vm *vm, const XenXmlOptions *options) {
    if (guest_os_has_tablet(vm->guest_os))
        domain_add(xml, "    <input type='tablet' bus='usb'/>\n");
    g_autofree char *socket =
        options->state_folder ? g_strdup_printf("unix:%s/%s.vnc", options->state_folder, vm->id) : NULL;
    domain_add(
        xml, "    <graphics type='vnc' port='-1' autoport='yes' listen='%s'", socket ? socket : "127.0.0.1");
    domain_add(xml, "/>\n    <video>\n      <model type='vga' vram='16384'/>\n    </video>\n");
}

static void add_devices(GString *xml, const HypervisorVm *vm, const XenXmlOptions *options) {
    domain_add(xml, "  <devices>\n");
    for (size_t i = 0; i < vm->n_disks; i++) {
        g_autofree char *target =
            xen_target_name(options->mode, vm->disks[i].disk, place_at_start(vm, i, options->mode));
        add_disk(xml, &vm->disks[i], target, options->mode);
    }
    add_seed(xml, vm, options->mode);
    for (size_t i = 0; i < vm->n_nics; i++)
        add_nic(xml, &vm->nics[i], model_name(vm->vm, vm->nics[i].nic), options);
    if (domain_has_serial(vm->vm))
        add_serial(xml, options->mode);
    if (domain_has_graphics(vm->vm))
        add_graphics(xml, vm->vm, options);
    domain_add(xml, "  </devices>\n");
}

char *xen_domain_xml(const HypervisorVm *vm, const XenXmlOptions *options) {
    GString *xml = g_string_new("<domain type='xen'>\n");
    g_autofree char *started =
        options->started_ns ? g_strdup_printf("%" G_GINT64_FORMAT, options->started_ns) : NULL;
    domain_add_head(
        xml, vm->vm, &(DomainMark){.instance = options->instance, .acceleration = "xen", .started = started});
    add_sizes(xml, vm->vm, options->mode);
    add_os(xml, vm, options);
    domain_add(xml,
        "  <clock offset='%s'/>\n  <on_poweroff>destroy</on_poweroff>\n  <on_reboot>restart</on_reboot>\n"
        "  <on_crash>destroy</on_crash>\n",
        guest_os_has_local_clock(vm->vm->guest_os) ? "localtime" : "utc");
    add_devices(xml, vm, options);
    g_string_append(xml, "</domain>\n");
    return g_string_free(xml, FALSE);
}

char *xen_disk_xml(const HypervisorVm *vm, size_t i, const char *target, const XenXmlOptions *options) {
    GString *xml = g_string_new(NULL);
    add_disk(xml, &vm->disks[i], target, options->mode);
    return g_string_free(xml, FALSE);
}

char *xen_nic_xml(const HypervisorVm *vm, size_t i, const XenXmlOptions *options) {
    GString *xml = g_string_new(NULL);
    add_nic(xml, &vm->nics[i], "netfront", options); /* an emulated card cannot come while it runs */
    return g_string_free(xml, FALSE);
}
