/*
 * What the agent must remember beyond its own life, in a store of its own: who it is, who owns it, the
 * highest claim revision of each object, which operations run and what came of them, which repositories are
 * open. Read whole at start, every change durable before it counts. Main loop only.
 */
#pragma once
#include "base/cancel.h"
#include "model/method.h"
#include "store/store.h"

enum { JOURNAL_OPERATIONS_LIMIT = 10000, JOURNAL_CLAIMS_LIMIT = 20000 };
enum { JOURNAL_ACTIONS_LIMIT = 1000, JOURNAL_ACTIONS_PAGE = 100 };

typedef struct Operation {
    int references;
    char *id; /* NULL: of a call that changes nothing; not in the journal */
    AgentMethodId method;
    OperationState state;
    int64_t sequence;   /* in the order of their beginning */
    json_t *result;     /* once done */
    Error error;        /* once failed */
    char *key;          /* the object that it works on, or NULL */
    GPtrArray *waiters; /* of who waits for its end; the dispatcher's */
    Cancel *cancel;
} Operation;
Operation *operation_new(const char *id, AgentMethodId method);
Operation *operation_ref(Operation *operation);
void operation_unref(Operation *operation); /* accepts NULL */

typedef struct Journal Journal;
Journal *journal_open(const char *path, Error *err); /* blocks */
void journal_close(Journal *journal);                /* accepts NULL */

const char *journal_host(const Journal *journal);
const char *journal_owner(const Journal *journal); /* NULL: free */
int64_t journal_epoch(const Journal *journal);
/* The highest revision seen of a claim on the object. Of one that is not remembered: the highest that was
 * forgotten (the older half is, beyond JOURNAL_CLAIMS_LIMIT), 0 when none was. */
int64_t journal_claim(const Journal *journal, const char *object);
Operation *journal_find(const Journal *journal, const char *id); /* borrowed, or NULL */
GList *journal_operations(const Journal *journal);               /* borrowed Operations; free the list */

typedef struct JournalClaim {
    const char *object;
    int64_t revision;
} JournalClaim;

/* A higher epoch forgets all claims: their revisions count within an epoch.
 * All of these are visible at once; `done` comes when they are durable (or failed: then they are undone). */
void journal_own(Journal *journal, const char *owner, int64_t epoch, StoreDoneFn done, void *data);
/* Takes a reference. ERROR_BUSY through `done` when too many unfinished operations are remembered. */
void journal_begin(Journal *journal, Operation *operation, const JournalClaim *claims, size_t n_claims,
    StoreDoneFn done, void *data);
void journal_end(Journal *journal, Operation *operation, StoreDoneFn done, void *data);
void journal_forget(Journal *journal, const char *id); /* not while it runs; an unknown one is no error */

/* Whoever was owner is none any more, at once; on failure it is again. Once that is durable, claims and
 * operations that have ended are forgotten. */
void journal_release(Journal *journal, StoreDoneFn done, void *data);
/* Whether one has not ended. */
bool journal_is_busy(const Journal *journal);

/* Migrations of VMs to and from this host that are under way: what they are to remember, any JSON object.
 * A record is seen once it is durable, whereupon `done` (may be NULL) comes; what is deleted, at once. */
void journal_migration_put(
    Journal *journal, const char *id, json_t *take_record, StoreDoneFn done, void *data);
void journal_migration_delete(Journal *journal, const char *id, StoreDoneFn done, void *data);
const json_t *journal_migration(const Journal *journal, const char *id); /* borrowed, or NULL */
GHashTable *journal_migrations(const Journal *journal);                  /* id -> json_t; borrowed */

/* What was done on the host itself, without the manager, until it takes note; beyond JOURNAL_ACTIONS_LIMIT
 * the oldest goes. One that worked when the agent died has the outcome `lost`. */
/* Gives `action` its sequence and keeps a copy; `done` as above. */
void journal_action_begin(Journal *journal, AgentLocalAction *action, StoreDoneFn done, void *data);
/* Name, outcome and text are known now. */
void journal_action_end(Journal *journal, const AgentLocalAction *action);
void journal_actions_forget(Journal *journal, int64_t through);
/* The oldest first, up to the first one that still works, JOURNAL_ACTIONS_PAGE at most. */
void journal_actions(const Journal *journal, AgentLocalActions *ret_actions);

/* What the owner gave to be kept for a manager that is made anew (agent_kept), and outlives it. `done` as
 * above; what is there already is not written again. */
void journal_keep(Journal *journal, json_t *take_kept, StoreDoneFn done, void *data);
const json_t *journal_kept(const Journal *journal); /* borrowed, or NULL */

/* Repositories and networks in use: for cleaning up at start, and for the next owner. */
void journal_repository_put(Journal *journal, const Repository *repository);
void journal_repository_delete(Journal *journal, const char *id);
void journal_network_put(Journal *journal, const Network *network); /* writes only what is new */
void journal_network_delete(Journal *journal, const char *id);
/* Adds those; ERROR_CORRUPT. */
bool journal_holdings(const Journal *journal, AgentHoldings *holdings, Error *err);
bool journal_repositories(
    const Journal *journal, GPtrArray **ret_repositories, Error *err); /* owned Repository */
