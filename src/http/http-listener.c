/* Listening sockets: UNIX with peer credentials, TCP for TLS. Accepting is ours, so that limits come before
 * any byte. */
#include "http/http-internal.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/file.h"

enum { BACKLOG = 256, ACCEPTS_PER_TURN = 64, PAUSE_MS = 100 };

static gboolean accept_ready(int fd, GIOCondition condition, void *data);

static void start_accepting(HttpListener *self) {
    self->source = g_unix_fd_source_new(self->fd, G_IO_IN);
    g_source_set_callback(self->source, G_SOURCE_FUNC(accept_ready), self, NULL);
    g_source_attach(self->source, NULL);
}

static void drop_source(HttpListener *self) {
    if (!self->source)
        return;
    g_source_destroy(self->source);
    g_source_unref(self->source);
    self->source = NULL;
}

static gboolean accept_again(void *data) {
    HttpListener *self = data;
    drop_source(self);
    start_accepting(self);
    return G_SOURCE_REMOVE;
}

/* Out of descriptors: the waiting connection would wake us for ever. */
static void pause_accepting(HttpListener *self) {
    drop_source(self);
    self->source = g_timeout_source_new(PAUSE_MS);
    g_source_set_callback(self->source, accept_again, self, NULL);
    g_source_attach(self->source, NULL);
}

static bool describe_peer(int fd, const struct sockaddr_storage *address, HttpPeer *ret_peer) {
    HttpPeer peer = {.uid = (uid_t)-1, .gid = (gid_t)-1};
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        inet_ntop(AF_INET, &in->sin_addr, peer.address, sizeof peer.address);
        peer.port = ntohs(in->sin_port);
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)address;
        inet_ntop(AF_INET6, &in->sin6_addr, peer.address, sizeof peer.address);
        peer.port = ntohs(in->sin6_port);
    } else {
        struct ucred credentials;
        socklen_t length = sizeof credentials;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0)
            return false;
        peer = (HttpPeer){
            .is_unix = true, .uid = credentials.uid, .gid = credentials.gid, .pid = credentials.pid};
    }
    *ret_peer = peer;
    return true;
}

static gboolean accept_ready(int fd, GIOCondition condition G_GNUC_UNUSED, void *data) {
    HttpListener *self = data;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage address = {0};
        socklen_t length = sizeof address;
        int accepted = accept4(fd, (struct sockaddr *)&address, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (accepted < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
            pause_accepting(self);
            return G_SOURCE_REMOVE;
        }
        if (accepted < 0 && errno == EAGAIN)
            break;
        if (accepted < 0)
            continue;
        if (self->unix_path)
            address.ss_family = AF_UNIX;
        HttpPeer peer;
        if (!describe_peer(accepted, &address, &peer))
            close(accepted);
        else
            http_connection_admit(self, accepted, &peer);
    }
    return G_SOURCE_CONTINUE;
}

static HttpListener *listener_new(HttpServer *server, int take_fd) {
    HttpListener *self = g_new0(HttpListener, 1);
    self->server = server;
    self->fd = take_fd;
    start_accepting(self);
    g_ptr_array_add(server->listeners, self);
    return self;
}

void http_listener_free(HttpListener *listener) {
    drop_source(listener);
    fd_close(&listener->fd);
    struct stat status;
    if (listener->unix_path && lstat(listener->unix_path, &status) == 0 &&
        status.st_dev == listener->device && status.st_ino == listener->inode)
        unlink(listener->unix_path);
    tls_credentials_unref(listener->credentials);
    g_free(listener->tls_priority);
    g_free(listener->unix_path);
    g_free(listener);
}

static bool probe_unix(const struct sockaddr_un *address, Error *err) {
    struct stat status;
    if (lstat(address->sun_path, &status) < 0)
        return errno == ENOENT || error_set_errno(err, errno, "looking at %s", address->sun_path);
    if (!S_ISSOCK(status.st_mode))
        return error_set(err, ERROR_EXISTS, NULL, "%s exists and is not a socket", address->sun_path);
    fd_auto int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(err, errno, "making a socket");
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN)
        return error_set(err, ERROR_IN_USE, NULL, "someone listens on %s already", address->sun_path);
    if (errno != ECONNREFUSED && errno != ENOENT)
        return error_set_errno(err, errno, "probing %s", address->sun_path);
    return true;
}

/* Bound under another name and renamed when its mode is right: nobody can connect before, no umask is
 * touched. */
static int bind_unix(const char *path, mode_t mode, gid_t group, Error *err) {
    struct sockaddr_un address = {.sun_family = AF_UNIX}, temporary = {.sun_family = AF_UNIX};
    if (g_snprintf(address.sun_path, sizeof address.sun_path, "%s", path) >= (int)sizeof address.sun_path ||
        g_snprintf(temporary.sun_path, sizeof temporary.sun_path, "%s.new", path) >=
            (int)sizeof temporary.sun_path) {
        error_set(err, ERROR_INVALID, NULL, "the socket's path is too long: %s", path);
        return -1;
    }
    if (!probe_unix(&address, err))
        return -1;
    fd_auto int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unlink(temporary.sun_path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&temporary, sizeof temporary) < 0 ||
        (group != (gid_t)-1 && chown(temporary.sun_path, (uid_t)-1, group) < 0) ||
        chmod(temporary.sun_path, mode) < 0 || listen(fd, BACKLOG) < 0 ||
        rename(temporary.sun_path, path) < 0) {
        error_set_errno(err, errno, "listening on %s", path);
        unlink(temporary.sun_path);
        return -1;
    }
    return fd_steal(&fd);
}

bool http_server_listen_unix(HttpServer *server, const char *path, mode_t mode, gid_t group, Error *err) {
    fd_auto int fd = bind_unix(path, mode, group, err);
    if (fd < 0)
        return false;
    HttpListener *self = listener_new(server, fd_steal(&fd));
    self->unix_path = g_strdup(path);
    struct stat status;
    if (lstat(path, &status) == 0) {
        self->device = status.st_dev;
        self->inode = status.st_ino;
    }
    return true;
}

static bool parse_address(const char *text, uint16_t port, struct sockaddr_storage *ret_address,
    socklen_t *ret_length, Error *err) {
    struct sockaddr_in *in = (void *)ret_address;
    struct sockaddr_in6 *in6 = (void *)ret_address;
    *ret_address = (struct sockaddr_storage){0};
    if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        *ret_length = sizeof *in;
        return true;
    }
    if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        *ret_length = sizeof *in6;
        return true;
    }
    return error_set(err, ERROR_INVALID, NULL, "not a numeric address: %s", text);
}

static int bind_tcp(const char *text, uint16_t port, uint16_t *ret_port, Error *err) {
    struct sockaddr_storage address;
    socklen_t length;
    if (!parse_address(text, port, &address, &length, err))
        return -1;
    fd_auto int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int yes = 1, no = 0;
    if (fd >= 0 && address.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, BACKLOG) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
        error_set_errno(err, errno, "listening on %s port %u", text, port);
        return -1;
    }
    *ret_port = ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&address)->sin6_port
                                                    : ((struct sockaddr_in *)(void *)&address)->sin_port);
    return fd_steal(&fd);
}

static TlsCredentials *credentials_new(
    const char *certificate_pem, const char *key_pem, const char *priority, Error *err) {
    const TlsCredentialsOptions options = {
        .certificate_pem = certificate_pem, .key_pem = key_pem, .protocol = "http/1.1", .priority = priority};
    return tls_credentials_new(&options, err);
}

bool http_server_listen_tls(HttpServer *server, const char *address, uint16_t port,
    const char *certificate_pem, const char *key_pem, const char *priority, HttpListener **ret_listener,
    Error *err) {
    uint16_t bound = 0;
    fd_auto int fd = bind_tcp(address, port, &bound, err);
    if (fd < 0)
        return false;
    TlsCredentials *credentials = credentials_new(certificate_pem, key_pem, priority, err);
    if (!credentials)
        return false;
    HttpListener *self = listener_new(server, fd_steal(&fd));
    self->credentials = credentials;
    self->tls_priority = g_strdup(priority);
    self->port = bound;
    if (ret_listener)
        *ret_listener = self;
    return true;
}

uint16_t http_listener_port(const HttpListener *listener) {
    return listener->port;
}

bool http_listener_reload(
    HttpListener *listener, const char *certificate_pem, const char *key_pem, Error *err) {
    TlsCredentials *credentials = credentials_new(certificate_pem, key_pem, listener->tls_priority, err);
    if (!credentials)
        return false;
    tls_credentials_unref(listener->credentials);
    listener->credentials = credentials;
    return true;
}
