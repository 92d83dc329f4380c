/* get and range. */
#include "store/sqlite/read.h"

enum { MAX_RANGE_BYTES = 8 * 1000 * 1000 };

StoreItem read_item(sqlite3_stmt *statement) {
    return (StoreItem){
        .key = column_key(statement, 0),
        .value = column_value(statement, 1),
        .create_revision = sqlite3_column_int64(statement, 2),
        .mod_revision = sqlite3_column_int64(statement, 3),
        .version = sqlite3_column_int64(statement, 4),
        .lease = sqlite3_column_int64(statement, 5),
    };
}

bool read_get(SqliteConnection *connection, const char *key, StoreItem *ret_item, Error *err) {
    sqlite3_stmt *statement = connection_statement(connection, STATEMENT_GET, err);
    if (!statement)
        return false;
    bind_key(statement, 1, key);
    bool has_row = false;
    if (!connection_step(connection, statement, &has_row, err))
        return false;
    if (!has_row)
        return error_set(err, ERROR_NOT_FOUND, NULL, "the store has no %s", key);
    *ret_item = read_item(statement);
    sqlite3_reset(statement);
    return true;
}

static bool read_page(SqliteConnection *connection, const char *prefix, const char *start_after, size_t limit,
    StoreRange *range, Error *err) {
    sqlite3_stmt *statement = connection_statement(connection, STATEMENT_RANGE, err);
    if (!statement)
        return false;
    bind_prefix(statement, 1, prefix);
    bind_key(statement, 3, start_after);
    bind_int(statement, 4, (int64_t)limit + 1);
    range->items = g_new0(StoreItem, limit);
    size_t bytes = 0;
    bool has_row = false;
    while (connection_step(connection, statement, &has_row, err)) {
        if (!has_row)
            return true;
        if (range->n_items == limit || bytes > MAX_RANGE_BYTES) {
            range->has_more = true;
            sqlite3_reset(statement);
            return true;
        }
        StoreItem *item = &range->items[range->n_items++];
        *item = read_item(statement);
        bytes += g_bytes_get_size(item->value);
    }
    return false;
}

bool read_range(SqliteConnection *connection, const char *prefix, const char *start_after, size_t limit,
    StoreRange *ret_range, Error *err) {
    g_auto(StoreRange) range = {0};
    /* Items and revision from one snapshot. */
    bool is_read = connection_run(connection, "BEGIN", err) &&
                   meta_get(connection, "revision", &range.revision, err) &&
                   read_page(connection, prefix, start_after, limit, &range, err);
    if (!sqlite3_get_autocommit(connection->db))
        connection_run(connection, "ROLLBACK", NULL);
    if (!is_read)
        return false;
    *ret_range = range;
    range = (StoreRange){0};
    return true;
}
