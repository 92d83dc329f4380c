/*
 * What a host is made of: its maker, firmware, network cards and disks, from /sys below `root`; and what a
 * person should look after. Blocks for some milliseconds; any thread.
 */
#pragma once
#include "types.h"

/* Fills in machine, firmware, nics and disks; what the kernel does not tell stays absent. */
void host_profile_fill(const char *root, HostStatus *status);
/* Adds to `warnings`, from what is filled in already and from the file system of `state_folder`. */
void host_warnings_fill(const char *state_folder, HostStatus *status);
