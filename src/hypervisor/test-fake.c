/* The fake driver behaves as the plug point says, and as faults demand. */
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "hypervisor/hypervisor.h"

#define VM_ID "0b2c4d6e-1111-4222-8333-444455556666"

typedef struct Fixture {
    char *folder;
    HypervisorSession *session;
    Vm vm;
    HypervisorVm start;
    int n_changes;
} Fixture;

static void count_change(const char *vm_id, void *data) {
    g_assert_cmpstr(vm_id, ==, VM_ID);
    ((Fixture *)data)->n_changes++;
}

static HypervisorSession *open_session(Fixture *fixture) {
    const HypervisorOptions options = {.instance = "test",
        .state_folder = fixture->folder,
        .on_change = count_change,
        .on_change_data = fixture};
    HypervisorSession *session = hypervisor_fake.open(&options, NULL);
    g_assert_nonnull(session);
    return session;
}

static void set_up(Fixture *fixture, const void *data) {
    (void)data;
    fixture->folder = g_dir_make_tmp("lodge-fake-XXXXXX", NULL);
    fixture->session = open_session(fixture);
    vm_set_id(&fixture->vm, VM_ID);
    vm_set_name(&fixture->vm, "web");
    vm_set_vcpus(&fixture->vm, 1);
    vm_set_vcpus_maximum(&fixture->vm, 4);
    vm_set_memory(&fixture->vm, 64 << 20);
    nic_set_mac(vm_add_nics(&fixture->vm), "52:54:00:00:00:01");
    fixture->start.vm = &fixture->vm;
}

static void tear_down(Fixture *fixture, const void *data) {
    (void)data;
    hypervisor_fake.close(fixture->session);
    g_assert_true(tree_remove(fixture->folder, NULL));
    g_free(fixture->folder);
    vm_clear(&fixture->vm);
}

static void control(const Fixture *fixture, const char *text) {
    g_autofree char *path = g_build_filename(fixture->folder, "fake", "control", NULL);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static VmState state_now(const Fixture *fixture) {
    g_auto(AgentVmState) state = {0};
    g_assert_true(hypervisor_fake.state(fixture->session, VM_ID, &state, NULL));
    return state.status.state;
}

static void test_life(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(AgentInventory) inventory = {0};
    g_assert_cmpint(state_now(fixture), ==, VM_STATE_STOPPED);
    g_assert_true(hypervisor_fake.start(fixture->session, &fixture->start, NULL, NULL));
    g_assert_true(hypervisor_fake.start(fixture->session, &fixture->start, NULL, NULL)); /* may be repeated */
    g_assert_cmpint(fixture->n_changes, ==, 1);
    g_assert_cmpint(state_now(fixture), ==, VM_STATE_RUNNING);
    g_assert_true(hypervisor_fake.pause(fixture->session, VM_ID, NULL));
    g_assert_cmpint(state_now(fixture), ==, VM_STATE_PAUSED);
    g_assert_false(hypervisor_fake.stop(fixture->session, VM_ID, 100, false, NULL, NULL));
    g_assert_true(hypervisor_fake.resume(fixture->session, VM_ID, NULL));
    g_assert_true(hypervisor_fake.list(fixture->session, &inventory, NULL));
    g_assert_cmpuint(inventory.vms.n, ==, 1);
    g_assert_true(inventory.vms.items[0].managed);
    g_assert_cmpuint(inventory.vms.items[0].status.addresses.n, ==, 1);
    g_assert_true(hypervisor_fake.stop(fixture->session, VM_ID, 100, false, NULL, NULL));
    g_assert_true(hypervisor_fake.kill(fixture->session, VM_ID, NULL)); /* a stopped VM is success */
    g_assert_cmpint(state_now(fixture), ==, VM_STATE_STOPPED);
}

static void test_statistics_grow_while_it_runs(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(Error) err = {0};
    g_auto(VmStatistics) before = {0}, after = {0};
    Disk *disk = vm_add_disks(&fixture->vm);
    disk_set_id(disk, "0b2c4d6e-1111-4222-8333-44445555777a");
    disk_set_name(disk, "data");
    g_assert_false(hypervisor_fake.statistics(fixture->session, VM_ID, &before, &err));
    g_assert_cmpint(err.code, ==, ERROR_WRONG_STATE);
    g_assert_true(hypervisor_fake.start(fixture->session, &fixture->start, NULL, NULL));
    g_assert_true(hypervisor_fake.statistics(fixture->session, VM_ID, &before, NULL));
    g_usleep(50000);
    g_assert_true(hypervisor_fake.statistics(fixture->session, VM_ID, &after, NULL));
    g_assert_cmpint(after.cpu_time_ms, >, before.cpu_time_ms);
    g_assert_cmpint(after.started, ==, before.started);
    g_assert_cmpuint(after.memory, ==, 64 << 20);
    g_assert_cmpuint(after.disks.n, ==, 1);
    g_assert_cmpstr(after.disks.items[0].name, ==, "data");
    g_assert_cmpuint(after.disks.items[0].written_bytes, >, before.disks.items[0].written_bytes);
    g_assert_cmpuint(after.nics.n, ==, 1);
    g_assert_cmpuint(after.nics.items[0].received_bytes, >, before.nics.items[0].received_bytes);
}

static void test_outlives_session(Fixture *fixture, const void *data) {
    (void)data;
    g_assert_true(hypervisor_fake.start(fixture->session, &fixture->start, NULL, NULL));
    hypervisor_fake.close(fixture->session);
    fixture->session = open_session(fixture);
    g_assert_cmpint(state_now(fixture), ==, VM_STATE_RUNNING);
}

static void test_faults(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(Error) err = {0};
    control(fixture, "delay_ms=30\nfail=start:1\n");
    gint64 before = g_get_monotonic_time();
    g_assert_false(hypervisor_fake.start(fixture->session, &fixture->start, NULL, &err));
    g_assert_cmpint(g_get_monotonic_time() - before, >=, 30000);
    g_assert_cmpint(err.code, ==, ERROR_HYPERVISOR);
    g_assert_cmpint(state_now(fixture), ==, VM_STATE_STOPPED);
    control(fixture, "fail=start-late:1\n");
    error_clear(&err);
    g_assert_false(hypervisor_fake.start(fixture->session, &fixture->start, NULL, &err));
    g_assert_cmpint(err.code, ==, ERROR_LOST);
    g_assert_cmpint(state_now(fixture), ==, VM_STATE_RUNNING); /* done all the same */
}

static void test_cancel(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(Error) err = {0};
    g_autoptr(Cancel) cancel = cancel_new();
    control(fixture, "delay_ms=60000\n");
    cancel_trigger(cancel);
    g_assert_false(hypervisor_fake.start(fixture->session, &fixture->start, cancel, &err));
    g_assert_cmpint(err.code, ==, ERROR_CANCELLED);
}

static void test_update(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(AgentVmChanged) changed = {0};
    g_auto(AgentVmState) state = {0};
    g_assert_true(hypervisor_fake.start(fixture->session, &fixture->start, NULL, NULL));
    vm_set_vcpus(&fixture->vm, 3);
    vm_set_memory(&fixture->vm, 128 << 20); /* above its maximum */
    vm_set_firmware(&fixture->vm, FIRMWARE_UEFI);
    g_assert_true(hypervisor_fake.update(fixture->session, &fixture->start, &changed, NULL, NULL));
    g_assert_cmpuint(changed.pending.n, ==, 2);
    g_assert_cmpstr(changed.pending.items[0], ==, "/firmware");
    g_assert_cmpstr(changed.pending.items[1], ==, "/memory");
    g_assert_true(hypervisor_fake.state(fixture->session, VM_ID, &state, NULL));
    g_assert_cmpint(state.status.vcpus_online, ==, 3);
    g_assert_cmpuint(state.status.memory_actual, ==, 64 << 20);
}

static void test_a_deleted_vm_is_forgotten(Fixture *fixture, const void *data) {
    static const char *const gone[] = {".log", ".log.0", ".log.12", ".nvram", ".crashed"};
    static const char *const kept[] = {".json", ".logs", "0.log"};
    (void)data;
    for (size_t i = 0; i < G_N_ELEMENTS(gone) + G_N_ELEMENTS(kept); i++) {
        const char *ending = i < G_N_ELEMENTS(gone) ? gone[i] : kept[i - G_N_ELEMENTS(gone)];
        g_autofree char *path = g_strdup_printf("%s/fake/" VM_ID "%s", fixture->folder, ending);
        g_assert_true(g_file_set_contents(path, "x", 1, NULL));
    }
    g_assert_true(hypervisor_fake.forget(fixture->session, VM_ID, NULL));
    g_assert_true(hypervisor_fake.forget(fixture->session, VM_ID, NULL)); /* may be repeated */
    for (size_t i = 0; i < G_N_ELEMENTS(gone) + G_N_ELEMENTS(kept); i++) {
        bool is_kept = i >= G_N_ELEMENTS(gone);
        const char *ending = is_kept ? kept[i - G_N_ELEMENTS(gone)] : gone[i];
        g_autofree char *path = g_strdup_printf("%s/fake/" VM_ID "%s", fixture->folder, ending);
        g_assert_cmpint(access(path, F_OK) == 0, ==, is_kept);
    }
}

static void test_console(Fixture *fixture, const void *data) {
    (void)data;
    char bytes[64] = "";
    fd_auto int fd = -1;
    g_assert_false(hypervisor_fake.console(fixture->session, VM_ID, &fd, NULL)); /* does not run */
    g_assert_true(hypervisor_fake.start(fixture->session, &fixture->start, NULL, NULL));
    g_assert_true(hypervisor_fake.console(fixture->session, VM_ID, &fd, NULL));
    GPollFD poll_fd = {.fd = fd, .events = G_IO_IN};
    g_assert_cmpint(g_poll(&poll_fd, 1, 5000), ==, 1);
    g_assert_cmpint(read(fd, bytes, sizeof bytes - 1), >, 0);
    g_assert_cmpstr(bytes, ==, "fake console\r\n");
}

static VmMode mode_now(const Fixture *fixture) {
    g_auto(AgentVmState) state = {0};
    g_assert_true(hypervisor_fake.state(fixture->session, VM_ID, &state, NULL));
    return state.status.mode;
}

static void test_a_host_offers_modes(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(HostStatus) all = {0}, some = {0};
    g_assert_true(hypervisor_fake.probe(fixture->session, &all, NULL));
    g_assert_cmpuint(all.modes.n, ==, 3);
    g_assert_cmpint(all.modes.items[0].mode, ==, VM_MODE_HVM);
    control(fixture, "modes=pv,nonsense,pvh\n");
    g_assert_true(hypervisor_fake.probe(fixture->session, &some, NULL));
    g_assert_cmpuint(some.modes.n, ==, 2);
    g_assert_cmpint(some.modes.items[0].mode, ==, VM_MODE_PV);
    g_assert_cmpint(some.modes.items[1].mode, ==, VM_MODE_PVH);
}

static void test_a_start_settles_the_mode(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(Error) err = {0};
    control(fixture, "modes=pv,pvh\n");
    g_assert_true(hypervisor_fake.start(fixture->session, &fixture->start, NULL, NULL));
    g_assert_cmpint(mode_now(fixture), ==, VM_MODE_PVH); /* pv has no boot loader */
    g_assert_true(hypervisor_fake.kill(fixture->session, VM_ID, NULL));
    fixture->start.kernel_path = "/kernel";
    g_assert_true(hypervisor_fake.start(fixture->session, &fixture->start, NULL, NULL));
    g_assert_cmpint(mode_now(fixture), ==, VM_MODE_PV);
    g_assert_true(hypervisor_fake.kill(fixture->session, VM_ID, NULL));
    vm_set_firmware(&fixture->vm, FIRMWARE_UEFI);
    g_assert_false(hypervisor_fake.start(fixture->session, &fixture->start, NULL, &err));
    g_assert_cmpint(err.code, ==, ERROR_UNSUPPORTED);
    g_assert_cmpstr(err.field, ==, "/firmware");
    g_assert_cmpint(state_now(fixture), ==, VM_STATE_STOPPED);
}

static void test_a_medium_needs_a_drive(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(AgentVmChanged) at_once = {0}, later = {0};
    Disk *drive = vm_add_disks(&fixture->vm);
    disk_set_id(drive, "0b2c4d6e-1111-4222-8333-44445555777a");
    disk_set_kind(drive, DISK_KIND_CD);
    disk_set_image(drive, "one");
    g_assert_true(hypervisor_fake.start(fixture->session, &fixture->start, NULL, NULL));
    disk_set_image(drive, "two");
    g_assert_true(hypervisor_fake.update(fixture->session, &fixture->start, &at_once, NULL, NULL));
    g_assert_cmpuint(at_once.pending.n, ==, 0);
    g_assert_true(hypervisor_fake.kill(fixture->session, VM_ID, NULL));
    vm_set_mode(&fixture->vm, VM_MODE_PVH);
    g_assert_true(hypervisor_fake.start(fixture->session, &fixture->start, NULL, NULL));
    disk_set_image(drive, "three");
    g_assert_true(hypervisor_fake.update(fixture->session, &fixture->start, &later, NULL, NULL));
    g_assert_cmpuint(later.pending.n, ==, 1);
    g_assert_cmpstr(later.pending.items[0], ==, "/disks");
}

static void test_find(void) {
    g_assert_true(hypervisor_find("fake") == &hypervisor_fake);
    g_assert_true(hypervisor_find("qemu") == &hypervisor_qemu);
    g_assert_null(hypervisor_find("none"));
}

#define ADD(name, test) g_test_add("/fake/" name, Fixture, NULL, set_up, test, tear_down)

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hypervisor/find", test_find);
    ADD("starts-once-and-stops", test_life);
    ADD("statistics-grow-while-it-runs", test_statistics_grow_while_it_runs);
    ADD("vms-outlive-the-agent", test_outlives_session);
    ADD("faults-strike-before-and-after", test_faults);
    ADD("a-cancelled-start-starts-nothing", test_cancel);
    ADD("update-says-what-waits", test_update);
    ADD("console-answers", test_console);
    ADD("a-host-offers-modes", test_a_host_offers_modes);
    ADD("a-start-settles-the-mode", test_a_start_settles_the_mode);
    ADD("a-medium-needs-a-drive", test_a_medium_needs_a_drive);
    ADD("a-deleted-vm-is-forgotten", test_a_deleted_vm_is_forgotten);
    return g_test_run();
}
