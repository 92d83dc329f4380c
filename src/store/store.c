/* What all engines share: items, the transaction builder, the limits. */
#include <string.h>
#include "store/engine.h"

void store_item_clear(StoreItem *item) {
    g_free(item->key);
    g_clear_pointer(&item->value, g_bytes_unref);
    *item = (StoreItem){0};
}

void store_range_clear(StoreRange *range) {
    for (size_t i = 0; i < range->n_items; i++)
        store_item_clear(&range->items[i]);
    g_free(range->items);
    *range = (StoreRange){0};
}

static void operation_clear(void *data) {
    StoreOperation *operation = data;
    g_free(operation->key);
    g_clear_pointer(&operation->value, g_bytes_unref);
}

StoreTransaction *store_transaction_new(void) {
    StoreTransaction *transaction = g_new0(StoreTransaction, 1);
    transaction->operations = g_array_new(FALSE, TRUE, sizeof(StoreOperation));
    g_array_set_clear_func(transaction->operations, operation_clear);
    return transaction;
}

void store_transaction_free(StoreTransaction *transaction) {
    if (!transaction)
        return;
    g_array_unref(transaction->operations);
    g_free(transaction->uuid);
    g_free(transaction);
}

/* What is too much is counted but not kept, so that a caller's mistake cannot hold memory. */
static bool has_room(StoreTransaction *transaction, const char *key, size_t length) {
    transaction->bytes += strlen(key) + length;
    return transaction->bytes <= STORE_MAX_BYTES && transaction->operations->len <= STORE_MAX_OPERATIONS;
}

void store_transaction_compare(StoreTransaction *transaction, const char *key, int64_t mod_revision) {
    if (!has_room(transaction, key, 0))
        return;
    StoreOperation operation = {.kind = STORE_COMPARE, .key = g_strdup(key), .mod_revision = mod_revision};
    g_array_append_val(transaction->operations, operation);
}

void store_transaction_put(
    StoreTransaction *transaction, const char *key, const void *value, size_t length, int64_t lease) {
    if (!has_room(transaction, key, length))
        return;
    StoreOperation operation = {
        .kind = STORE_PUT, .key = g_strdup(key), .value = g_bytes_new(value, length), .lease = lease};
    g_array_append_val(transaction->operations, operation);
}

void store_transaction_delete(StoreTransaction *transaction, const char *key) {
    if (!has_room(transaction, key, 0))
        return;
    StoreOperation operation = {.kind = STORE_DELETE, .key = g_strdup(key)};
    g_array_append_val(transaction->operations, operation);
}

static bool check_key(const char *key, Error *err) {
    size_t length = strlen(key);
    if (length == 0 || length > STORE_MAX_KEY)
        return error_set(err, ERROR_INVALID, NULL, "a key has 1 to %d bytes, not %zu", STORE_MAX_KEY, length);
    if (!g_utf8_validate(key, (gssize)length, NULL))
        return error_set(err, ERROR_INVALID, NULL, "a key must be valid UTF-8");
    return true;
}

static bool check_transaction(const StoreTransaction *transaction, Error *err) {
    if (transaction->bytes > STORE_MAX_BYTES)
        return error_set(
            err, ERROR_TOO_LARGE, NULL, "a transaction has at most %d bytes", (int)STORE_MAX_BYTES);
    if (transaction->operations->len > STORE_MAX_OPERATIONS)
        return error_set(
            err, ERROR_TOO_LARGE, NULL, "a transaction has at most %d operations", (int)STORE_MAX_OPERATIONS);
    g_autoptr(GHashTable) changed = g_hash_table_new(g_str_hash, g_str_equal);
    for (guint i = 0; i < transaction->operations->len; i++) {
        const StoreOperation *operation = &g_array_index(transaction->operations, StoreOperation, i);
        if (!check_key(operation->key, err))
            return false;
        if (operation->kind != STORE_COMPARE && !g_hash_table_add(changed, operation->key))
            return error_set(
                err, ERROR_INVALID, NULL, "a transaction changes %s more than once", operation->key);
    }
    return true;
}

void store_close(Store *store) {
    if (store)
        store->engine->close(store);
}

const char *store_uuid(const Store *store) {
    return store->engine->uuid(store);
}

int64_t store_epoch(const Store *store) {
    return store->engine->epoch(store);
}

bool store_become(
    Store *store, const char *uuid, int64_t epoch, StoreTransaction *take_transaction, Error *err) {
    g_assert(g_uuid_string_is_valid(uuid) && epoch > 0);
    take_transaction->uuid = g_strdup(uuid);
    take_transaction->epoch = epoch;
    if (!store_commit_wait(store, take_transaction, NULL, err))
        return false;
    store->engine->become(store, uuid, epoch);
    return true;
}

StoreStats store_stats(const Store *store) {
    return store->engine->stats(store);
}

bool store_get(Store *store, const char *key, StoreItem *ret_item, Error *err) {
    return check_key(key, err) && store->engine->get(store, key, ret_item, err);
}

bool store_range(Store *store, const char *prefix, const char *start_after, size_t limit,
    StoreRange *ret_range, Error *err) {
    if ((*prefix && !check_key(prefix, err)) || (start_after && *start_after && !check_key(start_after, err)))
        return false;
    if (limit == 0 || limit > STORE_MAX_RANGE)
        return error_set(err, ERROR_INVALID, NULL, "the limit of a range is 1 to %d", (int)STORE_MAX_RANGE);
    return store->engine->range(store, prefix, start_after ? start_after : "", limit, ret_range, err);
}

void store_commit(Store *store, StoreTransaction *take_transaction, StoreDoneFn done, void *data) {
    Error refusal = {0};
    if (!check_transaction(take_transaction, &refusal))
        g_clear_pointer(&take_transaction, store_transaction_free);
    store->engine->commit(store, take_transaction, &refusal, done, data);
}

bool store_commit_wait(Store *store, StoreTransaction *take_transaction, int64_t *ret_revision, Error *err) {
    if (!check_transaction(take_transaction, err)) {
        store_transaction_free(take_transaction);
        return false;
    }
    return store->engine->commit_wait(store, take_transaction, ret_revision, err);
}

StoreWatch *store_watch(
    Store *store, const char *prefix, int64_t from_revision, StoreWatchFn callback, void *data) {
    g_assert(callback && from_revision >= 0);
    return store->engine->watch(store, prefix, from_revision, callback, data);
}

void store_unwatch(Store *store, StoreWatch *watch) {
    if (watch)
        store->engine->unwatch(store, watch);
}

void store_compact(Store *store, int64_t revision, StoreDoneFn done, void *data) {
    store->engine->compact(store, revision, done, data);
}

int64_t store_lease_grant(Store *store, int64_t ttl_ns, StoreDoneFn done, void *data) {
    g_assert(ttl_ns >= NS_PER_S);
    return store->engine->lease_grant(store, ttl_ns, done, data);
}

bool store_lease_keep_alive(Store *store, int64_t lease, Error *err) {
    return store->engine->lease_keep_alive(store, lease, err);
}

void store_lease_revoke(Store *store, int64_t lease, StoreDoneFn done, void *data) {
    store->engine->lease_revoke(store, lease, done, data);
}

bool store_backup(Store *store, const char *path, StoreDoneFn done, void *data, Error *err) {
    return store->engine->backup(store, path, done, data, err);
}
