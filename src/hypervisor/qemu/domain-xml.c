/* Domain XML from a definition, top to bottom as libvirt prints it. */
#include <inttypes.h>
#include <string.h>
#include "hypervisor/qemu/domain-xml.h"
#include "hypervisor/device-change.h"
#include "hypervisor/qemu/host-cpu.h"
#include "hypervisor/libvirt/domain.h"
#include "model/guest-os.h"

enum {
    MEMORY_SLOTS = 16,
    /* The default grows to a gibibyte for each emulated guest; too small a one translates the same code again
     * and again. QEMU dies when a vCPU is added while every part of the cache is taken (assertion in
     * tcg/region.c of 7.2), so a VM that may grow has a larger one; update.c looks first. */
    TRANSLATION_CACHE_MIB_LEAST = 32,
    TRANSLATION_CACHE_MIB_MOST = 256,
    TRANSLATION_CACHE_SHARE = 4, /* of the guest's memory */
    MAX_IDE = 4,
    SPARE_PORTS = 4,
    MOST_PORTS = 63,
    ALWAYS_PRESENT = 3,       /* serial channels, balloon, random numbers */
    MEMORY_STATISTICS_S = 10, /* how often QEMU asks the guest's balloon driver */
    VCPUS_WITHOUT_IOMMU = 255 /* above, interrupts need an IOMMU in extended mode */
};

static bool is_old(const Vm *vm) {
    if (vm_has(vm, VM_FIELD_CHIPSET))
        return vm->chipset == CHIPSET_PC;
    return guest_os_needs_old_machine(vm->guest_os);
}

/* "0000:01:00.0"; false for NULL and anything else. */
typedef struct PciPlace {
    unsigned domain, bus, slot, function;
} PciPlace;

static bool pci_place_read(const char *text, PciPlace *ret_place) {
    return text && sscanf(text, "%4x:%2x:%2x.%1x", &ret_place->domain, &ret_place->bus, &ret_place->slot,
                       &ret_place->function) == 4;
}

static const char *target_prefix(DiskBus bus) {
    return bus == DISK_BUS_VIRTIO ? "vd" : bus == DISK_BUS_IDE ? "hd" : "sd";
}

static size_t target_index(const Vm *vm, const char *prefix, size_t before) {
    size_t index = 0;
    for (size_t i = 0; i < before; i++)
        index += !strcmp(prefix, target_prefix(disk_bus_of(vm, &vm->disks.items[i])));
    return index;
}

char *qemu_target_name(DiskBus bus, size_t index) {
    return domain_letters(target_prefix(bus), index);
}

static bool check_disks(const HypervisorVm *vm, Error *err) {
    size_t n_ide = vm->seed_path && cd_bus_of(vm->vm) == DISK_BUS_IDE;
    for (size_t i = 0; i < vm->n_disks; i++) {
        const Disk *disk = vm->disks[i].disk;
        DiskBus bus = disk_bus_of(vm->vm, disk);
        g_autofree char *field = g_strdup_printf("/disks/%zu", i);
        if (bus == DISK_BUS_IDE && !is_old(vm->vm))
            error_set(err, ERROR_UNSUPPORTED, "/bus",
                "the machine for this guest OS has no IDE; use sata, or name an old guest OS");
        else if (bus == DISK_BUS_IDE && n_ide++ >= MAX_IDE)
            error_set(err, ERROR_UNSUPPORTED, "/bus", "there is place for %d drives on IDE", MAX_IDE);
        else if (bus == DISK_BUS_VIRTIO && disk->kind == DISK_KIND_CD)
            error_set(
                err, ERROR_UNSUPPORTED, "/bus", "a CD drive cannot be on the bus virtio; use scsi or sata");
        else if (disk->kind == DISK_KIND_DISK && !vm->disks[i].path)
            error_set(err, ERROR_INVALID, "", "the disk has no file");
        else
            continue;
        return err ? error_prefix_field(err, field) : false;
    }
    return true;
}

bool qemu_domain_check(const HypervisorVm *vm, const QemuXmlOptions *options, Error *err) {
    const Vm *definition = vm->vm;
    int64_t maximum = domain_vcpus_maximum(definition);
    if (definition->mode == VM_MODE_PV || definition->mode == VM_MODE_PVH)
        return error_set(err, ERROR_UNSUPPORTED, "/mode", "this hypervisor runs full PCs only");
    if (options->vcpus_limit && maximum > options->vcpus_limit)
        return error_set(err, ERROR_UNSUPPORTED,
            definition->vcpus > options->vcpus_limit ? "/vcpus" : "/vcpus_maximum",
            "%" G_GINT64_FORMAT " vCPUs are asked for, this host can give %" G_GINT64_FORMAT " to a VM",
            maximum, options->vcpus_limit);
    if (domain_is_uefi(definition) && is_old(definition))
        return error_set(err, ERROR_UNSUPPORTED, "/firmware", "the machine for this guest OS has no UEFI");
    if (domain_is_uefi(definition) && !options->uefi_code)
        return error_set(
            err, ERROR_UNSUPPORTED, "/firmware", "the UEFI firmware (package ovmf) is not installed");
    if (vm->n_disks != definition->disks.n || vm->n_nics != definition->nics.n)
        return error_set(err, ERROR_INTERNAL, NULL, "disks or NICs do not match the definition");
    return check_disks(vm, err);
}

static void add_sizes(GString *xml, const Vm *vm) {
    if (domain_memory_maximum(vm) > vm->memory)
        domain_add(xml, "  <maxMemory slots='%d' unit='b'>%" G_GUINT64_FORMAT "</maxMemory>\n", MEMORY_SLOTS,
            domain_memory_maximum(vm));
    domain_add(xml, "  <memory unit='b'>%" G_GUINT64_FORMAT "</memory>\n", vm->memory);
    domain_add(xml, "  <vcpu placement='static' current='%" G_GINT64_FORMAT "'>%" G_GINT64_FORMAT "</vcpu>\n",
        vm->vcpus, domain_vcpus_maximum(vm));
}

static void add_direct_boot(GString *xml, const HypervisorVm *vm) {
    const char *extra = vm->vm->kernel_arguments;
    g_autofree char *line = g_strdup_printf(
        "%s%s%s", vm->command_line ? vm->command_line : "", extra ? " " : "", extra ? extra : "");
    domain_add(xml, "    <kernel>%s</kernel>\n", vm->kernel_path);
    if (vm->initrd_path)
        domain_add(xml, "    <initrd>%s</initrd>\n", vm->initrd_path);
    domain_add(xml, "    <cmdline>%s</cmdline>\n", g_strstrip(line));
}

static void add_os(GString *xml, const HypervisorVm *vm, const QemuXmlOptions *options) {
    domain_add(
        xml, "  <os>\n    <type arch='x86_64' machine='%s'>hvm</type>\n", is_old(vm->vm) ? "pc" : "q35");
    if (domain_is_uefi(vm->vm)) {
        domain_add(xml, "    <loader readonly='yes' type='pflash'>%s</loader>\n", options->uefi_code);
        domain_add(xml, "    <nvram template='%s'>%s/%s.nvram</nvram>\n", options->uefi_variables,
            options->state_folder, vm->vm->id);
    }
    if (vm->kernel_path)
        add_direct_boot(xml, vm);
    else
        domain_add_boot_devices(xml, vm->vm);
    domain_add(xml, "  </os>\n");
}

static uint64_t translation_cache_mib(const Vm *vm) {
    if (domain_vcpus_maximum(vm) > vm->vcpus)
        return TRANSLATION_CACHE_MIB_MOST;
    uint64_t share = (vm->memory >> 20) / TRANSLATION_CACHE_SHARE;
    return CLAMP(share, TRANSLATION_CACHE_MIB_LEAST, TRANSLATION_CACHE_MIB_MOST);
}

static void add_features(GString *xml, const Vm *vm, const QemuXmlOptions *options) {
    domain_add(xml, "  <features>\n    <acpi/>\n    <apic/>\n");
    if (domain_vcpus_maximum(vm) > VCPUS_WITHOUT_IOMMU)
        domain_add(xml, "    <ioapic driver='qemu'/>\n");
    if (!options->is_kvm)
        domain_add(
            xml, "    <tcg><tb-cache unit='MiB'>%" PRIu64 "</tb-cache></tcg>\n", translation_cache_mib(vm));
    domain_add(xml, "  </features>\n");
}

/* Hot-added memory needs a NUMA node to belong to. Under emulation: the smallest model that all of today's
 * distributions start on (x86-64-v2); larger ones only make the guest use instructions that are slow to
 * emulate. */
static void add_cpu(GString *xml, const HypervisorVm *vm, const QemuXmlOptions *options) {
    static const char *const version_2[] = {"ssse3", "sse4.1", "sse4.2", "popcnt", "cx16", "lahf_lm"};
    if (options->is_kvm && vm->cpu) {
        g_autofree char *element = qemu_cpu_element(vm->cpu);
        g_string_append(xml, element);
    } else if (options->is_kvm) {
        domain_add(xml, "  <cpu mode='host-model'>\n");
    } else {
        domain_add(xml, "  <cpu mode='custom' match='exact' check='none'>\n    <model "
                        "fallback='forbid'>qemu64</model>\n");
        for (size_t i = 0; i < G_N_ELEMENTS(version_2); i++)
            domain_add(xml, "    <feature policy='require' name='%s'/>\n", version_2[i]);
    }
    if (domain_memory_maximum(vm->vm) > vm->vm->memory)
        domain_add(xml,
            "    <numa><cell id='0' cpus='0-%" G_GINT64_FORMAT "' memory='%" G_GUINT64_FORMAT
            "' unit='b'/></numa>\n",
            domain_vcpus_maximum(vm->vm) - 1, vm->vm->memory);
    domain_add(xml, "  </cpu>\n");
}

static void add_scsi_address(GString *xml, DiskBus bus, size_t index) {
    if (bus == DISK_BUS_SCSI)
        domain_add(
            xml, "      <address type='drive' controller='0' bus='0' target='%zu' unit='0'/>\n", index);
}

static const char *bus_name(DiskBus bus) {
    static const char *const names[DISK_BUS_MAX] = {[DISK_BUS_VIRTIO] = "virtio",
        [DISK_BUS_SCSI] = "scsi",
        [DISK_BUS_SATA] = "sata",
        [DISK_BUS_IDE] = "ide"};
    return names[bus];
}

/* A template's disk is read by many VMs: libvirt must not give it to one of them and keep it. */
static void add_backing(GString *xml, const HypervisorDisk *disk) {
    for (size_t i = 0; i < disk->n_backing; i++)
        domain_add(xml,
            "      <backingStore type='file'>\n        <format type='%s'/>\n        <source file='%s'>\n"
            "          <seclabel model='dac' relabel='no'/>\n        </source>\n",
            disk->backing[i].format == DISK_FORMAT_QCOW2 ? "qcow2" : "raw", disk->backing[i].path);
    if (disk->n_backing)
        domain_add(xml, "        <backingStore/>\n");
    for (size_t i = 0; i < disk->n_backing; i++)
        domain_add(xml, "      </backingStore>\n");
}

/* Devices are found again by this name, whatever comes and goes beside them. */
static void add_alias(GString *xml, const char *id) {
    g_autofree char *alias = id ? domain_alias(id) : NULL;
    if (alias)
        domain_add(xml, "      <alias name='%s'/>\n", alias);
}

/* libvirt would take a file back when the VM has left this host, and another one has it open. */
static void add_source(GString *xml, const HypervisorVm *vm, const char *path) {
    if (vm->shares_files)
        domain_add(xml,
            "      <source file='%s'>\n        <seclabel model='dac' relabel='no'/>\n      </source>\n",
            path);
    else
        domain_add(xml, "      <source file='%s'/>\n", path);
}

static void add_disk(
    GString *xml, const HypervisorVm *vm, size_t i, size_t index, const QemuXmlOptions *options) {
    const Disk *disk = vm->disks[i].disk;
    const char *path = vm->disks[i].path;
    DiskBus bus = disk_bus_of(vm->vm, disk);
    bool is_cd = disk->kind == DISK_KIND_CD;
    g_autofree char *target = qemu_target_name(bus, index);
    domain_add(xml, "    <disk type='file' device='%s'>\n", is_cd ? "cdrom" : "disk");
    if (is_cd)
        domain_add(xml, "      <driver name='qemu' type='raw'/>\n");
    else
        domain_add(xml, "      <driver name='qemu' type='%s' cache='%s' discard='unmap'/>\n",
            disk->format == DISK_FORMAT_QCOW2 ? "qcow2" : "raw",
            options->can_bypass_cache(path) ? "none" : "writeback");
    if (path)
        add_source(xml, vm, path);
    add_backing(xml, &vm->disks[i]);
    domain_add(xml, "      <target dev='%s' bus='%s'/>\n", target, bus_name(bus));
    if (is_cd || disk->read_only)
        domain_add(xml, "      <readonly/>\n");
    const char *serial = disk->serial ? disk->serial : disk->id;
    if (!is_cd && serial)
        domain_add(xml, "      <serial>%.20s</serial>\n", serial);
    add_alias(xml, disk->id);
    add_scsi_address(xml, bus, index);
    domain_add(xml, "    </disk>\n");
}

static void add_seed(GString *xml, const HypervisorVm *vm) {
    if (!vm->seed_path)
        return;
    DiskBus bus = cd_bus_of(vm->vm);
    size_t index = target_index(vm->vm, target_prefix(bus), vm->n_disks);
    g_autofree char *target = qemu_target_name(bus, index);
    domain_add(xml, "    <disk type='file' device='cdrom'>\n      <driver name='qemu' type='raw'/>\n");
    add_source(xml, vm, vm->seed_path);
    domain_add(xml, "      <target dev='%s' bus='%s'/>\n      <readonly/>\n", target, bus_name(bus));
    add_scsi_address(xml, bus, index);
    domain_add(xml, "    </disk>\n");
}

/* Each device on PCI Express sits in a port of its own, and ports cannot be added later: those that the VM
 * needs at its start, and some for what comes while it runs. */
static size_t highest_port(const HypervisorVm *vm) {
    unsigned highest = 0;
    for (size_t i = 0; i < vm->n_nics; i++) {
        PciPlace place;
        if (pci_place_read(vm->nics[i].nic->pci, &place))
            highest = MAX(highest, place.bus);
    }
    return MIN(highest, MOST_PORTS);
}

static void add_ports(GString *xml, const HypervisorVm *vm, bool has_scsi) {
    size_t n = SPARE_PORTS + ALWAYS_PRESENT + vm->n_nics;
    n += (size_t)has_scsi + (size_t)domain_has_graphics(vm->vm);
    for (size_t i = 0; i < vm->n_disks; i++)
        n += disk_bus_of(vm->vm, vm->disks[i].disk) == DISK_BUS_VIRTIO;
    n = MAX(n, highest_port(vm));
    domain_add(xml, "    <controller type='pci' index='0' model='pcie-root'/>\n");
    for (size_t i = 1; i <= n; i++)
        domain_add(xml, "    <controller type='pci' index='%zu' model='pcie-root-port'/>\n", i);
}

static void add_controllers(GString *xml, const HypervisorVm *vm) {
    bool has_scsi = vm->seed_path && cd_bus_of(vm->vm) == DISK_BUS_SCSI;
    for (size_t i = 0; i < vm->n_disks; i++)
        has_scsi |= disk_bus_of(vm->vm, vm->disks[i].disk) == DISK_BUS_SCSI;
    if (!is_old(vm->vm))
        add_ports(xml, vm, has_scsi);
    if (has_scsi)
        domain_add(xml, "    <controller type='scsi' index='0' model='virtio-scsi'/>\n");
    /* Without a screen there is nobody to type: a USB controller would only cost time when idle. */
    domain_add(xml, "    <controller type='usb' model='%s'/>\n",
        !domain_has_graphics(vm->vm) ? "none"
        : is_old(vm->vm)             ? "piix3-uhci"
                                     : "qemu-xhci");
}

static void add_nic(GString *xml, const Vm *vm, const HypervisorNic *nic, const QemuXmlOptions *options) {
    static const char *const models[NIC_MODEL_MAX] = {[NIC_MODEL_VIRTIO] = "virtio",
        [NIC_MODEL_E1000] = "e1000",
        [NIC_MODEL_E1000E] = "e1000e",
        [NIC_MODEL_RTL8139] = "rtl8139"};
    bool is_nat = nic->network->kind == NETWORK_KIND_NAT;
    PciPlace place;
    domain_add(xml, "    <interface type='%s'>\n", is_nat ? "network" : "bridge");
    if (nic->nic->mac)
        domain_add(xml, "      <mac address='%s'/>\n", nic->nic->mac);
    if (is_nat) {
        g_autofree char *name = domain_network_name(options->instance, nic->network->id);
        domain_add(xml, "      <source network='%s'/>\n", name);
    } else {
        domain_add(xml, "      <source bridge='%s'/>\n", nic->network->bridge);
    }
    domain_add(xml, "      <model type='%s'/>\n",
        models[nic_has(nic->nic, NIC_FIELD_MODEL) ? nic->nic->model : guest_os_nic_model(vm->guest_os)]);
    domain_add(xml, "      <link state='%s'/>\n", domain_is_connected(nic->nic) ? "up" : "down");
    add_alias(xml, nic->nic->id);
    if (pci_place_read(nic->nic->pci, &place))
        domain_add(xml,
            "      <address type='pci' domain='0x%04x' bus='0x%02x' slot='0x%02x' function='0x%x'/>\n",
            place.domain, place.bus, place.slot, place.function);
    domain_add(xml, "    </interface>\n");
}

static void add_consoles(GString *xml, const HypervisorVm *vm, const QemuXmlOptions *options) {
    if (domain_has_serial(vm->vm))
        domain_add(xml,
            "    <serial type='pty'>\n      <log file='%s/%s.log' append='on'/>\n      <target port='0'/>\n"
            "    </serial>\n    <console type='pty'>\n      <target type='serial' port='0'/>\n    "
            "</console>\n",
            options->state_folder, vm->vm->id);
    domain_add(xml, "    <channel type='unix'>\n      <target type='virtio' name='org.qemu.guest_agent.0'/>\n"
                    "    </channel>\n");
    if (domain_has_graphics(vm->vm) && guest_os_has_tablet(vm->vm->guest_os))
        domain_add(xml, "    <input type='tablet' bus='usb'/>\n");
    if (domain_has_graphics(vm->vm))
        domain_add(xml, "    <input type='keyboard' bus='usb'/>\n"
                        "    <graphics type='vnc'>\n      <listen type='socket'/>\n    </graphics>\n"
                        "    <video>\n      <model type='vga'/>\n    </video>\n");
    else
        domain_add(xml, "    <video>\n      <model type='none'/>\n    </video>\n");
}

static void add_devices(GString *xml, const HypervisorVm *vm, const QemuXmlOptions *options) {
    domain_add(xml, "  <devices>\n");
    for (size_t i = 0; i < vm->n_disks; i++)
        add_disk(xml, vm, i, target_index(vm->vm, target_prefix(disk_bus_of(vm->vm, vm->disks[i].disk)), i),
            options);
    add_seed(xml, vm);
    add_controllers(xml, vm);
    for (size_t i = 0; i < vm->n_nics; i++)
        add_nic(xml, vm->vm, &vm->nics[i], options);
    add_consoles(xml, vm, options);
    domain_add(xml,
        "    <memballoon model='virtio'>\n      <stats period='%d'/>\n    </memballoon>\n"
        "    <rng model='virtio'>\n"
        "      <backend model='random'>/dev/urandom</backend>\n    </rng>\n",
        MEMORY_STATISTICS_S);
    if (domain_vcpus_maximum(vm->vm) > VCPUS_WITHOUT_IOMMU)
        domain_add(xml, "    <iommu model='intel'>\n      <driver intremap='on' eim='on'/>\n    </iommu>\n");
    domain_add(xml, "  </devices>\n");
}

char *qemu_domain_xml(const HypervisorVm *vm, const QemuXmlOptions *options) {
    GString *xml = g_string_new(NULL);
    g_autofree char *started =
        options->started_ns ? g_strdup_printf("%" G_GINT64_FORMAT, options->started_ns) : NULL;
    const DomainMark mark = {.instance = options->instance,
        .acceleration = options->is_kvm ? "kvm" : "emulation",
        .cpu_level = options->is_kvm && vm->cpu ? vm->cpu->id : NULL,
        .started = started};
    domain_add(xml, "<domain type='%s'>\n", options->is_kvm ? "kvm" : "qemu");
    domain_add_head(xml, vm->vm, &mark);
    add_sizes(xml, vm->vm);
    add_os(xml, vm, options);
    add_features(xml, vm->vm, options);
    add_cpu(xml, vm, options);
    domain_add(xml,
        "  <clock offset='%s'/>\n  <on_poweroff>destroy</on_poweroff>\n  <on_reboot>restart</on_reboot>\n"
        "  <on_crash>destroy</on_crash>\n",
        guest_os_has_local_clock(vm->vm->guest_os) ? "localtime" : "utc");
    add_devices(xml, vm, options);
    domain_add(xml, "</domain>\n");
    return g_string_free(xml, FALSE);
}

char *qemu_disk_xml(const HypervisorVm *vm, size_t i, size_t index, const QemuXmlOptions *options) {
    GString *xml = g_string_new(NULL);
    add_disk(xml, vm, i, index, options);
    return g_string_free(xml, FALSE);
}

char *qemu_nic_xml(const HypervisorVm *vm, size_t i, const QemuXmlOptions *options) {
    GString *xml = g_string_new(NULL);
    add_nic(xml, vm->vm, &vm->nics[i], options);
    return g_string_free(xml, FALSE);
}
