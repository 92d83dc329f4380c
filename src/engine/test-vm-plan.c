/* Proves what new VMs look like: names, MACs, sizes from request, template and defaults. */
#include "engine/vm-plan.h"
#include "model/format.h"

static bool no_mac_taken(const char *mac G_GNUC_UNUSED, void *data G_GNUC_UNUSED) {
    return false;
}

static bool every_mac_taken(const char *mac G_GNUC_UNUSED, void *data G_GNUC_UNUSED) {
    return true;
}

static char *new_id(void *data G_GNUC_UNUSED) {
    return uuid_new();
}

static const VmPlanWorld world = {.pool_id = "p",
    .host_id = "h",
    .repository_id = "r",
    .default_network_id = "n",
    .mac_prefix = "52:54:00",
    .is_mac_taken = no_mac_taken,
    .new_id = new_id};

static void test_names_follow_the_pattern(void) {
    g_autofree char *one = vm_plan_name("web", 1, 1), *many = vm_plan_name("web", 3, 8),
                    *marked = vm_plan_name("w{n}x", 2, 8);
    g_assert_cmpstr(one, ==, "web");
    g_assert_cmpstr(many, ==, "web-3");
    g_assert_cmpstr(marked, ==, "w2x");
}

static void test_request_beats_template_beats_default(void) {
    g_auto(Template) source = {0};
    template_set_name(&source, "t");
    template_set_id(&source, "00000000-0000-0000-0000-000000000001");
    template_set_memory(&source, 128 << 20);
    template_set_vcpus(&source, 2);
    g_auto(VmCreate) request = {0};
    vm_create_set_name(&request, "a");
    vm_create_set_count(&request, 1);
    vm_create_set_vcpus(&request, 3);
    VmPlanWorld own = world;
    own.source = &source;
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    g_auto(Vm) vm = {0};
    g_assert_true(vm_plan(&request, &own, 1, random, &vm, NULL));
    g_assert_cmpint(vm.vcpus, ==, 3);
    g_assert_cmpuint(vm.memory, ==, 128 << 20);
    g_assert_cmpint(vm.run_policy, ==, RUN_POLICY_MANUAL);
    g_assert_cmpint((int)vm.nics.n, ==, 1);
    g_assert_true(is_mac(vm.nics.items[0].mac));
    g_assert_true(g_str_has_prefix(vm.nics.items[0].mac, "52:54:00:"));
}

static void test_what_cannot_be_is_refused_by_field(void) {
    g_auto(VmCreate) request = {0};
    vm_create_set_name(&request, "a");
    vm_create_set_vcpus(&request, 4);
    vm_create_set_vcpus_maximum(&request, 2);
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    g_auto(Vm) vm = {0};
    g_auto(Error) err = {0};
    g_assert_false(vm_plan(&request, &world, 1, random, &vm, &err));
    g_assert_cmpstr(err.field, ==, "/vcpus_maximum");
    error_clear(&err);
    VmPlanWorld full = world;
    full.is_mac_taken = every_mac_taken;
    vm_create_set_vcpus_maximum(&request, 4);
    g_assert_false(vm_plan(&request, &full, 1, random, &vm, &err));
    g_assert_cmpint(err.code, ==, ERROR_NO_CAPACITY);
}

static void test_new_disks_need_a_size(void) {
    g_auto(VmCreate) request = {0};
    vm_create_set_name(&request, "a");
    vm_create_set_count(&request, 1);
    disk_set_kind(vm_create_add_disks(&request), DISK_KIND_CD);
    disk_set_kind(vm_create_add_disks(&request), DISK_KIND_DISK);
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    g_auto(Vm) vm = {0};
    g_auto(Error) err = {0};
    g_assert_false(vm_plan(&request, &world, 1, random, &vm, &err));
    g_assert_cmpstr(err.field, ==, "/disks/1/size");
    disk_set_size(&request.disks.items[1], 1 << 20);
    g_assert_true(vm_plan(&request, &world, 1, random, &vm, NULL));
}

static void expect_refusal(
    const VmCreate *request, const VmPlanWorld *in, ErrorCode code, const char *field) {
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    g_auto(Vm) vm = {0};
    g_auto(Error) err = {0};
    g_assert_false(vm_plan(request, in, 1, random, &vm, &err));
    g_assert_cmpint(err.code, ==, code);
    g_assert_cmpstr(err.field, ==, field);
}

static void test_devices_of_one_name_are_refused(void) {
    g_auto(VmCreate) disks = {0}, nics = {0};
    vm_create_set_name(&disks, "a");
    vm_create_set_name(&nics, "a");
    for (int i = 0; i < 2; i++) {
        Disk *disk = vm_create_add_disks(&disks);
        disk_set_name(disk, "same");
        disk_set_size(disk, 1 << 20);
        nic_set_name(vm_create_add_nics(&nics), "same");
    }
    expect_refusal(&disks, &world, ERROR_EXISTS, "/disks/1/name");
    expect_refusal(&nics, &world, ERROR_EXISTS, "/nics/1/name");
}

static void test_unreadable_cloud_init_is_refused(void) {
    g_auto(Template) source = {0};
    template_set_name(&source, "t");
    template_set_has_cloud_init(&source, true);
    VmPlanWorld with_source = world;
    with_source.source = &source;
    g_auto(VmCreate) data = {0}, config = {0};
    vm_create_set_name(&data, "a");
    vm_create_set_name(&config, "a");
    vm_create_set_user_data(&data, "packages: [nginx]");
    vm_create_set_network_config(&config, "network: none");
    expect_refusal(&data, &with_source, ERROR_INVALID, "/user_data");
    expect_refusal(&config, &with_source, ERROR_INVALID, "/network_config");
}

static void test_what_the_host_cannot_run_is_refused(void) {
    g_auto(Host) host = {0};
    g_auto(Vm) vm = {0};
    g_auto(Error) vcpus = {0}, memory = {0};
    vm_set_vcpus(&vm, 9);
    vm_set_memory(&vm, UINT64_C(2) << 30);
    g_assert_true(vm_fits(&vm, &host, true, 0, NULL)); /* nothing is known of it */
    host_set_name(&host, "one");
    HostStatus *status = host_put_status(&host);
    host_status_set_vcpus_limit(status, 8);
    host_status_set_memory(status, UINT64_C(1) << 30);
    g_assert_false(vm_fits(&vm, &host, false, 0, &vcpus));
    g_assert_cmpstr(vcpus.field, ==, "/vcpus");
    vm_set_vcpus(&vm, 8);
    g_assert_true(vm_fits(&vm, &host, false, 0, NULL));
    g_assert_false(vm_fits(&vm, &host, true, 0, &memory));
    g_assert_cmpstr(memory.field, ==, "/memory");
    vm_set_memory(&vm, UINT64_C(256) << 20);
    host_set_memory_reserve(&host, UINT64_C(512) << 20);
    g_assert_true(vm_fits(&vm, &host, true, UINT64_C(256) << 20, NULL));
    g_assert_false(vm_fits(&vm, &host, true, (UINT64_C(256) << 20) + 1, NULL));
    g_assert_false(vm_fits(&vm, &host, true, UINT64_MAX, NULL));
}

static void expect_unfit(const Vm *vm, const Template *source, const Host *host, const char *field) {
    g_auto(Error) err = {0};
    g_assert_false(vm_plan_fits(vm, source, host, false, 0, &err));
    g_assert_cmpint(err.code, ==, ERROR_UNSUPPORTED);
    g_assert_cmpstr(err.field, ==, field);
}

static void test_what_no_mode_can_do_is_refused(void) {
    g_auto(Host) host = {0};
    g_auto(Vm) vm = {0};
    g_auto(Template) source = {0};
    host_set_name(&host, "one");
    HostMode *mode = host_status_add_modes(host_put_status(&host));
    host_mode_set_mode(mode, VM_MODE_PV);
    host_mode_set_graphics(mode, false);
    host_mode_set_boot_disk(mode, false);
    host_mode_set_boot_kernel(mode, true);
    template_set_state(&source, TEMPLATE_STATE_BUILDABLE);
    expect_unfit(&vm, NULL, &host, "/boot_order");
    g_assert_true(
        vm_plan_fits(&vm, &source, &host, false, 0, NULL)); /* it may boot a kernel once it is built */
    template_set_state(&source, TEMPLATE_STATE_READY);
    expect_unfit(&vm, &source, &host, "/boot_order");
    vm_put_direct_boot(&vm);
    g_assert_true(vm_plan_fits(&vm, &source, &host, false, 0, NULL));
    console_set_graphics(vm_put_console(&vm), GRAPHICS_VNC);
    expect_unfit(&vm, &source, &host, "/graphics"); /* as the request calls it */
    vm_set_mode(&vm, VM_MODE_HVM);
    expect_unfit(&vm, &source, &host, "/mode");
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vm-plan/devices-of-one-name-are-refused", test_devices_of_one_name_are_refused);
    g_test_add_func("/vm-plan/unreadable-cloud-init-is-refused", test_unreadable_cloud_init_is_refused);
    g_test_add_func("/vm-plan/new-disks-need-a-size", test_new_disks_need_a_size);
    g_test_add_func("/vm-plan/what-the-host-cannot-run-is-refused", test_what_the_host_cannot_run_is_refused);
    g_test_add_func("/vm-plan/what-no-mode-can-do-is-refused", test_what_no_mode_can_do_is_refused);
    g_test_add_func("/vm-plan/names", test_names_follow_the_pattern);
    g_test_add_func("/vm-plan/precedence", test_request_beats_template_beats_default);
    g_test_add_func("/vm-plan/refusals", test_what_cannot_be_is_refused_by_field);
    return g_test_run();
}
