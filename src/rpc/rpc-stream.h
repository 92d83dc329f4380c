/*
 * A non-blocking byte stream: what the agent protocol runs on. The kinds are const structs of function
 * pointers: UNIX sockets and other descriptors, TLS (rpc-tls.h). One owner, on the thread of the default
 * GMainContext. All streams of a process share one epoll descriptor (rpc-loop.h): those that are not ready
 * cost its main loop nothing.
 */
#pragma once
#include <stddef.h>
#include <sys/types.h>
#include "base/error.h"

typedef struct RpcStream RpcStream;

typedef enum RpcIo {
    RPC_IO_DONE,   /* at least one byte moved */
    RPC_IO_AGAIN,  /* nothing now; wait with rpc_stream_watch */
    RPC_IO_END,    /* read only: the peer sends no more */
    RPC_IO_FAILED, /* *err is set; only freeing is left */
} RpcIo;

/* Who is on the other end of a UNIX socket, as the kernel saw it at connect. */
typedef struct RpcPeer {
    uid_t uid;
    gid_t gid;
    pid_t pid;
} RpcPeer;

typedef struct RpcStreamOps {
    const char *name;
    RpcIo (*read)(void *state, void *buffer, size_t size, size_t *ret_length, Error *err);
    RpcIo (*write)(void *state, const void *data, size_t length, size_t *ret_length, Error *err);
    void (*shut_write)(void *state);
    int (*fd)(const void *state); /* what to poll */
    /* May be NULL. What to poll for when `wanted` is wanted (a TLS handshake may have to write before it can
     * read). */
    GIOCondition (*blocked_on)(const void *state, GIOCondition wanted);
    bool (*has_buffered)(const void *state); /* may be NULL: bytes that poll cannot see */
    bool (*peer)(const void *state, RpcPeer *ret_peer, Error *err); /* may be NULL */
    void (*free)(void *state);                                      /* closes too */
} RpcStreamOps;

/* For implementations: wraps `take_state`, and gives it back, or NULL for a stream of another kind. */
RpcStream *rpc_stream_new(const RpcStreamOps *ops, void *take_state);
void *rpc_stream_state(const RpcStream *stream, const RpcStreamOps *ops);
/* A socket, pipe or terminal; made non-blocking, closed with the stream. A pipe or terminal has no
 * half-close. */
RpcStream *rpc_stream_new_fd(int take_fd);
/* Connects to a UNIX socket. ERROR_UNREACHABLE when nobody listens, ERROR_BUSY when its queue is full. */
RpcStream *rpc_stream_connect_unix(const char *path, Error *err);
/* Connects to an address of this machine's own (127.0.0.0/8) without waiting: that nobody listens there may
 * be told by the first read only. ERROR_DENIED for any other, ERROR_UNREACHABLE. */
RpcStream *rpc_stream_connect_own(const char *address, Error *err);
/* Two connected ends. */
bool rpc_stream_pair(RpcStream **ret_a, RpcStream **ret_b, Error *err);
void rpc_stream_free(RpcStream *stream); /* closes; accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RpcStream, rpc_stream_free)

RpcIo rpc_stream_read(RpcStream *stream, void *buffer, size_t size, size_t *ret_length, Error *err);
RpcIo rpc_stream_write(RpcStream *stream, const void *data, size_t length, size_t *ret_length, Error *err);
/* Tells the peer that nothing more will be written; reading goes on. */
void rpc_stream_shut_write(RpcStream *stream);
/* Puts bytes back: the next reads return them first. For who read further than it should. */
void rpc_stream_unread(RpcStream *stream, const void *data, size_t length);
/* ERROR_UNSUPPORTED where the kind knows no credentials. */
bool rpc_stream_peer(const RpcStream *stream, RpcPeer *ret_peer, Error *err);

/* `ready` is some of the wanted conditions: worth trying, though RPC_IO_AGAIN may be the answer. The callback
 * may free any stream, this one too. */
typedef void (*RpcReadyFn)(GIOCondition ready, void *data);
/* From now on calls `on_ready` from the main loop whenever one of `wanted` (G_IO_IN, G_IO_OUT) is possible,
 * and for G_IO_HUP when the peer is gone in both directions. Replaces the watch before; 0 stops it. */
void rpc_stream_watch(RpcStream *stream, GIOCondition wanted, RpcReadyFn on_ready, void *data);
/* Called once when the stream is freed, whoever owns it then. */
void rpc_stream_on_free(RpcStream *stream, void (*on_free)(void *data), void *data);
