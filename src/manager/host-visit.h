/*
 * One short connection to an agent that is not listed yet, for a manager that is made anew: who is there,
 * whose it is, which epoch it has seen; then, where that is asked for, it is owned again and gives back what
 * it keeps for such a manager. Main loop only.
 */
#pragma once
#include "manager/fleet.h"

typedef struct VisitRequest {
    RpcConnector *connector;
    const HostAuthority
        *authority; /* what is shown, and whom to believe; must outlive the visit's beginning */
    const char *address;
    int64_t epoch; /* of this manager */
    bool owns;     /* takes the host of this manager anew, and asks for what it keeps */
} VisitRequest;

/* What was found; borrowed by the callback. Strings may be NULL. */
typedef struct VisitFound {
    char *id, *key, *owner, *name; /* `key`: the fingerprint of what it showed; NULL on a UNIX socket */
    bool is_believed;              /* the authority signed what it showed, and it is ours by its own word */
    int64_t epoch;                 /* that it has seen; 0: it does not tell */
    json_t *keepsake;              /* agent_keepsake; NULL: its agent keeps nothing for us */
    HypervisorDriver driver;
    bool has_driver;
} VisitFound;

/* `err` set: the host could not be asked, or refused; `found` tells what is known all the same. Called once,
 * never before host_visit returns. */
typedef void (*VisitFn)(const VisitFound *found, const Error *err, void *data);
void host_visit(const VisitRequest *request, VisitFn done, void *data);
