/*
 * The agent: serves one manager's calls on this host. It owns the journal, the driver's session, the worker
 * pools and the socket. Main loop only.
 */
#pragma once
#include "hypervisor/hypervisor.h"

typedef struct Agent Agent;

typedef struct AgentOptions {
    const char *instance; /* prefix of everything that is made on the host */
    const char *socket;   /* path of the UNIX socket; its folder must exist */
    const char *listen;   /* numeric address with or without a port, for the network too; NULL: not there */
    const char *enrol_secret; /* path of a file; see remote.h; NULL: none */
    const char *state;        /* folder of the agent's own; must exist */
    const Hypervisor *driver;
    Acceleration acceleration;
    const char *system_root;  /* below which the kernel's modules and their configuration lie: "/" */
    const char *helpers;      /* folder of lodge-fetch */
    bool fetches_from_itself; /* imports may come from this machine's own addresses */
    bool has_allowed_user;    /* beside root: */
    uid_t allowed_uid;
    gid_t allowed_gid;
} AgentOptions;

/* Opens the journal, cleans up after a crash, listens. ERROR_IN_USE when another agent has this state folder.
 * Blocks. */
Agent *agent_new(const AgentOptions *options, Error *err);
/* Takes no more connections and calls. */
void agent_stop(Agent *agent);
int agent_running(const Agent *agent); /* calls that work now */
/* Waits for running work: only when agent_running is 0, or where waiting is wanted. VMs run on. Accepts NULL.
 */
void agent_free(Agent *agent);
/* Instead of agent_free when work hangs: makes the journal durable; then the process must end. */
void agent_abandon(Agent *agent);
