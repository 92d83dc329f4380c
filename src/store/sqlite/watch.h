/*
 * Watches read the table of changes: what is past and what has just been committed come the same way. Main
 * loop's thread.
 */
#pragma once
#include "store/sqlite/connection.h"

typedef struct WatchList WatchList;

/* `connection` (read only) stays the caller's and must outlive the list. */
WatchList *watch_list_new(SqliteConnection *connection, int64_t acknowledged);
void watch_list_free(WatchList *list);
/* Changes up to this revision may be delivered now. */
void watch_list_advance(WatchList *list, int64_t acknowledged);
StoreWatch *watch_list_add(
    WatchList *list, const char *prefix, int64_t from_revision, StoreWatchFn callback, void *data);
void watch_list_remove(WatchList *list, StoreWatch *watch);
uint64_t watch_list_length(const WatchList *list);
