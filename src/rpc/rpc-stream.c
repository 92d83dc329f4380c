/* Byte streams over descriptors, and how any kind of stream is watched. */
#include "rpc/rpc-stream.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/file.h"
#include "rpc/rpc-address.h"
#include "rpc/rpc-loop.h"

struct RpcStream {
    const RpcStreamOps *ops;
    void *state;
    GByteArray *unread; /* NULL when there is nothing */
    PollerWatch *poll;  /* NULL until the first watch */
    GIOCondition wanted;
    bool is_write_blocked; /* until epoll says otherwise; before that writing is simply tried */
    bool *is_freed;        /* while on_ready runs: where to say it */
    RpcReadyFn on_ready;
    void *ready_data;
    void (*on_free)(void *data);
    void *free_data;
};

/* ---- descriptors ---- */

typedef struct FdState {
    int fd;
    bool is_socket;
} FdState;

static RpcIo fd_read(void *state, void *buffer, size_t size, size_t *ret_length, Error *err) {
    const FdState *self = state;
    ssize_t n;
    do
        n = read(self->fd, buffer, size);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        *ret_length = (size_t)n;
        return RPC_IO_DONE;
    }
    if (n == 0 ||
        (errno == EIO && !self->is_socket)) /* EIO: the last one closed the other side of a terminal */
        return RPC_IO_END;
    if (errno == EAGAIN)
        return RPC_IO_AGAIN;
    error_set_errno(err, errno, "reading from the peer");
    return RPC_IO_FAILED;
}

static RpcIo fd_write(void *state, const void *data, size_t length, size_t *ret_length, Error *err) {
    const FdState *self = state;
    ssize_t n;
    do
        n = self->is_socket ? send(self->fd, data, length, MSG_NOSIGNAL) : write(self->fd, data, length);
    while (n < 0 && errno == EINTR);
    if (n >= 0) {
        *ret_length = (size_t)n;
        return RPC_IO_DONE;
    }
    if (errno == EAGAIN)
        return RPC_IO_AGAIN;
    error_set_errno(err, errno, "writing to the peer");
    return RPC_IO_FAILED;
}

static void fd_shut_write(void *state) {
    const FdState *self = state;
    if (self->is_socket)
        shutdown(self->fd, SHUT_WR);
}

static int fd_number(const void *state) {
    return ((const FdState *)state)->fd;
}

static bool fd_peer(const void *state, RpcPeer *ret_peer, Error *err) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    if (getsockopt(fd_number(state), SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0)
        return error_set_errno(err, errno, "asking who the peer is");
    /* Other sockets than UNIX ones answer with pid 0 and no user. */
    if (credentials.pid <= 0 && credentials.uid == (uid_t)-1)
        return error_set(err, ERROR_UNSUPPORTED, NULL, "the kernel does not know this peer");
    *ret_peer = (RpcPeer){.uid = credentials.uid, .gid = credentials.gid, .pid = credentials.pid};
    return true;
}

static void fd_free(void *state) {
    FdState *self = state;
    fd_close(&self->fd);
    g_free(self);
}

static const RpcStreamOps fd_ops = {
    .name = "descriptor",
    .read = fd_read,
    .write = fd_write,
    .shut_write = fd_shut_write,
    .fd = fd_number,
    .peer = fd_peer,
    .free = fd_free,
};

/* ---- watching ---- */

_Static_assert((int)G_IO_IN == (int)EPOLLIN && (int)G_IO_OUT == (int)EPOLLOUT &&
                   (int)G_IO_ERR == (int)EPOLLERR && (int)G_IO_HUP == (int)EPOLLHUP,
    "Linux has the same bits for poll and epoll");

static bool has_hidden_bytes(const RpcStream *stream) {
    if (!(stream->wanted & G_IO_IN))
        return false;
    return stream->unread || (stream->ops->has_buffered && stream->ops->has_buffered(stream->state));
}

static GIOCondition blocked_on(const RpcStream *stream) {
    if (stream->wanted == 0 || !stream->ops->blocked_on)
        return stream->wanted;
    return stream->ops->blocked_on(stream->state, stream->wanted);
}

/* A socket takes bytes nearly always: asking epoll each time would cost two more system calls a message. */
static bool may_write(const RpcStream *stream) {
    return (blocked_on(stream) & G_IO_OUT) && !stream->is_write_blocked;
}

static GIOCondition ready_conditions(const RpcStream *stream, GIOCondition polled) {
    if (may_write(stream))
        polled |= G_IO_OUT;
    GIOCondition ready = polled & stream->wanted;
    if (polled & (G_IO_HUP | G_IO_ERR))
        ready = stream->wanted; /* trying is how the owner finds out */
    else if (polled & ~stream->wanted)
        ready = stream->wanted & ~(GIOCondition)G_IO_HUP; /* what blocked_on stood in for */
    if (has_hidden_bytes(stream))
        ready |= G_IO_IN;
    return ready;
}

/* After everything that could change what to wait for; inside on_ready once, behind it. */
static void update_poll(RpcStream *stream) {
    if (!stream->poll || stream->is_freed)
        return;
    GIOCondition wanted = blocked_on(stream);
    bool is_ready = may_write(stream) || has_hidden_bytes(stream);
    if (!stream->is_write_blocked)
        wanted &= ~(GIOCondition)G_IO_OUT;
    /* G_IO_HUP comes anyway, and keeps in the set what waits for nothing else. */
    poller_watch_want(stream->poll, stream->wanted ? (uint32_t)(wanted | G_IO_HUP) : 0);
    if (is_ready)
        poller_watch_wake(stream->poll);
}

static void on_events(uint32_t events, void *data) {
    RpcStream *stream = data;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        stream->is_write_blocked = false;
    GIOCondition ready = ready_conditions(stream, (GIOCondition)events);
    if (ready == 0)
        return;
    bool is_freed = false;
    stream->is_freed = &is_freed;
    stream->on_ready(ready, stream->ready_data);
    if (is_freed)
        return;
    stream->is_freed = NULL;
    update_poll(stream);
}

/* ---- public ---- */

RpcStream *rpc_stream_new(const RpcStreamOps *ops, void *take_state) {
    RpcStream *stream = g_new0(RpcStream, 1);
    stream->ops = ops;
    stream->state = take_state;
    return stream;
}

void *rpc_stream_state(const RpcStream *stream, const RpcStreamOps *ops) {
    return stream->ops == ops ? stream->state : NULL;
}

RpcStream *rpc_stream_new_fd(int take_fd) {
    struct stat status;
    g_assert(fstat(take_fd, &status) == 0);
    int flags = fcntl(take_fd, F_GETFL);
    g_assert(flags >= 0 && fcntl(take_fd, F_SETFL, flags | O_NONBLOCK) == 0);
    FdState *state = g_new0(FdState, 1);
    state->fd = take_fd;
    state->is_socket = S_ISSOCK(status.st_mode);
    return rpc_stream_new(&fd_ops, state);
}

RpcStream *rpc_stream_connect_unix(const char *path, Error *err) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (g_strlcpy(address.sun_path, path, sizeof address.sun_path) >= sizeof address.sun_path) {
        error_set(err, ERROR_INVALID, NULL, "the socket's path is too long: %s", path);
        return NULL;
    }
    fd_auto int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        error_set_errno(err, errno, "opening a socket");
        return NULL;
    }
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        int reason = errno;
        if (reason == EAGAIN)
            error_set(err, ERROR_BUSY, NULL, "%s has too many waiting connections", path);
        else if (reason == ENOENT)
            error_set(err, ERROR_UNREACHABLE, NULL, "nobody listens on %s", path);
        else
            error_set_errno(err, reason, "connecting to %s", path);
        return NULL;
    }
    return rpc_stream_new_fd(fd_steal(&fd));
}

RpcStream *rpc_stream_connect_own(const char *address, Error *err) {
    g_auto(RpcAddress) parsed = {0};
    RpcSocketAddress place;
    if (!rpc_address_parse(address, &parsed, err))
        return NULL;
    if (!rpc_address_is_numeric(&parsed, &place) || !rpc_address_is_own(&place)) {
        error_set(err, ERROR_DENIED, "/address", "%s is no address of this machine alone", address);
        return NULL;
    }
    fd_auto int fd = socket(place.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        error_set_errno(err, errno, "opening a socket");
        return NULL;
    }
    if (connect(fd, (const struct sockaddr *)&place.storage, place.length) < 0 && errno != EINPROGRESS) {
        error_set(err, ERROR_UNREACHABLE, NULL, "%s cannot be reached: %s", address, g_strerror(errno));
        return NULL;
    }
    return rpc_stream_new_fd(fd_steal(&fd));
}

bool rpc_stream_pair(RpcStream **ret_a, RpcStream **ret_b, Error *err) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return error_set_errno(err, errno, "opening a pair of sockets");
    *ret_a = rpc_stream_new_fd(fds[0]);
    *ret_b = rpc_stream_new_fd(fds[1]);
    return true;
}

void rpc_stream_free(RpcStream *stream) {
    if (!stream)
        return;
    if (stream->is_freed)
        *stream->is_freed = true;
    poller_watch_free(stream->poll); /* before its descriptor is closed */
    stream->ops->free(stream->state);
    if (stream->unread)
        g_byte_array_unref(stream->unread);
    if (stream->on_free)
        stream->on_free(stream->free_data);
    g_free(stream);
}

static RpcIo read_some(RpcStream *stream, void *buffer, size_t size, size_t *ret_length, Error *err) {
    if (!stream->unread) {
        RpcIo io = stream->ops->read(stream->state, buffer, size, ret_length, err);
        /* It had to write first, and could not. */
        if (io == RPC_IO_AGAIN && stream->ops->blocked_on)
            stream->is_write_blocked =
                stream->is_write_blocked || (stream->ops->blocked_on(stream->state, G_IO_IN) & G_IO_OUT);
        return io;
    }
    size_t length = MIN(size, stream->unread->len);
    memcpy(buffer, stream->unread->data, length);
    g_byte_array_remove_range(stream->unread, 0, (guint)length);
    if (stream->unread->len == 0)
        g_clear_pointer(&stream->unread, g_byte_array_unref);
    *ret_length = length;
    return RPC_IO_DONE;
}

RpcIo rpc_stream_read(RpcStream *stream, void *buffer, size_t size, size_t *ret_length, Error *err) {
    RpcIo io = read_some(stream, buffer, size, ret_length, err);
    update_poll(stream);
    return io;
}

RpcIo rpc_stream_write(RpcStream *stream, const void *data, size_t length, size_t *ret_length, Error *err) {
    RpcIo io = stream->ops->write(stream->state, data, length, ret_length, err);
    stream->is_write_blocked = stream->is_write_blocked || io == RPC_IO_AGAIN;
    update_poll(stream);
    return io;
}

void rpc_stream_shut_write(RpcStream *stream) {
    stream->ops->shut_write(stream->state);
}

void rpc_stream_unread(RpcStream *stream, const void *data, size_t length) {
    if (length == 0)
        return;
    if (!stream->unread)
        stream->unread = g_byte_array_new();
    g_byte_array_prepend(stream->unread, data, (guint)length);
    update_poll(stream);
}

bool rpc_stream_peer(const RpcStream *stream, RpcPeer *ret_peer, Error *err) {
    if (!stream->ops->peer)
        return error_set(err, ERROR_UNSUPPORTED, NULL, "a %s has no peer credentials", stream->ops->name);
    return stream->ops->peer(stream->state, ret_peer, err);
}

void rpc_stream_watch(RpcStream *stream, GIOCondition wanted, RpcReadyFn on_ready, void *data) {
    stream->wanted = wanted;
    stream->on_ready = on_ready;
    stream->ready_data = data;
    if (!stream->poll)
        stream->poll = poller_watch_new(rpc_loop_poller(), stream->ops->fd(stream->state), on_events, stream);
    update_poll(stream);
}

void rpc_stream_on_free(RpcStream *stream, void (*on_free)(void *data), void *data) {
    g_assert(!stream->on_free);
    stream->on_free = on_free;
    stream->free_data = data;
}
