/*
 * Definitions against golden files. LODGE_UPDATE_GOLDEN=1 rewrites them: look at the difference before you
 * keep it.
 */
#include <string.h>
#include "hypervisor/xen/domain-xml.h"
#include "model/abilities.h"
#include "model/guest-os.h"
#include "model/vm-mode.h"

#define VM_ID "0b2c4d6e-1111-4222-8333-444455556666"

enum { MAX_DISKS = 6 };

typedef struct Sample {
    Vm vm;
    Network network;
    HypervisorDisk disks[MAX_DISKS];
    HypervisorNic nics[1];
    HypervisorVm start;
} Sample;

static const XenXmlOptions plain = {.instance = "lodge",
    .mode = VM_MODE_PVH,
    .uefi_path = "/firmware/ovmf.bin",
    .grub_path = "/grub/pvh.bin",
    .state_folder = "/state",
    .started_ns = 1700000000000000000,
    .vcpus_limit = 128};

static void sample_init(Sample *sample) {
    vm_set_id(&sample->vm, VM_ID);
    vm_set_name(&sample->vm, "web-1");
    vm_set_vcpus(&sample->vm, 1);
    vm_set_memory(&sample->vm, 128 << 20);
    nic_set_mac(vm_add_nics(&sample->vm), "52:54:00:00:00:01");
    network_set_id(&sample->network, "aaaaaaaa-1111-4222-8333-444455556666");
    sample->start.vm = &sample->vm;
    sample->start.disks = sample->disks;
    sample->start.nics = sample->nics;
}

/* All disks are added before the pointers to them are taken: lists move when they grow. */
static void sample_complete(Sample *sample, const char *const *paths) {
    sample->start.n_disks = sample->vm.disks.n;
    sample->start.n_nics = sample->vm.nics.n;
    for (size_t i = 0; i < sample->vm.disks.n; i++)
        sample->disks[i] = (HypervisorDisk){.disk = &sample->vm.disks.items[i], .path = paths[i]};
    sample->nics[0] = (HypervisorNic){.nic = &sample->vm.nics.items[0], .network = &sample->network};
}

static void sample_clear(Sample *sample) {
    vm_clear(&sample->vm);
    network_clear(&sample->network);
}

static void compare(const Sample *sample, const XenXmlOptions *options, const char *name) {
    g_autofree char *path = g_strdup_printf(GOLDEN_FOLDER "/%s.xml", name);
    g_autofree char *xml = xen_domain_xml(&sample->start, options);
    g_autofree char *golden = NULL;
    if (g_getenv("LODGE_UPDATE_GOLDEN"))
        g_assert_true(g_file_set_contents(path, xml, -1, NULL));
    g_assert_true(g_file_get_contents(path, &golden, NULL, NULL));
    g_assert_cmpstr(xml, ==, golden);
}

static void compare_kernel(VmMode mode, const char *name) {
    Sample sample = {0};
    sample_init(&sample);
    sample.start.kernel_path = "/repository/templates/t/kernel";
    sample.start.initrd_path = "/repository/templates/t/initrd";
    sample.start.command_line = "console=ttyS0 quiet";
    vm_set_kernel_arguments(&sample.vm, "extra=\"<1>\"");
    vm_set_vcpus_maximum(&sample.vm, 4);
    vm_set_memory_maximum(&sample.vm, 512 << 20);
    sample_complete(&sample, NULL);
    XenXmlOptions options = plain;
    options.mode = mode;
    g_assert_true(xen_domain_check(&sample.start, &options, NULL));
    compare(&sample, &options, name);
    sample_clear(&sample);
}

static void test_a_kernel_boots_in_every_mode(void) {
    compare_kernel(VM_MODE_PVH, "kernel-pvh");
    compare_kernel(VM_MODE_PV, "kernel-pv");
    compare_kernel(VM_MODE_HVM, "kernel-hvm");
}

/* A disk, a data disk and cloud-init's medium; for what needs a PC a CD too. */
static void test_family(const void *data) {
    static const char *const paths[] = {
        "/repository/disks/a&b.qcow2", "/repository/disks/data.raw", "/repository/isos/i.iso"};
    const char *guest_os = data;
    Sample sample = {0};
    g_auto(HostStatus) host = {0};
    XenXmlOptions options = plain;
    options.started_ns = 0;
    if (!guest_os_find("winxp")) {
        g_test_skip("built without osinfo-db");
        return;
    }
    sample_init(&sample);
    vm_set_guest_os(&sample.vm, guest_os);
    Disk *disk = vm_add_disks(&sample.vm);
    disk_set_id(disk, "dddddddd-1111-4222-8333-444455556666");
    disk_set_format(disk, DISK_FORMAT_QCOW2);
    disk_set_format(vm_add_disks(&sample.vm), DISK_FORMAT_RAW);
    if (!guest_os_boots_by_grub(guest_os)) {
        disk = vm_add_disks(&sample.vm);
        disk_set_kind(disk, DISK_KIND_CD);
        disk_set_image(disk, "eeeeeeee-1111-4222-8333-444455556666");
    }
    sample.start.seed_path = "/repository/vms/v/seed.iso";
    sample_complete(&sample, paths);
    abilities_report("xen", &host);
    g_assert_true(vm_mode_choose(&sample.vm, &host, false, &options.mode, NULL));
    g_assert_true(xen_domain_check(&sample.start, &options, NULL));
    g_autofree char *name = g_strconcat("guest-", guest_os, NULL);
    compare(&sample, &options, name);
    sample_clear(&sample);
}

static void test_a_screen_and_five_disks(void) {
    static const char *const paths[] = {"/d/0", "/d/1", NULL, "/d/3", "/d/4", "/d/5"};
    Sample sample = {0};
    sample_init(&sample);
    vm_set_firmware(&sample.vm, FIRMWARE_UEFI);
    console_set_graphics(vm_put_console(&sample.vm), GRAPHICS_VNC);
    for (size_t i = 0; i < MAX_DISKS; i++)
        disk_set_kind(vm_add_disks(&sample.vm), i == 2 ? DISK_KIND_CD : DISK_KIND_DISK);
    sample_complete(&sample, paths);
    XenXmlOptions options = plain;
    options.mode = VM_MODE_HVM;
    g_assert_true(xen_domain_check(&sample.start, &options, NULL));
    compare(&sample, &options, "screen-uefi-hvm");
    sample_clear(&sample);
}

int main(int argc, char **argv) {
    static const char *const families[] = {"debian13", "win10", "rhel4.0", "freebsd13.0"};
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xen-domain-xml/a-kernel-boots-in-every-mode", test_a_kernel_boots_in_every_mode);
    for (size_t i = 0; i < G_N_ELEMENTS(families); i++) {
        g_autofree char *path = g_strconcat("/xen-domain-xml/guest/", families[i], NULL);
        g_test_add_data_func(path, families[i], test_family);
    }
    g_test_add_func("/xen-domain-xml/screen-and-five-disks", test_a_screen_and_five_disks);
    return g_test_run();
}
