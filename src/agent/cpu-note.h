/*
 * What guests of this host were given of its processor last, where their pool decides that: it counts for
 * starts without the manager. A file in the agent's state folder. Blocks; any thread.
 */
#pragma once
#include "agent/agent-private.h"

/* After a start that the manager asked for. What fails is logged: the VM runs all the same. */
void cpu_note_take(const Agent *agent, const AgentVm *started);
/* For a start without the manager: adds it to the request, unless its VM is to have all of the processor. */
void cpu_note_give(const Agent *agent, AgentVm *request);
