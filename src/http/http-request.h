/*
 * One HTTP request on the server, from its headers to its answer. Reference-counted; the main loop's thread
 * only.
 *
 * The server holds a reference while the connection works on it. A handler that answers later keeps its own
 * (http_request_ref). When the client goes away first, on_gone is called once and every answer becomes
 * harmless. "Gone" includes a client that closes only its sending half.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/error.h"
#include "http/http-target.h"
#include "http/http-websocket.h"

typedef struct HttpRequest HttpRequest;

typedef struct HttpPeer {
    bool is_unix;
    uid_t uid; /* of a UNIX socket, by the kernel's word; else (uid_t)-1 */
    gid_t gid;
    pid_t pid;        /* when it connected; may be gone or reused: for the log only */
    char address[64]; /* numeric, of a TLS connection; else "" */
    uint16_t port;
} HttpPeer;

typedef struct HttpHeader {
    const char *name, *value;
} HttpHeader;

HttpRequest *http_request_ref(HttpRequest *request);
void http_request_unref(HttpRequest *request); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HttpRequest, http_request_unref)

/* What was asked. The strings live as long as the request. */
const char *http_request_method(const HttpRequest *request);
/* NULL only inside on_refused, when the path was refused. */
const HttpTarget *http_request_target(const HttpRequest *request);
const char *http_request_header(
    const HttpRequest *request, const char *name); /* the first one, any case; or NULL */
const HttpPeer *http_request_peer(const HttpRequest *request);
/* The announced length, or -1 for a chunked body. */
int64_t http_request_content_length(const HttpRequest *request);
/* The body that was kept in memory, followed by a NUL that *ret_length does not count; "" before on_request.
 */
const char *http_request_body(const HttpRequest *request, size_t *ret_length);

/* Whatever the handler wants to keep with it; `destroy` may be NULL. */
void http_request_set_data(HttpRequest *request, void *data, GDestroyNotify destroy);
void *http_request_data(const HttpRequest *request);
/* Called once when the client goes away before its answer is complete. Replaces an earlier one. */
void http_request_on_gone(
    HttpRequest *request, void (*on_gone)(HttpRequest *request, void *data), void *data);
bool http_request_is_gone(const HttpRequest *request);

/* Only inside on_headers: the limit for the body in memory. */
void http_request_set_body_limit(HttpRequest *request, uint64_t limit);
/* Only inside on_headers: the body comes in pieces, on_request follows at its end. No limit but the
 * receiver's own: it answers early to end it. `on_chunk` may pause. */
typedef void (*HttpChunkFn)(HttpRequest *request, const void *data, size_t length, void *user);
void http_request_stream_body(HttpRequest *request, HttpChunkFn on_chunk, void *user);
/* Inside on_headers or on_chunk: no (more) bytes are read until http_request_resume, which any callback may
 * call. */
void http_request_pause(HttpRequest *request);
void http_request_resume(HttpRequest *request);

/* Answers once. Content-Type and the like are the caller's; Date, Server, Content-Length and Connection the
 * server's. `body` may be NULL; it is referenced. An answer before the end of the body closes the connection
 * after it. */
void http_reply(
    HttpRequest *request, unsigned status, const HttpHeader *headers, size_t n_headers, GBytes *body);
void http_reply_text(HttpRequest *request, unsigned status, const char *content_type, const char *text);
/* The body is `length` bytes of a regular file from `offset`. Reads it in the main loop: for local files
 * only. */
void http_reply_fd(HttpRequest *request, unsigned status, const HttpHeader *headers, size_t n_headers,
    int take_fd, uint64_t offset, uint64_t length);

/* An answer of unknown length, such as server-sent events. At most `buffer_limit` bytes wait for a slow
 * client. */
void http_stream_begin(
    HttpRequest *request, unsigned status, const HttpHeader *headers, size_t n_headers, size_t buffer_limit);
/* False when the client is gone or too slow (nothing was queued): the caller ends or aborts it, or waits. */
bool http_stream_write(HttpRequest *request, const void *data, size_t length);
size_t http_stream_queued(const HttpRequest *request); /* bytes */
/* Called each time that the buffer has run empty. */
void http_stream_on_drained(
    HttpRequest *request, void (*on_drained)(HttpRequest *request, void *data), void *data);
void http_stream_end(HttpRequest *request); /* after what is queued */
void http_stream_abort(
    HttpRequest *request); /* at once; the client sees a broken answer; on_gone is not called */

/* Does the request ask for a WebSocket as RFC 6455 wants it? */
bool http_request_is_websocket(const HttpRequest *request);
/* Answers with the upgrade. `on_open` is called once with the WebSocket, or with NULL when the client went
 * away first: then perhaps before this returns. False, nothing answered, when the request does not ask for
 * one. Origin is the caller's to check. */
typedef void (*HttpWebSocketOpenFn)(HttpWebSocket *websocket, void *user);
bool http_reply_websocket(HttpRequest *request, const HttpWebSocketOptions *options,
    const HttpWebSocketEvents *events, HttpWebSocketOpenFn on_open, void *user, Error *err);
