/* The server as a whole: its parts, its stop, its end. */
#include "http/http-internal.h"
#include <sys/epoll.h>
#include <sys/socket.h>
#include "base/file.h"
#include "http/http-websocket-internal.h"

/* Turns that MHD may need to close what was cut, when the server is freed. */
enum { TURNS_TO_CLOSE = 1000 };

const HttpLimits http_limits_default = {
    .connections = 1024,
    .connections_per_peer = 256,
    .requests_waiting = 512,
    .header_bytes = 16384,
    .body_bytes = 1 << 20,
    .header_timeout_ms = 10000,
    .idle_timeout_ms = 75000,
    .body_timeout_ms = 60000,
    .stall_timeout_s = 60,
};

static void free_listener(void *listener) {
    http_listener_free(listener);
}

static void free_linger(void *data) {
    GSource *source = data;
    g_source_destroy(source);
    g_source_unref(source);
}

HttpServer *http_server_new(const HttpHandler *handler, void *data, const HttpLimits *limits) {
    HttpServer *self = g_new0(HttpServer, 1);
    self->handler = handler;
    self->handler_data = data;
    self->limits = limits ? *limits : http_limits_default;
    self->listeners = g_ptr_array_new_with_free_func(free_listener);
    self->connections = g_hash_table_new(NULL, NULL);
    self->peers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    self->adding = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)http_connection_free);
    self->lingering = g_hash_table_new_full(NULL, NULL, free_linger, NULL);
    self->gone_fd = epoll_create1(EPOLL_CLOEXEC);
    g_assert(self->gone_fd >= 0);
    self->deadline_source = http_deadline_source_new(self);
    self->gone_source = http_gone_source_new(self);
    self->engine = http_engine_new(self);
    self->tunnels = tls_tunnels_new(http_engine_run, self->engine);
    return self;
}

static GPtrArray *list_connections(HttpServer *self) {
    GPtrArray *list = g_ptr_array_new();
    GHashTableIter iterator;
    void *key;
    g_hash_table_iter_init(&iterator, self->connections);
    while (g_hash_table_iter_next(&iterator, &key, NULL))
        g_ptr_array_add(list, key);
    return list;
}

static void cut_all(HttpServer *self) {
    g_autoptr(GPtrArray) list = list_connections(self);
    for (guint i = 0; i < list->len; i++) {
        HttpConnection *connection = g_ptr_array_index(list, i);
        if (connection->websocket)
            http_websocket_drop(connection->websocket);
        http_connection_cut(connection);
    }
}

static void drop_source(GSource *source) {
    g_source_destroy(source);
    g_source_unref(source);
}

void http_server_free(HttpServer *server) {
    if (!server)
        return;
    server->is_stopping = server->is_freeing = true;
    if (server->stopped_idle)
        g_source_remove(server->stopped_idle);
    g_ptr_array_set_size(server->listeners, 0);
    for (int turn = 0; g_hash_table_size(server->connections) > 0 && turn < TURNS_TO_CLOSE; turn++) {
        cut_all(server);
        MHD_run(server->engine->daemon);
    }
    http_engine_free(server->engine);
    g_ptr_array_unref(server->listeners);
    g_hash_table_unref(server->connections);
    g_hash_table_unref(server->peers);
    g_hash_table_unref(server->adding);
    tls_tunnels_free(server->tunnels);
    g_hash_table_unref(server->lingering);
    drop_source(server->deadline_source);
    drop_source(server->gone_source);
    fd_close(&server->gone_fd);
    g_free(server);
}

static gboolean cut_late(void *data) {
    HttpServer *self = data;
    self->stopped_idle = 0;
    cut_all(self);
    http_server_check_stopped(self);
    return G_SOURCE_REMOVE;
}

static gboolean call_stopped(void *data) {
    HttpServer *self = data;
    self->stopped_idle = 0;
    void (*stopped)(void *) = self->stopped;
    self->stopped = NULL;
    if (stopped)
        stopped(self->stopped_data);
    return G_SOURCE_REMOVE;
}

void http_server_check_stopped(HttpServer *server) {
    if (!server->stopped || server->is_freeing || g_hash_table_size(server->connections) > 0)
        return;
    if (server->stopped_idle)
        g_source_remove(server->stopped_idle);
    server->stopped_idle = g_idle_add(call_stopped, server);
}

void http_server_stop(HttpServer *server, int64_t deadline_ms, void (*done)(void *data), void *data) {
    g_assert(!server->is_stopping);
    server->is_stopping = true;
    server->stopped = done;
    server->stopped_data = data;
    g_ptr_array_set_size(server->listeners, 0);
    server->stopped_idle = g_timeout_add((guint)deadline_ms, cut_late, server);
    g_autoptr(GPtrArray) list = list_connections(server);
    for (guint i = 0; i < list->len; i++) {
        HttpConnection *connection = g_ptr_array_index(list, i);
        if (connection->websocket)
            http_websocket_close(connection->websocket, HTTP_WEBSOCKET_GOING_AWAY, NULL);
        else if (!connection->request && connection->fd >= 0)
            shutdown(connection->fd, SHUT_RDWR);
        else if (connection->request && connection->request->stream)
            http_stream_end(connection->request);
    }
    http_server_check_stopped(server);
}

HttpServerLoad http_server_load(const HttpServer *server) {
    HttpServerLoad load = server->load;
    load.connections = g_hash_table_size(server->connections);
    return load;
}
