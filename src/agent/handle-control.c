/* What the control domain keeps for itself: the call, and what became of it in the host's status. */
#include <string.h>
#include "agent/agent-private.h"
#include "host/boot-control.h"
#include "model/host-control.h"

#define CONTROL_KEY "control" /* one change after the other */

enum { ERROR_LIMIT = 1000 };

const char *key_of_control(const void *parameters G_GNUC_UNUSED) {
    return CONTROL_KEY;
}

static BootControl place_of(const Agent *agent) {
    return (BootControl){.root = agent->system_root, .instance = agent->instance};
}

static void note_fault(Agent *agent, const Error *err) {
    g_mutex_lock(&agent->control_lock);
    g_clear_pointer(&agent->control_error, g_free);
    if (err) {
        agent->control_error = error_text(err);
        agent->control_error[MIN(strlen(agent->control_error), ERROR_LIMIT)] = '\0';
    }
    g_mutex_unlock(&agent->control_lock);
    reporter_changed(NULL, agent->reporter);
}

static bool apply(const Agent *agent, const HostControl *wanted, Error *err) {
    g_auto(HostStatus) status = {0};
    const BootControl place = place_of(agent);
    if (!wanted || !wanted->present)
        return boot_control_write(&place, NULL, err);
    if (!agent->driver->probe(agent->session, &status, err))
        return false;
    return host_control_check(wanted, &status, err) && boot_control_write(&place, wanted, err);
}

bool handle_control_apply(AgentCall *call, Error *err) {
    const AgentControl *request = call->parameters;
    g_auto(Error) fault = {0};
    bool is_good = apply(call->agent,
        agent_control_has(request, AGENT_CONTROL_FIELD_CONTROL) ? &request->control : NULL, &fault);
    note_fault(call->agent, is_good ? NULL : &fault);
    error_move(err, &fault);
    return is_good;
}

void control_fill(const Agent *agent, HostStatus *status) {
    const BootControl place = place_of(agent);
    g_auto(HostControl) wanted = {0};
    Agent *shared = (Agent *)agent; /* for its lock */
    if (!host_status_has(status, HOST_STATUS_FIELD_CONTROL_MEMORY))
        return;
    bool is_set = boot_control_read(&place, &wanted);
    bool is_met = is_set && boot_control_is_met(&wanted, status->control_memory, status->control_cpus);
    host_status_set_control_state(status, !is_set  ? CONTROL_STATE_OPEN
                                          : is_met ? CONTROL_STATE_APPLIED
                                                   : CONTROL_STATE_PENDING);
    g_mutex_lock(&shared->control_lock);
    if (agent->control_error) {
        host_status_set_control_state(status, CONTROL_STATE_FAILED);
        host_status_set_control_error(status, agent->control_error);
    }
    g_mutex_unlock(&shared->control_lock);
}
