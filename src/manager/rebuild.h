/*
 * A lost manager made anew, before its job begins (system.rebuild): the kit is opened, the store must be
 * empty, then this manager takes the lost one's identity, in an epoch that nobody has seen, and the kit's
 * principals. From there the job goes on (rebuild-jobs.c). Main loop only.
 */
#pragma once
#include "jobs/jobs.h"
#include "manager/recovery-kit.h"

/* Borrowed; must outlive what was begun. */
typedef struct RebuildMeans {
    Inventory *inventory;
    Jobs *jobs;
    HostAuthority *authority;
    RpcConnector *connector;
    WorkPool *pool; /* where kits are opened */
} RebuildMeans;

/* `parameters`: of type system_rebuild. `done` once, never before this returns: with the parameters of the
 * job, or, when `is_dry`, with what would be done; nothing is changed then. ERROR_CONFLICT: the store is not
 * empty. */
void rebuild_prepare(
    const RebuildMeans *means, const json_t *parameters, bool is_dry, RecoveryFn done, void *data);

/* Whether the job of one has not ended: what hosts offer beside is looked at afterwards. */
bool rebuild_is_open(Inventory *inventory);
/* ERROR_CONFLICT names what is there, unless this manager was made anew already. */
bool rebuild_check_empty(Inventory *inventory, Error *err);

/* What became of the kit's principals: {n_principals, left: [{name, reason}]}; NULL without a kit. A new
 * reference. */
json_t *rebuild_note(Inventory *inventory);

#define REBUILD_JOB "system.rebuild"
