/*
 * Which mode a VM runs in: from what its definition asks for and what its host's modes can do. Pure; any
 * thread.
 */
#pragma once
#include "types.h"

/* The mode that the definition names, when the host offers it and it can do all that is asked for; with
 * `auto` the first of the host's that can. `boots_kernel`: it starts a kernel that is handed over, no boot
 * loader. ERROR_UNSUPPORTED with the field, the reason and the modes that could do it.
 *
 * An ability that a mode says nothing of counts as there, and a host without any modes (an older agent) takes
 * everything: *ret_mode is then what the definition names, `auto` included. */
bool vm_mode_choose(const Vm *vm, const HostStatus *status, bool boots_kernel, VmMode *ret_mode, Error *err);
/* Whether that mode lacks something that the definition asks for: *ret_field is what asks for it, *ret_what
 * its name ("UEFI firmware"). Static texts. */
bool vm_mode_lacks(
    const HostMode *mode, const Vm *vm, bool boots_kernel, const char **ret_field, const char **ret_what);
