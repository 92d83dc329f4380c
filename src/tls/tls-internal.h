/* Inside of src/tls: what tunnels and sessions share. */
#pragma once
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdint.h>
#include <string.h>
#include "tls/tls-credentials.h"

struct TlsCredentials {
    int reference_count;
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priority;
    char *protocol;
    bool has_authority;
};

/* A non-blocking session of that role (GNUTLS_SERVER or GNUTLS_CLIENT) on a socket. GnuTLS's code. */
int tls_session_start(
    const TlsCredentials *credentials, unsigned role, int fd, gnutls_session_t *ret_session);

/* "sha256:…" over the certificate's public key, newly allocated; NULL when it has none that is understood. */
char *tls_key_text(gnutls_x509_crt_t certificate);

enum { TLS_NAME_BYTES = 256 };
/* The URIs among a certificate's names, `most` at most; how many. Whatever is wrong with the rest, it is left
 * out. */
size_t tls_names_of(gnutls_x509_crt_t certificate, char ret_names[][TLS_NAME_BYTES], size_t most);

/* The text's bytes, borrowed. */
static inline gnutls_datum_t tls_text_datum(const char *text) {
    return (gnutls_datum_t){.data = (unsigned char *)(uintptr_t)text, .size = (unsigned)strlen(text)};
}

/* In lower-case hexadecimal; `ret_text` has room for 2 * `length` + 1. */
static inline void tls_hex(const uint8_t *bytes, size_t length, char *ret_text) {
    const gnutls_datum_t binary = {(unsigned char *)(uintptr_t)bytes, (unsigned)length};
    size_t size = 2 * length + 1;
    g_assert(gnutls_hex_encode(&binary, ret_text, &size) >= 0);
}
