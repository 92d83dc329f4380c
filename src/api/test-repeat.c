#include "api/repeat.h"

static void test_a_key_stands_for_one_request(void) {
    Repeats *repeats = repeats_new();
    g_autofree char *object = NULL, *again = NULL;
    g_auto(Error) err = {0};
    g_assert_true(repeats_begin(repeats, "eve\nk", "a", &object, NULL));
    g_assert_null(object);
    g_assert_false(repeats_begin(repeats, "eve\nk", "a", &object, &err));
    g_assert_cmpint((int)err.code, ==, ERROR_BUSY);
    error_clear(&err);
    repeats_end(repeats, "eve\nk", "made");
    g_assert_true(repeats_begin(repeats, "eve\nk", "a", &again, NULL));
    g_assert_cmpstr(again, ==, "made");
    g_assert_false(repeats_begin(repeats, "eve\nk", "b", &object, &err));
    g_assert_cmpint((int)err.code, ==, ERROR_CONFLICT);
    repeats_free(repeats);
}

static void test_a_failed_request_frees_its_key(void) {
    Repeats *repeats = repeats_new();
    g_autofree char *object = NULL;
    g_assert_true(repeats_begin(repeats, "k", "a", &object, NULL));
    repeats_end(repeats, "k", NULL);
    g_assert_true(repeats_begin(repeats, "k", "b", &object, NULL));
    g_assert_null(object);
    repeats_free(repeats);
}

static void test_the_oldest_are_forgotten(void) {
    Repeats *repeats = repeats_new();
    for (int i = 0; i <= REPEATS_MAX; i++) {
        g_autofree char *name = g_strdup_printf("k%d", i), *object = NULL;
        g_assert_true(repeats_begin(repeats, name, "a", &object, NULL));
        repeats_end(repeats, name, "made");
    }
    g_autofree char *first = NULL, *second = NULL;
    g_assert_true(repeats_begin(repeats, "k0", "a", &first, NULL));
    g_assert_null(first);
    g_assert_true(repeats_begin(repeats, "k1", "a", &second, NULL));
    g_assert_cmpstr(second, ==, "made");
    repeats_free(repeats);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/repeat/a-key-stands-for-one-request", test_a_key_stands_for_one_request);
    g_test_add_func("/repeat/a-failed-request-frees-its-key", test_a_failed_request_frees_its_key);
    g_test_add_func("/repeat/the-oldest-are-forgotten", test_the_oldest_are_forgotten);
    return g_test_run();
}
