/* What `lodge-agent` asks of the agent that runs on this machine, through its socket. Each blocks, and runs
 * the default main loop meanwhile. ERROR_UNREACHABLE when no agent answers. */
#pragma once
#include "base/error.h"

/* All VMs stop, and none starts any more; after `timeout_s` (1-3600) they are killed. Prints what happens.
 * ERROR_TIMED_OUT when some could not be ended. */
bool local_end_guests(const char *socket, int timeout_s, Error *err);
/* Prints a new one-time code, and what to do with it. */
bool local_show_code(const char *socket, Error *err);
/* The host forgets that owner. */
bool local_release(const char *socket, const char *manager, Error *err);
bool local_allow_guests(const char *socket, Error *err);
