/* What a host is made of, from files as the kernel shows them. */
#include <string.h>
#include "host/host-profile.h"
#include "host/test-root.h"

static void root_begin(TestRoot *root) {
    root->folder = g_dir_make_tmp("lodge-profile-XXXXXX", NULL);
    g_assert_nonnull(root->folder);
}

static void test_a_server(void) {
    g_auto(TestRoot) root = {0};
    g_auto(HostStatus) status = {0};
    root_begin(&root);
    test_root_put(&root, "sys/firmware/efi/runtime", "");
    test_root_put(&root, "sys/class/dmi/id/sys_vendor", "Maker Inc.\n");
    test_root_put(&root, "sys/class/dmi/id/product_name", "Box 9000\n");
    test_root_put(&root, "sys/class/dmi/id/bios_version", "1.2\n");
    test_root_put(&root, "sys/class/net/lo/address", "00:00:00:00:00:00\n");
    test_root_put(&root, "sys/class/net/eno2/address", "52:54:00:00:00:02\n");
    test_root_put(&root, "sys/class/net/eno2/device/uevent", "");
    test_root_put(&root, "sys/class/net/eno1/address", "52:54:00:00:00:01\n");
    test_root_put(&root, "sys/class/net/eno1/carrier", "1\n");
    test_root_put(&root, "sys/class/net/eno1/speed", "100\n");
    test_root_link(&root, "sys/class/net/eno1/device/driver/module", "../../../../module/e1000e");
    test_root_put(&root, "sys/block/loop0/size", "8\n");
    test_root_put(&root, "sys/block/sr0/device/model", "DVD\n");
    test_root_put(&root, "sys/block/sda/size", "2097152\n");
    test_root_put(&root, "sys/block/sda/device/vendor", "ATA     \n");
    test_root_put(&root, "sys/block/sda/device/model", "Spinner\n");
    test_root_put(&root, "sys/block/sda/queue/rotational", "1\n");
    test_root_put(&root, "sys/block/vda/size", "1\n");
    test_root_put(&root, "sys/block/vda/device/vendor", "0x1af4\n");
    host_profile_fill(root.folder, &status);
    g_assert_cmpstr(status.machine, ==, "Maker Inc. Box 9000");
    g_assert_cmpstr(status.firmware, ==, "UEFI, 1.2");
    g_assert_cmpuint(status.nics.n, ==, 2);
    g_assert_cmpstr(status.nics.items[0].name, ==, "eno1");
    g_assert_cmpstr(status.nics.items[0].module, ==, "e1000e");
    g_assert_true(status.nics.items[0].link);
    g_assert_cmpint(status.nics.items[0].speed, ==, 100);
    g_assert_false(status.nics.items[1].link);
    g_assert_cmpuint(status.disks.n, ==, 2);
    g_assert_cmpuint(status.disks.items[0].size, ==, UINT64_C(1) << 30);
    g_assert_cmpstr(status.disks.items[0].model, ==, "ATA Spinner");
    g_assert_true(status.disks.items[0].rotational);
    g_assert_null(status.disks.items[1].model);
    host_status_set_acceleration(&status, "emulation");
    host_warnings_fill(root.folder, &status);
    g_autoptr(GString) text = g_string_new(NULL);
    for (size_t i = 0; i < status.warnings.n; i++)
        g_string_append(text, status.warnings.items[i]);
    const char *all = text->str;
    g_assert_nonnull(strstr(all, "emulated"));
    g_assert_nonnull(strstr(all, "eno1 runs at 100"));
}

/* What is too long for a report is cut: the whole report would be refused. */
static void test_odd_values(void) {
    g_auto(TestRoot) root = {0};
    g_auto(HostStatus) status = {0}, again = {0};
    g_auto(Error) err = {0};
    root_begin(&root);
    g_autoptr(GString) text = g_string_new(NULL);
    for (int i = 0; i < 300; i++)
        g_string_append(text, "ä");
    test_root_put(&root, "sys/class/dmi/id/sys_vendor", text->str);
    test_root_put(&root, "sys/class/dmi/id/bios_vendor", text->str);
    test_root_put(&root, "sys/block/sda/device/model", text->str);
    for (int i = 0; i < 200; i++) {
        g_autofree char *speed = g_strdup_printf("sys/class/net/eth%d/speed", i);
        g_autofree char *carrier = g_strdup_printf("sys/class/net/eth%d/carrier", i);
        g_autofree char *device = g_strdup_printf("sys/class/net/eth%d/device/uevent", i);
        test_root_put(&root, speed, "10\n");
        test_root_put(&root, carrier, "1\n");
        test_root_put(&root, device, "");
    }
    host_status_set_state(&status, HOST_STATE_CONNECTED);
    host_profile_fill(root.folder, &status);
    host_warnings_fill(root.folder, &status);
    g_autoptr(json_t) json = host_status_encode(&status, MODEL_ENCODE_ALL);
    g_assert_true(host_status_decode(json, MODEL_STORED, &again, &err));
    g_assert_true(g_utf8_validate(again.machine, -1, NULL));
}

/* A container shows next to nothing. */
static void test_nothing(void) {
    g_auto(TestRoot) root = {0};
    g_auto(HostStatus) status = {0};
    root_begin(&root);
    host_profile_fill(root.folder, &status);
    g_assert_null(status.machine);
    g_assert_cmpstr(status.firmware, ==, "BIOS");
    g_assert_cmpuint(status.nics.n + status.disks.n, ==, 0);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/host-profile/server", test_a_server);
    g_test_add_func("/host-profile/nothing", test_nothing);
    g_test_add_func("/host-profile/odd", test_odd_values);
    return g_test_run();
}
