/*
 * Before a host is stored: asks the agent at its address who it is, and takes ownership. Main loop only.
 */
#pragma once
#include "store/store.h"
#include "types.h"

/* Exactly one of identity (borrowed) and err is given, never before enrol_host returns. */
typedef void (*EnrolFn)(const AgentIdentity *identity, const Error *err, void *data);
/* ERROR_NOT_OWNER when it belongs to another manager, ERROR_INVALID for an address that is not understood. */
void enrol_host(Store *store, const char *address, EnrolFn done, void *data);
