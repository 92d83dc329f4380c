/* What is read of a kernel's modules, and what a list of allowed ones makes of them. */
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/process.h"
#include "host/module-file.h"
#include "host/module-report.h"
#include "host/test-root.h"

#define OWN_FILE "test-modules.conf"

static const char *const always[] = {"lodge_fake", "not_of_this_kernel", NULL};

static KernelModules *read_root(const TestRoot *root) {
    KernelModules *modules = NULL;
    g_auto(Error) err = {0};
    if (!kernel_modules_read(root->folder, OWN_FILE, &modules, &err))
        g_error("%s", err.message);
    return modules;
}

static const KernelModule *find(const KernelModules *modules, const char *name) {
    const KernelModule *module = kernel_modules_find(modules, name);
    if (!module)
        g_error("there is no %s", name);
    return module;
}

static char *joined(const GPtrArray *names) {
    GString *text = g_string_new(NULL);
    for (guint i = 0; names && i < names->len; i++)
        g_string_append_printf(text, "%s%s", i ? " " : "", (const char *)names->pdata[i]);
    return g_string_free(text, FALSE);
}

static void assert_names(const GPtrArray *names, const char *expected) {
    g_autofree char *text = joined(names);
    g_assert_cmpstr(text, ==, expected);
}

static void test_lists_are_read(void) {
    g_auto(TestRoot) root = {0};
    test_root_fill(&root);
    g_autoptr(KernelModules) modules = read_root(&root);
    g_assert_true(modules->has_list);
    g_assert_cmpstr(modules->release, ==, TEST_KERNEL);
    g_assert_cmpuint(g_hash_table_size(modules->by_name), ==, 12);
    const KernelModule *ext4 = find(modules, "ext4");
    assert_names(ext4->needs, "jbd2 crc16");
    assert_names(ext4->may_need, "crc32c_generic");
    g_assert_true(ext4->is_loaded && ext4->is_in_use && !ext4->is_builtin);
    g_assert_cmpint(ext4->uses, ==, 1);
    g_assert_cmpuint(ext4->size, ==, 1085440);
    g_assert_true(g_str_has_suffix(ext4->path, "/lib/modules/" TEST_KERNEL "/kernel/fs/ext4/ext4.ko.xz"));
    assert_names(find(modules, "jbd2")->used_by, "ext4");
    g_assert_false(find(modules, "snd_hda_intel")->is_loaded); /* written with `-` in the list */
    g_assert_true(find(modules, "8250")->is_builtin);
}

/* Neither a driver's devices nor interfaces count as uses in the kernel. */
static void test_devices_and_interfaces_are_uses(void) {
    g_auto(TestRoot) root = {0};
    test_root_fill(&root);
    g_autoptr(KernelModules) modules = read_root(&root);
    g_assert_true(find(modules, "e1000e")->is_in_use);
    g_assert_true(find(modules, "bridge")->is_in_use);
    g_assert_false(find(modules, "floppy")->is_in_use);
    test_root_put(&root, "sys/class/net/br0/uevent", "INTERFACE=br0\n");
    g_autoptr(KernelModules) again = read_root(&root);
    g_assert_false(find(again, "bridge")->is_in_use);
}

static void test_what_only_idle_modules_use_is_idle(void) {
    g_auto(TestRoot) root = {0};
    test_root_fill(&root);
    test_root_put(&root, "proc/modules",
        "ext4 1 1 - Live 0x0\njbd2 1 1 ext4, Live 0x0\ncrc16 1 1 jbd2, Live 0x0\n"
        "snd_hda_intel 1 0 - Live 0x0\nsnd 1 1 snd_hda_intel, Live 0x0\nfloppy 1 2 snd, Live 0x0\n");
    g_autoptr(KernelModules) modules = read_root(&root);
    g_assert_true(find(modules, "crc16")->is_in_use); /* through jbd2 */
    g_assert_false(find(modules, "snd")->is_in_use);
    g_assert_true(find(modules, "floppy")->is_in_use); /* twice, and once by a module */
}

static void test_configuration_blocks(void) {
    static const struct {
        const char *text;
        bool is_blocked;
    } rows[] = {{"blacklist snd_hda_intel\n", true}, {"  blacklist\tsnd-hda-intel  \r\n", true},
        {"install snd-hda-intel /bin/false\n", true}, {"install snd_hda_intel /usr/bin/true\n", true},
        {"install snd-hda-* /bin/false\n", true}, {"install snd_hda_intel \\\n/bin/false\n", true},
        {"install snd_hda_intel :\n", true},
        {"install snd_hda_intel /sbin/modprobe --ignore-install snd_hda_intel\n", false},
        {"# blacklist snd_hda_intel\n", false}, {"blacklist\n", false}, {"blacklist snd_hda\n", false},
        {"install snd_hda_intel\n", false},
        {"options snd_hda_intel index=0\nalias a snd_hda_intel\n", false}};
    g_auto(TestRoot) root = {0};
    test_root_fill(&root);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        test_root_put(&root, "etc/modprobe.d/a.conf", rows[i].text);
        g_autoptr(KernelModules) modules = read_root(&root);
        g_test_message("%s", rows[i].text);
        g_assert_true(find(modules, "snd_hda_intel")->is_blocked == rows[i].is_blocked);
        g_assert_false(find(modules, "ext4")->is_blocked);
    }
}

static void test_earlier_folders_hide_later_ones(void) {
    g_auto(TestRoot) root = {0};
    test_root_fill(&root);
    test_root_put(&root, "lib/modprobe.d/a.conf", "blacklist snd\n");
    test_root_put(&root, "lib/modprobe.d/b.conf", "blacklist floppy\n");
    test_root_put(&root, "lib/modprobe.d/README", "blacklist ext4\n");
    test_root_link(&root, "etc/modprobe.d/a.conf", "/dev/null");
    test_root_put(&root, "etc/modprobe.d/" OWN_FILE, "install stp /bin/false\n");
    g_autoptr(KernelModules) modules = read_root(&root);
    g_assert_false(find(modules, "snd")->is_blocked);
    g_assert_true(find(modules, "floppy")->is_blocked);
    g_assert_false(find(modules, "ext4")->is_blocked);
    g_assert_false(find(modules, "stp")->is_blocked);
    g_assert_true(find(modules, "stp")->is_blocked_by_file);
}

/* ---- policy ---- */

static void allow(HostModules *policy, const char *names) {
    g_auto(GStrv) all = g_strsplit(names, " ", -1);
    host_modules_set_policy(policy, MODULE_POLICY_ALLOW_LIST);
    for (char **name = all; *name; name++)
        host_modules_add_allow(policy, *name);
}

static void test_what_is_allowed_brings_what_it_needs(void) {
    g_auto(TestRoot) root = {0};
    g_auto(HostModules) policy = {0};
    g_auto(ModuleJudgement) judgement = {0};
    g_auto(Error) err = {0};
    test_root_fill(&root);
    g_autoptr(KernelModules) modules = read_root(&root);
    allow(&policy, "ext4 e1000e bridge nowhere");
    module_policy_judge(modules, &policy, always, &judgement);
    assert_names(judgement.blocked, "floppy snd snd_hda_intel");
    assert_names(judgement.lost, "floppy");
    assert_names(judgement.used, "");
    assert_names(judgement.unknown, "nowhere");
    g_assert_cmpstr(module_judgement_reason(&judgement, "ext4"), ==, "");
    g_assert_cmpstr(module_judgement_reason(&judgement, "jbd2"), ==, "ext4 needs it");
    g_assert_cmpstr(module_judgement_reason(&judgement, "crc32c_generic"), ==, "ext4 needs it");
    g_assert_cmpstr(module_judgement_reason(&judgement, "lodge_fake"), ==, "Lodge needs it");
    g_assert_null(module_judgement_reason(&judgement, "snd"));
    g_assert_true(module_judgement_check(&judgement, modules, &policy, &err));
    g_autofree char *text = module_judgement_file(&judgement, "test", modules->release);
    const char *rules = strstr(text, "\nblacklist");
    g_assert_true(g_str_has_prefix(text, "# Written by lodge-agent (instance test)"));
    g_assert_cmpstr(rules, ==,
        "\nblacklist floppy\ninstall floppy /bin/false\nblacklist snd\ninstall snd /bin/false\n"
        "blacklist snd_hda_intel\ninstall snd_hda_intel /bin/false\n");
}

static void test_what_is_used_must_be_listed(void) {
    g_auto(TestRoot) root = {0};
    g_auto(HostModules) policy = {0};
    g_auto(ModuleJudgement) judgement = {0};
    g_auto(Error) err = {0};
    test_root_fill(&root);
    g_autoptr(KernelModules) modules = read_root(&root);
    allow(&policy, "ext4");
    module_policy_judge(modules, &policy, always, &judgement);
    assert_names(judgement.used, "bridge e1000e stp");
    g_assert_false(module_judgement_check(&judgement, modules, &policy, &err));
    g_assert_cmpint(err.code, ==, ERROR_INVALID);
    g_assert_cmpstr(err.field, ==, "/modules/allow");
    g_assert_nonnull(strstr(err.message, "bridge, e1000e, stp"));
}

static void test_open_blocks_nothing(void) {
    g_auto(TestRoot) root = {0};
    g_auto(HostModules) policy = {0};
    g_auto(ModuleJudgement) judgement = {0};
    test_root_fill(&root);
    g_autoptr(KernelModules) modules = read_root(&root);
    allow(&policy, "ext4");
    host_modules_set_policy(&policy, MODULE_POLICY_OPEN);
    module_policy_judge(modules, &policy, always, &judgement);
    g_assert_cmpuint(judgement.blocked->len, ==, 0);
    g_assert_cmpstr(module_judgement_reason(&judgement, "snd"), ==, "");
    g_assert_true(module_judgement_check(&judgement, modules, &policy, NULL));
}

/* A container has its host's kernel and none of its files. */
static void test_without_lists_only_open_is_possible(void) {
    g_auto(TestRoot) root = {0};
    g_auto(HostModules) policy = {0};
    g_auto(ModuleJudgement) judgement = {0};
    g_auto(Error) err = {0};
    test_root_fill(&root);
    g_autofree char *lists = test_root_path(&root, "lib");
    g_assert_true(tree_remove(lists, NULL));
    g_autoptr(KernelModules) modules = read_root(&root);
    g_assert_false(modules->has_list);
    g_assert_true(find(modules, "ext4")->is_loaded);
    allow(&policy, "ext4 jbd2 crc16 e1000e bridge stp floppy");
    module_policy_judge(modules, &policy, always, &judgement);
    g_assert_false(module_judgement_check(&judgement, modules, &policy, &err));
    g_assert_cmpint(err.code, ==, ERROR_UNSUPPORTED);
    g_assert_cmpstr(err.field, ==, "/modules/policy");
}

/* ---- files of modules ---- */

static const char info[] = "license=GPL\0description=Intel(R) NIC\0firmware=nic/there.bin\0"
                           "firmware=nic/packed.bin\0firmware=nic/absent.bin\0firmware=nic/any-*.bin\0"
                           "firmware=../../etc/shadow\0depends=";

static void test_sections_are_found(void) {
    g_autoptr(GByteArray) file = test_module_file(info, sizeof info);
    g_auto(GStrv) entries = NULL;
    g_auto(Error) err = {0};
    g_assert_true(module_file_entries(file->data, file->len, &entries, &err));
    g_assert_cmpuint(g_strv_length(entries), ==, 8);
    g_assert_cmpstr(entries[1], ==, "description=Intel(R) NIC");
    g_assert_cmpstr(entries[7], ==, "depends=");
}

static void test_damaged_files_do_no_harm(void) {
    g_autoptr(GByteArray) file = test_module_file(info, sizeof info);
    for (guint i = 0; i < file->len; i++) {
        g_autofree guint8 *part = g_memdup2(file->data, i); /* so that a sanitizer sees the end */
        g_auto(GStrv) entries = NULL, changed = NULL;
        module_file_entries(part, i, &entries, NULL);
        guint8 byte = file->data[i];
        file->data[i] = 0xff;
        module_file_entries(file->data, file->len, &changed, NULL);
        file->data[i] = byte;
    }
    g_auto(Error) err = {0};
    char **none = NULL;
    g_assert_false(module_file_entries("\177ELF", 4, &none, &err));
    g_assert_cmpint(err.code, ==, ERROR_CORRUPT);
}

static void put_module(const TestRoot *root) {
    g_autoptr(GByteArray) file = test_module_file(info, sizeof info);
    static const char name[] =
        "lib/modules/" TEST_KERNEL "/kernel/drivers/net/ethernet/intel/e1000e/e1000e.ko";
    test_root_put_bytes(root, name, file->data, file->len);
    test_root_put(root, "lib/firmware/nic/there.bin", "x");
    test_root_put(root, "lib/firmware/" TEST_KERNEL "/nic/packed.bin.xz", "x");
    test_root_put(root, "lib/firmware/nic/any-7.bin", "x");
}

static const HostModule *row_of(const AgentModuleList *list, const char *name) {
    for (size_t i = 0; i < list->modules.n; i++)
        if (!strcmp(list->modules.items[i].name, name))
            return &list->modules.items[i];
    g_error("there is no row %s", name);
}

static void assert_row(
    const AgentModuleList *list, const char *name, ModuleState state, bool is_allowed, bool returns) {
    const HostModule *row = row_of(list, name);
    g_test_message("%s", name);
    g_assert_cmpint(row->state, ==, state);
    g_assert_true(row->allowed == is_allowed);
    g_assert_true(row->returns == returns);
}

static void test_rows_tell_state_and_missing_firmware(void) {
    g_auto(TestRoot) root = {0};
    g_auto(HostModules) policy = {0};
    g_auto(ModuleJudgement) judgement = {0};
    g_auto(AgentModuleList) list = {0};
    test_root_fill(&root);
    put_module(&root);
    test_root_put(&root, "etc/modprobe.d/" OWN_FILE, "install floppy /bin/false\ninstall snd /bin/false\n");
    test_root_put(&root, "etc/modprobe.d/other.conf", "blacklist crc32c_generic\n");
    g_autoptr(KernelModules) modules = read_root(&root);
    allow(&policy, "ext4 e1000e bridge");
    module_policy_judge(modules, &policy, always, &judgement);
    module_report_fill(modules, &judgement, &list);
    g_assert_cmpuint(list.modules.n, ==, 12);
    g_assert_cmpstr(list.modules.items[0].name, ==, "8250");
    assert_row(&list, "8250", MODULE_STATE_BUILTIN, true, true);
    assert_row(&list, "ext4", MODULE_STATE_LOADED, true, true);
    assert_row(&list, "floppy", MODULE_STATE_LOADED, false, false); /* now, not after the next start */
    assert_row(&list, "snd", MODULE_STATE_BLOCKED, false, false);
    assert_row(&list, "snd_hda_intel", MODULE_STATE_AVAILABLE, false, true);
    assert_row(&list, "crc32c_generic", MODULE_STATE_BLOCKED, true, false); /* by the host's own file */
    const HostModule *nic = row_of(&list, "e1000e");
    g_assert_cmpstr(nic->description, ==, "Intel(R) NIC");
    g_assert_cmpuint(nic->missing_firmware.n, ==, 2);
    g_assert_cmpstr(nic->missing_firmware.items[0], ==, "nic/absent.bin");
    g_assert_true(nic->in_use);
    g_assert_cmpint(nic->uses, ==, 0);
}

static void test_packed_files_are_read(void) {
    if (access("/usr/bin/xz", X_OK) < 0) {
        g_test_skip("xz is not installed");
        return;
    }
    g_auto(TestRoot) root = {0};
    g_auto(GStrv) entries = NULL;
    g_auto(Error) err = {0};
    g_autoptr(GByteArray) file = test_module_file(info, sizeof info);
    test_root_fill(&root);
    test_root_put_bytes(&root, "a.ko", file->data, file->len);
    g_autofree char *plain = test_root_path(&root, "a.ko"), *packed = test_root_path(&root, "a.ko.xz");
    const char *const command[] = {"/usr/bin/xz", plain, NULL};
    g_assert_true(process_run(&(ProcessSpec){.argv = command}, NULL, NULL));
    g_assert_true(module_file_read(packed, &entries, &err));
    g_assert_cmpuint(g_strv_length(entries), ==, 8);
    g_assert_false(module_file_read(plain, &entries, &err));
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/kernel-modules/lists-are-read", test_lists_are_read);
    g_test_add_func("/kernel-modules/devices-and-interfaces-are-uses", test_devices_and_interfaces_are_uses);
    g_test_add_func("/kernel-modules/idle-modules", test_what_only_idle_modules_use_is_idle);
    g_test_add_func("/kernel-modules/configuration-blocks", test_configuration_blocks);
    g_test_add_func("/kernel-modules/earlier-folders-hide-later-ones", test_earlier_folders_hide_later_ones);
    g_test_add_func("/module-policy/closure", test_what_is_allowed_brings_what_it_needs);
    g_test_add_func("/module-policy/used-must-be-listed", test_what_is_used_must_be_listed);
    g_test_add_func("/module-policy/open-blocks-nothing", test_open_blocks_nothing);
    g_test_add_func("/module-policy/without-lists-only-open", test_without_lists_only_open_is_possible);
    g_test_add_func("/module-file/sections-are-found", test_sections_are_found);
    g_test_add_func("/module-file/damaged-files-do-no-harm", test_damaged_files_do_no_harm);
    g_test_add_func("/module-file/packed-files-are-read", test_packed_files_are_read);
    g_test_add_func("/module-report/state-and-missing-firmware", test_rows_tell_state_and_missing_firmware);
    return g_test_run();
}
