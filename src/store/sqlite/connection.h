/*
 * One SQLite connection with its prepared statements. Belongs to one thread at a time. Errors carry the
 * file's path.
 */
#pragma once
#include <sqlite3.h>
#include "store/engine.h"

/* Every statement that runs more than once; its text is in connection.c. */
typedef enum StatementId {
    STATEMENT_GET,
    STATEMENT_RANGE,
    STATEMENT_MOD_REVISION,
    STATEMENT_PUT,
    STATEMENT_DELETE,
    STATEMENT_ADD_CHANGE,
    STATEMENT_CHANGES,
    STATEMENT_CHANGES_BOUNDS,
    STATEMENT_CHANGES_CUT,
    STATEMENT_COMPACT,
    STATEMENT_META_GET,
    STATEMENT_META_SET,
    STATEMENT_LEASES,
    STATEMENT_LEASE_EXISTS,
    STATEMENT_LEASE_ADD,
    STATEMENT_LEASE_DELETE,
    STATEMENT_LEASE_KEYS,
    STATEMENT_MAX,
} StatementId;

typedef struct SqliteConnection {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *statements[STATEMENT_MAX];
} SqliteConnection;

/* `flags` are SQLITE_OPEN_*. */
SqliteConnection *connection_open(const char *path, int flags, Error *err);
void connection_close(SqliteConnection *connection); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SqliteConnection, connection_close)

/* Maps an SQLite result (not OK, ROW, DONE) to an Error. Returns false. */
bool connection_fail(const SqliteConnection *connection, int result, Error *err);
/* Runs statements that return no rows. */
bool connection_run(SqliteConnection *connection, const char *sql, Error *err);
/* The first column of the first row; ERROR_CORRUPT when there is no row. Newly allocated. */
bool connection_ask(SqliteConnection *connection, const char *sql, char **ret_text, Error *err);
bool connection_ask_int(SqliteConnection *connection, const char *sql, int64_t *ret_value, Error *err);

/* The prepared statement, reset; NULL on error. It stays the connection's. */
sqlite3_stmt *connection_statement(SqliteConnection *connection, StatementId id, Error *err);
/* Steps it: *ret_row says whether there is a row. Resets the statement at the end and on error. */
bool connection_step(SqliteConnection *connection, sqlite3_stmt *statement, bool *ret_row, Error *err);
/* Steps to the end, dropping rows. */
bool connection_finish(SqliteConnection *connection, sqlite3_stmt *statement, Error *err);

/* Bound keys and values must outlive the step. */
void bind_key(sqlite3_stmt *statement, int index, const char *key);
void bind_value(sqlite3_stmt *statement, int index, GBytes *value); /* NULL: NULL */
void bind_int(sqlite3_stmt *statement, int index, int64_t value);
/* Binds [index] = prefix, [index + 1] = the first key behind all that start with it (an empty prefix: behind
 * all). */
void bind_prefix(sqlite3_stmt *statement, int index, const char *prefix);
char *column_key(sqlite3_stmt *statement, int index);
GBytes *column_value(sqlite3_stmt *statement, int index); /* NULL for NULL */

/* The integers of table meta: "revision", "compacted", "epoch". */
bool meta_get(SqliteConnection *connection, const char *name, int64_t *ret_value, Error *err);
bool meta_set(SqliteConnection *connection, const char *name, int64_t value, Error *err);
