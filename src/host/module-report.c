/* One row a module. */
#include "host/module-report.h"
#include <string.h>
#include <sys/stat.h>
#include "host/module-file.h"

enum { MAX_FIRMWARE = 256, MAX_DESCRIPTION = 255 };

static ModuleState state_of(const KernelModule *module) {
    if (module->is_loaded)
        return MODULE_STATE_LOADED;
    if (module->is_builtin)
        return MODULE_STATE_BUILTIN;
    bool is_blocked = module->is_blocked || module->is_blocked_by_file;
    return is_blocked ? MODULE_STATE_BLOCKED : MODULE_STATE_AVAILABLE;
}

static void fill_size(const KernelModule *module, HostModule *row) {
    struct stat status;
    if (module->is_loaded)
        host_module_set_size(row, module->size);
    else if (module->path && stat(module->path, &status) == 0)
        host_module_set_size(row, (uint64_t)status.st_size);
}

static void fill_description(const char *text, HostModule *row) {
    g_autofree char *line = g_strdup(text);
    for (char *c = line; *c; c++)
        if (g_ascii_iscntrl(*c))
            *c = ' ';
    if (strlen(line) > MAX_DESCRIPTION)
        *g_utf8_find_prev_char(line, line + MAX_DESCRIPTION + 1) = '\0';
    host_module_set_description(row, line);
}

static void fill_firmware(const KernelModules *modules, const char *name, HostModule *row) {
    bool is_shown = *name && row->missing_firmware.n < MAX_FIRMWARE && strlen(name) <= MAX_DESCRIPTION &&
                    g_str_is_ascii(name);
    if (is_shown && !firmware_exists(modules->root, modules->release, name))
        host_module_add_missing_firmware(row, name);
}

/* What only its file tells: of loaded ones, because there are a hundred of them and not thousands. */
static void fill_from_file(const KernelModules *modules, const KernelModule *module, HostModule *row) {
    static const char description[] = "description=", firmware[] = "firmware=";
    g_auto(GStrv) entries = NULL;
    if (!module->is_loaded || !module->path || !module_file_read(module->path, &entries, NULL))
        return;
    for (char **entry = entries; *entry; entry++)
        if (g_str_has_prefix(*entry, description))
            fill_description(*entry + strlen(description), row);
        else if (g_str_has_prefix(*entry, firmware))
            fill_firmware(modules, *entry + strlen(firmware), row);
}

static void fill_row(const KernelModules *modules, const KernelModule *module,
    const ModuleJudgement *judgement, HostModule *row) {
    const char *reason = module->is_builtin ? "" : module_judgement_reason(judgement, module->name);
    host_module_set_id(row, module->name);
    host_module_set_name(row, module->name);
    host_module_set_state(row, state_of(module));
    if (module->is_loaded) {
        host_module_set_uses(row, module->uses);
        host_module_set_in_use(row, module->is_in_use);
    }
    for (guint i = 0; module->used_by && i < module->used_by->len; i++)
        host_module_add_used_by(row, module->used_by->pdata[i]);
    for (guint i = 0; module->needs && i < module->needs->len; i++)
        host_module_add_needs(row, module->needs->pdata[i]);
    fill_size(module, row);
    fill_from_file(modules, module, row);
    host_module_set_allowed(row, reason != NULL);
    if (reason && *reason)
        host_module_set_reason(row, reason);
    host_module_set_returns(row, module->is_builtin || (!module->is_blocked && !module->is_blocked_by_file));
}

void module_report_fill(
    const KernelModules *modules, const ModuleJudgement *judgement, AgentModuleList *ret_list) {
    g_autoptr(GPtrArray) sorted = kernel_modules_sorted(modules);
    for (guint i = 0; i < sorted->len; i++)
        fill_row(modules, sorted->pdata[i], judgement, agent_module_list_add_modules(ret_list));
}
