/*
 * What is in a pool, worked out when it is asked for. Main loop only.
 */
#pragma once
#include "inventory/inventory.h"

void pool_describe(Inventory *inventory, const char *pool_id, PoolStatus *ret_status);
/* What is known of a host's processor: what it tells, or told last while it is away; NULL: nothing. */
const HostCpu *host_known_cpu(const Host *host);
/* Those of the hosts of a pool of which something is known; borrowed. */
GPtrArray *pool_known_cpus(Inventory *inventory, const char *pool_id);
/* The processor that a VM has which runs by hardware virtualization; false when that is not known, or it does
 * not run so. *ret_from (may be NULL): borrowed, the host whose processor it is, or NULL: what the pool gave.
 */
bool vm_given_cpu(Inventory *inventory, const Vm *vm, HostCpu *ret_cpu, const Host **ret_from);
/* That of a moved VM counts as long as the VM runs that moved. */
bool vm_has_moved(const Vm *vm);
/* What a host's processor has beyond those of its pool, and what all the others have and it lacks: added to
 * its status as it is shown. Nothing when it, or no other one, has told of its processor. */
void pool_compare_cpu(Inventory *inventory, const Host *host, HostStatus *status);
/* That running VMs of a pool, its own or another one, cannot come to the host; newly allocated, NULL: all
 * can. */
char *pool_cpu_warning(Inventory *inventory, const Host *host, const char *pool_id);
/* What the pool would lose when the host joined it; newly allocated, NULL: nothing. */
char *pool_cpu_loss(Inventory *inventory, const Host *host, const char *pool_id);
