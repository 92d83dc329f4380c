/*
 * What happens with VMs when their host has started (`run_policy`): `always` starts a VM, `last` starts one
 * that ran when the host went down. A host has started when its boot id is another than the one that was
 * dealt with, which the store remembers ("boot/<host>"), as it remembers which VMs with the policy `last` run
 * ("ran/<vm>"). A stopped VM is forgotten STOP_SETTLES_MS later, once its host is there and does
 * not go down: else it stopped because of that, and stays remembered.
 *
 * Each start is an ordinary job of the principal `run-policy`, asked for once for each boot. A host that this
 * manager meets for the first time is only remembered. Main loop only.
 */
#pragma once
#include "jobs/jobs.h"

enum { STOP_SETTLES_MS = 5000 };

typedef struct BootPolicy BootPolicy;

/* Follows the inventory's events from now on; both must outlive it. NULL when the store cannot be read. */
BootPolicy *boot_policy_new(Inventory *inventory, Jobs *jobs, Error *err);
void boot_policy_free(BootPolicy *policy); /* accepts NULL */
