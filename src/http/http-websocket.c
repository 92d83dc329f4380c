/* WebSockets: framing by libwslay, bounded queues, and a main-loop driver with pings. */
#include "http/http-websocket-internal.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <wslay/wslay.h>

enum {
    DEFAULT_MESSAGE_LIMIT = 1 << 20,
    DEFAULT_QUEUE_LIMIT = 1 << 20,
    DEFAULT_PING_MS = 30000,
    READ_BUDGET = 256 << 10, /* per turn, so that one peer does not hold the loop */
    QUEUED_MESSAGES_MAX = 65536,
    QUEUED_WHILE_READING_MAX = 1024, /* pongs to a peer that sends pings and reads nothing */
    CLOSE_WAIT_MS = 5000,
    REASON_MAX = 122,
};

#define ACCEPT_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455, section 1.3 */

struct HttpWebSocket {
    wslay_event_context_ptr frames;
    WebSocketTransport transport;
    HttpWebSocketEvents events;
    void *user;
    size_t queue_limit;
    int64_t ping_interval_ms;
    GByteArray *early;
    size_t read_budget;
    int silent_ticks;
    bool is_paused, is_refusing, is_closing, is_over;
    uint16_t close_code; /* to be sent behind what is queued; 0: nothing waits */
    char close_reason[REASON_MAX];
    size_t close_reason_length;
    GSource *source; /* when attached */
    gpointer tag;
    short polled;
};

/* Framing */

static ssize_t read_frames(
    wslay_event_context_ptr frames, uint8_t *buffer, size_t length, int flags G_GNUC_UNUSED, void *user) {
    HttpWebSocket *self = user;
    length = MIN(length, self->read_budget);
    if (length == 0 || self->is_paused) {
        wslay_event_set_error(frames, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    if (self->early->len > 0) {
        length = MIN(length, (size_t)self->early->len);
        memcpy(buffer, self->early->data, length);
        g_byte_array_remove_range(self->early, 0, (guint)length);
        return (ssize_t)length;
    }
    ssize_t n = self->transport.read(self->transport.data, buffer, length);
    if (n > 0) {
        self->read_budget -= (size_t)n;
        self->silent_ticks = 0;
        return n;
    }
    bool is_later = n < 0 && (errno == EAGAIN || errno == EINTR);
    wslay_event_set_error(frames, is_later ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static ssize_t write_frames(
    wslay_event_context_ptr frames, const uint8_t *data, size_t length, int flags G_GNUC_UNUSED, void *user) {
    HttpWebSocket *self = user;
    ssize_t n = self->transport.write(self->transport.data, data, length);
    if (n > 0)
        return n;
    bool is_later = n < 0 && (errno == EAGAIN || errno == EINTR);
    wslay_event_set_error(frames, is_later ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static int make_mask(
    wslay_event_context_ptr frames G_GNUC_UNUSED, uint8_t *buffer, size_t length, void *user G_GNUC_UNUSED) {
    return getrandom(buffer, length, 0) == (ssize_t)length ? 0 : -1;
}

static void take_message(wslay_event_context_ptr frames G_GNUC_UNUSED,
    const struct wslay_event_on_msg_recv_arg *message, void *user) {
    HttpWebSocket *self = user;
    if (message->opcode == WSLAY_TEXT_FRAME || message->opcode == WSLAY_BINARY_FRAME)
        self->events.on_message(
            self, message->opcode == WSLAY_TEXT_FRAME, message->msg, message->msg_length, self->user);
}

static const struct wslay_event_callbacks frame_callbacks = {
    .recv_callback = read_frames,
    .send_callback = write_frames,
    .genmask_callback = make_mask,
    .on_msg_recv_callback = take_message,
};

HttpWebSocket *http_websocket_new(bool is_client, const WebSocketTransport *transport, const void *early,
    size_t early_length, const HttpWebSocketOptions *options, const HttpWebSocketEvents *events, void *user) {
    HttpWebSocket *self = g_new0(HttpWebSocket, 1);
    self->transport = *transport;
    self->events = *events;
    self->user = user;
    self->queue_limit = options && options->queue_limit ? options->queue_limit : DEFAULT_QUEUE_LIMIT;
    self->ping_interval_ms =
        options && options->ping_interval_ms ? options->ping_interval_ms : DEFAULT_PING_MS;
    self->early = g_byte_array_new();
    g_byte_array_append(self->early, early_length ? early : (const void *)"", (guint)early_length);
    int made = is_client ? wslay_event_context_client_init(&self->frames, &frame_callbacks, self)
                         : wslay_event_context_server_init(&self->frames, &frame_callbacks, self);
    g_assert(made == 0);
    wslay_event_config_set_max_recv_msg_length(
        self->frames, options && options->message_limit ? options->message_limit : DEFAULT_MESSAGE_LIMIT);
    return self;
}

static bool wants_read(const HttpWebSocket *self) {
    return !self->is_paused && wslay_event_want_read(self->frames) &&
           wslay_event_get_queued_msg_count(self->frames) <= QUEUED_MESSAGES_MAX + QUEUED_WHILE_READING_MAX;
}

static void finish(HttpWebSocket *self) {
    if (self->is_over)
        return;
    self->is_over = true;
    self->events.on_closed(self, wslay_event_get_status_code_received(self->frames), self->user);
}

/* Control frames overtake queued messages, so our close waits until those are gone. */
static void queue_due_close(HttpWebSocket *self) {
    if (self->close_code == 0 || wslay_event_get_queued_msg_count(self->frames) > 0)
        return;
    wslay_event_queue_close(
        self->frames, self->close_code, (const uint8_t *)self->close_reason, self->close_reason_length);
    self->close_code = 0;
}

bool http_websocket_pump(HttpWebSocket *websocket) {
    HttpWebSocket *self = websocket;
    self->read_budget =
        self->source ? READ_BUDGET : SIZE_MAX; /* unattached: TLS may hold bytes that no poll shows */
    bool is_sound = !wants_read(self) || wslay_event_recv(self->frames) == 0;
    if (wslay_event_want_write(self->frames))
        is_sound = wslay_event_send(self->frames) == 0 && is_sound;
    queue_due_close(self);
    if (is_sound && self->is_closing && wslay_event_want_write(self->frames))
        is_sound = wslay_event_send(self->frames) == 0;
    bool is_closed =
        (wslay_event_get_close_received(self->frames) && wslay_event_get_close_sent(self->frames)) ||
        (!wslay_event_want_read(self->frames) && !wslay_event_want_write(self->frames));
    if (!is_sound || is_closed) {
        finish(self);
        return false;
    }
    if (self->is_refusing && http_websocket_queued(self) <= self->queue_limit / 2) {
        self->is_refusing = false;
        if (self->events.on_writable)
            self->events.on_writable(self, self->user);
    }
    return true;
}

short http_websocket_interest(const HttpWebSocket *websocket) {
    int interest = wants_read(websocket) ? POLLIN : 0;
    return (short)(interest | (wslay_event_want_write(websocket->frames) ? POLLOUT : 0));
}

int http_websocket_descriptor(const HttpWebSocket *websocket) {
    return websocket->transport.fd;
}

void http_websocket_drop(HttpWebSocket *websocket) {
    if (!websocket)
        return;
    if (websocket->source) {
        g_source_destroy(websocket->source);
        g_source_unref(websocket->source);
    }
    finish(websocket);
    websocket->transport.close(websocket->transport.data);
    wslay_event_context_free(websocket->frames);
    g_byte_array_unref(websocket->early);
    g_free(websocket);
}

/* The main-loop driver: asks before each poll what the WebSocket wants. */

typedef struct WebSocketSource {
    GSource source;
    HttpWebSocket *websocket;
} WebSocketSource;

static bool tick(HttpWebSocket *self) {
    if (self->is_closing || self->silent_ticks >= 2)
        return false; /* no answer to our close or to our pings */
    self->silent_ticks++;
    const struct wslay_event_msg ping = {.opcode = WSLAY_PING};
    wslay_event_queue_msg(self->frames, &ping);
    g_source_set_ready_time(self->source, g_get_monotonic_time() + self->ping_interval_ms * 1000);
    return true;
}

static gboolean websocket_prepare(GSource *source, int *timeout_ms) {
    HttpWebSocket *self = ((WebSocketSource *)source)->websocket;
    *timeout_ms = -1;
    short interest = http_websocket_interest(self);
    if (interest != self->polled) {
        if (self->tag)
            g_source_remove_unix_fd(source, self->tag);
        self->tag =
            interest ? g_source_add_unix_fd(source, self->transport.fd, (GIOCondition)interest) : NULL;
        self->polled = interest;
    }
    return self->early->len > 0 && wants_read(self);
}

static gboolean websocket_check(GSource *source) {
    HttpWebSocket *self = ((WebSocketSource *)source)->websocket;
    return self->tag && g_source_query_unix_fd(source, self->tag) != 0;
}

static gboolean websocket_dispatch(
    GSource *source, GSourceFunc callback G_GNUC_UNUSED, void *data G_GNUC_UNUSED) {
    HttpWebSocket *self = ((WebSocketSource *)source)->websocket;
    bool is_due = g_get_monotonic_time() >= g_source_get_ready_time(source);
    if ((is_due && !tick(self)) || !http_websocket_pump(self)) {
        http_websocket_drop(self);
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs websocket_functions = {
    .prepare = websocket_prepare, .check = websocket_check, .dispatch = websocket_dispatch};

void http_websocket_attach(HttpWebSocket *websocket) {
    websocket->source = g_source_new(&websocket_functions, sizeof(WebSocketSource));
    ((WebSocketSource *)websocket->source)->websocket = websocket;
    g_source_set_ready_time(websocket->source, g_get_monotonic_time() + websocket->ping_interval_ms * 1000);
    g_source_attach(websocket->source, NULL);
}

/* What both sides call. */

bool http_websocket_send(HttpWebSocket *websocket, bool is_text, const void *data, size_t length) {
    size_t queued = http_websocket_queued(websocket);
    if (websocket->is_closing || websocket->is_over)
        return false;
    if ((queued > 0 && queued + length > websocket->queue_limit) ||
        wslay_event_get_queued_msg_count(websocket->frames) >= QUEUED_MESSAGES_MAX) {
        websocket->is_refusing = true;
        return false;
    }
    const struct wslay_event_msg message = {
        .opcode = is_text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME, .msg = data, .msg_length = length};
    return wslay_event_queue_msg(websocket->frames, &message) == 0;
}

size_t http_websocket_queued(const HttpWebSocket *websocket) {
    return wslay_event_get_queued_msg_length(websocket->frames);
}

void http_websocket_close(HttpWebSocket *websocket, uint16_t code, const char *reason) {
    if (websocket->is_closing || websocket->is_over)
        return;
    size_t length = reason ? MIN(strlen(reason), (size_t)REASON_MAX) : 0;
    websocket->close_code = code;
    websocket->close_reason_length = length;
    if (length > 0)
        memcpy(websocket->close_reason, reason, length);
    queue_due_close(websocket);
    websocket->is_closing = true;
    websocket->is_paused = false; /* the answer to the close must be read */
    if (websocket->source)
        g_source_set_ready_time(websocket->source, g_get_monotonic_time() + CLOSE_WAIT_MS * 1000);
}

void http_websocket_pause(HttpWebSocket *websocket) {
    websocket->is_paused = !websocket->is_closing;
}

void http_websocket_resume(HttpWebSocket *websocket) {
    websocket->is_paused = false;
}

char *http_websocket_accept_key(const char *key) {
    g_autofree char *text = g_strconcat(key, ACCEPT_GUID, NULL);
    g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA1);
    g_checksum_update(checksum, (const guchar *)text, (gssize)strlen(text));
    guint8 digest[20];
    gsize length = sizeof digest;
    g_checksum_get_digest(checksum, digest, &length);
    return g_base64_encode(digest, length);
}
