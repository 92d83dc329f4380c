/* Proves which numbers Xen's disks have, and what the files of the kernel's back end say. */
#include <unistd.h>
#include "base/file.h"
#include "hypervisor/xen/back-ends.h"
#include "model/model.h"

static void test_disks_have_the_numbers_of_their_names(void) {
    static const struct {
        const char *target;
        unsigned number;
    } rows[] = {{"xvda", 51712}, {"xvdb", 51728}, {"xvdp", 51952}, {"xvdq", 268439552}, {"xvdz", 268441856},
        {"xvdaa", 268442112}, {"hda", 768}, {"hdb", 832}, {"hdc", 5632}, {"hdd", 5696}};
    static const char *const others[] = {"xvd", "xvdA", "xvda1", "xvdaaa", "hde", "hd", "vda", "sda", ""};
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        unsigned number = 0;
        g_assert_true(xen_disk_number(rows[i].target, &number));
        g_assert_cmpuint(number, ==, rows[i].number);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        unsigned number = 7;
        g_assert_false(xen_disk_number(others[i], &number));
        g_assert_cmpuint(number, ==, 7);
    }
}

static void put(const char *root, const char *name, const char *text) {
    g_autofree char *folder = g_build_filename(root, "bus/xen-backend/devices/vbd-3-51712/statistics", NULL);
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_assert_true(g_mkdir_with_parents(folder, 0700) == 0 && g_file_set_contents(path, text, -1, NULL));
}

static void test_the_back_end_counts_sectors_of_512_bytes(void) {
    g_auto(VmDiskStatistics) disk = {0}, other = {0};
    g_autofree char *root = g_dir_make_tmp("lodge-xen-XXXXXX", NULL);
    put(root, "rd_sect", "8\n");
    put(root, "rd_req", "2\n");
    put(root, "wr_sect", "18446744073709551615\n");
    put(root, "wr_req", "nonsense\n");
    xen_count_disk(root, 3, 51712, &disk);
    g_assert_cmpuint(disk.read_bytes, ==, 4096);
    g_assert_cmpint(disk.read_requests, ==, 2);
    g_assert_cmpuint(disk.written_bytes, ==, MODEL_SIZE_MAX);
    g_assert_false(vm_disk_statistics_has(&disk, VM_DISK_STATISTICS_FIELD_WRITE_REQUESTS));
    xen_count_disk(root, 4, 51712, &other); /* no files: another program is the back end */
    g_assert_false(vm_disk_statistics_has(&other, VM_DISK_STATISTICS_FIELD_READ_BYTES));
    g_assert_true(tree_remove(root, NULL));
}

static void test_a_nic_has_an_emulated_end_too(void) {
    g_auto(GStrv) names = xen_nic_interfaces(12, 1);
    g_assert_cmpuint(g_strv_length(names), ==, 2);
    g_assert_cmpstr(names[0], ==, "vif12.1");
    g_assert_cmpstr(names[1], ==, "vif12.1-emu");
}

static void test_without_xenstore_no_nic_is_found(void) {
    unsigned number = 7;
    if (access("/run/xenstored/socket", F_OK) == 0)
        g_test_skip("this machine has a xenstored");
    else
        g_assert_false(xen_nic_number(3, "52:54:00:00:00:01", &number));
    g_assert_cmpuint(number, ==, 7);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xen-back-ends/numbers", test_disks_have_the_numbers_of_their_names);
    g_test_add_func("/xen-back-ends/sectors", test_the_back_end_counts_sectors_of_512_bytes);
    g_test_add_func("/xen-back-ends/nic", test_a_nic_has_an_emulated_end_too);
    g_test_add_func("/xen-back-ends/no-xenstore", test_without_xenstore_no_nic_is_found);
    return g_test_run();
}
