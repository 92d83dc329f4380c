/* PKCS #12 with one secret bag. */
#include "tls/tls-seal.h"
#include <glib.h>
#include <gnutls/gnutls.h>
#include <gnutls/pkcs12.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

typedef struct Parcel {
    gnutls_pkcs12_t parcel;
    gnutls_pkcs12_bag_t bag;
    gnutls_datum_t bytes; /* of the whole */
} Parcel;

static void parcel_clear(Parcel *self) {
    if (self->bag)
        gnutls_pkcs12_bag_deinit(self->bag);
    if (self->parcel)
        gnutls_pkcs12_deinit(self->parcel);
    gnutls_free(self->bytes.data);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Parcel, parcel_clear)

static int parcel_init(Parcel *self) {
    int code = gnutls_pkcs12_init(&self->parcel);
    return code < 0 ? code : gnutls_pkcs12_bag_init(&self->bag);
}

static int fill(Parcel *self, const char *passphrase, const char *text) {
    gnutls_datum_t secret = {(unsigned char *)(uintptr_t)text, (unsigned)strlen(text)};
    int code = gnutls_pkcs12_bag_set_data(self->bag, GNUTLS_BAG_SECRET, &secret);
    if (code >= 0)
        code = gnutls_pkcs12_bag_encrypt(self->bag, passphrase, GNUTLS_PKCS_PBES2_AES_256);
    if (code >= 0)
        code = gnutls_pkcs12_set_bag(self->parcel, self->bag);
    if (code >= 0)
        code = gnutls_pkcs12_generate_mac2(self->parcel, GNUTLS_MAC_SHA256, passphrase);
    return code < 0 ? code : gnutls_pkcs12_export2(self->parcel, GNUTLS_X509_FMT_DER, &self->bytes);
}

bool tls_seal(const char *passphrase, const char *text, char **ret_sealed, Error *err) {
    g_auto(Parcel) parcel = {0};
    g_assert(strlen(text) <= INT_MAX);
    int code = parcel_init(&parcel);
    if (code >= 0)
        code = fill(&parcel, passphrase, text);
    if (code < 0)
        return error_set(err, ERROR_INTERNAL, NULL, "it cannot be encrypted: %s", gnutls_strerror(code));
    *ret_sealed = g_base64_encode(parcel.bytes.data, parcel.bytes.size);
    return true;
}

static bool read_secret(Parcel *self, const char *passphrase, char **ret_text, Error *err) {
    gnutls_datum_t secret = {0};
    int code = gnutls_pkcs12_get_bag(self->parcel, 0, self->bag);
    if (code >= 0 && gnutls_pkcs12_bag_get_type(self->bag, 0) == GNUTLS_BAG_ENCRYPTED)
        code = gnutls_pkcs12_bag_decrypt(self->bag, passphrase);
    if (code >= 0)
        code = gnutls_pkcs12_bag_get_data(self->bag, 0, &secret);
    if (code < 0)
        return error_set(err, ERROR_INVALID, NULL, "it cannot be opened: %s", gnutls_strerror(code));
    *ret_text = g_strndup((const char *)secret.data, secret.size);
    return true;
}

bool tls_unseal(const char *passphrase, const char *sealed, char **ret_text, Error *err) {
    g_auto(Parcel) parcel = {0};
    size_t length = 0;
    g_autofree unsigned char *bytes = g_base64_decode(sealed, &length);
    gnutls_datum_t whole = {bytes, (unsigned)length};
    if (length > INT_MAX)
        return error_set(err, ERROR_TOO_LARGE, NULL, "it is too large");
    int code = parcel_init(&parcel);
    if (code >= 0)
        code = gnutls_pkcs12_import(parcel.parcel, &whole, GNUTLS_X509_FMT_DER, 0);
    if (code < 0)
        return error_set(err, ERROR_INVALID, NULL, "it is damaged: %s", gnutls_strerror(code));
    code = gnutls_pkcs12_verify_mac(parcel.parcel, passphrase);
    if (code == GNUTLS_E_MAC_VERIFY_FAILED)
        return error_set(err, ERROR_DENIED, NULL, "the passphrase is another one");
    if (code < 0)
        return error_set(err, ERROR_INVALID, NULL, "it is damaged: %s", gnutls_strerror(code));
    return read_secret(&parcel, passphrase, ret_text, err);
}

void tls_sealed_free(char *text) {
    if (text)
        gnutls_memset(text, 0, strlen(text));
    g_free(text);
}
