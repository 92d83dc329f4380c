/*
 * VMs that are held while their disks are copied, by as many copies at once as there are: the first one
 * holds, the last one lets go. A note (STATE/ID.held) outlives the agent, so that its next start lets those
 * go on that it had held itself, and never one that a user holds. Functions block; any thread.
 */
#pragma once
#include "hypervisor/hypervisor.h"

typedef struct Held Held;

/* Borrows all. */
Held *held_new(const Hypervisor *driver, HypervisorSession *const *session, const char *state_folder);
void held_free(Held *held); /* accepts NULL */

/* A VM that a user holds is held already: *ret_is_ours false, and nothing is to be let go. */
bool held_take(Held *held, const char *vm_id, const Cancel *cancel, bool *ret_is_ours, Error *err);
/* For each take that was ours. What fails is tried again by held_resume_all, and logged. */
void held_release(Held *held, const char *vm_id);
/* At the agent's start, and again as long as it returns false: all that was held before goes on. */
bool held_resume_all(Held *held);
