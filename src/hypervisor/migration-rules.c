/* The table of docs/live-migration.md, "Repair". */
#include "hypervisor/migration-rules.h"
#include <glib.h>

static MigrationStep after_switch(const MigrationView *view) {
    if (view->source == MIGRATION_RUNS)
        return MIGRATION_FAULT;
    switch (view->target) {
    case MIGRATION_ARRIVED:
        return MIGRATION_START_TARGET;
    case MIGRATION_RUNS:
    case MIGRATION_ENDED:
    case MIGRATION_NOTHING: /* it ran there and has ended */
        return view->source == MIGRATION_NOTHING   ? MIGRATION_MOVED
               : view->source == MIGRATION_UNKNOWN ? MIGRATION_WAIT
               : view->source == MIGRATION_LEADING ? MIGRATION_WAIT
                                                   : MIGRATION_DROP_SOURCE;
    case MIGRATION_UNKNOWN:
        return MIGRATION_WAIT;
    default:
        return MIGRATION_FAULT;
    }
}

/* What the target has is worth nothing. */
static MigrationStep without_target(const MigrationView *view, MigrationStep then) {
    bool is_there = view->target == MIGRATION_ARRIVING || view->target == MIGRATION_ARRIVED;
    return is_there ? MIGRATION_DROP_TARGET : then;
}

static MigrationStep before_switch(const MigrationView *view) {
    if (view->target == MIGRATION_RUNS)
        return MIGRATION_FAULT;
    switch (view->source) {
    case MIGRATION_RUNS:
    case MIGRATION_ENDED: /* it may have gone on after the copy: that is old */
    case MIGRATION_NOTHING:
        return without_target(view, MIGRATION_STAYED);
    case MIGRATION_HELD:
        if (view->target == MIGRATION_ARRIVED)
            return MIGRATION_SWITCH;
        if (view->is_out_of_patience) /* whatever is there never runs: there is no switch */
            return MIGRATION_RESUME_SOURCE;
        if (view->target == MIGRATION_UNKNOWN)
            return MIGRATION_WAIT;
        return without_target(view, MIGRATION_RESUME_SOURCE);
    case MIGRATION_LEFT:
        return view->target == MIGRATION_ARRIVED   ? MIGRATION_SWITCH
               : view->target == MIGRATION_UNKNOWN ? MIGRATION_WAIT
                                                   : without_target(view, MIGRATION_STAYED);
    case MIGRATION_LEADING:
    case MIGRATION_UNKNOWN:
        return MIGRATION_WAIT;
    default:
        return MIGRATION_FAULT;
    }
}

MigrationStep migration_next(const MigrationView *view) {
    return view->is_switched ? after_switch(view) : before_switch(view);
}

bool migration_may(MigrationStep step, MigrationHere here) {
    switch (step) {
    case MIGRATION_START_TARGET:
        return here == MIGRATION_ARRIVED;
    case MIGRATION_DROP_TARGET:
        return here == MIGRATION_ARRIVING || here == MIGRATION_ARRIVED;
    case MIGRATION_RESUME_SOURCE:
        return here == MIGRATION_HELD;
    case MIGRATION_DROP_SOURCE:
        return here == MIGRATION_HELD || here == MIGRATION_LEFT || here == MIGRATION_ENDED;
    default:
        return false;
    }
}

bool migration_goes_on(MigrationStep step) {
    return step == MIGRATION_START_TARGET || step == MIGRATION_RESUME_SOURCE;
}

bool migration_check(MigrationStep step, MigrationHere here, bool *ret_is_done, Error *err) {
    *ret_is_done = here == (migration_goes_on(step) ? MIGRATION_RUNS : MIGRATION_NOTHING);
    return *ret_is_done || migration_may(step, here) ||
           error_set(err, ERROR_WRONG_STATE, NULL, "%s is not meant for a VM of which this is here: %s",
               migration_step_name(step), migration_here_name(here));
}

const char *migration_here_name(MigrationHere here) {
    static const char *const names[] = {
        "nothing", "runs", "leading", "held", "left", "ended", "arriving", "arrived", "unknown"};
    return (unsigned)here < G_N_ELEMENTS(names) ? names[here] : "?";
}

const char *migration_step_name(MigrationStep step) {
    static const char *const names[] = {"wait", "switch", "start target", "drop target", "resume source",
        "drop source", "moved", "stayed", "fault"};
    return (unsigned)step < G_N_ELEMENTS(names) ? names[step] : "?";
}
