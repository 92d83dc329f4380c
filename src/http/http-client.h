/*
 * The HTTP client of the command line, through libcurl: blocking calls, one thread per client. It talks only
 * to where its base says: no redirects, no proxies, no configuration files, no system trust.
 *
 * Failures of the connection are errors (ERROR_UNREACHABLE, ERROR_TIMED_OUT, ERROR_DENIED when the
 * certificate is not signed by the pinned authority, ERROR_PROTOCOL, ERROR_CANCELLED); an answer with any
 * status is a success.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/cancel.h"
#include "http/http-websocket.h"

typedef struct HttpClient HttpClient;

typedef struct HttpClientConfig {
    const char *base;           /* "unix:/run/lodge/lodged.socket" or "https://host:7443" */
    const char *authority_file; /* the pinned CA bundle (PEM); required for https */
    const char *token;          /* bearer token or NULL; never logged */
    int64_t connect_timeout_ms; /* 0: 10 s */
    const Cancel *cancel;       /* may be NULL; must outlive the client */
} HttpClientConfig;

/* ERROR_INVALID for another kind of base. Connects at the first request. */
bool http_client_new(const HttpClientConfig *config, HttpClient **ret_client, Error *err);
void http_client_free(HttpClient *client); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HttpClient, http_client_free)

typedef struct HttpClientRequest {
    const char *method;
    const char *path;           /* with its query, percent-encoded */
    const char *const *headers; /* "Name: value", NULL-terminated, or NULL */
    const void *body;           /* or NULL */
    size_t body_length;
    int upload_fd; /* when body is NULL and has_upload: read from its position to its end */
    bool has_upload;
    int64_t upload_length;    /* -1: unknown, sent in chunks */
    int64_t timeout_ms;       /* for the whole exchange; 0: none */
    int64_t stall_timeout_ms; /* without a byte in either direction; 0: none */
    uint64_t response_limit;  /* of a body in memory; 0: 64 MiB; beyond it ERROR_TOO_LARGE */
    /* Instead of keeping the body of a 2xx answer: return false to end the request without an error. */
    bool (*on_data)(const void *data, size_t length, void *user);
    bool (*on_line)(const char *line, void *user); /* without its end; lines up to 1 MiB */
    void (*on_progress)(int64_t sent, int64_t received, void *user);
    void *user;
} HttpClientRequest;

typedef struct HttpResponse {
    unsigned status;
    GPtrArray *headers; /* name, value, name, value … */
    GByteArray *body;   /* followed by a NUL that its length does not count */
} HttpResponse;
void http_response_clear(HttpResponse *response);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HttpResponse, http_response_clear)
const char *http_response_header(const HttpResponse *response, const char *name); /* any case; or NULL */

/* *ret_response must be clear. */
bool http_client_perform(
    HttpClient *client, const HttpClientRequest *request, HttpResponse *ret_response, Error *err);

/* Opens a WebSocket on a connection of its own. When the server answers otherwise: ERROR_PROTOCOL and that
 * answer, with its body, in *ret_refusal (may be NULL). The caller polls http_client_websocket_fd for
 * _interest (POLLIN, POLLOUT; 0 while paused), then calls _pump; false when it is over, on_closed was called
 * then. _pump once
 * before the first poll and after http_websocket_resume. */
bool http_client_websocket(HttpClient *client, const char *path, const HttpWebSocketOptions *options,
    const HttpWebSocketEvents *events, void *user, HttpWebSocket **ret_websocket, HttpResponse *ret_refusal,
    Error *err);
int http_client_websocket_fd(const HttpWebSocket *websocket);
short http_client_websocket_interest(const HttpWebSocket *websocket);
bool http_client_websocket_pump(HttpWebSocket *websocket);
/* Breaks the connection when it is not over; then on_closed is called. Accepts NULL. */
void http_client_websocket_free(HttpWebSocket *websocket);
