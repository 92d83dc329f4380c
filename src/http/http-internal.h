/*
 * What the files of the server share. Ownership: server -> listeners, engine (one MHD daemon, which sees
 * plain sockets only), TLS tunnels. MHD owns each plain socket between MHD_NOTIFY_CONNECTION_STARTED and
 * _CLOSED; the HttpConnection lives from accept until both MHD and the tunnel, where there is one, are done.
 * A connection holds a reference to its request, a request points back until it is detached.
 */
#pragma once
#include <microhttpd.h>
#include "http/http-server.h"
#include "tls/tls-tunnel.h"

typedef struct HttpConnection HttpConnection;
typedef struct HttpEngine HttpEngine;

/* One MHD daemon as a source of the main loop. */
struct HttpEngine {
    HttpServer *server;
    struct MHD_Daemon *daemon;
    GSource *source;
    bool
        needs_run; /* after a resume: without a listening socket, MHD's own wake-up is not in its epoll set */
};

struct HttpListener {
    HttpServer *server;
    int fd;
    GSource *source;
    TlsCredentials *credentials; /* NULL: plain */
    char *tls_priority;          /* as it was given, for a reload */
    char *unix_path;             /* NULL: TLS */
    dev_t device;                /* of the socket file, so that only our own is removed */
    ino_t inode;
    uint16_t port;
};

struct HttpServer {
    const HttpHandler *handler;
    void *handler_data;
    HttpLimits limits;
    GPtrArray *listeners; /* of HttpListener */
    HttpEngine *engine;
    TlsTunnels *tunnels;
    GHashTable *connections;  /* set of HttpConnection */
    GHashTable *peers;        /* peer key -> number of connections */
    GHashTable *lingering;    /* set of GSource: sockets being drained */
    GHashTable *adding;       /* fd -> owned HttpConnection: given to MHD, not yet announced by it */
    GSource *deadline_source; /* ready at the earliest deadline */
    GSource *gone_source;     /* watches gone_fd */
    int gone_fd;              /* epoll over the sockets of suspended connections */
    HttpServerLoad load;
    bool is_stopping, is_freeing;
    void (*stopped)(void *data);
    void *stopped_data;
    guint stopped_idle;
};

struct HttpConnection {
    HttpServer *server;
    struct MHD_Connection *mhd; /* NULL: before it is announced */
    int fd;                     /* owned by MHD; -1 when that is done */
    TlsTunnel *tunnel;          /* NULL: plain, or done */
    HttpPeer peer;
    char *peer_key;
    HttpRequest *request;     /* being received or answered, a reference; or NULL */
    HttpWebSocket *websocket; /* after an upgrade, borrowed; or NULL */
    int64_t deadline_us;      /* g_get_monotonic_time, or INT64_MAX */
    bool is_watched;          /* in gone_fd */
    bool is_cut;
    bool lingers; /* answered before the body's end: drain it, or the reset would destroy the answer */
};

typedef enum RequestPhase {
    REQUEST_HEADERS, /* until on_headers has decided */
    REQUEST_BODY,
    REQUEST_WAITING, /* on_request was called, the answer is due */
    REQUEST_REPLYING,
    REQUEST_DONE,
} RequestPhase;

typedef struct HttpReplyStream {
    GByteArray *bytes;
    size_t sent; /* of bytes */
    size_t limit;
    bool has_ended, is_aborted;
    void (*on_drained)(HttpRequest *request, void *data);
    void *on_drained_data;
} HttpReplyStream;

typedef struct HttpUpgrade HttpUpgrade;

struct HttpRequest {
    int reference_count;
    HttpServer *server;
    HttpConnection *connection; /* NULL: gone or done */
    RequestPhase phase;
    char *method;
    HttpTarget *target;
    GPtrArray *headers; /* name, value, name, value … */
    HttpPeer peer;
    int64_t content_length; /* -1: chunked */
    Error refusal;          /* why the server refuses it, if it does */

    GByteArray *body; /* always with a NUL behind */
    uint64_t body_limit;
    HttpChunkFn on_chunk;
    void *chunk_user;
    bool is_paused, is_suspended, is_waiting_counted, has_started;

    bool has_reply;
    struct MHD_Response *reply; /* until it is queued */
    unsigned reply_status;
    GBytes *reply_body; /* for an answer in the middle of the body */
    HttpReplyStream *stream;
    HttpUpgrade *upgrade; /* answered with a WebSocket; owned until it opens */

    void (*on_gone)(HttpRequest *request, void *data);
    void *on_gone_data;
    void *data;
    GDestroyNotify destroy_data;
    bool is_gone;
};

/* http-engine.c */
HttpEngine *http_engine_new(HttpServer *server); /* descriptors are all that it can lack: aborts then */
void http_engine_free(HttpEngine *engine);
void http_engine_run(void *engine); /* an HttpEngine; never from inside a handler */

/* http-listener.c */
void http_listener_free(HttpListener *listener);

/* http-connection.c */
void http_connection_admit(HttpListener *listener, int take_fd, const HttpPeer *peer);
void http_connection_free(HttpConnection *self);
void http_connection_notify(
    void *engine, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode code);
HttpConnection *http_connection_of(struct MHD_Connection *mhd);
void http_connection_set_deadline(HttpConnection *connection, int64_t after_ms); /* negative: none */
void http_connection_cut(HttpConnection *connection); /* may free it, unless it has a request */
/* Tell the request when the client goes away while MHD does not look at the socket. */
void http_connection_watch(HttpConnection *connection, bool half_close_counts);
void http_connection_unwatch(HttpConnection *connection);
GSource *http_deadline_source_new(HttpServer *server);
GSource *http_gone_source_new(HttpServer *server);

/* http-request.c */
void *http_request_begin(void *engine, const char *uri, struct MHD_Connection *mhd); /* MHD's URI callback */
enum MHD_Result http_request_access(void *engine, struct MHD_Connection *mhd, const char *url,
    const char *method, const char *version, const char *upload, size_t *upload_length, void **context);
void http_request_completed(
    void *engine, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode code);
void http_request_detach(HttpRequest *request); /* its connection ends or goes to a WebSocket */
void http_request_client_gone(HttpRequest *request);
void http_request_wake(HttpRequest *request);
void http_request_suspend(HttpRequest *request, bool half_close_counts);
void http_request_count_answered(HttpRequest *request);

/* http-reply.c */
bool http_reply_is_possible(
    HttpRequest *request); /* false: gone, answering is harmless; a second answer aborts */
void http_reply_set(HttpRequest *request, unsigned status, struct MHD_Response *take_response);
enum MHD_Result http_reply_queue(HttpRequest *request);
/* Writes the answer past MHD, which takes none in the middle of a body; the connection ends after it. */
void http_reply_write_raw(HttpRequest *request);
void http_reply_drop(HttpRequest *request);

/* http-upgrade.c */
void http_upgrade_drop(HttpRequest *request); /* the client went away before */

/* http-server.c */
void http_server_check_stopped(HttpServer *server);
