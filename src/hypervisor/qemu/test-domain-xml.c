/*
 * Definitions against golden files. LODGE_UPDATE_GOLDEN=1 rewrites them: look at the difference before you
 * keep it.
 */
#include <string.h>
#include "hypervisor/qemu/domain-xml.h"
#include "hypervisor/libvirt/live-devices.h"
#include "hypervisor/libvirt/xml-read.h"
#include "model/guest-os.h"

#define VM_ID "0b2c4d6e-1111-4222-8333-444455556666"

typedef struct Sample {
    Vm vm;
    Network networks[2];
    HypervisorDisk disks[4];
    HypervisorNic nics[2];
    HypervisorVm start;
    const char *backing; /* of the first disk */
} Sample;

static bool all_direct(const char *path) {
    return !g_str_has_prefix(path, "/tmpfs/");
}

static const QemuXmlOptions plain = {.instance = "lodge",
    .state_folder = "/var/lib/lodge/state",
    .uefi_code = "/firmware/code.fd",
    .uefi_variables = "/firmware/variables.fd",
    .can_bypass_cache = all_direct,
    .started_ns = 1700000000000000000,
    .vcpus_limit = 288};

static void sample_init(Sample *sample) {
    vm_set_id(&sample->vm, VM_ID);
    vm_set_name(&sample->vm, "web-1");
    vm_set_vcpus(&sample->vm, 1);
    vm_set_memory(&sample->vm, 128 << 20);
    sample->start.vm = &sample->vm;
    sample->start.disks = sample->disks;
    sample->start.nics = sample->nics;
}

/* All disks are added before the pointers to them are taken: lists move when they grow. */
static void sample_complete(Sample *sample, const char *const *paths) {
    sample->start.n_disks = sample->vm.disks.n;
    sample->start.n_nics = sample->vm.nics.n;
    for (size_t i = 0; i < sample->vm.disks.n; i++)
        sample->disks[i] = (HypervisorDisk){.backing = {{i ? NULL : sample->backing, DISK_FORMAT_RAW}},
            .n_backing = !i && sample->backing,
            .disk = &sample->vm.disks.items[i],
            .path = paths[i]};
    for (size_t i = 0; i < sample->vm.nics.n; i++)
        sample->nics[i] = (HypervisorNic){.nic = &sample->vm.nics.items[i], .network = &sample->networks[i]};
}

static void sample_clear(Sample *sample) {
    vm_clear(&sample->vm);
    network_clear(&sample->networks[0]);
    network_clear(&sample->networks[1]);
}

static void compare(const Sample *sample, const QemuXmlOptions *options, const char *name) {
    g_autofree char *path = g_strdup_printf(GOLDEN_FOLDER "/%s.xml", name);
    g_autofree char *xml = qemu_domain_xml(&sample->start, options);
    g_autofree char *golden = NULL;
    if (g_getenv("LODGE_UPDATE_GOLDEN"))
        g_assert_true(g_file_set_contents(path, xml, -1, NULL));
    g_assert_true(g_file_get_contents(path, &golden, NULL, NULL));
    g_assert_cmpstr(xml, ==, golden);
}

static void test_tiny(void) {
    Sample sample = {0};
    sample_init(&sample);
    sample.start.kernel_path = "/repository/templates/t/kernel";
    sample.start.initrd_path = "/repository/templates/t/initrd";
    sample.start.command_line = "console=ttyS0 quiet";
    vm_set_kernel_arguments(&sample.vm, "extra=\"<1>\"");
    network_set_id(&sample.networks[0], "aaaaaaaa-1111-4222-8333-444455556666");
    nic_set_mac(vm_add_nics(&sample.vm), "52:54:00:00:00:01");
    sample_complete(&sample, NULL);
    g_assert_true(qemu_domain_check(&sample.start, &plain, NULL));
    compare(&sample, &plain, "direct-boot");
    sample_clear(&sample);
}

static void test_debian(void) {
    static const char *const paths[] = {"/repository/disks/a&b.qcow2", "/tmpfs/data.raw", NULL};
    Sample sample = {0};
    sample_init(&sample);
    sample.start.seed_path = "/repository/vms/v/seed.iso";
    vm_set_firmware(&sample.vm, FIRMWARE_UEFI);
    vm_set_vcpus_maximum(&sample.vm, 4);
    vm_set_memory_maximum(&sample.vm, 512 << 20);
    Disk *disk = vm_add_disks(&sample.vm);
    disk_set_id(disk, "dddddddd-1111-4222-8333-444455556666");
    disk_set_format(disk, DISK_FORMAT_QCOW2);
    sample.backing = "/repository/disks/template.raw";
    disk_set_format(vm_add_disks(&sample.vm), DISK_FORMAT_RAW);
    disk_set_kind(vm_add_disks(&sample.vm), DISK_KIND_CD);
    network_set_bridge(&sample.networks[0], "br0");
    network_set_kind(&sample.networks[0], NETWORK_KIND_BRIDGE);
    Nic *nic = vm_add_nics(&sample.vm);
    nic_set_mac(nic, "52:54:00:00:00:01");
    nic_set_connected(nic, false);
    console_set_graphics(vm_put_console(&sample.vm), GRAPHICS_VNC);
    sample_complete(&sample, paths);
    QemuXmlOptions kvm = plain;
    kvm.is_kvm = true;
    g_assert_true(qemu_domain_check(&sample.start, &kvm, NULL));
    compare(&sample, &kvm, "uefi-hotplug-kvm");
    sample_clear(&sample);
}

/* Less than the host has; emulated guests are given nothing of it. */
static void test_level(void) {
    Sample sample = {0};
    g_auto(CpuLevel) level = {0};
    sample_init(&sample);
    vm_set_memory_maximum(&sample.vm, 256 << 20);
    cpu_level_set_id(&level, "0123456789abcdef");
    cpu_level_set_vendor(&level, "Intel");
    cpu_level_set_model(&level, "Haswell-noTSX-IBRS");
    cpu_level_add_feature_names(&level, "aes");
    cpu_level_add_feature_names(&level, "a'<b");
    cpu_level_add_absent_names(&level, "hle");
    sample.start.cpu = &level;
    sample_complete(&sample, NULL);
    QemuXmlOptions kvm = plain;
    kvm.is_kvm = true;
    compare(&sample, &kvm, "common-cpu-kvm");
    g_autofree char *with = qemu_domain_xml(&sample.start, &plain);
    sample.start.cpu = NULL;
    g_autofree char *without = qemu_domain_xml(&sample.start, &plain);
    g_assert_cmpstr(with, ==, without);
    sample_clear(&sample);
}

/* The old PC whatever the guest OS, and NICs where they were; the new one has ports enough for that. */
static void test_adopted(void) {
    static const char *const paths[] = {"/srv/old-web.qcow2", NULL};
    for (Chipset chipset = 0; chipset < CHIPSET_MAX; chipset++) {
        Sample sample = {0};
        sample_init(&sample);
        vm_set_chipset(&sample.vm, chipset);
        Disk *disk = vm_add_disks(&sample.vm);
        disk_set_format(disk, DISK_FORMAT_QCOW2);
        disk_set_bus(disk, chipset == CHIPSET_PC ? DISK_BUS_IDE : DISK_BUS_SATA);
        disk_set_path(disk, paths[0]);
        network_set_bridge(&sample.networks[0], "br0");
        network_set_kind(&sample.networks[0], NETWORK_KIND_BRIDGE);
        Nic *nic = vm_add_nics(&sample.vm);
        nic_set_mac(nic, "52:54:00:00:00:01");
        nic_set_pci(nic, chipset == CHIPSET_PC ? "0000:00:03.0" : "0000:0b:00.0");
        sample_complete(&sample, paths);
        g_assert_true(qemu_domain_check(&sample.start, &plain, NULL));
        compare(&sample, &plain, chipset == CHIPSET_PC ? "adopted-pc" : "adopted-q35");
        sample_clear(&sample);
    }
}

static void test_large(void) {
    Sample sample = {0};
    sample_init(&sample);
    vm_set_vcpus(&sample.vm, 256);
    *vm_add_boot_order(&sample.vm) = BOOT_DEVICE_NETWORK;
    sample_complete(&sample, NULL);
    QemuXmlOptions definition = plain;
    definition.started_ns = 0;
    compare(&sample, &definition, "many-vcpus");
    sample_clear(&sample);
}

/* A disk, a CD drive, a NIC and a screen, as a guest OS of that family has drivers for. */
static void test_family(const void *data) {
    static const char *const paths[] = {"/repository/disks/a.raw", NULL};
    const char *guest_os = data;
    Sample sample = {0};
    if (!guest_os_find("winxp")) {
        g_test_skip("built without osinfo-db");
        return;
    }
    sample_init(&sample);
    vm_set_guest_os(&sample.vm, guest_os);
    disk_set_id(vm_add_disks(&sample.vm), "dddddddd-1111-4222-8333-444455556666");
    disk_set_kind(vm_add_disks(&sample.vm), DISK_KIND_CD);
    nic_set_mac(vm_add_nics(&sample.vm), "52:54:00:00:00:01");
    network_set_id(&sample.networks[0], "aaaaaaaa-1111-4222-8333-444455556666");
    console_set_graphics(vm_put_console(&sample.vm), GRAPHICS_VNC);
    sample_complete(&sample, paths);
    QemuXmlOptions definition = plain;
    definition.started_ns = 0;
    g_assert_true(qemu_domain_check(&sample.start, &definition, NULL));
    g_autofree char *name = g_strconcat("guest-", guest_os, NULL);
    compare(&sample, &definition, name);
    sample_clear(&sample);
}

static void expect_refused(
    const Sample *sample, const QemuXmlOptions *options, ErrorCode code, const char *field) {
    g_auto(Error) err = {0};
    g_assert_false(qemu_domain_check(&sample->start, options, &err));
    g_assert_cmpint(err.code, ==, code);
    g_assert_cmpstr(err.field, ==, field);
}

static void test_refusals(void) {
    static const char *const paths[] = {"/repository/disks/a.raw"};
    Sample sample = {0};
    sample_init(&sample);
    disk_set_bus(vm_add_disks(&sample.vm), DISK_BUS_IDE);
    sample_complete(&sample, paths);
    expect_refused(&sample, &plain, ERROR_UNSUPPORTED, "/disks/0/bus");
    vm_set_firmware(&sample.vm, FIRMWARE_UEFI);
    QemuXmlOptions without_firmware = plain;
    without_firmware.uefi_code = NULL;
    expect_refused(&sample, &without_firmware, ERROR_UNSUPPORTED, "/firmware");
    vm_set_vcpus_maximum(&sample.vm, 300);
    expect_refused(&sample, &plain, ERROR_UNSUPPORTED, "/vcpus_maximum");
    vm_set_mode(&sample.vm, VM_MODE_PV);
    expect_refused(&sample, &plain, ERROR_UNSUPPORTED, "/mode");
    sample_clear(&sample);
}

static void test_live_devices(void) {
    static const char xml[] =
        "<domain><metadata><disk><alias name='ua-no'/></disk></metadata><devices>"
        "<disk type='file'><source file='x'/><backingStore><source file='y'/></backingStore>"
        "<target dev='vdb' bus='virtio'/><alias name='ua-one'/><address type='pci'/></disk>"
        "<controller type='scsi' model='virtio-scsi'><alias name='scsi0'/></controller>"
        "<interface type='network'><target dev='vnet3'/><alias name='net0'/></interface></devices></domain>";
    g_autoptr(LiveDevices) devices = live_devices_read(xml);
    g_assert_cmpuint(devices->list->len, ==, 2);
    g_assert_cmpstr(live_device_find(devices, "ua-one")->target, ==, "vdb");
    g_assert_null(live_device_find(devices, "ua-no"));
    g_assert_true(live_devices_has_target(devices, "vdb"));
    g_assert_false(live_devices_has_target(devices, "vda"));
    g_assert_true(devices->has_scsi);
}

static void test_definition_survives(void) {
    Sample sample = {0};
    g_auto(Vm) read = {0};
    sample_init(&sample);
    vm_set_description(&sample.vm, "a <b> & \"c\"");
    g_autofree char *xml = qemu_domain_xml(&sample.start, &plain);
    g_autofree char *text = xml_text(xml, "vm");
    g_autoptr(json_t) json = json_parse(text, strlen(text), NULL);
    g_assert_true(vm_decode(json, MODEL_STORED, &read, NULL));
    g_assert_true(model_equal(&vm_type, &read, &sample.vm));
    g_autofree char *instance = xml_attribute(xml, "vm", "instance");
    g_assert_cmpstr(instance, ==, "lodge");
    sample_clear(&sample);
}

static void expect_translation_cache(uint64_t memory_mib, const char *expected) {
    Sample sample = {0};
    sample_init(&sample);
    vm_set_memory(&sample.vm, memory_mib << 20);
    g_autofree char *xml = qemu_domain_xml(&sample.start, &plain);
    g_autofree char *size = xml_text(xml, "tb-cache");
    g_assert_cmpstr(size, ==, expected);
    sample_clear(&sample);
}

static void test_the_translation_cache_grows_with_the_guest(void) {
    expect_translation_cache(16, "32");
    expect_translation_cache(512, "128");
    expect_translation_cache(65536, "256");
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/domain-xml/direct-boot-is-escaped", test_tiny);
    g_test_add_func("/domain-xml/uefi-and-hot-plug", test_debian);
    g_test_add_func("/domain-xml/common-processor", test_level);
    g_test_add_func("/domain-xml/adopted", test_adopted);
    g_test_add_func("/domain-xml/many-vcpus-get-an-iommu", test_large);
    g_test_add_data_func("/domain-xml/modern-linux", "debian8", test_family);
    g_test_add_data_func("/domain-xml/old-linux", "rhel4.0", test_family);
    g_test_add_data_func("/domain-xml/windows", "win10", test_family);
    g_test_add_data_func("/domain-xml/bsd", "freebsd13.0", test_family);
    g_test_add_func("/domain-xml/refusals-name-the-field", test_refusals);
    g_test_add_func("/domain-xml/definition-survives-metadata", test_definition_survives);
    g_test_add_func("/domain-xml/live-devices-are-read", test_live_devices);
    g_test_add_func("/domain-xml/translation-cache-grows", test_the_translation_cache_grows_with_the_guest);
    return g_test_run();
}
