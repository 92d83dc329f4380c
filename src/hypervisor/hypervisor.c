/* The table of drivers. */
#include <string.h>
#include "hypervisor/hypervisor.h"

static const Hypervisor *const drivers[] = {&hypervisor_qemu, &hypervisor_fake};

const Hypervisor *hypervisor_find(const char *name) {
    for (size_t i = 0; i < G_N_ELEMENTS(drivers); i++)
        if (!strcmp(drivers[i]->name, name))
            return drivers[i];
    return NULL;
}
