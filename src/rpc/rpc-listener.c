/* A UNIX socket that appears under its name only when it is complete, or a port; and who comes there. */
#include "rpc/rpc-listener.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/file.h"
#include "rpc/rpc-knocks.h"
#include "rpc/rpc-loop.h"

enum { BACKLOG = 64, PORT_BACKLOG = 1024, MAX_PATH = 91, PAUSE_MS = 200, DEFAULT_CONNECTIONS = 64 };
/* From one address: each costs a millisecond of shaking hands. */
enum { KNOCKS_AT_ONCE = 256, KNOCKS_A_SECOND = 64 };

/* Outlives the listener while its streams are open. */
typedef struct Count {
    int references;
    int connections;
} Count;

struct RpcListener {
    RpcListenerOptions options;
    char *path;
    int fd;
    dev_t device; /* of the socket's file, to know it again */
    ino_t inode;
    PollerWatch *watch;
    Timer *pause; /* set while the process has no descriptors left; `watch` wants nothing then */
    int refused;
    Count *count;
    RpcKnocks *knocks; /* at a port; else NULL */
};

static void count_unref(Count *count) {
    if (--count->references == 0)
        g_free(count);
}

static void on_stream_free(void *data) {
    Count *count = data;
    count->connections--;
    count_unref(count);
}

/* ---- the socket's file ---- */

static bool make_way(const char *path, Error *err) {
    struct stat status;
    if (lstat(path, &status) < 0)
        return errno == ENOENT || error_set_errno(err, errno, "looking at %s", path);
    if (!S_ISSOCK(status.st_mode))
        return error_set(err, ERROR_EXISTS, NULL, "%s exists and is not a socket", path);
    g_auto(Error) answer = {0};
    RpcStream *stream = rpc_stream_connect_unix(path, &answer);
    rpc_stream_free(stream);
    if (stream || answer.code == ERROR_BUSY)
        return error_set(err, ERROR_IN_USE, NULL, "another process listens on %s", path);
    if (answer.code == ERROR_UNREACHABLE)
        return true;
    error_move(err, &answer);
    return false;
}

static bool bind_complete(RpcListener *listener, const char *temporary, Error *err) {
    const RpcListenerOptions *options = &listener->options;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_strlcpy(address.sun_path, temporary, sizeof address.sun_path);
    unlink(temporary);
    /* Nobody can connect before listen(), so the mode before chmod() does not matter. */
    if (bind(listener->fd, (const struct sockaddr *)&address, sizeof address) < 0)
        return error_set_errno(err, errno, "making the socket %s", listener->path);
    struct stat status;
    if (chown(temporary, (uid_t)-1, options->gid) < 0 || chmod(temporary, options->mode) < 0 ||
        lstat(temporary, &status) < 0)
        return error_set_errno(err, errno, "setting the owner and mode of %s", listener->path);
    listener->device = status.st_dev;
    listener->inode = status.st_ino;
    if (listen(listener->fd, BACKLOG) < 0 || rename(temporary, listener->path) < 0)
        return error_set_errno(err, errno, "listening on %s", listener->path);
    return true;
}

static bool open_socket(RpcListener *listener, Error *err) {
    if (strlen(listener->path) > MAX_PATH)
        return error_set(err, ERROR_INVALID, NULL, "the socket's path is too long: %s", listener->path);
    if (!make_way(listener->path, err))
        return false;
    listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0)
        return error_set_errno(err, errno, "opening a socket");
    g_autofree char *temporary = g_strdup_printf("%s.new-%d", listener->path, (int)getpid());
    if (bind_complete(listener, temporary, err))
        return true;
    unlink(temporary);
    return false;
}

/* ---- the port ---- */

static bool open_port(RpcListener *listener, Error *err) {
    const RpcAddress *address = listener->options.address;
    g_autofree char *text = rpc_address_text(address);
    RpcSocketAddress place;
    const int on = 1, off = 0;
    if (!rpc_address_is_numeric(address, &place))
        return error_set(err, ERROR_INVALID, NULL, "%s is no numeric address to listen on", text);
    if (listener->options.is_bare && !rpc_address_is_own(&place))
        return error_set(err, ERROR_DENIED, NULL, "%s is no address of this machine alone", text);
    listener->fd = socket(place.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0)
        return error_set_errno(err, errno, "opening a socket");
    setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (place.storage.ss_family == AF_INET6)
        setsockopt(listener->fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(listener->fd, (const struct sockaddr *)&place.storage, place.length) == 0 &&
        listen(listener->fd, PORT_BACKLOG) == 0)
        return true;
    if (errno == EADDRINUSE)
        return error_set(err, ERROR_IN_USE, NULL, "another process listens on %s", text);
    return error_set_errno(err, errno, "listening on %s", text);
}

/* ---- connections ---- */

/* A UNIX socket's, or NULL when it is not welcome. */
static RpcStream *open_local(RpcListener *listener, int take_fd, RpcPeer *ret_peer) {
    const RpcListenerOptions *options = &listener->options;
    RpcStream *stream = rpc_stream_new_fd(take_fd);
    if (rpc_stream_peer(stream, ret_peer, NULL) &&
        (!options->is_welcome || options->is_welcome(ret_peer, options->data)))
        return stream;
    rpc_stream_free(stream);
    return NULL;
}

static RpcStream *open_remote(RpcListener *listener, int take_fd) {
    RpcTlsOptions tls = listener->options.tls;
    const int on = 1;
    tls.side = TLS_SIDE_SERVER;
    setsockopt(take_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (listener->options.is_bare)
        return rpc_stream_new_fd(take_fd);
    return rpc_stream_new_tls(&tls, take_fd, NULL);
}

static void hand_over(RpcListener *listener, int take_fd) {
    const RpcListenerOptions *options = &listener->options;
    fd_auto int fd = take_fd;
    RpcPeer peer;
    RpcStream *stream = NULL;
    if (listener->count->connections < options->max_connections)
        stream =
            options->path ? open_local(listener, fd_steal(&fd), &peer) : open_remote(listener, fd_steal(&fd));
    if (!stream) {
        listener->refused++;
        return;
    }
    listener->count->connections++;
    listener->count->references++;
    rpc_stream_on_free(stream, on_stream_free, listener->count);
    options->on_stream(stream, options->path ? &peer : NULL, options->data);
}

static void on_pause_over(void *data) {
    poller_watch_want(((RpcListener *)data)->watch, EPOLLIN);
}

/* One a turn, since on_stream may free the listener. */
static void on_acceptable(uint32_t events G_GNUC_UNUSED, void *data) {
    RpcListener *listener = data;
    struct sockaddr_storage from = {0};
    socklen_t length = sizeof from;
    fd_auto int accepted =
        accept4(listener->fd, (struct sockaddr *)&from, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (accepted >= 0 && listener->knocks && !rpc_knocks_take(listener->knocks, &from)) {
        listener->refused++;
    } else if (accepted >= 0) {
        hand_over(listener, fd_steal(&accepted));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        /* The waiting peer keeps the socket readable; asking again at once would spin. */
        poller_watch_want(listener->watch, 0);
        timer_set(listener->pause, PAUSE_MS * NS_PER_MS);
    }
}

static void begin_accepting(RpcListener *listener) {
    listener->pause = timer_new(rpc_loop_timers(), on_pause_over, listener);
    listener->watch = poller_watch_new(rpc_loop_poller(), listener->fd, on_acceptable, listener);
    poller_watch_want(listener->watch, EPOLLIN);
}

/* ---- public ---- */

RpcListener *rpc_listener_new(const RpcListenerOptions *options, Error *err) {
    g_assert(options->on_stream);
    RpcListener *listener = g_new0(RpcListener, 1);
    listener->options = *options;
    listener->path = g_strdup(options->path);
    listener->fd = -1;
    if (options->tls.credentials)
        tls_credentials_ref(options->tls.credentials);
    listener->count = g_new0(Count, 1);
    listener->count->references = 1;
    if (listener->options.max_connections == 0)
        listener->options.max_connections = DEFAULT_CONNECTIONS;
    bool is_open = options->path ? open_socket(listener, err) : open_port(listener, err);
    if (options->address)
        listener->knocks = rpc_knocks_new(KNOCKS_AT_ONCE, KNOCKS_A_SECOND, options->tls.clock);
    listener->options.address = NULL; /* the caller's */
    if (!is_open) {
        rpc_listener_free(listener);
        return NULL;
    }
    begin_accepting(listener);
    return listener;
}

static void remove_socket(const RpcListener *listener) {
    struct stat status;
    if (lstat(listener->path, &status) == 0 && status.st_dev == listener->device &&
        status.st_ino == listener->inode)
        unlink(listener->path);
}

void rpc_listener_free(RpcListener *listener) {
    if (!listener)
        return;
    poller_watch_free(listener->watch);
    timer_free(listener->pause);
    if (listener->path)
        remove_socket(listener);
    fd_close(&listener->fd);
    tls_credentials_unref(listener->options.tls.credentials);
    rpc_knocks_free(listener->knocks);
    count_unref(listener->count);
    g_free(listener->path);
    g_free(listener);
}

void rpc_listener_set_credentials(RpcListener *listener, TlsCredentials *credentials) {
    tls_credentials_ref(credentials);
    tls_credentials_unref(listener->options.tls.credentials);
    listener->options.tls.credentials = credentials;
}

uint16_t rpc_listener_port(const RpcListener *listener) {
    struct sockaddr_storage place = {0};
    socklen_t length = sizeof place;
    if (getsockname(listener->fd, (struct sockaddr *)&place, &length) < 0)
        return 0;
    /* IPv4 and IPv6 have it in the same place. */
    return ntohs(((const struct sockaddr_in *)&place)->sin_port);
}

int rpc_listener_connections(const RpcListener *listener) {
    return listener->count->connections;
}

int rpc_listener_refused(const RpcListener *listener) {
    return listener->refused;
}
