/* One connection of the agent protocol: bytes in and out, hello, keep-alive, and who gets which message. */
#include "model/json.h"
#include "rpc/rpc-connection-private.h"
#include "rpc/rpc-loop.h"

enum {
    READ_SIZE = 64 * 1024,
    READS_PER_TURN = 4,       /* then others get the main loop */
    CONGESTED_BYTES = 65536,  /* above this, progress waits */
    KEEP_BUFFER = 256 * 1024, /* a drained output buffer that grew larger is given back */
};
static const int64_t NEVER_NS = INT64_MAX;

static void close_connection(RpcConnection *connection, Error *take_reason);
static void on_stream_ready(GIOCondition ready, void *data);

static RpcConnection *hold(RpcConnection *connection) {
    connection->references++;
    return connection;
}

static void release(RpcConnection *connection) {
    if (--connection->references > 0)
        return;
    g_assert(connection->state == RPC_CLOSED);
    rpc_frame_reader_free(connection->reader);
    g_byte_array_unref(connection->output);
    g_hash_table_unref(connection->calls);
    g_hash_table_unref(connection->requests);
    g_free(connection->software);
    g_strfreev(connection->features);
    g_free(connection->peer_software);
    json_decref(connection->peer_features);
    error_clear(&connection->doom);
    g_free(connection);
}

static void clear_source(GSource **source) {
    if (!*source)
        return;
    g_source_destroy(*source);
    g_source_unref(*source);
    *source = NULL;
}

/* ---- output ---- */

static size_t queued_bytes(const RpcConnection *connection) {
    return connection->output->len - connection->written;
}

static void watch(RpcConnection *connection) {
    GIOCondition wanted = G_IO_IN;
    if (connection->may_write && queued_bytes(connection) > 0)
        wanted |= G_IO_OUT;
    rpc_stream_watch(connection->stream, wanted, on_stream_ready, connection);
}

bool rpc_connection_is_congested(const RpcConnection *connection) {
    return queued_bytes(connection) > CONGESTED_BYTES;
}

bool rpc_connection_send(RpcConnection *connection, json_t *take_message, Error *err) {
    bool done = true;
    if (connection->stream && !error_is_set(&connection->doom)) {
        bool was_idle = queued_bytes(connection) == 0;
        done = rpc_frame_append(connection->output, take_message, err);
        if (queued_bytes(connection) > connection->options.max_queued_bytes) {
            g_auto(Error) reason = {0};
            error_set(&reason, ERROR_UNREACHABLE, NULL,
                "the peer does not read: more than %zu bytes wait for it",
                connection->options.max_queued_bytes);
            rpc_connection_doom(connection, &reason);
        } else if (was_idle && connection->may_write) {
            watch(connection);
        }
    }
    json_decref(take_message);
    return done;
}

static void shrink_output(RpcConnection *connection) {
    if (queued_bytes(connection) == 0 && connection->written > KEEP_BUFFER) {
        g_byte_array_unref(connection->output);
        connection->output = g_byte_array_new();
        connection->written = 0;
    } else if (connection->written >= connection->output->len / 2) {
        g_byte_array_remove_range(connection->output, 0, (guint)connection->written);
        connection->written = 0;
    }
}

/* Writes what the stream takes. False with the reason when the stream failed. */
static bool flush(RpcConnection *connection, Error *err) {
    while (connection->may_write && queued_bytes(connection) > 0) {
        size_t n = 0;
        const uint8_t *front = connection->output->data + connection->written;
        RpcIo io = rpc_stream_write(connection->stream, front, queued_bytes(connection), &n, err);
        if (io == RPC_IO_FAILED)
            return false;
        if (io == RPC_IO_AGAIN)
            break;
        connection->written += n;
        shrink_output(connection);
    }
    if (!rpc_connection_is_congested(connection))
        rpc_requests_flush_progress(connection);
    return true;
}

/* Best effort: a peer that reads learns why. */
static void say_close(RpcConnection *connection, const Error *reason) {
    if (!connection->may_write) /* what waits for the hello goes nowhere */
        g_byte_array_set_size(connection->output, 0);
    connection->may_write = true;
    rpc_connection_send(
        connection, json_pack("{s:s, s:o}", "type", "close", "error", error_to_json(reason)), NULL);
    flush(connection, NULL);
    rpc_stream_shut_write(connection->stream);
}

/* ---- the end ---- */

static void close_quietly(RpcConnection *connection, const Error *reason) {
    connection->state = RPC_CLOSED;
    g_clear_pointer(&connection->stream, rpc_stream_free);
    g_clear_pointer(&connection->timer, timer_free);
    clear_source(&connection->doom_source);
    rpc_requests_detach_all(connection);
    rpc_calls_end_all(connection, reason);
}

static void close_connection(RpcConnection *connection, Error *take_reason) {
    if (connection->state == RPC_CLOSED) {
        error_clear(take_reason);
        return;
    }
    g_auto(Error) reason = {0};
    error_move(&reason, take_reason);
    hold(connection);
    close_quietly(connection, &reason);
    /* Not any more when a callback of a call has freed the connection. */
    if (connection->options.on_closed)
        connection->options.on_closed(connection, &reason, connection->options.data);
    release(connection);
}

static gboolean on_doom(void *data) {
    RpcConnection *connection = data;
    g_auto(Error) reason = {0};
    error_move(&reason, &connection->doom);
    close_connection(connection, &reason);
    return G_SOURCE_REMOVE;
}

void rpc_connection_doom(RpcConnection *connection, Error *take_reason) {
    if (!connection->stream || connection->doom_source) {
        error_clear(take_reason);
        return;
    }
    error_move(&connection->doom, take_reason);
    connection->doom_source = g_idle_source_new();
    g_source_set_priority(connection->doom_source, G_PRIORITY_DEFAULT);
    g_source_set_callback(connection->doom_source, on_doom, connection, NULL);
    g_source_attach(connection->doom_source, NULL);
}

/* ---- time ---- */

int64_t rpc_connection_now_ns(const RpcConnection *connection) {
    return clock_monotonic_ns(connection->options.clock);
}

static void on_timer(void *data) {
    RpcConnection *connection = hold(data);
    connection->timer_due_ns = NEVER_NS;
    rpc_connection_check_time(connection);
    release(connection);
}

void rpc_connection_arm(RpcConnection *connection, int64_t due_ns) {
    if (due_ns >= connection->timer_due_ns || !connection->timer)
        return;
    connection->timer_due_ns = due_ns;
    timer_set(connection->timer, due_ns - rpc_connection_now_ns(connection));
}

/* True when the connection is given up. */
static bool has_run_out(RpcConnection *connection, int64_t now_ns) {
    g_auto(Error) reason = {0};
    if (connection->state == RPC_GREETING &&
        now_ns >= connection->opened_ns + connection->options.hello_ms * NS_PER_MS)
        error_set(&reason, ERROR_UNREACHABLE, NULL, "the peer said no hello within %" G_GINT64_FORMAT " ms",
            connection->options.hello_ms);
    else if (now_ns >= connection->received_ns + connection->options.silence_ms * NS_PER_MS)
        error_set(&reason, ERROR_UNREACHABLE, NULL, "the peer was silent for %" G_GINT64_FORMAT " ms",
            connection->options.silence_ms);
    else
        return false;
    close_connection(connection, &reason);
    return true;
}

static void ping_when_quiet(RpcConnection *connection, int64_t now_ns) {
    int64_t ping_ns = connection->options.ping_ms * NS_PER_MS;
    int64_t quiet_since_ns = MAX(connection->received_ns, connection->pinged_ns);
    if (now_ns >= quiet_since_ns + ping_ns) {
        connection->pinged_ns = quiet_since_ns = now_ns;
        rpc_connection_send(connection, json_pack("{s:s}", "type", "ping"), NULL);
    }
    rpc_connection_arm(connection, quiet_since_ns + ping_ns);
}

void rpc_connection_check_time(RpcConnection *connection) {
    if (connection->state == RPC_CLOSED)
        return;
    hold(connection);
    int64_t now_ns = rpc_connection_now_ns(connection);
    if (!has_run_out(connection, now_ns)) {
        if (connection->state == RPC_READY)
            ping_when_quiet(connection, now_ns);
        else
            rpc_connection_arm(connection, connection->opened_ns + connection->options.hello_ms * NS_PER_MS);
        rpc_connection_arm(connection, connection->received_ns + connection->options.silence_ms * NS_PER_MS);
        rpc_calls_check_deadlines(connection);
    }
    release(connection);
}

/* ---- hello ---- */

static json_t *hello(const RpcConnection *connection) {
    json_t *features = json_array();
    for (char **feature = connection->features; feature && *feature; feature++)
        json_array_append_new(features, json_string(*feature));
    return json_pack("{s:s, s:{s:i, s:i}, s:s, s:o}", "type", "hello", "protocol", "lowest",
        connection->options.lowest_version, "highest", connection->options.highest_version, "software",
        connection->software, "features", features);
}

/* The acceptor's hello goes in front of all that was queued before it knew the peer. */
static void answer_hello(RpcConnection *connection) {
    g_autoptr(GByteArray) frame = g_byte_array_new();
    json_t *message = hello(connection);
    bool fits = rpc_frame_append(frame, message, NULL);
    g_assert(fits);
    json_decref(message);
    g_byte_array_prepend(connection->output, frame->data, frame->len);
    connection->may_write = true;
    watch(connection);
}

static bool agree_on_version(RpcConnection *connection, const json_t *message, Error *err) {
    const char *software = rpc_name_of(message, "software");
    const json_t *range = json_object_get(message, "protocol");
    json_int_t lowest = json_integer_value(json_object_get(range, "lowest"));
    json_int_t highest = json_integer_value(json_object_get(range, "highest"));
    if (!software || lowest < 1 || highest < lowest)
        return error_set(err, ERROR_PROTOCOL, NULL, "the peer's hello is malformed");
    int own_lowest = connection->options.lowest_version, own_highest = connection->options.highest_version;
    if (lowest > own_highest || highest < own_lowest)
        return error_set(err, ERROR_PROTOCOL, NULL,
            "%s speaks protocol versions %d to %d, %s %" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT,
            connection->software, own_lowest, own_highest, software, lowest, highest);
    connection->version = (int)MIN(highest, own_highest);
    connection->peer_software = g_strdup(software);
    connection->peer_features = json_incref(json_object_get(message, "features"));
    return true;
}

static bool handle_hello(RpcConnection *connection, json_t *message, Error *err) {
    if (!agree_on_version(connection, message, err))
        return false;
    connection->state = RPC_READY;
    rpc_connection_arm(connection, connection->received_ns + connection->options.ping_ms * NS_PER_MS);
    if (connection->role == RPC_ACCEPTOR)
        answer_hello(connection);
    if (connection->options.on_ready)
        connection->options.on_ready(connection, connection->options.data);
    return true;
}

/* ---- a connection that turns into a byte stream ---- */

static bool confirm_stream(RpcStream *stream, Error *err) {
    g_autoptr(GByteArray) frame = g_byte_array_new();
    json_t *message = json_pack("{s:s}", "type", "stream");
    rpc_frame_append(frame, message, NULL);
    json_decref(message);
    size_t n = 0;
    /* The first bytes on this socket: they always fit into its empty buffer. */
    if (rpc_stream_write(stream, frame->data, frame->len, &n, err) == RPC_IO_FAILED)
        return false;
    return n == frame->len || error_set(err, ERROR_UNREACHABLE, NULL, "the peer takes no answer");
}

static bool become_stream(RpcConnection *connection, const json_t *message, Error *err) {
    const char *ticket = rpc_name_of(message, "ticket");
    if (!ticket || connection->role != RPC_ACCEPTOR || !connection->options.tickets)
        return error_set(err, ERROR_DENIED, NULL, "this connection opens no streams");
    size_t length = 0;
    const void *rest = rpc_frame_reader_rest(connection->reader, &length);
    rpc_stream_unread(connection->stream, rest, length);
    rpc_stream_watch(connection->stream, 0, NULL, NULL);
    if (!rpc_ticket_redeem(connection->options.tickets, ticket, connection->stream, confirm_stream, err))
        return false;
    connection->stream = NULL;
    g_auto(Error) reason = {0};
    error_set(&reason, ERROR_UNREACHABLE, NULL, "the connection became a byte stream");
    if (!connection->options.on_stream) {
        close_connection(connection, &reason);
        return true;
    }
    close_quietly(connection, &reason);
    if (connection->options.on_stream) /* not any more when a callback of a call has freed the connection */
        connection->options.on_stream(connection, connection->options.data);
    return true;
}

/* ---- messages ---- */

static bool handle_ping(RpcConnection *connection, json_t *message G_GNUC_UNUSED, Error *err) {
    return rpc_connection_send(connection, json_pack("{s:s}", "type", "pong"), err);
}

static bool handle_pong(
    RpcConnection *connection G_GNUC_UNUSED, json_t *message G_GNUC_UNUSED, Error *err G_GNUC_UNUSED) {
    return true; /* its bytes were the sign of life */
}

static bool handle_event(RpcConnection *connection, json_t *message, Error *err) {
    const char *event = rpc_name_of(message, "event");
    if (!event)
        return error_set(err, ERROR_PROTOCOL, NULL, "an event has no name");
    if (connection->options.on_event)
        connection->options.on_event(
            connection, event, json_object_get(message, "data"), connection->options.data);
    return true;
}

static bool handle_reply(RpcConnection *connection, json_t *message, Error *err) {
    return rpc_calls_handle_reply(connection, message, err);
}

static bool handle_progress(RpcConnection *connection, json_t *message, Error *err) {
    return rpc_calls_handle_progress(connection, message, err);
}

static bool handle_cancel(RpcConnection *connection, json_t *message, Error *err) {
    return rpc_requests_handle_cancel(connection, message, err);
}

typedef struct MessageKind {
    const char *type;
    bool (*handle)(RpcConnection *connection, json_t *message, Error *err);
} MessageKind;

static const MessageKind message_kinds[] = {
    {"call", rpc_requests_handle_call},
    {"reply", handle_reply},
    {"progress", handle_progress},
    {"event", handle_event},
    {"cancel", handle_cancel},
    {"ping", handle_ping},
    {"pong", handle_pong},
};

/* What the peer said last; it expects no answer any more. */
static void handle_close(RpcConnection *connection, const json_t *message) {
    g_auto(Error) reason = {0};
    const json_t *problem = json_object_get(message, "error");
    if (json_is_problem(problem))
        error_from_json(problem, &reason);
    else
        error_set(&reason, ERROR_UNREACHABLE, NULL, "no reason given");
    error_wrap(&reason, ERROR_NONE, "the peer closed the connection");
    close_connection(connection, &reason);
}

static bool handle_message(RpcConnection *connection, json_t *message, Error *err) {
    const char *type = rpc_name_of(message, "type");
    if (!type)
        return error_set(err, ERROR_PROTOCOL, NULL, "a message has no type");
    if (g_str_equal(type, "close")) {
        handle_close(connection, message);
        return true;
    }
    if (connection->state == RPC_GREETING) {
        if (g_str_equal(type, "hello"))
            return handle_hello(connection, message, err);
        if (g_str_equal(type, "stream"))
            return become_stream(connection, message, err);
        return error_set(err, ERROR_PROTOCOL, NULL, "the peer's first message is not a hello");
    }
    for (size_t i = 0; i < G_N_ELEMENTS(message_kinds); i++)
        if (g_str_equal(type, message_kinds[i].type))
            return message_kinds[i].handle(connection, message, err);
    return error_set(err, ERROR_PROTOCOL, NULL, "a message has an unknown type");
}

/* ---- input ---- */

/* Tells the peer why, then closes. */
static void refuse(RpcConnection *connection, Error *take_reason) {
    if (connection->stream)
        say_close(connection, take_reason);
    close_connection(connection, take_reason);
}

static void handle_frames(RpcConnection *connection) {
    while (connection->state != RPC_CLOSED && !error_is_set(&connection->doom)) {
        g_auto(Error) err = {0};
        json_t *message = NULL;
        bool good = rpc_frame_reader_next(connection->reader, &message, &err);
        if (good && !message)
            return;
        good = good && handle_message(connection, message, &err);
        json_decref(message);
        if (!good) {
            refuse(connection, &err);
            return;
        }
    }
}

static void receive(RpcConnection *connection) {
    uint8_t buffer[READ_SIZE];
    for (int i = 0; i < READS_PER_TURN && connection->stream; i++) {
        g_auto(Error) err = {0};
        size_t n = 0;
        switch (rpc_stream_read(connection->stream, buffer, sizeof buffer, &n, &err)) {
        case RPC_IO_DONE:
            connection->received_ns = rpc_connection_now_ns(connection);
            rpc_frame_reader_add(connection->reader, buffer, n);
            handle_frames(connection);
            break;
        case RPC_IO_AGAIN:
            return;
        case RPC_IO_END:
            error_set(&err, ERROR_UNREACHABLE, NULL, "the peer closed the connection");
            close_connection(connection, &err);
            return;
        case RPC_IO_FAILED:
            close_connection(connection, &err);
            return;
        }
    }
}

static void on_stream_ready(GIOCondition ready, void *data) {
    RpcConnection *connection = hold(data);
    g_auto(Error) err = {0};
    if ((ready & G_IO_OUT) && !flush(connection, &err) && !(ready & G_IO_IN))
        close_connection(connection, &err);
    /* After a failed write there may still be something to read: the reason for which the peer left. */
    if ((ready & G_IO_IN) && connection->stream)
        receive(connection);
    if (error_is_set(&err))
        close_connection(connection, &err);
    if (connection->stream)
        watch(connection);
    release(connection);
}

/* ---- public ---- */

static void fill_defaults(RpcOptions *options) {
    options->clock = options->clock ? options->clock : clock_system();
    options->max_queued_bytes = options->max_queued_bytes ? options->max_queued_bytes : 16 * 1024 * 1024;
    options->max_requests = options->max_requests ? options->max_requests : 64;
    options->ping_ms = options->ping_ms ? options->ping_ms : 10000;
    options->silence_ms = options->silence_ms ? options->silence_ms : 30000;
    options->hello_ms = options->hello_ms ? options->hello_ms : 10000;
}

RpcConnection *rpc_connection_new(RpcStream *take_stream, RpcRole role, const RpcOptions *options) {
    g_assert(options->software && options->lowest_version >= 1);
    g_assert(options->highest_version >= options->lowest_version);
    RpcConnection *connection = g_new0(RpcConnection, 1);
    connection->references = 1;
    connection->role = role;
    connection->options = *options;
    fill_defaults(&connection->options);
    connection->software = g_strdup(options->software);
    connection->features = g_strdupv((char **)options->features);
    connection->stream = take_stream;
    connection->reader = rpc_frame_reader_new();
    connection->output = g_byte_array_new();
    connection->calls = rpc_calls_new();
    connection->next_id = 1;
    connection->requests = rpc_requests_new();
    connection->opened_ns = connection->received_ns = connection->pinged_ns =
        rpc_connection_now_ns(connection);
    connection->next_deadline_ns = connection->timer_due_ns = NEVER_NS;
    connection->timer = timer_new(rpc_loop_timers(), on_timer, connection);
    rpc_connection_arm(connection, connection->opened_ns + connection->options.hello_ms * NS_PER_MS);
    if (role == RPC_INITIATOR) {
        connection->may_write = true;
        rpc_connection_send(connection, hello(connection), NULL);
    }
    watch(connection);
    return connection;
}

void rpc_connection_free(RpcConnection *connection) {
    if (!connection)
        return;
    connection->options.on_closed = NULL;
    connection->options.on_stream = NULL;
    g_auto(Error) reason = {0};
    error_set(&reason, ERROR_UNREACHABLE, NULL, "this side closed the connection");
    Error copy = {0};
    error_copy(&copy, &reason);
    close_connection(connection, &copy);
    rpc_calls_end_all(connection, &reason); /* those that were made after the end */
    release(connection);
}

bool rpc_connection_is_open(const RpcConnection *connection) {
    return connection->state != RPC_CLOSED;
}

bool rpc_connection_is_ready(const RpcConnection *connection) {
    return connection->state == RPC_READY;
}

int rpc_connection_version(const RpcConnection *connection) {
    return connection->version;
}

const char *rpc_connection_peer_software(const RpcConnection *connection) {
    return connection->peer_software;
}

bool rpc_connection_peer_has(const RpcConnection *connection, const char *feature) {
    for (size_t i = 0; i < json_array_size(connection->peer_features); i++) {
        const char *name = json_string_value(json_array_get(connection->peer_features, i));
        if (name && g_str_equal(name, feature))
            return true;
    }
    return false;
}

const RpcStream *rpc_connection_stream(const RpcConnection *connection) {
    return connection->stream;
}

bool rpc_connection_peer(const RpcConnection *connection, RpcPeer *ret_peer, Error *err) {
    if (!connection->stream)
        return error_set(err, ERROR_UNREACHABLE, NULL, "the connection is closed");
    return rpc_stream_peer(connection->stream, ret_peer, err);
}

size_t rpc_connection_queued_bytes(const RpcConnection *connection) {
    return queued_bytes(connection);
}
