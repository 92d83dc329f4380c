/*
 * Where a VM goes and whether it may start there. Reads the inventory and changes nothing. Main loop only.
 */
#pragma once
#include "engine/vm-plan.h"
#include "inventory/inventory.h"

/* Pool, host, repository and what else the definitions of new VMs need. Each may be named; what is not
 * follows from the others. ERROR_INVALID, ERROR_CONFLICT or ERROR_NO_CAPACITY with the field when they do not
 * fit together or a choice cannot be made. The world borrows from the inventory. */
bool vm_place(Inventory *inventory, const VmCreate *request, VmPlanWorld *ret_world, Error *err);
/* A MAC's first bytes for VMs in that pool (NULL: the default). Borrowed. */
const char *vm_mac_prefix(const Object *pool);
/* Memory of the host's VMs that run, are paused, start or stop; without that one (NULL: all). */
uint64_t host_promised_memory(Inventory *inventory, const char *host_id, const char *without_vm_id);
/* ERROR_NO_CAPACITY, ERROR_UNSUPPORTED or ERROR_WRONG_STATE (maintenance) when its host cannot start it now.
 * A VM that runs already may. */
bool vm_may_start(Inventory *inventory, const Vm *vm, Error *err);
/* ERROR_UNSUPPORTED when its host could run it as it is (`before`), but not as it is to be. */
bool vm_may_become(Inventory *inventory, const Vm *before, const Vm *vm, Error *err);
/* The mode in which its host would run it; NULL when that is not known. Static. */
const char *vm_mode_name(Inventory *inventory, const Vm *vm);
