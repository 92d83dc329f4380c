/* Proves what root may do without the manager, in every situation there is. */
#include "agent/local-rules.h"
#include <string.h>

#define HOST "33333333-3333-4333-8333-333333333333"
#define OTHER_HOST "44444444-4444-4444-8444-444444444444"

static const LocalAction actions[] = {LOCAL_START, LOCAL_STOP, LOCAL_KILL};

static void test_nothing_is_done_while_the_manager_is_there(void) {
    for (size_t i = 0; i < G_N_ELEMENTS(actions); i++) {
        g_auto(Error) err = {0};
        g_assert_false(local_admits(actions[i], &(LocalAdmission){.is_manager_connected = true}, &err));
        g_assert_cmpint(err.code, ==, ERROR_WRONG_STATE);
        g_assert_true(local_admits(actions[i], &(LocalAdmission){0}, NULL));
    }
}

static void test_nothing_is_done_beside_an_operation(void) {
    for (size_t i = 0; i < G_N_ELEMENTS(actions); i++) {
        g_auto(Error) err = {0};
        g_assert_false(local_admits(actions[i], &(LocalAdmission){.operation = "vm.update"}, &err));
        g_assert_cmpint(err.code, ==, ERROR_CLAIMED);
        g_assert_nonnull(strstr(err.message, "vm.update"));
    }
}

/* A guest may end by itself at any moment: ending it is no danger. */
static void test_what_moves_is_not_started(void) {
    const LocalAdmission moving = {.migration = "the VM has moved"};
    g_auto(Error) err = {0};
    g_assert_false(local_admits(LOCAL_START, &moving, &err));
    g_assert_cmpint(err.code, ==, ERROR_WRONG_STATE);
    g_assert_cmpstr(err.message, ==, "the VM has moved");
    g_assert_true(local_admits(LOCAL_STOP, &moving, NULL));
    g_assert_true(local_admits(LOCAL_KILL, &moving, NULL));
}

/* By hand, apart from the code: whether a start could make a second copy, or one of old disks. */
static bool is_safe_to_start(const LocalView *view) {
    bool is_here_alone =
        view->here == MIGRATION_NOTHING || view->here == MIGRATION_RUNS || view->here == MIGRATION_ENDED;
    return is_here_alone && view->has_definition && g_strcmp0(view->definition_host, HOST) == 0;
}

static void check_view(const LocalView *view) {
    bool is_between = view->here == MIGRATION_LEADING || view->here == MIGRATION_HELD ||
                      view->here == MIGRATION_ARRIVING || view->here == MIGRATION_ARRIVED ||
                      view->here == MIGRATION_UNKNOWN;
    g_auto(Error) why = {0};
    bool may_start = local_may(LOCAL_START, view, &why);
    g_assert_true(may_start == is_safe_to_start(view));
    g_assert_true(may_start != error_is_set(&why));
    bool is_known = view->has_definition || view->is_running;
    g_assert_true(local_may(LOCAL_STOP, view, NULL) == (is_known && !is_between));
    g_assert_true(local_may(LOCAL_KILL, view, NULL) == (is_known && !is_between));
}

static void test_every_situation(void) {
    static const char *const hosts[] = {NULL, HOST, OTHER_HOST};
    for (MigrationHere here = MIGRATION_NOTHING; here <= MIGRATION_UNKNOWN; here++)
        for (size_t i = 0; i < G_N_ELEMENTS(hosts); i++)
            for (int bits = 0; bits < 4; bits++)
                check_view(&(LocalView){.host = HOST,
                    .has_definition = bits & 1,
                    .is_running = bits & 2,
                    .definition_host = hosts[i],
                    .here = here});
}

static void test_refusals_name_what_stands_against_it(void) {
    g_auto(Error) other = {0}, nobody = {0}, gone = {0};
    const LocalView view = {.host = HOST, .has_definition = true, .definition_host = OTHER_HOST};
    g_assert_false(local_may(LOCAL_START, &view, &other));
    g_assert_nonnull(strstr(other.message, OTHER_HOST));
    g_assert_false(local_may(LOCAL_STOP, &(LocalView){.host = HOST}, &nobody));
    g_assert_cmpint(nobody.code, ==, ERROR_NOT_FOUND);
    const LocalView left = {
        .host = HOST, .has_definition = true, .definition_host = HOST, .here = MIGRATION_LEFT};
    g_assert_false(local_may(LOCAL_START, &left, &gone));
    g_assert_nonnull(strstr(gone.message, "another host"));
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/local-rules/manager", test_nothing_is_done_while_the_manager_is_there);
    g_test_add_func("/local-rules/operation", test_nothing_is_done_beside_an_operation);
    g_test_add_func("/local-rules/moves", test_what_moves_is_not_started);
    g_test_add_func("/local-rules/every-situation", test_every_situation);
    g_test_add_func("/local-rules/refusals", test_refusals_name_what_stands_against_it);
    return g_test_run();
}
