/*
 * Writes as SQL, inside a transaction that the writer has begun. Each is applied wholly, or undone by the
 * caller with its savepoint. Writer's thread.
 */
#pragma once
#include "store/sqlite/connection.h"

typedef enum ApplyOutcome {
    APPLY_CHANGED,   /* it used the next revision */
    APPLY_UNCHANGED, /* nothing to do */
    APPLY_REFUSED,   /* *err is the caller's answer; undo it and go on */
    APPLY_BROKEN,    /* SQLite failed: the whole group fails */
    APPLY_MAX,
} ApplyOutcome;

ApplyOutcome apply_transaction(
    SqliteConnection *connection, const StoreTransaction *transaction, int64_t next_revision, Error *err);
ApplyOutcome apply_lease_grant(SqliteConnection *connection, int64_t lease, int64_t ttl_ns, Error *err);
ApplyOutcome apply_lease_revoke(
    SqliteConnection *connection, int64_t lease, int64_t next_revision, Error *err);
/* `revision` is clamped from below by what is compacted already; refused when it lies after `newest`. */
ApplyOutcome apply_compact(SqliteConnection *connection, int64_t revision, int64_t newest, Error *err);
/* Forgets the oldest changes when there are notably more than `keep`. */
bool apply_history_bound(SqliteConnection *connection, int64_t keep, Error *err);
