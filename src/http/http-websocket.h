/*
 * A WebSocket (RFC 6455), the same object on the server and in the client. Messages are whole; both
 * directions are bounded. On the server it belongs to the main loop and frees itself after on_closed; in the
 * client the caller pumps it (http-client.h) from one thread.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct HttpWebSocket HttpWebSocket;

enum {
    HTTP_WEBSOCKET_NORMAL = 1000, /* RFC 6455, section 7.4.1 */
    HTTP_WEBSOCKET_GOING_AWAY = 1001,
    HTTP_WEBSOCKET_ABNORMAL = 1006, /* never sent: the connection broke */
    HTTP_WEBSOCKET_POLICY = 1008,
    HTTP_WEBSOCKET_INTERNAL = 1011,
};

typedef struct HttpWebSocketOptions {
    const char *protocol;     /* subprotocol to ask for or to confirm, or NULL */
    size_t message_limit;     /* received; 0: 1 MiB; a longer one closes with 1009 */
    size_t queue_limit;       /* bytes waiting to be sent; 0: 1 MiB */
    int64_t ping_interval_ms; /* server: a peer that is silent for two of them is dropped; 0: 30 s */
} HttpWebSocketOptions;

typedef struct HttpWebSocketEvents {
    void (*on_message)(HttpWebSocket *websocket, bool is_text, const void *data, size_t length, void *user);
    /* The queue is half empty again after a send was refused. May be NULL. */
    void (*on_writable)(HttpWebSocket *websocket, void *user);
    /* The last call. `code` is what the peer sent, 1005 for none, 1006 when the connection broke. */
    void (*on_closed)(HttpWebSocket *websocket, uint16_t code, void *user);
} HttpWebSocketEvents;

/* False when the queue is full or the WebSocket is closing; nothing was queued then. An empty queue takes any
 * length. */
bool http_websocket_send(HttpWebSocket *websocket, bool is_text, const void *data, size_t length);
size_t http_websocket_queued(const HttpWebSocket *websocket); /* bytes */
/* Starts the closing handshake after what is queued; `reason` (at most 122 bytes, or NULL) is for people. */
void http_websocket_close(HttpWebSocket *websocket, uint16_t code, const char *reason);
/* Back-pressure: no more messages are read, except those of the last few KiB that already were. */
void http_websocket_pause(HttpWebSocket *websocket);
void http_websocket_resume(HttpWebSocket *websocket);
