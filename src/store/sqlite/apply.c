/* Transactions, leases and compaction as SQL. */
#include "store/sqlite/apply.h"
#include <inttypes.h>

/* Compacting for each commit would cost a delete each; waiting for one hundredth more costs nothing. */
enum { HISTORY_SLACK_SHARE = 100, MIN_HISTORY_SLACK = 16 };

static ApplyOutcome compare(SqliteConnection *connection, const StoreOperation *operation, Error *err) {
    sqlite3_stmt *statement = connection_statement(connection, STATEMENT_MOD_REVISION, err);
    if (!statement)
        return APPLY_BROKEN;
    bind_key(statement, 1, operation->key);
    bool has_row = false;
    if (!connection_step(connection, statement, &has_row, err))
        return APPLY_BROKEN;
    int64_t found = has_row ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_reset(statement);
    if (found == operation->mod_revision)
        return APPLY_UNCHANGED;
    if (operation->mod_revision == 0)
        error_set(
            err, ERROR_PRECONDITION, NULL, "%s exists already (revision %" PRId64 ")", operation->key, found);
    else if (found == 0)
        error_set(err, ERROR_PRECONDITION, NULL, "%s does not exist any more (expected revision %" PRId64 ")",
            operation->key, operation->mod_revision);
    else
        error_set(err, ERROR_PRECONDITION, NULL, "%s has revision %" PRId64 ", expected %" PRId64,
            operation->key, found, operation->mod_revision);
    return APPLY_REFUSED;
}

static bool add_change(SqliteConnection *connection, const StoreItem *item, Error *err) {
    sqlite3_stmt *statement = connection_statement(connection, STATEMENT_ADD_CHANGE, err);
    if (!statement)
        return false;
    bind_key(statement, 1, item->key);
    bind_value(statement, 2, item->value);
    bind_int(statement, 3, item->create_revision);
    bind_int(statement, 4, item->mod_revision);
    bind_int(statement, 5, item->version);
    bind_int(statement, 6, item->lease);
    return connection_finish(connection, statement, err);
}

static ApplyOutcome check_lease(SqliteConnection *connection, int64_t lease, Error *err) {
    if (lease == 0)
        return APPLY_UNCHANGED;
    sqlite3_stmt *statement = connection_statement(connection, STATEMENT_LEASE_EXISTS, err);
    if (!statement)
        return APPLY_BROKEN;
    bind_int(statement, 1, lease);
    bool has_row = false;
    if (!connection_step(connection, statement, &has_row, err))
        return APPLY_BROKEN;
    sqlite3_reset(statement);
    if (has_row)
        return APPLY_UNCHANGED;
    error_set(err, ERROR_NOT_FOUND, NULL, "the lease %" PRId64 " has ended", lease);
    return APPLY_REFUSED;
}

static ApplyOutcome put(
    SqliteConnection *connection, const StoreOperation *operation, int64_t revision, Error *err) {
    ApplyOutcome outcome = check_lease(connection, operation->lease, err);
    if (outcome != APPLY_UNCHANGED)
        return outcome;
    sqlite3_stmt *statement = connection_statement(connection, STATEMENT_PUT, err);
    if (!statement)
        return APPLY_BROKEN;
    bind_key(statement, 1, operation->key);
    bind_value(statement, 2, operation->value);
    bind_int(statement, 3, revision);
    bind_int(statement, 4, operation->lease);
    bool has_row = false;
    if (!connection_step(connection, statement, &has_row, err))
        return APPLY_BROKEN;
    g_assert(has_row); /* RETURNING */
    const StoreItem item = {
        .key = operation->key,
        .value = operation->value,
        .create_revision = sqlite3_column_int64(statement, 0),
        .mod_revision = revision,
        .version = sqlite3_column_int64(statement, 1),
        .lease = operation->lease,
    };
    if (!connection_finish(connection, statement, err) || !add_change(connection, &item, err))
        return APPLY_BROKEN;
    return APPLY_CHANGED;
}

static ApplyOutcome delete_key(SqliteConnection *connection, char *key, int64_t revision, Error *err) {
    sqlite3_stmt *statement = connection_statement(connection, STATEMENT_DELETE, err);
    if (!statement)
        return APPLY_BROKEN;
    bind_key(statement, 1, key);
    if (!connection_finish(connection, statement, err))
        return APPLY_BROKEN;
    if (sqlite3_changes(connection->db) == 0)
        return APPLY_UNCHANGED;
    const StoreItem item = {.key = key, .mod_revision = revision};
    return add_change(connection, &item, err) ? APPLY_CHANGED : APPLY_BROKEN;
}

static ApplyOutcome apply_operation(
    SqliteConnection *connection, const StoreOperation *operation, int64_t revision, Error *err) {
    switch (operation->kind) {
    case STORE_COMPARE:
        return compare(connection, operation, err);
    case STORE_PUT:
        return put(connection, operation, revision, err);
    case STORE_DELETE:
        return delete_key(connection, operation->key, revision, err);
    default:
        g_assert_not_reached();
    }
}

/* All compares see the state before the transaction, as in etcd. */
static ApplyOutcome apply_pass(SqliteConnection *connection, const StoreTransaction *transaction,
    bool compares, int64_t revision, Error *err) {
    ApplyOutcome total = APPLY_UNCHANGED;
    for (guint i = 0; i < transaction->operations->len; i++) {
        const StoreOperation *operation = &g_array_index(transaction->operations, StoreOperation, i);
        if ((operation->kind == STORE_COMPARE) != compares)
            continue;
        ApplyOutcome outcome = apply_operation(connection, operation, revision, err);
        if (outcome == APPLY_REFUSED || outcome == APPLY_BROKEN)
            return outcome;
        if (outcome == APPLY_CHANGED)
            total = APPLY_CHANGED;
    }
    return total;
}

/* The uuid was checked by its form (store_become). */
static bool set_identity(SqliteConnection *connection, const StoreTransaction *transaction, Error *err) {
    g_autofree char *sql =
        g_strdup_printf("UPDATE meta SET value = '%s' WHERE name = 'uuid'", transaction->uuid);
    return connection_run(connection, sql, err) && meta_set(connection, "epoch", transaction->epoch, err);
}

ApplyOutcome apply_transaction(
    SqliteConnection *connection, const StoreTransaction *transaction, int64_t next_revision, Error *err) {
    ApplyOutcome outcome = apply_pass(connection, transaction, true, next_revision, err);
    if (outcome != APPLY_UNCHANGED)
        return outcome;
    if (transaction->uuid && !set_identity(connection, transaction, err))
        return APPLY_BROKEN;
    return apply_pass(connection, transaction, false, next_revision, err);
}

ApplyOutcome apply_lease_grant(SqliteConnection *connection, int64_t lease, int64_t ttl_ns, Error *err) {
    sqlite3_stmt *statement = connection_statement(connection, STATEMENT_LEASE_ADD, err);
    if (!statement)
        return APPLY_BROKEN;
    bind_int(statement, 1, lease);
    bind_int(statement, 2, ttl_ns);
    return connection_finish(connection, statement, err) ? APPLY_UNCHANGED : APPLY_BROKEN;
}

static bool lease_keys(SqliteConnection *connection, int64_t lease, GPtrArray *keys, Error *err) {
    sqlite3_stmt *statement = connection_statement(connection, STATEMENT_LEASE_KEYS, err);
    if (!statement)
        return false;
    bind_int(statement, 1, lease);
    bool has_row = false;
    while (connection_step(connection, statement, &has_row, err)) {
        if (!has_row)
            return true;
        g_ptr_array_add(keys, column_key(statement, 0));
    }
    return false;
}

ApplyOutcome apply_lease_revoke(
    SqliteConnection *connection, int64_t lease, int64_t next_revision, Error *err) {
    g_autoptr(GPtrArray) keys = g_ptr_array_new_with_free_func(g_free);
    if (!lease_keys(connection, lease, keys, err))
        return APPLY_BROKEN;
    for (guint i = 0; i < keys->len; i++)
        if (delete_key(connection, keys->pdata[i], next_revision, err) == APPLY_BROKEN)
            return APPLY_BROKEN;
    sqlite3_stmt *statement = connection_statement(connection, STATEMENT_LEASE_DELETE, err);
    if (!statement)
        return APPLY_BROKEN;
    bind_int(statement, 1, lease);
    if (!connection_finish(connection, statement, err))
        return APPLY_BROKEN;
    return keys->len > 0 ? APPLY_CHANGED : APPLY_UNCHANGED;
}

static bool forget_changes(SqliteConnection *connection, int64_t revision, Error *err) {
    sqlite3_stmt *statement = connection_statement(connection, STATEMENT_COMPACT, err);
    if (!statement)
        return false;
    bind_int(statement, 1, revision);
    return connection_finish(connection, statement, err) && meta_set(connection, "compacted", revision, err);
}

ApplyOutcome apply_compact(SqliteConnection *connection, int64_t revision, int64_t newest, Error *err) {
    if (revision > newest) {
        error_set(err, ERROR_INVALID, NULL, "revision %" PRId64 " is in the future (now %" PRId64 ")",
            revision, newest);
        return APPLY_REFUSED;
    }
    int64_t compacted = 0;
    if (!meta_get(connection, "compacted", &compacted, err))
        return APPLY_BROKEN;
    if (revision <= compacted)
        return APPLY_UNCHANGED;
    return forget_changes(connection, revision, err) ? APPLY_UNCHANGED : APPLY_BROKEN;
}

bool apply_history_bound(SqliteConnection *connection, int64_t keep, Error *err) {
    sqlite3_stmt *statement = connection_statement(connection, STATEMENT_CHANGES_BOUNDS, err);
    bool has_row = false;
    if (!statement || !connection_step(connection, statement, &has_row, err))
        return false;
    int64_t oldest = sqlite3_column_int64(statement, 0), newest = sqlite3_column_int64(statement, 1);
    sqlite3_reset(statement);
    if (newest - oldest < keep + MAX(keep / HISTORY_SLACK_SHARE, MIN_HISTORY_SLACK))
        return true;
    statement = connection_statement(connection, STATEMENT_CHANGES_CUT, err);
    if (!statement)
        return false;
    bind_int(statement, 1, newest - keep);
    if (!connection_step(connection, statement, &has_row, err))
        return false;
    g_assert(has_row);
    int64_t revision = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return forget_changes(connection, revision, err);
}
