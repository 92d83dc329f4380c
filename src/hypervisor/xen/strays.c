/* By name: INSTANCE-UUID is ours alone. */
#include "hypervisor/xen/strays.h"
#include <string.h>
#include "base/log.h"
#include "base/process.h"
#include "hypervisor/xen/domain-list.h"
#include "hypervisor/xen/others.h"

enum { TRIES = 6, COMING_TRIES = 40, PAUSE_US = 500000, UUID_LENGTH = 36, TOOL_TIMEOUT_MS = 60000 };

static const char reason[] = "a domain of it runs that libvirt does not know: kill the VM to end that";

static bool goes_away(const char *name) {
    for (int i = 0; i < TRIES; i++) {
        if (!xen_domain_is_there(name))
            return true;
        g_usleep(PAUSE_US);
    }
    return false;
}

bool xen_check_no_stray(const HypervisorSession *session, const char *vm_id, Error *err) {
    g_autofree char *name = domain_name(session->instance, vm_id);
    return goes_away(name) || error_set(err, ERROR_IN_USE, NULL, "%s", reason);
}

bool xen_may_stray(const char *vm_id) {
    g_autoptr(GArray) rows = xen_domain_list(NULL);
    for (guint i = 0; rows && i < rows->len; i++) {
        const XenDomainRow *row = &g_array_index(rows, XenDomainRow, i);
        if (!strcmp(row->uuid, vm_id))
            return row->is_rebooting;
    }
    return false;
}

bool xen_end_stray(const HypervisorSession *session, const char *vm_id, bool may_come, Error *err) {
    g_autofree char *name = domain_name(session->instance, vm_id);
    const char *const destroy[] = {"xl", "destroy", name, NULL};
    const ProcessSpec spec = {.argv = destroy, .timeout_ms = TOOL_TIMEOUT_MS};
    for (int i = 0; may_come && i < COMING_TRIES && !xen_domain_is_there(name); i++)
        g_usleep(PAUSE_US);
    if (goes_away(name))
        return true;
    log_warning("the domain %s runs, and libvirt does not know it: it is ended", name);
    return process_run(&spec, NULL, err) && xen_check_no_stray(session, vm_id, err);
}

static void tell(AgentVmState *state, const char *vm_id, const char *name) {
    agent_vm_state_set_id(state, vm_id);
    agent_vm_state_set_name(state, name);
    agent_vm_state_set_managed(state, true);
    VmStatus *status = agent_vm_state_put_status(state);
    vm_status_set_state(status, VM_STATE_UNKNOWN);
    vm_status_set_reason(status, reason);
}

void xen_stray_tell(const HypervisorSession *session, const char *vm_id, AgentVmState *state) {
    g_autofree char *name = domain_name(session->instance, vm_id);
    if (!xen_domain_is_there(name))
        return;
    agent_vm_state_clear(state);
    tell(state, vm_id, name);
}

static bool is_listed(const AgentInventory *inventory, const char *vm_id) {
    for (size_t i = 0; i < inventory->vms.n; i++)
        if (!g_strcmp0(inventory->vms.items[i].id, vm_id) &&
            inventory->vms.items[i].status.state != VM_STATE_CRASHED)
            return true;
    return false;
}

void xen_strays_list(const HypervisorSession *session, AgentInventory *inventory) {
    g_autoptr(GPtrArray) names = xen_other_domains(NULL);
    g_autofree char *prefix = g_strconcat(session->instance, "-", NULL);
    for (guint i = 0; i < names->len; i++) {
        const char *name = names->pdata[i], *id = name + strlen(prefix);
        if (g_str_has_prefix(name, prefix) && strlen(id) == UUID_LENGTH && g_uuid_string_is_valid(id) &&
            !is_listed(inventory, id))
            tell(agent_inventory_add_vms(inventory), id, name);
    }
}
