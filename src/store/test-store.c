/* The contract of store.h, for every engine: each test runs on each row of test_engines. */
#include <string.h>
#include "store/test-engines.h"

static void test_versions_and_revisions_count(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    int64_t first = put_text(fixture->store, "vm/a", "1");
    int64_t second = put_text(fixture->store, "vm/b", "x");
    int64_t third = put_text(fixture->store, "vm/a", "2");
    g_assert_cmpint(second, ==, first + 1);
    g_assert_cmpint(third, ==, second + 1);
    g_auto(StoreItem) item = {0};
    g_assert_true(store_get(fixture->store, "vm/a", &item, NULL));
    g_assert_cmpint(item.create_revision, ==, first);
    g_assert_cmpint(item.mod_revision, ==, third);
    g_assert_cmpint(item.version, ==, 2);
    g_assert_cmpuint(g_bytes_get_size(item.value), ==, 1);
    fixture_reopen(fixture);
    g_autofree char *text = get_text(fixture->store, "vm/a");
    g_assert_cmpstr(text, ==, "2");
    g_assert_cmpint(put_text(fixture->store, "vm/c", ""), ==, third + 1);
    g_autofree char *empty = get_text(fixture->store, "vm/c");
    g_assert_cmpstr(empty, ==, "");
}

static void test_failed_compare_leaves_nothing(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    int64_t revision = put_text(fixture->store, "vm/a", "old");
    StoreTransaction *transaction = store_transaction_new();
    store_transaction_put(transaction, "vm/new", "x", 1, 0);
    store_transaction_delete(transaction, "vm/a");
    store_transaction_compare(transaction, "vm/a", revision);
    store_transaction_compare(transaction, "vm/b", 1);
    Outcome outcome = {0};
    store_commit(fixture->store, transaction, outcome_done, &outcome);
    g_assert_cmpint(outcome.calls, ==, 0); /* never from inside the call */
    run_until(&outcome.calls, 1);
    g_assert_cmpint(outcome.code, ==, ERROR_PRECONDITION);
    g_assert_nonnull(strstr(outcome.message, "vm/b"));
    g_assert_null(get_text(fixture->store, "vm/new"));
    g_autofree char *text = get_text(fixture->store, "vm/a");
    g_assert_cmpstr(text, ==, "old");
    g_assert_cmpint(put_text(fixture->store, "vm/c", "x"), ==, revision + 1);
}

static void test_compare_with_zero_means_must_not_exist(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    Outcome outcomes[2] = {0};
    for (int i = 0; i < 2; i++) {
        StoreTransaction *transaction = store_transaction_new();
        store_transaction_compare(transaction, "vm/a", 0);
        store_transaction_put(transaction, "vm/a", i == 0 ? "0" : "1", 1, 0);
        store_commit(fixture->store, transaction, outcome_done, &outcomes[i]);
    }
    run_until(&outcomes[1].calls, 1);
    g_assert_cmpint(outcomes[0].code, ==, ERROR_NONE);
    g_assert_cmpint(outcomes[1].code, ==, ERROR_PRECONDITION);
    g_autofree char *text = get_text(fixture->store, "vm/a");
    g_assert_cmpstr(text, ==, "0");
}

static void test_deleting_nothing_keeps_the_revision(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    int64_t revision = put_text(fixture->store, "vm/a", "1"), after = 0;
    StoreTransaction *transaction = store_transaction_new();
    store_transaction_delete(transaction, "vm/none");
    g_assert_true(store_commit_wait(fixture->store, transaction, &after, NULL));
    g_assert_cmpint(after, ==, revision);
}

static void commit_expecting(Store *store, StoreTransaction *transaction, ErrorCode code) {
    Outcome outcome = {0};
    store_commit(store, transaction, outcome_done, &outcome);
    run_until(&outcome.calls, 1);
    g_assert_cmpint(outcome.code, ==, code);
}

static void test_limits_are_refused_by_name(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    StoreTransaction *many = store_transaction_new();
    for (int i = 0; i <= STORE_MAX_OPERATIONS; i++) {
        g_autofree char *key = g_strdup_printf("vm/%d", i);
        store_transaction_put(many, key, "x", 1, 0);
    }
    commit_expecting(fixture->store, many, ERROR_TOO_LARGE);
    g_autofree char *large = g_malloc0(STORE_MAX_BYTES);
    StoreTransaction *big = store_transaction_new();
    store_transaction_put(big, "vm/a", large, STORE_MAX_BYTES - 3, 0);
    commit_expecting(fixture->store, big, ERROR_TOO_LARGE);
    StoreTransaction *largest = store_transaction_new();
    store_transaction_put(largest, "vm/a", large, STORE_MAX_BYTES - 4, 0);
    commit_expecting(fixture->store, largest, ERROR_NONE);
    StoreTransaction *twice = store_transaction_new();
    store_transaction_put(twice, "vm/b", "x", 1, 0);
    store_transaction_delete(twice, "vm/b");
    commit_expecting(fixture->store, twice, ERROR_INVALID);
    StoreTransaction *foreign = store_transaction_new();
    store_transaction_put(foreign, "vm/\xff", "x", 1, 0);
    commit_expecting(fixture->store, foreign, ERROR_INVALID);
    g_auto(StoreItem) item = {0};
    g_auto(Error) err = {0};
    g_assert_false(store_get(fixture->store, "", &item, &err));
    g_assert_cmpint(err.code, ==, ERROR_INVALID);
}

static void test_range_pages_through_a_prefix(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    const char *const keys[] = {"vm", "vm/", "vm/a", "vm/b", "vm/\xc3\xa9", "vm0", "vl/z"};
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
        put_text(fixture->store, keys[i], keys[i]);
    g_autoptr(GString) seen = g_string_new(NULL);
    g_autofree char *after = NULL;
    bool has_more = true;
    while (has_more) {
        g_auto(StoreRange) range = {0};
        g_assert_true(store_range(fixture->store, "vm/", after, 2, &range, NULL));
        g_assert_cmpuint(range.n_items, <=, 2);
        g_assert_cmpint(range.revision, ==, (int64_t)G_N_ELEMENTS(keys));
        for (size_t i = 0; i < range.n_items; i++)
            g_string_append_printf(seen, "%s ", range.items[i].key);
        g_free(after);
        after = g_strdup(range.items[range.n_items - 1].key);
        has_more = range.has_more;
    }
    g_assert_cmpstr(seen->str, ==, "vm/ vm/a vm/b vm/\xc3\xa9 ");
    g_auto(StoreRange) all = {0};
    g_assert_true(store_range(fixture->store, "", NULL, 100, &all, NULL));
    g_assert_cmpuint(all.n_items, ==, G_N_ELEMENTS(keys));
}

typedef struct Seen {
    GString *text; /* "revision:key=value" or "revision:-key", a "|" behind each revision */
    int calls;
    ErrorCode code;
} Seen;

static void see(const StoreItem *events, size_t n_events, const Error *err, void *data) {
    Seen *seen = data;
    seen->code = err ? err->code : ERROR_NONE;
    for (size_t i = 0; i < n_events; i++) {
        g_autofree char *value = events[i].value ? g_strndup(g_bytes_get_data(events[i].value, NULL),
                                                       g_bytes_get_size(events[i].value))
                                                 : NULL;
        if (value)
            g_string_append_printf(
                seen->text, "%d:%s=%s ", (int)events[i].mod_revision, events[i].key, value);
        else
            g_string_append_printf(seen->text, "%d:-%s ", (int)events[i].mod_revision, events[i].key);
    }
    g_string_append_c(seen->text, '|');
    seen->calls++;
}

static void test_watch_shows_history_then_live(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    put_text(fixture->store, "vm/a", "1");
    put_text(fixture->store, "host/a", "1");
    put_text(fixture->store, "vm/a", "2");
    Seen seen = {.text = g_string_new(NULL)}, now = {.text = g_string_new(NULL)};
    StoreWatch *watch = store_watch(fixture->store, "vm/", 1, see, &seen);
    store_watch(fixture->store, "vm/", 0, see, &now);
    StoreTransaction *transaction = store_transaction_new();
    store_transaction_put(transaction, "vm/b", "3", 1, 0);
    store_transaction_delete(transaction, "vm/a");
    g_assert_true(store_commit_wait(fixture->store, transaction, NULL, NULL));
    g_assert_cmpint(seen.calls, ==, 0);
    run_until(&seen.calls, 3);
    run_until(&now.calls, 1);
    g_assert_cmpstr(seen.text->str, ==, "1:vm/a=1 |3:vm/a=2 |4:vm/b=3 4:-vm/a |");
    g_assert_cmpstr(now.text->str, ==, "4:vm/b=3 4:-vm/a |");
    store_unwatch(fixture->store, watch);
    put_text(fixture->store, "vm/c", "4");
    run_until(&now.calls, 2);
    g_assert_cmpint(seen.calls, ==, 3);
    g_string_free(seen.text, TRUE);
    g_string_free(now.text, TRUE);
}

typedef struct SelfRemover {
    Store *store;
    StoreWatch *watch;
    int calls;
} SelfRemover;

static void remove_self(
    const StoreItem *events G_GNUC_UNUSED, size_t n_events G_GNUC_UNUSED, const Error *err, void *data) {
    SelfRemover *self = data;
    g_assert_null(err);
    self->calls++;
    store_unwatch(self->store, self->watch);
}

static void test_watch_may_end_itself(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    put_text(fixture->store, "a", "1");
    put_text(fixture->store, "a", "2");
    SelfRemover self = {.store = fixture->store};
    self.watch = store_watch(fixture->store, "", 1, remove_self, &self);
    run_until(&self.calls, 1);
    run_for_ms(20);
    g_assert_cmpint(self.calls, ==, 1);
    g_assert_cmpuint(store_stats(fixture->store).watches, ==, 0);
}

static void test_watch_of_forgotten_changes_is_too_old(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    for (int i = 0; i < 5; i++)
        put_text(fixture->store, "vm/a", "x");
    Outcome outcome = {0}, future = {0};
    store_compact(fixture->store, 3, outcome_done, &outcome);
    store_compact(fixture->store, 99, outcome_done, &future);
    run_until(&future.calls, 1);
    g_assert_cmpint(outcome.code, ==, ERROR_NONE);
    g_assert_cmpint(future.code, ==, ERROR_INVALID);
    Seen old = {.text = g_string_new(NULL)}, kept = {.text = g_string_new(NULL)};
    store_unwatch(fixture->store, NULL);
    StoreWatch *ended = store_watch(fixture->store, "vm/", 3, see, &old);
    store_watch(fixture->store, "vm/", 4, see, &kept);
    run_until(&old.calls, 1);
    run_until(&kept.calls, 2);
    g_assert_cmpint(old.code, ==, ERROR_TOO_OLD);
    g_assert_cmpstr(kept.text->str, ==, "4:vm/a=x |5:vm/a=x |");
    store_unwatch(fixture->store, ended);
    g_autofree char *text = get_text(fixture->store, "vm/a");
    g_assert_cmpstr(text, ==, "x");
    g_string_free(old.text, TRUE);
    g_string_free(kept.text, TRUE);
}

static void put_with_lease(Store *store, const char *key, int64_t lease, ErrorCode expected) {
    StoreTransaction *transaction = store_transaction_new();
    store_transaction_put(transaction, key, "x", 1, lease);
    commit_expecting(store, transaction, expected);
}

static void test_lease_ends_with_its_items(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    int64_t lease = store_lease_grant(fixture->store, 10 * NS_PER_S, NULL, NULL);
    put_with_lease(fixture->store, "manager/a", lease, ERROR_NONE);
    put_with_lease(fixture->store, "manager/b", lease, ERROR_NONE);
    put_with_lease(fixture->store, "manager/c", lease, ERROR_NONE);
    put_text(fixture->store, "manager/c", "free again");
    Seen seen = {.text = g_string_new(NULL)};
    store_watch(fixture->store, "manager/", 0, see, &seen);
    fake_clock_advance(&fixture->clock, 9 * NS_PER_S);
    run_for_ms(500);
    g_assert_true(store_lease_keep_alive(fixture->store, lease, NULL));
    fake_clock_advance(&fixture->clock, 9 * NS_PER_S);
    run_for_ms(500);
    g_assert_cmpint(seen.calls, ==, 0);
    fake_clock_advance(&fixture->clock, NS_PER_S);
    g_auto(Error) err = {0};
    g_assert_false(store_lease_keep_alive(fixture->store, lease, &err));
    g_assert_cmpint(err.code, ==, ERROR_NOT_FOUND);
    run_until(&seen.calls, 1);
    g_assert_cmpstr(seen.text->str, ==, "5:-manager/a 5:-manager/b |");
    put_with_lease(fixture->store, "manager/d", lease, ERROR_NOT_FOUND);
    g_autofree char *text = get_text(fixture->store, "manager/c");
    g_assert_cmpstr(text, ==, "free again");
    g_assert_cmpuint(store_stats(fixture->store).leases, ==, 0);
    g_string_free(seen.text, TRUE);
}

static void test_refusal_in_the_middle_leaves_nothing(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    StoreTransaction *transaction = store_transaction_new();
    store_transaction_put(transaction, "vm/a", "x", 1, 0);
    store_transaction_put(transaction, "vm/b", "x", 1, 12345); /* no such lease */
    commit_expecting(fixture->store, transaction, ERROR_NOT_FOUND);
    g_assert_null(get_text(fixture->store, "vm/a"));
    g_assert_cmpint(put_text(fixture->store, "vm/c", "x"), ==, 1);
}

static void test_lease_survives_a_restart_with_its_full_time(
    Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    int64_t lease = store_lease_grant(fixture->store, 10 * NS_PER_S, NULL, NULL);
    put_with_lease(fixture->store, "manager/a", lease, ERROR_NONE);
    fake_clock_advance(&fixture->clock, 9 * NS_PER_S);
    fixture_reopen(fixture);
    fake_clock_advance(&fixture->clock, 9 * NS_PER_S);
    g_assert_true(store_lease_keep_alive(fixture->store, lease, NULL));
    Outcome outcome = {0};
    store_lease_revoke(fixture->store, lease, outcome_done, &outcome);
    run_until(&outcome.calls, 1);
    g_assert_null(get_text(fixture->store, "manager/a"));
    g_assert_cmpint(outcome.revision, ==, 2);
}

static void append_number(int64_t revision, const Error *err, void *data) {
    g_assert_null(err);
    g_array_append_val((GArray *)data, revision);
}

static void test_queued_commits_keep_order_and_share_fsyncs(
    Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    g_autoptr(GArray) revisions = g_array_new(FALSE, FALSE, sizeof(int64_t));
    enum { COMMITS = 1000 };
    for (int i = 0; i < COMMITS; i++) {
        StoreTransaction *transaction = store_transaction_new();
        g_autofree char *text = g_strdup_printf("%d", i);
        store_transaction_put(transaction, "counter", text, strlen(text), 0);
        store_commit(fixture->store, transaction, append_number, revisions);
    }
    Outcome last = {0};
    StoreTransaction *nothing = store_transaction_new();
    store_commit(fixture->store, nothing, outcome_done, &last);
    run_until(&last.calls, 1);
    g_assert_cmpuint(revisions->len, ==, COMMITS);
    for (guint i = 0; i < revisions->len; i++)
        g_assert_cmpint(g_array_index(revisions, int64_t, i), ==, i + 1);
    g_autofree char *text = get_text(fixture->store, "counter");
    g_assert_cmpstr(text, ==, "999");
    StoreStats stats = store_stats(fixture->store);
    g_test_message("%d commits in %d groups", COMMITS, (int)stats.groups);
    g_assert_cmpuint(stats.commits, ==, COMMITS + 1);
    g_assert_cmpuint(stats.groups, <, COMMITS / 10);
}

static void test_close_answers_what_waits(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    Outcome outcomes[50] = {0};
    for (size_t i = 0; i < G_N_ELEMENTS(outcomes); i++) {
        StoreTransaction *transaction = store_transaction_new();
        store_transaction_put(transaction, "counter", "x", 1, 0);
        store_commit(fixture->store, transaction, outcome_done, &outcomes[i]);
    }
    fixture_reopen(fixture);
    for (size_t i = 0; i < G_N_ELEMENTS(outcomes); i++)
        g_assert_true(outcomes[i].calls == 1 && outcomes[i].code == ERROR_NONE);
    g_auto(StoreItem) item = {0};
    g_assert_true(store_get(fixture->store, "counter", &item, NULL));
    g_assert_cmpint(item.version, ==, (int64_t)G_N_ELEMENTS(outcomes));
}

typedef void (*FixtureTest)(Fixture *fixture, const void *engine);
static const struct {
    const char *name;
    FixtureTest run;
} tests[] = {
    {"versions", test_versions_and_revisions_count},
    {"compare-fails", test_failed_compare_leaves_nothing},
    {"compare-zero", test_compare_with_zero_means_must_not_exist},
    {"delete-nothing", test_deleting_nothing_keeps_the_revision},
    {"limits", test_limits_are_refused_by_name},
    {"range", test_range_pages_through_a_prefix},
    {"watch", test_watch_shows_history_then_live},
    {"watch-ends-itself", test_watch_may_end_itself},
    {"watch-too-old", test_watch_of_forgotten_changes_is_too_old},
    {"lease", test_lease_ends_with_its_items},
    {"refused-in-the-middle", test_refusal_in_the_middle_leaves_nothing},
    {"lease-restart", test_lease_survives_a_restart_with_its_full_time},
    {"group-commit", test_queued_commits_keep_order_and_share_fsyncs},
    {"close", test_close_answers_what_waits},
};

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    for (size_t e = 0; e < n_test_engines; e++)
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
            g_autofree char *path = g_strdup_printf("/store/%s/%s", test_engines[e].name, tests[i].name);
            g_test_add(path, Fixture, &test_engines[e], fixture_set_up, tests[i].run, fixture_tear_down);
        }
    return g_test_run();
}
