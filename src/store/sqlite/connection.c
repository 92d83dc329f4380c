/* SQLite connections, statements and errors. Result codes: https://www.sqlite.org/rescode.html */
#include "store/sqlite/connection.h"
#include <errno.h>
#include <string.h>

enum { BUSY_TIMEOUT_MS = 5000 };

static const char *const statement_texts[STATEMENT_MAX] = {
    [STATEMENT_GET] =
        "SELECT key, value, create_revision, mod_revision, version, lease FROM items WHERE key = ?1",
    [STATEMENT_RANGE] = "SELECT key, value, create_revision, mod_revision, version, lease FROM items"
                        " WHERE key >= ?1 AND key < ?2 AND key > ?3 ORDER BY key LIMIT ?4",
    [STATEMENT_MOD_REVISION] = "SELECT mod_revision FROM items WHERE key = ?1",
    [STATEMENT_PUT] =
        "INSERT INTO items (key, value, create_revision, mod_revision, version, lease)"
        " VALUES (?1, ?2, ?3, ?3, 1, ?4) ON CONFLICT (key) DO UPDATE SET value = excluded.value,"
        " mod_revision = excluded.mod_revision, version = version + 1, lease = excluded.lease"
        " RETURNING create_revision, version",
    [STATEMENT_DELETE] = "DELETE FROM items WHERE key = ?1",
    [STATEMENT_ADD_CHANGE] = "INSERT INTO changes (key, value, create_revision, revision, version, lease)"
                             " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [STATEMENT_CHANGES] =
        "SELECT key, value, create_revision, revision, version, lease FROM changes"
        " WHERE revision >= ?1 AND revision <= ?2 AND key >= ?3 AND key < ?4 ORDER BY revision, id",
    [STATEMENT_CHANGES_BOUNDS] = "SELECT (SELECT min(id) FROM changes), (SELECT max(id) FROM changes)",
    [STATEMENT_CHANGES_CUT] = "SELECT revision FROM changes WHERE id <= ?1 ORDER BY id DESC LIMIT 1",
    [STATEMENT_COMPACT] = "DELETE FROM changes WHERE revision <= ?1",
    [STATEMENT_META_GET] = "SELECT value FROM meta WHERE name = ?1",
    [STATEMENT_META_SET] = "UPDATE meta SET value = ?2 WHERE name = ?1",
    [STATEMENT_LEASES] = "SELECT id, ttl_ns FROM leases",
    [STATEMENT_LEASE_EXISTS] = "SELECT 1 FROM leases WHERE id = ?1",
    [STATEMENT_LEASE_ADD] = "INSERT INTO leases (id, ttl_ns) VALUES (?1, ?2)",
    [STATEMENT_LEASE_DELETE] = "DELETE FROM leases WHERE id = ?1",
    [STATEMENT_LEASE_KEYS] = "SELECT key FROM items WHERE lease = ?1 AND lease <> 0 ORDER BY key",
};

SqliteConnection *connection_open(const char *path, int flags, Error *err) {
    g_autoptr(SqliteConnection) connection = g_new0(SqliteConnection, 1);
    connection->path = g_strdup(path);
    int result = sqlite3_open_v2(path, &connection->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (result != SQLITE_OK) {
        connection_fail(connection, result, err);
        return NULL;
    }
    sqlite3_extended_result_codes(connection->db, 1);
    sqlite3_busy_timeout(connection->db, BUSY_TIMEOUT_MS);
    return g_steal_pointer(&connection);
}

void connection_close(SqliteConnection *connection) {
    if (!connection)
        return;
    for (int i = 0; i < STATEMENT_MAX; i++)
        sqlite3_finalize(connection->statements[i]);
    int result = sqlite3_close(connection->db);
    g_assert(result == SQLITE_OK);
    g_free(connection->path);
    g_free(connection);
}

static ErrorCode code_from_result(const SqliteConnection *connection, int result) {
    int errnum = sqlite3_system_errno(connection->db);
    switch (result & 0xff) {
    case SQLITE_FULL:
        return ERROR_NO_SPACE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERROR_CORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERROR_BUSY;
    case SQLITE_CANTOPEN:
        return errnum == ENOENT ? ERROR_NOT_FOUND : errnum == EACCES ? ERROR_DENIED : ERROR_IO;
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return ERROR_DENIED;
    case SQLITE_IOERR:
        return errnum == ENOSPC || errnum == EDQUOT || errnum == EFBIG ? ERROR_NO_SPACE : ERROR_IO;
    default:
        return ERROR_INTERNAL;
    }
}

bool connection_fail(const SqliteConnection *connection, int result, Error *err) {
    if ((result & 0xff) == SQLITE_NOMEM)
        g_error("out of memory in SQLite"); /* aborts, as GLib does */
    const char *text = sqlite3_errcode(connection->db) == SQLITE_OK ? sqlite3_errstr(result)
                                                                    : sqlite3_errmsg(connection->db);
    return error_set(err, code_from_result(connection, result), NULL, "the store %s: %s (SQLite %d)",
        connection->path, text, result);
}

bool connection_run(SqliteConnection *connection, const char *sql, Error *err) {
    int result = sqlite3_exec(connection->db, sql, NULL, NULL, NULL);
    return result == SQLITE_OK || connection_fail(connection, result, err);
}

bool connection_ask(SqliteConnection *connection, const char *sql, char **ret_text, Error *err) {
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(connection->db, sql, -1, &statement, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        *ret_text = g_strdup((const char *)sqlite3_column_text(statement, 0));
    else if (result == SQLITE_DONE)
        error_set(err, ERROR_CORRUPT, NULL, "the store %s lacks the answer to \"%s\"", connection->path, sql);
    else
        connection_fail(connection, result, err);
    sqlite3_finalize(statement);
    return result == SQLITE_ROW;
}

bool connection_ask_int(SqliteConnection *connection, const char *sql, int64_t *ret_value, Error *err) {
    g_autofree char *text = NULL;
    if (!connection_ask(connection, sql, &text, err))
        return false;
    *ret_value = text ? g_ascii_strtoll(text, NULL, 10) : 0;
    return true;
}

sqlite3_stmt *connection_statement(SqliteConnection *connection, StatementId id, Error *err) {
    sqlite3_stmt *statement = connection->statements[id];
    if (statement) {
        sqlite3_reset(statement);
        return statement;
    }
    int result = sqlite3_prepare_v3(connection->db, statement_texts[id], -1, SQLITE_PREPARE_PERSISTENT,
        &connection->statements[id], NULL);
    if (result != SQLITE_OK)
        connection_fail(connection, result, err);
    return connection->statements[id];
}

bool connection_step(SqliteConnection *connection, sqlite3_stmt *statement, bool *ret_row, Error *err) {
    int result = sqlite3_step(statement);
    if (result != SQLITE_ROW && result != SQLITE_DONE)
        connection_fail(connection, result, err);
    if (result != SQLITE_ROW)
        sqlite3_reset(statement);
    *ret_row = result == SQLITE_ROW;
    return result == SQLITE_ROW || result == SQLITE_DONE;
}

bool connection_finish(SqliteConnection *connection, sqlite3_stmt *statement, Error *err) {
    bool has_row = true;
    while (has_row)
        if (!connection_step(connection, statement, &has_row, err))
            return false;
    return true;
}

/* Binding fails only for an index or a size that we never use. */
static void check_bind(int result) {
    g_assert(result == SQLITE_OK);
}

void bind_key(sqlite3_stmt *statement, int index, const char *key) {
    check_bind(sqlite3_bind_blob(statement, index, key, (int)strlen(key), SQLITE_STATIC));
}

void bind_value(sqlite3_stmt *statement, int index, GBytes *value) {
    if (!value) {
        check_bind(sqlite3_bind_null(statement, index));
        return;
    }
    size_t length = 0;
    const void *data = g_bytes_get_data(value, &length);
    check_bind(sqlite3_bind_blob(statement, index, length > 0 ? data : "", (int)length, SQLITE_STATIC));
}

void bind_int(sqlite3_stmt *statement, int index, int64_t value) {
    check_bind(sqlite3_bind_int64(statement, index, value));
}

void bind_prefix(sqlite3_stmt *statement, int index, const char *prefix) {
    static const unsigned char behind_all[] = {0xff}; /* a byte that no UTF-8 text has */
    bind_key(statement, index, prefix);
    int length = (int)strlen(prefix);
    if (length == 0) {
        check_bind(sqlite3_bind_blob(statement, index + 1, behind_all, sizeof behind_all, SQLITE_STATIC));
        return;
    }
    char *end = g_strdup(prefix);
    end[length - 1] = (char)((unsigned char)end[length - 1] + 1); /* below 0xff in UTF-8: no carry */
    check_bind(sqlite3_bind_blob(statement, index + 1, end, length, g_free));
}

char *column_key(sqlite3_stmt *statement, int index) {
    const void *data = sqlite3_column_blob(statement, index);
    return g_strndup(data, (size_t)sqlite3_column_bytes(statement, index));
}

GBytes *column_value(sqlite3_stmt *statement, int index) {
    if (sqlite3_column_type(statement, index) == SQLITE_NULL)
        return NULL;
    const void *data = sqlite3_column_blob(statement, index);
    return g_bytes_new(data, (size_t)sqlite3_column_bytes(statement, index));
}

bool meta_get(SqliteConnection *connection, const char *name, int64_t *ret_value, Error *err) {
    sqlite3_stmt *statement = connection_statement(connection, STATEMENT_META_GET, err);
    if (!statement)
        return false;
    check_bind(sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC));
    bool has_row = false;
    if (!connection_step(connection, statement, &has_row, err))
        return false;
    if (!has_row)
        return error_set(err, ERROR_CORRUPT, NULL, "the store %s lacks its %s", connection->path, name);
    *ret_value = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return true;
}

bool meta_set(SqliteConnection *connection, const char *name, int64_t value, Error *err) {
    sqlite3_stmt *statement = connection_statement(connection, STATEMENT_META_SET, err);
    if (!statement)
        return false;
    check_bind(sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC));
    bind_int(statement, 2, value);
    return connection_finish(connection, statement, err);
}
