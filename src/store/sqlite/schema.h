/*
 * The tables of the store's file and the steps that brought them there. Blocking; the thread that opens the
 * store.
 */
#pragma once
#include "store/sqlite/connection.h"

/* Sets the pragmas, makes or upgrades the tables. ERROR_CORRUPT, ERROR_NEWER_FORMAT. */
bool schema_prepare(SqliteConnection *connection, const Clock *clock, Error *err);
/* Says whether the file is a store that this version understands, without changing it. */
bool schema_check(SqliteConnection *connection, Error *err);
/* SQLite's own check of the whole file; slow for large ones. */
bool schema_check_pages(SqliteConnection *connection, Error *err);
