/* Proves what a change makes of a definition: what is new is completed, what is known stays itself, nonsense
 * is named. */
#include "engine/vm-change.h"

#define DISK_ID "dddddddd-1111-4222-8333-444455556666"
#define NIC_ID "eeeeeeee-1111-4222-8333-444455556666"
#define TAKEN "52:54:00:00:00:99"

static bool is_taken(const char *mac, void *data G_GNUC_UNUSED) {
    return g_str_equal(mac, TAKEN);
}

static const VmChangeWorld world = {
    .default_network_id = "n", .mac_prefix = "52:54:00", .is_mac_taken = is_taken};

static void fill(Vm *vm) {
    vm_set_name(vm, "web");
    vm_set_id(vm, "00000000-0000-4000-8000-000000000001");
    Disk *disk = vm_add_disks(vm);
    disk_set_id(disk, DISK_ID);
    disk_set_name(disk, "disk0");
    disk_set_size(disk, 1 << 20);
    disk_set_format(disk, DISK_FORMAT_RAW);
    Nic *nic = vm_add_nics(vm);
    nic_set_id(nic, NIC_ID);
    nic_set_name(nic, "nic0");
    nic_set_mac(nic, "52:54:00:00:00:01");
    nic_set_network(nic, "n");
    model_apply_defaults(&vm_type, vm);
}

static bool try(MethodId method, const char *parameters, Vm *ret_vm, Error *err) {
    g_auto(Vm) before = {0};
    g_autoptr(json_t) json = json_parse(parameters, strlen(parameters), NULL);
    g_assert_nonnull(json);
    fill(&before);
    return vm_change(method, &before, json, &world, 7, ret_vm, err);
}

static void expect(MethodId method, const char *parameters, Vm *ret_vm) {
    g_auto(Error) err = {0};
    bool is_good = try(method, parameters, ret_vm, &err);
    g_assert_cmpstr(err.message, ==, NULL);
    g_assert_true(is_good);
}

static void expect_refused(MethodId method, const char *parameters, ErrorCode code, const char *field) {
    g_auto(Error) err = {0};
    g_auto(Vm) vm = {0};
    g_assert_false(try(method, parameters, &vm, &err));
    g_assert_cmpint(err.code, ==, code);
    g_assert_cmpstr(err.field, ==, field);
}

static void test_new_devices_are_complete_and_repeatable(void) {
    g_auto(Vm) vm = {0}, again = {0}, with_nic = {0};
    expect(METHOD_VM_ATTACH_DISK, "{\"size\":2097152}", &vm);
    expect(METHOD_VM_ATTACH_DISK, "{\"size\":2097152}", &again);
    g_assert_cmpuint(vm.disks.n, ==, 2);
    g_assert_cmpstr(vm.disks.items[1].name, ==, "disk1");
    g_assert_true(model_equal(&vm_type, &vm, &again)); /* the same seed, the same ids */
    g_assert_true(model_check_string(model_field(&disk_type, "id"), vm.disks.items[1].id, NULL));
    expect(METHOD_VM_ATTACH_NIC, "{}", &with_nic);
    g_assert_cmpstr(with_nic.nics.items[1].name, ==, "nic1");
    g_assert_cmpstr(with_nic.nics.items[1].network, ==, "n");
    g_assert_true(g_str_has_prefix(with_nic.nics.items[1].mac, "52:54:00:"));
}

static void test_detached_disks_are_kept_unless_deleted(void) {
    g_auto(Vm) kept = {0}, gone = {0}, back = {0};
    g_auto(Error) err = {0};
    expect(METHOD_VM_DETACH_DISK, "{\"disk\":\"disk0\"}", &kept);
    g_assert_cmpuint(kept.disks.n, ==, 1);
    g_assert_true(kept.disks.items[0].detached);
    g_autoptr(json_t) again = json_pack("{ss}", "disk", DISK_ID);
    g_assert_true(vm_change(METHOD_VM_ATTACH_DISK, &kept, again, &world, 1, &back, &err));
    g_assert_false(back.disks.items[0].detached);
    g_assert_cmpstr(back.disks.items[0].id, ==, DISK_ID);
    expect(METHOD_VM_DETACH_DISK, "{\"disk\":\"disk0\",\"delete\":true}", &gone);
    g_assert_cmpuint(gone.disks.n, ==, 0);
}

static void test_iso_goes_in_and_out(void) {
    g_auto(Vm) in = {0}, out = {0};
    g_autoptr(json_t) nothing = json_object();
    expect(METHOD_VM_INSERT_ISO, "{\"image\":\"an-iso\"}", &in);
    g_assert_cmpuint(in.disks.n, ==, 2); /* a drive of its own, as there was none */
    g_assert_cmpstr(in.disks.items[1].name, ==, "cd0");
    g_assert_true(vm_change(METHOD_VM_EJECT_ISO, &in, nothing, &world, 1, &out, NULL));
    g_assert_cmpuint(out.disks.n, ==, 2);
    g_assert_null(out.disks.items[1].image);
    expect_refused(METHOD_VM_EJECT_ISO, "{}", ERROR_WRONG_STATE, "/drive");
}

/* A list in a patch is the whole list; known devices are found by id or by name and stay themselves. */
static void test_patch_of_lists(void) {
    g_auto(Vm) vm = {0};
    expect(METHOD_VM_UPDATE,
        "{\"disks\":[{\"name\":\"data\",\"size\":4194304},{\"name\":\"disk0\",\"size\":2097152}],\"nics\":[]"
        "}",
        &vm);
    g_assert_cmpuint(vm.nics.n, ==, 0);
    g_assert_cmpuint(vm.disks.n, ==, 2);
    g_assert_cmpstr(vm.disks.items[0].name, ==, "data");
    g_assert_cmpstr(vm.disks.items[1].id, ==, DISK_ID);
    g_assert_cmpint(vm.disks.items[1].format, ==, DISK_FORMAT_RAW);
    g_assert_cmpuint(vm.disks.items[1].size, ==, 2 << 20);
}

static void test_nonsense_is_named(void) {
    expect_refused(METHOD_VM_ATTACH_DISK, "{}", ERROR_INVALID, "/size");
    expect_refused(METHOD_VM_ATTACH_DISK, "{\"size\":512,\"name\":\"disk0\"}", ERROR_EXISTS, "/name");
    expect_refused(METHOD_VM_ATTACH_DISK, "{\"disk\":\"disk0\"}", ERROR_WRONG_STATE, "/disk");
    expect_refused(METHOD_VM_DETACH_DISK, "{\"disk\":\"none\"}", ERROR_NOT_FOUND, "/disk");
    expect_refused(METHOD_VM_RESIZE_DISK, "{\"disk\":\"disk0\",\"size\":512}", ERROR_INVALID, "/size");
    expect_refused(METHOD_VM_ATTACH_NIC, "{\"mac\":\"" TAKEN "\"}", ERROR_EXISTS, "/mac");
    expect_refused(METHOD_VM_CHANGE_NIC, "{\"nic\":\"nic0\",\"mac\":\"" TAKEN "\"}", ERROR_EXISTS, "/mac");
    expect_refused(METHOD_VM_ATTACH_NIC, "{\"mac\":\"52:54:00:00:00:01\"}", ERROR_EXISTS, "/mac");
    expect_refused(METHOD_VM_UPDATE, "{\"disks\":[{\"name\":\"x\"}]}", ERROR_INVALID, "/disks/0/size");
    expect_refused(
        METHOD_VM_UPDATE, "{\"disks\":[{\"name\":\"disk0\",\"size\":512}]}", ERROR_INVALID, "/disks/0/size");
    expect_refused(METHOD_VM_UPDATE,
        "{\"nics\":[{\"mac\":\"52:54:00:00:00:02\"},{\"mac\":\"52:54:00:00:00:02\"}]}", ERROR_EXISTS,
        "/nics/1/mac");
    expect_refused(METHOD_VM_UPDATE, "{\"vcpus\":4,\"vcpus_maximum\":2}", ERROR_INVALID, "/vcpus");
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func(
        "/vm-change/new-devices-are-complete-and-repeatable", test_new_devices_are_complete_and_repeatable);
    g_test_add_func(
        "/vm-change/detached-disks-are-kept-unless-deleted", test_detached_disks_are_kept_unless_deleted);
    g_test_add_func("/vm-change/an-iso-goes-in-and-out", test_iso_goes_in_and_out);
    g_test_add_func("/vm-change/lists-in-a-patch-are-whole", test_patch_of_lists);
    g_test_add_func("/vm-change/nonsense-is-named", test_nonsense_is_named);
    return g_test_run();
}
