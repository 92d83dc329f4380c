/*
 * The store: what the manager has decided, durable, in etcd's vocabulary. Keys are UTF-8 paths ("vm/<uuid>"),
 * values bytes (JSON). One revision counts the commits that changed something; each item knows the revisions
 * that made and last changed it. Engines: SQLite (store_open_sqlite); others implement src/store/engine.h and
 * pass the same contract tests.
 *
 * A Store belongs to the thread that runs the default GMainContext; every callback is called there, never
 * from inside the call that asked for it. Reads answer at once (microseconds) and see every acknowledged
 * commit. Writes are asynchronous, are applied in the order of the calls and are durable (fsync) when
 * acknowledged.
 *
 * Errors of all reads and writes: ERROR_INVALID (key), ERROR_NO_SPACE, ERROR_IO, ERROR_CORRUPT.
 */
#pragma once
#include "base/clock.h"
#include "base/error.h"

enum {
    STORE_MAX_KEY = 512,        /* bytes of a key; at least one, valid UTF-8 */
    STORE_MAX_OPERATIONS = 128, /* compares, puts and deletes of a transaction */
    STORE_MAX_BYTES =
        1500 * 1000,          /* keys and values of a transaction together; etcd's request limit is 1.5 MiB */
    STORE_MAX_RANGE = 1000,   /* items of one range answer */
    STORE_MAX_WATCHES = 1000, /* open at once; programming error beyond */
};

typedef struct Store Store;
typedef struct StoreTransaction StoreTransaction;
typedef struct StoreWatch StoreWatch;

typedef struct StoreItem {
    char *key;
    GBytes *value;           /* NULL only in the event of a delete */
    int64_t create_revision; /* of the commit that made it (0 in the event of a delete) */
    int64_t mod_revision;    /* of the commit that changed it last */
    int64_t version;         /* 1 when made, grows with each put (0 in the event of a delete) */
    int64_t lease;           /* 0: none */
} StoreItem;
void store_item_clear(StoreItem *item);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(StoreItem, store_item_clear)

typedef struct StoreRange {
    StoreItem *items; /* in the order of the key's bytes */
    size_t n_items;
    bool has_more;    /* ask again with start_after = the last key */
    int64_t revision; /* of the snapshot that was read: watch from the first page's revision + 1 to miss
                         nothing */
} StoreRange;
void store_range_clear(StoreRange *range);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(StoreRange, store_range_clear)

typedef struct StoreStats {
    uint64_t commits;  /* transactions applied since open */
    uint64_t refused;  /* transactions whose compare failed, or that were invalid */
    uint64_t groups;   /* durable writes (fsyncs): at most one for each commit, far fewer under load */
    uint64_t failures; /* groups that failed (disk full, I/O) */
    int64_t compacted; /* changes up to this revision are forgotten */
    uint64_t leases, watches, waiting; /* now */
} StoreStats;

/* `err` is NULL on success; then `revision` is the store's after this write. */
typedef void (*StoreDoneFn)(int64_t revision, const Error *err, void *data);

typedef struct StoreSqliteOptions {
    int64_t keep_changes; /* history is compacted by itself beyond this many changes; 0: 100,000 */
} StoreSqliteOptions;

/* Opens the file, or makes it (mode 0600). `options` may be NULL; `clock` must outlive the store. NULL with
 * ERROR_IN_USE when it is open already (an flock on "<path>.lock"), ERROR_NEWER_FORMAT, ERROR_CORRUPT.
 * Blocks. */
Store *store_open_sqlite(const char *path, const StoreSqliteOptions *options, const Clock *clock, Error *err);
/* Commits what waits, calls every outstanding callback and frees the watches. Not from inside a callback.
 * NULL is accepted. Runs the main loop while a backup has to be stopped. */
void store_close(Store *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Store, store_close)

const char *store_uuid(const Store *store); /* made once, kept by backup and restore; owned by the store */
int64_t store_epoch(const Store *store);    /* 1 at first; each restore makes it larger, and a rebuild */
/* Takes another identity, together with a transaction: for a manager that is made anew in place of a lost
 * one. The strings that store_uuid gave before are gone. Blocks until it is durable. */
bool store_become(
    Store *store, const char *uuid, int64_t epoch, StoreTransaction *take_transaction, Error *err);
StoreStats store_stats(const Store *store);

/* ERROR_NOT_FOUND when there is none. */
bool store_get(Store *store, const char *key, StoreItem *ret_item, Error *err);
/* Items whose key starts with `prefix` ("" for all) and comes after `start_after` (NULL: from the first).
 * `limit` is 1 to STORE_MAX_RANGE; fewer come, with has_more, when the values together pass 8 MB. */
bool store_range(Store *store, const char *prefix, const char *start_after, size_t limit,
    StoreRange *ret_range, Error *err);

/* A transaction: all of its changes at one revision, or none. A key may be changed once. */
StoreTransaction *store_transaction_new(void);
void store_transaction_free(StoreTransaction *transaction); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StoreTransaction, store_transaction_free)
/* Apply only if the item's mod_revision is exactly this; 0: only if there is no such item. */
void store_transaction_compare(StoreTransaction *transaction, const char *key, int64_t mod_revision);
/* Copies the value. `lease` 0: none (an earlier attachment ends); an unknown lease refuses the commit:
 * ERROR_NOT_FOUND. */
void store_transaction_put(
    StoreTransaction *transaction, const char *key, const void *value, size_t length, int64_t lease);
/* Deleting what does not exist changes nothing. */
void store_transaction_delete(StoreTransaction *transaction, const char *key);

/* ERROR_PRECONDITION (the message names the key) when a compare fails; ERROR_TOO_LARGE beyond the limits;
 * ERROR_BUSY when too much waits. A transaction that changes nothing succeeds with the present revision.
 * After ERROR_IO or ERROR_NO_SPACE nothing of it is visible and the store goes on. `done` may be NULL. */
void store_commit(Store *store, StoreTransaction *take_transaction, StoreDoneFn done, void *data);
/* The same, blocking until it is durable: for start-up and tests. ret_revision may be NULL. */
bool store_commit_wait(Store *store, StoreTransaction *take_transaction, int64_t *ret_revision, Error *err);

/* `events` are all changes of one revision under the prefix, in the order in which they were made. With `err`
 * set (ERROR_TOO_OLD when the history was compacted: list again) there are no events and the watch has ended;
 * it must still be given to store_unwatch. */
typedef void (*StoreWatchFn)(const StoreItem *events, size_t n_events, const Error *err, void *data);
/* Every change from `from_revision` on (0: from now on), history first, then live; a commit's `done` is
 * called before its events. May be unwatched inside its callback. Owned by the caller until store_unwatch or
 * store_close. */
StoreWatch *store_watch(
    Store *store, const char *prefix, int64_t from_revision, StoreWatchFn callback, void *data);
void store_unwatch(Store *store, StoreWatch *watch); /* accepts NULL */
/* Forgets the changes up to and including `revision` (ERROR_INVALID when it is in the future). Items stay. */
void store_compact(Store *store, int64_t revision, StoreDoneFn done, void *data);

/* Makes a lease: items attached to it are deleted together when it was not kept alive for `ttl_ns` (at least
 * one second; checked five times a second). The id may be used in commits at once. After a restart every
 * lease lives for its full time again. Should the grant fail, `done` says so and commits that use it are
 * refused. */
int64_t store_lease_grant(Store *store, int64_t ttl_ns, StoreDoneFn done, void *data);
/* ERROR_NOT_FOUND once it has ended. */
bool store_lease_keep_alive(Store *store, int64_t lease, Error *err);
/* Ends it and deletes its items at one revision. An unknown one is no error. */
void store_lease_revoke(Store *store, int64_t lease, StoreDoneFn done, void *data);

/* Writes one self-contained, verified file (0600) while commits go on. ERROR_EXISTS when there is such a
 * file: a backup never replaces one. False with ERROR_BUSY when several wait already; then `done` is not
 * called. */
bool store_backup(Store *store, const char *path, StoreDoneFn done, void *data, Error *err);
/* Whether store_restore_file would take this file, whole and of a known format: ERROR_CORRUPT,
 * ERROR_NEWER_FORMAT. *ret_uuid (newly allocated) tells whose it is. Writes beside the file. Blocks; any
 * thread. */
bool store_check_file(const char *backup_path, char **ret_uuid, Error *err);
/* Offline: makes `backup_path` the store, with a new epoch (its revisions are the backup's: only epoch and
 * revision together name a state). Validates it first; the swap is atomic; the old store stays beside as
 * "<store_path>.before-restore-<UTC time>". ERROR_IN_USE while the store is open, ERROR_CORRUPT,
 * ERROR_NEWER_FORMAT. Blocks. */
bool store_restore_file(const char *backup_path, const char *store_path, const Clock *clock, Error *err);
