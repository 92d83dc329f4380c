/*
 * The agent protocol on one stream: calls with replies, progress, cancel and deadlines; events; keep-alive.
 * Symmetrical: both sides may call. It knows methods by name only and parameters as JSON. All of it lives on
 * the thread of the default GMainContext; no function blocks; callbacks come from the main loop and may free
 * the connection.
 *
 * The initiator says hello first. A side may call and send at once: what it sends goes out behind its hello.
 * When the connection ends, every open call ends exactly once with ERROR_UNREACHABLE: whether it happened is
 * unknown to the caller. What the other side was asked to do goes on there; replying to a connection that is
 * gone is harmless.
 *
 * Messages (docs/agent-protocol.md): hello, call, reply, progress, cancel, event, ping, pong, close, stream.
 */
#pragma once
#include "base/clock.h"
#include "rpc/rpc-stream.h"
#include "rpc/rpc-ticket.h"

typedef struct json_t json_t;
typedef struct RpcConnection RpcConnection;
typedef struct RpcRequest RpcRequest;

typedef enum RpcRole { RPC_INITIATOR, RPC_ACCEPTOR } RpcRole;

#define RPC_MAX_CLAIMS 256
#define RPC_MAX_NAME 256 /* bytes of a method, event, owner, operation, object */

typedef struct RpcClaim {
    const char *object;
    int64_t revision;
} RpcClaim;

/* On whose behalf a call is made. Strings may be NULL where they say nothing. */
typedef struct RpcContext {
    const char *owner; /* the manager that owns the host */
    int64_t epoch;
    const char *operation; /* the operation's id; a call sent twice with the same one is done once */
    const RpcClaim *claims;
    size_t n_claims;
} RpcContext;

/* Serves one call. It owns the request: answers now or later, then lets go (rpc_request_unref). A request
 * that is let go without an answer is answered with ERROR_INTERNAL. `data` is that of the options. */
typedef void (*RpcHandler)(RpcRequest *take_request, void *data);

typedef struct RpcOptions {
    /* What is called back; each may be NULL. */
    RpcHandler (*lookup)(const char *method, void *data); /* NULL result: ERROR_NOT_FOUND */
    void (*on_ready)(RpcConnection *connection, void *data);
    void (*on_event)(RpcConnection *connection, const char *event, const json_t *event_data, void *data);
    /* Once, after all calls have ended; `why` is never unset. Not called by rpc_connection_free. */
    void (*on_closed)(RpcConnection *connection, const Error *why, void *data);
    /* The stream was handed to a ticket's consumer: there is no connection any more; free it. NULL:
     * on_closed. */
    void (*on_stream)(RpcConnection *connection, void *data);
    void *data;

    const char *software;        /* name and version for people, "lodged 0.1.0"; copied */
    const char *const *features; /* NULL-terminated names or NULL; copied */
    int lowest_version, highest_version;
    RpcTickets *tickets; /* acceptor: who may open streams; NULL: nobody. Must outlive the connection */
    const Clock *clock;  /* NULL: clock_system() */

    /* 0 stands for the default. */
    size_t max_queued_bytes; /* 16 MiB; a peer that lets more pile up is disconnected */
    int max_requests;        /* 64 calls of the peer at once; ERROR_BUSY beyond */
    int64_t ping_ms;         /* 10 s without a byte from the peer: ping */
    int64_t silence_ms;      /* 30 s without a byte from the peer: disconnect */
    int64_t hello_ms;        /* 10 s for the peer's hello */
} RpcOptions;

RpcConnection *rpc_connection_new(RpcStream *take_stream, RpcRole role, const RpcOptions *options);
/* Closes; open calls end (their on_reply is called before this returns). Accepts NULL. */
void rpc_connection_free(RpcConnection *connection);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RpcConnection, rpc_connection_free)

bool rpc_connection_is_open(const RpcConnection *connection);  /* not yet closed; perhaps not yet ready */
bool rpc_connection_is_ready(const RpcConnection *connection); /* both hellos are exchanged */
/* Of the peer; only when ready. */
int rpc_connection_version(const RpcConnection *connection); /* the agreed one */
const char *rpc_connection_peer_software(const RpcConnection *connection);
bool rpc_connection_peer_has(const RpcConnection *connection, const char *feature);
/* Borrowed; NULL once closed. Only for asking it who is there (rpc_stream_shown, rpc_stream_binding). */
const RpcStream *rpc_connection_stream(const RpcConnection *connection);
/* ERROR_UNSUPPORTED where the stream knows none, ERROR_UNREACHABLE when closed. */
bool rpc_connection_peer(const RpcConnection *connection, RpcPeer *ret_peer, Error *err);
size_t rpc_connection_queued_bytes(const RpcConnection *connection);
/* Does what is due now: pings, deadlines, disconnecting. Its own timer calls it; tests with a FakeClock do
 * after moving it. */
void rpc_connection_check_time(RpcConnection *connection);

/* ---- caller ---- */

/* Exactly one of `result` (borrowed) and `error` is given. */
typedef void (*RpcReplyFn)(const json_t *result, const Error *error, void *data);
typedef void (*RpcProgressFn)(const json_t *progress, void *data);

/* Always ends in exactly one on_reply, never before this returns. `deadline_ms` from now, 0 for none: then
 * the call ends with ERROR_TIMED_OUT and the peer is told to cancel. `take_parameters` may be NULL for none;
 * `context` may be NULL; on_reply and on_progress may be NULL. Returns the call's id on this connection. */
int64_t rpc_call(RpcConnection *connection, const char *method, json_t *take_parameters,
    const RpcContext *context, int64_t deadline_ms, RpcReplyFn on_reply, RpcProgressFn on_progress,
    void *data);
/* Asks the peer to stop. The call still ends with what the peer then says. No effect on a call that has
 * ended. */
void rpc_cancel(RpcConnection *connection, int64_t id);
/* Tells the peer something; lost when the connection is. ERROR_TOO_LARGE, ERROR_UNREACHABLE. */
bool rpc_event(RpcConnection *connection, const char *event, json_t *take_data, Error *err);

/* ---- server ---- */

RpcRequest *rpc_request_ref(RpcRequest *request);
void rpc_request_unref(RpcRequest *request); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RpcRequest, rpc_request_unref)

const char *rpc_request_method(const RpcRequest *request);
const json_t *rpc_request_parameters(const RpcRequest *request); /* an object; empty when none were given */
const RpcContext *rpc_request_context(const RpcRequest *request);
/* When the caller stops waiting, monotonic time of the connection's clock; INT64_MAX for never. */
int64_t rpc_request_deadline_ns(const RpcRequest *request);
bool rpc_request_is_cancelled(const RpcRequest *request);
/* Called at once when the request is cancelled already; at most once. Cleared by the answer. Losing the
 * connection cancels nothing. */
void rpc_request_on_cancel(RpcRequest *request, void (*on_cancel)(void *data), void *data);
/* NULL once answered or once the connection is gone. */
RpcConnection *rpc_request_connection(const RpcRequest *request);

/* The answer, once; a second one is a programming error. Does not let go of the request. `take_result` may be
 * NULL for an empty object. A result beyond the frame limit is answered with ERROR_TOO_LARGE. */
void rpc_reply(RpcRequest *request, json_t *take_result);
void rpc_fail(RpcRequest *request, const Error *error);
/* While the peer reads slowly only the newest progress of each request is kept. */
void rpc_progress(RpcRequest *request, json_t *take_progress);
