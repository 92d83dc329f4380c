/* Inside of src/tls: what tunnels and sessions share. */
#pragma once
#include <gnutls/gnutls.h>
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
