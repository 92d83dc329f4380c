/*
 * Who holds which object, and who waits. In memory; the durable truth is the `claims` list of each job's
 * record, from which this is rebuilt at start. Claims are taken all at once or not at all, first come first
 * served for each object, so nobody deadlocks and nobody starves. What a parent holds its children may share
 * without waiting: whoever waits for the parent waits for them too. Main loop only.
 */
#pragma once
#include "types.h"

typedef struct Claims Claims;

Claims *claims_new(void);
void claims_free(Claims *claims);
/* Why a job has to wait. Borrowed, until claims change. */
typedef struct ClaimConflict {
    const char *object; /* "vm/<id>" */
    const char *job_id; /* who holds it, or asked for it first */
} ClaimConflict;
/* Whether `job` could hold all its claims now, respecting those who asked earlier. *ret_conflict may be NULL;
 * it is set when not. */
bool claims_are_free(const Claims *claims, const Job *job, ClaimConflict *ret_conflict);
void claims_wait(Claims *claims, const Job *job); /* remembers that it asked */
void claims_hold(Claims *claims, const Job *job); /* it no longer waits */
void claims_release(Claims *claims, const char *job_id);
