/* One-time tickets, and the client's side of opening a stream with one. */
#include "rpc/rpc-ticket.h"
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include "model/json.h"
#include "rpc/rpc-frame.h"

enum { TICKET_BYTES = RPC_TICKET_LENGTH / 2, FIRST_READ = 4096 };

typedef struct Ticket {
    char secret[RPC_TICKET_LENGTH + 1];
    char *purpose;
    char *object;
    int64_t expires_ns; /* monotonic */
    RpcStreamFn consumer;
    void *data;
    GDestroyNotify free_data;
} Ticket;

struct RpcTickets {
    const Clock *clock;
    int max_open;
    GPtrArray *open; /* of Ticket */
    guint timer;     /* 0 while no ticket is open */
};

static void ticket_free(void *data) {
    Ticket *ticket = data;
    explicit_bzero(ticket->secret, sizeof ticket->secret);
    if (ticket->free_data)
        ticket->free_data(ticket->data);
    g_free(ticket->purpose);
    g_free(ticket->object);
    g_free(ticket);
}

RpcTickets *rpc_tickets_new(const Clock *clock, int max_open) {
    g_assert(max_open > 0);
    RpcTickets *tickets = g_new0(RpcTickets, 1);
    tickets->clock = clock ? clock : clock_system();
    tickets->max_open = max_open;
    tickets->open = g_ptr_array_new_with_free_func(ticket_free);
    return tickets;
}

void rpc_tickets_free(RpcTickets *tickets) {
    if (!tickets)
        return;
    if (tickets->timer)
        g_source_remove(tickets->timer);
    g_ptr_array_unref(tickets->open);
    g_free(tickets);
}

static void fill_secret(char *secret) {
    uint8_t bytes[TICKET_BYTES];
    ssize_t n;
    do
        n = getrandom(bytes, sizeof bytes, 0);
    while (n < 0 && errno == EINTR);
    g_assert(n == sizeof bytes); /* never short up to 256 bytes, getrandom(2) */
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof bytes; i++) {
        secret[2 * i] = digits[bytes[i] >> 4];
        secret[2 * i + 1] = digits[bytes[i] & 15];
    }
    explicit_bzero(bytes, sizeof bytes);
}

static gboolean on_second(void *data) {
    RpcTickets *tickets = data;
    rpc_tickets_expire(tickets);
    if (tickets->open->len > 0)
        return G_SOURCE_CONTINUE;
    tickets->timer = 0;
    return G_SOURCE_REMOVE;
}

char *rpc_ticket_issue(RpcTickets *tickets, const char *purpose, const char *object, int64_t ttl_ms,
    RpcStreamFn consumer, void *data, GDestroyNotify free_data, Error *err) {
    g_assert(ttl_ms > 0 && ttl_ms <= INT64_MAX / 4 / NS_PER_MS);
    rpc_tickets_expire(tickets);
    if (tickets->open->len >= (guint)tickets->max_open) {
        error_set(err, ERROR_BUSY, NULL, "%d streams wait to be opened already", tickets->max_open);
        return NULL;
    }
    Ticket *ticket = g_new0(Ticket, 1);
    fill_secret(ticket->secret);
    ticket->purpose = g_strdup(purpose);
    ticket->object = g_strdup(object);
    ticket->expires_ns = clock_monotonic_ns(tickets->clock) + ttl_ms * NS_PER_MS;
    ticket->consumer = consumer;
    ticket->data = data;
    ticket->free_data = free_data;
    g_ptr_array_add(tickets->open, ticket);
    if (!tickets->timer)
        tickets->timer = g_timeout_add_seconds(1, on_second, tickets);
    return g_strdup(ticket->secret);
}

/* The time depends on the length of what was presented, never on how much of it is right. */
static bool is_same_secret(const char *secret, const char *presented) {
    if (strlen(presented) != RPC_TICKET_LENGTH)
        return false;
    unsigned difference = 0;
    for (size_t i = 0; i < RPC_TICKET_LENGTH; i++)
        difference |= (unsigned char)secret[i] ^ (unsigned char)presented[i];
    return difference == 0;
}

bool rpc_ticket_redeem(RpcTickets *tickets, const char *ticket, RpcStream *take_stream,
    bool (*prepare)(RpcStream *stream, Error *err), Error *err) {
    rpc_tickets_expire(tickets);
    Ticket *found = NULL;
    for (guint i = 0; i < tickets->open->len; i++) {
        Ticket *candidate = g_ptr_array_index(tickets->open, i);
        if (is_same_secret(candidate->secret, ticket))
            found = candidate;
    }
    if (!found)
        return error_set(err, ERROR_DENIED, NULL, "the ticket is unknown, used or expired");
    guint index = 0;
    g_assert(g_ptr_array_find(tickets->open, found, &index));
    g_ptr_array_steal_index_fast(tickets->open, index);
    bool ready = !prepare || prepare(take_stream, err);
    if (ready)
        found->consumer(take_stream, found->purpose, found->object, found->data);
    ticket_free(found);
    return ready;
}

void rpc_tickets_expire(RpcTickets *tickets) {
    int64_t now_ns = clock_monotonic_ns(tickets->clock);
    for (guint i = tickets->open->len; i > 0; i--) {
        const Ticket *ticket = g_ptr_array_index(tickets->open, i - 1);
        if (ticket->expires_ns <= now_ns)
            g_ptr_array_remove_index_fast(tickets->open, i - 1);
    }
}

/* ---- client ---- */

struct RpcStreamOpening {
    RpcStream *stream;
    RpcFrameReader *reader;
    GByteArray *request; /* what is still to be written */
    GSource *timer;
    int64_t timeout_ms;
    RpcOpenedFn on_opened;
    void *data;
};

void rpc_stream_opening_free(RpcStreamOpening *opening) {
    if (!opening)
        return;
    g_source_destroy(opening->timer);
    g_source_unref(opening->timer);
    rpc_stream_free(opening->stream);
    rpc_frame_reader_free(opening->reader);
    g_byte_array_unref(opening->request);
    g_free(opening);
}

static void opening_failed(RpcStreamOpening *opening, const Error *error) {
    RpcOpenedFn on_opened = opening->on_opened;
    void *data = opening->data;
    rpc_stream_opening_free(opening);
    on_opened(NULL, error, data);
}

static void opening_succeeded(RpcStreamOpening *opening) {
    size_t length = 0;
    const void *rest = rpc_frame_reader_rest(opening->reader, &length);
    RpcStream *stream = g_steal_pointer(&opening->stream);
    rpc_stream_watch(stream, 0, NULL, NULL);
    rpc_stream_unread(stream, rest, length);
    RpcOpenedFn on_opened = opening->on_opened;
    void *data = opening->data;
    rpc_stream_opening_free(opening);
    on_opened(stream, NULL, data);
}

static bool is_stream_answer(const json_t *message, Error *err) {
    const char *type = json_string_value(json_object_get(message, "type"));
    if (type && g_str_equal(type, "stream"))
        return true;
    if (type && g_str_equal(type, "close")) {
        const json_t *problem = json_object_get(message, "error");
        if (!json_is_problem(problem))
            return error_set(err, ERROR_PROTOCOL, NULL, "the peer refused the stream without a reason");
        error_from_json(problem, err);
        return error_wrap(err, ERROR_NONE, "the peer refused the stream");
    }
    return error_set(err, ERROR_PROTOCOL, NULL, "the peer did not answer a ticket with a stream");
}

static bool write_request(RpcStreamOpening *opening, Error *err) {
    while (opening->request->len > 0) {
        size_t n = 0;
        RpcIo io = rpc_stream_write(opening->stream, opening->request->data, opening->request->len, &n, err);
        if (io != RPC_IO_DONE)
            return io == RPC_IO_AGAIN;
        g_byte_array_remove_range(opening->request, 0, (guint)n);
    }
    return true;
}

/* False with the reason when the opening failed; *ret_opened once the answer is there. */
static bool read_answer(RpcStreamOpening *opening, bool *ret_opened, Error *err) {
    uint8_t buffer[FIRST_READ];
    size_t n = 0;
    RpcIo io = rpc_stream_read(opening->stream, buffer, sizeof buffer, &n, err);
    if (io == RPC_IO_END)
        return error_set(
            err, ERROR_UNREACHABLE, NULL, "the peer closed the connection instead of opening a stream");
    if (io != RPC_IO_DONE)
        return io == RPC_IO_AGAIN;
    rpc_frame_reader_add(opening->reader, buffer, n);
    json_t *message = NULL;
    if (!rpc_frame_reader_next(opening->reader, &message, err))
        return false;
    bool good = !message || is_stream_answer(message, err);
    *ret_opened = good && message;
    json_decref(message);
    return good;
}

static void on_opening_ready(GIOCondition ready, void *data) {
    RpcStreamOpening *opening = data;
    g_auto(Error) err = {0};
    bool is_opened = false;
    bool good = !(ready & G_IO_OUT) || write_request(opening, &err);
    if (good && (ready & G_IO_IN))
        good = read_answer(opening, &is_opened, &err);
    if (!good) {
        opening_failed(opening, &err);
    } else if (is_opened) {
        opening_succeeded(opening);
    } else {
        GIOCondition wanted = opening->request->len > 0 ? G_IO_IN | G_IO_OUT : G_IO_IN;
        rpc_stream_watch(opening->stream, wanted, on_opening_ready, opening);
    }
}

static gboolean on_opening_timeout(void *data) {
    RpcStreamOpening *opening = data;
    g_auto(Error) err = {0};
    error_set(&err, ERROR_TIMED_OUT, NULL, "the peer opened no stream within %" G_GINT64_FORMAT " ms",
        opening->timeout_ms);
    opening_failed(opening, &err);
    return G_SOURCE_REMOVE;
}

RpcStreamOpening *rpc_stream_open(
    RpcStream *take_stream, const char *ticket, int64_t timeout_ms, RpcOpenedFn on_opened, void *data) {
    g_assert(timeout_ms > 0 && timeout_ms <= UINT_MAX);
    RpcStreamOpening *opening = g_new0(RpcStreamOpening, 1);
    opening->stream = take_stream;
    opening->reader = rpc_frame_reader_new();
    opening->request = g_byte_array_new();
    opening->timeout_ms = timeout_ms;
    opening->on_opened = on_opened;
    opening->data = data;
    json_t *message = json_pack("{s:s, s:s}", "type", "stream", "ticket", ticket);
    g_assert(message); /* a ticket is ASCII */
    rpc_frame_append(opening->request, message, NULL);
    json_decref(message);
    opening->timer = g_timeout_source_new((guint)timeout_ms);
    g_source_set_callback(opening->timer, on_opening_timeout, opening, NULL);
    g_source_attach(opening->timer, NULL);
    rpc_stream_watch(take_stream, G_IO_IN | G_IO_OUT, on_opening_ready, opening);
    return opening;
}
