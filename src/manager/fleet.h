/*
 * The manager's connections to the agents of all hosts: kept up, hosts' states kept true, calls of jobs
 * carried over lost connections. A call of a job has the step's operation id: sent again after a reconnect it
 * is done once. Main loop only.
 */
#pragma once
#include "jobs/jobs.h"
#include "manager/host-authority.h"

typedef struct Fleet Fleet;

/* For hosts on other machines; borrowed, must outlive the fleet. */
typedef struct FleetNetwork {
    const HostAuthority *authority;
    RpcConnector *connector;
    struct WorkPool *proofs; /* of codes: some tenths of a second each */
} FleetNetwork;

/* `network` NULL: only UNIX sockets can be reached. */
Fleet *fleet_new(Inventory *inventory, const Clock *clock, const FleetNetwork *network);
void fleet_free(Fleet *fleet);
const FleetNetwork *fleet_network(const Fleet *fleet);
/* Connects to all hosts and from now on to those that are added. */
void fleet_start(Fleet *fleet);

typedef void (*FleetDoneFn)(JobRun *run, const json_t *result);
/* For a job's step: calls the agent; on success `done`, which must end the step (NULL: ends it); otherwise
 * the step fails. While the host cannot be reached the call waits. The claim on (kind, id) goes with it; kind
 * RESOURCE_MAX for none. */
void fleet_call(JobRun *run, const char *host_id, AgentMethodId method, json_t *take_parameters,
    ResourceId claim_kind, const char *claim_id, FleetDoneFn done);

/* For jobs_on_settled: the agent that answered the operation need not remember it any more. */
void fleet_settled(const char *operation, void *fleet);
/* A job whose step works on that host or waits for it, apart from those whose claims were broken; its id,
 * borrowed, or NULL. Should the host be removed all the same, its steps fail with ERROR_NOT_FOUND. */
const char *fleet_job_on(const Fleet *fleet, const char *host_id);

/* Asks an agent's method for a ticket and opens the stream: exactly one of stream and error is given. */
typedef void (*FleetStreamFn)(RpcStream *take_stream, const Error *err, void *data);
void fleet_stream(Fleet *fleet, const char *host_id, AgentMethodId method, json_t *take_parameters,
    FleetStreamFn done, void *data);
/* Its VMs' states are asked for anew, because more of them are listed now. */
void fleet_look_again(Fleet *fleet, const char *host_id);
/* A VM's serial console. */
void fleet_console(Fleet *fleet, const Vm *vm, FleetStreamFn done, void *data);
/* Both may be NULL. */
typedef struct FleetHooks {
    /* A host has connected and its VMs' states are known. */
    void (*on_connected)(const char *host_id, void *data);
    /* Something was done on a host itself, without the manager (local-actions.h). */
    void (*on_local)(const char *host_id, void *data);
    void *data;
} FleetHooks;
void fleet_set_hooks(Fleet *fleet, const FleetHooks *hooks);
/* A call outside of jobs that changes nothing. ERROR_UNREACHABLE at once while the host is away;
 * ERROR_TIMED_OUT after a minute, or after the time that is given. */
void fleet_ask_within(Fleet *fleet, int64_t timeout_ms, const char *host_id, AgentMethodId method,
    json_t *take_parameters, void (*done)(const json_t *result, const Error *err, void *data), void *data);
void fleet_ask(Fleet *fleet, const char *host_id, AgentMethodId method, json_t *take_parameters,
    void (*done)(const json_t *result, const Error *err, void *data), void *data);
