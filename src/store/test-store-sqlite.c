/* What only the SQLite engine promises: its file, its lock, full disks, damage, backup and restore. */
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <sqlite3.h>
#include "base/file.h"
#include "store/test-engines.h"

static Store *open_expecting(const Fixture *fixture, ErrorCode code) {
    g_auto(Error) err = {0};
    Store *store = store_open_sqlite(fixture->path, NULL, &fixture->clock.clock, &err);
    g_assert_cmpint(err.code, ==, code);
    g_assert_true((store == NULL) == (code != ERROR_NONE));
    return store;
}

static void test_file_is_private(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    put_text(fixture->store, "a", "1");
    const char *const suffixes[] = {"", "-wal", "-shm", ".lock"};
    for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        g_autofree char *path = g_strconcat(fixture->path, suffixes[i], NULL);
        struct stat status;
        g_assert_cmpint(stat(path, &status), ==, 0);
        g_assert_cmpuint(status.st_mode & 0777, ==, 0600);
    }
}

static void test_second_open_is_refused(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    open_expecting(fixture, ERROR_IN_USE);
    g_auto(Error) err = {0};
    g_assert_false(store_restore_file(fixture->path, fixture->path, &fixture->clock.clock, &err));
    g_assert_cmpint(err.code, ==, ERROR_IN_USE);
    put_text(fixture->store, "a", "1");
}

static void run_sql(const char *path, const char *sql) {
    sqlite3 *db = NULL;
    g_assert_cmpint(sqlite3_open(path, &db), ==, SQLITE_OK);
    g_assert_cmpint(sqlite3_exec(db, sql, NULL, NULL, NULL), ==, SQLITE_OK);
    sqlite3_close(db);
}

static void test_newer_format_is_refused(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    g_clear_pointer(&fixture->store, store_close);
    run_sql(fixture->path, "INSERT INTO schema_steps VALUES (999, 'later')");
    open_expecting(fixture, ERROR_NEWER_FORMAT);
}

static void test_foreign_database_is_refused(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    g_clear_pointer(&fixture->store, store_close);
    g_assert_cmpint(unlink(fixture->path), ==, 0);
    run_sql(fixture->path, "CREATE TABLE recipes (name TEXT)");
    open_expecting(fixture, ERROR_CORRUPT);
}

static void overwrite_middle(const char *path) {
    g_autofree char *data = NULL;
    size_t length = 0;
    g_assert_true(file_read(path, 64 * 1024 * 1024, &data, &length, NULL));
    memset(data + 8192, 0x5a, length - 8192);
    g_assert_true(file_replace(path, data, length, 0600, NULL));
}

static void test_damage_is_refused(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    put_text(fixture->store, "a", "1");
    g_clear_pointer(&fixture->store, store_close);
    overwrite_middle(fixture->path);
    open_expecting(fixture, ERROR_CORRUPT);
    g_assert_true(file_replace(fixture->path, "this is not a database at all", 29, 0600, NULL));
    open_expecting(fixture, ERROR_CORRUPT);
}

static void set_file_limit(rlim_t bytes) {
    struct rlimit limit;
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
}

static void test_full_disk_fails_clearly_and_passes(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    int64_t revision = put_text(fixture->store, "a", "before");
    signal(SIGXFSZ, SIG_IGN);
    set_file_limit(256 * 1024);
    g_autofree char *large = g_malloc0(1000 * 1000);
    Outcome outcomes[20] = {0};
    for (size_t i = 0; i < G_N_ELEMENTS(outcomes); i++) {
        StoreTransaction *transaction = store_transaction_new();
        store_transaction_put(
            transaction, i % 2 == 0 ? "small" : "a", large, i % 2 == 0 ? 1 : 1000 * 1000, 0);
        store_commit(fixture->store, transaction, outcome_done, &outcomes[i]);
    }
    run_until(&outcomes[G_N_ELEMENTS(outcomes) - 1].calls, 1);
    set_file_limit(RLIM_INFINITY);
    for (size_t i = 0; i < G_N_ELEMENTS(outcomes); i++)
        if (i % 2 == 0 && outcomes[i].code == ERROR_NONE)
            revision++; /* a small one that was alone in its group */
        else
            g_assert_cmpint(outcomes[i].code, ==, ERROR_NO_SPACE);
    g_autofree char *text = get_text(fixture->store, "a");
    g_assert_cmpstr(text, ==, "before");
    g_assert_cmpuint(store_stats(fixture->store).failures, >, 0);
    g_assert_cmpint(put_text(fixture->store, "a", "after"), ==, revision + 1);
    fixture_reopen(fixture);
    g_autofree char *after = get_text(fixture->store, "a");
    g_assert_cmpstr(after, ==, "after");
}

static void count_too_old(
    const StoreItem *events G_GNUC_UNUSED, size_t n_events G_GNUC_UNUSED, const Error *err, void *data) {
    if (err && err->code == ERROR_TOO_OLD)
        ++*(int *)data;
}

static void test_history_has_a_bound(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    g_clear_pointer(&fixture->store, store_close);
    const StoreSqliteOptions options = {.keep_changes = 10};
    fixture->store = store_open_sqlite(fixture->path, &options, &fixture->clock.clock, NULL);
    for (int i = 0; i < 100; i++)
        put_text(fixture->store, "a", "x");
    int64_t compacted = store_stats(fixture->store).compacted;
    g_assert_cmpint(compacted, >=, 100 - 10 - 16);
    g_assert_cmpint(compacted, <=, 100 - 10);
    int too_old = 0;
    store_watch(fixture->store, "", compacted, count_too_old, &too_old);
    run_until(&too_old, 1);
}

/* Keeps commits coming while a backup runs. */
typedef struct Load {
    Store *store;
    int commits;
    bool is_stopping;
} Load;

static void commit_again(int64_t revision G_GNUC_UNUSED, const Error *err, void *data) {
    Load *load = data;
    g_assert_null(err);
    load->commits++;
    if (load->is_stopping)
        return;
    StoreTransaction *transaction = store_transaction_new();
    g_autofree char *key = g_strdup_printf("load/%d", load->commits);
    store_transaction_put(transaction, key, "x", 1, 0);
    store_transaction_put(transaction, "last", key, strlen(key), 0);
    store_commit(load->store, transaction, commit_again, load);
}

static void fill(Store *store) {
    g_autofree char *large = g_malloc0(1000 * 1000);
    for (int i = 0; i < 20; i++) {
        StoreTransaction *transaction = store_transaction_new();
        g_autofree char *key = g_strdup_printf("large/%d", i);
        store_transaction_put(transaction, key, large, 1000 * 1000, 0);
        g_assert_true(store_commit_wait(store, transaction, NULL, NULL));
    }
}

static void back_up(Store *store, const char *path, ErrorCode expected) {
    Outcome outcome = {0};
    g_assert_true(store_backup(store, path, outcome_done, &outcome, NULL));
    run_until(&outcome.calls, 1);
    g_assert_cmpint(outcome.code, ==, expected);
}

/* The backup is one moment: all of load/1 to load/n and "last" naming n. */
static void check_one_moment(Store *store) {
    g_autofree char *last = get_text(store, "last");
    g_assert_true(g_str_has_prefix(last, "load/"));
    int64_t n = g_ascii_strtoll(last + strlen("load/"), NULL, 10);
    for (int64_t i = 1; i <= n; i++) {
        g_autofree char *key = g_strdup_printf("load/%d", (int)i);
        g_autofree char *text = get_text(store, key);
        g_assert_cmpstr(text, ==, "x");
    }
    g_autofree char *behind = g_strdup_printf("load/%d", (int)n + 1);
    g_assert_null(get_text(store, behind));
}

static char *kept_path(const Fixture *fixture) {
    g_autoptr(GDir) dir = g_dir_open(fixture->folder, 0, NULL);
    const char *name = NULL;
    while ((name = g_dir_read_name(dir)))
        if (strstr(name, ".before-restore-"))
            return g_build_filename(fixture->folder, name, NULL);
    return NULL;
}

/* Bytes 18 and 19 of the header say whether a log belongs to the file: https://www.sqlite.org/fileformat.html
 */
static void check_self_contained(const char *path) {
    g_autofree char *data = NULL;
    g_assert_true(file_read(path, 64 * 1024 * 1024, &data, NULL, NULL));
    g_assert_cmpint(data[18], ==, 1);
    g_assert_cmpint(data[19], ==, 1);
    g_autofree char *log = g_strconcat(path, "-wal", NULL);
    g_assert_false(g_file_test(log, G_FILE_TEST_EXISTS));
}

static void test_backup_under_load_restores(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    fill(fixture->store);
    g_autofree char *backup = g_build_filename(fixture->folder, "backup", NULL);
    g_autofree char *uuid = g_strdup(store_uuid(fixture->store));
    Load load = {.store = fixture->store};
    commit_again(0, NULL, &load);
    run_until(&load.commits, 20);
    int before = load.commits;
    back_up(fixture->store, backup, ERROR_NONE);
    g_test_message("%d commits while the backup ran", load.commits - before);
    g_assert_cmpint(load.commits, >, before);
    back_up(fixture->store, backup, ERROR_EXISTS);
    load.is_stopping = true;
    g_clear_pointer(&fixture->store, store_close);
    check_self_contained(backup);
    g_auto(Error) err = {0};
    g_assert_true(store_restore_file(backup, fixture->path, &fixture->clock.clock, &err));
    fixture->store = open_expecting(fixture, ERROR_NONE);
    check_one_moment(fixture->store);
    g_assert_cmpint(store_epoch(fixture->store), ==, 2);
    g_assert_cmpstr(store_uuid(fixture->store), ==, uuid);
    g_autofree char *kept = kept_path(fixture);
    g_assert_nonnull(kept);
    Store *old = store_open_sqlite(kept, NULL, &fixture->clock.clock, &err);
    g_assert_nonnull(old);
    g_autofree char *newest = g_strdup_printf("load/%d", load.commits - 1);
    g_autofree char *text = get_text(old, newest);
    g_assert_cmpstr(text, ==, "x");
    g_assert_cmpint(store_epoch(old), ==, 1);
    store_close(old);
}

static void test_another_identity_comes_with_its_transaction(
    Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    g_autofree char *uuid = g_uuid_string_random();
    g_auto(Error) err = {0};
    StoreTransaction *refused = store_transaction_new();
    store_transaction_compare(refused, "nothing", 7);
    g_autofree char *before = g_strdup(store_uuid(fixture->store));
    g_assert_false(store_become(fixture->store, uuid, 42, refused, &err));
    g_assert_cmpint(err.code, ==, ERROR_PRECONDITION);
    g_assert_cmpstr(store_uuid(fixture->store), ==, before);
    for (int round = 0; round < 2; round++) {
        StoreTransaction *transaction = store_transaction_new();
        store_transaction_put(transaction, "told", "yes", 3, 0);
        error_clear(&err);
        g_assert_true(store_become(fixture->store, uuid, 42 + round, transaction, &err));
        g_assert_cmpstr(store_uuid(fixture->store), ==, uuid);
        g_assert_cmpint(store_epoch(fixture->store), ==, 42 + round);
    }
    g_clear_pointer(&fixture->store, store_close);
    fixture->store = open_expecting(fixture, ERROR_NONE);
    g_assert_cmpstr(store_uuid(fixture->store), ==, uuid);
    g_assert_cmpint(store_epoch(fixture->store), ==, 43);
    g_autofree char *text = get_text(fixture->store, "told");
    g_assert_cmpstr(text, ==, "yes");
}

static void test_restoring_an_old_backup_again_still_raises_the_epoch(
    Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    g_autofree char *backup = g_build_filename(fixture->folder, "backup", NULL);
    back_up(fixture->store, backup, ERROR_NONE);
    for (int epoch = 2; epoch <= 4; epoch++) {
        g_clear_pointer(&fixture->store, store_close);
        fake_clock_advance(&fixture->clock, NS_PER_S);
        g_assert_true(store_restore_file(backup, fixture->path, &fixture->clock.clock, NULL));
        fixture->store = open_expecting(fixture, ERROR_NONE);
        g_assert_cmpint(store_epoch(fixture->store), ==, epoch);
    }
}

/* Damage that only a check of every page finds: the end of a value's chain of pages. */
static void overwrite_end(const char *path) {
    g_autofree char *data = NULL;
    size_t length = 0;
    g_assert_true(file_read(path, 64 * 1024 * 1024, &data, &length, NULL));
    memset(data + length - 8192, 0x5a, 8192);
    g_assert_true(file_replace(path, data, length, 0600, NULL));
}

static void test_bad_backup_leaves_the_store_alone(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    fill(fixture->store);
    put_text(fixture->store, "a", "1");
    g_autofree char *backup = g_build_filename(fixture->folder, "backup", NULL);
    back_up(fixture->store, backup, ERROR_NONE);
    g_clear_pointer(&fixture->store, store_close);
    overwrite_end(backup);
    g_auto(Error) err = {0};
    g_assert_false(store_restore_file(backup, fixture->path, &fixture->clock.clock, &err));
    g_assert_cmpint(err.code, ==, ERROR_CORRUPT);
    g_assert_null(kept_path(fixture));
    fixture->store = open_expecting(fixture, ERROR_NONE);
    g_assert_cmpint(store_epoch(fixture->store), ==, 1);
    g_autofree char *text = get_text(fixture->store, "a");
    g_assert_cmpstr(text, ==, "1");
}

static void test_restore_replaces_a_damaged_store(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    put_text(fixture->store, "a", "1");
    g_autofree char *backup = g_build_filename(fixture->folder, "backup", NULL);
    back_up(fixture->store, backup, ERROR_NONE);
    g_clear_pointer(&fixture->store, store_close);
    g_assert_true(file_replace(fixture->path, "damaged", 7, 0600, NULL));
    g_assert_true(store_restore_file(backup, fixture->path, &fixture->clock.clock, NULL));
    fixture->store = open_expecting(fixture, ERROR_NONE);
    g_autofree char *text = get_text(fixture->store, "a");
    g_assert_cmpstr(text, ==, "1");
}

/* The process that will be killed: restores the same backup again and again. */
static G_NORETURN void restore_forever(const char *backup, const char *path) {
    for (;;)
        store_restore_file(backup, path, clock_system(), NULL);
}

static void test_kill_during_restore_leaves_a_store(Fixture *fixture, const void *engine G_GNUC_UNUSED) {
    put_text(fixture->store, "a", "1");
    g_autofree char *backup = g_build_filename(fixture->folder, "backup", NULL);
    back_up(fixture->store, backup, ERROR_NONE);
    int64_t first_epoch = store_epoch(fixture->store), epoch = first_epoch;
    char *argv[] = {(char[]){"/proc/self/exe"}, (char[]){"--restore"}, backup, fixture->path, NULL};
    int rounds = 20, longest_us = 40000;
    for (int round = 0; round < rounds; round++) {
        g_clear_pointer(&fixture->store, store_close);
        GPid pid = 0;
        g_assert_true(g_spawn_async(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid, NULL));
        g_usleep((gulong)g_test_rand_int_range(5000, longest_us));
        kill(pid, SIGKILL);
        g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
        fixture->store = open_expecting(fixture, ERROR_NONE);
        g_autofree char *text = get_text(fixture->store, "a");
        g_assert_cmpstr(text, ==, "1");
        g_assert_cmpint(store_epoch(fixture->store), >=, epoch);
        epoch = store_epoch(fixture->store);
        if (round == rounds - 1 && epoch == first_epoch && rounds < 200) { /* a busy machine */
            rounds += 20;
            longest_us *= 2;
        }
    }
    g_test_message("%d restores, %d kills", (int)(epoch - first_epoch), rounds);
    g_assert_cmpint(epoch, >, first_epoch);
}

typedef void (*FixtureTest)(Fixture *fixture, const void *engine);
static const struct {
    const char *name;
    FixtureTest run;
} tests[] = {
    {"private", test_file_is_private},
    {"second-open", test_second_open_is_refused},
    {"newer-format", test_newer_format_is_refused},
    {"foreign", test_foreign_database_is_refused},
    {"damage", test_damage_is_refused},
    {"full-disk", test_full_disk_fails_clearly_and_passes},
    {"history-bound", test_history_has_a_bound},
    {"backup", test_backup_under_load_restores},
    {"identity", test_another_identity_comes_with_its_transaction},
    {"restore-again", test_restoring_an_old_backup_again_still_raises_the_epoch},
    {"bad-backup", test_bad_backup_leaves_the_store_alone},
    {"restore-damaged", test_restore_replaces_a_damaged_store},
    {"restore-killed", test_kill_during_restore_leaves_a_store},
};

int main(int argc, char **argv) {
    if (argc == 4 && g_str_equal(argv[1], "--restore"))
        restore_forever(argv[2], argv[3]);
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strdup_printf("/store-sqlite/%s", tests[i].name);
        g_test_add(path, Fixture, &test_engines[0], fixture_set_up, tests[i].run, fixture_tear_down);
    }
    return g_test_run();
}
