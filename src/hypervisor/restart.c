/* What needs a restart. */
#include <string.h>
#include "hypervisor/restart.h"

static const char *const restart_fields[] = {"/vcpus_maximum", "/memory_maximum", "/firmware", "/mode",
    "/guest_os", "/boot_order", "/kernel_arguments", "/direct_boot", "/console", NULL};

static bool are_disks_alike(const Vm *a, const Vm *b) {
    if (a->disks.n != b->disks.n)
        return false;
    for (size_t i = 0; i < a->disks.n; i++) {
        const Disk *x = &a->disks.items[i], *y = &b->disks.items[i];
        if (g_strcmp0(x->id, y->id) || x->kind != y->kind || x->bus != y->bus ||
            x->read_only != y->read_only || g_strcmp0(x->serial, y->serial) ||
            (x->kind == DISK_KIND_DISK && y->size < x->size))
            return false;
    }
    return true;
}

static bool are_nics_alike(const Vm *a, const Vm *b) {
    if (a->nics.n != b->nics.n)
        return false;
    for (size_t i = 0; i < a->nics.n; i++) {
        const Nic *x = &a->nics.items[i], *y = &b->nics.items[i];
        if (g_strcmp0(x->mac, y->mac) || x->model != y->model || g_strcmp0(x->network, y->network))
            return false;
    }
    return true;
}

void restart_pending(const Vm *running, const Vm *wanted, AgentVmChanged *changed) {
    g_auto(GStrv) different = model_diff(&vm_type, running, wanted);
    for (char **pointer = different; *pointer; pointer++)
        if (g_strv_contains(restart_fields, *pointer))
            agent_vm_changed_add_pending(changed, *pointer);
    if (!are_disks_alike(running, wanted))
        agent_vm_changed_add_pending(changed, "/disks");
    if (!are_nics_alike(running, wanted))
        agent_vm_changed_add_pending(changed, "/nics");
}
