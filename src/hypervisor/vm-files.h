/*
 * What a driver and the hypervisor keep of a VM beside its repository: ID.log (what it wrote to its serial
 * console, secrets perhaps) with the older ones that the hypervisor set aside (ID.log.0 …), ID.nvram, the
 * crash mark. Blocks for a moment; any thread.
 */
#pragma once
#include "base/error.h"

/* Removes them; what is not there is success. The VM must not run. */
bool vm_files_remove(const char *folder, const char *vm_id, Error *err);
