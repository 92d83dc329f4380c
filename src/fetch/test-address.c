/* Proves which addresses a fetch may reach, in all their disguises. */
#include <arpa/inet.h>
#include <glib.h>
#include <netinet/in.h>
#include <string.h>
#include "fetch/address.h"

static const struct ifaddrs *own;

static bool is_refused(const char *text, bool allows_own) {
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return address_refusal((const struct sockaddr *)&v4, own, allows_own) != NULL;
    g_assert_cmpint(inet_pton(AF_INET6, text, &v6.sin6_addr), ==, 1);
    return address_refusal((const struct sockaddr *)&v6, own, allows_own) != NULL;
}

static void test_this_machine_is_refused_in_every_disguise(void) {
    static const char *const names[] = {"127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1",
        "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1", "10.1.2.3", "::ffff:10.1.2.3", "fd00::7"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_test_message("%s", names[i]);
        g_assert_true(is_refused(names[i], false));
        g_assert_false(is_refused(names[i], true));
    }
}

static void test_link_local_and_multicast_are_always_refused(void) {
    static const char *const names[] = {"169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "224.0.0.1",
        "255.255.255.255", "ff02::1", "2002:a9fe:a9fe::1"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_test_message("%s", names[i]);
        g_assert_true(is_refused(names[i], true));
    }
}

static void test_other_machines_are_allowed(void) {
    static const char *const names[] = {
        "192.0.2.1", "10.1.2.4", "192.168.1.1", "172.16.0.1", "2001:db8::1", "fd00::8"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_test_message("%s", names[i]);
        g_assert_false(is_refused(names[i], false));
    }
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    inet_pton(AF_INET, "10.1.2.3", &v4.sin_addr);
    inet_pton(AF_INET6, "fd00::7", &v6.sin6_addr);
    struct ifaddrs second = {.ifa_addr = (struct sockaddr *)&v6};
    struct ifaddrs without_address = {.ifa_next = &second};
    struct ifaddrs first = {.ifa_addr = (struct sockaddr *)&v4, .ifa_next = &without_address};
    own = &first;
    g_test_add_func("/address/this-machine", test_this_machine_is_refused_in_every_disguise);
    g_test_add_func("/address/link-local", test_link_local_and_multicast_are_always_refused);
    g_test_add_func("/address/others", test_other_machines_are_allowed);
    return g_test_run();
}
