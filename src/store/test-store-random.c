/*
 * Random histories: the store against a model in memory, and against SIGKILL. The seed is printed by g_test
 * ("random seed"); repeat with --seed.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "store/test-engines.h"

enum { RANDOM_COMMITS = 1000, MODEL_KEYS = 40, KILL_ROUNDS = 12, IN_FLIGHT = 64 };

typedef struct Expected {
    bool is_success;
    int64_t revision;
    Outcome outcome;
} Expected;

typedef struct Model {
    GHashTable *items; /* key -> StoreItem */
    int64_t revision;
} Model;

static void model_item_free(void *data) {
    store_item_clear(data);
    g_free(data);
}

static GHashTable *model_items_new(void) {
    return g_hash_table_new_full(g_str_hash, g_str_equal, NULL, model_item_free);
}

static void model_put(GHashTable *items, const char *key, GBytes *value, int64_t revision) {
    const StoreItem *old = g_hash_table_lookup(items, key);
    StoreItem *item = g_new0(StoreItem, 1);
    *item = (StoreItem){
        .key = g_strdup(key),
        .value = g_bytes_ref(value),
        .create_revision = old ? old->create_revision : revision,
        .mod_revision = revision,
        .version = old ? old->version + 1 : 1,
    };
    g_hash_table_replace(items, item->key, item);
}

static int64_t model_mod_revision(const Model *model, const char *key) {
    const StoreItem *item = g_hash_table_lookup(model->items, key);
    return item ? item->mod_revision : 0;
}

static bool add_compares(const Model *model, StoreTransaction *transaction) {
    bool all_hold = true;
    for (int i = g_test_rand_int_range(0, 3); i > 0; i--) {
        g_autofree char *key = g_strdup_printf("k/%d", g_test_rand_int_range(0, MODEL_KEYS));
        int64_t wrong_by = g_test_rand_int_range(0, 8) == 0 ? 1 : 0;
        store_transaction_compare(transaction, key, model_mod_revision(model, key) + wrong_by);
        all_hold = all_hold && wrong_by == 0;
    }
    return all_hold;
}

/* Adds changes to the transaction, and to the model when it will succeed; true when something changes. */
static bool add_changes(Model *model, StoreTransaction *transaction, bool will_succeed) {
    g_autoptr(GHashTable) used = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    bool changes = false;
    for (int i = g_test_rand_int_range(0, 6); i > 0; i--) {
        char *key = g_strdup_printf("k/%d", g_test_rand_int_range(0, MODEL_KEYS));
        if (!g_hash_table_add(used, key))
            continue;
        bool is_put = g_test_rand_int_range(0, 3) > 0;
        g_autofree char *text = g_strdup_printf("%08x", (unsigned)g_test_rand_int());
        g_autoptr(GBytes) value = g_bytes_new(text, strlen(text));
        if (is_put)
            store_transaction_put(transaction, key, text, strlen(text), 0);
        else
            store_transaction_delete(transaction, key);
        if (will_succeed && is_put)
            model_put(model->items, key, value, model->revision + 1);
        bool has_deleted = will_succeed && !is_put && g_hash_table_remove(model->items, key);
        changes = changes || (will_succeed && is_put) || has_deleted;
    }
    return changes;
}

static void commit_randomly(Store *store, Model *model, Expected *expected) {
    StoreTransaction *transaction = store_transaction_new();
    expected->is_success = add_compares(model, transaction);
    if (add_changes(model, transaction, expected->is_success))
        model->revision++;
    expected->revision = model->revision;
    store_commit(store, transaction, outcome_done, &expected->outcome);
}

static void check_same(GHashTable *model, const StoreItem *items, size_t n_items) {
    g_assert_cmpuint(g_hash_table_size(model), ==, n_items);
    for (size_t i = 0; i < n_items; i++) {
        const StoreItem *item = g_hash_table_lookup(model, items[i].key);
        g_assert_nonnull(item);
        g_assert_true(g_bytes_equal(item->value, items[i].value));
        g_assert_cmpint(item->create_revision, ==, items[i].create_revision);
        g_assert_cmpint(item->mod_revision, ==, items[i].mod_revision);
        g_assert_cmpint(item->version, ==, items[i].version);
    }
}

typedef struct Replica {
    GHashTable *items;
    int64_t revision;
    int calls;
} Replica;

static void replay(const StoreItem *events, size_t n_events, const Error *err, void *data) {
    Replica *replica = data;
    g_assert_null(err);
    g_assert_cmpint(events[0].mod_revision, >, replica->revision);
    replica->revision = events[0].mod_revision;
    for (size_t i = 0; i < n_events; i++)
        if (events[i].value)
            model_put(replica->items, events[i].key, events[i].value, events[i].mod_revision);
        else
            g_assert_true(g_hash_table_remove(replica->items, events[i].key));
    replica->calls++;
}

static void test_random_commits_match_the_model(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    Model model = {.items = model_items_new()};
    Replica live = {.items = model_items_new()}, late = {.items = model_items_new()};
    store_watch(fixture->store, "k/", 1, replay, &live);
    g_autofree Expected *expected = g_new0(Expected, RANDOM_COMMITS);
    for (int i = 0; i < RANDOM_COMMITS; i++) {
        commit_randomly(fixture->store, &model, &expected[i]);
        if (g_test_rand_int_range(0, 10) == 0)
            run_until(&expected[i].outcome.calls, 1);
    }
    run_until(&expected[RANDOM_COMMITS - 1].outcome.calls, 1);
    for (int i = 0; i < RANDOM_COMMITS; i++) {
        g_assert_cmpint(
            expected[i].outcome.code, ==, expected[i].is_success ? ERROR_NONE : ERROR_PRECONDITION);
        if (expected[i].is_success)
            g_assert_cmpint(expected[i].outcome.revision, ==, expected[i].revision);
    }
    run_until(&live.calls, (int)model.revision);
    store_watch(fixture->store, "", 1, replay, &late);
    run_until(&late.calls, (int)model.revision);
    g_auto(StoreRange) range = {0};
    g_assert_true(store_range(fixture->store, "k/", NULL, STORE_MAX_RANGE, &range, NULL));
    check_same(model.items, range.items, range.n_items);
    check_same(live.items, range.items, range.n_items);
    check_same(late.items, range.items, range.n_items);
    g_test_message("%d transactions, %d of them changed something", RANDOM_COMMITS, (int)model.revision);
    g_hash_table_unref(model.items);
    g_hash_table_unref(live.items);
    g_hash_table_unref(late.items);
}

/* The process that will be killed: commits without end, says on standard output what was acknowledged. */
typedef struct Committer {
    Store *store;
    int64_t next;
    int in_flight;
} Committer;

typedef struct Commit {
    Committer *committer;
    int64_t number;
} Commit;

static void report_commit(int64_t revision, const Error *err, void *data) {
    g_autofree Commit *commit = data;
    commit->committer->in_flight--;
    if (err)
        _exit(3);
    g_autofree char *line =
        g_strdup_printf("%" G_GINT64_FORMAT " %" G_GINT64_FORMAT "\n", commit->number, revision);
    if (!fd_write_all(STDOUT_FILENO, line, strlen(line), NULL))
        _exit(4);
}

static void start_commit(Committer *committer) {
    Commit *commit = g_new0(Commit, 1);
    *commit = (Commit){.committer = committer, .number = committer->next++};
    committer->in_flight++;
    StoreTransaction *transaction = store_transaction_new();
    for (int i = 0; i < 2; i++) {
        g_autofree char *key = g_strdup_printf("commit/%d/%" G_GINT64_FORMAT, i, commit->number);
        store_transaction_put(transaction, key, key, strlen(key), 0);
    }
    store_commit(committer->store, transaction, report_commit, commit);
}

static int commit_forever(const char *engine_number, const char *folder, const char *first) {
    const TestEngine *engine = &test_engines[g_ascii_strtoull(engine_number, NULL, 10)];
    Committer committer = {.next = g_ascii_strtoll(first, NULL, 10)};
    committer.store = engine->open(folder, clock_system(), NULL);
    if (!committer.store)
        return 2;
    for (;;) {
        while (committer.in_flight < IN_FLIGHT)
            start_commit(&committer);
        g_main_context_iteration(NULL, TRUE);
    }
}

static pid_t start_committer(const Fixture *fixture, int64_t first, int *ret_fd) {
    g_autofree char *number = g_strdup_printf("%d", (int)(fixture->engine - test_engines));
    g_autofree char *first_text = g_strdup_printf("%" G_GINT64_FORMAT, first);
    char *argv[] = {
        (char[]){"/proc/self/exe"}, (char[]){"--commit"}, number, fixture->folder, first_text, NULL};
    GPid pid = 0;
    g_assert_true(g_spawn_async_with_pipes(
        NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid, NULL, ret_fd, NULL, NULL));
    return pid;
}

typedef struct Acknowledged {
    int64_t number, revision;
} Acknowledged;

/* Reads until the killed process' pipe ends; kills it after `kill_after` acknowledgements. */
static void collect(pid_t pid, int fd, guint kill_after, GArray *acknowledged) {
    FILE *lines = fdopen(fd, "r");
    char line[64];
    guint n = 0;
    while (fgets(line, sizeof line, lines)) {
        char *rest = NULL;
        if (!strchr(line, '\n'))
            break; /* cut off by the kill */
        Acknowledged one = {.number = g_ascii_strtoll(line, &rest, 10)};
        one.revision = g_ascii_strtoll(rest, NULL, 10);
        g_array_append_val(acknowledged, one);
        if (++n == kill_after)
            kill(pid, SIGKILL);
    }
    fclose(lines);
    int status = 0;
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void check_acknowledged(Store *store, const GArray *acknowledged) {
    for (guint i = 0; i < acknowledged->len; i++) {
        const Acknowledged *one = &g_array_index(acknowledged, Acknowledged, i);
        for (int half = 0; half < 2; half++) {
            g_autofree char *key = g_strdup_printf("commit/%d/%" G_GINT64_FORMAT, half, one->number);
            g_auto(StoreItem) item = {0};
            g_assert_true(store_get(store, key, &item, NULL));
            g_assert_cmpint(item.mod_revision, ==, one->revision);
        }
    }
}

/* The halves of a transaction are there both or not at all, acknowledged or not. */
static int64_t check_whole(Store *store, int64_t first) {
    for (int64_t number = first;; number++) {
        bool halves[2];
        for (int half = 0; half < 2; half++) {
            g_autofree char *key = g_strdup_printf("commit/%d/%" G_GINT64_FORMAT, half, number);
            g_autofree char *text = get_text(store, key);
            halves[half] = text != NULL;
        }
        g_assert_cmpint(halves[0], ==, halves[1]);
        if (!halves[0])
            return number;
    }
}

static void test_kill_loses_nothing_acknowledged(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    g_autoptr(GArray) acknowledged = g_array_new(FALSE, FALSE, sizeof(Acknowledged));
    int64_t next = 0;
    for (int round = 0; round < KILL_ROUNDS; round++) {
        g_clear_pointer(&fixture->store, store_close);
        int fd = -1;
        pid_t pid = start_committer(fixture, next, &fd);
        collect(pid, fd, (guint)g_test_rand_int_range(1, 600), acknowledged);
        g_auto(Error) err = {0};
        fixture->store = fixture->engine->open(fixture->folder, &fixture->clock.clock, &err);
        g_assert_cmpstr(err.message, ==, NULL);
        check_acknowledged(fixture->store, acknowledged);
        next = check_whole(fixture->store, next);
    }
    g_test_message("%u acknowledged, %d stored, %d kills", acknowledged->len, (int)next, KILL_ROUNDS);
    g_assert_cmpint(next, >=, (int64_t)acknowledged->len);
}

int main(int argc, char **argv) {
    if (argc == 5 && g_str_equal(argv[1], "--commit"))
        return commit_forever(argv[2], argv[3], argv[4]);
    g_test_init(&argc, &argv, NULL);
    for (size_t e = 0; e < n_test_engines; e++) {
        g_autofree char *model = g_strdup_printf("/store-random/%s/model", test_engines[e].name);
        g_autofree char *killed = g_strdup_printf("/store-random/%s/kill", test_engines[e].name);
        g_test_add(model, Fixture, &test_engines[e], fixture_set_up, test_random_commits_match_the_model,
            fixture_tear_down);
        g_test_add(killed, Fixture, &test_engines[e], fixture_set_up, test_kill_loses_nothing_acknowledged,
            fixture_tear_down);
    }
    return g_test_run();
}
