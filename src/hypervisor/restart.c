/* What needs a restart. */
#include <string.h>
#include "hypervisor/restart.h"

static const char *const restart_fields[] = {"/vcpus_maximum", "/memory_maximum", "/firmware", "/mode",
    "/guest_os", "/boot_order", "/kernel_arguments", "/direct_boot", "/console", "/cpu", NULL};

void restart_pending(const Vm *running, const Vm *wanted, AgentVmChanged *changed) {
    g_auto(GStrv) different = model_diff(&vm_type, running, wanted);
    for (char **pointer = different; *pointer; pointer++)
        if (g_strv_contains(restart_fields, *pointer))
            agent_vm_changed_add_pending(changed, *pointer);
}
