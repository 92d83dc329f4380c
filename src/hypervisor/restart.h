/*
 * Which changes of a definition need a restart of the VM, the same for every driver. Pure; any thread.
 */
#pragma once
#include "types.h"

/* Adds the JSON pointers of fields that no driver changes while a VM runs and that differ between the
 * definition that runs and the one that is wanted. Disks and NICs: device-change.h. */
void restart_pending(const Vm *running, const Vm *wanted, AgentVmChanged *changed);
