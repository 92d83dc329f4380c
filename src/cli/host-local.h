/*
 * `--host-local`: what root can do on a host while its manager is away. The agent of this host answers, asked
 * through `lodge-agent local`, which speaks its protocol; names are found and results shown here as ever.
 * Blocking; one thread.
 */
#pragma once
#include "cli/arguments.h"

/* ERROR_INVALID for what needs the manager. */
bool host_local_run(const Arguments *arguments, Error *err);
/* VMs that lie or run on this host, as the API shows them, in the order of their names. */
bool host_local_vms(json_t **ret_vms, Error *err);
