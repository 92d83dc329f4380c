/*
 * The HTTP/1.1 server: listeners, limits, deadlines, graceful stop. What a handler does with a request stands
 * in http-request.h. Everything here belongs to the thread that runs the default GMainContext; the server
 * starts no thread.
 *
 * Limits hold for the whole server. Deadlines are absolute: trickling bytes does not extend them.
 */
#pragma once
#include <sys/types.h>
#include "http/http-request.h"

typedef struct HttpServer HttpServer;
typedef struct HttpListener HttpListener; /* owned by its server */

typedef struct HttpLimits {
    uint32_t connections;          /* beyond it new ones are closed at once */
    uint32_t connections_per_peer; /* per address, or per uid on a UNIX socket */
    uint32_t requests_waiting;     /* received and not answered yet; beyond it 503 */
    size_t header_bytes;           /* request line and headers, roughly */
    size_t body_bytes;         /* of a body that is kept in memory, when the handler sets no other limit */
    int64_t header_timeout_ms; /* from accept, TLS handshake included, or from the request line, to the last
                                  header */
    int64_t idle_timeout_ms;   /* from one answer to the next request line */
    int64_t body_timeout_ms;   /* for a body that is kept in memory */
    uint32_t
        stall_timeout_s; /* no byte moved although one should: streamed bodies, answers to a slow client */
} HttpLimits;

/* 1,024 connections, 256 per peer, 512 waiting, 16 KiB, 1 MiB, 10 s, 75 s, 60 s, 60 s. */
extern const HttpLimits http_limits_default;

typedef struct HttpHandler {
    /* The headers are there, the body is not. May answer at once, set a body limit, take the body as a
     * stream, or hold the request (http_request_pause) until it has decided. May be NULL. */
    void (*on_headers)(HttpRequest *request, void *data);
    /* The body is there. Answers now or, with a reference kept, later. */
    void (*on_request)(HttpRequest *request, void *data);
    /* The server itself refuses: ERROR_INVALID (path), ERROR_TOO_LARGE, ERROR_BUSY. Answers at once with
     * http_reply. NULL: a line of plain text. */
    void (*on_refused)(HttpRequest *request, const Error *why, void *data);
} HttpHandler;

/* `handler` and `data` must outlive the server; `limits` is copied. */
HttpServer *http_server_new(const HttpHandler *handler, void *data, const HttpLimits *limits);
/* Cuts what is left; on_gone and on_closed are called. Never from inside a handler. Accepts NULL. */
void http_server_free(HttpServer *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HttpServer, http_server_free)

/* A UNIX socket. A stale one is replaced after a probe; ERROR_IN_USE when someone answers there. `group`
 * (gid_t)-1 leaves the group. It is removed with the server. */
bool http_server_listen_unix(HttpServer *server, const char *path, mode_t mode, gid_t group, Error *err);
/* TLS 1.2 or 1.3 on a numeric address; port 0 takes a free one. `priority` is GnuTLS's, NULL for the default.
 */
bool http_server_listen_tls(HttpServer *server, const char *address, uint16_t port,
    const char *certificate_pem, const char *key_pem, const char *priority, HttpListener **ret_listener,
    Error *err);
uint16_t http_listener_port(const HttpListener *listener);
/* New connections get the new certificate; those that exist go on. */
bool http_listener_reload(
    HttpListener *listener, const char *certificate_pem, const char *key_pem, Error *err);

/* Stops listening, ends idle connections, streams and WebSockets, waits for the answers that are due, cuts
 * what is left at the deadline; then calls `done` (from the main loop, never from inside this call). */
void http_server_stop(HttpServer *server, int64_t deadline_ms, void (*done)(void *data), void *data);

typedef struct HttpServerLoad {
    uint32_t connections, requests_waiting;
    uint64_t requests, connections_refused, connections_cut; /* since the start */
} HttpServerLoad;
HttpServerLoad http_server_load(const HttpServer *server);
