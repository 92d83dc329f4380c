/* GRUB's configuration below a folder, with an update-grub that counts its calls. */
#include <sys/stat.h>
#include "base/file.h"
#include "host/boot-control.h"
#include "model/host-control.h"

typedef struct World {
    char *root;
    BootControl place;
    char *file, *calls;
} World;

static void set_up(World *world, const void *data) {
    (void)data;
    world->root = g_dir_make_tmp("lodge-boot-control-XXXXXX", NULL);
    world->place = (BootControl){.root = world->root, .instance = "lodge"};
    world->file = g_build_filename(world->root, "etc/default/grub.d/lodge-control.cfg", NULL);
    world->calls = g_build_filename(world->root, "calls", NULL);
    g_autofree char *folder = g_build_filename(world->root, "usr/sbin", NULL);
    g_autofree char *tool = g_build_filename(folder, "update-grub", NULL);
    g_autofree char *script = g_strdup_printf("#!/bin/sh\necho call >>%s\n", world->calls);
    g_assert_true(folder_make(folder, 0755, NULL));
    g_assert_true(g_file_set_contents(tool, script, -1, NULL));
    g_assert_cmpint(chmod(tool, 0755), ==, 0);
}

static void tear_down(World *world, const void *data) {
    (void)data;
    tree_remove(world->root, NULL);
    g_free(world->root);
    g_free(world->file);
    g_free(world->calls);
}

static size_t n_calls(const World *world) {
    g_autofree char *text = NULL;
    size_t n = 0;
    if (!g_file_get_contents(world->calls, &text, NULL, NULL))
        return 0;
    for (const char *at = text; *at; at++)
        n += *at == '\n';
    return n;
}

static HostControl wanted_of(uint64_t memory, int64_t vcpus) {
    HostControl wanted = {0};
    if (memory)
        host_control_set_memory(&wanted, memory);
    if (vcpus)
        host_control_set_vcpus(&wanted, vcpus);
    return wanted;
}

static void test_the_file_says_what_is_wanted(World *world, const void *data) {
    (void)data;
    const HostControl wanted = wanted_of(UINT64_C(2) << 30, 4), other = wanted_of(UINT64_C(1) << 30, 0);
    g_auto(HostControl) read = {0}, read_again = {0};
    g_autofree char *text = NULL;
    g_assert_false(boot_control_read(&world->place, &read));
    g_assert_true(boot_control_write(&world->place, &wanted, NULL));
    g_assert_true(g_file_get_contents(world->file, &text, NULL, NULL));
    g_assert_nonnull(g_strrstr(text, "\nGRUB_CMDLINE_XEN_DEFAULT=\"$GRUB_CMDLINE_XEN_DEFAULT "
                                     "dom0_mem=2048M,max:2048M dom0_max_vcpus=4\"\n"));
    g_assert_true(boot_control_read(&world->place, &read));
    g_assert_true(model_equal(&host_control_type, &wanted, &read));
    g_assert_true(boot_control_write(&world->place, &wanted, NULL));
    g_assert_cmpuint(n_calls(world), ==, 1); /* nothing new, nothing to do */
    g_assert_true(boot_control_write(&world->place, &other, NULL));
    g_assert_true(boot_control_read(&world->place, &read_again));
    g_assert_true(model_equal(&host_control_type, &other, &read_again));
    g_assert_cmpuint(n_calls(world), ==, 2);
}

static void test_nothing_wanted_removes_the_file(World *world, const void *data) {
    (void)data;
    const HostControl wanted = wanted_of(UINT64_C(1) << 30, 1);
    g_assert_true(boot_control_write(&world->place, NULL, NULL));
    g_assert_cmpuint(n_calls(world), ==, 0);
    g_assert_true(boot_control_write(&world->place, &wanted, NULL));
    g_assert_true(boot_control_write(&world->place, NULL, NULL));
    g_assert_false(g_file_test(world->file, G_FILE_TEST_EXISTS));
    g_assert_cmpuint(n_calls(world), ==, 2);
}

static void test_a_missing_tool_is_named(World *world, const void *data) {
    (void)data;
    const HostControl wanted = wanted_of(UINT64_C(1) << 30, 0);
    g_autofree char *tool = g_build_filename(world->root, "usr/sbin/update-grub", NULL);
    g_auto(Error) err = {0};
    g_assert_true(tree_remove(tool, NULL));
    g_assert_false(boot_control_write(&world->place, &wanted, &err));
    g_assert_cmpint(err.code, ==, ERROR_TOOL_FAILED);
    g_assert_nonnull(g_strrstr(err.message, "update-grub"));
}

static void test_what_is_met_allows_for_rounding(void) {
    const uint64_t gib = UINT64_C(1) << 30;
    const HostControl wanted = wanted_of(2 * gib, 2), any = wanted_of(0, 2);
    g_assert_true(boot_control_is_met(&wanted, 2 * gib - (UINT64_C(30) << 20), 2));
    g_assert_false(boot_control_is_met(&wanted, gib, 2));
    g_assert_false(boot_control_is_met(&wanted, 2 * gib, 4));
    g_assert_true(boot_control_is_met(&any, gib, 2));
}

static void test_what_the_machine_has_not_is_refused(void) {
    const uint64_t gib = UINT64_C(1) << 30;
    const HostControl greedy = wanted_of(4 * gib, 0), wide = wanted_of(0, 3), fair = wanted_of(gib, 2);
    g_auto(HostStatus) host = {0}, plain = {0};
    g_auto(Error) memory = {0}, vcpus = {0}, unsupported = {0};
    host_status_set_memory(&host, 4 * gib);
    host_status_set_cpus(&host, 2);
    host_status_copy(&plain, &host);
    host_status_set_control_memory(&host, gib);
    g_assert_true(host_control_check(&fair, &host, NULL));
    g_assert_false(host_control_check(&greedy, &host, &memory));
    g_assert_cmpstr(memory.field, ==, "/control/memory");
    g_assert_false(host_control_check(&wide, &host, &vcpus));
    g_assert_cmpstr(vcpus.field, ==, "/control/vcpus");
    g_assert_false(host_control_check(&fair, &plain, &unsupported));
    g_assert_cmpint(unsupported.code, ==, ERROR_UNSUPPORTED);
}

#define ADD(name, function) g_test_add("/boot-control/" name, World, NULL, set_up, function, tear_down)

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    ADD("the-file-says-what-is-wanted", test_the_file_says_what_is_wanted);
    ADD("nothing-wanted-removes-the-file", test_nothing_wanted_removes_the_file);
    ADD("a-missing-tool-is-named", test_a_missing_tool_is_named);
    g_test_add_func("/boot-control/rounding", test_what_is_met_allows_for_rounding);
    g_test_add_func("/boot-control/what-the-machine-has-not", test_what_the_machine_has_not_is_refused);
    return g_test_run();
}
