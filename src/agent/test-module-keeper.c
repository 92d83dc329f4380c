/* One file in modprobe.d follows the definition, whatever happens in between. */
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "agent/module-keeper.h"
#include "base/file.h"
#include "host/test-root.h"

#define FILE_NAME "etc/modprobe.d/test-modules.conf"

enum { FILE_MODE = 0644, ANY_MODE = 0777, TINY = 64 };

static const char *const always[] = {"lodge_fake", NULL};

typedef struct Fixture {
    TestRoot root;
    char *state;
    ModuleKeeper *keeper;
} Fixture;

static void start(Fixture *fixture) {
    module_keeper_free(fixture->keeper);
    fixture->keeper = module_keeper_new(&(ModuleKeeperOptions){
        .root = fixture->root.folder, .instance = "test", .state_folder = fixture->state, .always = always});
}

static void set_up(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    test_root_fill(&fixture->root);
    fixture->state = test_root_path(&fixture->root, "state");
    g_assert_true(folder_make(fixture->state, 0700, NULL));
    start(fixture);
}

static void tear_down(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    module_keeper_free(fixture->keeper);
    test_root_clear(&fixture->root);
    g_free(fixture->state);
}

static bool apply(Fixture *fixture, const char *names, AgentModulesPlan *ret_plan, Error *err) {
    g_auto(HostModules) policy = {0};
    g_auto(GStrv) all = g_strsplit(names, " ", -1);
    host_modules_set_policy(&policy, MODULE_POLICY_ALLOW_LIST);
    for (char **name = all; *name; name++)
        host_modules_add_allow(&policy, *name);
    return module_keeper_apply(fixture->keeper, &policy, ret_plan, err);
}

static void apply_good(Fixture *fixture, const char *names) {
    g_auto(AgentModulesPlan) plan = {0};
    g_auto(Error) err = {0};
    if (!apply(fixture, names, &plan, &err))
        g_error("%s", err.message);
}

static bool apply_open(Fixture *fixture) {
    g_auto(HostModules) open = {0};
    g_auto(AgentModulesPlan) plan = {0};
    return module_keeper_apply(fixture->keeper, &open, &plan, NULL);
}

/* NULL when there is none. */
static char *file_text(const Fixture *fixture) {
    g_autofree char *path = test_root_path(&fixture->root, FILE_NAME);
    char *text = NULL;
    file_read(path, 1 << 20, &text, NULL, NULL);
    return text;
}

static bool is_blocked(const Fixture *fixture, const char *name) {
    g_autofree char *text = file_text(fixture), *line = g_strdup_printf("\ninstall %s /bin/false\n", name);
    return text && strstr(text, line);
}

static void assert_state(const Fixture *fixture, ModulesState state, const char *word) {
    g_auto(HostStatus) status = {0};
    module_keeper_fill(fixture->keeper, &status);
    g_assert_cmpint(status.modules_state, ==, state);
    g_assert_true(word ? status.modules_error && strstr(status.modules_error, word) : !status.modules_error);
}

static void test_list_is_applied_and_opened(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    g_auto(AgentModulesPlan) plan = {0};
    g_auto(HostStatus) status = {0};
    struct stat first, second;
    g_autofree char *path = test_root_path(&fixture->root, FILE_NAME);
    assert_state(fixture, MODULES_STATE_OPEN, NULL);
    g_assert_true(apply(fixture, "ext4 e1000e bridge nowhere", &plan, NULL));
    g_assert_cmpint(plan.blocked, ==, 3);
    g_assert_cmpint(plan.available, ==, 11);
    g_assert_cmpstr(plan.lost.items[0], ==, "floppy");
    g_assert_cmpstr(plan.unknown.items[0], ==, "nowhere");
    g_assert_true(is_blocked(fixture, "snd") && is_blocked(fixture, "floppy"));
    g_assert_false(is_blocked(fixture, "ext4") || is_blocked(fixture, "crc32c_generic"));
    g_assert_cmpint(stat(path, &first), ==, 0);
    g_assert_cmpint(first.st_mode & ANY_MODE, ==, FILE_MODE);
    apply_good(fixture, "ext4 e1000e bridge nowhere");
    g_assert_cmpint(stat(path, &second), ==, 0);
    g_assert_cmpuint(first.st_ino, ==, second.st_ino); /* it was not written again */
    assert_state(fixture, MODULES_STATE_APPLIED, NULL);
    module_keeper_fill(fixture->keeper, &status);
    g_assert_cmpint(status.modules_blocked, ==, 3);
    g_assert_true(apply_open(fixture) && apply_open(fixture));
    g_assert_cmpint(stat(path, &second), <, 0);
    assert_state(fixture, MODULES_STATE_OPEN, NULL);
}

static void test_refused_list_changes_nothing(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    g_auto(AgentModulesPlan) plan = {0};
    g_auto(HostModules) policy = {0};
    g_auto(Error) err = {0}, unseen = {0};
    apply_good(fixture, "ext4 e1000e bridge");
    g_autofree char *before = file_text(fixture);
    g_assert_false(apply(fixture, "ext4 bridge snd", &plan, &err));
    g_assert_cmpstr(err.field, ==, "/modules/allow");
    g_autofree char *after = file_text(fixture);
    g_assert_cmpstr(before, ==, after);
    assert_state(fixture, MODULES_STATE_FAILED, "e1000e");
    host_modules_set_policy(&policy, MODULE_POLICY_ALLOW_LIST);
    g_assert_false(module_keeper_check(fixture->keeper, &policy, &plan, &unseen));
    start(fixture);
    g_assert_true(module_keeper_resume(fixture->keeper, NULL)); /* the list that was good */
    assert_state(fixture, MODULES_STATE_APPLIED, NULL);
}

/* Killed before the file was written, or in the middle of writing it. */
static void test_a_new_agent_goes_on(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    apply_good(fixture, "ext4 e1000e bridge");
    g_autofree char *path = test_root_path(&fixture->root, FILE_NAME), *temporary = NULL, *foreign = NULL;
    g_autofree char *text = file_text(fixture);
    g_assert_true(tree_remove(path, NULL));
    test_root_put(&fixture->root, FILE_NAME ".tmp-1-00000001", "install ext4 /bin/fa");
    test_root_put(&fixture->root, "etc/modprobe.d/other.conf.tmp-1-00000001", "not ours\n");
    start(fixture);
    g_assert_true(module_keeper_resume(fixture->keeper, NULL));
    g_autofree char *again = file_text(fixture);
    g_assert_cmpstr(text, ==, again);
    temporary = test_root_path(&fixture->root, FILE_NAME ".tmp-1-00000001");
    foreign = test_root_path(&fixture->root, "etc/modprobe.d/other.conf.tmp-1-00000001");
    g_assert_false(g_file_test(temporary, G_FILE_TEST_EXISTS));
    g_assert_true(g_file_test(foreign, G_FILE_TEST_EXISTS));
}

static void test_a_new_kernel_gets_its_own_list(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    apply_good(fixture, "ext4 e1000e bridge");
    test_root_put(&fixture->root, "proc/sys/kernel/osrelease", "6.12.0-lodge\n");
    test_root_put(&fixture->root, "lib/modules/6.12.0-lodge/modules.dep",
        "kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/lib/crc16.ko\nkernel/fs/jbd2/jbd2.ko:\n"
        "kernel/lib/crc16.ko:\nkernel/drivers/net/e1000e.ko:\nkernel/net/bridge/bridge.ko: "
        "kernel/net/802/stp.ko\nkernel/net/802/stp.ko:\nkernel/drivers/new.ko:\n");
    start(fixture);
    g_assert_true(module_keeper_resume(fixture->keeper, NULL));
    g_assert_true(is_blocked(fixture, "new"));
    g_assert_false(is_blocked(fixture, "snd"));
}

/* The limit of a file's size stands for a full disk: both stop a write in the middle. */
static void limit_files(rlim_t bytes) {
    struct rlimit limit;
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    limit.rlim_cur = MIN(bytes, limit.rlim_max);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
}

static void test_a_full_disk_keeps_what_was(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    g_auto(AgentModulesPlan) plan = {0};
    g_auto(Error) err = {0};
    apply_good(fixture, "ext4 e1000e bridge");
    g_autofree char *before = file_text(fixture);
    signal(SIGXFSZ, SIG_IGN);
    limit_files(TINY);
    bool is_good = apply(fixture, "ext4 e1000e bridge snd", &plan, &err);
    limit_files(RLIM_INFINITY);
    g_assert_false(is_good);
    g_autofree char *after = file_text(fixture);
    g_assert_cmpstr(before, ==, after);
    assert_state(fixture, MODULES_STATE_FAILED, "cannot write");
    apply_good(fixture, "ext4 e1000e bridge snd");
    g_assert_false(is_blocked(fixture, "snd"));
    g_assert_true(is_blocked(fixture, "snd_hda_intel"));
}

static void test_a_damaged_note_is_told(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    g_auto(Error) err = {0};
    test_root_put(&fixture->root, "state/modules.json", "{\"policy\": \"allow_");
    g_assert_false(module_keeper_resume(fixture->keeper, &err));
    g_assert_cmpint(err.code, ==, ERROR_CORRUPT);
    assert_state(fixture, MODULES_STATE_FAILED, "modules.json");
    apply_good(fixture, "ext4 e1000e bridge");
    assert_state(fixture, MODULES_STATE_APPLIED, NULL);
}

static void test_a_container_can_only_be_open(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    g_auto(AgentModulesPlan) plan = {0};
    g_auto(AgentModuleList) page = {0};
    g_autofree char *lists = test_root_path(&fixture->root, "lib");
    g_assert_true(tree_remove(lists, NULL));
    g_assert_true(apply_open(fixture));
    g_assert_false(apply(fixture, "ext4 jbd2 crc16 e1000e bridge stp", &plan, NULL));
    assert_state(fixture, MODULES_STATE_FAILED, "modules.dep");
    g_assert_true(module_keeper_page(fixture->keeper, NULL, &page, NULL));
    g_assert_cmpuint(page.modules.n, ==, 7); /* what is loaded */
}

/* As many as fill several messages. */
static void test_pages_hold_all_in_order(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    enum { MODULES = 8000 };
    g_autoptr(GString) list = g_string_new(NULL);
    for (int i = 0; i < MODULES; i++)
        g_string_append_printf(list, "kernel/drivers/module-%05d.ko:\n", i);
    test_root_put(&fixture->root, "lib/modules/" TEST_KERNEL "/modules.dep", list->str);
    g_autofree char *after = NULL, *last = g_strdup("");
    size_t n = 0, pages = 0;
    do {
        g_auto(AgentModuleList) page = {0};
        g_assert_true(module_keeper_page(fixture->keeper, after, &page, NULL));
        for (size_t i = 0; i < page.modules.n; i++, n++) {
            g_assert_cmpstr(last, <, page.modules.items[i].name);
            g_free(last);
            last = g_strdup(page.modules.items[i].name);
        }
        g_free(after);
        after = g_strdup(page.next);
        pages++;
    } while (after);
    g_assert_cmpuint(n, ==, MODULES + 8); /* and what is loaded or built in */
    g_assert_cmpuint(pages, >, 1);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(Fixture *fixture, const void *data);
    } tests[] = {{"/module-keeper/applied-and-opened", test_list_is_applied_and_opened},
        {"/module-keeper/refused-list-changes-nothing", test_refused_list_changes_nothing},
        {"/module-keeper/a-new-agent-goes-on", test_a_new_agent_goes_on},
        {"/module-keeper/a-new-kernel-gets-its-own-list", test_a_new_kernel_gets_its_own_list},
        {"/module-keeper/a-full-disk-keeps-what-was", test_a_full_disk_keeps_what_was},
        {"/module-keeper/a-damaged-note-is-told", test_a_damaged_note_is_told},
        {"/module-keeper/a-container-can-only-be-open", test_a_container_can_only_be_open},
        {"/module-keeper/pages-hold-all-in-order", test_pages_hold_all_in_order}};
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add(tests[i].name, Fixture, NULL, set_up, tests[i].run, tear_down);
    return g_test_run();
}
