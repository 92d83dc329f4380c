/*
 * VMs that are held while their disks are copied, by as many copies at once as there are: the first one
 * holds, the last one lets go. A note (STATE/ID.held) outlives the agent, so that its next start lets those
 * go on that it had held itself, and never one that a user holds. Functions block; any thread.
 */
#pragma once
#include "hypervisor/hypervisor.h"

typedef struct Held Held;

typedef enum HeldBy {
    HELD_BY_NOBODY, /* it does not run */
    HELD_BY_US,
    HELD_BY_USER, /* and stays so when it is released */
} HeldBy;

/* Borrows all. */
Held *held_new(const Hypervisor *driver, HypervisorSession *const *session, const char *state_folder);
void held_free(Held *held); /* accepts NULL */

/* From now on the VM's disks stay as they are. On failure it is as it was, or a note stays and it is tried
 * again. */
bool held_take(Held *held, const char *vm_id, const Cancel *cancel, HeldBy *ret_by, Error *err);
/* For each held_take that succeeded. What fails is tried again by held_resume_all, and logged. */
void held_release(Held *held, const char *vm_id);
/* At the agent's start, and again from time to time: all that was held before goes on. False when one could
 * not. */
bool held_resume_all(Held *held);

/* ERROR_BUSY while a copy relies on the VM. */
bool held_check_free(Held *held, const char *vm_id, Error *err);
/* Somebody else decides from now on whether the VM is held: it is not let go for what was before. Not while
 * a copy relies on it. */
void held_forget(Held *held, const char *vm_id);
/* Waits until no copy relies on any VM, at most that long. */
bool held_wait_for_none(Held *held, int64_t timeout_ms);
