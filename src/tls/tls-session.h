/*
 * One side of a TLS connection on a non-blocking socket: the handshake, who the other side is, bytes both
 * ways. The handshake goes on with each read and write; nothing is read or written before `check` agreed to
 * the other side. One thread at a time.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/clock.h"
#include "tls/tls-credentials.h"

typedef struct TlsSession TlsSession;

typedef enum TlsSide { TLS_SIDE_CLIENT, TLS_SIDE_SERVER } TlsSide;

typedef enum TlsIo {
    TLS_IO_DONE,   /* at least one byte moved */
    TLS_IO_AGAIN,  /* wait for the socket: tls_session_waits_to_write says for what */
    TLS_IO_END,    /* read only: the other side said that it sends no more */
    TLS_IO_FAILED, /* *err is set; only freeing is left */
} TlsIo;

enum { TLS_BINDING_BYTES = 32, TLS_MOST_NAMES = 8 };

/* Borrowed by `check`. */
typedef struct TlsShown {
    const char *certificate_pem;       /* NULL: it shows none */
    const char *key_fingerprint;       /* "sha256:…" over its public key; NULL: it shows no certificate */
    const char *names[TLS_MOST_NAMES]; /* URIs of its certificate (RFC 5280, 4.2.1.6), NULL-terminated */
    /* The authority of our credentials signed it for this role, and it is valid now. Otherwise `flaw` says
     * why not, for people. */
    bool is_trusted;
    const char *flaw;
} TlsShown;
/* What stands behind `prefix` ("lodge:host:") in the first name that begins with it, borrowed; NULL: in none.
 */
const char *tls_shown_name(const TlsShown *shown, const char *prefix);
/* What counts when nobody else decides; ERROR_DENIED with the flaw. */
bool tls_shown_is_trusted(const TlsShown *shown, Error *err);

typedef struct TlsSessionOptions {
    TlsCredentials *credentials; /* a reference is taken */
    TlsSide side;
    const Clock *clock; /* NULL: clock_system() */
    /* Whether to speak with that one; false with the error. NULL: with who is trusted. */
    bool (*check)(const TlsShown *shown, void *data, Error *err);
    void *data;
} TlsSessionOptions;

/* ERROR_INTERNAL without memory; the socket is closed then. */
TlsSession *tls_session_new(const TlsSessionOptions *options, int take_fd, Error *err);
void tls_session_free(TlsSession *session); /* closes the socket; accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TlsSession, tls_session_free)

/* Errors: ERROR_UNREACHABLE (broke off), ERROR_DENIED (one side does not want the other), ERROR_PROTOCOL (no
 * TLS, or nothing in common). An end without the other side's farewell is ERROR_UNREACHABLE. */
TlsIo tls_session_read(TlsSession *session, void *buffer, size_t size, size_t *ret_length, Error *err);
/* After TLS_IO_AGAIN the next call must offer the same bytes first: a part of them may be on its way. */
TlsIo tls_session_write(
    TlsSession *session, const void *bytes, size_t length, size_t *ret_length, Error *err);
/* Says that nothing more will be written; reading goes on. Best effort. */
void tls_session_shut_write(TlsSession *session);

int tls_session_fd(const TlsSession *session);
/* What was asked for last can go on when the socket is writable, although it may have been a read. */
bool tls_session_waits_to_write(const TlsSession *session);
bool tls_session_is_ready(const TlsSession *session); /* the handshake is done and `check` agreed */
/* Bytes that poll cannot see. */
bool tls_session_has_buffered(const TlsSession *session);
/* What only the two ends of this very connection know (RFC 9266, tls-exporter): who stands between them has
 * two different ones. Only when ready. */
bool tls_session_binding(const TlsSession *session, uint8_t ret_binding[TLS_BINDING_BYTES], Error *err);
