/* Look-ups in the generated table. */
#include "model/abilities.h"
#include <string.h>

const HostMode *abilities_find(const char *driver, VmMode mode) {
    for (size_t i = 0; i < n_abilities_rows; i++)
        if (!strcmp(abilities_rows[i].driver, driver) && abilities_rows[i].mode.mode == mode)
            return &abilities_rows[i].mode;
    return NULL;
}

void abilities_report(const char *driver, HostStatus *status) {
    for (size_t i = 0; i < n_abilities_rows; i++)
        if (!strcmp(abilities_rows[i].driver, driver))
            host_mode_copy(host_status_add_modes(status), &abilities_rows[i].mode);
}
