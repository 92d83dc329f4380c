/* When a domain that does not run counts as gone. */
#include "hypervisor/xen/remains.h"

#define S G_USEC_PER_SEC

static void test_gone_after_a_while_without_a_break(void) {
    XenRemains *remains = xen_remains_new();
    for (int second = 0; second < 60; second += 10)
        g_assert_false(xen_remains_judge(remains, "a", false, second * S));
    g_assert_false(xen_remains_judge(remains, "b", false, 60 * S));
    g_assert_true(xen_remains_judge(remains, "a", false, 60 * S));
    g_assert_true(xen_remains_judge(remains, "a", false, 70 * S));
    xen_remains_free(remains);
}

static void test_one_that_ran_in_between_begins_anew(void) {
    XenRemains *remains = xen_remains_new();
    g_assert_false(xen_remains_judge(remains, "a", false, 0));
    g_assert_false(xen_remains_judge(remains, "a", true, 10 * S));
    for (int second = 20; second < 80; second += 10)
        g_assert_false(xen_remains_judge(remains, "a", false, second * S));
    g_assert_true(xen_remains_judge(remains, "a", false, 80 * S));
    g_assert_false(xen_remains_judge(remains, "a", false, 200 * S)); /* nobody looked: it may have run */
    xen_remains_free(remains);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xen/remains/gone", test_gone_after_a_while_without_a_break);
    g_test_add_func("/xen/remains/anew", test_one_that_ran_in_between_begins_anew);
    return g_test_run();
}
