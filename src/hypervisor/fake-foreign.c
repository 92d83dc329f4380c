/*
 * VMs of another tool at the fake hypervisor: STATE_FOLDER/fake/foreign/ID.json, a ForeignVm each, which
 * tests write. Adopting one that runs makes the file of a running VM of it, then the other goes.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"
#include "hypervisor/fake-private.h"

enum { FOREIGN_LIMIT = 1 << 20 };
#define ENDING ".json"

static char *foreign_path(const HypervisorSession *session, const char *vm_id) {
    return g_strdup_printf("%s/foreign/%s" ENDING, session->folder, vm_id);
}

/* False without an error when there is none, or it was adopted just before a crash. */
static bool foreign_load(
    const HypervisorSession *session, const char *vm_id, ForeignVm *ret_vm, char **ret_text) {
    g_autofree char *path = foreign_path(session, vm_id);
    g_autofree char *text = NULL;
    size_t length = 0;
    g_auto(Vm) running = {0};
    if (!file_read(path, FOREIGN_LIMIT, &text, &length, NULL) || fake_load(session, vm_id, &running))
        return false;
    g_autoptr(json_t) json = json_parse(text, length, NULL);
    if (!json || !foreign_vm_decode(json, MODEL_STORED, ret_vm, NULL))
        return false;
    foreign_vm_set_id(ret_vm, vm_id);
    if (ret_text)
        *ret_text = g_steal_pointer(&text);
    return true;
}

static bool foreign_runs(const ForeignVm *vm) {
    return vm->state == VM_STATE_RUNNING || vm->state == VM_STATE_PAUSED;
}

void fake_foreign_each(
    const HypervisorSession *session, void (*tell)(const ForeignVm *vm, bool runs, void *data), void *data) {
    g_autofree char *folder = g_build_filename(session->folder, "foreign", NULL);
    GDir *names = g_dir_open(folder, 0, NULL);
    for (const char *name = names ? g_dir_read_name(names) : NULL; name; name = g_dir_read_name(names)) {
        g_auto(ForeignVm) vm = {0};
        g_autofree char *id = g_strndup(name, strlen(name) - MIN(strlen(name), strlen(ENDING)));
        if (*name != '.' && g_str_has_suffix(name, ENDING) && foreign_load(session, id, &vm, NULL))
            tell(&vm, foreign_runs(&vm), data);
    }
    if (names)
        g_dir_close(names);
}

bool fake_foreign_has(const HypervisorSession *session, const char *vm_id) {
    g_auto(ForeignVm) vm = {0};
    return foreign_load(session, vm_id, &vm, NULL);
}

static void add_to_list(const ForeignVm *vm, bool runs, void *list) {
    (void)runs;
    foreign_vm_copy(agent_foreign_list_add_vms(list), vm);
}

bool fake_foreign(HypervisorSession *session, AgentForeignList *ret_list, Error *err) {
    if (!fake_suffer(session, "foreign", NULL, err))
        return false;
    fake_foreign_each(session, add_to_list, ret_list);
    return true;
}

bool fake_foreign_read(
    HypervisorSession *session, const char *vm_id, ForeignVm *ret_vm, char **ret_text, Error *err) {
    return fake_suffer(session, "foreign", NULL, err) &&
           (foreign_load(session, vm_id, ret_vm, ret_text) ||
               error_set(err, ERROR_NOT_FOUND, NULL, "no other tool has a VM with this id"));
}

/* As it runs: it was never started by Lodge. */
static bool take_running(HypervisorSession *session, const Vm *vm, Error *err) {
    g_auto(Vm) running = {0};
    vm_copy(&running, vm);
    model_apply_defaults(&vm_type, &running);
    VmStatus *status = vm_put_status(&running);
    vm_status_clear(status);
    vm_status_set_state(status, VM_STATE_RUNNING);
    vm_status_set_vcpus_online(status, running.vcpus);
    vm_status_set_memory_actual(status, running.memory);
    vm_status_set_started(status, clock_realtime_ns(clock_system()));
    vm_status_set_acceleration(status, "emulation");
    vm_status_set_adopted(status, true);
    return fake_store(session, &running, true, err);
}

bool fake_adopt(HypervisorSession *session, const Vm *vm, Error *err) {
    g_autofree char *path = foreign_path(session, vm->id);
    g_auto(ForeignVm) found = {0};
    if (!fake_suffer(session, "adopt", NULL, err))
        return false;
    if (foreign_load(session, vm->id, &found, NULL) && foreign_runs(&found) &&
        !take_running(session, vm, err))
        return false;
    if (!fake_suffer(session, "adopt-forget", NULL, err))
        return false;
    if (unlink(path) < 0 && errno != ENOENT)
        return error_set_errno(err, errno, "%s", path);
    fake_notify(session, vm->id);
    return fake_suffer_late(session, "adopt", err);
}
