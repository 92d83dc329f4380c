/*
 * What root on the host itself asks for while the manager is away (`lodge --host-local`): lists VMs, starts,
 * stops and kills them from what lies in the repositories. local-rules.h says what is allowed; who did what
 * is logged, and kept in the journal until the manager has taken note (`local.actions`). Main loop only.
 */
#pragma once
#include "agent/agent-private.h"

typedef struct LocalChange LocalChange;

void serve_local_list(AgentClient *client, const void *parameters, RpcRequest *request);
/* local.start, local.stop and local.kill. */
void serve_local_change(AgentClient *client, const void *parameters, RpcRequest *request);
/* The owner's. */
void serve_local_actions(AgentClient *client, const void *parameters, RpcRequest *request);
void serve_local_forget(AgentClient *client, const void *parameters, RpcRequest *request);
