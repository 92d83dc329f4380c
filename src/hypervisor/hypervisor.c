/* The table of drivers. */
#include <string.h>
#include "hypervisor/hypervisor.h"

/* In the order in which `auto` asks them. */
static const Hypervisor *const drivers[] = {&hypervisor_xen, &hypervisor_qemu, &hypervisor_fake};

const Hypervisor *hypervisor_find(const char *name) {
    bool is_auto = !strcmp(name, "auto");
    for (size_t i = 0; i < G_N_ELEMENTS(drivers); i++)
        if (is_auto ? drivers[i]->is_here && drivers[i]->is_here() : !strcmp(drivers[i]->name, name))
            return drivers[i];
    return NULL;
}
