/* Tables, their versions, checks. */
#include "store/sqlite/schema.h"
#include <inttypes.h>

#define APPLICATION_ID \
    INT64_C(0x4c444745) /* "LDGE", in the file's header: https://www.sqlite.org/fileformat.html */

enum { QUICK_CHECK_LIMIT = 64 * 1024 * 1024 }; /* bytes: larger files are not checked at each open */

/* Append only. Step n brings a store from version n to n + 1. */
static const char *const steps[] = {
    "PRAGMA application_id = 0x4c444745;"
    "CREATE TABLE schema_steps (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL);"
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL);"
    "INSERT INTO meta VALUES ('revision', 0), ('compacted', 0), ('epoch', 1);"
    "CREATE TABLE leases (id INTEGER PRIMARY KEY, ttl_ns INTEGER NOT NULL);"
    "CREATE TABLE items (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, value BLOB NOT NULL,"
    " create_revision INTEGER NOT NULL, mod_revision INTEGER NOT NULL, version INTEGER NOT NULL,"
    " lease INTEGER NOT NULL);"
    "CREATE INDEX items_by_lease ON items (lease) WHERE lease <> 0;"
    "CREATE TABLE changes (id INTEGER PRIMARY KEY, key BLOB NOT NULL, value BLOB,"
    " create_revision INTEGER NOT NULL, revision INTEGER NOT NULL, version INTEGER NOT NULL,"
    " lease INTEGER NOT NULL);"
    "CREATE INDEX changes_by_revision ON changes (revision);",
};
enum { NEWEST_VERSION = G_N_ELEMENTS(steps) };

bool schema_check(SqliteConnection *connection, Error *err) {
    int64_t application = 0, version = 0;
    if (!connection_ask_int(connection, "PRAGMA application_id", &application, err))
        return false;
    if (application != APPLICATION_ID)
        return error_set(err, ERROR_CORRUPT, NULL, "%s is not a store of Lodge", connection->path);
    if (!connection_ask_int(connection, "SELECT max(version) FROM schema_steps", &version, err))
        return false;
    if (version > NEWEST_VERSION)
        return error_set(err, ERROR_NEWER_FORMAT, NULL,
            "the store %s has format %" PRId64 ", this version knows up to %d", connection->path, version,
            (int)NEWEST_VERSION);
    return true;
}

bool schema_check_pages(SqliteConnection *connection, Error *err) {
    g_autofree char *verdict = NULL;
    if (!connection_ask(connection, "PRAGMA integrity_check(1)", &verdict, err))
        return false;
    if (g_strcmp0(verdict, "ok") != 0)
        return error_set(err, ERROR_CORRUPT, NULL, "the store %s is damaged: %s", connection->path, verdict);
    return true;
}

static bool check_quickly(SqliteConnection *connection, Error *err) {
    int64_t pages = 0, page_size = 0;
    g_autofree char *verdict = NULL;
    if (!connection_ask_int(connection, "PRAGMA page_count", &pages, err) ||
        !connection_ask_int(connection, "PRAGMA page_size", &page_size, err))
        return false;
    if (pages * page_size > QUICK_CHECK_LIMIT)
        return true;
    if (!connection_ask(connection, "PRAGMA quick_check(1)", &verdict, err))
        return false;
    if (g_strcmp0(verdict, "ok") != 0)
        return error_set(err, ERROR_CORRUPT, NULL, "the store %s is damaged: %s", connection->path, verdict);
    return true;
}

static bool run_step(SqliteConnection *connection, int step, const Clock *clock, Error *err) {
    g_autofree char *time = time_to_text(clock_realtime_ns(clock));
    g_autofree char *uuid = g_uuid_string_random();
    g_autoptr(GString) sql = g_string_new("BEGIN IMMEDIATE;");
    g_string_append(sql, steps[step]);
    g_string_append_printf(sql, "INSERT INTO schema_steps VALUES (%d, '%s');", step + 1, time);
    if (step == 0)
        g_string_append_printf(sql, "INSERT INTO meta VALUES ('uuid', '%s');", uuid);
    g_string_append(sql, "COMMIT");
    if (connection_run(connection, sql->str, err))
        return true;
    connection_run(connection, "ROLLBACK", NULL);
    return error_wrap(err, ERROR_NONE, "cannot bring the store to format %d", step + 1);
}

bool schema_prepare(SqliteConnection *connection, const Clock *clock, Error *err) {
    int64_t tables = 0, version = 0;
    /* 2 kB documents waste half of a 4 kB page; the size is fixed with the first table. */
    if (!connection_run(connection, "PRAGMA page_size = 8192", err) ||
        !connection_ask_int(connection, "SELECT count(*) FROM sqlite_schema", &tables, err))
        return false;
    if (tables > 0 && (!schema_check(connection, err) || !check_quickly(connection, err)))
        return false;
    if (!connection_run(connection,
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864",
            err))
        return false;
    if (tables > 0 && !connection_ask_int(connection, "SELECT max(version) FROM schema_steps", &version, err))
        return false;
    for (int step = (int)version; step < NEWEST_VERSION; step++)
        if (!run_step(connection, step, clock, err))
            return false;
    return true;
}
