/*
 * The driver against a real libvirt and real guests (emulated where the machine has no hardware
 * virtualization). Runs inside private-libvirt.sh only, so that it never meets a user's VMs.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/process.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/qemu/test-processor.h"
#include "hypervisor/qemu/test-templates.h"

#define VM_ID "0b2c4d6e-1111-4222-8333-444455556666"
#define NETWORK_ID "aaaaaaaa-1111-4222-8333-444455556666"

enum { CONNECT_MS = 20000, MIB = 1024 * 1024 };

typedef struct Fixture {
    char *folder;
    HypervisorSession *session;
    int n_changes; /* atomic */
    Vm vm;
    Network network;
    HypervisorDisk disk;
    HypervisorNic nic;
    HypervisorVm start;
} Fixture;

static void count_change(const char *vm_id, void *data) {
    if (vm_id)
        g_atomic_int_inc(&((Fixture *)data)->n_changes);
}

static void assert_ok(bool is_ok, const Error *err) {
    g_autofree char *text = is_ok ? NULL : error_text(err);
    if (!is_ok)
        g_error("%s", text);
}

static void wait_for_libvirt(Fixture *fixture) {
    g_auto(HostStatus) status = {0};
    for (int64_t passed_ms = 0; passed_ms < CONNECT_MS; passed_ms += 2000) {
        g_auto(Error) err = {0};
        host_status_clear(&status);
        if (hypervisor_qemu.probe(fixture->session, &status, &err))
            return;
        g_test_message("%s", err.message);
    }
    g_error("libvirt does not answer");
}

static void set_up(Fixture *fixture, const void *data) {
    (void)data;
    g_assert_cmpstr(g_getenv("LODGE_PRIVATE_LIBVIRT"), ==, "inside");
    fixture->folder = g_build_filename(g_getenv("LODGE_PRIVATE_FOLDER"), "test", NULL);
    g_assert_true(folder_make(fixture->folder, 0755, NULL));
    const HypervisorOptions options = {.instance = "test",
        .state_folder = fixture->folder,
        .on_change = count_change,
        .on_change_data = fixture};
    fixture->session = hypervisor_qemu.open(&options, NULL);
    wait_for_libvirt(fixture);
    network_set_id(&fixture->network, NETWORK_ID);
    network_set_name(&fixture->network, "default");
    vm_set_id(&fixture->vm, VM_ID);
    vm_set_name(&fixture->vm, "web");
    vm_set_vcpus(&fixture->vm, 1);
    vm_set_memory(&fixture->vm, 64 * MIB);
    fixture->start.vm = &fixture->vm;
    fixture->start.disks = &fixture->disk;
    fixture->start.nics = &fixture->nic;
}

static void tear_down(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(Error) err = {0};
    assert_ok(hypervisor_qemu.kill(fixture->session, VM_ID, &err), &err);
    assert_ok(hypervisor_qemu.network_close(fixture->session, &fixture->network, &err), &err);
    hypervisor_qemu.close(fixture->session);
    g_assert_true(tree_remove(fixture->folder, NULL));
    g_free(fixture->folder);
    vm_clear(&fixture->vm);
    network_clear(&fixture->network);
}

static char *template_file(const char *template_name, const char *file) {
    return g_build_filename(g_getenv("LODGE_PRIVATE_FOLDER"), template_name, file, NULL);
}

/* The guest that is a boot sector: one disk, no NIC. */
static void prepare_sector(Fixture *fixture) {
    Disk *disk = vm_add_disks(&fixture->vm);
    disk_set_format(disk, DISK_FORMAT_RAW);
    fixture->disk = (HypervisorDisk){.disk = disk, .path = template_file("bench-boot", "disk")};
    fixture->start.n_disks = 1;
}

static void prepare_tiny(Fixture *fixture) {
    vm_set_memory(&fixture->vm, test_template_memory("tiny"));
    Nic *nic = vm_add_nics(&fixture->vm);
    nic_set_mac(nic, "52:54:00:00:00:01");
    fixture->nic = (HypervisorNic){.nic = nic, .network = &fixture->network};
    fixture->start.n_nics = 1;
    fixture->start.kernel_path = template_file("tiny", "kernel");
    fixture->start.initrd_path = template_file("tiny", "initrd");
    fixture->start.command_line = test_template_command_line("tiny");
}

static void release(Fixture *fixture) {
    g_free((char *)fixture->disk.path);
    g_free((char *)fixture->start.kernel_path);
    g_free((char *)fixture->start.initrd_path);
}

static void start(Fixture *fixture) {
    g_auto(Error) err = {0};
    assert_ok(hypervisor_qemu.start(fixture->session, &fixture->start, NULL, &err), &err);
}

static void read_state(Fixture *fixture, AgentVmState *state) {
    g_auto(Error) err = {0};
    agent_vm_state_clear(state);
    assert_ok(hypervisor_qemu.state(fixture->session, VM_ID, state, &err), &err);
}

static VmState state_now(Fixture *fixture) {
    g_auto(AgentVmState) state = {0};
    read_state(fixture, &state);
    return state.status.state;
}

/* Reads the console until the text comes. */
static void expect_on_console(int fd, const char *wanted, int timeout_ms) {
    g_autoptr(GString) seen = g_string_new(NULL);
    gint64 deadline = g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;
    while (!strstr(seen->str, wanted)) {
        char bytes[1024];
        GPollFD poll_fd = {.fd = fd, .events = G_IO_IN};
        if (g_get_monotonic_time() > deadline)
            g_error("\"%s\" did not come; this came: %s", wanted, seen->str);
        if (g_poll(&poll_fd, 1, 500) <= 0)
            continue;
        ssize_t n = read(fd, bytes, sizeof bytes);
        g_assert_cmpint(n, >, 0);
        for (ssize_t i = 0; i < n; i++)
            g_string_append_c(seen, bytes[i] ? bytes[i] : ' ');
    }
}

static void expect_in_log(const Fixture *fixture, const char *wanted) {
    g_autofree char *path = g_strdup_printf("%s/" VM_ID ".log", fixture->folder);
    for (int i = 0; i < 100; i++) {
        g_autofree char *text = NULL;
        if (file_read(path, MIB, &text, NULL, NULL) && strstr(text, wanted))
            return;
        g_usleep(200000);
    }
    g_error("\"%s\" is not in %s", wanted, path);
}

static void test_probe(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(HostStatus) status = {0};
    g_auto(Error) err = {0};
    assert_ok(hypervisor_qemu.probe(fixture->session, &status, &err), &err);
    g_assert_true(g_str_has_prefix(status.hypervisor, "QEMU "));
    g_assert_cmpint(status.vcpus_limit, >=, 255);
    g_assert_cmpint(status.cpus, >, 0);
    g_assert_cmpuint(status.memory, >, status.memory_free);
    g_test_message("%s: %s", status.acceleration, status.acceleration_reason);
    g_assert_cmpuint(status.modes.n, ==, 1);
    g_assert_cmpint(status.modes.items[0].mode, ==, VM_MODE_HVM);
    g_assert_true(host_status_has(&status, HOST_STATUS_FIELD_CPU) == g_str_equal(status.acceleration, "kvm"));
}

static void test_life(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(Error) err = {0};
    g_auto(AgentInventory) inventory = {0};
    prepare_sector(fixture);
    g_assert_cmpint(state_now(fixture), ==, VM_STATE_STOPPED);
    start(fixture);
    start(fixture); /* may be repeated */
    expect_in_log(fixture, "bench-boot ok");
    assert_ok(hypervisor_qemu.list(fixture->session, &inventory, &err), &err);
    g_assert_cmpuint(inventory.vms.n, ==, 1);
    const AgentVmState *listed = &inventory.vms.items[0];
    g_assert_cmpstr(listed->id, ==, VM_ID);
    g_assert_cmpstr(listed->name, ==, "test-" VM_ID);
    g_assert_true(listed->managed);
    g_assert_cmpint(listed->status.state, ==, VM_STATE_RUNNING);
    g_assert_nonnull(listed->status.acceleration);
    g_assert_cmpint(listed->status.mode, ==, VM_MODE_HVM);
    g_assert_cmpint(listed->status.started, >, 0);
    assert_ok(hypervisor_qemu.pause(fixture->session, VM_ID, &err), &err);
    g_assert_cmpint(state_now(fixture), ==, VM_STATE_PAUSED);
    assert_ok(hypervisor_qemu.resume(fixture->session, VM_ID, &err), &err);
    assert_ok(hypervisor_qemu.reset(fixture->session, VM_ID, &err), &err);
    g_assert_cmpint(state_now(fixture), ==, VM_STATE_RUNNING);
    g_assert_false(
        hypervisor_qemu.stop(fixture->session, VM_ID, 500, false, NULL, &err)); /* it cannot listen */
    g_assert_cmpint(err.code, ==, ERROR_TIMED_OUT);
    error_clear(&err);
    assert_ok(hypervisor_qemu.stop(fixture->session, VM_ID, 500, true, NULL, &err), &err);
    g_assert_cmpint(state_now(fixture), ==, VM_STATE_STOPPED);
    g_assert_cmpint(g_atomic_int_get(&fixture->n_changes), >=, 4);
    g_autofree char *log = g_strdup_printf("%s/" VM_ID ".log", fixture->folder);
    assert_ok(hypervisor_qemu.forget(fixture->session, VM_ID, &err), &err);
    g_assert_cmpint(access(log, F_OK), !=, 0);
    release(fixture);
}

static void test_console(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(Error) err = {0};
    fd_auto int fd = -1, second = -1;
    prepare_sector(fixture);
    start(fixture);
    assert_ok(hypervisor_qemu.console(fixture->session, VM_ID, &fd, &err), &err);
    g_assert_false(hypervisor_qemu.console(fixture->session, VM_ID, &second, &err));
    g_assert_cmpint(err.code, ==, ERROR_IN_USE);
    error_clear(&err);
    /* Not earlier: a PC that is reset while its firmware copies itself into memory hangs. */
    expect_in_log(fixture, "bench-boot ok");
    assert_ok(hypervisor_qemu.reset(fixture->session, VM_ID, &err), &err);
    expect_on_console(fd, "bench-boot ok", 90000);
    fd_close(&fd);
    for (int i = 0; i < 50 && second < 0; i++) { /* the end of the first frees it */
        error_clear(&err);
        if (!hypervisor_qemu.console(fixture->session, VM_ID, &second, &err))
            g_usleep(100000);
    }
    g_assert_cmpint(second, >=, 0);
    assert_ok(hypervisor_qemu.kill(fixture->session, VM_ID, &err), &err);
    GPollFD poll_fd = {.fd = second, .events = G_IO_IN};
    g_assert_cmpint(g_poll(&poll_fd, 1, 10000), ==, 1); /* the end of the VM ends the console */
    release(fixture);
}

/* kill -9; until it is gone it holds the lock of the file that private-libvirt.sh named. */
static void kill_libvirtd(void) {
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents("/run/libvirt/libvirtd.pid", &text, NULL, NULL));
    pid_t pid = (pid_t)g_ascii_strtoll(text, NULL, 10);
    g_assert_cmpint(pid, >, 1);
    fd_auto int pidfd = pidfd_open(pid, 0);
    g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
    GPollFD poll_fd = {.fd = pidfd, .events = G_IO_IN};
    g_assert_cmpint(g_poll(&poll_fd, 1, 10000), ==, 1);
}

static void start_libvirtd(void) {
    static const char *const argv[] = {"libvirtd", "-d", "-p", "/run/libvirt/libvirtd.pid", NULL};
    g_auto(Error) err = {0};
    assert_ok(process_run(&(ProcessSpec){.argv = argv, .timeout_ms = 20000}, NULL, &err), &err);
}

static void test_restart(Fixture *fixture, const void *data) {
    (void)data;
    prepare_sector(fixture);
    start(fixture);
    kill_libvirtd();
    start_libvirtd();
    gint64 began = g_get_monotonic_time();
    for (;;) {
        g_auto(AgentVmState) state = {0};
        if (hypervisor_qemu.state(fixture->session, VM_ID, &state, NULL) &&
            state.status.state == VM_STATE_RUNNING)
            break;
        g_assert_cmpint(g_get_monotonic_time() - began, <, 5 * G_TIME_SPAN_SECOND);
        g_usleep(100000);
    }
    g_test_message("found again after %d ms", (int)((g_get_monotonic_time() - began) / 1000));
    release(fixture);
}

static void test_networks(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(Error) err = {0};
    g_auto(Network) again = {0};
    assert_ok(hypervisor_qemu.network_open(fixture->session, &fixture->network, &err), &err);
    g_assert_cmpstr(fixture->network.bridge, ==, "test-aaaaaaaa");
    g_assert_cmpstr(fixture->network.subnet, ==, "192.168.100.0/24");
    g_assert_cmpint(fixture->network.status.state, ==, NETWORK_STATE_ACTIVE);
    network_set_id(&again, NETWORK_ID);
    assert_ok(hypervisor_qemu.network_open(fixture->session, &again, &err), &err);
    g_assert_cmpstr(again.bridge, ==, fixture->network.bridge);
    g_assert_cmpstr(again.subnet, ==, fixture->network.subnet);
    network_clear(&again);
    network_set_id(&again, "bbbbbbbb-1111-4222-8333-444455556666");
    network_set_subnet(&again, "192.168.100.0/25");
    g_assert_false(hypervisor_qemu.network_open(fixture->session, &again, &err));
    g_assert_cmpstr(err.field, ==, "/subnet");
    error_clear(&err);
    network_set_kind(&again, NETWORK_KIND_BRIDGE);
    network_set_bridge(&again, "none0");
    g_assert_false(hypervisor_qemu.network_open(fixture->session, &again, &err));
    g_assert_cmpstr(err.field, ==, "/bridge");
}

/* The process that runs our guest; libvirt names it "guest=NAME,…". */
static pid_t qemu_pid(void) {
    static const char mark[] = "guest=test-" VM_ID ",";
    g_autoptr(GDir) processes = g_dir_open("/proc", 0, NULL);
    for (const char *name = g_dir_read_name(processes); name; name = g_dir_read_name(processes)) {
        g_autofree char *path = g_strdup_printf("/proc/%s/cmdline", name), *words = NULL;
        size_t length = 0;
        if (g_ascii_isdigit(*name) && file_read(path, MIB, &words, &length, NULL) &&
            memmem(words, length, mark, strlen(mark)))
            return (pid_t)g_ascii_strtoll(name, NULL, 10);
    }
    g_error("no process runs the guest");
}

static void test_crash(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(Error) err = {0};
    prepare_sector(fixture);
    start(fixture);
    g_assert_cmpint(kill(qemu_pid(), SIGKILL), ==, 0);
    gint64 began = g_get_monotonic_time();
    while (state_now(fixture) != VM_STATE_CRASHED) {
        g_assert_cmpint(g_get_monotonic_time() - began, <, 10 * G_TIME_SPAN_SECOND);
        g_usleep(50000);
    }
    start(fixture);
    g_assert_cmpint(state_now(fixture), ==, VM_STATE_RUNNING);
    assert_ok(hypervisor_qemu.kill(fixture->session, VM_ID, &err), &err);
    g_assert_cmpint(state_now(fixture), ==, VM_STATE_STOPPED);
    release(fixture);
}

static void read_statistics(Fixture *fixture, VmStatistics *statistics) {
    g_auto(Error) err = {0};
    vm_statistics_clear(statistics);
    assert_ok(hypervisor_qemu.statistics(fixture->session, VM_ID, statistics, &err), &err);
}

typedef struct Asking {
    Fixture *fixture;
    VmStatistics statistics;
    gint is_told; /* atomic */
} Asking;

static void *ask_statistics(void *data) {
    Asking *asking = data;
    read_statistics(asking->fixture, &asking->statistics);
    g_atomic_int_set(&asking->is_told, 1);
    return NULL;
}

/* The first question waits for QEMU; later ones tell what is known without it. */
static void test_statistics_of_a_hung_qemu(Fixture *fixture, const void *data) {
    (void)data;
    enum { PATIENCE_US = 3000000 };
    Asking asking = {.fixture = fixture};
    g_auto(VmStatistics) partial = {0};
    prepare_sector(fixture);
    disk_set_id(&fixture->vm.disks.items[0], "dddddddd-1111-4222-8333-444455556666");
    start(fixture);
    pid_t qemu = qemu_pid();
    g_assert_cmpint(kill(qemu, SIGSTOP), ==, 0);
    GThread *first = g_thread_new("first", ask_statistics, &asking);
    g_usleep(1000000);
    g_assert_false(g_atomic_int_get(&asking.is_told));
    for (int i = 0; i < 8; i++) { /* more than libvirtd takes of one connection */
        gint64 began = g_get_monotonic_time();
        read_statistics(fixture, &partial);
        g_assert_cmpint(g_get_monotonic_time() - began, <, PATIENCE_US);
        g_assert_cmpint(state_now(fixture), ==, VM_STATE_RUNNING);
    }
    g_assert_cmpint(partial.cpu_time_ms, >, 0);
    g_assert_cmpuint(partial.disks.n, ==, 1);
    g_assert_false(vm_disk_statistics_has(&partial.disks.items[0], VM_DISK_STATISTICS_FIELD_READ_BYTES));
    g_assert_cmpint(kill(qemu, SIGCONT), ==, 0);
    g_thread_join(first);
    g_assert_true(
        vm_disk_statistics_has(&asking.statistics.disks.items[0], VM_DISK_STATISTICS_FIELD_READ_BYTES));
    vm_statistics_clear(&asking.statistics);
    release(fixture);
}

/* libvirt notes a network last when it makes it and forgets it first when it removes it. */
static void make_libvirtd_forget_the_network(void) {
    kill_libvirtd();
    g_assert_cmpint(unlink("/run/libvirt/network/test-aaaaaaaa.xml"), ==, 0);
    start_libvirtd();
}

static void test_network_remains(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(Error) err = {0};
    assert_ok(hypervisor_qemu.network_open(fixture->session, &fixture->network, &err), &err);
    make_libvirtd_forget_the_network();
    wait_for_libvirt(fixture);
    g_assert_cmpint(access("/sys/class/net/test-aaaaaaaa", F_OK), ==, 0);
    assert_ok(hypervisor_qemu.network_open(fixture->session, &fixture->network, &err), &err);
    g_assert_cmpstr(fixture->network.subnet, ==, "192.168.100.0/24");
    make_libvirtd_forget_the_network();
    wait_for_libvirt(fixture);
    assert_ok(hypervisor_qemu.network_close(fixture->session, &fixture->network, &err), &err);
    g_assert_cmpint(access("/sys/class/net/test-aaaaaaaa", F_OK), !=, 0);
}

/* A bridge that is not ours stays, whatever its name. */
static void test_foreign_bridge(Fixture *fixture, const void *data) {
    (void)data;
    static const char *const add[] = {"ip", "link", "add", "test-aaaaaaaa", "type", "bridge", NULL};
    static const char *const delete[] = {"ip", "link", "delete", "test-aaaaaaaa", NULL};
    g_auto(Error) err = {0};
    assert_ok(process_run(&(ProcessSpec){.argv = add, .timeout_ms = 20000}, NULL, &err), &err);
    g_assert_false(hypervisor_qemu.network_open(fixture->session, &fixture->network, &err));
    error_clear(&err);
    assert_ok(process_run(&(ProcessSpec){.argv = delete, .timeout_ms = 20000}, NULL, &err), &err);
}

static void expect_address(Fixture *fixture) {
    g_auto(VmStatus) said = {0};
    g_auto(Error) err = {0};
    for (int i = 0; i < 90 && !said.addresses.n; i++) {
        g_usleep(1000000);
        vm_status_clear(&said);
        assert_ok(hypervisor_qemu.guest(fixture->session, VM_ID, &said, &err), &err);
    }
    g_assert_cmpuint(said.addresses.n, >, 0);
    g_assert_true(g_str_has_prefix(said.addresses.items[0].address, "192.168.100."));
    g_assert_cmpint(said.addresses.items[0].source, ==, ADDRESS_SOURCE_LEASE);
    g_test_message("address %s", said.addresses.items[0].address);
}

/* A guest that has started and got an address. */
static void expect_statistics(Fixture *fixture) {
    g_auto(VmStatistics) statistics = {0};
    int64_t cpu_time_ms;
    read_statistics(fixture, &statistics);
    cpu_time_ms = statistics.cpu_time_ms;
    g_assert_cmpint(cpu_time_ms, >, 0);
    g_assert_cmpint(statistics.started, >, 0);
    g_assert_cmpint(statistics.vcpus, ==, 1);
    g_assert_cmpuint(statistics.memory, ==, fixture->vm.memory);
    g_assert_cmpuint(statistics.memory_resident, >, 16 * MIB);
    g_assert_cmpuint(statistics.nics.n, ==, 1);
    g_assert_cmpstr(statistics.nics.items[0].id, ==, fixture->vm.nics.items[0].id);
    g_assert_cmpuint(statistics.nics.items[0].received_bytes, >, 0);
    g_assert_cmpint(statistics.nics.items[0].sent_packets, >, 0);
    for (int i = 0; i < 40 && (!statistics.memory_used || statistics.cpu_time_ms <= cpu_time_ms); i++) {
        g_usleep(500000);
        read_statistics(fixture, &statistics);
    }
    g_assert_cmpint(statistics.cpu_time_ms, >, cpu_time_ms);
    g_assert_cmpuint(statistics.memory_used, >, MIB);
    g_assert_cmpuint(statistics.memory_used, <, fixture->vm.memory);
}

static void grow(Fixture *fixture) {
    g_auto(Error) err = {0};
    g_auto(AgentVmChanged) changed = {0};
    g_auto(AgentVmState) state = {0};
    uint64_t memory = fixture->vm.memory + 128 * MIB;
    vm_set_vcpus(&fixture->vm, 2);
    vm_set_memory(&fixture->vm, memory);
    nic_set_connected(&fixture->vm.nics.items[0], false);
    vm_set_firmware(&fixture->vm, FIRMWARE_UEFI);
    assert_ok(hypervisor_qemu.update(fixture->session, &fixture->start, &changed, NULL, &err), &err);
    g_assert_cmpuint(changed.pending.n, ==, 1);
    g_assert_cmpstr(changed.pending.items[0], ==, "/firmware");
    read_state(fixture, &state);
    g_assert_cmpint(state.status.vcpus_online, ==, 2);
    g_assert_cmpuint(state.status.memory_actual, ==, memory);
}

static void test_tiny(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(Error) err = {0};
    fd_auto int fd = -1;
    prepare_tiny(fixture);
    nic_set_id(&fixture->vm.nics.items[0], "eeeeeeee-0000-4222-8333-444455556666");
    vm_set_vcpus_maximum(&fixture->vm, 2);
    vm_set_memory_maximum(&fixture->vm, fixture->vm.memory + 256 * MIB);
    start(fixture);
    assert_ok(hypervisor_qemu.console(fixture->session, VM_ID, &fd, &err), &err);
    expect_on_console(fd, "login:", 120000);
    expect_address(fixture);
    expect_statistics(fixture);
    grow(fixture);
    assert_ok(hypervisor_qemu.stop(fixture->session, VM_ID, 60000, false, NULL, &err), &err);
    g_assert_cmpint(state_now(fixture), ==, VM_STATE_STOPPED);
    g_auto(VmStatistics) statistics = {0};
    g_assert_false(hypervisor_qemu.statistics(fixture->session, VM_ID, &statistics, &err));
    g_assert_cmpint(err.code, ==, ERROR_WRONG_STATE);
    release(fixture);
}

static void update(Fixture *fixture) {
    g_auto(Error) err = {0};
    g_auto(AgentVmChanged) changed = {0};
    assert_ok(hypervisor_qemu.update(fixture->session, &fixture->start, &changed, NULL, &err), &err);
    g_assert_cmpuint(changed.pending.n, ==, 0);
}

static void make_file(const char *path, uint64_t size_bytes) {
    g_auto(Error) err = {0};
    fd_auto int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, (off_t)size_bytes), ==, 0);
    g_assert_true(fd_write_all(fd, "lodge-medium", 12, &err));
}

/* What is plugged: a data disk, a second NIC, a CD drive. */
typedef struct Plugged {
    HypervisorDisk disks[2];
    HypervisorNic nics[2];
    int console, n_questions;
} Plugged;

/* Until the guest's shell finds the condition true. */
static void wait_in_guest(Plugged *plugged, const char *condition) {
    int n = ++plugged->n_questions;
    g_autofree char *line =
        g_strdup_printf("until %s; do sleep 1; done 2>/dev/null; echo true-$((%d+1000))\n", condition, n);
    g_autofree char *wanted = g_strdup_printf("true-%d", n + 1000);
    g_assert_true(write(plugged->console, line, strlen(line)) == (ssize_t)strlen(line));
    expect_on_console(plugged->console, wanted, 60000);
}

static void plug_disk(Fixture *fixture, Plugged *plugged, const char *path) {
    Disk *disk = vm_add_disks(&fixture->vm);
    disk_set_id(disk, "dddddddd-1111-4222-8333-444455556666");
    disk_set_size(disk, 16 * MIB);
    plugged->disks[0] = (HypervisorDisk){.disk = disk, .path = path};
    fixture->start.disks = plugged->disks;
    fixture->start.n_disks = 1;
    update(fixture);
    update(fixture); /* may be repeated */
    wait_in_guest(
        plugged, "[ $(cat /sys/block/vda/size) = 32768 ] && head -c 12 /dev/vda | grep -q lodge-medium");
    disk_set_size(disk, 32 * MIB);
    update(fixture);
    wait_in_guest(plugged, "[ $(cat /sys/block/vda/size) = 65536 ]");
}

/* What the guest writes is counted as written, on the disk that it was written to. */
static void write_in_guest(Fixture *fixture, Plugged *plugged) {
    g_auto(VmStatistics) statistics = {0};
    read_statistics(fixture, &statistics);
    g_assert_cmpuint(statistics.disks.n, ==, 1);
    g_assert_cmpstr(statistics.disks.items[0].id, ==, fixture->vm.disks.items[0].id);
    g_assert_cmpuint(statistics.disks.items[0].read_bytes, >=, 512);
    uint64_t written = statistics.disks.items[0].written_bytes;
    int64_t requests = statistics.disks.items[0].write_requests;
    wait_in_guest(plugged, "dd if=/dev/zero of=/dev/vda bs=1M seek=8 count=4 && sync");
    read_statistics(fixture, &statistics);
    g_assert_cmpuint(statistics.disks.items[0].written_bytes, >=, written + 4 * MIB);
    g_assert_cmpint(statistics.disks.items[0].write_requests, >, requests);
}

static void plug_nic(Fixture *fixture, Plugged *plugged) {
    Nic *second = vm_add_nics(&fixture->vm);
    nic_set_id(second, "eeeeeeee-1111-4222-8333-444455556666");
    nic_set_mac(second, "52:54:00:00:00:02");
    for (size_t i = 0; i < 2; i++)
        plugged->nics[i] = (HypervisorNic){.nic = &fixture->vm.nics.items[i], .network = &fixture->network};
    fixture->start.nics = plugged->nics;
    fixture->start.n_nics = 2;
    update(fixture);
    wait_in_guest(plugged, "grep -q 52:54:00:00:00:02 /sys/class/net/*/address");
}

static void plug_medium(Fixture *fixture, Plugged *plugged, const char *path) {
    Disk *drive = vm_add_disks(&fixture->vm);
    disk_set_id(drive, "cccccccc-1111-4222-8333-444455556666");
    disk_set_kind(drive, DISK_KIND_CD);
    plugged->disks[0].disk = &fixture->vm.disks.items[0]; /* the list has moved */
    disk_set_image(drive, "an-iso");
    plugged->disks[1] = (HypervisorDisk){.disk = drive, .path = path};
    fixture->start.n_disks = 2;
    update(fixture); /* with its controller */
    wait_in_guest(plugged, "head -c 12 /dev/sr0 | grep -q lodge-medium");
    disk_set_image(drive, NULL);
    plugged->disks[1].path = NULL;
    update(fixture);
    wait_in_guest(plugged, "! head -c 12 /dev/sr0 >/dev/null");
    disk_set_image(drive, "an-iso");
    plugged->disks[1].path = path;
    update(fixture);
    wait_in_guest(plugged, "head -c 12 /dev/sr0 | grep -q lodge-medium");
    disk_set_image(drive, NULL);
    plugged->disks[1].path = NULL;
    update(fixture);
}

static void unplug(Fixture *fixture, Plugged *plugged) {
    Disk disk = fixture->vm.disks.items[0];
    Nic nic = fixture->vm.nics.items[1];
    fixture->vm.disks.items[0] = fixture->vm.disks.items[1];
    fixture->vm.disks.n = fixture->vm.nics.n = 1;
    plugged->disks[0] = (HypervisorDisk){.disk = &fixture->vm.disks.items[0]};
    fixture->start.n_disks = fixture->start.n_nics = 1;
    update(fixture);
    wait_in_guest(plugged, "! [ -e /sys/block/vda ] && ! [ -e /sys/class/net/eth1 ]");
    disk_clear(&disk);
    nic_clear(&nic);
}

/* Hot-plug as the guest sees it. */
static void test_hot_plug(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(Error) err = {0};
    Plugged plugged = {.console = -1};
    g_autofree char *disk_path = g_build_filename(fixture->folder, "data.raw", NULL);
    g_autofree char *iso_path = g_build_filename(fixture->folder, "medium.iso", NULL);
    make_file(disk_path, 16 * MIB);
    make_file(iso_path, 2 * MIB);
    prepare_tiny(fixture);
    nic_set_id(&fixture->vm.nics.items[0], "eeeeeeee-0000-4222-8333-444455556666");
    start(fixture);
    assert_ok(hypervisor_qemu.console(fixture->session, VM_ID, &plugged.console, &err), &err);
    expect_on_console(plugged.console, "login:", 120000);
    g_assert_true(write(plugged.console, "root\n", 5) == 5);
    expect_on_console(plugged.console, "# ", 60000);
    plug_disk(fixture, &plugged, disk_path);
    write_in_guest(fixture, &plugged);
    plug_nic(fixture, &plugged);
    plug_medium(fixture, &plugged, iso_path);
    unplug(fixture, &plugged);
    fd_close(&plugged.console);
    release(fixture);
}

/* All that a definition can hold: UEFI, screen, an overlay, an empty CD drive, a seed medium, a cable that is
 * out. */
static void test_full_machine(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(Error) err = {0};
    g_autofree char *base = template_file("bench-boot", "disk");
    g_autofree char *overlay = g_build_filename(fixture->folder, "disk.qcow2", NULL);
    g_autofree char *template = g_build_filename(fixture->folder, "template.raw", NULL);
    struct stat before, after;
    const char *const argv[] = {
        "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "template.raw", overlay, NULL};
    make_file(template, MIB);
    assert_ok(process_run(&(ProcessSpec){.argv = argv, .timeout_ms = 20000}, NULL, &err), &err);
    disk_set_format(vm_add_disks(&fixture->vm), DISK_FORMAT_QCOW2);
    disk_set_kind(vm_add_disks(&fixture->vm), DISK_KIND_CD);
    disk_set_id(&fixture->vm.disks.items[0], "dddddddd-1111-4222-8333-444455556666");
    disk_set_id(&fixture->vm.disks.items[1], "cccccccc-1111-4222-8333-444455556666");
    g_assert_cmpint(chmod(template, 0600), ==, 0);
    g_assert_cmpint(stat(template, &before), ==, 0);
    const HypervisorDisk disks[] = {{.disk = &fixture->vm.disks.items[0],
                                        .path = overlay,
                                        .backing = {{template, DISK_FORMAT_RAW}},
                                        .n_backing = 1},
        {.disk = &fixture->vm.disks.items[1], .path = NULL}};
    fixture->start.disks = disks;
    fixture->start.n_disks = 2;
    fixture->start.seed_path = base;
    Nic *nic = vm_add_nics(&fixture->vm);
    nic_set_mac(nic, "52:54:00:00:00:01");
    nic_set_connected(nic, false);
    fixture->nic = (HypervisorNic){.nic = nic, .network = &fixture->network};
    fixture->start.n_nics = 1;
    vm_set_firmware(&fixture->vm, FIRMWARE_UEFI);
    vm_set_memory(&fixture->vm, 128 * MIB);
    vm_set_memory_maximum(&fixture->vm, 512 * MIB);
    console_set_graphics(vm_put_console(&fixture->vm), GRAPHICS_VNC);
    start(fixture);
    g_assert_cmpint(state_now(fixture), ==, VM_STATE_RUNNING);

    g_auto(AgentVmChanged) changed = {0};
    HypervisorDisk inserted[] = {disks[0], {.disk = disks[1].disk, .path = base}};
    fixture->start.disks = inserted;
    disk_set_image(&fixture->vm.disks.items[1], "an-iso");
    assert_ok(hypervisor_qemu.update(fixture->session, &fixture->start, &changed, NULL, &err), &err);
    g_assert_cmpuint(changed.pending.n, ==, 0);
    g_assert_cmpint(stat(template, &after), ==, 0);
    g_assert_cmpint(after.st_uid, ==, before.st_uid); /* not given to QEMU's user */
    assert_ok(hypervisor_qemu.kill(fixture->session, VM_ID, &err), &err);
    g_assert_cmpint(stat(template, &after), ==, 0);
    g_assert_cmpint(after.st_uid, ==, before.st_uid);
}

/* A domain that someone else made keeps its peace, even where its id is asked for. */
static void test_unmanaged(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(Error) err = {0};
    g_auto(AgentInventory) inventory = {0};
    g_autofree char *path = g_build_filename(fixture->folder, "other.xml", NULL);
    const char *const create[] = {"virsh", "-q", "create", path, NULL};
    const char *const destroy[] = {"virsh", "-q", "destroy", "other", NULL};
    static const char xml[] =
        "<domain type='qemu'><name>other</name><uuid>" VM_ID "</uuid>"
        "<memory unit='MiB'>32</memory><os><type arch='x86_64' machine='q35'>hvm</type></os>"
        "</domain>";
    g_assert_true(g_file_set_contents(path, xml, -1, NULL));
    assert_ok(process_run(&(ProcessSpec){.argv = create, .timeout_ms = 20000}, NULL, &err), &err);
    assert_ok(hypervisor_qemu.list(fixture->session, &inventory, &err), &err);
    g_assert_cmpuint(inventory.vms.n, ==, 1);
    g_assert_false(inventory.vms.items[0].managed);
    g_assert_true(inventory.vms.items[0].status.unmanaged);
    g_assert_false(hypervisor_qemu.kill(fixture->session, VM_ID, &err));
    g_assert_cmpint(err.code, ==, ERROR_IN_USE);
    error_clear(&err);
    g_assert_false(hypervisor_qemu.start(fixture->session, &fixture->start, NULL, &err));
    g_assert_cmpint(err.code, ==, ERROR_IN_USE);
    error_clear(&err);
    assert_ok(process_run(&(ProcessSpec){.argv = destroy, .timeout_ms = 20000}, NULL, &err), &err);
}

#define ADD(name, test) g_test_add("/qemu/" name, Fixture, NULL, set_up, test, tear_down)

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN); /* as the agent does: libvirtd is killed below connections that it watches */
    if (argc == 2 && !strcmp(argv[1], "--prepare"))
        return test_templates_build(g_getenv("LODGE_PRIVATE_FOLDER")) ? 0 : 1;
    g_test_init(&argc, &argv, NULL);
    ADD("probe-tells-what-the-host-is", test_probe);
    g_test_add_func("/qemu/the-processor-is-told", test_processor_is_told);
    g_test_add_func("/qemu/a-common-processor-is-given", test_common_processor_is_given);
    ADD("starts-once-and-ends", test_life);
    ADD("console-is-exclusive-and-ends-with-the-vm", test_console);
    ADD("found-again-after-libvirtd-was-killed", test_restart);
    ADD("a-crash-of-qemu-is-shown-as-crash", test_crash);
    ADD("statistics-of-a-hung-qemu-hold-no-others", test_statistics_of_a_hung_qemu);
    ADD("networks-are-made-once-and-checked", test_networks);
    ADD("networks-that-libvirt-has-lost-are-made-anew", test_network_remains);
    ADD("a-bridge-of-others-stays", test_foreign_bridge);
    ADD("a-machine-with-everything-starts", test_full_machine);
    ADD("devices-come-and-go-in-a-running-guest", test_hot_plug);
    ADD("vms-of-others-are-not-touched", test_unmanaged);
    ADD("tiny-boots-grows-and-stops-when-asked", test_tiny);
    return g_test_run();
}
