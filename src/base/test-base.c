/* Proves the small promises of src/base: errors keep their cause, files survive, processes end. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"
#include "base/heap.h"
#include "base/process.h"
#include "base/work.h"

static void test_error_keeps_code_field_and_cause_when_wrapped(void) {
    g_auto(Error) err = {0};
    g_assert_false(error_set(&err, ERROR_INVALID, "/size", "must be positive"));
    error_wrap(&err, ERROR_NONE, "disk 2");
    error_prefix_field(&err, "/disks/2");
    g_assert_cmpint(err.code, ==, ERROR_INVALID);
    g_assert_cmpstr(err.field, ==, "/disks/2/size");
    g_autofree char *text = error_text(&err);
    g_assert_cmpstr(text, ==, "disk 2: must be positive");
    g_auto(Error) copy = {0};
    error_copy(&copy, &err);
    g_assert_cmpstr(copy.cause->message, ==, "must be positive");
}

static void test_error_names_round_trip(void) {
    for (ErrorCode code = ERROR_NONE + 1; code < ERROR_MAX; code++)
        g_assert_cmpint(error_code_from_name(error_info(code)->name), ==, code);
    g_assert_cmpint(error_code_from_name("from-the-future"), ==, ERROR_INTERNAL);
}

static void test_time_round_trips_through_text(void) {
    int64_t ns = 0;
    g_assert_true(time_from_text("2026-05-01T10:00:00.250+02:00", &ns));
    g_autofree char *text = time_to_text(ns);
    g_assert_cmpstr(text, ==, "2026-05-01T08:00:00.250Z");
    g_assert_false(time_from_text("yesterday", &ns));
}

static void test_file_replace_leaves_one_file(void) {
    g_autofree char *folder = g_dir_make_tmp("lodge-base-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "a", NULL);
    g_auto(Error) err = {0};
    g_assert_true(file_replace(path, "one", 3, 0600, &err));
    g_assert_true(file_replace(path, "second", 6, 0600, &err));
    g_autofree char *data = NULL;
    size_t length = 0;
    g_assert_true(file_read(path, 6, &data, &length, &err));
    g_assert_cmpstr(data, ==, "second");
    g_assert_false(file_read(path, 5, &data, &length, &err));
    g_assert_cmpint(err.code, ==, ERROR_TOO_LARGE);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    g_assert_cmpstr(g_dir_read_name(dir), ==, "a");
    g_assert_null(g_dir_read_name(dir));
    g_assert_true(tree_remove(folder, NULL));
    g_assert_false(g_file_test(folder, G_FILE_TEST_EXISTS));
}

static void test_process_returns_output_and_names_failure(void) {
    g_autofree char *output = NULL;
    g_auto(Error) err = {0};
    const ProcessSpec cat = {.argv = (const char *const[]){"cat", NULL}, .stdin_data = "hello"};
    g_assert_true(process_run(&cat, &output, &err));
    g_assert_cmpstr(output, ==, "hello");
    const ProcessSpec fails = {.argv = (const char *const[]){"ls", "/does-not-exist", NULL}};
    g_assert_false(process_run(&fails, NULL, &err));
    g_assert_cmpint(err.code, ==, ERROR_TOOL_FAILED);
    g_assert_nonnull(strstr(err.message, "does-not-exist"));
    error_clear(&err);
    const ProcessSpec missing = {.argv = (const char *const[]){"lodge-no-such-tool", NULL}};
    g_assert_false(process_run(&missing, NULL, &err));
    g_assert_cmpint(err.code, ==, ERROR_TOOL_FAILED);
}

static void test_process_is_killed_at_its_deadline(void) {
    g_auto(Error) err = {0};
    const ProcessSpec sleeper = {.argv = (const char *const[]){"sleep", "100", NULL}, .timeout_ms = 50};
    g_assert_false(process_run(&sleeper, NULL, &err));
    g_assert_cmpint(err.code, ==, ERROR_TIMED_OUT);
}

static void test_process_output_has_a_limit(void) {
    g_auto(Error) err = {0};
    const ProcessSpec yes = {.argv = (const char *const[]){"seq", "100000", NULL}, .output_limit = 1000};
    g_assert_false(process_run(&yes, NULL, &err));
    g_assert_cmpint(err.code, ==, ERROR_TOO_LARGE);
}

typedef struct Trace {
    GString *order; /* written by threads of one key only */
    int open;
    char letter;
} Trace;

static void trace_run(void *data) {
    g_usleep(1000);
    g_string_append_c(((Trace *)data)->order, ((Trace *)data)->letter);
}

static void trace_done(void *data) {
    g_free(data);
}

static void test_work_of_one_key_keeps_its_order(void) {
    g_autoptr(GString) order = g_string_new(NULL);
    WorkPool *pool = work_pool_new("test", 4, 10);
    for (char letter = 'a'; letter <= 'j'; letter++) {
        Trace *trace = g_new0(Trace, 1);
        *trace = (Trace){.order = order, .letter = letter};
        g_assert_true(work_pool_add_keyed(pool, "k", trace_run, trace_done, trace, NULL));
    }
    g_auto(Error) err = {0};
    g_assert_false(work_pool_add(pool, trace_run, trace_done, NULL, &err));
    g_assert_cmpint(err.code, ==, ERROR_BUSY);
    work_pool_free(pool);
    g_assert_cmpstr(order->str, ==, "abcdefghij");
}

static void test_pools_beside_each_other_keep_the_order_of_a_key(void) {
    g_autoptr(GString) order = g_string_new(NULL);
    WorkPool *first = work_pool_new("first", 2, 10), *second = work_pool_new_beside(first, "second", 2, 10);
    for (char letter = 'a'; letter <= 'j'; letter++) {
        Trace *trace = g_new0(Trace, 1);
        *trace = (Trace){.order = order, .letter = letter};
        WorkPool *pool = letter % 2 ? first : second;
        g_assert_true(work_pool_add_keyed(pool, "k", trace_run, trace_done, trace, NULL));
    }
    work_pool_free(first);
    work_pool_free(second);
    g_assert_cmpstr(order->str, ==, "abcdefghij");
}

static void test_sweep_removes_only_unfinished_files(void) {
    g_autofree char *folder = g_dir_make_tmp("lodge-base-XXXXXX", NULL);
    g_autofree char *inner = g_build_filename(folder, "vm", NULL);
    g_autofree char *kept = g_build_filename(inner, "vm.json", NULL);
    g_autofree char *left = g_strconcat(kept, ".tmp-1-0000abcd", NULL);
    g_assert_cmpint(mkdir(inner, 0700), ==, 0);
    g_assert_true(file_replace(kept, "a", 1, 0600, NULL));
    g_assert_true(file_replace(left, "b", 1, 0600, NULL));
    file_replace_sweep_one(folder);
    file_replace_sweep_one(left);
    g_assert_cmpint(access(left, F_OK), ==, 0);
    file_replace_sweep_one(kept);
    g_assert_cmpint(access(left, F_OK), !=, 0);
    g_assert_true(file_replace(left, "b", 1, 0600, NULL));
    file_replace_sweep(folder, 3600); /* somebody else may be about to finish it */
    g_assert_cmpint(access(left, F_OK), ==, 0);
    g_assert_true(folder_is_touched_within(folder, 3600));
    g_assert_false(folder_is_touched_within(folder, 0));
    file_replace_sweep(folder, 0);
    g_assert_cmpint(access(kept, F_OK), ==, 0);
    g_assert_cmpint(access(left, F_OK), !=, 0);
    g_assert_true(tree_remove(folder, NULL));
}

static void set_age(const char *path, int64_t age_s) {
    time_t then = time(NULL) - (time_t)age_s;
    const struct timespec times[] = {{.tv_sec = then}, {.tv_sec = then}};
    g_assert_cmpint(utimensat(AT_FDCWD, path, times, 0), ==, 0);
}

static void test_what_nobody_touches_is_swept(void) {
    g_autofree char *folder = g_dir_make_tmp("lodge-base-XXXXXX", NULL);
    g_autofree char *left = g_build_filename(folder, "vm.json.tmp-1-0000abcd", NULL);
    g_assert_true(file_replace(left, "b", 1, 0600, NULL));
    set_age(folder, 7200);
    g_assert_true(folder_is_touched_within(folder, 3600)); /* by its file */
    set_age(left, 7200);
    g_assert_false(folder_is_touched_within(folder, 3600));
    file_replace_sweep(folder, 3600);
    g_assert_cmpint(access(left, F_OK), !=, 0);
    g_assert_true(tree_remove(folder, NULL));
}

#if !defined(__SANITIZE_ADDRESS__)
/* In kB, from proc(5). */
static long resident_kb(void) {
    g_autofree char *text = NULL;
    g_assert_true(file_read("/proc/self/statm", 4096, &text, NULL, NULL));
    const char *second = strchr(text, ' ');
    return strtol(second, NULL, 10) * (sysconf(_SC_PAGESIZE) / 1024);
}
#endif

static void test_heap_below_a_used_block_is_given_back(void) {
#if defined(__SANITIZE_ADDRESS__)
    g_test_skip("the sanitizer has a malloc of its own");
#else
    enum { BLOCKS = 40000, BLOCK_BYTES = 1000 };
    g_autoptr(GPtrArray) blocks = g_ptr_array_new_with_free_func(g_free);
    guint source = 0;
    for (int i = 0; i < BLOCKS; i++)
        g_ptr_array_add(blocks, memset(g_malloc(BLOCK_BYTES), 1, BLOCK_BYTES));
    g_autofree char *last = g_malloc(BLOCK_BYTES);
    memset(last, 1, BLOCK_BYTES);
    g_ptr_array_set_size(blocks, 0);
    long before = resident_kb();
    heap_trim_later(&source, 60000);
    heap_trim_later(&source, 1);
    while (source)
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmpint(resident_kb(), <, before - BLOCKS * BLOCK_BYTES / 1024 / 2);
#endif
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/error/wrap", test_error_keeps_code_field_and_cause_when_wrapped);
    g_test_add_func("/error/names", test_error_names_round_trip);
    g_test_add_func("/clock/text", test_time_round_trips_through_text);
    g_test_add_func("/file/replace", test_file_replace_leaves_one_file);
    g_test_add_func("/process/output", test_process_returns_output_and_names_failure);
    g_test_add_func("/process/deadline", test_process_is_killed_at_its_deadline);
    g_test_add_func("/process/limit", test_process_output_has_a_limit);
    g_test_add_func("/work/key", test_work_of_one_key_keeps_its_order);
    g_test_add_func("/work/pools-beside-each-other", test_pools_beside_each_other_keep_the_order_of_a_key);
    g_test_add_func("/base/sweep-removes-only-unfinished-files", test_sweep_removes_only_unfinished_files);
    g_test_add_func("/base/sweep-by-age", test_what_nobody_touches_is_swept);
    g_test_add_func("/heap/trim", test_heap_below_a_used_block_is_given_back);
    return g_test_run();
}
