/* What `lodge-agent` asks of the agent that runs on this machine, through its socket. Each blocks, and runs
 * the default main loop meanwhile. ERROR_UNREACHABLE when no agent answers. */
#pragma once
#include "model/json.h"
#include "model/method.h"

/* All VMs stop, and none starts any more; after `timeout_s` (1-3600) they are killed. Prints what happens.
 * ERROR_TIMED_OUT when some could not be ended. */
bool local_end_guests(const char *socket, int timeout_s, Error *err);
/* Prints a new one-time code, and what to do with it. */
bool local_show_code(const char *socket, Error *err);
/* One call. The result, a new reference, or NULL. */
json_t *local_ask(
    const char *socket, AgentMethodId method, json_t *take_parameters, int64_t timeout_s, Error *err);
/* A VM's serial line in this terminal, until ctrl-], which may also come through a pipe: local-console.c. */
bool local_console(const char *socket, const char *vm_id, Error *err);
/* For `lodge --host-local`: asks for `what`, a method for root without its "local.", with JSON `parameters`
 * (NULL: none), and prints one JSON object: {"result": …} or {"error": a problem}. False only when it could
 * not be asked for at all. */
bool local_pass_on(const char *socket, const char *what, const char *parameters, Error *err);
/* The host forgets that owner. */
bool local_release(const char *socket, const char *manager, Error *err);
bool local_allow_guests(const char *socket, Error *err);
