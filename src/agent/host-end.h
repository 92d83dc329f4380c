/*
 * The end of the machine: from `host.end` on nothing starts here, what runs is asked to stop, and is killed
 * when its time is over. `host.begin` takes that back. What a machine's own service manager asks for (root on
 * the agent's socket), so no owner is needed. Main loop, but for host_end_check_open.
 */
#pragma once
#include "agent/agent-private.h"

/* The methods. */
void serve_host_end(AgentClient *client, const void *parameters, RpcRequest *request);
void serve_host_begin(AgentClient *client, const void *parameters, RpcRequest *request);

/* Somebody pulls that VM's plug: it is not waited for. */
void host_end_make_way(Agent *agent, const char *vm_id);

/* The agent ends: who waits is answered, what was begun goes on for nobody. */
void host_end_stop(Agent *agent);
