/*
 * What rpc-connection.c (transport), rpc-call.c (caller) and rpc-request.c (server) share. Nobody else
 * includes it.
 */
#pragma once
#include <jansson.h>
#include "base/timers.h"
#include "rpc/rpc-connection.h"
#include "rpc/rpc-frame.h"

typedef enum RpcState { RPC_GREETING, RPC_READY, RPC_CLOSED } RpcState;

struct RpcConnection {
    int references; /* the owner's, and one for each callback that runs */
    RpcRole role;
    RpcState state;
    RpcOptions options; /* defaults filled in; strings replaced by the copies below */
    char *software;
    char **features;
    RpcStream *stream; /* NULL once closed */
    RpcFrameReader *reader;

    /* Output: bytes before `written` are gone. Nothing is written before `may_write`. */
    GByteArray *output;
    size_t written;
    bool may_write;
    GQueue slow_progress; /* RpcRequest: their newest progress waits for the queue to drain */
    Error doom;           /* set: `doom_source` will close the connection with it */
    GSource *doom_source;

    /* Time, monotonic nanoseconds of options.clock. */
    int64_t opened_ns, received_ns, pinged_ns;
    Timer *timer; /* NULL once closed */
    int64_t timer_due_ns;

    GHashTable *calls; /* id -> RpcCall */
    int64_t next_id;
    int64_t next_deadline_ns; /* no call's deadline lies before */
    GHashTable *requests;     /* id -> RpcRequest, not owned: an unanswered request takes itself out */

    int version; /* agreed */
    char *peer_software;
    json_t *peer_features; /* array of strings */
};

/* ---- rpc-connection.c ---- */

int64_t rpc_connection_now_ns(const RpcConnection *connection);
/* Queues a message. False with ERROR_TOO_LARGE; on a closed connection it is dropped, which is no error. */
bool rpc_connection_send(RpcConnection *connection, json_t *take_message, Error *err);
/* Closes later from the main loop, so that no callback comes inside the function that found the reason. */
void rpc_connection_doom(RpcConnection *connection, Error *take_reason);
/* Makes the timer fire no later than that. */
void rpc_connection_arm(RpcConnection *connection, int64_t due_ns);
bool rpc_connection_is_congested(const RpcConnection *connection);

/* ---- rpc-call.c ---- */

GHashTable *rpc_calls_new(void);
bool rpc_calls_handle_reply(RpcConnection *connection, const json_t *message, Error *err);
bool rpc_calls_handle_progress(RpcConnection *connection, const json_t *message, Error *err);
void rpc_calls_check_deadlines(RpcConnection *connection);
/* Ends all open calls with ERROR_UNREACHABLE because of `why`. */
void rpc_calls_end_all(RpcConnection *connection, const Error *why);

/* ---- rpc-request.c ---- */

GHashTable *rpc_requests_new(void);
bool rpc_requests_handle_call(RpcConnection *connection, json_t *message, Error *err);
bool rpc_requests_handle_cancel(RpcConnection *connection, const json_t *message, Error *err);
/* Sends the progress that was held back. */
void rpc_requests_flush_progress(RpcConnection *connection);
void rpc_requests_detach_all(RpcConnection *connection);

/* A non-empty string of at most RPC_MAX_NAME bytes, or NULL. */
static inline const char *rpc_name_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    size_t length = json_string_length(value);
    return length > 0 && length <= RPC_MAX_NAME ? json_string_value(value) : NULL;
}
/* The message's call id; false with ERROR_PROTOCOL. */
static inline bool rpc_id_of(const json_t *message, int64_t *ret_id, Error *err) {
    const json_t *value = json_object_get(message, "id");
    if (!json_is_integer(value) || json_integer_value(value) < 1)
        return error_set(err, ERROR_PROTOCOL, NULL, "a message has no valid call id");
    *ret_id = json_integer_value(value);
    return true;
}
