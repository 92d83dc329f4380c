/*
 * The driver "fake": VMs that are only files. STATE_FOLDER/fake/ID.json is a running VM (its definition and
 * state), so that VMs outlive the agent as real ones do; no file, no VM. A start makes the file by link(2),
 * which fails when it exists: one id never runs twice.
 *
 * Delays and faults: LODGE_FAKE_DELAY_MS=20 and LODGE_FAKE_FAIL=start:0.1,stop:1 in the environment, or the
 * same as lines "delay_ms=20" and "fail=start:0.1,stop:1" of STATE_FOLDER/fake/control, which is read before
 * every call and wins. A fault comes before anything was changed ("start") or after it ("start-late": done,
 * but reported as lost). LODGE_FAKE_BOOT=ID, or the line "boot=ID", is the host's boot id. "stuck=1"
 * makes guests that let go of no disk and no NIC, "full=1" machines without place for another, "deaf=1"
 * guests that do not stop when they are asked to; "modes=pvh,pv" is a host that offers these VM modes only,
 * in this order; "no_bridge=br0,br1" is a host without these bridges, "cpu=Intel:Skylake:aes,avx2" one
 * whose guests get that processor ("-hle": its model stands for it, and it is not there); "hang=statistics"
 * makes calls of that name hang while the line stands. A file ID.crashed instead of ID.json is a VM that has
 * crashed (crash-mark.h), foreign/ID.json one of another tool (fake-foreign.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"
#include "model/abilities.h"
#include "hypervisor/adopted.h"
#include "hypervisor/host-facts.h"
#include "hypervisor/crash-mark.h"
#include "hypervisor/device-change.h"
#include "hypervisor/fake-private.h"
#include "hypervisor/restart.h"
#include "hypervisor/vm-files.h"
#include "model/vm-mode.h"

enum { VM_FILE_LIMIT = 4 * 1024 * 1024, CONTROL_LIMIT = 4096, SLICE_MS = 20, FAKE_VCPUS_LIMIT = 288 };

static HypervisorSession *fake_open(const HypervisorOptions *options, Error *err) {
    g_autofree char *folder = g_build_filename(options->state_folder, "fake", NULL);
    if (!folder_make(folder, 0700, err))
        return NULL;
    HypervisorSession *session = g_new0(HypervisorSession, 1);
    session->folder = g_steal_pointer(&folder);
    session->instance = g_strdup(options->instance);
    session->on_change = options->on_change;
    session->on_change_data = options->on_change_data;
    g_mutex_init(&session->lock);
    session->leading = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    fake_migrations_sweep(session);
    return session;
}

static void fake_close(HypervisorSession *session) {
    if (!session)
        return;
    g_hash_table_unref(session->leading);
    g_mutex_clear(&session->lock);
    g_free(session->folder);
    g_free(session->instance);
    g_free(session);
}

void fake_notify(const HypervisorSession *session, const char *vm_id) {
    if (session->on_change)
        session->on_change(vm_id, session->on_change_data);
}

/* A setting from the control file, else from the environment; newly allocated, or NULL. */
static char *setting(const HypervisorSession *session, const char *key, const char *variable) {
    g_autofree char *path = g_build_filename(session->folder, "control", NULL);
    g_autofree char *text = NULL;
    g_autofree char *start = g_strdup_printf("%s=", key);
    if (file_read(path, CONTROL_LIMIT, &text, NULL, NULL)) {
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        for (char **line = lines; *line; line++)
            if (g_str_has_prefix(*line, start))
                return g_strdup(*line + strlen(start));
    }
    return g_strdup(g_getenv(variable));
}

static bool is_struck(const HypervisorSession *session, const char *call) {
    g_autofree char *text = setting(session, "fail", "LODGE_FAKE_FAIL");
    g_auto(GStrv) rules = g_strsplit(text ? text : "", ",", -1);
    for (char **rule = rules; *rule; rule++) {
        char *colon = strchr(*rule, ':');
        if (!colon)
            continue;
        *colon = '\0';
        if (!strcmp(g_strstrip(*rule), call) && g_random_double() < g_ascii_strtod(colon + 1, NULL))
            return true;
    }
    return false;
}

static bool is_hung(const HypervisorSession *session, const char *call) {
    g_autofree char *hung = setting(session, "hang", "LODGE_FAKE_HANG");
    return g_strcmp0(hung, call) == 0;
}

/* The delay and the fault that are set for this call. */
bool fake_suffer(const HypervisorSession *session, const char *call, const Cancel *cancel, Error *err) {
    g_autofree char *text = setting(session, "delay_ms", "LODGE_FAKE_DELAY_MS");
    int64_t left_ms = text ? g_ascii_strtoll(text, NULL, 10) : 0;
    while (is_hung(session, call))
        g_usleep(SLICE_MS * 1000);
    for (; left_ms > 0; left_ms -= SLICE_MS) {
        if (!cancel_check(cancel, err))
            return false;
        g_usleep((gulong)MIN(left_ms, SLICE_MS) * 1000);
    }
    if (is_struck(session, call))
        return error_set(err, ERROR_HYPERVISOR, NULL, "the fake hypervisor was told to fail: %s", call);
    return true;
}

bool fake_suffer_late(const HypervisorSession *session, const char *call, Error *err) {
    g_autofree char *late = g_strdup_printf("%s-late", call);
    if (is_struck(session, late))
        return error_set(err, ERROR_LOST, NULL, "the fake hypervisor was told to fail: %s", late);
    return true;
}

static char *vm_path(const HypervisorSession *session, const char *vm_id) {
    return g_strdup_printf("%s/%s.json", session->folder, vm_id);
}

/* A running VM: its definition with `status`. False without an error when it does not run. */
bool fake_load(const HypervisorSession *session, const char *vm_id, Vm *ret_vm) {
    g_autofree char *path = vm_path(session, vm_id);
    g_autofree char *text = NULL;
    size_t length = 0;
    if (!file_read(path, VM_FILE_LIMIT, &text, &length, NULL))
        return false;
    g_autoptr(json_t) json = json_parse(text, length, NULL);
    return json && vm_decode(json, MODEL_STORED, ret_vm, NULL);
}

/* Written beside and then moved or linked into place; killed in between, only a hidden file remains. */
bool fake_store(const HypervisorSession *session, const Vm *vm, bool is_new, Error *err) {
    g_autofree char *path = vm_path(session, vm->id);
    g_autofree char *temporary = g_strdup_printf("%s/.%s.%08x", session->folder, vm->id, g_random_int());
    g_autoptr(json_t) json = vm_encode(vm, MODEL_ENCODE_ALL);
    g_autofree char *text = json_to_text(json);
    fd_auto int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, errno, "%s", temporary);
    bool is_stored = fd_write_all(fd, text, strlen(text), err);
    if (is_stored && (is_new ? link(temporary, path) : rename(temporary, path)) < 0)
        is_stored = errno == EEXIST
                        ? error_set(err, ERROR_IN_USE, NULL, "the VM runs already: it would have run twice")
                        : error_set_errno(err, errno, "%s", path);
    unlink(temporary);
    return is_stored;
}

static void report_modes(const HypervisorSession *session, HostStatus *status) {
    g_autofree char *text = setting(session, "modes", "LODGE_FAKE_MODES");
    g_auto(GStrv) names = g_strsplit(text ? text : "", ",", -1);
    if (!text)
        abilities_report("fake", status);
    for (char **name = names; *name; name++) {
        const HostMode *mode = abilities_find("fake", (VmMode)model_enum_value(&vm_mode_enum, *name));
        if (mode)
            host_mode_copy(host_status_add_modes(status), mode);
    }
}

/* "cpu=VENDOR:MODEL:FEATURE,…" */
static bool report_cpu(const HypervisorSession *session, HostStatus *status) {
    g_autofree char *text = setting(session, "cpu", "LODGE_FAKE_CPU");
    g_auto(GStrv) parts = g_strsplit(text ? text : "", ":", 3);
    if (g_strv_length(parts) != 3)
        return false;
    HostCpu *cpu = host_status_put_cpu(status);
    g_auto(GStrv) names = g_strsplit(parts[2], ",", -1);
    host_cpu_set_vendor(cpu, parts[0]);
    host_cpu_set_model(cpu, parts[1]);
    for (char **name = names; *name; name++)
        if (**name == '-')
            host_cpu_add_absent_names(cpu, *name + 1);
        else
            host_cpu_add_feature_names(cpu, *name);
    host_cpu_set_features(cpu, (int64_t)cpu->feature_names.n);
    host_status_set_acceleration(status, "kvm");
    return true;
}

static void add_unmanaged(const ForeignVm *vm, bool runs, void *status) {
    (void)runs;
    host_status_add_unmanaged(status, vm->name);
}

static bool fake_probe(HypervisorSession *session, HostStatus *status, Error *err) {
    if (!fake_suffer(session, "probe", NULL, err))
        return false;
    g_autofree char *boot = setting(session, "boot", "LODGE_FAKE_BOOT");
    host_facts_read(status);
    if (boot)
        host_status_set_boot_id(status, boot);
    host_status_set_hypervisor(status, "fake");
    host_status_set_acceleration(status, "emulation");
    host_status_set_acceleration_reason(status, "the fake hypervisor runs nothing");
    host_status_set_vcpus_limit(status, FAKE_VCPUS_LIMIT);
    report_cpu(session, status);
    report_modes(session, status);
    g_auto(AgentInventory) inventory = {0};
    if (!hypervisor_fake.list(session, &inventory, err))
        return false;
    int64_t n_running = 0;
    for (size_t i = 0; i < inventory.vms.n; i++)
        n_running += inventory.vms.items[i].status.state != VM_STATE_CRASHED &&
                     inventory.vms.items[i].status.state != VM_STATE_STOPPED;
    fake_foreign_each(session, add_unmanaged, status);
    host_status_set_vms_running(status, n_running);
    return true;
}

static void fill_state(const HypervisorSession *session, const Vm *vm, AgentVmState *state) {
    g_autofree char *name = g_strdup_printf("%s-%s", session->instance, vm->id);
    agent_vm_state_set_id(state, vm->id);
    agent_vm_state_set_name(state, name);
    agent_vm_state_set_managed(state, true);
    vm_status_copy(agent_vm_state_put_status(state), &vm->status);
}

static void add_foreign_state(const ForeignVm *vm, bool runs, void *data) {
    AgentVmState *state = agent_inventory_add_vms(data);
    agent_vm_state_set_id(state, vm->id);
    agent_vm_state_set_name(state, vm->name);
    agent_vm_state_set_managed(state, false);
    vm_status_set_state(agent_vm_state_put_status(state), runs ? VM_STATE_RUNNING : VM_STATE_STOPPED);
    vm_status_set_unmanaged(&state->status, true);
}

static bool fake_list(HypervisorSession *session, AgentInventory *inventory, Error *err) {
    GDir *folder = g_dir_open(session->folder, 0, NULL);
    if (!folder)
        return error_set(err, ERROR_UNREACHABLE, NULL, "%s cannot be read", session->folder);
    for (const char *name = g_dir_read_name(folder); name; name = g_dir_read_name(folder)) {
        g_auto(Vm) vm = {0};
        if (*name == '.' || !g_str_has_suffix(name, ".json"))
            continue;
        g_autofree char *id = g_strndup(name, strlen(name) - strlen(".json"));
        if (fake_load(session, id, &vm))
            fill_state(session, &vm, agent_inventory_add_vms(inventory));
    }
    g_dir_close(folder);
    crash_marks_list(session->folder, inventory);
    fake_foreign_each(session, add_foreign_state, inventory);
    return true;
}

static bool fake_state(HypervisorSession *session, const char *vm_id, AgentVmState *ret_state, Error *err) {
    g_auto(Vm) vm = {0};
    if (!fake_suffer(session, "state", NULL, err))
        return false;
    if (fake_load(session, vm_id, &vm)) {
        fill_state(session, &vm, ret_state);
        return true;
    }
    if (crash_mark_read(session->folder, vm_id, ret_state))
        return true;
    agent_vm_state_set_id(ret_state, vm_id);
    agent_vm_state_set_managed(ret_state, true);
    vm_status_set_state(agent_vm_state_put_status(ret_state), VM_STATE_STOPPED);
    return true;
}

/* A guest that is never idle: everything grows with its time. */
enum { CPU_SHARE = 10, BYTES_PER_MS = 512, REQUEST_BYTES = 4096, PACKET_BYTES = 256 };

static void count_disk(const Disk *disk, int64_t age_ms, VmDiskStatistics *row) {
    uint64_t bytes = (uint64_t)age_ms * BYTES_PER_MS;
    vm_disk_statistics_set_id(row, disk->id);
    vm_disk_statistics_set_name(row, disk->name);
    vm_disk_statistics_set_read_bytes(row, bytes * 2);
    vm_disk_statistics_set_read_requests(row, (int64_t)(bytes * 2 / REQUEST_BYTES));
    vm_disk_statistics_set_written_bytes(row, bytes);
    vm_disk_statistics_set_write_requests(row, (int64_t)(bytes / REQUEST_BYTES));
}

static void count_nic(const Nic *nic, int64_t age_ms, VmNicStatistics *row) {
    uint64_t bytes = (uint64_t)age_ms * BYTES_PER_MS;
    vm_nic_statistics_set_id(row, nic->id);
    vm_nic_statistics_set_name(row, nic->name);
    vm_nic_statistics_set_received_bytes(row, bytes * 2);
    vm_nic_statistics_set_received_packets(row, (int64_t)(bytes * 2 / PACKET_BYTES));
    vm_nic_statistics_set_received_errors(row, 0);
    vm_nic_statistics_set_received_dropped(row, 0);
    vm_nic_statistics_set_sent_bytes(row, bytes);
    vm_nic_statistics_set_sent_packets(row, (int64_t)(bytes / PACKET_BYTES));
    vm_nic_statistics_set_sent_errors(row, 0);
    vm_nic_statistics_set_sent_dropped(row, 0);
}

static bool fake_statistics(
    HypervisorSession *session, const char *vm_id, VmStatistics *statistics, Error *err) {
    g_auto(Vm) vm = {0};
    if (!fake_suffer(session, "statistics", NULL, err))
        return false;
    if (!fake_load(session, vm_id, &vm))
        return error_set(err, ERROR_WRONG_STATE, NULL, "the VM does not run");
    int64_t age_ms = MAX(clock_realtime_ns(clock_system()) - vm.status.started, 0) / NS_PER_MS;
    vm_statistics_set_id(statistics, vm_id);
    vm_statistics_set_started(statistics, vm.status.started);
    vm_statistics_set_cpu_time_ms(statistics, age_ms * vm.status.vcpus_online / CPU_SHARE);
    vm_statistics_set_vcpus(statistics, vm.status.vcpus_online);
    vm_statistics_set_memory(statistics, vm.status.memory_actual);
    vm_statistics_set_memory_used(statistics, vm.status.memory_actual / 2);
    for (size_t i = 0; i < vm.disks.n; i++)
        if (!vm.disks.items[i].detached)
            count_disk(&vm.disks.items[i], age_ms, vm_statistics_add_disks(statistics));
    for (size_t i = 0; i < vm.nics.n; i++)
        count_nic(&vm.nics.items[i], age_ms, vm_statistics_add_nics(statistics));
    return true;
}

/* An address that follows from the MAC, from the block for benchmarks (RFC 2544), which no real network
 * routes. */
static void add_address(VmStatus *status, const Nic *nic) {
    guint hash = g_str_hash(nic->mac ? nic->mac : "");
    g_autofree char *text = g_strdup_printf("198.18.%u.%u", hash >> 8 & 255, hash & 255);
    Address *address = vm_status_add_addresses(status);
    address_set_address(address, text);
    address_set_source(address, ADDRESS_SOURCE_LEASE);
    if (nic->mac)
        address_set_mac(address, nic->mac);
}

static void fill_running(Vm *running, const HypervisorVm *vm, VmMode mode, bool has_cpu) {
    vm_copy(running, vm->vm);
    VmStatus *status = vm_put_status(running);
    vm_status_clear(status);
    vm_status_set_state(status, VM_STATE_RUNNING);
    vm_status_set_vcpus_online(status, vm->vm->vcpus);
    vm_status_set_memory_actual(status, vm->vm->memory);
    vm_status_set_started(status, clock_realtime_ns(clock_system()));
    vm_status_set_acceleration(status, has_cpu ? "kvm" : "emulation");
    if (has_cpu && vm->cpu)
        vm_status_set_cpu_level(status, vm->cpu->id);
    vm_status_set_mode(status, mode);
    for (size_t i = 0; i < vm->vm->nics.n; i++)
        add_address(status, &vm->vm->nics.items[i]);
}

/* "no_bridge=br0,br1" is a host without these. */
static bool check_bridge(const HypervisorSession *session, const Network *network, Error *err) {
    g_autofree char *text = setting(session, "no_bridge", "LODGE_FAKE_NO_BRIDGE");
    g_auto(GStrv) missing = g_strsplit(text ? text : "", ",", -1);
    bool is_missing = network->kind == NETWORK_KIND_BRIDGE && network->bridge &&
                      g_strv_contains((const char *const *)missing, network->bridge);
    return !is_missing ||
           error_set(err, ERROR_NOT_FOUND, "/bridge", "the bridge %s does not exist", network->bridge);
}

static bool check_bridges(const HypervisorSession *session, const HypervisorVm *vm, Error *err) {
    for (size_t i = 0; i < vm->n_nics; i++)
        if (vm->nics[i].network && !check_bridge(session, vm->nics[i].network, err))
            return false;
    return true;
}

static bool fake_start(HypervisorSession *session, const HypervisorVm *vm, const Cancel *cancel, Error *err) {
    g_auto(Vm) running = {0};
    g_auto(HostStatus) host = {0};
    VmMode mode = VM_MODE_AUTO;
    if (vm->vm->vcpus > FAKE_VCPUS_LIMIT)
        return error_set(err, ERROR_UNSUPPORTED, "/vcpus", "this host can give %d to a VM", FAKE_VCPUS_LIMIT);
    if (fake_load(session, vm->vm->id, &running))
        return true;
    if (fake_foreign_has(session, vm->vm->id))
        return error_set(err, ERROR_IN_USE, NULL, "another tool has a VM with this id");
    report_modes(session, &host);
    if (!vm_mode_choose(vm->vm, &host, vm->kernel_path != NULL, &mode, err) ||
        !check_bridges(session, vm, err) || !fake_suffer(session, "start", cancel, err))
        return false;
    fill_running(&running, vm, mode, report_cpu(session, &host));
    fake_migration_forget(session, vm->vm->id);
    if (!fake_store(session, &running, true, err))
        return false;
    fake_notify(session, vm->vm->id);
    return fake_suffer_late(session, "start", err);
}

static bool end_vm(
    HypervisorSession *session, const char *vm_id, const char *call, const Cancel *cancel, Error *err) {
    g_autofree char *path = vm_path(session, vm_id);
    if (!fake_suffer(session, call, cancel, err))
        return false;
    crash_mark_clear(session->folder, vm_id);
    if (unlink(path) == 0)
        fake_notify(session, vm_id);
    else if (errno != ENOENT)
        return error_set_errno(err, errno, "%s", path);
    return fake_suffer_late(session, call, err);
}

static bool fake_stop(HypervisorSession *session, const char *vm_id, int64_t timeout_ms, bool force,
    const Cancel *cancel, Error *err) {
    g_auto(Vm) vm = {0};
    if (!force && fake_load(session, vm_id, &vm) && vm.status.state == VM_STATE_PAUSED)
        return error_set(err, ERROR_WRONG_STATE, NULL, "a paused VM cannot stop by itself; resume it first");
    g_autofree char *deaf = setting(session, "deaf", "LODGE_FAKE_DEAF");
    for (int64_t left_ms = deaf ? timeout_ms : 0; left_ms > 0; left_ms -= SLICE_MS) {
        if (!cancel_check(cancel, err))
            return false;
        g_usleep((gulong)MIN(left_ms, SLICE_MS) * 1000);
    }
    if (deaf && !force)
        return error_set(err, ERROR_TIMED_OUT, NULL,
            "the guest has not stopped within %" G_GINT64_FORMAT " s", timeout_ms / 1000);
    return end_vm(session, vm_id, "stop", cancel, err);
}

static bool fake_kill(HypervisorSession *session, const char *vm_id, Error *err) {
    return end_vm(session, vm_id, "kill", NULL, err);
}

/* Sets a running VM's state. */
static bool set_state(
    HypervisorSession *session, const char *vm_id, const char *call, VmState state, Error *err) {
    g_auto(Vm) vm = {0};
    if (!fake_suffer(session, call, NULL, err))
        return false;
    if (!fake_load(session, vm_id, &vm))
        return error_set(err, ERROR_WRONG_STATE, NULL, "the VM does not run");
    vm_status_set_state(&vm.status, state);
    if (!fake_store(session, &vm, false, err))
        return false;
    fake_notify(session, vm_id);
    return fake_suffer_late(session, call, err);
}

static bool fake_reset(HypervisorSession *session, const char *vm_id, Error *err) {
    return set_state(session, vm_id, "reset", VM_STATE_RUNNING, err);
}

static bool fake_pause(HypervisorSession *session, const char *vm_id, Error *err) {
    return set_state(session, vm_id, "pause", VM_STATE_PAUSED, err);
}

static bool fake_quiesce(HypervisorSession *session, const char *vm_id, const Cancel *cancel, Error *err) {
    (void)cancel;
    return set_state(session, vm_id, "quiesce", VM_STATE_PAUSED, err);
}

static bool fake_resume(HypervisorSession *session, const char *vm_id, Error *err) {
    return set_state(session, vm_id, "resume", VM_STATE_RUNNING, err);
}

/* ---- memory in files: the file is the running VM's own, and complete once it ends with a mark ---- */

static const char memory_end[] = "\nwhole\n";

static bool is_whole(const char *path) {
    g_autofree char *text = NULL;
    return file_read(path, VM_FILE_LIMIT, &text, NULL, NULL) && g_str_has_suffix(text, memory_end);
}

static bool fake_save(HypervisorSession *session, const char *vm_id, const char *path,
    const ImageProgress *progress, const Cancel *cancel, Error *err) {
    g_auto(Vm) vm = {0};
    if (!fake_load(session, vm_id, &vm))
        return error_set(err, ERROR_WRONG_STATE, NULL, "the VM does not run");
    if (vm.status.adopted)
        return adopted_refuse("cannot save it", err);
    g_autoptr(json_t) json = vm_encode(&vm, MODEL_ENCODE_ALL);
    g_autofree char *text = json_to_text(json);
    if (!file_replace(path, text, strlen(text), 0600, err)) /* half of it, as it is while this takes long */
        return false;
    progress_report(progress, 50, "Writing the memory");
    if (!fake_suffer(session, "save", cancel, err))
        return false;
    g_autofree char *whole = g_strconcat(text, memory_end, NULL);
    return file_replace(path, whole, strlen(whole), 0600, err) &&
           end_vm(session, vm_id, "save-end", NULL, err) && fake_suffer_late(session, "save", err);
}

static bool fake_save_settle(HypervisorSession *session, const char *vm_id, const char *path,
    bool *ret_is_saved, const Cancel *cancel, Error *err) {
    g_auto(Vm) vm = {0};
    if (!fake_suffer(session, "settle", cancel, err))
        return false;
    *ret_is_saved = !fake_load(session, vm_id, &vm) && is_whole(path);
    return true;
}

static bool fake_restore(
    HypervisorSession *session, const HypervisorVm *vm, const char *path, const Cancel *cancel, Error *err) {
    g_autofree char *text = NULL;
    g_auto(Vm) saved = {0};
    if (!fake_suffer(session, "restore", cancel, err) || !file_read(path, VM_FILE_LIMIT, &text, NULL, err))
        return false;
    g_autoptr(json_t) json =
        g_str_has_suffix(text, memory_end) ? json_parse(text, strlen(text) - strlen(memory_end), NULL) : NULL;
    if (!json || !vm_decode(json, MODEL_STORED, &saved, NULL) || g_strcmp0(saved.id, vm->vm->id) != 0)
        return error_set(err, ERROR_CORRUPT, NULL, "%s holds no memory of this VM", path);
    vm_status_set_state(&saved.status, VM_STATE_PAUSED);
    if (!fake_store(session, &saved, true, err))
        return false;
    fake_notify(session, saved.id);
    return fake_suffer_late(session, "restore", err);
}

static bool fake_forget(HypervisorSession *session, const char *vm_id, Error *err) {
    return vm_files_remove(session->folder, vm_id, err);
}

static int64_t vcpus_limit_of(const Vm *vm) {
    return vm_has(vm, VM_FIELD_VCPUS_MAXIMUM) ? MAX(vm->vcpus, vm->vcpus_maximum) : vm->vcpus;
}

static uint64_t memory_limit_of(const Vm *vm) {
    return vm_has(vm, VM_FIELD_MEMORY_MAXIMUM) ? MAX(vm->memory, vm->memory_maximum) : vm->memory;
}

/* Takes over what a real hypervisor could change at once. */
static void change_running(Vm *running, const Vm *wanted, AgentVmChanged *changed) {
    restart_pending(running, wanted, changed);
    if (wanted->vcpus < running->vcpus || wanted->vcpus > vcpus_limit_of(running))
        agent_vm_changed_add_pending(changed, "/vcpus");
    else
        vm_set_vcpus(running, wanted->vcpus);
    if (wanted->memory < running->memory || wanted->memory > memory_limit_of(running))
        agent_vm_changed_add_pending(changed, "/memory");
    else
        vm_set_memory(running, wanted->memory);
    vm_status_set_vcpus_online(&running->status, running->vcpus);
    vm_status_set_memory_actual(&running->status, running->memory);
}

static void wait_for_restart(AgentVmChanged *changed, const char *pointer) {
    for (size_t i = 0; i < changed->pending.n; i++)
        if (!strcmp(changed->pending.items[i], pointer))
            return;
    agent_vm_changed_add_pending(changed, pointer);
}

/* "stuck=1" is a guest that lets go of nothing. */
static bool check_guest_lets_go(const HypervisorSession *session, Error *err) {
    g_autofree char *stuck = setting(session, "stuck", "LODGE_FAKE_STUCK");
    return !stuck || error_set(err, ERROR_TIMED_OUT, NULL, "the guest does not let go of the device");
}

/* "full=1" is a machine that has no place for another device. */
static bool check_place(const HypervisorSession *session, Error *err) {
    g_autofree char *full = setting(session, "full", "LODGE_FAKE_FULL");
    return !full || error_set(err, ERROR_NO_CAPACITY, NULL, "there is no place for another device");
}

static bool has_cd_drive(const Vm *running) {
    const HostMode *mode = abilities_find("fake", running->status.mode);
    return !mode || mode->cd_change;
}

static bool change_disks(
    const HypervisorSession *session, Vm *running, const Vm *wanted, AgentVmChanged *changed, Error *err) {
    g_autoptr(GArray) changes = disk_changes(running, wanted);
    /* backwards: indexes of the running VM stay valid while disks go */
    for (guint i = changes->len; i-- > 0;) {
        const DeviceChange *change = &g_array_index(changes, DeviceChange, i);
        const Disk *disk = change->kind == DEVICE_DETACH ? NULL : &wanted->disks.items[change->wanted];
        if (change->kind == DEVICE_RESTART || (change->kind == DEVICE_MEDIUM && !has_cd_drive(running)) ||
            (change->kind == DEVICE_ATTACH && !disk_can_come(running, disk))) {
            wait_for_restart(changed, "/disks");
        } else if (change->kind == DEVICE_ATTACH) {
            if (!check_place(session, err))
                return false;
            disk_copy(vm_add_disks(running), disk);
        } else if (change->kind == DEVICE_DETACH) {
            if (!disk_check_detach(running, &running->disks.items[change->running], err) ||
                !check_guest_lets_go(session, err))
                return false;
            vm_remove_disk(running, change->running);
        } else {
            disk_clear(&running->disks.items[change->running]);
            disk_copy(&running->disks.items[change->running], disk);
        }
    }
    return true;
}

static bool change_nics(
    const HypervisorSession *session, Vm *running, const Vm *wanted, AgentVmChanged *changed, Error *err) {
    g_autoptr(GArray) changes = nic_changes(running, wanted);
    for (guint i = changes->len; i-- > 0;) {
        const DeviceChange *change = &g_array_index(changes, DeviceChange, i);
        if (change->kind == DEVICE_RESTART) {
            wait_for_restart(changed, "/nics");
        } else if (change->kind == DEVICE_ATTACH) {
            if (!check_place(session, err))
                return false;
            nic_copy(vm_add_nics(running), &wanted->nics.items[change->wanted]);
        } else if (change->kind == DEVICE_DETACH) {
            if (!check_guest_lets_go(session, err))
                return false;
            vm_remove_nic(running, change->running);
        } else {
            nic_clear(&running->nics.items[change->running]);
            nic_copy(&running->nics.items[change->running], &wanted->nics.items[change->wanted]);
        }
    }
    return true;
}

static void show_pending(Vm *running, const AgentVmChanged *changed) {
    g_autoptr(json_t) status = vm_status_encode(&running->status, MODEL_ENCODE_ALL);
    json_object_del(status, "pending");
    vm_status_clear(&running->status);
    vm_status_decode(status, MODEL_STORED, &running->status, NULL);
    for (size_t i = 0; i < changed->pending.n; i++)
        vm_status_add_pending(&running->status, changed->pending.items[i]);
}

static bool fake_update(HypervisorSession *session, const HypervisorVm *vm, AgentVmChanged *ret_pending,
    const Cancel *cancel, Error *err) {
    g_auto(Vm) running = {0};
    if (!fake_suffer(session, "update", cancel, err))
        return false;
    if (!fake_load(session, vm->vm->id, &running))
        return true;
    if (running.status.adopted)
        return adopted_update(&running, vm->vm, ret_pending, err);
    if (!change_disks(session, &running, vm->vm, ret_pending, err) ||
        !change_nics(session, &running, vm->vm, ret_pending, err))
        return false;
    change_running(&running, vm->vm, ret_pending);
    show_pending(&running, ret_pending);
    if (!fake_store(session, &running, false, err))
        return false;
    fake_notify(session, vm->vm->id);
    return fake_suffer_late(session, "update", err);
}

/* Says hello and repeats what it is told, until the other end closes. */
static void *run_console(void *data) {
    static const char hello[] = "fake console\r\n";
    fd_auto int fd = GPOINTER_TO_INT(data);
    char bytes[512];
    ssize_t n = (ssize_t)sizeof hello - 1;
    memcpy(bytes, hello, sizeof hello - 1);
    while (n > 0 && send(fd, bytes, (size_t)n, MSG_NOSIGNAL) == n)
        n = read(fd, bytes, sizeof bytes);
    return NULL;
}

static bool fake_console(HypervisorSession *session, const char *vm_id, int *ret_fd, Error *err) {
    g_auto(Vm) vm = {0};
    int ends[2];
    if (!fake_suffer(session, "console", NULL, err))
        return false;
    if (!fake_load(session, vm_id, &vm))
        return error_set(err, ERROR_WRONG_STATE, NULL, "the VM does not run");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return error_set_errno(err, errno, "socketpair");
    if (fcntl(ends[1], F_SETFL, O_NONBLOCK) < 0) {
        int errnum = errno;
        close(ends[0]);
        close(ends[1]);
        return error_set_errno(err, errnum, "fcntl");
    }
    g_thread_unref(g_thread_new("fake-console", run_console, GINT_TO_POINTER(ends[0])));
    *ret_fd = ends[1];
    return true;
}

static bool fake_definition(HypervisorSession *session, const HypervisorVm *vm, char **ret_text, Error *err) {
    (void)session, (void)err;
    *ret_text =
        g_markup_printf_escaped("<domain type='fake'>\n  <uuid>%s</uuid>\n  <title>%s</title>\n</domain>\n",
            vm->vm->id, vm->vm->name);
    return true;
}

static bool fake_network_open(HypervisorSession *session, Network *network, Error *err) {
    if (!fake_suffer(session, "network_open", NULL, err) || !check_bridge(session, network, err))
        return false;
    g_autofree char *bridge = g_strdup_printf("fake-%.8s", network->id);
    if (!network->bridge)
        network_set_bridge(network, bridge);
    if (!network->subnet && network->kind == NETWORK_KIND_NAT)
        network_set_subnet(network, "198.18.0.0/16");
    network_status_set_state(network_put_status(network), NETWORK_STATE_ACTIVE);
    return true;
}

static bool fake_network_close(HypervisorSession *session, const Network *network, Error *err) {
    (void)network;
    return fake_suffer(session, "network_close", NULL, err);
}

/* No kernel has it: for tests of the lists of allowed modules. */
static const char *const fake_modules[] = {"lodge_fake", NULL};

const Hypervisor hypervisor_fake = {
    .name = "fake",
    .modules = fake_modules,
    .open = fake_open,
    .close = fake_close,
    .probe = fake_probe,
    .list = fake_list,
    .state = fake_state,
    .statistics = fake_statistics,
    .start = fake_start,
    .stop = fake_stop,
    .kill = fake_kill,
    .reset = fake_reset,
    .pause = fake_pause,
    .resume = fake_resume,
    .quiesce = fake_quiesce,
    .save = fake_save,
    .save_settle = fake_save_settle,
    .restore = fake_restore,
    .forget = fake_forget,
    .update = fake_update,
    .console = fake_console,
    .definition = fake_definition,
    .foreign = fake_foreign,
    .foreign_read = fake_foreign_read,
    .adopt = fake_adopt,
    .network_open = fake_network_open,
    .network_close = fake_network_close,
    .mover = &fake_mover,
};
