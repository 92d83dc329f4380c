/*
 * One-time tickets for byte streams (consoles, disk data, migration). The server issues a ticket in the reply
 * to a call; the client opens a new connection whose first frame is {"type":"stream","ticket":"…"}; the
 * server answers
 * {"type":"stream"} and hands the raw stream to the ticket's consumer. A ticket is 256 random bits in
 * hexadecimal, works once, expires, and is compared in constant time. Never log one. Main loop only.
 */
#pragma once
#include "base/clock.h"
#include "rpc/rpc-stream.h"

typedef struct RpcTickets RpcTickets;

#define RPC_TICKET_LENGTH 64 /* characters */

/* Gets the opened stream. */
typedef void (*RpcStreamFn)(RpcStream *take_stream, const char *purpose, const char *object, void *data);

/* At most `max_open` unused tickets at a time. `clock` NULL: clock_system(). */
RpcTickets *rpc_tickets_new(const Clock *clock, int max_open);
void rpc_tickets_free(RpcTickets *tickets); /* unused ones are dropped; accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RpcTickets, rpc_tickets_free)

/* A new ticket for `purpose` ("console") on `object` (an id); both copied. `free_data` (may be NULL) is
 * called for `data` when the ticket was used or dropped. NULL with ERROR_BUSY when too many are open: then
 * `data` stays with the caller. */
char *rpc_ticket_issue(RpcTickets *tickets, const char *purpose, const char *object, int64_t ttl_ms,
    RpcStreamFn consumer, void *data, GDestroyNotify free_data, Error *err);
/* Uses the ticket up and hands the stream over. ERROR_DENIED for one that is unknown, used or expired (the
 * answer does not say which): then the stream stays with the caller. `prepare` (may be NULL) runs after the
 * check and before the hand-over; when it fails the ticket is used up all the same. */
bool rpc_ticket_redeem(RpcTickets *tickets, const char *ticket, RpcStream *take_stream,
    bool (*prepare)(RpcStream *stream, Error *err), Error *err);
/* Drops what has expired; runs by itself once a second. */
void rpc_tickets_expire(RpcTickets *tickets);

/* Client: presents the ticket on a fresh stream and waits at most `timeout_ms` for the answer. Exactly one of
 * `take_stream` and `error` is given, never before this returns. The returned opening may be abandoned with
 * rpc_stream_opening_free until then; afterwards it is gone. */
typedef struct RpcStreamOpening RpcStreamOpening;
typedef void (*RpcOpenedFn)(RpcStream *take_stream, const Error *error, void *data);
RpcStreamOpening *rpc_stream_open(
    RpcStream *take_stream, const char *ticket, int64_t timeout_ms, RpcOpenedFn on_opened, void *data);
void rpc_stream_opening_free(RpcStreamOpening *opening); /* accepts NULL */
