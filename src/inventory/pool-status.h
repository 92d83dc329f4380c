/*
 * What is in a pool, worked out when it is asked for. Main loop only.
 */
#pragma once
#include "inventory/inventory.h"

void pool_describe(Inventory *inventory, const char *pool_id, PoolStatus *ret_status);
/* What a host's processor has beyond those of its pool, and what all the others have and it lacks: added to
 * its status as it is shown. Nothing when it, or no other one, has told of its processor. */
void pool_compare_cpu(Inventory *inventory, const Host *host, HostStatus *status);
