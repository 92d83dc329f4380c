/* TLS tunnels through GnuTLS, from the handshake to the last byte. */
#include "tls/tls-tunnel.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/file.h"
#include "base/poller.h"
#include "tls/tls-internal.h"

enum {
    RECORD_BYTES = 16384, /* the longest plain text of a record: RFC 8446, section 5.1 */
    PLAIN_BUFFER = 65536, /* what the kernel keeps of the plain side, each way */
    TURN_BUDGET = 256 << 10,
    DISCARD_MAX = 64 << 20, /* read and thrown away while lingering */
};

struct TlsTunnels {
    Poller *poller; /* over both sockets of every tunnel, edge-triggered */
    bool has_given;
    void (*on_given)(void *data);
    void *data;
};

typedef struct TunnelEnd {
    TlsTunnel *tunnel;
    int fd;
    PollerWatch *watch;
    bool is_readable, is_writable; /* until EAGAIN says otherwise */
} TunnelEnd;

struct TlsTunnel {
    TlsTunnels *set;
    TlsCredentials *credentials;
    gnutls_session_t session;
    TunnelEnd client, plain;
    bool has_shaken_hands;
    uint8_t *held; /* decrypted, and not taken by the plain side yet; or NULL */
    size_t held_length, held_sent;
    size_t discarded;
    bool is_record_held; /* GnuTLS holds a record that the client did not take */
    bool has_client_ended, has_plain_ended, is_plain_deaf, has_said_bye, lingers;
    bool is_broken;
    void (*on_end)(void *data);
    void *data;
};

/* 1. The handshake. */

static bool start_session(TlsTunnel *self) {
    int code = tls_session_start(self->credentials, GNUTLS_SERVER, self->client.fd, &self->session);
    return code >= 0;
}

static void shake_hands(TlsTunnel *self) {
    int code = GNUTLS_E_AGAIN;
    do
        code = gnutls_handshake(self->session);
    while (code < 0 && code != GNUTLS_E_AGAIN && !gnutls_error_is_fatal(code));
    self->has_shaken_hands = code >= 0;
    if (code >= 0 || code == GNUTLS_E_AGAIN)
        return;
    gnutls_alert_send_appropriate(self->session, code);
    self->is_broken = true;
}

/* 2. From the client to the plain side. The functions that carry say whether to come back at once. */

static void end_plain_input(TlsTunnel *self) {
    if (self->has_client_ended && !self->held)
        shutdown(self->plain.fd, SHUT_WR);
}

/* How many of the bytes the plain side took; one that has closed takes everything, to nowhere. */
static size_t give_plain(TlsTunnel *self, const uint8_t *bytes, size_t length) {
    ssize_t n = -1;
    while (!self->is_plain_deaf) {
        n = send(self->plain.fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0 || errno == EAGAIN)
            break;
        self->is_plain_deaf = errno != EINTR;
    }
    if (self->is_plain_deaf) {
        self->discarded += length;
        self->is_broken = self->is_broken || self->discarded > DISCARD_MAX;
        return length;
    }
    size_t given = n > 0 ? (size_t)n : 0;
    self->set->has_given = self->set->has_given || given > 0;
    self->plain.is_writable = given == length;
    return given;
}

static bool give_held(TlsTunnel *self) {
    size_t given = give_plain(self, self->held + self->held_sent, self->held_length - self->held_sent);
    self->held_sent += given;
    if (self->held_sent == self->held_length) {
        g_clear_pointer(&self->held, g_free);
        end_plain_input(self);
    }
    return given > 0;
}

static bool has_input(int fd) {
    struct pollfd look = {.fd = fd, .events = POLLIN};
    return poll(&look, 1, 0) > 0;
}

static void take_client_end(TlsTunnel *self, ssize_t code) {
    if (code == GNUTLS_E_AGAIN) {
        /* A new key must be announced before more is read: wait for room instead. GnuTLS says the same after
         * a message of TLS's own (a new key of the client's), while more waits that no edge will tell of. */
        if (gnutls_record_get_direction(self->session) == 1)
            self->client.is_writable = false;
        else
            self->client.is_readable = has_input(self->client.fd);
        return;
    }
    if (code != 0 && code != GNUTLS_E_PREMATURE_TERMINATION) {
        self->is_broken = true;
        return;
    }
    /* Without its farewell the end could be an attacker's; HTTP's own lengths show what is missing. */
    self->has_client_ended = true;
    end_plain_input(self);
}

static bool carry_in(TlsTunnel *self, uint8_t *block) {
    if (self->held)
        return self->plain.is_writable && give_held(self);
    if (self->has_client_ended || !self->client.is_readable)
        return false;
    ssize_t n = gnutls_record_recv(self->session, block, RECORD_BYTES);
    if (n == GNUTLS_E_INTERRUPTED || n == GNUTLS_E_WARNING_ALERT_RECEIVED)
        return true;
    if (n <= 0) {
        take_client_end(self, n);
        return n == GNUTLS_E_AGAIN && self->client.is_readable;
    }
    size_t given = give_plain(self, block, (size_t)n);
    if (given < (size_t)n) {
        self->held_length = (size_t)n - given;
        self->held_sent = 0;
        self->held = g_memdup2(block + given, self->held_length);
    }
    return true;
}

/* 3. From the plain side to the client. */

static bool after_send(TlsTunnel *self, ssize_t sent) {
    self->is_record_held = sent == GNUTLS_E_AGAIN || sent == GNUTLS_E_INTERRUPTED;
    if (sent == GNUTLS_E_AGAIN)
        self->client.is_writable = false;
    else if (sent < 0 && !self->is_record_held)
        self->is_broken = true;
    return sent > 0;
}

static void say_bye(TlsTunnel *self) {
    int code = gnutls_bye(self->session, GNUTLS_SHUT_WR);
    if (code == GNUTLS_E_AGAIN) {
        self->client.is_writable = false;
        return;
    }
    self->has_said_bye = true;
    shutdown(self->client.fd, SHUT_WR);
}

static bool carry_out(TlsTunnel *self, uint8_t *block) {
    if (!self->client.is_writable || self->has_said_bye)
        return false;
    if (self->is_record_held)
        return after_send(self, gnutls_record_send(self->session, NULL, 0));
    if (self->has_plain_ended) {
        say_bye(self);
        return false;
    }
    if (!self->plain.is_readable)
        return false;
    size_t limit = MIN(gnutls_record_get_max_size(self->session), (size_t)RECORD_BYTES);
    ssize_t n = recv(self->plain.fd, block, limit, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
        self->plain.is_readable = false;
        return false;
    }
    if (n <= 0) {
        self->has_plain_ended = n == 0 || errno != EINTR;
        return true; /* come back for the farewell */
    }
    return after_send(self, gnutls_record_send(self->session, block, (size_t)n));
}

/* 4. The end. */

static bool is_over(const TlsTunnel *self) {
    return self->is_broken || (self->has_said_bye && (self->has_client_ended || !self->lingers));
}

/* One turn. False when the tunnel has ended and is freed. */
static bool pump(TlsTunnel *self) {
    uint8_t block[RECORD_BYTES];
    if (!self->has_shaken_hands && !self->is_broken)
        shake_hands(self);
    bool has_moved = self->has_shaken_hands;
    int turns = TURN_BUDGET / RECORD_BYTES;
    for (; has_moved && turns > 0 && !is_over(self); turns--) {
        has_moved = carry_in(self, block);
        has_moved = (!self->is_broken && carry_out(self, block)) || has_moved;
    }
    if (is_over(self)) {
        self->on_end(self->data);
        tls_tunnel_free(self);
        return false;
    }
    return has_moved; /* more may wait than the budget allows */
}

static void on_events(uint32_t events, void *data) {
    TunnelEnd *end = data;
    TlsTunnel *self = end->tunnel;
    const bool is_hung_up = events & (EPOLLHUP | EPOLLERR);
    end->is_readable = end->is_readable || is_hung_up || (events & (EPOLLIN | EPOLLRDHUP));
    end->is_writable = end->is_writable || is_hung_up || (events & EPOLLOUT);
    /* A client that broke off is gone, even while nobody wants to read what it sent before. The plain side
     * that ends before anything was said was cut. */
    if (is_hung_up && (end == &self->client || !self->has_shaken_hands))
        self->is_broken = true;
    if (pump(self))
        poller_watch_wake(self->client.watch);
}

static bool after_turn(void *data) {
    TlsTunnels *self = data;
    if (!self->has_given)
        return false;
    self->has_given = false;
    self->on_given(self->data);
    return true;
}

TlsTunnels *tls_tunnels_new(void (*on_given)(void *data), void *data) {
    TlsTunnels *self = g_new0(TlsTunnels, 1);
    self->on_given = on_given;
    self->data = data;
    self->poller = poller_new(after_turn, self);
    return self;
}

void tls_tunnels_free(TlsTunnels *set) {
    if (!set)
        return;
    poller_free(set->poller);
    g_free(set);
}

/* A tunnel's life */

static void watch(TlsTunnel *self, TunnelEnd *end) {
    end->tunnel = self;
    end->watch = poller_watch_new(self->set->poller, end->fd, on_events, end);
    poller_watch_want(end->watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

static bool open_pair(TlsTunnel *self, int *ret_plain_fd) {
    int fds[2];
    const int size = PLAIN_BUFFER, yes = 1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return false;
    for (int i = 0; i < 2; i++)
        setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    /* Records go out whole; a key typed into a console must not wait for more. */
    setsockopt(self->client.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    self->plain.fd = fds[0];
    *ret_plain_fd = fds[1];
    return true;
}

TlsTunnel *tls_tunnel_new(TlsTunnels *set, TlsCredentials *credentials, int take_fd,
    void (*on_end)(void *data), void *data, int *ret_plain_fd, Error *err) {
    TlsTunnel *self = g_new0(TlsTunnel, 1);
    fd_auto int plain_fd = -1;
    self->set = set;
    self->credentials = tls_credentials_ref(credentials);
    self->client.fd = take_fd;
    self->plain.fd = -1;
    self->on_end = on_end;
    self->data = data;
    if (!open_pair(self, &plain_fd) || !start_session(self)) {
        error_set(err, ERROR_IO, NULL, "no descriptors or memory for another TLS connection");
        tls_tunnel_free(self);
        return NULL;
    }
    watch(self, &self->client);
    watch(self, &self->plain);
    *ret_plain_fd = fd_steal(&plain_fd);
    return self;
}

static void close_end(TunnelEnd *end) {
    poller_watch_free(end->watch);
    fd_close(&end->fd);
}

void tls_tunnel_free(TlsTunnel *tunnel) {
    if (!tunnel)
        return;
    if (tunnel->session)
        gnutls_deinit(tunnel->session);
    close_end(&tunnel->client);
    close_end(&tunnel->plain);
    tls_credentials_unref(tunnel->credentials);
    if (tunnel->held)
        memset(tunnel->held, 0, tunnel->held_length);
    g_free(tunnel->held);
    g_free(tunnel);
}

void tls_tunnel_linger(TlsTunnel *tunnel) {
    tunnel->lingers = true;
}
