/*
 * The SQLite engine: two connections of one file. The writer's thread has one, the main loop reads with the
 * other.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "base/work.h"
#include "store/sqlite/backup.h"
#include "store/sqlite/lease.h"
#include "store/sqlite/lock.h"
#include "store/sqlite/read.h"
#include "store/sqlite/schema.h"
#include "store/sqlite/watch.h"

enum { DEFAULT_KEEP_CHANGES = 100000, MAX_WAITING_BACKUPS = 4 };

typedef struct SqliteStore {
    Store store; /* first */
    int lock;
    char *path, *uuid;
    int64_t epoch;
    SqliteConnection *reader;
    Writer *writer;
    WatchList *watches;
    LeaseTable *leases;
    WorkPool *backups; /* NULL until the first */
    Cancel *closing;
} SqliteStore;

static SqliteStore *from_store(const Store *store) {
    return (SqliteStore *)(uintptr_t)store;
}

static void sqlite_close(Store *store) {
    SqliteStore *self = from_store(store);
    cancel_trigger(self->closing);
    work_pool_free(self->backups);
    if (self->writer)
        writer_stop(self->writer);
    lease_table_free(self->leases);
    if (self->watches)
        watch_list_free(self->watches);
    connection_close(self->reader);
    cancel_unref(self->closing);
    fd_close(&self->lock);
    g_free(self->path);
    g_free(self->uuid);
    g_free(self);
}

static const char *sqlite_uuid(const Store *store) {
    return from_store(store)->uuid;
}

static int64_t sqlite_epoch(const Store *store) {
    return from_store(store)->epoch;
}

static void sqlite_become(Store *store, const char *uuid, int64_t epoch) {
    SqliteStore *self = from_store(store);
    char *before = self->uuid; /* perhaps what is given */
    self->uuid = g_strdup(uuid);
    self->epoch = epoch;
    g_free(before);
}

static StoreStats sqlite_stats(const Store *store) {
    SqliteStore *self = from_store(store);
    StoreStats stats = {0};
    writer_stats(self->writer, &stats);
    stats.leases = lease_table_length(self->leases);
    stats.watches = watch_list_length(self->watches);
    return stats;
}

static bool sqlite_get(Store *store, const char *key, StoreItem *ret_item, Error *err) {
    return read_get(from_store(store)->reader, key, ret_item, err);
}

static bool sqlite_range(Store *store, const char *prefix, const char *start_after, size_t limit,
    StoreRange *ret_range, Error *err) {
    return read_range(from_store(store)->reader, prefix, start_after, limit, ret_range, err);
}

static void sqlite_commit(
    Store *store, StoreTransaction *take_transaction, Error *take_refusal, StoreDoneFn done, void *data) {
    const WriterJob job = {.kind = JOB_COMMIT,
        .transaction = take_transaction,
        .err = *take_refusal,
        .done = done,
        .data = data};
    writer_add(from_store(store)->writer, &job);
}

static bool sqlite_commit_wait(
    Store *store, StoreTransaction *take_transaction, int64_t *ret_revision, Error *err) {
    const WriterJob job = {.kind = JOB_COMMIT, .transaction = take_transaction};
    return writer_run(from_store(store)->writer, &job, ret_revision, err);
}

static StoreWatch *sqlite_watch(
    Store *store, const char *prefix, int64_t from_revision, StoreWatchFn callback, void *data) {
    SqliteStore *self = from_store(store);
    int64_t revision = 0;
    /* "From now on" means behind what a read would show now. */
    if (from_revision == 0 && meta_get(self->reader, "revision", &revision, NULL))
        from_revision = revision + 1;
    return watch_list_add(self->watches, prefix, from_revision, callback, data);
}

static void sqlite_unwatch(Store *store, StoreWatch *watch) {
    watch_list_remove(from_store(store)->watches, watch);
}

static void sqlite_compact(Store *store, int64_t revision, StoreDoneFn done, void *data) {
    const WriterJob job = {.kind = JOB_COMPACT, .up_to = revision, .done = done, .data = data};
    writer_add(from_store(store)->writer, &job);
}

static int64_t sqlite_lease_grant(Store *store, int64_t ttl_ns, StoreDoneFn done, void *data) {
    return lease_table_grant(from_store(store)->leases, ttl_ns, done, data);
}

static bool sqlite_lease_keep_alive(Store *store, int64_t lease, Error *err) {
    return lease_table_keep_alive(from_store(store)->leases, lease, err);
}

static void sqlite_lease_revoke(Store *store, int64_t lease, StoreDoneFn done, void *data) {
    lease_table_revoke(from_store(store)->leases, lease, done, data);
}

typedef struct BackupCall {
    SqliteStore *self;
    char *source, *target;
    Cancel *cancel;
    StoreDoneFn done;
    void *data;
    Error err;
} BackupCall;

static void backup_call_free(BackupCall *call) {
    g_free(call->source);
    g_free(call->target);
    cancel_unref(call->cancel);
    error_clear(&call->err);
    g_free(call);
}

static void run_backup(void *data) {
    BackupCall *call = data;
    backup_write(call->source, call->target, call->cancel, &call->err);
}

static void finish_backup(void *data) {
    BackupCall *call = data;
    int64_t revision = 0;
    meta_get(call->self->reader, "revision", &revision, NULL);
    if (call->done)
        call->done(revision, error_is_set(&call->err) ? &call->err : NULL, call->data);
    backup_call_free(call);
}

static bool sqlite_backup(Store *store, const char *path, StoreDoneFn done, void *data, Error *err) {
    SqliteStore *self = from_store(store);
    if (!self->backups)
        self->backups = work_pool_new("store-backup", 1, MAX_WAITING_BACKUPS);
    BackupCall *call = g_new0(BackupCall, 1);
    *call = (BackupCall){
        .self = self,
        .source = g_strdup(self->path),
        .target = g_strdup(path),
        .cancel = cancel_ref(self->closing),
        .done = done,
        .data = data,
    };
    if (work_pool_add(self->backups, run_backup, finish_backup, call, err))
        return true;
    backup_call_free(call);
    return false;
}

static const StoreEngine sqlite_engine = {
    .name = "sqlite",
    .close = sqlite_close,
    .uuid = sqlite_uuid,
    .epoch = sqlite_epoch,
    .become = sqlite_become,
    .stats = sqlite_stats,
    .get = sqlite_get,
    .range = sqlite_range,
    .commit = sqlite_commit,
    .commit_wait = sqlite_commit_wait,
    .watch = sqlite_watch,
    .unwatch = sqlite_unwatch,
    .compact = sqlite_compact,
    .lease_grant = sqlite_lease_grant,
    .lease_keep_alive = sqlite_lease_keep_alive,
    .lease_revoke = sqlite_lease_revoke,
    .backup = sqlite_backup,
};

/* SQLite gives its log and index files the mode of this one. */
static bool make_private(const char *path, Error *err) {
    fd_auto int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fchmod(fd, 0600) < 0)
        return error_set_errno(err, errno, "opening %s", path);
    return true;
}

static void wake_watches(int64_t revision, void *data) {
    watch_list_advance(((SqliteStore *)data)->watches, revision);
}

static bool open_connections(SqliteStore *self, int64_t keep_changes, const Clock *clock, Error *err) {
    int64_t revision = 0;
    g_autoptr(SqliteConnection) connection = connection_open(self->path, SQLITE_OPEN_READWRITE, err);
    if (!connection || !schema_prepare(connection, clock, err) ||
        !connection_ask(connection, "SELECT value FROM meta WHERE name = 'uuid'", &self->uuid, err) ||
        !meta_get(connection, "epoch", &self->epoch, err) ||
        !meta_get(connection, "revision", &revision, err))
        return false;
    self->reader = connection_open(self->path, SQLITE_OPEN_READWRITE, err);
    if (!self->reader || !connection_run(self->reader, "PRAGMA query_only = ON", err))
        return false;
    self->watches = watch_list_new(self->reader, revision);
    self->writer = writer_start(g_steal_pointer(&connection), revision, keep_changes, wake_watches, self);
    self->leases = lease_table_new(self->reader, self->writer, clock, err);
    return self->leases != NULL;
}

Store *store_open_sqlite(
    const char *path, const StoreSqliteOptions *options, const Clock *clock, Error *err) {
    int64_t keep_changes =
        options && options->keep_changes > 0 ? options->keep_changes : DEFAULT_KEEP_CHANGES;
    SqliteStore *self = g_new0(SqliteStore, 1);
    *self = (SqliteStore){
        .store.engine = &sqlite_engine, .lock = -1, .path = g_strdup(path), .closing = cancel_new()};
    if (lock_take(path, &self->lock, err) && make_private(path, err) &&
        open_connections(self, keep_changes, clock, err))
        return &self->store;
    sqlite_close(&self->store);
    return NULL;
}
