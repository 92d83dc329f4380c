/* The authority that a server shows, through GnuTLS without verification. */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include "base/file.h"
#include "tls/tls-peer.h"

typedef struct gnutls_session_int TlsSession;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TlsSession, gnutls_deinit)
typedef struct gnutls_certificate_credentials_st Credentials;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Credentials, gnutls_certificate_free_credentials)
typedef struct gnutls_x509_crt_int Certificate;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Certificate, gnutls_x509_crt_deinit)

static int connect_to(const char *host, uint16_t port, int64_t timeout_ms, Error *err) {
    char service[8];
    g_snprintf(service, sizeof service, "%u", port);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    const struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    struct addrinfo *addresses = NULL;
    int code = getaddrinfo(host, service, &hints, &addresses), fd = -1;
    if (code != 0) {
        error_set(err, ERROR_UNREACHABLE, NULL, "%s: %s", host, gai_strerror(code));
        return -1;
    }
    for (const struct addrinfo *address = addresses; address && fd < 0; address = address->ai_next) {
        fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        if (connect(fd, address->ai_addr, address->ai_addrlen) < 0)
            fd_close(&fd);
    }
    int reason = errno;
    freeaddrinfo(addresses);
    if (fd < 0)
        error_set(err, ERROR_UNREACHABLE, NULL, "%s port %u: %s", host, port, g_strerror(reason));
    return fd;
}

static bool last_as_pem(gnutls_session_t session, char **ret_pem, Error *err) {
    unsigned n = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &n);
    g_autoptr(Certificate) certificate = NULL;
    gnutls_datum_t pem = {0};
    if (n == 0 || gnutls_x509_crt_init(&certificate) < 0 ||
        gnutls_x509_crt_import(certificate, &chain[n - 1], GNUTLS_X509_FMT_DER) < 0)
        return error_set(err, ERROR_PROTOCOL, NULL, "the server shows no certificate");
    if (gnutls_x509_crt_get_ca_status(certificate, NULL) <= 0)
        return error_set(err, ERROR_NOT_FOUND, NULL, "the server does not show its authority's certificate");
    if (gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &pem) < 0)
        return error_set(err, ERROR_PROTOCOL, NULL, "the server's certificate cannot be read");
    *ret_pem = g_strndup((const char *)pem.data, pem.size);
    gnutls_free(pem.data);
    return true;
}

bool tls_peer_authority(const char *host, uint16_t port, int64_t timeout_ms, char **ret_pem, Error *err) {
    fd_auto int fd = connect_to(host, port, timeout_ms, err);
    g_autoptr(Credentials) credentials = NULL;
    g_autoptr(TlsSession) session = NULL;
    if (fd < 0)
        return false;
    int code = gnutls_certificate_allocate_credentials(&credentials);
    if (code == 0)
        code = gnutls_init(&session, GNUTLS_CLIENT);
    if (code == 0)
        code = gnutls_set_default_priority(session);
    if (code == 0)
        code = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
    if (code == 0) {
        gnutls_transport_set_int(session, fd);
        gnutls_handshake_set_timeout(session, (unsigned)timeout_ms);
        do
            code = gnutls_handshake(session);
        while (code < 0 && code != GNUTLS_E_AGAIN && !gnutls_error_is_fatal(code));
    }
    if (code < 0)
        return error_set(err,
            code == GNUTLS_E_TIMEDOUT || code == GNUTLS_E_AGAIN ? ERROR_TIMED_OUT : ERROR_PROTOCOL, NULL,
            "%s port %u: %s", host, port, gnutls_strerror(code));
    return last_as_pem(session, ret_pem, err);
}
