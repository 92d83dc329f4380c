/* Proves where the memory of a moving guest goes on a Xen host. */
#include "hypervisor/xen/loopback-guard.h"
#include <glib.h>
#include <stdio.h>

static void test_addresses_are_the_machines_own_and_differ(void) {
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (int i = 0; i < 1000; i++) {
        unsigned a = 0, b = 0, c = 0, d = 0, port = 0;
        g_autofree char *id = g_uuid_string_random();
        char *address = loopback_guard_address(id);
        g_assert_cmpint(sscanf(address, "%u.%u.%u.%u:%u", &a, &b, &c, &d, &port), ==, 5);
        g_assert_true(a == 127 && b >= 64 && b < 128 && c < 256 && d < 256 && port == 7445);
        g_autofree char *again = loopback_guard_address(id);
        g_assert_cmpstr(address, ==, again);
        g_hash_table_add(seen, address);
    }
    g_assert_cmpuint(g_hash_table_size(seen), >, 990);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/loopback-guard/address", test_addresses_are_the_machines_own_and_differ);
    return g_test_run();
}
