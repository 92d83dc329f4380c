/*
 * TLS in front of something that speaks over a plain socket. A tunnel owns the client's socket and one end of
 * a socket pair; the other end, the plain one, belongs to the caller. It shakes hands, then carries bytes
 * both ways: what one side does not take is not read from the other. A half that ends on one side ends on the
 * other.
 *
 * All tunnels of a set share one epoll descriptor and one source of the default GMainContext; its thread
 * calls everything here. A tunnel knows no deadlines: the caller frees one that takes too long.
 */
#pragma once
#include "base/error.h"

/* Certificate, key and rules of a listener. Reference-counted: connections keep the one they began with. */
typedef struct HttpTlsIdentity HttpTlsIdentity;
/* `priority` is GnuTLS's, NULL for TLS 1.2 and 1.3 with its defaults. ERROR_INVALID. */
HttpTlsIdentity *http_tls_identity_new(
    const char *certificate_pem, const char *key_pem, const char *priority, Error *err);
HttpTlsIdentity *http_tls_identity_ref(HttpTlsIdentity *identity);
void http_tls_identity_unref(HttpTlsIdentity *identity); /* accepts NULL */

typedef struct HttpTlsSet HttpTlsSet;
/* `on_given` is called after a turn that gave bytes to plain sides: who answers them inside it saves a turn
 * of the main loop. */
HttpTlsSet *http_tls_set_new(void (*on_given)(void *data), void *data);
void http_tls_set_free(HttpTlsSet *set); /* its tunnels must be gone */

typedef struct HttpTlsTunnel HttpTlsTunnel;
/* `on_end` is called once, from the main loop, when both sides are done or the client broke off; the tunnel
 * is freed after it. ERROR_IO without descriptors; the client's socket is closed then. */
HttpTlsTunnel *http_tls_tunnel_new(HttpTlsSet *set, HttpTlsIdentity *identity, int take_fd,
    void (*on_end)(void *data), void *data, int *ret_plain_fd, Error *err);
/* Breaks both sides at once, without on_end. Accepts NULL. */
void http_tls_tunnel_free(HttpTlsTunnel *tunnel);
/* When the plain side has ended and everything is sent, read on until the client closes: closing before would
 * reset the connection and could destroy what was just sent. */
void http_tls_tunnel_linger(HttpTlsTunnel *tunnel);
