/* Sessions through GnuTLS, in the order of their life: handshake, check, bytes, farewell. */
#include "tls/tls-session.h"
#include <string.h>
#include <sys/socket.h>
#include "base/file.h"
#include "tls/tls-internal.h"

/* A clock may be behind that of the machine that signed. */
static const int64_t CLOCK_TOLERANCE_S = 86400;
#define BINDING_LABEL "EXPORTER-Channel-Binding" /* RFC 9266, section 4.2 */

struct TlsSession {
    TlsSessionOptions options;
    gnutls_session_t session;
    int fd;
    bool is_ready;
    bool waits_to_write;
    bool is_record_held; /* GnuTLS holds one that the socket did not take whole */
    bool may_hold_bytes; /* that came and were not read: it was not asked in vain since */
};

/* ---- 1. the handshake ---- */

TlsSession *tls_session_new(const TlsSessionOptions *options, int take_fd, Error *err) {
    TlsSession *self = g_new0(TlsSession, 1);
    self->options = *options;
    self->fd = take_fd;
    self->waits_to_write = options->side == TLS_SIDE_CLIENT; /* it begins */
    tls_credentials_ref(options->credentials);
    if (!self->options.clock)
        self->options.clock = clock_system();
    int code = tls_session_start(options->credentials,
        options->side == TLS_SIDE_SERVER ? GNUTLS_SERVER : GNUTLS_CLIENT, take_fd, &self->session);
    if (code >= 0) {
        /* What is shown is checked when the hands are shaken, and what is not shown too. */
        if (options->side == TLS_SIDE_SERVER) {
            gnutls_certificate_server_set_request(self->session, GNUTLS_CERT_REQUEST);
            /* Without the authority's name in the request even a stranger shows what it has. */
            gnutls_certificate_send_x509_rdn_sequence(self->session, 1);
        }
        return self;
    }
    tls_session_free(self);
    error_set(err, ERROR_INTERNAL, NULL, "a TLS session cannot begin: %s", gnutls_strerror(code));
    return NULL;
}

void tls_session_free(TlsSession *session) {
    if (!session)
        return;
    if (session->session)
        gnutls_deinit(session->session);
    tls_credentials_unref(session->options.credentials);
    fd_close(&session->fd);
    g_free(session);
}

static bool is_refusal(gnutls_alert_description_t alert) {
    switch (alert) {
    case GNUTLS_A_ACCESS_DENIED:
    case GNUTLS_A_BAD_CERTIFICATE:
    case GNUTLS_A_UNKNOWN_CA:
    case GNUTLS_A_CERTIFICATE_EXPIRED:
    case GNUTLS_A_CERTIFICATE_UNKNOWN:
    case GNUTLS_A_CERTIFICATE_REVOKED:
    case GNUTLS_A_CERTIFICATE_REQUIRED:
        return true;
    default:
        return false;
    }
}

static TlsIo fail(TlsSession *self, int code, Error *err) {
    gnutls_alert_description_t alert =
        code == GNUTLS_E_FATAL_ALERT_RECEIVED ? gnutls_alert_get(self->session) : GNUTLS_A_CLOSE_NOTIFY;
    if (is_refusal(alert))
        error_set(
            err, ERROR_DENIED, NULL, "the other side refuses this one: %s", gnutls_alert_get_name(alert));
    else if (code == GNUTLS_E_PULL_ERROR || code == GNUTLS_E_PUSH_ERROR ||
             code == GNUTLS_E_PREMATURE_TERMINATION)
        error_set(err, ERROR_UNREACHABLE, NULL, "the connection broke off");
    else if (code == GNUTLS_E_FATAL_ALERT_RECEIVED)
        error_set(err, ERROR_PROTOCOL, NULL, "the other side ended TLS: %s", gnutls_alert_get_name(alert));
    else
        error_set(err, ERROR_PROTOCOL, NULL, "TLS: %s", gnutls_strerror(code));
    return TLS_IO_FAILED;
}

static TlsIo wait_for_socket(TlsSession *self) {
    self->waits_to_write = gnutls_record_get_direction(self->session) == 1;
    return TLS_IO_AGAIN;
}

/* ---- 2. who the other side is ---- */

typedef struct Shown {
    TlsShown shown;
    char *fingerprint;
    char names[TLS_MOST_NAMES - 1][TLS_NAME_BYTES];
    gnutls_datum_t pem;
    char *flaw;
} Shown;

static void free_certificate(gnutls_x509_crt_t *certificate) {
    if (*certificate)
        gnutls_x509_crt_deinit(*certificate);
}

static char *find_flaw(TlsSession *self, gnutls_x509_crt_t certificate) {
    const char *purpose =
        self->options.side == TLS_SIDE_SERVER ? GNUTLS_KP_TLS_WWW_CLIENT : GNUTLS_KP_TLS_WWW_SERVER;
    gnutls_typed_vdata_st wanted = {
        .type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (unsigned char *)(uintptr_t)purpose};
    unsigned status = 0;
    if (!self->options.credentials->has_authority)
        return g_strdup("there is no authority to ask");
    if (gnutls_certificate_verify_peers(self->session, &wanted, 1, &status) < 0)
        return g_strdup("its certificate cannot be checked");
    if (status != 0)
        return g_strdup("another authority signed its certificate, or for another role");
    int64_t now = clock_realtime_ns(self->options.clock) / NS_PER_S;
    if (now > gnutls_x509_crt_get_expiration_time(certificate))
        return g_strdup("its certificate has expired");
    if (now + CLOCK_TOLERANCE_S < gnutls_x509_crt_get_activation_time(certificate))
        return g_strdup("its certificate is not valid yet: is the clock right?");
    return NULL;
}

static void read_certificate(TlsSession *self, Shown *shown) {
    unsigned n = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(self->session, &n);
    __attribute__((cleanup(free_certificate))) gnutls_x509_crt_t certificate = NULL;
    if (!chain || n == 0 || gnutls_x509_crt_init(&certificate) < 0 ||
        gnutls_x509_crt_import(certificate, &chain[0], GNUTLS_X509_FMT_DER) < 0 ||
        gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &shown->pem) < 0 ||
        !(shown->fingerprint = tls_key_text(certificate))) {
        shown->flaw = g_strdup("it shows no certificate");
        return;
    }
    shown->shown.certificate_pem = (const char *)shown->pem.data;
    shown->shown.key_fingerprint = shown->fingerprint;
    size_t n_names = tls_names_of(certificate, shown->names, G_N_ELEMENTS(shown->names));
    for (size_t i = 0; i < n_names; i++)
        shown->shown.names[i] = shown->names[i];
    shown->flaw = find_flaw(self, certificate);
}

const char *tls_shown_name(const TlsShown *shown, const char *prefix) {
    for (size_t i = 0; i < TLS_MOST_NAMES && shown->names[i]; i++)
        if (g_str_has_prefix(shown->names[i], prefix))
            return shown->names[i] + strlen(prefix);
    return NULL;
}

bool tls_shown_is_trusted(const TlsShown *shown, Error *err) {
    return shown->is_trusted ||
           error_set(err, ERROR_DENIED, NULL, "the other side is not trusted: %s", shown->flaw);
}

static bool check(TlsSession *self, Error *err) {
    Shown shown = {0};
    read_certificate(self, &shown);
    shown.shown.is_trusted = !shown.flaw;
    shown.shown.flaw = shown.flaw;
    bool is_welcome;
    if (self->options.check)
        is_welcome = self->options.check(&shown.shown, self->options.data, err);
    else
        is_welcome = tls_shown_is_trusted(&shown.shown, err);
    g_free(shown.flaw);
    g_free(shown.fingerprint);
    gnutls_free(shown.pem.data);
    return is_welcome;
}

/* TLS_IO_DONE: go on. */
static TlsIo get_ready(TlsSession *self, Error *err) {
    if (self->is_ready)
        return TLS_IO_DONE;
    int code;
    do
        code = gnutls_handshake(self->session);
    while (code < 0 && code != GNUTLS_E_AGAIN && !gnutls_error_is_fatal(code));
    if (code == GNUTLS_E_AGAIN)
        return wait_for_socket(self);
    if (code < 0) {
        gnutls_alert_send_appropriate(self->session, code);
        return fail(self, code, err);
    }
    if (!check(self, err)) {
        gnutls_alert_send(self->session, GNUTLS_AL_FATAL, GNUTLS_A_ACCESS_DENIED);
        return TLS_IO_FAILED;
    }
    self->is_ready = self->may_hold_bytes = true;
    return TLS_IO_DONE;
}

/* ---- 3. bytes ---- */

TlsIo tls_session_read(TlsSession *session, void *buffer, size_t size, size_t *ret_length, Error *err) {
    TlsIo state = get_ready(session, err);
    if (state != TLS_IO_DONE)
        return state;
    session->waits_to_write = false;
    ssize_t n;
    do
        n = gnutls_record_recv(session->session, buffer, size);
    while (n == GNUTLS_E_INTERRUPTED || n == GNUTLS_E_WARNING_ALERT_RECEIVED || n == GNUTLS_E_REHANDSHAKE);
    session->may_hold_bytes = n != GNUTLS_E_AGAIN;
    if (n == GNUTLS_E_AGAIN)
        return wait_for_socket(session);
    if (n < 0)
        return fail(session, (int)n, err);
    *ret_length = (size_t)n;
    return n == 0 ? TLS_IO_END : TLS_IO_DONE;
}

TlsIo tls_session_write(
    TlsSession *session, const void *bytes, size_t length, size_t *ret_length, Error *err) {
    TlsIo state = get_ready(session, err);
    if (state != TLS_IO_DONE)
        return state;
    size_t part = MIN(length, gnutls_record_get_max_size(session->session));
    ssize_t n = session->is_record_held ? gnutls_record_send(session->session, NULL, 0)
                                        : gnutls_record_send(session->session, bytes, part);
    session->is_record_held = n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED;
    if (session->is_record_held)
        return TLS_IO_AGAIN;
    if (n < 0)
        return fail(session, (int)n, err);
    *ret_length = (size_t)n;
    return TLS_IO_DONE;
}

/* ---- 4. the rest ---- */

void tls_session_shut_write(TlsSession *session) {
    if (!session->is_ready || session->is_record_held)
        return;
    gnutls_bye(session->session, GNUTLS_SHUT_WR);
    shutdown(session->fd, SHUT_WR);
}

int tls_session_fd(const TlsSession *session) {
    return session->fd;
}

bool tls_session_waits_to_write(const TlsSession *session) {
    return session->waits_to_write;
}

bool tls_session_is_ready(const TlsSession *session) {
    return session->is_ready;
}

bool tls_session_has_buffered(const TlsSession *session) {
    return session->may_hold_bytes && session->is_ready && gnutls_record_check_pending(session->session) > 0;
}

bool tls_session_binding(const TlsSession *session, uint8_t ret_binding[TLS_BINDING_BYTES], Error *err) {
    g_assert(session->is_ready);
    int code = gnutls_prf_rfc5705(session->session, strlen(BINDING_LABEL), BINDING_LABEL, 0, "",
        TLS_BINDING_BYTES, (char *)ret_binding);
    return code >= 0 || error_set(err, ERROR_INTERNAL, NULL, "no channel binding: %s", gnutls_strerror(code));
}
