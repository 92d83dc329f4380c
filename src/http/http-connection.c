/* A connection from accept to close: admission, absolute deadlines, noticing clients that leave, lingering.
 */
#include "http/http-internal.h"
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/file.h"

enum {
    GONE_EVENTS_PER_TURN = 64,
    LINGER_MS = 2000,
    LINGER_MAX = 1024,       /* sockets drained at once; beyond it the client may see a reset */
    LINGER_BYTES = 64 << 20, /* read and thrown away per socket */
};

/* Admission */

static char *peer_key(const HttpPeer *peer) {
    return peer->is_unix ? g_strdup_printf("uid:%u", (unsigned)peer->uid) : g_strdup(peer->address);
}

static bool has_room(HttpServer *server, const char *key) {
    return g_hash_table_size(server->connections) < server->limits.connections &&
           GPOINTER_TO_UINT(g_hash_table_lookup(server->peers, key)) < server->limits.connections_per_peer;
}

static void count_peer(HttpServer *server, const char *key, int change) {
    guint count = GPOINTER_TO_UINT(g_hash_table_lookup(server->peers, key)) + (guint)change;
    if (count == 0)
        g_hash_table_remove(server->peers, key);
    else
        g_hash_table_replace(server->peers, g_strdup(key), GUINT_TO_POINTER(count));
}

void http_connection_free(HttpConnection *self) {
    tls_tunnel_free(self->tunnel);
    g_free(self->peer_key);
    g_free(self);
}

/* MHD and the tunnel are done. */
static void finish(HttpConnection *self) {
    HttpServer *server = self->server;
    g_hash_table_remove(server->connections, self);
    count_peer(server, self->peer_key, -1);
    http_connection_free(self);
    http_server_check_stopped(server);
}

static bool is_mhd_done(const HttpConnection *self) {
    return self->fd < 0;
}

static void tunnel_ended(void *data) {
    HttpConnection *self = data;
    self->tunnel = NULL; /* MHD sees the end of its socket */
    if (is_mhd_done(self))
        finish(self);
}

/* The socket that MHD gets, or -1. */
static int open_plain(HttpConnection *self, TlsCredentials *credentials, int take_fd) {
    int plain_fd = -1;
    if (!credentials)
        return take_fd;
    self->tunnel =
        tls_tunnel_new(self->server->tunnels, credentials, take_fd, tunnel_ended, self, &plain_fd, NULL);
    return plain_fd;
}

static void give_to_mhd(HttpConnection *self) {
    /* All that MHD asks of the address is whether this is TCP. */
    const struct sockaddr address = {.sa_family = AF_UNIX};
    HttpServer *server = self->server;
    void *key = GINT_TO_POINTER(self->fd);
    /* MHD 0.9.75 announces it inside this call, MHD 1.0 at its next run. When it fails, MHD closes the
     * socket, with the usual announcement if it had announced it before. */
    g_hash_table_replace(server->adding, key, self);
    if (MHD_add_connection(server->engine->daemon, self->fd, &address, sizeof address.sa_family) == MHD_NO &&
        g_hash_table_steal(server->adding, key))
        finish(self);
}

void http_connection_admit(HttpListener *listener, int take_fd, const HttpPeer *peer) {
    HttpServer *server = listener->server;
    g_autofree char *key = peer_key(peer);
    if (server->is_stopping || !has_room(server, key)) {
        server->load.connections_refused++;
        close(take_fd);
        return;
    }
    HttpConnection *self = g_new0(HttpConnection, 1);
    self->server = server;
    self->peer = *peer;
    self->peer_key = g_steal_pointer(&key);
    self->deadline_us = INT64_MAX;
    self->fd = open_plain(self, listener->credentials, take_fd);
    if (self->fd < 0) {
        server->load.connections_refused++;
        http_connection_free(self);
        return;
    }
    g_hash_table_add(server->connections, self);
    count_peer(server, self->peer_key, 1);
    http_connection_set_deadline(self, server->limits.header_timeout_ms);
    give_to_mhd(self);
}

static void connection_started(HttpEngine *engine, struct MHD_Connection *mhd, void **context) {
    int fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    void *found = NULL;
    g_assert(g_hash_table_steal_extended(engine->server->adding, GINT_TO_POINTER(fd), NULL, &found));
    ((HttpConnection *)found)->mhd = mhd;
    *context = found;
}

/* Lingering: closing a socket with unread bytes resets it, and the client loses the answer that was just
 * sent. A duplicate is read until the client closes. */

typedef struct LingerSource {
    GSource source;
    HttpServer *server;
    int fd;
    int64_t bytes_left, end_us;
} LingerSource;

static gboolean linger_dispatch(
    GSource *source, GSourceFunc callback G_GNUC_UNUSED, void *data G_GNUC_UNUSED) {
    LingerSource *self = (LingerSource *)source;
    char block[65536];
    ssize_t n = recv(self->fd, block, sizeof block, MSG_DONTWAIT);
    self->bytes_left -= n;
    if (n > 0 && self->bytes_left > 0 && g_get_monotonic_time() < self->end_us)
        return G_SOURCE_CONTINUE;
    g_hash_table_remove(self->server->lingering, source); /* drops the reference */
    return G_SOURCE_REMOVE;
}

static void linger_finalize(GSource *source) {
    fd_close(&((LingerSource *)source)->fd);
}

static GSourceFuncs linger_functions = {.dispatch = linger_dispatch, .finalize = linger_finalize};

static void linger(HttpConnection *connection) {
    HttpServer *server = connection->server;
    if (server->is_freeing || g_hash_table_size(server->lingering) >= LINGER_MAX)
        return;
    int fd = dup(connection->fd);
    if (fd < 0)
        return;
    shutdown(fd, SHUT_WR);
    GSource *source = g_source_new(&linger_functions, sizeof(LingerSource));
    LingerSource *self = (LingerSource *)source;
    self->server = server;
    self->fd = fd;
    self->bytes_left = LINGER_BYTES;
    self->end_us = g_get_monotonic_time() + LINGER_MS * 1000;
    g_source_add_unix_fd(source, fd, G_IO_IN);
    g_source_set_ready_time(source, self->end_us);
    g_source_attach(source, NULL);
    g_hash_table_add(server->lingering, source);
}

/* MHD closes the socket after this. */
static void connection_closed(HttpConnection *self) {
    http_connection_unwatch(self);
    if (self->request)
        http_request_client_gone(self->request);
    if (self->request)
        http_request_detach(self->request);
    if (self->lingers && !self->is_cut && !self->tunnel)
        linger(self);
    self->fd = -1;
    self->mhd = NULL;
    if (!self->tunnel) {
        finish(self);
        return;
    }
    if (self->lingers)
        tls_tunnel_linger(self->tunnel);
    http_connection_set_deadline(self, (int64_t)self->server->limits.stall_timeout_s * 1000);
}

void http_connection_notify(
    void *engine, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode code) {
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        connection_started(engine, mhd, context);
    else if (*context)
        connection_closed(g_steal_pointer((HttpConnection **)context));
}

HttpConnection *http_connection_of(struct MHD_Connection *mhd) {
    return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* Deadlines: the source is ready at the earliest one that was ever set; it looks at all, cuts those that are
 * over and sleeps until the next. Moving a deadline back costs nothing. */

void http_connection_set_deadline(HttpConnection *connection, int64_t after_ms) {
    connection->deadline_us = after_ms < 0 ? INT64_MAX : g_get_monotonic_time() + after_ms * 1000;
    GSource *source = connection->server->deadline_source;
    int64_t ready_us = g_source_get_ready_time(source);
    if (after_ms >= 0 && (ready_us < 0 || connection->deadline_us < ready_us))
        g_source_set_ready_time(source, connection->deadline_us);
}

void http_connection_cut(HttpConnection *connection) {
    if (connection->is_cut)
        return;
    connection->is_cut = true;
    connection->server->load.connections_cut++;
    connection->deadline_us = INT64_MAX;
    g_clear_pointer(&connection->tunnel, tls_tunnel_free);
    if (is_mhd_done(connection)) {
        finish(connection);
        return;
    }
    shutdown(connection->fd, SHUT_RDWR); /* MHD sees the end of the stream and closes */
    if (connection->request)
        http_request_client_gone(connection->request);
}

typedef struct ServerSource {
    GSource source;
    HttpServer *server;
} ServerSource;

static gboolean deadline_dispatch(
    GSource *source, GSourceFunc callback G_GNUC_UNUSED, void *data G_GNUC_UNUSED) {
    HttpServer *server = ((ServerSource *)source)->server;
    g_source_set_ready_time(source, -1);
    int64_t now_us = g_get_monotonic_time(), next_us = INT64_MAX;
    g_autoptr(GPtrArray) due = g_ptr_array_new();
    GHashTableIter iterator;
    void *key;
    g_hash_table_iter_init(&iterator, server->connections);
    while (g_hash_table_iter_next(&iterator, &key, NULL)) {
        HttpConnection *connection = key;
        if (connection->deadline_us <= now_us)
            g_ptr_array_add(due, connection);
        else
            next_us = MIN(next_us, connection->deadline_us);
    }
    for (guint i = 0; i < due->len; i++) /* cutting frees none but the one cut, when MHD is done with it */
        http_connection_cut(g_ptr_array_index(due, i));
    int64_t ready_us = g_source_get_ready_time(source);
    if (next_us != INT64_MAX && (ready_us < 0 || next_us < ready_us))
        g_source_set_ready_time(source, next_us);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs deadline_functions = {.dispatch = deadline_dispatch};

static GSource *server_source_new(HttpServer *server, GSourceFuncs *functions) {
    GSource *source = g_source_new(functions, sizeof(ServerSource));
    ((ServerSource *)source)->server = server;
    g_source_attach(source, NULL);
    return source;
}

GSource *http_deadline_source_new(HttpServer *server) {
    return server_source_new(server, &deadline_functions);
}

/* Clients that leave while their connection is suspended: MHD does not look at the socket then. */

void http_connection_watch(HttpConnection *connection, bool half_close_counts) {
    http_connection_unwatch(connection);
    struct epoll_event event = {
        .events = EPOLLONESHOT | (half_close_counts ? EPOLLRDHUP : 0u), .data.ptr = connection};
    connection->is_watched =
        epoll_ctl(connection->server->gone_fd, EPOLL_CTL_ADD, connection->fd, &event) == 0;
}

void http_connection_unwatch(HttpConnection *connection) {
    if (connection->is_watched)
        epoll_ctl(connection->server->gone_fd, EPOLL_CTL_DEL, connection->fd, NULL);
    connection->is_watched = false;
}

static gboolean gone_dispatch(GSource *source, GSourceFunc callback G_GNUC_UNUSED, void *data G_GNUC_UNUSED) {
    HttpServer *server = ((ServerSource *)source)->server;
    struct epoll_event events[GONE_EVENTS_PER_TURN];
    int n = epoll_wait(server->gone_fd, events, GONE_EVENTS_PER_TURN, 0);
    for (int i = 0; i < n; i++) {
        HttpConnection *connection = events[i].data.ptr;
        /* A callback of this turn may have answered it meanwhile; connections are only freed inside MHD. */
        if (connection->is_watched && connection->request)
            http_request_client_gone(connection->request);
    }
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs gone_functions = {.dispatch = gone_dispatch};

GSource *http_gone_source_new(HttpServer *server) {
    GSource *source = server_source_new(server, &gone_functions);
    g_source_add_unix_fd(source, server->gone_fd, G_IO_IN);
    return source;
}
