/* By name: INSTANCE-UUID is ours alone. */
#include "hypervisor/xen/strays.h"
#include <string.h>
#include "hypervisor/xen/others.h"

enum { TRIES = 6, PAUSE_US = 500000, UUID_LENGTH = 36 };

static const char reason[] = "a domain of it runs that libvirt does not know: end it with `xl destroy`";

static bool is_there(const char *name) {
    g_autoptr(GHashTable) none = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GPtrArray) names = xen_other_domains(none);
    for (guint i = 0; i < names->len; i++)
        if (!strcmp(names->pdata[i], name))
            return true;
    return false;
}

bool xen_check_no_stray(const HypervisorSession *session, const char *vm_id, Error *err) {
    g_autofree char *name = domain_name(session->instance, vm_id);
    for (int i = 0; i < TRIES; i++) {
        if (!is_there(name))
            return true;
        g_usleep(PAUSE_US);
    }
    return error_set(err, ERROR_IN_USE, NULL,
        "a domain of this VM runs that libvirt does not know (xendomains or xl made it): end it on the host "
        "with "
        "`xl destroy %s`",
        name);
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
    if (!is_there(name))
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
    g_autoptr(GHashTable) none = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GPtrArray) names = xen_other_domains(none);
    g_autofree char *prefix = g_strconcat(session->instance, "-", NULL);
    for (guint i = 0; i < names->len; i++) {
        const char *name = names->pdata[i], *id = name + strlen(prefix);
        if (g_str_has_prefix(name, prefix) && strlen(id) == UUID_LENGTH && g_uuid_string_is_valid(id) &&
            !is_listed(inventory, id))
            tell(agent_inventory_add_vms(inventory), id, name);
    }
}
