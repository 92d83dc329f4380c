/* Proves which clocks and versions a person is told of. */
#include "manager/host-advice.h"
#include <glib.h>

static void expect(int64_t ahead_ms, const char *version, const char *first) {
    g_auto(HostStatus) status = {0};
    host_status_set_agent_version(&status, version);
    host_advice_add(&status, ahead_ms);
    g_assert_cmpuint(status.warnings.n, ==, first ? 1 : 0);
    if (first)
        g_assert_cmpstr(status.warnings.items[0], ==, first);
}

static void test_clocks(void) {
    expect(0, LODGE_VERSION, NULL);
    expect(2000, LODGE_VERSION, NULL);
    expect(-2000, LODGE_VERSION, NULL);
    expect(2001, LODGE_VERSION, "its clock is 2 s ahead of the manager's");
    expect(-61000, LODGE_VERSION, "its clock is 61 s behind the manager's");
}

static void test_versions(void) {
    expect(0, NULL, NULL);
    expect(0, "0.0.1", "its agent is of the version 0.0.1, this manager of " LODGE_VERSION);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/host-advice/clocks", test_clocks);
    g_test_add_func("/host-advice/versions", test_versions);
    return g_test_run();
}
