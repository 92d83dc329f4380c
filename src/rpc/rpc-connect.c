/* One connecting after the other of its steps: the address, its sockets one by one, the stream. */
#include "rpc/rpc-connect.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include "base/file.h"
#include "base/work.h"
#include "rpc/rpc-loop.h"

enum { RESOLVERS = 4, MOST_QUESTIONS = 4096, TIMEOUT_MS = 10000, SHARE_MS = 3000 };

struct RpcConnector {
    WorkPool *resolvers;
};

/* Its own, because a resolver cannot be interrupted. */
typedef struct Question {
    RpcConnecting *connecting; /* NULL: given up */
    RpcAddress address;
    GArray *answers; /* RpcSocketAddress */
    Error err;
} Question;

struct RpcConnecting {
    RpcConnector *connector;
    RpcConnectOptions options;
    RpcConnectedFn on_connected;
    void *data;
    char *text; /* the address */
    Question *question;
    GArray *addresses; /* RpcSocketAddress */
    guint next;
    int fd;
    PollerWatch *writable; /* NULL: no socket connects */
    Timer *share, *deadline;
    guint later;
    Error last; /* why the newest socket failed */
    RpcStream *stream;
};

RpcConnector *rpc_connector_new(void) {
    RpcConnector *connector = g_new0(RpcConnector, 1);
    connector->resolvers = work_pool_new("resolve", RESOLVERS, MOST_QUESTIONS);
    return connector;
}

void rpc_connector_free(RpcConnector *connector) {
    if (!connector)
        return;
    work_pool_free(connector->resolvers);
    g_free(connector);
}

/* ---- the end ---- */

static void drop_socket(RpcConnecting *self) {
    g_clear_pointer(&self->writable, poller_watch_free);
    timer_stop(self->share);
    fd_close(&self->fd);
}

void rpc_connecting_free(RpcConnecting *connecting) {
    if (!connecting)
        return;
    drop_socket(connecting);
    timer_free(connecting->share);
    timer_free(connecting->deadline);
    g_clear_handle_id(&connecting->later, g_source_remove);
    if (connecting->question)
        connecting->question->connecting = NULL;
    if (connecting->addresses)
        g_array_unref(connecting->addresses);
    rpc_stream_free(connecting->stream);
    tls_credentials_unref(connecting->options.tls.credentials);
    error_clear(&connecting->last);
    g_free(connecting->text);
    g_free(connecting);
}

static gboolean finish(void *data) {
    RpcConnecting *self = data;
    RpcConnectedFn on_connected = self->on_connected;
    void *user = self->data;
    RpcStream *stream = g_steal_pointer(&self->stream);
    g_auto(Error) err = {0};
    error_move(&err, &self->last);
    self->later = 0;
    rpc_connecting_free(self);
    on_connected(stream, stream ? NULL : &err, user);
    return G_SOURCE_REMOVE;
}

static void finish_later(RpcConnecting *self) {
    drop_socket(self);
    timer_stop(self->deadline);
    self->later = g_idle_add_full(G_PRIORITY_DEFAULT, finish, self, NULL);
}

/* ---- sockets ---- */

static void try_next(RpcConnecting *self);

static void take_socket(RpcConnecting *self) {
    RpcTlsOptions tls = self->options.tls;
    const int on = 1;
    tls.side = TLS_SIDE_CLIENT;
    setsockopt(self->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    error_clear(&self->last);
    self->stream = rpc_stream_new_tls(&tls, fd_steal(&self->fd), &self->last);
    finish_later(self);
}

static void socket_failed(RpcConnecting *self, int reason) {
    error_clear(&self->last);
    error_set(
        &self->last, ERROR_UNREACHABLE, NULL, "%s cannot be reached: %s", self->text, g_strerror(reason));
    drop_socket(self);
    try_next(self);
}

static void on_writable(uint32_t events G_GNUC_UNUSED, void *data) {
    RpcConnecting *self = data;
    int reason = 0;
    socklen_t length = sizeof reason;
    g_clear_pointer(&self->writable, poller_watch_free); /* the stream has one of its own */
    if (getsockopt(self->fd, SOL_SOCKET, SO_ERROR, &reason, &length) < 0)
        reason = errno;
    if (reason)
        socket_failed(self, reason);
    else
        take_socket(self);
}

/* The others get a chance too. */
static void share_is_over(void *data) {
    socket_failed(data, ETIMEDOUT);
}

static void try_next(RpcConnecting *self) {
    if (self->next >= self->addresses->len) {
        finish_later(self);
        return;
    }
    const RpcSocketAddress *address = &g_array_index(self->addresses, RpcSocketAddress, self->next++);
    self->fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (self->fd < 0) {
        socket_failed(self, errno);
        return;
    }
    if (connect(self->fd, (const struct sockaddr *)&address->storage, address->length) == 0) {
        take_socket(self);
    } else if (errno != EINPROGRESS) {
        socket_failed(self, errno);
    } else {
        self->writable = poller_watch_new(rpc_loop_poller(), self->fd, on_writable, self);
        poller_watch_want(self->writable, EPOLLOUT);
        if (self->next < self->addresses->len)
            timer_set(self->share, SHARE_MS * NS_PER_MS);
    }
}

/* ---- names ---- */

static void question_free(Question *question) {
    rpc_address_clear(&question->address);
    if (question->answers)
        g_array_unref(question->answers);
    error_clear(&question->err);
    g_free(question);
}

static void resolve(void *data) {
    Question *question = data;
    rpc_address_resolve(&question->address, &question->answers, &question->err);
}

static void resolved(void *data) {
    Question *question = data;
    RpcConnecting *self = question->connecting;
    if (self) {
        self->question = NULL;
        self->addresses = g_steal_pointer(&question->answers);
        if (self->addresses) {
            try_next(self);
        } else {
            error_move(&self->last, &question->err);
            finish_later(self);
        }
    }
    question_free(question);
}

static void ask(RpcConnecting *self, const RpcAddress *address) {
    Question *question = g_new0(Question, 1);
    question->connecting = self;
    question->address = (RpcAddress){.host = g_strdup(address->host), .port = address->port};
    if (work_pool_add(self->connector->resolvers, resolve, resolved, question, &self->last)) {
        self->question = question;
    } else {
        question_free(question);
        finish_later(self);
    }
}

/* ---- the beginning ---- */

static void time_is_over(void *data) {
    RpcConnecting *self = data;
    error_clear(&self->last);
    error_set(&self->last, ERROR_TIMED_OUT, NULL, "%s does not answer", self->text);
    if (self->question)
        self->question->connecting = NULL;
    self->question = NULL;
    finish_later(self);
}

RpcConnecting *rpc_connect(RpcConnector *connector, const RpcAddress *address,
    const RpcConnectOptions *options, RpcConnectedFn on_connected, void *data) {
    RpcConnecting *self = g_new0(RpcConnecting, 1);
    *self = (RpcConnecting){.connector = connector,
        .options = *options,
        .on_connected = on_connected,
        .data = data,
        .text = rpc_address_text(address),
        .fd = -1,
        .share = timer_new(rpc_loop_timers(), share_is_over, self),
        .deadline = timer_new(rpc_loop_timers(), time_is_over, self)};
    if (options->tls.credentials)
        tls_credentials_ref(options->tls.credentials);
    RpcSocketAddress numeric;
    if (address->path) {
        self->stream = rpc_stream_connect_unix(address->path, &self->last);
        finish_later(self);
        return self;
    }
    timer_set(self->deadline, (options->timeout_ms ? options->timeout_ms : TIMEOUT_MS) * NS_PER_MS);
    if (!options->tls.credentials) {
        error_set(&self->last, ERROR_UNSUPPORTED, "/address", "this side has no certificate to show");
        finish_later(self);
    } else if (rpc_address_is_numeric(address, &numeric)) {
        self->addresses = g_array_new(FALSE, FALSE, sizeof numeric);
        g_array_append_val(self->addresses, numeric);
        try_next(self);
    } else {
        ask(self, address);
    }
    return self;
}
