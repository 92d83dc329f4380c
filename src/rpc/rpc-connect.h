/*
 * Connects to agents wherever they are: to a UNIX socket, or to a host by TLS. Names are resolved in threads;
 * nothing blocks. Main loop only.
 */
#pragma once
#include "rpc/rpc-address.h"
#include "rpc/rpc-tls.h"

/* What connections have in common: the threads that resolve names. */
typedef struct RpcConnector RpcConnector;
RpcConnector *rpc_connector_new(void);
void rpc_connector_free(RpcConnector *connector); /* its connectings must be gone; accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RpcConnector, rpc_connector_free)

typedef struct RpcConnectOptions {
    RpcTlsOptions tls;  /* for hosts; `side` is of no account */
    int64_t timeout_ms; /* until the socket is connected; 0: 10 s. Shaking hands is the connection's time */
} RpcConnectOptions;

typedef struct RpcConnecting RpcConnecting;
/* Exactly one of `take_stream` and `err` is given, never before rpc_connect returns. */
typedef void (*RpcConnectedFn)(RpcStream *take_stream, const Error *err, void *data);

/* May be given up with rpc_connecting_free until on_connected is called; afterwards it is gone. Errors:
 * ERROR_UNREACHABLE, ERROR_TIMED_OUT, ERROR_BUSY, ERROR_INVALID (a path that is too long). */
RpcConnecting *rpc_connect(RpcConnector *connector, const RpcAddress *address,
    const RpcConnectOptions *options, RpcConnectedFn on_connected, void *data);
void rpc_connecting_free(RpcConnecting *connecting); /* accepts NULL */
