#include "agent/local-rules.h"

bool local_admits(LocalAction action, const LocalAdmission *admission, Error *err) {
    if (admission->is_manager_connected)
        return error_set(err, ERROR_WRONG_STATE, NULL,
            "the manager of this host is connected: use it, without --host-local");
    if (admission->operation)
        return error_set(err, ERROR_CLAIMED, NULL,
            "%s, which the manager has asked for, still works on the VM", admission->operation);
    return action != LOCAL_START || !admission->migration ||
           error_set(err, ERROR_WRONG_STATE, NULL, "%s", admission->migration);
}

/* Where it is settled what there is of it here. */
static bool check_settled(MigrationHere here, Error *err) {
    switch (here) {
    case MIGRATION_NOTHING:
    case MIGRATION_RUNS:
    case MIGRATION_ENDED:
    case MIGRATION_LEFT:
        return true;
    default:
        return error_set(err, ERROR_WRONG_STATE, NULL,
            "the VM is on its way between two hosts (%s); what becomes of it is decided when the manager is "
            "back",
            migration_here_name(here));
    }
}

bool local_may(LocalAction action, const LocalView *view, Error *err) {
    if (!view->has_definition && !view->is_running)
        return error_set(err, ERROR_NOT_FOUND, NULL, "there is no such VM on this host");
    if (!check_settled(view->here, err))
        return false;
    if (action != LOCAL_START)
        return true;
    if (!view->has_definition)
        return error_set(
            err, ERROR_NOT_FOUND, NULL, "its definition lies in no repository that this host can read now");
    if (view->here == MIGRATION_LEFT)
        return error_set(err, ERROR_WRONG_STATE, NULL, "all of the VM has gone to another host");
    return g_strcmp0(view->definition_host, view->host) == 0 ||
           error_set(err, ERROR_WRONG_STATE, NULL, "its definition names another host (%s)",
               view->definition_host ? view->definition_host : "none");
}
