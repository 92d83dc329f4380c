/*
 * A VM's serial console over a WebSocket: bytes from the agent's stream as binary messages and back, bounded
 * in both directions. Main loop only.
 */
#pragma once
#include "http/http-request.h"
#include "manager/fleet.h"

/* Takes over the request: answers with the upgrade once the agent has opened the console, else with a
 * problem. */
bool console_bridge_open(Fleet *fleet, HttpRequest *request, const Vm *vm, Error *err);
