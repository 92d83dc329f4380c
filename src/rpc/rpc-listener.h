/*
 * Listens on a UNIX socket and hands over connected streams whose peer was found welcome by its credentials
 * before a byte was read. Main loop only.
 */
#pragma once
#include "rpc/rpc-stream.h"

typedef struct RpcListener RpcListener;

typedef struct RpcListenerOptions {
    const char *path;    /* at most 91 bytes; its folder must exist */
    mode_t mode;         /* of the socket, for example 0660 */
    gid_t gid;           /* its group; (gid_t)-1: leave it */
    int max_connections; /* streams of this listener open at once; further ones are closed at once. 0: 64 */
    /* Whether that peer may speak. NULL: everyone whom the socket's mode lets in. */
    bool (*is_welcome)(const RpcPeer *peer, void *data);
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

int rpc_listener_connections(const RpcListener *listener);
/* Peers turned away since the start: not welcome, or too many. */
int rpc_listener_refused(const RpcListener *listener);
