/*
 * What one side of TLS connections shows of itself and whom it believes: certificate, key, authority,
 * protocol. Reference-counted: connections keep the ones they began with. Any thread may make them; each
 * connection and the counting stay on one.
 */
#pragma once
#include "base/error.h"

typedef struct TlsCredentials TlsCredentials;

typedef struct TlsCredentialsOptions {
    const char *certificate_pem; /* the own one, or a chain from it up */
    const char *key_pem;
    /* The peer must show a certificate that this one signed; checked by TlsSession, not by tunnels. NULL: a
     * peer may show what it likes, or nothing. */
    const char *authority_pem;
    const char *protocol; /* the only one that is spoken, for example "http/1.1" (RFC 7301) */
    const char *priority; /* GnuTLS's; NULL for TLS 1.2 and 1.3 with its defaults */
} TlsCredentialsOptions;

#define TLS_PRIORITY_1_3 "NORMAL:-VERS-ALL:+VERS-TLS1.3"

/* ERROR_INVALID. All options are copied. */
TlsCredentials *tls_credentials_new(const TlsCredentialsOptions *options, Error *err);
TlsCredentials *tls_credentials_ref(TlsCredentials *credentials);
void tls_credentials_unref(TlsCredentials *credentials); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TlsCredentials, tls_credentials_unref)
