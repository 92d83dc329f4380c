/* Who knocks too often is turned away, and keeps nobody else out. */
#include <arpa/inet.h>
#include <glib.h>
#include "rpc/rpc-knocks.h"

enum { AT_ONCE = 5, A_SECOND = 10, MANY = 10000 };

static struct sockaddr_storage address(const char *text) {
    struct sockaddr_storage storage = {0};
    struct sockaddr_in *four = (struct sockaddr_in *)&storage;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&storage;
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1)
        storage.ss_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1)
        storage.ss_family = AF_INET6;
    else
        g_assert_not_reached();
    return storage;
}

static bool knock(RpcKnocks *knocks, const char *text) {
    struct sockaddr_storage from = address(text);
    return rpc_knocks_take(knocks, &from);
}

static int knock_often(RpcKnocks *knocks, const char *text, int n) {
    int n_let_in = 0;
    for (int i = 0; i < n; i++)
        n_let_in += knock(knocks, text);
    return n_let_in;
}

static void test_some_at_once_then_so_many_a_second(void) {
    FakeClock clock;
    fake_clock_init(&clock, 0);
    g_autoptr(RpcKnocks) knocks = rpc_knocks_new(AT_ONCE, A_SECOND, &clock.clock);
    g_assert_cmpint(knock_often(knocks, "192.0.2.1", 100), ==, AT_ONCE);
    fake_clock_advance(&clock, NS_PER_S / A_SECOND);
    g_assert_cmpint(knock_often(knocks, "192.0.2.1", 100), ==, 1);
    fake_clock_advance(&clock, 3 * NS_PER_S / A_SECOND);
    g_assert_cmpint(knock_often(knocks, "192.0.2.1", 100), ==, 3);
    fake_clock_advance(&clock, 3600 * NS_PER_S);
    g_assert_cmpint(knock_often(knocks, "192.0.2.1", 100), ==, AT_ONCE);
}

static void test_each_address_for_itself(void) {
    FakeClock clock;
    fake_clock_init(&clock, 0);
    g_autoptr(RpcKnocks) knocks = rpc_knocks_new(AT_ONCE, A_SECOND, &clock.clock);
    knock_often(knocks, "192.0.2.1", 100);
    g_assert_true(knock(knocks, "192.0.2.2"));
    g_assert_false(knock(knocks, "::ffff:192.0.2.1")); /* the same */
    g_assert_cmpint(knock_often(knocks, "2001:db8:0:1::1", 100), ==, AT_ONCE);
    g_assert_false(knock(knocks, "2001:db8:0:1:ffff::1")); /* one network, perhaps one machine */
    g_assert_true(knock(knocks, "2001:db8:0:2::1"));
}

static void test_memory_is_bounded(void) {
    FakeClock clock;
    fake_clock_init(&clock, 0);
    g_autoptr(RpcKnocks) knocks = rpc_knocks_new(AT_ONCE, A_SECOND, &clock.clock);
    knock_often(knocks, "192.0.2.1", 100);
    for (int i = 0; i < MANY; i++) {
        g_autofree char *text = g_strdup_printf("10.0.%d.%d", i / 256, i % 256);
        g_assert_true(knock(knocks, text));
        g_assert_false(i % 100 == 0 && knock(knocks, "192.0.2.1")); /* who goes on is remembered */
    }
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rpc-knocks/rate", test_some_at_once_then_so_many_a_second);
    g_test_add_func("/rpc-knocks/addresses", test_each_address_for_itself);
    g_test_add_func("/rpc-knocks/bounded", test_memory_is_bounded);
    return g_test_run();
}
