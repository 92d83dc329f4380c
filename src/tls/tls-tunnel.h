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
#include "tls/tls-credentials.h"

typedef struct TlsTunnels TlsTunnels;
/* `on_given` is called after a turn that gave bytes to plain sides: who answers them inside it saves a turn
 * of the main loop. */
TlsTunnels *tls_tunnels_new(void (*on_given)(void *data), void *data);
void tls_tunnels_free(TlsTunnels *set); /* its tunnels must be gone */

typedef struct TlsTunnel TlsTunnel;
/* `on_end` is called once, from the main loop, when both sides are done or the client broke off; the tunnel
 * is freed after it. ERROR_IO without descriptors; the client's socket is closed then. */
TlsTunnel *tls_tunnel_new(TlsTunnels *set, TlsCredentials *credentials, int take_fd,
    void (*on_end)(void *data), void *data, int *ret_plain_fd, Error *err);
/* Breaks both sides at once, without on_end. Accepts NULL. */
void tls_tunnel_free(TlsTunnel *tunnel);
/* When the plain side has ended and everything is sent, read on until the client closes: closing before would
 * reset the connection and could destroy what was just sent. */
void tls_tunnel_linger(TlsTunnel *tunnel);
