/*
 * What guests say of themselves: addresses, their agent's version, how many vCPUs they count. Asking is slow
 * (a silent agent takes seconds), so each running VM is asked on a lane of its own, the more seldom the
 * longer that takes; what it said last is kept and added to what the hypervisor says. Main loop, except for
 * guest_watch_note and guest_watch_fill.
 */
#pragma once
#include "hypervisor/hypervisor.h"
#include "base/work.h"

typedef struct GuestWatch GuestWatch;

typedef struct GuestWatchOptions {
    const Hypervisor *driver;          /* without `guest` nothing is ever asked */
    HypervisorSession *const *session; /* looked at when a guest is asked */
    WorkPool *pool;
    void (*on_news)(const char *vm_id, void *data); /* it says something else than before; main loop */
    void *data;
} GuestWatchOptions;

GuestWatch *guest_watch_new(const GuestWatchOptions *options);
void guest_watch_stop(GuestWatch *watch); /* asks no more; what is being asked still ends */
void guest_watch_free(GuestWatch *watch); /* accepts NULL; the pool must be empty */

/* The VM's state as the hypervisor tells it: begins or ends the asking. `soon`: something about it has
 * changed. Any thread. */
void guest_watch_note(GuestWatch *watch, const AgentVmState *state, bool soon);
/* Adds what the guest of a running VM said last. Any thread. */
void guest_watch_fill(GuestWatch *watch, AgentVmState *state);
