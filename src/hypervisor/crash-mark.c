/* One small file for each; a mark that cannot be written is only a state that is not shown. */
#include "hypervisor/crash-mark.h"
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "model/format.h"

#define ENDING ".crashed"
enum { REASON_LIMIT = 1000 };

static char *mark_path(const char *folder, const char *vm_id) {
    return g_strdup_printf("%s/%s" ENDING, folder, vm_id);
}

void crash_mark_set(const char *folder, const char *vm_id, const char *reason) {
    g_autofree char *path = mark_path(folder, vm_id);
    g_auto(Error) err = {0};
    if (!file_replace(path, reason, strlen(reason), 0600, &err))
        log_warning("a crash of the VM %s cannot be remembered: %s", vm_id, err.message);
}

void crash_mark_clear(const char *folder, const char *vm_id) {
    g_autofree char *path = mark_path(folder, vm_id);
    unlink(path);
}

bool crash_mark_read(const char *folder, const char *vm_id, AgentVmState *ret_state) {
    g_autofree char *path = mark_path(folder, vm_id);
    g_autofree char *reason = NULL;
    if (!file_read(path, REASON_LIMIT, &reason, NULL, NULL))
        return false;
    agent_vm_state_set_id(ret_state, vm_id);
    agent_vm_state_set_managed(ret_state, true);
    VmStatus *status = agent_vm_state_put_status(ret_state);
    vm_status_set_state(status, VM_STATE_CRASHED);
    vm_status_set_reason(status, g_strchomp(reason));
    return true;
}

static bool is_listed(const AgentInventory *inventory, const char *vm_id) {
    for (size_t i = 0; i < inventory->vms.n; i++)
        if (g_strcmp0(inventory->vms.items[i].id, vm_id) == 0)
            return true;
    return false;
}

void crash_marks_list(const char *folder, AgentInventory *inventory) {
    GDir *names = g_dir_open(folder, 0, NULL);
    for (const char *name = names ? g_dir_read_name(names) : NULL; name; name = g_dir_read_name(names)) {
        if (!g_str_has_suffix(name, ENDING))
            continue;
        g_autofree char *id = g_strndup(name, strlen(name) - strlen(ENDING));
        g_auto(AgentVmState) state = {0};
        if (is_uuid(id) && !is_listed(inventory, id) && crash_mark_read(folder, id, &state))
            agent_vm_state_copy(agent_inventory_add_vms(inventory), &state);
    }
    if (names)
        g_dir_close(names);
}
