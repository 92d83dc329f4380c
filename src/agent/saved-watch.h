/*
 * Settles saves that were interrupted, every ten seconds, behind whatever works on the VM: nobody may ask for
 * that VM, and the call that failed could not settle it because the hypervisor's daemon was away. Main loop
 * only.
 */
#pragma once

typedef struct Agent Agent;
typedef struct SavedWatch SavedWatch;

SavedWatch *saved_watch_new(Agent *agent);
void saved_watch_stop(SavedWatch *watch); /* no further look begins */
void saved_watch_free(SavedWatch *watch); /* no worker may run any more; accepts NULL */
