/* What is sealed opens with its passphrase only, and not when it was changed. */
#include <glib.h>
#include <string.h>
#include "tls/tls-seal.h"

#define PASSPHRASE "correct horse battery staple"

static void test_it_opens_with_its_passphrase(void) {
    g_autofree char *text = g_strnfill(300000, 'x'), *sealed = NULL;
    char *opened = NULL;
    g_auto(Error) err = {0};
    g_assert_true(tls_seal(PASSPHRASE, text, &sealed, &err));
    g_assert_null(strstr(sealed, "xxxx"));
    g_assert_true(tls_unseal(PASSPHRASE, sealed, &opened, &err));
    g_assert_cmpstr(opened, ==, text);
    tls_sealed_free(opened);
    tls_sealed_free(NULL);
}

static void test_another_passphrase_is_denied(void) {
    g_autofree char *sealed = NULL, *opened = NULL;
    g_auto(Error) err = {0};
    g_assert_true(tls_seal(PASSPHRASE, "secret", &sealed, &err));
    g_assert_false(tls_unseal("correct horse battery stable", sealed, &opened, &err));
    g_assert_cmpint(err.code, ==, ERROR_DENIED);
    g_assert_null(opened);
}

/* Each byte in turn, and each length. */
static void test_what_is_damaged_is_not_opened(void) {
    g_autofree char *sealed = NULL;
    size_t length = 0;
    g_assert_true(tls_seal(PASSPHRASE, "secret", &sealed, NULL));
    g_autofree unsigned char *bytes = g_base64_decode(sealed, &length);
    for (size_t i = 0; i < length; i += 7) {
        g_autofree char *opened = NULL;
        g_auto(Error) err = {0};
        bytes[i] ^= 0x20;
        g_autofree char *changed = g_base64_encode(bytes, length);
        bool is_open = tls_unseal(PASSPHRASE, changed, &opened, &err);
        g_assert_true(!is_open || g_str_equal(opened, "secret")); /* a byte that says nothing */
        bytes[i] ^= 0x20;
    }
    for (size_t i = 0; i < length; i += 31) {
        g_autofree char *opened = NULL, *cut = g_base64_encode(bytes, i);
        g_auto(Error) err = {0};
        g_assert_false(tls_unseal(PASSPHRASE, cut, &opened, &err));
        g_assert_cmpint(err.code, ==, ERROR_INVALID);
    }
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tls-seal/opens", test_it_opens_with_its_passphrase);
    g_test_add_func("/tls-seal/passphrase", test_another_passphrase_is_denied);
    g_test_add_func("/tls-seal/damaged", test_what_is_damaged_is_not_opened);
    return g_test_run();
}
