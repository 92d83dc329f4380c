/*
 * Who lets a VM go on that is on its way between two hosts: pure. The source's agent decides, alone, from
 * what both hypervisors show and from its own record (docs/live-migration.md). The copy at the target is
 * complete and paused until the source's agent has recorded the switch; the target's agent never lets it go
 * on by its own knowledge. So whatever is lost, one copy runs at most; and one runs unless its process died.
 */
#pragma once
#include <stdbool.h>
#include "base/error.h"

/* What a hypervisor shows of the VM. */
typedef enum MigrationHere {
    MIGRATION_NOTHING, /* no domain */
    MIGRATION_RUNS,    /* it runs, or is held by its user */
    MIGRATION_LEADING, /* source: a client of the hypervisor leads the migration still; it may go on by itself
                        */
    MIGRATION_HELD,    /* source: suspended at the migration's end, and nobody leads it any more */
    MIGRATION_LEFT,    /* source: ended because all of it has arrived */
    MIGRATION_ENDED,   /* ended otherwise: crashed, killed, shut down */
    MIGRATION_ARRIVING, /* target: not complete; goes when its stream ends */
    MIGRATION_ARRIVED,  /* target: complete, paused, has not run here */
    MIGRATION_UNKNOWN,  /* the host or its hypervisor does not answer */
} MigrationHere;

typedef enum MigrationStep {
    MIGRATION_WAIT,          /* look again */
    MIGRATION_SWITCH,        /* record that the target has it */
    MIGRATION_START_TARGET,  /* let it go on there */
    MIGRATION_DROP_TARGET,   /* end what is there, which never ran */
    MIGRATION_RESUME_SOURCE, /* let it go on here */
    MIGRATION_DROP_SOURCE,   /* end what is left here, which never goes on */
    MIGRATION_MOVED,         /* the end: it is the target's, running or not */
    MIGRATION_STAYED,        /* the end: it is the source's, running or not */
    MIGRATION_FAULT,         /* what must never be: touch nothing and say so */
} MigrationStep;

typedef struct MigrationView {
    MigrationHere source, target;
    bool is_switched;        /* the source's agent has recorded it */
    bool is_out_of_patience; /* the target was unknown, or was not to be ended, for longer than a guest should
                                wait */
} MigrationView;

MigrationStep migration_next(const MigrationView *view);
/* Whether what is here of the VM is what the step is meant for. */
bool migration_may(MigrationStep step, MigrationHere here);
/* Whether a host lets the VM go on by that step; by the others it ends what it has. */
bool migration_goes_on(MigrationStep step);
/* Whether the step, one of those that a host takes, is done already where this is here of the VM, or may be.
 * ERROR_WRONG_STATE. */
bool migration_check(MigrationStep step, MigrationHere here, bool *ret_is_done, Error *err);
const char *migration_here_name(MigrationHere here);
const char *migration_step_name(MigrationStep step);
