/*
 * The processor that a VM is started with: it keeps it until it stops, wherever it goes. Under hardware
 * virtualization that is its host's or less, and a host that has not all of that cannot take it. Main loop
 * only.
 */
#pragma once
#include "inventory/inventory.h"

/* ERROR_UNSUPPORTED when the target is known to lack something of it. What nobody has told of is not refused
 * here; the hypervisor looks again. */
bool vm_cpu_is_on(Inventory *inventory, const Vm *vm, const Host *target, Error *err);
/* Where the processor of a VM comes from that runs now, to be remembered while it moves: a new reference. */
json_t *vm_cpu_origin(const Vm *vm);
/* `there` has gone to another host: what it had before it went. */
void vm_cpu_take_along(Vm *there, const json_t *origin);

/* What it is to be given when it starts now on its host. False: all of that host's processor. */
bool vm_cpu_level(Inventory *inventory, const Vm *vm, CpuLevel *ret_level);
/* The change after which the pool knows the level; NULL: it does. */
InventoryChange *vm_cpu_remember(Inventory *inventory, const Vm *vm, const CpuLevel *level);
/* The change after which the host's definition says what it told of its processor; NULL: it does. */
InventoryChange *host_cpu_remember(Inventory *inventory, const char *host_id);
