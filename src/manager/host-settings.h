/*
 * What a host's definition says of the host itself: its agent is told (kernel modules, what the control
 * domain keeps), and asked which modules and which other tools' VMs there are. Main loop only.
 */
#pragma once
#include "manager/fleet.h"

typedef void (*HostModulesFn)(const json_t *result, const Error *err, void *data);

/* Tells the host's agent, if it can be reached; to be called whenever it connects and whenever the definition
 * changes. What became of it stands in the host's status. */
void host_settings_send(Fleet *fleet, Inventory *inventory, const char *host_id);
/* All rows (host_module) as one array. `done` once, perhaps before this returns. */
void host_modules_list(Fleet *fleet, const char *host_id, HostModulesFn done, void *data);
/* The same of VMs that Lodge did not make (foreign_vm). */
void host_foreign_list(Fleet *fleet, const char *host_id, HostModulesFn done, void *data);
/* What the agent would do (agent_modules_plan). `done` once, perhaps before this returns. */
void host_modules_check(Fleet *fleet, const Host *host, HostModulesFn done, void *data);
