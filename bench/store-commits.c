/*
 * How much group commit gains: the same small commits one after another (each waits for its fsync) and queued
 * together. Prints the median ratio of alternating pairs. Usage: store-commits [FOLDER [COMMITS [PAIRS]]];
 * the folder should lie on the disk in question.
 */
#include <stdio.h>
#include <stdlib.h>
#include "base/file.h"
#include "store/store.h"

enum { DEFAULT_COMMITS = 1000, DEFAULT_PAIRS = 5, VALUE_BYTES = 2000 };

static StoreTransaction *make_commit(int number) {
    char value[VALUE_BYTES] = {0};
    g_autofree char *key = g_strdup_printf("vm/%d", number);
    StoreTransaction *transaction = store_transaction_new();
    store_transaction_put(transaction, key, value, sizeof value, 0);
    return transaction;
}

static void count_done(int64_t revision G_GNUC_UNUSED, const Error *err, void *data) {
    g_assert(!err);
    ++*(int *)data;
}

static double run_one_by_one(Store *store, int commits) {
    int64_t start = clock_monotonic_ns(clock_system());
    for (int i = 0; i < commits; i++)
        g_assert_true(store_commit_wait(store, make_commit(i), NULL, NULL));
    return (double)commits * NS_PER_S / (double)(clock_monotonic_ns(clock_system()) - start);
}

static double run_queued(Store *store, int commits) {
    int64_t start = clock_monotonic_ns(clock_system());
    int done = 0;
    for (int i = 0; i < commits; i++)
        store_commit(store, make_commit(i), count_done, &done);
    while (done < commits)
        g_main_context_iteration(NULL, TRUE);
    return (double)commits * NS_PER_S / (double)(clock_monotonic_ns(clock_system()) - start);
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(Store *store, int commits, int pairs) {
    g_autofree double *ratios = g_new(double, (size_t)pairs);
    run_queued(store, commits); /* warms up */
    for (int i = 0; i < pairs; i++) {
        double alone = run_one_by_one(store, commits);
        uint64_t groups = store_stats(store).groups;
        double queued = run_queued(store, commits);
        ratios[i] = queued / alone;
        printf("one by one %7.0f/s   queued %7.0f/s in %d groups   ratio %.1f\n", alone, queued,
            (int)(store_stats(store).groups - groups), ratios[i]);
    }
    qsort(ratios, (size_t)pairs, sizeof *ratios, compare_doubles);
    printf("median ratio of %d pairs: %.1f\n", pairs, ratios[pairs / 2]);
}

static int number_argument(int argc, char **argv, int index, int fallback) {
    if (index >= argc)
        return fallback;
    guint64 value = 0;
    if (g_ascii_string_to_unsigned(argv[index], 10, 1, 1000 * 1000, &value, NULL))
        return (int)value;
    fprintf(stderr, "store-commits: %s is not a number from 1 to 1000000\n", argv[index]);
    exit(2);
}

int main(int argc, char **argv) {
    int commits = number_argument(argc, argv, 2, DEFAULT_COMMITS);
    int pairs = number_argument(argc, argv, 3, DEFAULT_PAIRS);
    g_autofree char *folder =
        g_build_filename(argc > 1 ? argv[1] : g_get_tmp_dir(), "store-commits-XXXXXX", NULL);
    g_auto(Error) err = {0};
    if (!g_mkdtemp(folder)) {
        fprintf(stderr, "store-commits: cannot make a folder like %s\n", folder);
        return 1;
    }
    g_autofree char *path = g_build_filename(folder, "store.db", NULL);
    Store *store = store_open_sqlite(path, NULL, clock_system(), &err);
    if (store)
        measure(store, commits, pairs);
    else
        fprintf(stderr, "store-commits: %s\n", err.message);
    store_close(store);
    tree_remove(folder, NULL);
    return store ? 0 : 1;
}
