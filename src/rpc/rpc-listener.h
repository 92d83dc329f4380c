/*
 * Listens on a UNIX socket, and hands over connected streams whose peer was found welcome by its credentials
 * before a byte was read; or on an address, and hands over TLS streams that have yet to shake hands: at most
 * 256 at once and 64 a second from each address (rpc-knocks.h); or on an address of this machine's own
 * (127.0.0.0/8), and hands over streams as they are, whoever connected. Main loop only.
 */
#pragma once
#include "rpc/rpc-address.h"
#include "rpc/rpc-tls.h"

typedef struct RpcListener RpcListener;

typedef struct RpcListenerOptions {
    const char *path;    /* of a UNIX socket: at most 91 bytes; its folder must exist. NULL: an address */
    mode_t mode;         /* of the socket, for example 0660 */
    gid_t gid;           /* its group; (gid_t)-1: leave it */
    int max_connections; /* streams of this listener open at once; further ones are closed at once. 0: 64 */
    /* Whether that peer of a UNIX socket may speak. NULL: everyone whom the socket's mode lets in. */
    bool (*is_welcome)(const RpcPeer *peer, void *data);
    const RpcAddress *address; /* instead of a path: numeric; `::` takes IPv4 too */
    RpcTlsOptions tls;         /* with an address; `side` is of no account */
    bool is_bare;              /* with an address of this machine's own: no TLS */
    /* `peer` is NULL for TLS: rpc_stream_shown says later who it is. */
    void (*on_stream)(RpcStream *take_stream, const RpcPeer *peer, void *data);
    void *data;
} RpcListenerOptions;

/* A socket that is left over from a process that died is replaced; one that answers is ERROR_IN_USE, what is
 * no socket is ERROR_EXISTS. Two processes that start at the same moment need a lock of their own: the last
 * one gets the path. */
RpcListener *rpc_listener_new(const RpcListenerOptions *options, Error *err);
/* Stops listening and removes the socket if it is still ours; streams that were handed over live on. Accepts
 * NULL. */
void rpc_listener_free(RpcListener *listener);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RpcListener, rpc_listener_free)

/* For connections from now on; of an address. */
void rpc_listener_set_credentials(RpcListener *listener, TlsCredentials *credentials);
/* Of an address; the one that the kernel chose where the address says 0. */
uint16_t rpc_listener_port(const RpcListener *listener);
int rpc_listener_connections(const RpcListener *listener);
/* Peers turned away since the start: not welcome, too many, or too often. */
int rpc_listener_refused(const RpcListener *listener);
