/* What the tests of all engines share. */
#include <string.h>
#include "store/test-engines.h"
#include "base/file.h"

static Store *open_sqlite(const char *folder, const Clock *clock, Error *err) {
    g_autofree char *path = g_build_filename(folder, "store.db", NULL);
    return store_open_sqlite(path, NULL, clock, err);
}

const TestEngine test_engines[] = {
    {.name = "sqlite", .open = open_sqlite},
};
const size_t n_test_engines = G_N_ELEMENTS(test_engines);

static void open_store(Fixture *fixture) {
    g_auto(Error) err = {0};
    fixture->store = fixture->engine->open(fixture->folder, &fixture->clock.clock, &err);
    g_assert_cmpstr(err.message, ==, NULL);
    g_assert_nonnull(fixture->store);
}

void fixture_set_up(Fixture *fixture, const void *engine) {
    fixture->engine = engine;
    fixture->folder = g_dir_make_tmp("lodge-store-XXXXXX", NULL);
    g_assert_nonnull(fixture->folder);
    fixture->path = g_build_filename(fixture->folder, "store.db", NULL);
    fake_clock_init(&fixture->clock, INT64_C(1800000000) * NS_PER_S);
    open_store(fixture);
}

void fixture_tear_down(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    store_close(fixture->store);
    g_assert_true(tree_remove(fixture->folder, NULL));
    g_free(fixture->folder);
    g_free(fixture->path);
}

void fixture_reopen(Fixture *fixture) {
    store_close(fixture->store);
    open_store(fixture);
}

int64_t put_text(Store *store, const char *key, const char *text) {
    StoreTransaction *transaction = store_transaction_new();
    store_transaction_put(transaction, key, text, strlen(text), 0);
    int64_t revision = 0;
    g_auto(Error) err = {0};
    g_assert_true(store_commit_wait(store, transaction, &revision, &err));
    return revision;
}

char *get_text(Store *store, const char *key) {
    g_auto(StoreItem) item = {0};
    g_auto(Error) err = {0};
    if (!store_get(store, key, &item, &err)) {
        g_assert_cmpint(err.code, ==, ERROR_NOT_FOUND);
        return NULL;
    }
    size_t length = 0;
    const char *text = g_bytes_get_data(item.value, &length);
    return g_strndup(length > 0 ? text : "", length);
}

void outcome_done(int64_t revision, const Error *err, void *data) {
    Outcome *outcome = data;
    outcome->calls++;
    outcome->revision = revision;
    outcome->code = err ? err->code : ERROR_NONE;
    g_autofree char *text = err ? error_text(err) : g_strdup("");
    g_strlcpy(outcome->message, text, sizeof outcome->message);
}

static gboolean set_flag(void *data) {
    *(bool *)data = true;
    return G_SOURCE_REMOVE;
}

void run_until(const int *counter, int target) {
    bool is_late = false;
    guint timer = g_timeout_add_seconds(20, set_flag, &is_late);
    while (*counter < target && !is_late)
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmpint(*counter, >=, target);
    g_source_remove(timer);
}

void run_for_ms(guint time_ms) {
    bool is_over = false;
    g_timeout_add(time_ms, set_flag, &is_over);
    while (!is_over)
        g_main_context_iteration(NULL, TRUE);
}
