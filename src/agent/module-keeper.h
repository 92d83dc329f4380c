/*
 * Keeps the host to what its definition says of kernel modules. It owns one file, INSTANCE-modules.conf in
 * /etc/modprobe.d, written for the kernel that runs, and remembers the definition in the agent's state
 * folder, so that the file is made anew for a new kernel also while the manager is away. Modules are never
 * loaded or unloaded: the file counts from the next load on. What cannot be applied leaves the file as it is.
 *
 * Blocks, apart from _new, _free and _fill; any thread.
 */
#pragma once
#include "base/error.h"
#include "types.h"

typedef struct ModuleKeeper ModuleKeeper;

typedef struct ModuleKeeperOptions {
    const char *root; /* "/" but in tests */
    const char *instance;
    const char *state_folder;
    const char *const *always; /* modules that are always allowed, NULL-terminated; static */
} ModuleKeeperOptions;

ModuleKeeper *module_keeper_new(const ModuleKeeperOptions *options);
void module_keeper_free(ModuleKeeper *keeper); /* accepts NULL */

/* What apply would do. ERROR_INVALID names the modules in use that the list leaves out (module-policy.h). */
bool module_keeper_check(
    ModuleKeeper *keeper, const HostModules *policy, AgentModulesPlan *ret_plan, Error *err);
/* May be repeated, also after a crash or a full disk. */
bool module_keeper_apply(
    ModuleKeeper *keeper, const HostModules *policy, AgentModulesPlan *ret_plan, Error *err);
/* At the agent's start: applies what is remembered, and removes what a killed agent left. */
bool module_keeper_resume(ModuleKeeper *keeper, Error *err);
/* modules_state, modules_error, modules_blocked. */
void module_keeper_fill(ModuleKeeper *keeper, HostStatus *status);
/* The modules behind the name `after` as they were when the first page (NULL) was asked for. */
bool module_keeper_page(ModuleKeeper *keeper, const char *after, AgentModuleList *ret_page, Error *err);
