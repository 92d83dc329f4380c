/*
 * Live migrations, both ends (docs/live-migration.md). What must outlive the agent is in the journal: that of
 * the source says whether the switch was made, and nobody but it decides (hypervisor/migration-rules.h).
 */
#pragma once
#include "agent/agent-private.h"
#include "agent/vm-plan.h"

/* Lets those in again who send to this host. At the agent's start, behind the journal. */
void migrations_resume(Agent *agent);
/* Why a VM is not to be started here without the manager, which may be that it runs elsewhere: its id ->
 * words; of all that move or have moved, as far as this host remembers. Main loop. */
GHashTable *migration_obstacles(const Agent *agent);
/* Folder of a migration's sockets; newly allocated. */
char *migration_folder(const Agent *agent, const char *id, bool is_target);

/* What a migration that is expected here has for a channel or a file, when its source asks; newly allocated,
 * or NULL with ERROR_NOT_FOUND, ERROR_UNSUPPORTED. */
char *migration_path_for_peer(
    const AgentClient *client, const char *id, const char *vm_id, const char *what, Error *err);

/* ---- streams to this host: migration-streams.c ---- */

GPtrArray *migration_streams_new(void); /* for Agent.migration_streams */
/* Carries between both until one ends, or the migration does. */
void migration_stream_add(
    Agent *agent, const char *id, const char *channel, RpcStream *take_stream, RpcStream *take_local);
void migration_streams_end(Agent *agent, const char *id);

/* ---- the source's way to the target: migration-relay.c ---- */

/*
 * Listens on the sockets of a migration's folder, and carries what comes there to the other host, on streams
 * of their own. Once the target has said that it has all, records the switch and lets the VM go on there.
 * Lives on the main loop; these are called by one thread that works on the migration, and block it.
 */
typedef struct MigrationRelay MigrationRelay;
MigrationRelay *migration_relay_new(Agent *agent, const AgentMigration *migration, Error *err);
void migration_relay_free(MigrationRelay *relay); /* accepts NULL; streams end */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MigrationRelay, migration_relay_free)
/* Connects when there is no connection. ERROR_UNREACHABLE, ERROR_TIMED_OUT: it may have happened or not. */
json_t *migration_relay_ask(MigrationRelay *relay, AgentMethodId method, json_t *take_parameters, Error *err);
/* Ends what it carries; waits until it is certain whether the switch was made. Before that nobody may decide.
 */
void migration_relay_stop(MigrationRelay *relay);
/* A way for files to the target, which expects them: a socket of the caller's, -1 with the error. */
int migration_relay_files(MigrationRelay *relay, Error *err);
/* Durable: false with the error when that is not certain. May be repeated. */
bool migration_relay_switch(MigrationRelay *relay, Error *err);
bool migration_relay_is_switched(MigrationRelay *relay);
/* The VM stayed: nothing is to be remembered. */
bool migration_relay_forget(MigrationRelay *relay, Error *err);
/* Whether the journal knew of this migration when the relay was made. */
bool migration_relay_is_known(const MigrationRelay *relay);

/* ---- of a VM that does not run: migration-carry.c ---- */

/* Target: adds to a migration's record where its files belong. */
void migration_note_files(const Agent *agent, const AgentMigration *request, json_t *record);
/* What the driver needs of the VM; `plan` borrows from `vm`. */
bool migration_plan(const AgentCall *call, const AgentVm *vm, VmPlan *plan, Error *err);

/* ---- what the VM is started with: migration-files.c ---- */

/* Source: so that the target has it. Blocks. */
bool migration_give_files(MigrationRelay *relay, const AgentMigration *request, const HypervisorVm *here,
    const Cancel *cancel, Error *err);
