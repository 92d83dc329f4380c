/*
 * Streams through TLS between machines: the kind of RpcStream that shakes hands by itself with the first
 * bytes that are read or written. Main loop only.
 */
#pragma once
#include "rpc/rpc-stream.h"
#include "tls/tls-session.h"

#define RPC_TLS_PROTOCOL "lodge-agent/1" /* RFC 7301 */

typedef struct RpcTlsOptions {
    TlsCredentials *credentials; /* a reference is taken */
    TlsSide side;
    const Clock *clock; /* NULL: clock_system() */
    /* Whether to speak with that one; false with the error. NULL: with who is trusted. Called at most once,
     * inside of a read or write; `data` must outlive the stream. */
    bool (*check)(const TlsShown *shown, void *data, Error *err);
    void *data;
} RpcTlsOptions;

/* On a connected socket. ERROR_INTERNAL; the socket is closed then. */
RpcStream *rpc_stream_new_tls(const RpcTlsOptions *options, int take_fd, Error *err);

/* What the other side showed; NULL for streams of other kinds, and until hands are shaken. Lives as long as
 * the stream. */
const TlsShown *rpc_stream_shown(const RpcStream *stream);
/* tls_session_binding; ERROR_UNSUPPORTED for streams of other kinds, and until hands are shaken. */
bool rpc_stream_binding(const RpcStream *stream, uint8_t ret_binding[TLS_BINDING_BYTES], Error *err);
