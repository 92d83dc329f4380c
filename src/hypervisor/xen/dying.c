/* What the list of the hypervisor said last is kept, so that a question about a VM does not wait for it. */
#include "hypervisor/xen/dying.h"
#include "hypervisor/xen/domain-list.h"

enum { TRIES = 20, PAUSE_US = 500000 };

static const char reason[] = "it was ended, but its disk or network does not let go of its memory";

/* Keeps what was asked for last, though it may not be what was answered last. */
static GArray *look(XenSession *session, Error *err) {
    gint64 asked_us = g_get_monotonic_time();
    GArray *rows = xen_domain_list(err);
    g_mutex_lock(&session->dying_lock);
    if (rows && asked_us > session->dying_asked_us) {
        session->dying_asked_us = asked_us;
        g_hash_table_remove_all(session->dying);
        for (guint i = 0; i < rows->len; i++)
            if (g_array_index(rows, XenDomainRow, i).is_dying)
                g_hash_table_add(session->dying, g_strdup(g_array_index(rows, XenDomainRow, i).uuid));
    }
    g_mutex_unlock(&session->dying_lock);
    return rows;
}

bool xen_check_is_dead(HypervisorSession *session, const char *vm_id, Error *err) {
    for (int i = 0; i < TRIES; i++) {
        g_autoptr(GArray) rows = look((XenSession *)session, err);
        if (!rows)
            return false;
        const XenDomainRow *row = xen_domain_find(rows, vm_id);
        if (!row || !row->is_dying)
            return true;
        g_usleep(PAUSE_US);
    }
    return error_set(err, ERROR_IN_USE, NULL,
        "the VM was ended, but Xen cannot let go of it: its disk or network on the host does not answer, and "
        "may still write what was under way; it counts as stopped when that has ended (`xl list -v` shows "
        "it)");
}

static bool is_dying(XenSession *session, const char *vm_id) {
    g_mutex_lock(&session->dying_lock);
    bool is_there = g_hash_table_contains(session->dying, vm_id);
    g_mutex_unlock(&session->dying_lock);
    return is_there;
}

static void tell(AgentVmState *state, const char *vm_id) {
    agent_vm_state_set_id(state, vm_id);
    VmStatus *status = agent_vm_state_put_status(state);
    vm_status_set_state(status, VM_STATE_STOPPING);
    vm_status_set_reason(status, reason);
}

void xen_dying_tell(HypervisorSession *session, const char *vm_id, AgentVmState *state) {
    if (!is_dying((XenSession *)session, vm_id))
        return;
    agent_vm_state_clear(state);
    tell(state, vm_id);
    agent_vm_state_set_managed(state, true);
}

AgentVmState *xen_row_for(AgentInventory *inventory, const char *vm_id) {
    for (size_t i = 0; i < inventory->vms.n; i++) {
        AgentVmState *row = &inventory->vms.items[i];
        if (g_strcmp0(row->id, vm_id) != 0)
            continue;
        bool has_ended = row->status.state == VM_STATE_CRASHED || row->status.state == VM_STATE_STOPPED;
        if (!has_ended)
            return NULL;
        agent_vm_state_clear(row);
        return row;
    }
    return agent_inventory_add_vms(inventory);
}

/* Whose they are cannot be told any more: the manager knows its own. */
void xen_dying_list(HypervisorSession *session, AgentInventory *inventory) {
    XenSession *own = (XenSession *)session;
    GHashTableIter each;
    void *id;
    GArray *rows = look(own, NULL); /* what it keeps is what counts */
    g_clear_pointer(&rows, g_array_unref);
    g_mutex_lock(&own->dying_lock);
    g_hash_table_iter_init(&each, own->dying);
    while (g_hash_table_iter_next(&each, &id, NULL)) {
        AgentVmState *row = xen_row_for(inventory, id);
        if (row)
            tell(row, id);
    }
    g_mutex_unlock(&own->dying_lock);
}
