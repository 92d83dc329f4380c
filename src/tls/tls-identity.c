/* A small certificate authority. */
#include "tls/tls-identity.h"
#include <arpa/inet.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>
#include "base/file.h"
#include "tls/tls-internal.h"

enum {
    SERIAL_BYTES = 16,
    PEM_LIMIT = 65536,
    SECONDS_PER_DAY = 86400,
    BACKDATE_SECONDS = 3600,
    FINGERPRINT_BYTES = 32,
    MOST_NAMES = 8
};

static void free_certificate(gnutls_x509_crt_t *certificate) {
    if (*certificate)
        gnutls_x509_crt_deinit(*certificate);
}

static void free_key(gnutls_x509_privkey_t *key) {
    if (*key)
        gnutls_x509_privkey_deinit(*key);
}

static void free_datum(gnutls_datum_t *datum) {
    gnutls_free(datum->data);
}

#define certificate_auto __attribute__((cleanup(free_certificate))) gnutls_x509_crt_t
#define key_auto __attribute__((cleanup(free_key))) gnutls_x509_privkey_t
#define datum_auto __attribute__((cleanup(free_datum))) gnutls_datum_t

static bool set_tls_error(Error *err, int code, const char *what) {
    return error_set(err, ERROR_INTERNAL, NULL, "%s: %s", what, gnutls_strerror(code));
}

void tls_identity_clear(TlsIdentity *identity) {
    if (identity->key_pem)
        gnutls_memset(identity->key_pem, 0, strlen(identity->key_pem));
    g_clear_pointer(&identity->key_pem, g_free);
    g_clear_pointer(&identity->certificate_pem, g_free);
}

static bool read_certificate(const char *pem, gnutls_x509_crt_t *ret_certificate, Error *err) {
    certificate_auto certificate = NULL;
    gnutls_datum_t text = tls_text_datum(pem);
    int code = gnutls_x509_crt_init(&certificate);
    if (code >= 0)
        code = gnutls_x509_crt_import(certificate, &text, GNUTLS_X509_FMT_PEM);
    if (code < 0)
        return error_set(err, ERROR_INVALID, NULL, "not a certificate in PEM: %s", gnutls_strerror(code));
    *ret_certificate = certificate;
    certificate = NULL;
    return true;
}

static bool read_key(const char *pem, gnutls_x509_privkey_t *ret_key, Error *err) {
    key_auto key = NULL;
    gnutls_datum_t text = tls_text_datum(pem);
    int code = gnutls_x509_privkey_init(&key);
    if (code >= 0)
        code = gnutls_x509_privkey_import(key, &text, GNUTLS_X509_FMT_PEM);
    if (code < 0)
        return error_set(err, ERROR_INVALID, NULL, "not a private key in PEM: %s", gnutls_strerror(code));
    *ret_key = key;
    key = NULL;
    return true;
}

static bool make_key(gnutls_x509_privkey_t *ret_key, Error *err) {
    key_auto key = NULL;
    int code = gnutls_x509_privkey_init(&key);
    if (code >= 0)
        code = gnutls_x509_privkey_generate(
            key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    if (code < 0)
        return set_tls_error(err, code, "making a key");
    *ret_key = key;
    key = NULL;
    return true;
}

/* What an authority and a leaf have in common; its key is set. */
static int fill_certificate(
    gnutls_x509_crt_t certificate, const char *common_name, const Clock *clock, int days) {
    unsigned char serial[SERIAL_BYTES], key_id[64];
    size_t key_id_length = sizeof key_id;
    int code = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial);
    serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40); /* positive, of full length */
    time_t now = (time_t)(clock_realtime_ns(clock) / NS_PER_S);
    if (code >= 0)
        code = gnutls_x509_crt_set_version(certificate, 3);
    if (code >= 0)
        code = gnutls_x509_crt_set_serial(certificate, serial, sizeof serial);
    /* An hour back: machines whose clocks differ a little must accept it at once. */
    if (code >= 0)
        code = gnutls_x509_crt_set_activation_time(certificate, now - BACKDATE_SECONDS);
    if (code >= 0)
        code = gnutls_x509_crt_set_expiration_time(certificate, now + (time_t)days * SECONDS_PER_DAY);
    if (code >= 0)
        code = gnutls_x509_crt_set_dn_by_oid(
            certificate, GNUTLS_OID_X520_COMMON_NAME, 0, common_name, (unsigned)strlen(common_name));
    if (code >= 0)
        code = gnutls_x509_crt_get_key_id(certificate, GNUTLS_KEYID_USE_SHA1, key_id, &key_id_length);
    if (code >= 0)
        code = gnutls_x509_crt_set_subject_key_id(certificate, key_id, key_id_length);
    return code;
}

static bool export_identity(
    gnutls_x509_crt_t certificate, gnutls_x509_privkey_t key, TlsIdentity *ret_identity, Error *err) {
    datum_auto certificate_pem = {0}, key_pem = {0};
    int code = gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &certificate_pem);
    if (code >= 0)
        code = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &key_pem);
    if (code < 0)
        return set_tls_error(err, code, "writing a certificate");
    ret_identity->certificate_pem = g_strndup((const char *)certificate_pem.data, certificate_pem.size);
    ret_identity->key_pem = g_strndup((const char *)key_pem.data, key_pem.size);
    gnutls_memset(key_pem.data, 0, key_pem.size);
    return true;
}

bool tls_authority_make(const char *common_name, const Clock *clock, TlsIdentity *ret_authority, Error *err) {
    certificate_auto certificate = NULL;
    key_auto key = NULL;
    if (!make_key(&key, err))
        return false;
    int code = gnutls_x509_crt_init(&certificate);
    if (code >= 0)
        code = gnutls_x509_crt_set_key(certificate, key);
    if (code >= 0)
        code = fill_certificate(certificate, common_name, clock, TLS_AUTHORITY_DAYS);
    if (code >= 0)
        code = gnutls_x509_crt_set_basic_constraints(certificate, 1, 0);
    if (code >= 0)
        code = gnutls_x509_crt_set_key_usage(certificate, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN);
    if (code >= 0)
        code = gnutls_x509_crt_sign2(certificate, certificate, key, GNUTLS_DIG_SHA256, 0);
    if (code < 0)
        return set_tls_error(err, code, "making a certificate authority");
    return export_identity(certificate, key, ret_authority, err);
}

static int add_name(gnutls_x509_crt_t certificate, const char *name) {
    unsigned char address[16];
    if (g_str_has_prefix(name, TLS_URI_PREFIX))
        return gnutls_x509_crt_set_subject_alt_name(
            certificate, GNUTLS_SAN_URI, name, (unsigned)strlen(name), GNUTLS_FSAN_APPEND);
    if (inet_pton(AF_INET, name, address) == 1)
        return gnutls_x509_crt_set_subject_alt_name(
            certificate, GNUTLS_SAN_IPADDRESS, address, 4, GNUTLS_FSAN_APPEND);
    if (inet_pton(AF_INET6, name, address) == 1)
        return gnutls_x509_crt_set_subject_alt_name(
            certificate, GNUTLS_SAN_IPADDRESS, address, 16, GNUTLS_FSAN_APPEND);
    return gnutls_x509_crt_set_subject_alt_name(
        certificate, GNUTLS_SAN_DNSNAME, name, (unsigned)strlen(name), GNUTLS_FSAN_APPEND);
}

static int add_role(gnutls_x509_crt_t certificate, const char *const *names, TlsRole role) {
    static const char *const local[] = {"localhost", "127.0.0.1", "::1"};
    int code = gnutls_x509_crt_set_basic_constraints(certificate, 0, -1);
    if (code >= 0)
        code = gnutls_x509_crt_set_key_usage(certificate, GNUTLS_KEY_DIGITAL_SIGNATURE);
    if (code >= 0 && (role & TLS_ROLE_CLIENT))
        code = gnutls_x509_crt_set_key_purpose_oid(certificate, GNUTLS_KP_TLS_WWW_CLIENT, 0);
    if (code >= 0 && (role & TLS_ROLE_SERVER))
        code = gnutls_x509_crt_set_key_purpose_oid(certificate, GNUTLS_KP_TLS_WWW_SERVER, 0);
    for (size_t i = 0; code >= 0 && (role & TLS_ROLE_SERVER) && i < G_N_ELEMENTS(local); i++)
        code = add_name(certificate, local[i]);
    for (; code >= 0 && names && *names; names++)
        code = add_name(certificate, *names);
    return code;
}

static int set_issuer(gnutls_x509_crt_t certificate, gnutls_x509_crt_t issuer) {
    unsigned char id[64];
    size_t length = sizeof id;
    int code = gnutls_x509_crt_get_subject_key_id(issuer, id, &length, NULL);
    return code < 0 ? code : gnutls_x509_crt_set_authority_key_id(certificate, id, length);
}

/* A leaf whose key is set. */
static bool complete_leaf(gnutls_x509_crt_t certificate, const TlsIdentity *authority,
    const TlsSubject *subject, const Clock *clock, Error *err) {
    certificate_auto issuer = NULL;
    key_auto issuer_key = NULL;
    if (!read_certificate(authority->certificate_pem, &issuer, err) ||
        !read_key(authority->key_pem, &issuer_key, err))
        return false;
    int code = fill_certificate(certificate, subject->common_name, clock, TLS_CERTIFICATE_DAYS);
    if (code >= 0)
        code = add_role(certificate, subject->names, subject->role);
    if (code >= 0)
        code = set_issuer(certificate, issuer);
    if (code >= 0)
        code = gnutls_x509_crt_sign2(certificate, issuer, issuer_key, GNUTLS_DIG_SHA256, 0);
    return code >= 0 || set_tls_error(err, code, "making a certificate");
}

bool tls_certificate_make(const TlsIdentity *authority, const char *common_name, const char *const *names,
    TlsRole role, const Clock *clock, TlsIdentity *ret_identity, Error *err) {
    certificate_auto certificate = NULL;
    key_auto key = NULL;
    const TlsSubject subject = {common_name, names, role};
    if (!make_key(&key, err))
        return false;
    int code = gnutls_x509_crt_init(&certificate);
    if (code >= 0)
        code = gnutls_x509_crt_set_key(certificate, key);
    if (code < 0)
        return set_tls_error(err, code, "making a certificate");
    return complete_leaf(certificate, authority, &subject, clock, err) &&
           export_identity(certificate, key, ret_identity, err);
}

static int take_public_key(gnutls_x509_crt_t certificate, gnutls_x509_crt_t from) {
    gnutls_pubkey_t key = NULL;
    int code = gnutls_pubkey_init(&key);
    if (code >= 0)
        code = gnutls_pubkey_import_x509(key, from, 0);
    if (code >= 0)
        code = gnutls_x509_crt_set_pubkey(certificate, key);
    if (key)
        gnutls_pubkey_deinit(key);
    return code;
}

bool tls_certificate_sign(const TlsIdentity *authority, const char *shown_pem, const TlsSubject *subject,
    const Clock *clock, char **ret_certificate_pem, Error *err) {
    certificate_auto certificate = NULL, shown = NULL;
    datum_auto pem = {0};
    if (!read_certificate(shown_pem, &shown, err))
        return false;
    int code = gnutls_x509_crt_init(&certificate);
    if (code >= 0)
        code = take_public_key(certificate, shown);
    if (code < 0)
        return error_set(
            err, ERROR_INVALID, NULL, "the key that is shown cannot be used: %s", gnutls_strerror(code));
    if (!complete_leaf(certificate, authority, subject, clock, err))
        return false;
    code = gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &pem);
    if (code < 0)
        return set_tls_error(err, code, "writing a certificate");
    *ret_certificate_pem = g_strndup((const char *)pem.data, pem.size);
    return true;
}

bool tls_identity_make_own(
    const TlsSubject *subject, const Clock *clock, TlsIdentity *ret_identity, Error *err) {
    certificate_auto certificate = NULL;
    key_auto key = NULL;
    if (!make_key(&key, err))
        return false;
    int code = gnutls_x509_crt_init(&certificate);
    if (code >= 0)
        code = gnutls_x509_crt_set_key(certificate, key);
    if (code >= 0)
        code = fill_certificate(certificate, subject->common_name, clock, TLS_AUTHORITY_DAYS);
    if (code >= 0)
        code = add_role(certificate, subject->names, subject->role);
    if (code >= 0)
        code = gnutls_x509_crt_sign2(certificate, certificate, key, GNUTLS_DIG_SHA256, 0);
    if (code < 0)
        return set_tls_error(err, code, "making a certificate");
    return export_identity(certificate, key, ret_identity, err);
}

size_t tls_names_of(gnutls_x509_crt_t certificate, char ret_names[][TLS_NAME_BYTES], size_t most) {
    size_t n = 0;
    for (unsigned i = 0; n < most; i++) {
        size_t length = TLS_NAME_BYTES - 1;
        int kind = gnutls_x509_crt_get_subject_alt_name(certificate, i, ret_names[n], &length, NULL);
        if (kind < 0 && kind != GNUTLS_E_SHORT_MEMORY_BUFFER)
            break;
        if (kind != GNUTLS_SAN_URI || memchr(ret_names[n], '\0', length))
            continue;
        ret_names[n++][length] = '\0';
    }
    return n;
}

static bool has_name(gnutls_x509_crt_t certificate, const char *name) {
    char names[MOST_NAMES][TLS_NAME_BYTES];
    if (!g_str_has_prefix(name, TLS_URI_PREFIX))
        return gnutls_x509_crt_check_hostname(certificate, name) != 0;
    size_t n = tls_names_of(certificate, names, MOST_NAMES);
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

bool tls_certificate_is_due(const char *certificate_pem, const char *authority_pem, const char *const *names,
    const Clock *clock, bool *ret_is_due, Error *err) {
    certificate_auto certificate = NULL, authority = NULL;
    if (!read_certificate(certificate_pem, &certificate, err) ||
        !read_certificate(authority_pem, &authority, err))
        return false;
    time_t now = (time_t)(clock_realtime_ns(clock) / NS_PER_S);
    unsigned status = 0;
    int code = gnutls_x509_crt_verify(certificate, &authority, 1,
        GNUTLS_VERIFY_DISABLE_TIME_CHECKS | GNUTLS_VERIFY_DISABLE_TRUSTED_TIME_CHECKS, &status);
    bool is_due = code < 0 || status != 0 || now < gnutls_x509_crt_get_activation_time(certificate) ||
                  now + TLS_RENEW_DAYS * SECONDS_PER_DAY > gnutls_x509_crt_get_expiration_time(certificate);
    for (; !is_due && names && *names; names++)
        is_due = !has_name(certificate, *names);
    *ret_is_due = is_due;
    return true;
}

char *tls_key_text(gnutls_x509_crt_t certificate) {
    unsigned char id[FINGERPRINT_BYTES];
    char hex[2 * FINGERPRINT_BYTES + 1];
    size_t length = sizeof id;
    if (gnutls_x509_crt_get_key_id(certificate, GNUTLS_KEYID_USE_SHA256, id, &length) < 0)
        return NULL;
    tls_hex(id, length, hex);
    return g_strconcat("sha256:", hex, NULL);
}

bool tls_key_fingerprint(const char *certificate_pem, char **ret_fingerprint, Error *err) {
    certificate_auto certificate = NULL;
    if (!read_certificate(certificate_pem, &certificate, err))
        return false;
    *ret_fingerprint = tls_key_text(certificate);
    return *ret_fingerprint || error_set(err, ERROR_INVALID, NULL, "the certificate has no usable key");
}

bool tls_fingerprint(const char *certificate_pem, char **ret_fingerprint, Error *err) {
    certificate_auto certificate = NULL;
    unsigned char digest[FINGERPRINT_BYTES];
    size_t length = sizeof digest;
    if (!read_certificate(certificate_pem, &certificate, err))
        return false;
    int code = gnutls_x509_crt_get_fingerprint(certificate, GNUTLS_DIG_SHA256, digest, &length);
    if (code < 0)
        return set_tls_error(err, code, "computing a fingerprint");
    char hex[2 * FINGERPRINT_BYTES + 1];
    tls_hex(digest, length, hex);
    *ret_fingerprint = g_strconcat("sha256:", hex, NULL);
    return true;
}

bool tls_identity_save(const TlsIdentity *identity, const char *folder, const char *name, Error *err) {
    g_autofree char *certificate_path = g_strdup_printf("%s/%s.pem", folder, name);
    g_autofree char *key_path = g_strdup_printf("%s/%s.key", folder, name);
    return file_replace(key_path, identity->key_pem, strlen(identity->key_pem), 0600, err) &&
           file_replace(
               certificate_path, identity->certificate_pem, strlen(identity->certificate_pem), 0644, err);
}

static bool belong_together(const TlsIdentity *identity, Error *err) {
    certificate_auto certificate = NULL;
    key_auto key = NULL;
    if (!read_certificate(identity->certificate_pem, &certificate, err) ||
        !read_key(identity->key_pem, &key, err))
        return error_wrap(err, ERROR_CORRUPT, "the saved certificate or key is damaged");
    unsigned char of_certificate[64], of_key[64];
    size_t certificate_length = sizeof of_certificate, key_length = sizeof of_key;
    int code =
        gnutls_x509_crt_get_key_id(certificate, GNUTLS_KEYID_USE_SHA256, of_certificate, &certificate_length);
    if (code >= 0)
        code = gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, of_key, &key_length);
    if (code < 0 || certificate_length != key_length || memcmp(of_certificate, of_key, key_length) != 0)
        return error_set(err, ERROR_CORRUPT, NULL, "the saved certificate and key do not belong together");
    return true;
}

bool tls_identity_load(const char *folder, const char *name, TlsIdentity *ret_identity, Error *err) {
    g_auto(TlsIdentity) identity = {0};
    g_autofree char *certificate_path = g_strdup_printf("%s/%s.pem", folder, name);
    g_autofree char *key_path = g_strdup_printf("%s/%s.key", folder, name);
    if (!file_read(certificate_path, PEM_LIMIT, &identity.certificate_pem, NULL, err) ||
        !file_read(key_path, PEM_LIMIT, &identity.key_pem, NULL, err) || !belong_together(&identity, err))
        return false;
    *ret_identity = identity;
    identity = (TlsIdentity){0};
    return true;
}
