/* Delivers changes to watches, a slice of revisions at a time so that a long history does not hold the main
 * loop. */
#include "store/sqlite/watch.h"
#include <inttypes.h>
#include "store/sqlite/read.h"

enum { REVISIONS_A_SLICE = 256 };

struct StoreWatch {
    char *prefix;
    int64_t next; /* the first revision that was not delivered */
    StoreWatchFn callback;
    void *data;
    bool has_ended, is_removed;
};

struct WatchList {
    SqliteConnection *connection;
    GPtrArray *watches; /* StoreWatch */
    int64_t acknowledged;
    guint source;
    bool is_delivering; /* then removal waits */
};

static void watch_free(void *data) {
    StoreWatch *watch = data;
    g_free(watch->prefix);
    g_free(watch);
}

static void end_watch(StoreWatch *watch, const Error *err) {
    watch->has_ended = true;
    watch->callback(NULL, 0, err, watch->data);
}

/* The next revision with changes under the prefix; no events: there is none. */
static bool read_revision(WatchList *list, const StoreWatch *watch, GArray *events, Error *err) {
    int64_t compacted = 0;
    if (!meta_get(list->connection, "compacted", &compacted, err))
        return false;
    if (watch->next <= compacted)
        return error_set(err, ERROR_TOO_OLD, NULL,
            "changes up to revision %" PRId64 " are forgotten, %" PRId64 " was asked for", compacted,
            watch->next);
    sqlite3_stmt *statement = connection_statement(list->connection, STATEMENT_CHANGES, err);
    if (!statement)
        return false;
    bind_int(statement, 1, watch->next);
    bind_int(statement, 2, list->acknowledged);
    bind_prefix(statement, 3, watch->prefix);
    bool has_row = false;
    while (connection_step(list->connection, statement, &has_row, err)) {
        if (!has_row)
            return true;
        bool is_same = events->len == 0 ||
                       g_array_index(events, StoreItem, 0).mod_revision == sqlite3_column_int64(statement, 3);
        if (!is_same) {
            sqlite3_reset(statement);
            return true;
        }
        StoreItem item = read_item(statement);
        g_array_append_val(events, item);
    }
    return false;
}

static void clear_item(void *data) {
    store_item_clear(data);
}

/* True when there may be more. */
static bool deliver_revision(WatchList *list, StoreWatch *watch) {
    if (watch->next > list->acknowledged)
        return false;
    g_autoptr(GArray) events = g_array_new(FALSE, TRUE, sizeof(StoreItem));
    g_array_set_clear_func(events, clear_item);
    g_auto(Error) err = {0};
    /* The bound of the history and the changes must come from one snapshot. */
    bool is_read =
        connection_run(list->connection, "BEGIN", &err) && read_revision(list, watch, events, &err);
    if (!sqlite3_get_autocommit(list->connection->db))
        connection_run(list->connection, "ROLLBACK", NULL);
    if (!is_read) {
        end_watch(watch, &err);
        return false;
    }
    const StoreItem *first = (const StoreItem *)(void *)events->data;
    watch->next = events->len > 0 ? first->mod_revision + 1 : list->acknowledged + 1;
    if (events->len > 0)
        watch->callback(first, events->len, NULL, watch->data);
    return watch->next <= list->acknowledged;
}

static bool deliver_slice(WatchList *list, StoreWatch *watch) {
    for (int i = 0; i < REVISIONS_A_SLICE; i++)
        if (watch->is_removed || watch->has_ended || !deliver_revision(list, watch))
            return false;
    return !watch->is_removed && !watch->has_ended;
}

static void drop_removed(WatchList *list) {
    for (guint i = list->watches->len; i > 0; i--) {
        const StoreWatch *watch = list->watches->pdata[i - 1];
        if (watch->is_removed)
            g_ptr_array_remove_index(list->watches, i - 1);
    }
}

static gboolean deliver(void *data) {
    WatchList *list = data;
    bool has_more = false;
    list->is_delivering = true;
    for (guint i = 0; i < list->watches->len; i++) /* callbacks may add more */
        has_more |= deliver_slice(list, list->watches->pdata[i]);
    list->is_delivering = false;
    drop_removed(list);
    if (has_more)
        return G_SOURCE_CONTINUE;
    list->source = 0;
    return G_SOURCE_REMOVE;
}

static void schedule(WatchList *list) {
    if (list->source == 0 && list->watches->len > 0)
        list->source = g_idle_add_full(G_PRIORITY_DEFAULT, deliver, list, NULL);
}

WatchList *watch_list_new(SqliteConnection *connection, int64_t acknowledged) {
    WatchList *list = g_new0(WatchList, 1);
    *list = (WatchList){.connection = connection, .acknowledged = acknowledged};
    list->watches = g_ptr_array_new_with_free_func(watch_free);
    return list;
}

void watch_list_free(WatchList *list) {
    g_assert(!list->is_delivering);
    g_clear_handle_id(&list->source, g_source_remove);
    g_ptr_array_unref(list->watches);
    g_free(list);
}

void watch_list_advance(WatchList *list, int64_t acknowledged) {
    if (acknowledged <= list->acknowledged)
        return;
    list->acknowledged = acknowledged;
    schedule(list);
}

StoreWatch *watch_list_add(
    WatchList *list, const char *prefix, int64_t from_revision, StoreWatchFn callback, void *data) {
    g_assert(list->watches->len < STORE_MAX_WATCHES);
    StoreWatch *watch = g_new0(StoreWatch, 1);
    *watch = (StoreWatch){
        .prefix = g_strdup(prefix),
        .next = from_revision > 0 ? from_revision : list->acknowledged + 1,
        .callback = callback,
        .data = data,
    };
    g_ptr_array_add(list->watches, watch);
    schedule(list);
    return watch;
}

void watch_list_remove(WatchList *list, StoreWatch *watch) {
    watch->is_removed = true;
    if (!list->is_delivering)
        drop_removed(list);
}

uint64_t watch_list_length(const WatchList *list) {
    return list->watches->len;
}
