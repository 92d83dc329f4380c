/* The WebSocket engine below http-websocket.h: framing over any transport, and its two drivers. */
#pragma once
#include <sys/types.h>
#include "http/http-websocket.h"

typedef struct WebSocketTransport {
    int fd; /* to poll */
    /* Like recv and send without blocking: -1 with errno EAGAIN when nothing moves, 0 at the end. */
    ssize_t (*read)(void *data, void *buffer, size_t length);
    ssize_t (*write)(void *data, const void *buffer, size_t length);
    void (*close)(void *data); /* frees data */
    void *data;
} WebSocketTransport;

/* Takes over transport->data. `early` are bytes that came behind the handshake. */
HttpWebSocket *http_websocket_new(bool is_client, const WebSocketTransport *transport, const void *early,
    size_t early_length, const HttpWebSocketOptions *options, const HttpWebSocketEvents *events, void *user);
/* Reads and writes what goes without blocking. False when it is over; on_closed was called then, free it. */
bool http_websocket_pump(HttpWebSocket *websocket);
/* POLLIN and POLLOUT as it wants them now; 0 while paused with nothing to send. */
short http_websocket_interest(const HttpWebSocket *websocket);
int http_websocket_descriptor(const HttpWebSocket *websocket);
/* Closes the transport without a handshake; on_closed is called if it was not yet. Accepts NULL. */
void http_websocket_drop(HttpWebSocket *websocket);
/* Drives it from the default main context until it is over, then frees it. */
void http_websocket_attach(HttpWebSocket *websocket);

/* Sec-WebSocket-Accept for a key (RFC 6455, section 4.2.2); newly allocated. */
char *http_websocket_accept_key(const char *key);
