/*
 * Reads on the main loop's own connection. Each sees the newest durable state.
 */
#pragma once
#include "store/sqlite/connection.h"

/* Columns key, value, create_revision, mod_revision, version, lease. */
StoreItem read_item(sqlite3_stmt *statement);
bool read_get(SqliteConnection *connection, const char *key, StoreItem *ret_item, Error *err);
/* `start_after` "" is before all keys. */
bool read_range(SqliteConnection *connection, const char *prefix, const char *start_after, size_t limit,
    StoreRange *ret_range, Error *err);
