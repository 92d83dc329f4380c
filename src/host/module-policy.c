/* The closure of what is allowed; all else is blocked. */
#include "host/module-policy.h"
#include <string.h>

enum { NAMES_IN_MESSAGE = 256 };

/* ---- what is allowed ---- */

/* Names whose needs are still to be looked at. */
typedef struct Closure {
    const KernelModules *modules;
    GHashTable *reasons;
    GQueue open;
} Closure;

static void allow(Closure *closure, const char *name, char *take_reason) {
    g_autofree char *reason = take_reason;
    const KernelModule *module = kernel_modules_find(closure->modules, name);
    if (!module || g_hash_table_contains(closure->reasons, module->name))
        return;
    g_hash_table_insert(closure->reasons, module->name, g_steal_pointer(&reason));
    g_queue_push_tail(&closure->open, (void *)module);
}

static void allow_names(Closure *closure, const GPtrArray *names, const char *because) {
    for (guint i = 0; names && i < names->len; i++)
        allow(closure, names->pdata[i], g_strdup_printf("%s needs it", because));
}

static void close_over(Closure *closure) {
    const KernelModule *module;
    while ((module = g_queue_pop_head(&closure->open))) {
        allow_names(closure, module->needs, module->name);
        allow_names(closure, module->may_need, module->name);
    }
}

static GHashTable *allowed_by(
    const KernelModules *modules, const HostModules *policy, const char *const *always) {
    Closure closure = {.modules = modules,
        .reasons = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free),
        .open = G_QUEUE_INIT};
    for (size_t i = 0; i < policy->allow.n; i++)
        allow(&closure, policy->allow.items[i], g_strdup(""));
    for (size_t i = 0; always && always[i]; i++)
        allow(&closure, always[i], g_strdup("Lodge needs it"));
    close_over(&closure);
    return closure.reasons;
}

/* ---- what is not ---- */

static void judge_module(const KernelModule *module, ModuleJudgement *judgement) {
    if (module->is_builtin || module_judgement_reason(judgement, module->name))
        return;
    g_ptr_array_add(judgement->blocked, module->name);
    if (module->is_loaded)
        g_ptr_array_add(judgement->lost, module->name);
    if (module->is_in_use)
        g_ptr_array_add(judgement->used, module->name);
}

void module_policy_judge(const KernelModules *modules, const HostModules *policy, const char *const *always,
    ModuleJudgement *ret_judgement) {
    bool is_open = policy->policy == MODULE_POLICY_OPEN;
    *ret_judgement = (ModuleJudgement){.reasons = is_open ? NULL : allowed_by(modules, policy, always),
        .blocked = g_ptr_array_new(),
        .lost = g_ptr_array_new(),
        .used = g_ptr_array_new(),
        .unknown = g_ptr_array_new()};
    if (is_open)
        return;
    for (size_t i = 0; i < policy->allow.n; i++)
        if (!kernel_modules_find(modules, policy->allow.items[i]))
            g_ptr_array_add(ret_judgement->unknown, policy->allow.items[i]);
    g_autoptr(GPtrArray) sorted = kernel_modules_sorted(modules);
    for (guint i = 0; i < sorted->len; i++)
        judge_module(sorted->pdata[i], ret_judgement);
}

void module_judgement_clear(ModuleJudgement *judgement) {
    g_clear_pointer(&judgement->reasons, g_hash_table_unref);
    g_clear_pointer(&judgement->blocked, g_ptr_array_unref);
    g_clear_pointer(&judgement->lost, g_ptr_array_unref);
    g_clear_pointer(&judgement->used, g_ptr_array_unref);
    g_clear_pointer(&judgement->unknown, g_ptr_array_unref);
}

const char *module_judgement_reason(const ModuleJudgement *judgement, const char *name) {
    return judgement->reasons ? g_hash_table_lookup(judgement->reasons, name) : "";
}

bool module_judgement_check(
    const ModuleJudgement *judgement, const KernelModules *modules, const HostModules *policy, Error *err) {
    if (policy->policy != MODULE_POLICY_OPEN && !modules->has_list)
        return error_set(err, ERROR_UNSUPPORTED, "/modules/policy",
            "modules: the kernel %s has no list of its modules on this host (lib/modules/%s/modules.dep)",
            modules->release, modules->release);
    if (judgement->used->len == 0)
        return true;
    g_autoptr(GString) names = g_string_new(NULL);
    for (guint i = 0; i < judgement->used->len && i < NAMES_IN_MESSAGE; i++)
        g_string_append_printf(names, "%s%s", i ? ", " : "", (const char *)judgement->used->pdata[i]);
    return error_set(err, ERROR_INVALID, "/modules/allow",
        "modules.allow: this host uses what is not in it: %s%s; add that, or unload what is not wanted and "
        "try again",
        names->str, judgement->used->len > NAMES_IN_MESSAGE ? " and more" : "");
}

char *module_judgement_file(const ModuleJudgement *judgement, const char *instance, const char *release) {
    GString *text = g_string_new(NULL);
    g_string_append_printf(text,
        "# Written by lodge-agent (instance %s) from the host's list of allowed modules, for the kernel %s.\n"
        "# Changes are overwritten: use `lodge host update HOST --modules`; see docs/host-modules.md.\n",
        instance, release);
    for (guint i = 0; i < judgement->blocked->len; i++) {
        const char *name = judgement->blocked->pdata[i];
        g_string_append_printf(text, "blacklist %s\ninstall %s /bin/false\n", name, name);
    }
    return g_string_free(text, FALSE);
}
