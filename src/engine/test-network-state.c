/* Proves what a network is as a whole, and that hosts that are away do not count. */
#include "engine/network-state.h"

static void add(NetworkStatus *status, const char *host, NetworkState state, const char *reason) {
    NetworkHost *row = network_status_add_hosts(status);
    network_host_set_host(row, host);
    network_host_set_state(row, state);
    network_host_set_reason(row, reason);
}

static void expect(NetworkStatus *status, NetworkState state, const char *reason) {
    network_state_sum(status);
    g_assert_cmpint(status->state, ==, state);
    g_assert_cmpstr(status->reason, ==, reason);
}

static void test_sums(void) {
    g_auto(NetworkStatus) status = {0};
    expect(&status, NETWORK_STATE_UNKNOWN, NULL);
    add(&status, "one", NETWORK_STATE_UNKNOWN, "is unreachable");
    expect(&status, NETWORK_STATE_UNKNOWN, NULL);
    add(&status, "two", NETWORK_STATE_FAILED, "the bridge br0 does not exist");
    expect(&status, NETWORK_STATE_FAILED, "two: the bridge br0 does not exist");
    add(&status, "three", NETWORK_STATE_ACTIVE, NULL);
    expect(&status, NETWORK_STATE_PARTIAL, "two: the bridge br0 does not exist");
    network_host_set_state(&status.hosts.items[1], NETWORK_STATE_ACTIVE);
    expect(&status, NETWORK_STATE_ACTIVE, NULL);
}

static void test_few_hosts_stand_for_many(void) {
    g_auto(NetworkStatus) status = {0};
    for (int i = 1; i <= 9; i++) {
        g_autofree char *name = g_strdup_printf("node-%d", i);
        add(&status, name, NETWORK_STATE_FAILED, i == 2 ? NULL : "no");
    }
    expect(&status, NETWORK_STATE_FAILED, "node-1: no; node-2: it failed; node-3: no; and 6 more");
}

static void test_rows_are_found(void) {
    g_auto(NetworkStatus) status = {0};
    add(&status, "one", NETWORK_STATE_ACTIVE, NULL);
    add(&status, "two", NETWORK_STATE_FAILED, NULL);
    g_assert_true(network_state_of_host(&status, "two") == &status.hosts.items[1]);
    g_assert_null(network_state_of_host(&status, "three"));
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/network-state/sums", test_sums);
    g_test_add_func("/network-state/few-stand-for-many", test_few_hosts_stand_for_many);
    g_test_add_func("/network-state/rows", test_rows_are_found);
    return g_test_run();
}
