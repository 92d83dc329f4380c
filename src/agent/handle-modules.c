/* Kernel modules: the calls, and the agent's start. */
#include "agent/agent-private.h"
#include "base/log.h"

#define MODULES_KEY "modules" /* one change after the other */

const char *key_of_modules(const void *parameters G_GNUC_UNUSED) {
    return MODULES_KEY;
}

bool handle_modules_apply(AgentCall *call, Error *err) {
    const AgentModules *request = call->parameters;
    bool is_good = module_keeper_apply(call->agent->modules, &request->modules, call->result, err);
    reporter_changed(NULL, call->agent->reporter);
    return is_good;
}

bool handle_modules_check(AgentCall *call, Error *err) {
    const AgentModules *request = call->parameters;
    return module_keeper_check(call->agent->modules, &request->modules, call->result, err);
}

bool handle_modules_list(AgentCall *call, Error *err) {
    const AgentModuleAsk *request = call->parameters;
    return module_keeper_page(call->agent->modules, request->after, call->result, err);
}

/* ---- start ---- */

static void resume_run(void *data) {
    Agent *agent = data;
    g_auto(Error) err = {0};
    if (module_keeper_resume(agent->modules, &err))
        return;
    g_autofree char *text = error_text(&err);
    log_warning("the list of allowed kernel modules cannot be applied: %s", text);
}

static void resume_done(void *data) {
    Agent *agent = data;
    if (!agent->is_stopping)
        reporter_changed(NULL, agent->reporter);
}

void modules_resume(Agent *agent) {
    work_pool_add_keyed(agent->pools[LANE_HOST], MODULES_KEY, resume_run, resume_done, agent, NULL);
}
