/*
 * Where a VM could run: for each driver and mode of the abilities' table (abilities.h) whether it can do all
 * that the definition asks for. It knows drivers, not hosts: what one host lacks beside is told by that host.
 * Pure; any thread.
 */
#pragma once
#include "types.h"

/* Rows of vm_fit, newly allocated (vm_fit_free), in the order of the table; those of `fake` only where
 * `with_fake`. */
GPtrArray *vm_fit_list(const Vm *vm, bool with_fake);
