/*
 * Before a host is stored: asks the agent at its address who it is, and takes ownership; over the network by
 * proving the code that the host shows, and with a certificate for the host's key. Main loop only.
 */
#pragma once
#include "manager/fleet.h"
#include "types.h"

/* Exactly one of `identity` and err is given, never before enrol_host returns. `key` is the fingerprint of
 * the key that the agent showed; NULL for a UNIX socket. All borrowed. */
typedef void (*EnrolFn)(const AgentIdentity *identity, const char *key, const Error *err, void *data);

/* Borrowed; store and network must outlive it. */
typedef struct EnrolRequest {
    Store *store;
    const FleetNetwork *network;
    const char *address;
    const char *code;   /* that a person typed; or NULL */
    const char *secret; /* counts without a code; or NULL */
    /* Whom it must be, or nothing is asked of it: ERROR_INVALID. NULL: whoever it is. */
    const char *host_id;
} EnrolRequest;

/* ERROR_NOT_OWNER when it belongs to another manager, ERROR_INVALID for an address that is not understood,
 * ERROR_DENIED for a wrong code. */
void enrol_host(const EnrolRequest *request, EnrolFn done, void *data);
