/* Rows for people about a kernel's modules. Blocks (reads the files of loaded modules); any thread. */
#pragma once
#include "host/module-policy.h"

/* One row for each module, in the order of their names. A module's file that cannot be read costs only what
 * it would have told. */
void module_report_fill(
    const KernelModules *modules, const ModuleJudgement *judgement, AgentModuleList *ret_list);
