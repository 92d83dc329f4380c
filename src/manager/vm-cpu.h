/*
 * The processor that a running VM was started with: it keeps it until it stops, wherever it goes. Under
 * hardware virtualization that is its host's, so a host that has less cannot take it. Main loop only.
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
