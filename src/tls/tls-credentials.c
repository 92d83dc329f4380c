/* Credentials through GnuTLS, and the sessions that begin with them. */
#include "tls/tls-credentials.h"
#include <gnutls/x509.h>
#include <stdint.h>
#include <string.h>
#include "tls/tls-internal.h"

/* TLS 1.2 and 1.3 only; otherwise GnuTLS's defaults, which follow the distribution. */
#define DEFAULT_PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

static int fill(TlsCredentials *self, const TlsCredentialsOptions *options) {
    const gnutls_datum_t certificate = tls_text_datum(options->certificate_pem),
                         key = tls_text_datum(options->key_pem);
    int code = gnutls_certificate_allocate_credentials(&self->credentials);
    if (code >= 0)
        code =
            gnutls_certificate_set_x509_key_mem(self->credentials, &certificate, &key, GNUTLS_X509_FMT_PEM);
    if (code >= 0 && options->authority_pem) {
        const gnutls_datum_t authority = tls_text_datum(options->authority_pem);
        self->has_authority = true;
        /* Sessions look at the time themselves: by their clock, and with patience for one that is behind. */
        gnutls_certificate_set_verify_flags(self->credentials, GNUTLS_VERIFY_DISABLE_TIME_CHECKS);
        code = gnutls_certificate_set_x509_trust_mem(self->credentials, &authority, GNUTLS_X509_FMT_PEM);
    }
    if (code >= 0)
        code = gnutls_priority_init(
            &self->priority, options->priority ? options->priority : DEFAULT_PRIORITY, NULL);
    return code;
}

TlsCredentials *tls_credentials_new(const TlsCredentialsOptions *options, Error *err) {
    TlsCredentials *self = g_new0(TlsCredentials, 1);
    self->reference_count = 1;
    self->protocol = g_strdup(options->protocol);
    int code = fill(self, options);
    if (code >= 0)
        return self;
    tls_credentials_unref(self);
    error_set(err, ERROR_INVALID, NULL, "the certificate, the key or the TLS priority is not usable: %s",
        gnutls_strerror(code));
    return NULL;
}

TlsCredentials *tls_credentials_ref(TlsCredentials *credentials) {
    credentials->reference_count++;
    return credentials;
}

void tls_credentials_unref(TlsCredentials *credentials) {
    if (!credentials || --credentials->reference_count > 0)
        return;
    if (credentials->priority)
        gnutls_priority_deinit(credentials->priority);
    if (credentials->credentials)
        gnutls_certificate_free_credentials(credentials->credentials);
    g_free(credentials->protocol);
    g_free(credentials);
}

int tls_session_start(
    const TlsCredentials *credentials, unsigned role, int fd, gnutls_session_t *ret_session) {
    const gnutls_datum_t protocol = tls_text_datum(credentials->protocol);
    int code = gnutls_init(ret_session, role | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
    if (code >= 0)
        code = gnutls_priority_set(*ret_session, credentials->priority);
    if (code >= 0)
        code = gnutls_credentials_set(*ret_session, GNUTLS_CRD_CERTIFICATE, credentials->credentials);
    /* A client that offers other protocols only is refused with the alert of RFC 7301, section 3.2. */
    if (code >= 0)
        code = gnutls_alpn_set_protocols(*ret_session, &protocol, 1, GNUTLS_ALPN_MANDATORY);
    if (code >= 0)
        gnutls_transport_set_int(*ret_session, fd);
    return code;
}
