/*
 * Power cuts: SQLite runs on its own file layer, except that what a file held at its last fsync is
 * remembered. A cut is a folder with only that; a store opened there must have every acknowledged commit.
 * (The model drops everything that was not synced; a real disk may keep some of it.)
 */
#include <sqlite3.h>
#include <string.h>
#include "base/file.h"
#include "store/test-engines.h"

enum { COMMITS = 60, MAX_VALUE = 400 * 1000, MAX_FILE = 256 * 1000 * 1000 };

/* SQLite's callbacks know nothing but their file, so the recorder is one per process. */
static struct {
    GMutex mutex;
    sqlite3_vfs vfs;
    sqlite3_vfs *real;
    sqlite3_io_methods methods[2]; /* of the database, of its logs */
    int (*real_sync)(sqlite3_file *file, int flags);
    GHashTable *paths;  /* sqlite3_file -> path */
    GHashTable *synced; /* path -> GBytes */
    int syncs;
} recorder;

static int record_sync(sqlite3_file *file, int flags) {
    int result = recorder.real_sync(file, flags);
    g_mutex_lock(&recorder.mutex);
    const char *path = g_hash_table_lookup(recorder.paths, file);
    char *data = NULL;
    size_t length = 0;
    if (result == SQLITE_OK && path && file_read(path, MAX_FILE, &data, &length, NULL))
        g_hash_table_replace(recorder.synced, g_strdup(path), g_bytes_new_take(data, length));
    recorder.syncs++;
    g_mutex_unlock(&recorder.mutex);
    return result;
}

static int record_open(
    sqlite3_vfs *vfs G_GNUC_UNUSED, sqlite3_filename name, sqlite3_file *file, int flags, int *ret_flags) {
    int result = recorder.real->xOpen(recorder.real, name, file, flags, ret_flags);
    if (result != SQLITE_OK || !name)
        return result;
    g_mutex_lock(&recorder.mutex);
    sqlite3_io_methods *methods = &recorder.methods[flags & SQLITE_OPEN_MAIN_DB ? 0 : 1];
    *methods = *file->pMethods;
    recorder.real_sync = methods->xSync; /* the same function for all files */
    methods->xSync = record_sync;
    file->pMethods = methods;
    g_hash_table_replace(recorder.paths, file, g_strdup(name));
    g_mutex_unlock(&recorder.mutex);
    return result;
}

static void start_recorder(void) {
    recorder.paths = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    recorder.synced = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
    recorder.real = sqlite3_vfs_find(NULL);
    recorder.vfs = *recorder.real;
    recorder.vfs.zName = "recorder";
    recorder.vfs.xOpen = record_open;
    g_assert_cmpint(sqlite3_vfs_register(&recorder.vfs, 1), ==, SQLITE_OK);
}

static void stop_recorder(void) {
    sqlite3_vfs_unregister(&recorder.vfs);
    g_hash_table_unref(recorder.paths);
    g_hash_table_unref(recorder.synced);
}

/* Writes the synced state of one file of the store into the folder. */
static void save_synced(const char *store_path, const char *folder, const char *suffix) {
    g_autofree char *from = g_strconcat(store_path, suffix, NULL);
    g_autofree char *to = g_strconcat(folder, "/store.db", suffix, NULL);
    g_mutex_lock(&recorder.mutex);
    GBytes *bytes = g_hash_table_lookup(recorder.synced, from);
    size_t length = 0;
    const void *data = bytes ? g_bytes_get_data(bytes, &length) : NULL;
    if (bytes)
        g_assert_true(file_replace(to, length > 0 ? data : "", length, 0600, NULL));
    g_mutex_unlock(&recorder.mutex);
}

/* `n_commits` were acknowledged: key number n has the text n. */
static void cut_power(const Fixture *fixture, int n_commits) {
    g_autofree char *folder = g_dir_make_tmp("lodge-power-XXXXXX", NULL);
    save_synced(fixture->path, folder, "");
    save_synced(fixture->path, folder, "-wal");
    g_auto(Error) err = {0};
    Store *store = fixture->engine->open(folder, &fixture->clock.clock, &err);
    g_assert_cmpstr(err.message, ==, NULL);
    for (int i = 0; i < n_commits; i++) {
        g_autofree char *key = g_strdup_printf("commit/%d", i);
        g_auto(StoreItem) item = {0};
        g_assert_true(store_get(store, key, &item, NULL));
        g_assert_cmpint(item.mod_revision, ==, i + 1);
    }
    store_close(store);
    g_assert_true(tree_remove(folder, NULL));
}

static void test_power_cut_loses_nothing_acknowledged(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    g_autofree char *value = g_malloc0(MAX_VALUE);
    int before = recorder.syncs;
    for (int i = 0; i < COMMITS; i++) {
        g_autofree char *key = g_strdup_printf("commit/%d", i);
        StoreTransaction *transaction = store_transaction_new();
        store_transaction_put(transaction, key, value, (size_t)g_test_rand_int_range(0, MAX_VALUE), 0);
        g_assert_true(store_commit_wait(fixture->store, transaction, NULL, NULL));
        if (g_test_rand_int_range(0, 4) == 0 || i + 1 == COMMITS)
            cut_power(fixture, i + 1);
    }
    g_assert_cmpint(recorder.syncs - before, >=, COMMITS);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    start_recorder();
    g_test_add("/store-power/acknowledged", Fixture, &test_engines[0], fixture_set_up,
        test_power_cut_loses_nothing_acknowledged, fixture_tear_down);
    int result = g_test_run();
    stop_recorder();
    return result;
}
