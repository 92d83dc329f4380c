/*
 * Whether a running VM may go to another host. Reads the inventory and changes nothing. Main loop only.
 */
#pragma once
#include "inventory/inventory.h"

/* Whether it could leave its host at all: ERROR_WRONG_STATE, ERROR_UNSUPPORTED, ERROR_UNREACHABLE. */
bool vm_may_leave(Inventory *inventory, const Vm *vm, Error *err);
/* Whether that host could take it, memory apart (vm_may_start knows of that). `named` (may be NULL) is the id
 * of the repository that is to take its disks; the host's only one otherwise, which *ret_repository (may be
 * NULL) tells, borrowed. ERROR_INVALID, ERROR_UNREACHABLE, ERROR_UNSUPPORTED, ERROR_WRONG_STATE with the
 * field. */
bool vm_may_go(Inventory *inventory, const Vm *vm, const Host *target, const char *named,
    const Repository **ret_repository, Error *err);
