/*
 * Inside of src/store: what an engine implements. Arguments are validated before they come here (store.c).
 * All functions are called on the main loop's thread.
 */
#pragma once
#include "store/store.h"

typedef enum StoreOperationKind {
    STORE_COMPARE,
    STORE_PUT,
    STORE_DELETE,
    STORE_OPERATION_MAX
} StoreOperationKind;

typedef struct StoreOperation {
    StoreOperationKind kind;
    char *key;
    GBytes *value;        /* puts only */
    int64_t mod_revision; /* compares only */
    int64_t lease;        /* puts only */
} StoreOperation;

struct StoreTransaction {
    GArray *operations; /* StoreOperation; compares, puts and deletes mixed as they were added */
    size_t bytes;       /* keys and values */
    char *uuid;         /* the store's from now on, with `epoch`; NULL: they stay */
    int64_t epoch;
};

typedef struct StoreEngine {
    const char *name;
    void (*close)(Store *store);
    const char *(*uuid)(const Store *store);
    int64_t (*epoch)(const Store *store);
    /* What a transaction with `uuid` has stored counts from now on. */
    void (*become)(Store *store, const char *uuid, int64_t epoch);
    StoreStats (*stats)(const Store *store);
    bool (*get)(Store *store, const char *key, StoreItem *ret_item, Error *err);
    bool (*range)(Store *store, const char *prefix, const char *start_after, size_t limit,
        StoreRange *ret_range, Error *err);
    /* `refusal` is unset, or why the transaction is invalid: then it is only reported, in its turn. Consumes
     * both. */
    void (*commit)(
        Store *store, StoreTransaction *take_transaction, Error *take_refusal, StoreDoneFn done, void *data);
    bool (*commit_wait)(Store *store, StoreTransaction *take_transaction, int64_t *ret_revision, Error *err);
    StoreWatch *(*watch)(
        Store *store, const char *prefix, int64_t from_revision, StoreWatchFn callback, void *data);
    void (*unwatch)(Store *store, StoreWatch *watch);
    void (*compact)(Store *store, int64_t revision, StoreDoneFn done, void *data);
    int64_t (*lease_grant)(Store *store, int64_t ttl_ns, StoreDoneFn done, void *data);
    bool (*lease_keep_alive)(Store *store, int64_t lease, Error *err);
    void (*lease_revoke)(Store *store, int64_t lease, StoreDoneFn done, void *data);
    bool (*backup)(Store *store, const char *path, StoreDoneFn done, void *data, Error *err);
} StoreEngine;

/* The first member of an engine's own struct. */
struct Store {
    const StoreEngine *engine;
};
