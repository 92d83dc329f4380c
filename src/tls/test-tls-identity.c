/* The small certificate authority: what it makes is accepted, renewed in time, and kept apart. */
#include "tls/tls-identity.h"
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/file.h"

static FakeClock test_clock;

static bool is_due(const TlsIdentity *certificate, const TlsIdentity *authority, const char *const *names) {
    bool due = false;
    g_assert_true(tls_certificate_is_due(
        certificate->certificate_pem, authority->certificate_pem, names, &test_clock.clock, &due, NULL));
    return due;
}

static void make_both(TlsIdentity *authority, TlsIdentity *certificate) {
    static const char *const names[] = {"lodge.example", "192.0.2.1", NULL};
    fake_clock_init(&test_clock, INT64_C(1800000000) * NS_PER_S);
    g_assert_true(tls_authority_make("Lodge", &test_clock.clock, authority, NULL));
    g_assert_true(tls_certificate_make(
        authority, "lodged", names, TLS_ROLE_SERVER, &test_clock.clock, certificate, NULL));
}

static void test_certificate_is_due_30_days_before_its_end(void) {
    g_auto(TlsIdentity) authority = {0}, certificate = {0};
    make_both(&authority, &certificate);
    g_assert_false(is_due(&certificate, &authority, NULL));
    fake_clock_advance(&test_clock, (int64_t)(TLS_CERTIFICATE_DAYS - TLS_RENEW_DAYS - 1) * 86400 * NS_PER_S);
    g_assert_false(is_due(&certificate, &authority, NULL));
    fake_clock_advance(&test_clock, (int64_t)2 * 86400 * NS_PER_S);
    g_assert_true(is_due(&certificate, &authority, NULL));
}

static void test_certificate_is_due_when_a_name_is_missing(void) {
    static const char *const known[] = {"lodge.example", "192.0.2.1", "localhost", "127.0.0.1", "::1", NULL};
    static const char *const other[] = {"192.0.2.2", NULL};
    g_auto(TlsIdentity) authority = {0}, certificate = {0};
    make_both(&authority, &certificate);
    g_assert_false(is_due(&certificate, &authority, known));
    g_assert_true(is_due(&certificate, &authority, other));
}

static void test_certificate_of_another_authority_is_due(void) {
    g_auto(TlsIdentity) authority = {0}, certificate = {0}, other = {0};
    make_both(&authority, &certificate);
    g_assert_true(tls_authority_make("Lodge", &test_clock.clock, &other, NULL));
    g_assert_true(is_due(&certificate, &other, NULL));
}

static void test_fingerprint_is_stable_and_distinct(void) {
    g_auto(TlsIdentity) authority = {0}, certificate = {0};
    make_both(&authority, &certificate);
    g_autofree char *first = NULL, *again = NULL, *other = NULL;
    g_assert_true(tls_fingerprint(authority.certificate_pem, &first, NULL));
    g_assert_true(tls_fingerprint(authority.certificate_pem, &again, NULL));
    g_assert_true(tls_fingerprint(certificate.certificate_pem, &other, NULL));
    g_assert_cmpstr(first, ==, again);
    g_assert_cmpstr(first, !=, other);
    g_assert_cmpuint(strlen(first), ==, strlen("sha256:") + 64);
}

static void test_saved_key_is_private_and_loads(void) {
    g_auto(TlsIdentity) authority = {0}, certificate = {0}, loaded = {0};
    g_auto(Error) err = {0};
    make_both(&authority, &certificate);
    g_autofree char *folder = g_dir_make_tmp("lodge-tls-XXXXXX", NULL);
    g_autofree char *key_path = g_build_filename(folder, "server.key", NULL);
    g_assert_true(tls_identity_save(&certificate, folder, "server", NULL));
    struct stat status;
    g_assert_cmpint(g_stat(key_path, &status), ==, 0);
    g_assert_cmpuint(status.st_mode & 07777, ==, 0600);
    g_assert_true(tls_identity_load(folder, "server", &loaded, NULL));
    g_assert_cmpstr(loaded.key_pem, ==, certificate.key_pem);
    g_assert_true(file_replace(key_path, authority.key_pem, strlen(authority.key_pem), 0600, NULL));
    g_auto(TlsIdentity) mixed = {0};
    g_assert_false(tls_identity_load(folder, "server", &mixed, &err));
    g_assert_cmpint(err.code, ==, ERROR_CORRUPT);
    error_clear(&err);
    g_assert_false(tls_identity_load(folder, "nothing", &mixed, &err));
    g_assert_cmpint(err.code, ==, ERROR_NOT_FOUND);
    g_assert_true(tree_remove(folder, NULL));
}

static void test_refuses_what_is_no_certificate(void) {
    g_auto(Error) err = {0};
    char *fingerprint = NULL;
    g_assert_false(tls_fingerprint(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &fingerprint, &err));
    g_assert_cmpint(err.code, ==, ERROR_INVALID);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func(
        "/tls-identity/due-30-days-before-its-end", test_certificate_is_due_30_days_before_its_end);
    g_test_add_func(
        "/tls-identity/due-when-a-name-is-missing", test_certificate_is_due_when_a_name_is_missing);
    g_test_add_func(
        "/tls-identity/due-when-of-another-authority", test_certificate_of_another_authority_is_due);
    g_test_add_func(
        "/tls-identity/fingerprint-is-stable-and-distinct", test_fingerprint_is_stable_and_distinct);
    g_test_add_func("/tls-identity/saved-key-is-private-and-loads", test_saved_key_is_private_and_loads);
    g_test_add_func("/tls-identity/refuses-what-is-no-certificate", test_refuses_what_is_no_certificate);
    return g_test_run();
}
