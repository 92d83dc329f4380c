/* GLib's markup parser, one function for each element that means something, found by the element's path. */
#include "hypervisor/libvirt/foreign-xml.h"
#include <string.h>
#include "model/format.h"

enum {
    MOST_DISKS = 64,
    MOST_NICS = 32,
    MOST_ORDERED = 32,
    MOST_PORTS = 64,
    LONGEST_PATH = 4096,
    LONGEST_NAME = 255,
    LONGEST_BRIDGE = 63,
    LONGEST_SERIAL = 20,
    DEEPEST = 32,
    KIB = 1024
};

/* A device with `<boot order=…/>`. */
typedef struct Ordered {
    int64_t order;
    BootDevice device;
    size_t index; /* among those of its kind */
} Ordered;

typedef struct Reading {
    ForeignVm *vm;
    ForeignExtra *extra;
    GString *path; /* "domain/devices/disk" */
    Disk *disk;    /* the one that is being read; lists move when they grow, so only while inside of it */
    ForeignNic *nic;
    char *target, *bus; /* of the disk */
    bool is_xen, is_pv, is_uefi, has_kernel, has_scsi_other, has_port[MOST_PORTS];
    Ordered ordered[MOST_ORDERED];
    size_t n_ordered, n_serial, n_screens;
    int64_t current_memory;
} Reading;

typedef struct Attributes {
    const char **names, **values;
} Attributes;

/* Whether it can be kept as it is. */
static bool is_plain(const char *text, size_t limit) {
    g_autofree char *line = foreign_line(text, limit);
    return !strcmp(line, text);
}

/* ---- attributes ---- */

static const char *value_of(const Attributes *attributes, const char *wanted) {
    for (size_t i = 0; attributes->names[i]; i++)
        if (!strcmp(attributes->names[i], wanted))
            return attributes->values[i];
    return NULL;
}

static bool is_value(const Attributes *attributes, const char *wanted, const char *value) {
    return g_strcmp0(value_of(attributes, wanted), value) == 0;
}

/* -1: it is no number. */
static int64_t number_of(const char *text) {
    char *end = NULL;
    guint64 number = text ? g_ascii_strtoull(text, &end, 0) : 0;
    return text && end != text && !*end && number <= G_MAXINT64 / KIB ? (int64_t)number : -1;
}

/* ---- the machine ---- */

static void read_domain(Reading *self, const Attributes *attributes) {
    const char *type = value_of(attributes, "type");
    self->is_xen = g_strcmp0(type, "xen") == 0;
    if (!type || (!self->is_xen && strcmp(type, "kvm") && strcmp(type, "qemu")))
        foreign_add_obstacle(self->vm, "its hypervisor is %s", type ? type : "not named");
}

static void read_vcpu(Reading *self, const Attributes *attributes) {
    int64_t current = number_of(value_of(attributes, "current"));
    if (current > 0)
        foreign_vm_set_vcpus(self->vm, current);
    if (value_of(attributes, "cpuset"))
        foreign_add_warning(self->vm, "its vCPUs are not pinned to CPUs of the host any more");
}

static void read_size_unit(Reading *self, const Attributes *attributes) {
    const char *unit = value_of(attributes, "unit");
    if (unit && strcmp(unit, "KiB"))
        foreign_add_obstacle(self->vm, "its memory is told in %s", unit);
}

static void read_os_type(Reading *self, const Attributes *attributes) {
    const char *arch = value_of(attributes, "arch"), *machine = value_of(attributes, "machine");
    ForeignVm *vm = self->vm;
    if (arch && strcmp(arch, "x86_64"))
        foreign_add_obstacle(vm, "its processor is of the kind %s", arch);
    if (self->is_xen)
        return;
    if (!machine || !strcmp(machine, "pc") || g_str_has_prefix(machine, "pc-i440fx-"))
        foreign_vm_set_chipset(vm, CHIPSET_PC);
    else if (!strcmp(machine, "q35") || g_str_has_prefix(machine, "pc-q35-"))
        foreign_vm_set_chipset(vm, CHIPSET_Q35);
    else
        foreign_add_obstacle(vm, "its machine is %s; Lodge has pc and q35", machine);
}

static void read_os(Reading *self, const Attributes *attributes) {
    self->is_uefi |= is_value(attributes, "firmware", "efi");
}

static void read_loader(Reading *self, const Attributes *attributes) {
    if (is_value(attributes, "secure", "yes"))
        foreign_add_obstacle(self->vm, "it starts by UEFI with Secure Boot, which Lodge does not have yet");
    self->is_uefi |= is_value(attributes, "type", "pflash");
    if (is_value(attributes, "stateless", "yes"))
        foreign_add_obstacle(self->vm, "its UEFI keeps no variables");
}

static void read_firmware_feature(Reading *self, const Attributes *attributes) {
    if (is_value(attributes, "enabled", "yes") && is_value(attributes, "name", "secure-boot"))
        foreign_add_obstacle(self->vm, "it starts by UEFI with Secure Boot, which Lodge does not have yet");
}

static void read_kernel(Reading *self, const Attributes *attributes) {
    (void)attributes;
    self->has_kernel = true;
}

static void read_boot_loader(Reading *self, const Attributes *attributes) {
    (void)attributes;
    foreign_add_obstacle(
        self->vm, "a boot loader on the host reads its disk (bootloader); let it start by PVH or HVM before");
}

static void add_boot_device(ForeignVm *vm, BootDevice device) {
    for (size_t i = 0; i < vm->boot_order.n; i++)
        if (vm->boot_order.items[i] == device)
            return;
    *foreign_vm_add_boot_order(vm) = device;
}

static void read_os_boot(Reading *self, const Attributes *attributes) {
    const char *device = value_of(attributes, "dev");
    if (g_strcmp0(device, "hd") == 0)
        add_boot_device(self->vm, BOOT_DEVICE_DISK);
    else if (g_strcmp0(device, "cdrom") == 0)
        add_boot_device(self->vm, BOOT_DEVICE_CD);
    else if (g_strcmp0(device, "network") == 0)
        add_boot_device(self->vm, BOOT_DEVICE_NETWORK);
    else
        foreign_add_warning(self->vm, "it does not try to start from %s any more", device ? device : "that");
}

static void read_cpu(Reading *self, const Attributes *attributes) {
    const char *mode = value_of(attributes, "mode");
    if (mode && strcmp(mode, "host-model"))
        foreign_add_warning(
            self->vm, "its processor (%s) becomes the one that Lodge gives on its host", mode);
}

static void read_topology(Reading *self, const Attributes *attributes) {
    if (number_of(value_of(attributes, "cores")) > 1 || number_of(value_of(attributes, "threads")) > 1)
        foreign_add_warning(self->vm, "each of its vCPUs becomes a processor of one core");
}

static void read_numa(Reading *self, const Attributes *attributes) {
    (void)attributes;
    foreign_add_warning(self->vm, "its memory is not divided into NUMA nodes any more");
}

static void read_clock(Reading *self, const Attributes *attributes) {
    const char *offset = value_of(attributes, "offset");
    if (g_strcmp0(offset, "localtime") == 0)
        foreign_add_warning(self->vm,
            "its clock is the host's local time; Lodge gives UTC unless its guest OS is Windows (vm update "
            "--guest-os)");
    else if (offset && strcmp(offset, "utc"))
        foreign_add_warning(self->vm, "its clock (%s) becomes UTC", offset);
}

static void read_max_memory(Reading *self, const Attributes *attributes) {
    (void)attributes;
    foreign_add_warning(
        self->vm, "no memory can be added to it while it runs, unless memory_maximum says so");
}

static void read_tuning(Reading *self, const Attributes *attributes) {
    (void)attributes;
    foreign_add_warning(self->vm, "what bounds it on the host (%s) does not hold any more",
        strrchr(self->path->str, '/') + 1);
}

static void read_command_line(Reading *self, const Attributes *attributes) {
    (void)attributes;
    foreign_add_obstacle(self->vm, "its hypervisor is given arguments that libvirt does not know");
}

static void read_launch_security(Reading *self, const Attributes *attributes) {
    (void)attributes;
    foreign_add_obstacle(self->vm, "its memory is encrypted (launchSecurity)");
}

/* ---- disks ---- */

static const char *disk_name(const Reading *self) {
    return self->target ? self->target : "a disk";
}

static void read_disk(Reading *self, const Attributes *attributes) {
    const char *type = value_of(attributes, "type"), *device = value_of(attributes, "device");
    ForeignVm *vm = self->vm;
    g_clear_pointer(&self->target, g_free);
    g_clear_pointer(&self->bus, g_free);
    if (vm->disks.n >= MOST_DISKS) {
        foreign_add_obstacle(vm, "it has more than %d disks", MOST_DISKS);
        return;
    }
    if (g_strcmp0(device, "floppy") == 0) {
        foreign_add_warning(vm, "its floppy drive is left out");
        return;
    }
    bool is_cd = g_strcmp0(device, "cdrom") == 0;
    self->disk = foreign_vm_add_disks(vm);
    disk_set_kind(self->disk, is_cd ? DISK_KIND_CD : DISK_KIND_DISK);
    if (is_cd)
        return;
    disk_set_format(self->disk, DISK_FORMAT_RAW); /* libvirt's, where nothing is said */
    if (device && strcmp(device, "disk"))
        foreign_add_obstacle(vm, "a disk of the kind %s cannot be adopted", device);
    if (!type || (strcmp(type, "file") && strcmp(type, "block")))
        foreign_add_obstacle(
            vm, "one of its disks is of the type %s; only files and block devices are adopted", type);
    if (is_value(attributes, "snapshot", "external"))
        foreign_add_warning(vm, "libvirt's rule for snapshots of a disk is dropped");
}

static void read_driver(Reading *self, const Attributes *attributes) {
    const char *type = value_of(attributes, "type");
    if (!self->disk || self->disk->kind == DISK_KIND_CD)
        return;
    if (!type || !strcmp(type, "raw"))
        return;
    if (!strcmp(type, "qcow2"))
        disk_set_format(self->disk, DISK_FORMAT_QCOW2);
    else
        foreign_add_obstacle(self->vm, "one of its disks has the format %s; Lodge has raw and qcow2", type);
}

static void read_source(Reading *self, const Attributes *attributes) {
    const char *file = value_of(attributes, "file"), *device = value_of(attributes, "dev");
    const char *path = file ? file : device;
    if (!self->disk || !path)
        return;
    if (self->disk->kind == DISK_KIND_CD)
        foreign_add_warning(self->vm, "%s is not in its CD drive any more; make an ISO of it here", path);
    else if (!g_path_is_absolute(path) || !is_plain(path, LONGEST_PATH))
        foreign_add_obstacle(self->vm, "the name of one of its disks' files is no path");
    else
        disk_set_path(self->disk, path);
    if (value_of(attributes, "startupPolicy"))
        foreign_add_warning(self->vm, "it does not start without %s any more", path);
}

static void read_target(Reading *self, const Attributes *attributes) {
    if (!self->disk)
        return;
    g_free(self->target);
    g_free(self->bus);
    self->target = g_strdup(value_of(attributes, "dev"));
    self->bus = g_strdup(value_of(attributes, "bus"));
    if (self->target && is_object_name(self->target))
        disk_set_name(self->disk, self->target);
}

static void read_read_only(Reading *self, const Attributes *attributes) {
    (void)attributes;
    if (self->disk)
        disk_set_read_only(self->disk, true);
}

static void refuse_disk(Reading *self, const Attributes *attributes) {
    static const struct {
        const char *element, *why;
    } reasons[] = {{"shareable", "other VMs may write to it"}, {"transient", "what is written is dropped"},
        {"mirror", "it is being copied"}, {"encryption", "it is encrypted by libvirt"},
        {"auth", "it needs a secret of libvirt's"}, {"reservations", "it needs SCSI reservations"},
        {"geometry", "it has a geometry of its own"}, {"slices", "it is a piece of a file"},
        {"dataStore", "its data lie in another file"}};
    (void)attributes;
    const char *element = strrchr(self->path->str, '/') + 1;
    for (size_t i = 0; self->disk && i < G_N_ELEMENTS(reasons); i++)
        if (!strcmp(element, reasons[i].element))
            foreign_add_obstacle(self->vm, "one of its disks cannot be adopted: %s", reasons[i].why);
}

static void drop_of_disk(Reading *self, const Attributes *attributes) {
    (void)attributes;
    if (self->disk)
        foreign_add_warning(self->vm, "%s of a disk is dropped", strrchr(self->path->str, '/') + 1);
}

static void add_ordered(Reading *self, const Attributes *attributes, BootDevice device, size_t index) {
    int64_t order = number_of(value_of(attributes, "order"));
    if (order > 0 && self->n_ordered < MOST_ORDERED)
        self->ordered[self->n_ordered++] = (Ordered){order, device, index};
}

static void read_disk_boot(Reading *self, const Attributes *attributes) {
    size_t index = 0;
    if (!self->disk)
        return;
    for (size_t i = 0; i + 1 < self->vm->disks.n; i++)
        index += self->vm->disks.items[i].kind == self->disk->kind;
    add_ordered(
        self, attributes, self->disk->kind == DISK_KIND_CD ? BOOT_DEVICE_CD : BOOT_DEVICE_DISK, index);
}

/* Xen's own disks are those of every mode. */
static bool bus_is_known(Reading *self) {
    static const struct {
        const char *name;
        DiskBus bus;
    } buses[] = {
        {"virtio", DISK_BUS_VIRTIO}, {"scsi", DISK_BUS_SCSI}, {"sata", DISK_BUS_SATA}, {"ide", DISK_BUS_IDE}};
    if (self->is_xen)
        return g_strcmp0(self->bus, "xen") == 0 ||
               (g_strcmp0(self->bus, "ide") == 0 && self->disk->kind == DISK_KIND_CD);
    for (size_t i = 0; i < G_N_ELEMENTS(buses); i++)
        if (g_strcmp0(self->bus, buses[i].name) == 0) {
            disk_set_bus(self->disk, buses[i].bus);
            return true;
        }
    return false;
}

static void disk_ends(Reading *self) {
    ForeignVm *vm = self->vm;
    if (!self->disk)
        return;
    if (!bus_is_known(self))
        foreign_add_obstacle(vm, "%s is on the bus %s, which Lodge does not have%s", disk_name(self),
            self->bus ? self->bus : "(not named)",
            self->is_xen ? " here: its guest would see it as another disk" : "");
    if (self->disk->kind == DISK_KIND_DISK && !self->disk->path)
        foreign_add_obstacle(vm, "%s has neither a file nor a block device", disk_name(self));
    if (self->disk->kind == DISK_KIND_CD)
        disk_set_read_only(self->disk, true);
    self->disk = NULL;
}

/* ---- NICs ---- */

static void read_interface(Reading *self, const Attributes *attributes) {
    const char *type = value_of(attributes, "type");
    if (self->vm->nics.n >= MOST_NICS) {
        foreign_add_obstacle(self->vm, "it has more than %d NICs", MOST_NICS);
        return;
    }
    self->nic = foreign_vm_add_nics(self->vm);
    foreign_nic_set_connected(self->nic, true);
    if (!type || (strcmp(type, "bridge") && strcmp(type, "network")))
        foreign_add_obstacle(
            self->vm, "one of its NICs is of the type %s; only those on a bridge are adopted", type);
}

static void read_mac(Reading *self, const Attributes *attributes) {
    const char *mac = value_of(attributes, "address");
    g_autofree char *lower = mac ? g_ascii_strdown(mac, -1) : NULL;
    if (self->nic && lower && is_mac(lower))
        foreign_nic_set_mac(self->nic, lower);
}

static void read_nic_source(Reading *self, const Attributes *attributes) {
    const char *bridge = value_of(attributes, "bridge"), *network = value_of(attributes, "network");
    if (self->nic && bridge && is_plain(bridge, LONGEST_BRIDGE))
        foreign_nic_set_bridge(self->nic, bridge);
    if (self->nic && network && is_plain(network, LONGEST_NAME))
        foreign_nic_set_network(self->nic, network);
    if (self->nic && value_of(attributes, "portgroup"))
        foreign_add_obstacle(self->vm, "one of its NICs is in a port group of libvirt's");
}

static void read_nic_model(Reading *self, const Attributes *attributes) {
    const char *model = value_of(attributes, "type");
    if (!self->nic || (self->is_xen && g_strcmp0(model, "netfront") == 0))
        return;
    int value = model ? model_enum_value(&nic_model_enum, model) : -1;
    if (value < 0)
        foreign_add_obstacle(
            self->vm, "one of its NICs is of the model %s, which Lodge does not have", model);
    else
        foreign_nic_set_model(self->nic, (NicModel)value);
}

static void read_link(Reading *self, const Attributes *attributes) {
    if (self->nic && is_value(attributes, "state", "down"))
        foreign_nic_set_connected(self->nic, false);
}

static void read_nic_boot(Reading *self, const Attributes *attributes) {
    if (self->nic)
        add_ordered(self, attributes, BOOT_DEVICE_NETWORK, self->vm->nics.n - 1);
}

static void refuse_nic(Reading *self, const Attributes *attributes) {
    (void)attributes;
    if (self->nic)
        foreign_add_obstacle(self->vm, "one of its NICs has a %s", strrchr(self->path->str, '/') + 1);
}

static void drop_of_nic(Reading *self, const Attributes *attributes) {
    (void)attributes;
    if (self->nic)
        foreign_add_warning(self->vm, "%s of a NIC is dropped", strrchr(self->path->str, '/') + 1);
}

/* Which places can be kept is known when all controllers were read. */
static void read_nic_address(Reading *self, const Attributes *attributes) {
    int64_t domain = number_of(value_of(attributes, "domain")), bus = number_of(value_of(attributes, "bus"));
    int64_t slot = number_of(value_of(attributes, "slot")),
            place = number_of(value_of(attributes, "function"));
    if (!self->nic || !is_value(attributes, "type", "pci") || domain < 0 || domain > 0xffff || bus < 0 ||
        bus > 0xff || slot < 0 || slot > 0x1f || place < 0 || place > 7)
        return;
    g_autofree char *text = g_strdup_printf(
        "%04x:%02x:%02x.%x", (unsigned)domain, (unsigned)bus, (unsigned)slot, (unsigned)place);
    foreign_nic_set_pci(self->nic, text);
}

static void nic_ends(Reading *self) {
    if (self->nic && !self->nic->mac)
        foreign_add_obstacle(self->vm, "one of its NICs has no MAC");
    self->nic = NULL;
}

/* ---- other devices ---- */

static void read_controller(Reading *self, const Attributes *attributes) {
    const char *model = value_of(attributes, "model");
    int64_t index = number_of(value_of(attributes, "index"));
    if (is_value(attributes, "type", "scsi") && model && strcmp(model, "virtio-scsi") &&
        strcmp(model, "virtio") && strcmp(model, "virtio-non-transitional") &&
        strcmp(model, "virtio-transitional"))
        self->has_scsi_other = true;
    if (g_strcmp0(model, "pcie-root-port") == 0 && index > 0 && index < MOST_PORTS)
        self->has_port[index] = true;
}

static void read_serial(Reading *self, const Attributes *attributes) {
    (void)attributes;
    if (self->n_serial++ == 1)
        foreign_add_warning(self->vm, "of its serial ports only the first one stays");
}

static void read_graphics(Reading *self, const Attributes *attributes) {
    const char *type = value_of(attributes, "type");
    self->n_screens++;
    if (g_strcmp0(type, "vnc"))
        foreign_add_warning(self->vm, "its screen (%s) is reached by VNC", type ? type : "?");
}

enum { IS_DROPPED, IS_REFUSED, IS_NOTHING };

/* What stands below <devices>, beside what the table of paths reads. */
static const struct {
    const char *element, *what;
    int sort;
} devices[] = {{"emulator", NULL, IS_NOTHING}, {"disk", NULL, IS_NOTHING}, {"interface", NULL, IS_NOTHING},
    {"controller", NULL, IS_NOTHING}, {"serial", NULL, IS_NOTHING}, {"console", NULL, IS_NOTHING},
    {"channel", NULL, IS_NOTHING}, {"input", NULL, IS_NOTHING}, {"graphics", NULL, IS_NOTHING},
    {"video", NULL, IS_NOTHING}, {"audio", NULL, IS_NOTHING}, {"memballoon", NULL, IS_NOTHING},
    {"rng", NULL, IS_NOTHING}, {"hub", NULL, IS_NOTHING}, {"sound", "its sound card", IS_DROPPED},
    {"watchdog", "its watchdog", IS_DROPPED}, {"panic", "its panic device", IS_DROPPED},
    {"redirdev", "redirection of USB devices", IS_DROPPED}, {"redirfilter", NULL, IS_NOTHING},
    {"parallel", "its parallel port", IS_DROPPED}, {"smartcard", "its smart card", IS_DROPPED},
    {"vsock", "its vsock", IS_DROPPED}, {"iommu", "its IOMMU", IS_DROPPED},
    {"crypto", "its crypto device", IS_DROPPED}, {"hostdev", "a device of the host", IS_REFUSED},
    {"filesystem", "a folder of the host", IS_REFUSED}, {"tpm", "a TPM", IS_REFUSED},
    {"shmem", "memory shared with others", IS_REFUSED}, {"memory", "memory modules", IS_REFUSED},
    {"lease", "a lease of a lock manager", IS_REFUSED}, {"nvram", "a memory of its own (nvram)", IS_REFUSED}};

static void read_device(Reading *self, const char *element) {
    for (size_t i = 0; i < G_N_ELEMENTS(devices); i++) {
        if (strcmp(element, devices[i].element))
            continue;
        if (devices[i].sort == IS_DROPPED)
            foreign_add_warning(self->vm, "%s is left out", devices[i].what);
        else if (devices[i].sort == IS_REFUSED)
            foreign_add_obstacle(self->vm, "it has %s, which Lodge cannot give to a VM yet", devices[i].what);
        return;
    }
    foreign_add_obstacle(self->vm, "it has a device that Lodge does not know: %s", element);
}

/* ---- by path ---- */

typedef void (*ReadFn)(Reading *self, const Attributes *attributes);
static const struct {
    const char *path;
    ReadFn read;
} elements[] = {{"domain", read_domain}, {"domain/vcpu", read_vcpu}, {"domain/memory", read_size_unit},
    {"domain/currentMemory", read_size_unit}, {"domain/maxMemory", read_max_memory}, {"domain/os", read_os},
    {"domain/os/type", read_os_type}, {"domain/os/loader", read_loader},
    {"domain/os/firmware/feature", read_firmware_feature}, {"domain/os/kernel", read_kernel},
    {"domain/os/boot", read_os_boot}, {"domain/bootloader", read_boot_loader}, {"domain/cpu", read_cpu},
    {"domain/cpu/topology", read_topology}, {"domain/cpu/numa", read_numa}, {"domain/clock", read_clock},
    {"domain/cputune", read_tuning}, {"domain/numatune", read_tuning}, {"domain/memtune", read_tuning},
    {"domain/blkiotune", read_tuning}, {"domain/memoryBacking/hugepages", read_tuning},
    {"domain/launchSecurity", read_launch_security}, {"domain/qemu:commandline", read_command_line},
    {"domain/xen:commandline", read_command_line}, {"domain/qemu:override", read_command_line},
    {"domain/devices/disk", read_disk}, {"domain/devices/disk/driver", read_driver},
    {"domain/devices/disk/source", read_source}, {"domain/devices/disk/target", read_target},
    {"domain/devices/disk/readonly", read_read_only}, {"domain/devices/disk/boot", read_disk_boot},
    {"domain/devices/disk/shareable", refuse_disk}, {"domain/devices/disk/transient", refuse_disk},
    {"domain/devices/disk/mirror", refuse_disk}, {"domain/devices/disk/encryption", refuse_disk},
    {"domain/devices/disk/auth", refuse_disk}, {"domain/devices/disk/geometry", refuse_disk},
    {"domain/devices/disk/source/encryption", refuse_disk}, {"domain/devices/disk/source/auth", refuse_disk},
    {"domain/devices/disk/source/reservations", refuse_disk},
    {"domain/devices/disk/source/slices", refuse_disk}, {"domain/devices/disk/source/dataStore", refuse_disk},
    {"domain/devices/disk/iotune", drop_of_disk}, {"domain/devices/disk/blockio", drop_of_disk},
    {"domain/devices/disk/wwn", drop_of_disk}, {"domain/devices/interface", read_interface},
    {"domain/devices/interface/mac", read_mac}, {"domain/devices/interface/source", read_nic_source},
    {"domain/devices/interface/model", read_nic_model}, {"domain/devices/interface/link", read_link},
    {"domain/devices/interface/boot", read_nic_boot}, {"domain/devices/interface/address", read_nic_address},
    {"domain/devices/interface/vlan", refuse_nic}, {"domain/devices/interface/virtualport", refuse_nic},
    {"domain/devices/interface/filterref", drop_of_nic}, {"domain/devices/interface/bandwidth", drop_of_nic},
    {"domain/devices/interface/mtu", drop_of_nic}, {"domain/devices/controller", read_controller},
    {"domain/devices/serial", read_serial}, {"domain/devices/graphics", read_graphics}};

static void element_starts(GMarkupParseContext *context, const char *name, const char **names,
    const char **values, void *data, GError **error) {
    (void)context;
    Reading *self = data;
    const Attributes attributes = {names, values};
    g_string_append_printf(self->path, "%s%s", self->path->len ? "/" : "", name);
    const GSList *stack = g_markup_parse_context_get_element_stack(context);
    guint depth = g_slist_length((GSList *)stack);
    if (depth == 1 && strcmp(name, "domain")) {
        g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_UNKNOWN_ELEMENT, "this is no domain");
        return;
    }
    if (depth > DEEPEST) {
        g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_INVALID_CONTENT, "it is nested too deeply");
        return;
    }
    if (depth == 3 && g_str_has_prefix(self->path->str, "domain/devices/"))
        read_device(self, name);
    for (size_t i = 0; i < G_N_ELEMENTS(elements); i++)
        if (!strcmp(self->path->str, elements[i].path))
            elements[i].read(self, &attributes);
}

static void element_ends(GMarkupParseContext *context, const char *name, void *data, GError **error) {
    (void)context, (void)error;
    Reading *self = data;
    if (!strcmp(self->path->str, "domain/devices/disk"))
        disk_ends(self);
    else if (!strcmp(self->path->str, "domain/devices/interface"))
        nic_ends(self);
    size_t length = strlen(name);
    g_string_truncate(self->path, self->path->len > length ? self->path->len - length - 1 : 0);
}

/* ---- text ---- */

static void take_name(Reading *self, const char *text) {
    g_autofree char *line = foreign_line(text, LONGEST_NAME);
    foreign_vm_set_name(self->vm, line);
}

static void take_uuid(Reading *self, const char *text) {
    g_autofree char *lower = g_ascii_strdown(text, -1);
    if (is_uuid(lower))
        foreign_vm_set_id(self->vm, lower);
}

static void take_memory(Reading *self, const char *text) {
    int64_t kib = number_of(text);
    if (kib > 0 && (uint64_t)kib <= ((uint64_t)1 << 44) / KIB)
        foreign_vm_set_memory(self->vm, (uint64_t)kib * KIB);
}

static void take_current_memory(Reading *self, const char *text) {
    self->current_memory = number_of(text);
}

static void take_vcpus(Reading *self, const char *text) {
    int64_t n = number_of(text);
    if (n < 1 || n > 4096)
        return;
    if (foreign_vm_has(self->vm, FOREIGN_VM_FIELD_VCPUS) && self->vm->vcpus < n)
        foreign_vm_set_vcpus_maximum(self->vm, n);
    else
        foreign_vm_set_vcpus(self->vm, n);
}

static void take_os_type(Reading *self, const char *text) {
    ForeignVm *vm = self->vm;
    self->is_pv = self->is_xen && (!strcmp(text, "linux") || !strcmp(text, "xen"));
    if (self->is_pv)
        foreign_vm_set_mode(vm, VM_MODE_PV);
    else if (self->is_xen && !strcmp(text, "xenpvh"))
        foreign_vm_set_mode(vm, VM_MODE_PVH);
    else if (!strcmp(text, "hvm"))
        foreign_vm_set_mode(vm, VM_MODE_HVM);
    else
        foreign_add_obstacle(vm, "its machine is of the kind %s", text);
}

static void take_loader(Reading *self, const char *text) {
    g_free(self->extra->loader);
    self->extra->loader = g_strdup(text);
    self->is_uefi |= strstr(text, "ovmf") || strstr(text, "OVMF");
}

static void take_nvram(Reading *self, const char *text) {
    g_free(self->extra->nvram);
    self->extra->nvram = g_strdup(text);
}

static void take_serial_number(Reading *self, const char *text) {
    if (!self->disk)
        return;
    if (is_plain(text, LONGEST_SERIAL))
        disk_set_serial(self->disk, text);
    else
        foreign_add_obstacle(
            self->vm, "a serial number of a disk is longer than %d characters", LONGEST_SERIAL);
}

/* GRUB of the distribution, which reads the disk inside of the guest, is what Lodge takes for PVH too. */
static void take_kernel(Reading *self, const char *text) {
    if (!self->is_pv && g_str_has_prefix(text, "/usr/lib/grub-xen/"))
        return;
    foreign_add_obstacle(self->vm,
        "it is started with a kernel of the host (%s); let it start by a boot loader on its disk before",
        text);
}

static void take_power_off(Reading *self, const char *text) {
    if (strcmp(text, "destroy"))
        foreign_add_warning(self->vm, "when its guest turns it off it is off (now: %s)", text);
}

static void take_reboot(Reading *self, const char *text) {
    if (strcmp(text, "restart"))
        foreign_add_warning(self->vm, "when its guest reboots it starts again (now: %s)", text);
}

static const struct {
    const char *path;
    void (*take)(Reading *self, const char *text);
} texts[] = {{"domain/name", take_name}, {"domain/uuid", take_uuid}, {"domain/memory", take_memory},
    {"domain/currentMemory", take_current_memory}, {"domain/vcpu", take_vcpus},
    {"domain/os/type", take_os_type}, {"domain/os/loader", take_loader}, {"domain/os/nvram", take_nvram},
    {"domain/os/kernel", take_kernel}, {"domain/devices/disk/serial", take_serial_number},
    {"domain/on_poweroff", take_power_off}, {"domain/on_reboot", take_reboot}};

static void text_comes(
    GMarkupParseContext *context, const char *text, size_t length, void *data, GError **error) {
    (void)context, (void)error;
    Reading *self = data;
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        if (strcmp(self->path->str, texts[i].path))
            continue;
        g_autofree char *copy = g_strndup(text, length);
        texts[i].take(self, g_strstrip(copy));
    }
}

/* ---- when all was read ---- */

static int compare_orders(const void *a, const void *b) {
    int64_t one = ((const Ordered *)a)->order, other = ((const Ordered *)b)->order;
    return (one > other) - (one < other);
}

/* Lodge tries the first one of a kind only. */
static void settle_boot_order(Reading *self) {
    qsort(self->ordered, self->n_ordered, sizeof(Ordered), compare_orders);
    bool has_kind[BOOT_DEVICE_MAX] = {false};
    for (size_t i = 0; i < self->n_ordered; i++) {
        const Ordered *one = &self->ordered[i];
        if (!has_kind[one->device] && one->index > 0)
            foreign_add_obstacle(self->vm, "it starts from a disk or NIC that is not the first one");
        has_kind[one->device] = true;
        add_boot_device(self->vm, one->device);
    }
}

static void settle_firmware(Reading *self) {
    ForeignVm *vm = self->vm;
    foreign_vm_set_firmware(vm, self->is_uefi ? FIRMWARE_UEFI : FIRMWARE_BIOS);
    if (self->is_uefi && self->is_xen)
        foreign_add_obstacle(
            vm, "it starts by UEFI, whose variables cannot be taken over on this hypervisor");
    if (self->is_uefi && foreign_vm_has(vm, FOREIGN_VM_FIELD_CHIPSET) && vm->chipset == CHIPSET_PC)
        foreign_add_obstacle(vm, "it starts by UEFI on the machine pc; Lodge has UEFI on q35 only");
    if (self->is_pv && !self->has_kernel)
        foreign_add_obstacle(vm, "it is paravirtual (PV) without a kernel that Lodge could start");
}

/* A place is kept that Lodge's own machine has too: a slot of the old PC's bus, or a port of the new one's.
 */
static void settle_places(Reading *self) {
    for (size_t i = 0; i < self->vm->nics.n; i++) {
        ForeignNic *nic = &self->vm->nics.items[i];
        g_auto(GStrv) parts = nic->pci ? g_strsplit_set(nic->pci, ":.", 4) : NULL;
        bool is_old = self->vm->chipset == CHIPSET_PC, is_kept = false;
        if (parts && g_strv_length(parts) == 4) {
            int64_t bus = (int64_t)g_ascii_strtoull(parts[1], NULL, 16);
            int64_t slot = (int64_t)g_ascii_strtoull(parts[2], NULL, 16);
            bool is_plain = !strcmp(parts[0], "0000") && !strcmp(parts[3], "0");
            is_kept = is_plain && (is_old ? bus == 0 && slot > 2
                                          : slot == 0 && bus > 0 && bus < MOST_PORTS && self->has_port[bus]);
        }
        if (!is_kept && nic->pci && !self->is_xen)
            foreign_add_warning(self->vm,
                "the NIC %s sits elsewhere on PCI: its guest may give it another name than now (%s)",
                nic->mac ? nic->mac : "", nic->pci);
        if (!is_kept)
            foreign_nic_set_pci(nic, NULL);
    }
}

static void settle(Reading *self) {
    ForeignVm *vm = self->vm;
    Console *console = foreign_vm_put_console(vm);
    console_set_serial(console, self->n_serial > 0 || self->is_xen);
    console_set_graphics(console, self->n_screens > 0 ? GRAPHICS_VNC : GRAPHICS_NONE);
    for (size_t i = 0; i < vm->disks.n; i++)
        if (self->has_scsi_other && disk_has(&vm->disks.items[i], DISK_FIELD_BUS) &&
            vm->disks.items[i].bus == DISK_BUS_SCSI)
            foreign_add_obstacle(vm, "its disks are on a SCSI controller other than virtio-scsi");
    if (!foreign_vm_has(vm, FOREIGN_VM_FIELD_VCPUS) || !foreign_vm_has(vm, FOREIGN_VM_FIELD_MEMORY))
        foreign_add_obstacle(vm, "its vCPUs or its memory cannot be read");
    if (self->current_memory > 0 && (uint64_t)self->current_memory * KIB < vm->memory)
        foreign_add_warning(vm, "it gets all of its memory, not the part that it has now");
    settle_boot_order(self);
    settle_firmware(self);
    settle_places(self);
}

bool foreign_xml_read(
    const char *xml, size_t length, ForeignVm *ret_vm, ForeignExtra *ret_extra, Error *err) {
    static const GMarkupParser parser = {
        .start_element = element_starts, .end_element = element_ends, .text = text_comes};
    g_auto(ForeignVm) vm = {0};
    g_auto(ForeignExtra) extra = {0};
    if (length > FOREIGN_XML_LIMIT)
        return error_set(err, ERROR_TOO_LARGE, NULL, "the domain's definition is too long");
    Reading self = {.vm = &vm, .extra = &extra, .path = g_string_new(NULL)};
    g_autoptr(GError) fault = NULL;
    g_autoptr(GMarkupParseContext) context = g_markup_parse_context_new(&parser, 0, &self, NULL);
    bool is_read = g_markup_parse_context_parse(context, xml, (gssize)length, &fault) &&
                   g_markup_parse_context_end_parse(context, &fault);
    g_string_free(self.path, TRUE);
    g_free(self.target);
    g_free(self.bus);
    if (!is_read || !vm.id || !vm.name)
        return error_set(err, ERROR_CORRUPT, NULL, "the domain's definition cannot be read: %s",
            fault ? fault->message : "it has no name or no uuid");
    settle(&self);
    *ret_vm = vm;
    *ret_extra = extra;
    memset(&vm, 0, sizeof vm);
    memset(&extra, 0, sizeof extra);
    return true;
}
