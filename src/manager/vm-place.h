/*
 * Where a VM goes and whether it may start there. Reads the inventory and changes nothing. Main loop only.
 */
#pragma once
#include "engine/vm-plan.h"
#include "inventory/inventory.h"

/* Where the VMs of one request go. Borrows the request and the inventory's objects: nothing may change
 * meanwhile. */
typedef struct VmPlaces VmPlaces;

/* Pool, host, repository and template may be named; what is not follows from the others or is chosen for each
 * VM. NULL and ERROR_INVALID, ERROR_CONFLICT, ERROR_NOT_FOUND or ERROR_WRONG_STATE with the field when what
 * is named does not fit together, or no VM can be planned from it. */
VmPlaces *vm_places_new(Inventory *inventory, const VmCreate *request, Error *err);
void vm_places_free(VmPlaces *places);
/* The place of the i-th VM, beside those before it: call it for 1, 2… in order. *ret_world is what its
 * definition needs; borrowed until the next call. *ret_reasons (may be NULL) is {"vm", "host", "repository",
 * "reason", "refused": [{"host", "reason"}], "refused_more"?}, a new reference. When no host can take it: the
 * error and field of the one that came closest, and the reasons of the first few. */
bool vm_places_next(
    VmPlaces *places, int64_t i, const VmPlanWorld **ret_world, json_t **ret_reasons, Error *err);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VmPlaces, vm_places_free)
/* ERROR_WRONG_STATE while its host is in maintenance: nothing is made or started there. */
bool vm_host_takes(Inventory *inventory, const Vm *vm, Error *err);
/* A MAC's first bytes for VMs in that pool (NULL: the default). Borrowed. */
const char *vm_mac_prefix(const Object *pool);
/* It runs, or is about to, or about to end: its memory is not free. */
bool vm_occupies_memory(const Vm *vm);
/* Memory of the host's VMs that run, are paused, start, stop or are on their way to it; without that one
 * (NULL: all). */
uint64_t host_promised_memory(Inventory *inventory, const char *host_id, const char *without_vm_id);
/* ERROR_NO_CAPACITY, ERROR_UNSUPPORTED or ERROR_WRONG_STATE (maintenance, anti-affinity to a VM that runs
 * there) when its host cannot start it now. A VM that runs already may. */
bool vm_may_start(Inventory *inventory, const Vm *vm, Error *err);
/* ERROR_UNSUPPORTED when its host could run it as it is (`before`), but not as it is to be. */
bool vm_may_become(Inventory *inventory, const Vm *before, const Vm *vm, Error *err);
/* The mode in which its host would run it; NULL when that is not known. Static. */
const char *vm_mode_name(Inventory *inventory, const Vm *vm);
