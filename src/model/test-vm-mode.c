/* Proves the choice of a VM's mode: the first that can do all, and what is said when none can. */
#include "model/vm-mode.h"

typedef struct World {
    HostStatus status;
    Vm vm;
} World;

/* The preferred mode is light and lacks what only a PC has; the last one only starts kernels. */
static void add_mode(World *world, VmMode name, bool is_pc, bool has_loader) {
    HostMode *mode = host_status_add_modes(&world->status);
    host_mode_set_mode(mode, name);
    host_mode_set_boot_kernel(mode, true);
    host_mode_set_boot_disk(mode, has_loader);
    host_mode_set_boot_network(mode, is_pc);
    host_mode_set_uefi(mode, is_pc);
    host_mode_set_graphics(mode, is_pc);
    host_mode_set_cd_change(mode, is_pc);
    host_mode_set_vcpus_add(mode, true);
    host_mode_set_memory_add(mode, true);
}

static void set_up(World *world, const void *data G_GNUC_UNUSED) {
    add_mode(world, VM_MODE_PVH, false, true);
    add_mode(world, VM_MODE_HVM, true, true);
    add_mode(world, VM_MODE_PV, false, false);
    vm_set_vcpus(&world->vm, 2);
    vm_set_memory(&world->vm, 64 << 20);
    vm_set_mode(&world->vm, VM_MODE_AUTO);
}

static void tear_down(World *world, const void *data G_GNUC_UNUSED) {
    host_status_clear(&world->status);
    vm_clear(&world->vm);
}

static void expect_mode(const World *world, bool boots_kernel, VmMode expected) {
    VmMode mode = VM_MODE_AUTO;
    g_auto(Error) err = {0};
    g_assert_true(vm_mode_choose(&world->vm, &world->status, boots_kernel, &mode, &err));
    g_assert_cmpint(mode, ==, expected);
}

static void expect_refusal(const World *world, bool boots_kernel, const char *field, const char *text) {
    VmMode mode = VM_MODE_AUTO;
    g_auto(Error) err = {0};
    g_assert_false(vm_mode_choose(&world->vm, &world->status, boots_kernel, &mode, &err));
    g_assert_cmpint(err.code, ==, ERROR_UNSUPPORTED);
    g_assert_cmpstr(err.field, ==, field);
    g_assert_cmpstr(err.message, ==, text);
    g_assert_cmpint(mode, ==, VM_MODE_AUTO); /* only set on success */
}

static void test_auto_takes_the_hosts_first(World *world, const void *data G_GNUC_UNUSED) {
    expect_mode(world, false, VM_MODE_PVH);
    expect_mode(world, true, VM_MODE_PVH);
    world->vm.present = 0; /* a definition that says nothing */
    expect_mode(world, false, VM_MODE_PVH);
}

static void ask_for_uefi(Vm *vm) {
    vm_set_firmware(vm, FIRMWARE_UEFI);
}

static void ask_for_graphics(Vm *vm) {
    console_set_graphics(vm_put_console(vm), GRAPHICS_VNC);
}

static void ask_for_network(Vm *vm) {
    *vm_add_boot_order(vm) = BOOT_DEVICE_NETWORK;
    *vm_add_boot_order(vm) = BOOT_DEVICE_DISK;
}

static void ask_for_empty_drive(Vm *vm) {
    disk_set_kind(vm_add_disks(vm), DISK_KIND_CD);
}

static void ask_for_vcpus(Vm *vm) {
    vm_set_vcpus_maximum(vm, vm->vcpus + 1);
}

static void ask_for_memory(Vm *vm) {
    vm_set_memory_maximum(vm, vm->memory + 1);
}

/* Each of these is looked at. */
static const struct {
    void (*ask)(Vm *vm);
    void (*take)(HostMode *mode, bool value);
    const char *field, *what;
} cases[] = {{ask_for_uefi, host_mode_set_uefi, "/firmware", "UEFI firmware"},
    {ask_for_graphics, host_mode_set_graphics, "/console/graphics", "graphics console"},
    {ask_for_network, host_mode_set_boot_network, "/boot_order", "start from the network"},
    {ask_for_empty_drive, host_mode_set_cd_change, "/disks", "CD drive that can be empty"},
    {ask_for_vcpus, host_mode_set_vcpus_add, "/vcpus_maximum", "way to add vCPUs while it runs"},
    {ask_for_memory, host_mode_set_memory_add, "/memory_maximum", "way to add memory while it runs"}};

static void check_case(size_t i) {
    World world = {0};
    set_up(&world, NULL);
    g_autofree char *none = g_strdup_printf("no mode of the host has a %s", cases[i].what);
    g_autofree char *named =
        g_strdup_printf("the mode pvh has no %s (modes that have it: hvm)", cases[i].what);
    g_autofree char *nowhere =
        g_strdup_printf("the mode pvh has no %s, and no other mode here has it", cases[i].what);
    cases[i].ask(&world.vm);
    cases[i].take(&world.status.modes.items[0], false);
    cases[i].take(&world.status.modes.items[2], false);
    expect_mode(&world, false, VM_MODE_HVM);
    vm_set_mode(&world.vm, VM_MODE_PVH);
    expect_refusal(&world, false, cases[i].field, named);
    cases[i].take(&world.status.modes.items[1], false);
    expect_refusal(&world, false, cases[i].field, nowhere);
    vm_set_mode(&world.vm, VM_MODE_AUTO);
    expect_refusal(&world, false, cases[i].field, none);
    tear_down(&world, NULL);
}

static void test_every_need_is_looked_at(void) {
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        check_case(i);
}

static void test_a_present_value_is_no_need(World *world, const void *data G_GNUC_UNUSED) {
    vm_set_firmware(&world->vm, FIRMWARE_BIOS);
    vm_set_vcpus_maximum(&world->vm, 2);
    vm_set_memory_maximum(&world->vm, 64 << 20);
    console_set_graphics(vm_put_console(&world->vm), GRAPHICS_NONE);
    *vm_add_boot_order(&world->vm) = BOOT_DEVICE_DISK;
    *vm_add_boot_order(&world->vm) = BOOT_DEVICE_NETWORK;
    Disk *drive = vm_add_disks(&world->vm);
    disk_set_kind(drive, DISK_KIND_CD);
    disk_set_image(drive, "an-iso");
    host_mode_set_vcpus_add(&world->status.modes.items[0], false);
    host_mode_set_memory_add(&world->status.modes.items[0], false);
    expect_mode(world, false, VM_MODE_PVH);
}

static void test_kernel_or_loader(World *world, const void *data G_GNUC_UNUSED) {
    vm_set_mode(&world->vm, VM_MODE_PV);
    expect_mode(world, true, VM_MODE_PV);
    expect_refusal(world, false, "/boot_order",
        "the mode pv has no boot loader for disks (modes that have it: pvh, hvm)");
    host_mode_set_boot_kernel(&world->status.modes.items[2], false);
    expect_refusal(world, true, "/direct_boot",
        "the mode pv has no direct start of a kernel (modes that have it: pvh, hvm)");
}

static void test_other_systems_and_installations_get_a_pc(World *world, const void *data G_GNUC_UNUSED) {
    host_mode_set_boot_any(&world->status.modes.items[0], false);
    expect_mode(world, true, VM_MODE_PVH);
    expect_mode(world, false, VM_MODE_HVM);
    vm_set_guest_os(&world->vm, "debian1.1");
    expect_mode(world, false, VM_MODE_HVM);
    vm_set_guest_os(&world->vm, "debian13");
    expect_mode(world, false, VM_MODE_PVH);
    Disk *drive = vm_add_disks(&world->vm);
    disk_set_kind(drive, DISK_KIND_CD);
    disk_set_image(drive, "an-iso");
    expect_mode(world, false, VM_MODE_HVM);
}

static void test_the_boot_order_does_not_matter_to_a_kernel(World *world, const void *data G_GNUC_UNUSED) {
    ask_for_network(&world->vm);
    expect_mode(world, true, VM_MODE_PVH);
}

static void test_a_mode_that_is_not_offered(World *world, const void *data G_GNUC_UNUSED) {
    world->status.modes.n = 2;
    vm_set_mode(&world->vm, VM_MODE_PV);
    expect_refusal(world, true, "/mode", "the mode pv is not offered here (modes: pvh, hvm)");
    world->status.modes.n = 3;
}

static void test_no_mode_has_all(World *world, const void *data G_GNUC_UNUSED) {
    ask_for_uefi(&world->vm);
    ask_for_vcpus(&world->vm);
    host_mode_set_vcpus_add(&world->status.modes.items[1], false);
    expect_refusal(world, false, "/firmware",
        "no mode of the host has all that is asked for: pvh has no UEFI firmware, hvm has no way to add "
        "vCPUs "
        "while it runs, pv has no boot loader for disks");
}

static void test_an_older_agent_takes_everything(World *world, const void *data G_GNUC_UNUSED) {
    HostStatus silent = {0};
    VmMode mode = VM_MODE_HVM;
    ask_for_uefi(&world->vm);
    g_assert_true(vm_mode_choose(&world->vm, &silent, false, &mode, NULL));
    g_assert_cmpint(mode, ==, VM_MODE_AUTO);
    vm_set_mode(&world->vm, VM_MODE_PV);
    g_assert_true(vm_mode_choose(&world->vm, &silent, false, &mode, NULL));
    g_assert_cmpint(mode, ==, VM_MODE_PV);
    host_mode_set_mode(
        host_status_add_modes(&silent), VM_MODE_PV); /* knows the mode, not yet the abilities */
    g_assert_true(vm_mode_choose(&world->vm, &silent, false, &mode, NULL));
    host_status_clear(&silent);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function) g_test_add("/vm-mode/" name, World, NULL, set_up, function, tear_down)
    ADD("auto-takes-the-first", test_auto_takes_the_hosts_first);
    g_test_add_func("/vm-mode/every-need-is-looked-at", test_every_need_is_looked_at);
    ADD("a-present-value-is-no-need", test_a_present_value_is_no_need);
    ADD("kernel-or-loader", test_kernel_or_loader);
    ADD("other-systems-get-a-pc", test_other_systems_and_installations_get_a_pc);
    ADD("boot-order-and-kernel", test_the_boot_order_does_not_matter_to_a_kernel);
    ADD("not-offered", test_a_mode_that_is_not_offered);
    ADD("no-mode-has-all", test_no_mode_has_all);
    ADD("an-older-agent", test_an_older_agent_takes_everything);
    return g_test_run();
}
