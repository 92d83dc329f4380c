/*
 * What a host's list of allowed kernel modules means for the kernel that runs. Pure; any thread.
 *
 * Allowed is what is listed, what Lodge itself needs, and what these need. A list that leaves out a module
 * which is in use is refused rather than completed in silence: so the definition says all that the host
 * relies on, its file follows from definition and kernel alone, and no forgotten driver of the root disk or
 * of the network keeps the next start from succeeding.
 */
#pragma once
#include "host/kernel-modules.h"
#include "types.h"

typedef struct ModuleJudgement {
    GHashTable *reasons; /* of what is allowed: name -> why, "" for what is listed; NULL: all is allowed */
    GPtrArray *blocked;  /* names in their order; all lists are borrowed from the modules or the policy */
    GPtrArray *lost;     /* loaded ones among them */
    GPtrArray *used;     /* those in use among them: there must be none */
    GPtrArray *unknown;  /* listed ones that this kernel does not have */
} ModuleJudgement;

/* `always` is what Lodge itself needs, NULL-terminated; names that the kernel does not have are skipped. */
void module_policy_judge(const KernelModules *modules, const HostModules *policy, const char *const *always,
    ModuleJudgement *ret_judgement);
void module_judgement_clear(ModuleJudgement *judgement);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ModuleJudgement, module_judgement_clear)
/* NULL: it is not allowed. */
const char *module_judgement_reason(const ModuleJudgement *judgement, const char *name);
/* ERROR_INVALID with the field "/modules/allow" and the names; ERROR_UNSUPPORTED where nothing is known of
 * the kernel's modules. */
bool module_judgement_check(
    const ModuleJudgement *judgement, const KernelModules *modules, const HostModules *policy, Error *err);
/* The file for modprobe.d(5), newly allocated. */
char *module_judgement_file(const ModuleJudgement *judgement, const char *instance, const char *release);
