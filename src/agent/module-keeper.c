/* The order of writes: the definition is remembered before the file follows it, and forgotten after. */
#include "agent/module-keeper.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "host/module-report.h"
#include "rpc/rpc-frame.h"

enum {
    PAGE_BYTES = RPC_MAX_FRAME / 2, /* the envelope needs some too */
    REMEMBERED_LIMIT = 1024 * 1024,
    CONFIGURATION_LIMIT = 4 * 1024 * 1024,
    MAX_LOST = 4096,
    MAX_REASON = 1000 /* of modules_error */
};

struct ModuleKeeper {
    char *root, *own_file, *path; /* name and path of the file in modprobe.d */
    char *remembered, *instance;
    const char *const *always;
    GMutex work;            /* one at a time reads and writes files, and uses `policy` and `listed` */
    HostModules policy;     /* what was applied last; empty: open */
    AgentModuleList listed; /* while its pages are fetched */
    GMutex lock;            /* guards what is below */
    ModulesState state;
    char *reason;
    int64_t n_blocked;
};

ModuleKeeper *module_keeper_new(const ModuleKeeperOptions *options) {
    ModuleKeeper *keeper = g_new0(ModuleKeeper, 1);
    keeper->root = g_strdup(options->root);
    keeper->instance = g_strdup(options->instance);
    keeper->own_file = g_strconcat(options->instance, "-modules.conf", NULL);
    keeper->path = g_build_filename(options->root, "etc/modprobe.d", keeper->own_file, NULL);
    keeper->remembered = g_build_filename(options->state_folder, "modules.json", NULL);
    keeper->always = options->always;
    g_mutex_init(&keeper->work);
    g_mutex_init(&keeper->lock);
    return keeper;
}

void module_keeper_free(ModuleKeeper *keeper) {
    if (!keeper)
        return;
    host_modules_clear(&keeper->policy);
    agent_module_list_clear(&keeper->listed);
    g_mutex_clear(&keeper->work);
    g_mutex_clear(&keeper->lock);
    g_free(keeper->root);
    g_free(keeper->instance);
    g_free(keeper->own_file);
    g_free(keeper->path);
    g_free(keeper->remembered);
    g_free(keeper->reason);
    g_free(keeper);
}

/* ---- state ---- */

static void note(ModuleKeeper *keeper, ModulesState state, const Error *err, int64_t n_blocked) {
    g_mutex_lock(&keeper->lock);
    keeper->state = state;
    g_clear_pointer(&keeper->reason, g_free);
    if (err)
        keeper->reason = error_text(err);
    if (keeper->reason && strlen(keeper->reason) > MAX_REASON)
        *g_utf8_find_prev_char(keeper->reason, keeper->reason + MAX_REASON + 1) = '\0';
    if (!err)
        keeper->n_blocked = n_blocked;
    g_mutex_unlock(&keeper->lock);
}

void module_keeper_fill(ModuleKeeper *keeper, HostStatus *status) {
    g_mutex_lock(&keeper->lock);
    host_status_set_modules_state(status, keeper->state);
    host_status_set_modules_error(status, keeper->reason);
    host_status_set_modules_blocked(status, keeper->n_blocked);
    g_mutex_unlock(&keeper->lock);
}

/* ---- judging ---- */

typedef struct Judged {
    KernelModules *modules;
    ModuleJudgement judgement;
} Judged;

static void judged_clear(Judged *judged) {
    module_judgement_clear(&judged->judgement);
    g_clear_pointer(&judged->modules, kernel_modules_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Judged, judged_clear)

static bool judge(ModuleKeeper *keeper, const HostModules *policy, Judged *ret_judged, Error *err) {
    if (!kernel_modules_read(keeper->root, keeper->own_file, &ret_judged->modules, err))
        return false;
    module_policy_judge(ret_judged->modules, policy, keeper->always, &ret_judged->judgement);
    return true;
}

static int64_t count_loadable(const KernelModules *modules) {
    GHashTableIter each;
    void *module;
    int64_t n = 0;
    g_hash_table_iter_init(&each, modules->by_name);
    while (g_hash_table_iter_next(&each, NULL, &module))
        n += !((const KernelModule *)module)->is_builtin;
    return n;
}

static void fill_plan(ModuleKeeper *keeper, const Judged *judged, AgentModulesPlan *ret_plan) {
    const ModuleJudgement *judgement = &judged->judgement;
    agent_modules_plan_set_available(ret_plan, count_loadable(judged->modules));
    agent_modules_plan_set_blocked(ret_plan, judgement->blocked->len);
    agent_modules_plan_set_file(ret_plan, keeper->path);
    for (guint i = 0; i < judgement->lost->len && i < MAX_LOST; i++)
        agent_modules_plan_add_lost(ret_plan, judgement->lost->pdata[i]);
    for (guint i = 0; i < judgement->unknown->len; i++)
        agent_modules_plan_add_unknown(ret_plan, judgement->unknown->pdata[i]);
}

static bool check(ModuleKeeper *keeper, const HostModules *policy, Judged *ret_judged, Error *err) {
    return judge(keeper, policy, ret_judged, err) &&
           module_judgement_check(&ret_judged->judgement, ret_judged->modules, policy, err);
}

bool module_keeper_check(
    ModuleKeeper *keeper, const HostModules *policy, AgentModulesPlan *ret_plan, Error *err) {
    g_auto(Judged) judged = {0};
    g_mutex_lock(&keeper->work);
    bool is_good = check(keeper, policy, &judged, err);
    if (is_good)
        fill_plan(keeper, &judged, ret_plan);
    g_mutex_unlock(&keeper->work);
    return is_good;
}

/* ---- files ---- */

static bool remove_file(const char *path, Error *err) {
    if (access(path, F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR))
        return true; /* asked first: on a file system without writes even that would fail */
    if (unlink(path) < 0)
        return error_set_errno(err, errno, "removing %s", path);
    g_autofree char *folder = g_path_get_dirname(path);
    return folder_sync(folder, err);
}

static bool remember(ModuleKeeper *keeper, const HostModules *policy, Error *err) {
    g_autoptr(json_t) json = host_modules_encode(policy, MODEL_ENCODE_ALL);
    g_autofree char *text = json_to_pretty_text(json);
    return file_replace(keeper->remembered, text, strlen(text), 0600, err);
}

/* Not touched when it is right already. */
static bool write_file(ModuleKeeper *keeper, const Judged *judged, Error *err) {
    g_autofree char *text =
        module_judgement_file(&judged->judgement, keeper->instance, judged->modules->release);
    g_autofree char *now = NULL, *folder = g_path_get_dirname(keeper->path);
    if (file_read(keeper->path, CONFIGURATION_LIMIT, &now, NULL, NULL) && !strcmp(now, text))
        return true;
    return folder_make(folder, 0755, err) && file_replace(keeper->path, text, strlen(text), 0644, err);
}

static bool apply_list(ModuleKeeper *keeper, const HostModules *policy, const Judged *judged, Error *err) {
    return remember(keeper, policy, err) && write_file(keeper, judged, err);
}

static bool apply_open(ModuleKeeper *keeper, Error *err) {
    return remove_file(keeper->path, err) && remove_file(keeper->remembered, err);
}

/* ---- applying ---- */

static void take_policy(ModuleKeeper *keeper, const HostModules *policy) {
    HostModules copy = {0};
    host_modules_copy(&copy, policy); /* they may be the same */
    host_modules_clear(&keeper->policy);
    keeper->policy = copy;
}

static bool apply_listed(
    ModuleKeeper *keeper, const HostModules *policy, AgentModulesPlan *ret_plan, Error *err) {
    g_auto(Judged) judged = {0};
    if (!check(keeper, policy, &judged, err) || !apply_list(keeper, policy, &judged, err))
        return false;
    take_policy(keeper, policy);
    note(keeper, MODULES_STATE_APPLIED, NULL, judged.judgement.blocked->len);
    fill_plan(keeper, &judged, ret_plan);
    return true;
}

/* Nothing need be known of the kernel's modules for that. */
static bool apply_opened(ModuleKeeper *keeper, AgentModulesPlan *ret_plan, Error *err) {
    static const HostModules open = {0};
    if (!apply_open(keeper, err))
        return false;
    take_policy(keeper, &open);
    note(keeper, MODULES_STATE_OPEN, NULL, 0);
    agent_modules_plan_set_blocked(ret_plan, 0);
    agent_modules_plan_set_available(ret_plan, 0);
    return true;
}

static bool apply(ModuleKeeper *keeper, const HostModules *policy, AgentModulesPlan *ret_plan, Error *err) {
    g_auto(Error) fault = {0};
    bool is_good = policy->policy == MODULE_POLICY_OPEN ? apply_opened(keeper, ret_plan, &fault)
                                                        : apply_listed(keeper, policy, ret_plan, &fault);
    if (is_good)
        return true;
    note(keeper, MODULES_STATE_FAILED, &fault, 0);
    error_move(err, &fault);
    return false;
}

bool module_keeper_apply(
    ModuleKeeper *keeper, const HostModules *policy, AgentModulesPlan *ret_plan, Error *err) {
    g_mutex_lock(&keeper->work);
    bool is_good = apply(keeper, policy, ret_plan, err);
    g_mutex_unlock(&keeper->work);
    return is_good;
}

static bool recall(ModuleKeeper *keeper, HostModules *ret_policy, Error *err) {
    g_autofree char *text = NULL;
    size_t length = 0;
    if (!file_read(keeper->remembered, REMEMBERED_LIMIT, &text, &length, err))
        return false;
    g_autoptr(json_t) json = json_parse(text, length, err);
    return (json && host_modules_decode(json, MODEL_STORED, ret_policy, err)) ||
           error_wrap(err, ERROR_CORRUPT, "%s", keeper->remembered);
}

static bool resume(ModuleKeeper *keeper, Error *err) {
    g_auto(HostModules) policy = {0};
    g_auto(AgentModulesPlan) plan = {0};
    g_auto(Error) fault = {0};
    file_replace_sweep_one(keeper->path);
    file_replace_sweep_one(keeper->remembered);
    if (recall(keeper, &policy, &fault))
        return apply(keeper, &policy, &plan, err);
    if (fault.code == ERROR_NOT_FOUND)
        return true;
    note(keeper, MODULES_STATE_FAILED, &fault, 0);
    error_move(err, &fault);
    return false;
}

bool module_keeper_resume(ModuleKeeper *keeper, Error *err) {
    g_mutex_lock(&keeper->work);
    bool is_good = resume(keeper, err);
    g_mutex_unlock(&keeper->work);
    return is_good;
}

/* ---- pages ---- */

static bool look(ModuleKeeper *keeper, Error *err) {
    g_auto(Judged) judged = {0};
    agent_module_list_clear(&keeper->listed);
    if (!judge(keeper, &keeper->policy, &judged, err))
        return false;
    module_report_fill(judged.modules, &judged.judgement, &keeper->listed);
    return true;
}

static void fill_page(ModuleKeeper *keeper, const char *after, AgentModuleList *ret_page) {
    const HostModule *last = NULL;
    size_t bytes = 0;
    for (size_t i = 0; i < keeper->listed.modules.n; i++) {
        const HostModule *row = &keeper->listed.modules.items[i];
        if (after && strcmp(row->name, after) <= 0)
            continue;
        g_autoptr(json_t) json = host_module_encode(row, MODEL_ENCODE_ALL);
        bytes += json_dumpb(json, NULL, 0, JSON_COMPACT) + 1;
        if (last && bytes > PAGE_BYTES) {
            agent_module_list_set_next(ret_page, last->name);
            return;
        }
        host_module_copy(agent_module_list_add_modules(ret_page), row);
        last = row;
    }
    agent_module_list_clear(&keeper->listed); /* nobody needs it any more */
}

bool module_keeper_page(ModuleKeeper *keeper, const char *after, AgentModuleList *ret_page, Error *err) {
    g_mutex_lock(&keeper->work);
    bool is_there = after && keeper->listed.modules.n > 0; /* another reader may have dropped it */
    bool is_good = is_there || look(keeper, err);
    if (is_good)
        fill_page(keeper, after, ret_page);
    g_mutex_unlock(&keeper->work);
    return is_good;
}
