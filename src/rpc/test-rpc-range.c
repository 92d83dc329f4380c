/* Networks, ranges and names as people write them, and how many addresses they are. */
#include "rpc/rpc-range.h"
#include <string.h>

static char *all_of(const char *text) {
    g_auto(RpcTargets) targets;
    GString *all = g_string_new(NULL);
    rpc_targets_init(&targets);
    g_auto(GStrv) parts = g_strsplit(text, " ", -1);
    for (char **part = parts; *part; part++)
        g_assert_true(rpc_targets_add(&targets, *part, NULL));
    for (guint i = 0; i < targets.addresses->len; i++) {
        const RpcTarget *target = &g_array_index(targets.addresses, RpcTarget, i);
        g_string_append_printf(all, "%s%s%s", i ? " " : "", target->host, target->socket.length ? "" : "?");
        if (target->port != RPC_PORT)
            g_string_append_printf(all, ":%d", target->port);
        if (target->is_named)
            g_string_append_c(all, '!');
    }
    return g_string_free(all, FALSE);
}

static void test_what_is_meant(void) {
    static const struct {
        const char *text, *meant;
    } cases[] = {
        {"192.0.2.7", "192.0.2.7!"},
        {"192.0.2.7:7000", "192.0.2.7:7000!"},
        {"192.0.2.254-192.0.3.1", "192.0.2.254 192.0.2.255 192.0.3.0 192.0.3.1"},
        {"192.0.2.5-7", "192.0.2.5 192.0.2.6 192.0.2.7"},
        {"192.0.2.5-5", "192.0.2.5"},
        {"192.0.2.9/30", "192.0.2.9 192.0.2.10"},
        {"192.0.2.9/31", "192.0.2.8 192.0.2.9"},
        {"192.0.2.9/32", "192.0.2.9"},
        {"2001:db8::6/126", "2001:db8::4 2001:db8::5 2001:db8::6 2001:db8::7"},
        {"2001:db8::ffff-2001:db8::1:1", "2001:db8::ffff 2001:db8::1:0 2001:db8::1:1"},
        {"255.255.255.254-255", "255.255.255.254 255.255.255.255"},
        {"db1.example.org node-7:7000", "db1.example.org?! node-7?:7000!"},
        {"192.0.2.6 192.0.2.5-7 192.0.2.7 192.0.2.6", "192.0.2.6! 192.0.2.5 192.0.2.7!"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *all = all_of(cases[i].text);
        g_assert_cmpstr(all, ==, cases[i].meant);
    }
}

static void test_how_many(void) {
    static const struct {
        const char *text;
        guint n;
    } cases[] = {{"10.20.0.0/22", 1022}, {"10.0.0.0/16", 65534}, {"10.0.0.0-10.0.255.255", 65536},
        {"2001:db8::/112", 65536}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(RpcTargets) targets;
        rpc_targets_init(&targets);
        g_assert_true(rpc_targets_add(&targets, cases[i].text, NULL));
        g_assert_cmpuint(targets.addresses->len, ==, cases[i].n);
    }
}

static void test_what_is_refused(void) {
    static const struct {
        const char *text;
        ErrorCode code;
    } cases[] = {{"192.0.2.0/33", ERROR_INVALID}, {"192.0.2.0/x", ERROR_INVALID},
        {"192.0.2.0/-1", ERROR_INVALID}, {"192.0.2/24", ERROR_INVALID}, {"192.0.2.7-5", ERROR_INVALID},
        {"192.0.2.7-256", ERROR_INVALID}, {"192.0.2.7-", ERROR_INVALID}, {"10.0.0.0/15", ERROR_INVALID},
        {"2001:db8::/64", ERROR_INVALID}, {"2001:db8::1-5.6.7.8", ERROR_INVALID}, {"", ERROR_INVALID},
        {"unix:/run/x", ERROR_INVALID}, {"a b", ERROR_INVALID}, {"10.0.0.0-10.1.0.0", ERROR_TOO_LARGE}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(RpcTargets) targets;
        g_auto(Error) err = {0};
        rpc_targets_init(&targets);
        g_assert_false(rpc_targets_add(&targets, cases[i].text, &err));
        g_assert_cmpint(err.code, ==, cases[i].code);
        g_assert_nonnull(err.field);
    }
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rpc/range/meant", test_what_is_meant);
    g_test_add_func("/rpc/range/how-many", test_how_many);
    g_test_add_func("/rpc/range/refused", test_what_is_refused);
    return g_test_run();
}
