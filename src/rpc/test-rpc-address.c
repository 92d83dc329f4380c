/* Addresses as people write them, and as they must not. */
#include "rpc/rpc-address.h"

static void test_what_is_understood(void) {
    static const struct {
        const char *text, *read;
    } cases[] = {
        {"unix:/run/lodge/agent.sock", "unix:/run/lodge/agent.sock"},
        {"node-7", "node-7:7444"},
        {"Node-7.Example.org", "node-7.example.org:7444"},
        {"node-7:7000", "node-7:7000"},
        {"192.0.2.7", "192.0.2.7:7444"},
        {"192.0.2.7:1", "192.0.2.7:1"},
        {"2001:DB8::7", "[2001:db8::7]:7444"},
        {"[2001:db8::7]", "[2001:db8::7]:7444"},
        {"[2001:db8::7]:65535", "[2001:db8::7]:65535"},
        {"::1", "[::1]:7444"},
        {"fe80::1%eth0", "[fe80::1%eth0]:7444"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(RpcAddress) address = {0}, again = {0};
        g_assert_true(rpc_address_parse(cases[i].text, &address, NULL));
        g_autofree char *text = rpc_address_text(&address);
        g_assert_cmpstr(text, ==, cases[i].read);
        g_assert_true(rpc_address_parse(text, &again, NULL));
        g_autofree char *text_again = rpc_address_text(&again);
        g_assert_cmpstr(text_again, ==, text);
    }
}

static void test_what_is_refused(void) {
    static const char *const cases[] = {"", ":7444", "node-7:", "node-7:0", "node-7:65536", "node-7:+80",
        "node-7:99999999", "-node", ".node", "no de", "node/7", "[::1", "[::1]7444", "[::1]:", "[]",
        "unix:", "unix:run/agent.sock", "https://node-7"};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(RpcAddress) address = {0};
        g_auto(Error) err = {0};
        g_assert_false(rpc_address_parse(cases[i], &address, &err));
        g_assert_cmpint(err.code, ==, ERROR_INVALID);
        g_assert_cmpstr(err.field, ==, "/address");
    }
    g_autofree char *long_name = g_strnfill(254, 'a');
    g_auto(RpcAddress) address = {0};
    g_assert_false(rpc_address_parse(long_name, &address, NULL));
}

static void test_numbers_need_no_resolver(void) {
    static const struct {
        const char *text;
        bool is_numeric;
        int family;
    } cases[] = {{"192.0.2.7", true, AF_INET}, {"[::1]:7444", true, AF_INET6}, {"localhost", false, 0}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(RpcAddress) address = {0};
        RpcSocketAddress numeric;
        g_assert_true(rpc_address_parse(cases[i].text, &address, NULL));
        g_assert_true(rpc_address_is_numeric(&address, &numeric) == cases[i].is_numeric);
        if (cases[i].is_numeric)
            g_assert_cmpint(numeric.storage.ss_family, ==, cases[i].family);
    }
}

static void test_names_are_resolved(void) {
    g_auto(RpcAddress) address = {0}, unknown = {0};
    g_autoptr(GArray) found = NULL, nothing = NULL;
    g_auto(Error) err = {0};
    g_assert_true(rpc_address_parse("localhost", &address, NULL));
    g_assert_true(rpc_address_resolve(&address, &found, NULL));
    g_assert_cmpuint(found->len, >=, 1);
    g_assert_true(rpc_address_parse("nobody.invalid", &unknown, NULL));
    g_assert_false(rpc_address_resolve(&unknown, &nothing, &err));
    g_assert_cmpint(err.code, ==, ERROR_UNREACHABLE);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rpc/address/understood", test_what_is_understood);
    g_test_add_func("/rpc/address/refused", test_what_is_refused);
    g_test_add_func("/rpc/address/numeric", test_numbers_need_no_resolver);
    g_test_add_func("/rpc/address/resolved", test_names_are_resolved);
    return g_test_run();
}
