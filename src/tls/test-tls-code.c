/* Codes that people carry, and proofs that belong to one connection. */
#include "tls/tls-code.h"
#include <string.h>

static void test_codes_differ_and_are_read_as_people_write_them(void) {
    g_autofree char *one = tls_code_make(), *two = tls_code_make();
    char read[TLS_CODE_LENGTH + 1];
    g_assert_cmpstr(one, !=, two);
    g_assert_cmpuint(strlen(one), ==, TLS_CODE_LENGTH);
    g_assert_true(tls_code_parse(one, read, NULL));
    g_assert_cmpstr(read, ==, one);
    static const char *const same[] = {"7h2k-9q1m", "7H2K9QLM", " 7H2K - 9Qim ", "7H2K-9Q1M"};
    for (size_t i = 0; i < G_N_ELEMENTS(same); i++) {
        g_assert_true(tls_code_parse(same[i], read, NULL));
        g_assert_cmpstr(read, ==, "7H2K-9Q1M");
    }
    static const char *const wrong[] = {
        "", "7H2K", "7H2K-9QLMX", "7H2K-9QLU", "7H2K-9Q\xc3\xa4M", "7H2K_9QLM"};
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_auto(Error) err = {0};
        g_assert_false(tls_code_parse(wrong[i], read, &err));
        g_assert_cmpint(err.code, ==, ERROR_INVALID);
        g_assert_cmpstr(err.field, ==, "/enrol_code");
    }
}

static void test_a_proof_belongs_to_its_code_and_connection(void) {
    const uint8_t here[TLS_BINDING_BYTES] = {1}, there[TLS_BINDING_BYTES] = {2};
    TlsProofs one, same, other_code, other_connection;
    g_assert_true(tls_code_prove("7H2K-9Q1M", here, &one, NULL));
    g_assert_true(tls_code_prove("7H2K-9Q1M", here, &same, NULL));
    g_assert_true(tls_code_prove("7H2K-9Q1N", here, &other_code, NULL));
    g_assert_true(tls_code_prove("7H2K-9Q1M", there, &other_connection, NULL));
    g_assert_true(tls_proof_is(one.initiator, same.initiator) && tls_proof_is(one.acceptor, same.acceptor));
    g_assert_false(tls_proof_is(one.initiator, one.acceptor)); /* sent back it proves nothing */
    g_assert_false(tls_proof_is(one.initiator, other_code.initiator));
    g_assert_false(tls_proof_is(one.initiator, other_connection.initiator));
    g_assert_false(tls_proof_is(one.initiator, NULL) || tls_proof_is(one.initiator, ""));
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tls-code/read", test_codes_differ_and_are_read_as_people_write_them);
    g_test_add_func("/tls-code/proof", test_a_proof_belongs_to_its_code_and_connection);
    return g_test_run();
}
