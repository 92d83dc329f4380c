/* By name: INSTANCE-UUID is ours alone. */
#include "hypervisor/xen/strays.h"
#include <string.h>
#include "base/log.h"
#include "base/process.h"
#include "hypervisor/xen/domain-list.h"
#include "hypervisor/xen/dying.h"
#include "hypervisor/xen/others.h"

enum { TRIES = 6, COMING_TRIES = 40, PAUSE_US = 500000, UUID_LENGTH = 36, TOOL_TIMEOUT_MS = 60000 };

static const char reason[] = "a domain of it runs that libvirt does not know: kill the VM to end that";

static XenPresence presence_soon(const char *name) {
    XenPresence presence = xen_domain_presence(name);
    for (int i = 0; presence == XEN_PRESENT && i < TRIES; i++) {
        g_usleep(PAUSE_US);
        presence = xen_domain_presence(name);
    }
    return presence;
}

bool xen_check_no_stray(const HypervisorSession *session, const char *vm_id, Error *err) {
    g_autofree char *name = domain_name(session->instance, vm_id);
    switch (presence_soon(name)) {
    case XEN_ABSENT:
        return true;
    case XEN_PRESENT:
        return error_set(err, ERROR_IN_USE, NULL, "%s", reason);
    default:
        return error_set(err, ERROR_UNREACHABLE, NULL, "xenstore does not tell whether the VM runs");
    }
}

bool xen_may_stray(const char *vm_id) {
    g_autoptr(GArray) rows = xen_domain_list(NULL);
    const XenDomainRow *row = rows ? xen_domain_find(rows, vm_id) : NULL;
    return row && row->is_rebooting;
}

bool xen_end_stray(const HypervisorSession *session, const char *vm_id, bool may_come, Error *err) {
    g_autofree char *name = domain_name(session->instance, vm_id);
    const char *const destroy[] = {"xl", "destroy", name, NULL};
    const ProcessSpec spec = {.argv = destroy, .timeout_ms = TOOL_TIMEOUT_MS};
    for (int i = 0; may_come && i < COMING_TRIES && xen_domain_presence(name) == XEN_ABSENT; i++)
        g_usleep(PAUSE_US);
    if (presence_soon(name) != XEN_PRESENT)
        return xen_check_no_stray(session, vm_id, err);
    log_warning("the domain %s runs, and libvirt does not know it: it is ended", name);
    return process_run(&spec, NULL, err) && xen_check_no_stray(session, vm_id, err);
}

bool xen_stop_stray(const HypervisorSession *session, const char *vm_id, int64_t timeout_ms, bool force,
    const Cancel *cancel, Error *err) {
    g_autofree char *name = domain_name(session->instance, vm_id);
    const char *const shutdown[] = {"xl", "shutdown", "-F", name, NULL};
    const ProcessSpec spec = {.argv = shutdown, .timeout_ms = TOOL_TIMEOUT_MS, .cancel = cancel};
    gint64 deadline = g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;
    if (presence_soon(name) != XEN_PRESENT)
        return xen_check_no_stray(session, vm_id, err);
    log_warning("the domain %s runs, and libvirt does not know it: it is asked to stop", name);
    process_run(&spec, NULL, NULL);
    while (xen_domain_presence(name) == XEN_PRESENT && g_get_monotonic_time() < deadline) {
        if (!cancel_check(cancel, err))
            return false;
        g_usleep(PAUSE_US);
    }
    if (force)
        return xen_end_stray(session, vm_id, false, err);
    return xen_domain_presence(name) == XEN_ABSENT ||
           error_set(err, ERROR_TIMED_OUT, NULL, "the guest has not stopped within %" G_GINT64_FORMAT " s",
               timeout_ms / 1000);
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
    if (xen_domain_presence(name) != XEN_PRESENT)
        return;
    agent_vm_state_clear(state);
    tell(state, vm_id, name);
}

void xen_strays_list(const HypervisorSession *session, AgentInventory *inventory) {
    g_autoptr(GPtrArray) names = xen_other_domains(NULL);
    g_autofree char *prefix = g_strconcat(session->instance, "-", NULL);
    for (guint i = 0; i < names->len; i++) {
        const char *name = names->pdata[i], *id = name + strlen(prefix);
        if (!g_str_has_prefix(name, prefix) || strlen(id) != UUID_LENGTH || !g_uuid_string_is_valid(id))
            continue;
        AgentVmState *row = xen_row_for(inventory, id);
        if (row)
            tell(row, id, name);
    }
}
