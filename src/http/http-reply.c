/* Answering: whole, from a file, or as a stream. */
#include "http/http-internal.h"
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Block size in which MHD asks a stream for bytes. */
enum { STREAM_BLOCK = 16384 };

bool http_reply_is_possible(HttpRequest *request) {
    g_assert(!request->has_reply);
    return request->connection && !request->is_gone && request->phase != REQUEST_DONE;
}

static void add_headers(struct MHD_Response *response, const HttpHeader *headers, size_t n_headers) {
    MHD_add_response_header(response, "Server", "lodge");
    for (size_t i = 0; i < n_headers; i++) {
        enum MHD_Result added = MHD_add_response_header(response, headers[i].name, headers[i].value);
        g_assert(added == MHD_YES); /* a line break in a value is the caller's error */
    }
}

/* From here on the answer is due; MHD takes it when it asks next. */
void http_reply_set(HttpRequest *request, unsigned status, struct MHD_Response *take_response) {
    request->has_reply = true;
    request->reply = take_response;
    request->reply_status = status;
    if (request->server->is_stopping && !request->upgrade)
        MHD_add_response_header(take_response, "Connection", "close");
    http_request_count_answered(request);
    http_request_wake(request);
}

static void unref_bytes(void *bytes) {
    g_bytes_unref(bytes);
}

void http_reply(
    HttpRequest *request, unsigned status, const HttpHeader *headers, size_t n_headers, GBytes *body) {
    if (!http_reply_is_possible(request))
        return;
    GBytes *bytes = body ? g_bytes_ref(body) : g_bytes_new_static("", 0);
    size_t length = 0;
    const void *data = g_bytes_get_data(bytes, &length);
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback_cls(
        length, (void *)(uintptr_t)(data ? data : ""), unref_bytes, bytes);
    g_assert(response);
    add_headers(response, headers, n_headers);
    request->reply_body = g_bytes_ref(bytes);
    http_reply_set(request, status, response);
}

void http_reply_text(HttpRequest *request, unsigned status, const char *content_type, const char *text) {
    g_autoptr(GBytes) body = g_bytes_new(text, strlen(text));
    const HttpHeader header = {"Content-Type", content_type};
    http_reply(request, status, &header, 1, body);
}

void http_reply_fd(HttpRequest *request, unsigned status, const HttpHeader *headers, size_t n_headers,
    int take_fd, uint64_t offset, uint64_t length) {
    if (!http_reply_is_possible(request)) {
        close(take_fd);
        return;
    }
    struct MHD_Response *response = MHD_create_response_from_fd_at_offset64(length, take_fd, offset);
    g_assert(response);
    add_headers(response, headers, n_headers);
    http_reply_set(request, status, response);
}

void http_reply_drop(HttpRequest *request) {
    if (request->reply)
        MHD_destroy_response(request->reply);
    request->reply = NULL;
    g_clear_pointer(&request->reply_body, g_bytes_unref);
}

enum MHD_Result http_reply_queue(HttpRequest *request) {
    request->phase = REQUEST_REPLYING;
    enum MHD_Result queued =
        MHD_queue_response(request->connection->mhd, request->reply_status, request->reply);
    http_reply_drop(request);
    return queued;
}

/* An answer in the middle of the body. */

static enum MHD_Result append_header(
    void *data, enum MHD_ValueKind kind G_GNUC_UNUSED, const char *name, const char *value) {
    if (g_ascii_strcasecmp(name, "Connection") != 0)
        g_string_append_printf(data, "%s: %s\r\n", name, value);
    return MHD_YES;
}

static GString *format_raw(HttpRequest *request) {
    char date[64];
    time_t now = time(NULL);
    struct tm parts;
    gmtime_r(&now, &parts);
    /* RFC 9110, section 5.6.7; the daemons run in the C locale. */
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    size_t length = 0;
    const char *body = request->reply_body ? g_bytes_get_data(request->reply_body, &length) : "";
    GString *text = g_string_new(NULL);
    g_string_append_printf(text, "HTTP/1.1 %u %s\r\nDate: %s\r\nConnection: close\r\nContent-Length: %zu\r\n",
        request->reply_status, MHD_get_reason_phrase_for(request->reply_status), date, length);
    MHD_get_response_headers(request->reply, append_header, text);
    g_string_append(text, "\r\n");
    g_string_append_len(text, body, (gssize)length);
    return text;
}

void http_reply_write_raw(HttpRequest *request) {
    if (!request->reply_body) /* a file or a stream: too long for one write; the client sees the connection
                                 end */
        return;
    g_autoptr(GString) text = format_raw(request);
    /* Nothing of ours waits in the socket's buffer, so that one write takes it. */
    (void)!send(request->connection->fd, text->str, text->len, MSG_NOSIGNAL | MSG_DONTWAIT);
    http_reply_drop(request);
}

/* Streams. */

static size_t waiting(const HttpReplyStream *stream) {
    return stream->bytes->len - stream->sent;
}

static ssize_t read_stream(void *data, uint64_t position G_GNUC_UNUSED, char *buffer, size_t size) {
    HttpRequest *request = data;
    HttpReplyStream *stream = request->stream;
    if (request->is_gone || !request->connection)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (waiting(stream) == 0 && stream->has_ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (waiting(stream) == 0) {
        http_request_suspend(request, true);
        return 0;
    }
    size_t n = MIN(size, waiting(stream));
    memcpy(buffer, stream->bytes->data + stream->sent, n);
    stream->sent += n;
    if (waiting(stream) == 0) {
        g_byte_array_set_size(stream->bytes, 0);
        stream->sent = 0;
        if (stream->on_drained)
            stream->on_drained(request, stream->on_drained_data);
    }
    return (ssize_t)n;
}

static void unref_request(void *request) {
    http_request_unref(request);
}

void http_stream_begin(
    HttpRequest *request, unsigned status, const HttpHeader *headers, size_t n_headers, size_t buffer_limit) {
    if (!http_reply_is_possible(request))
        return;
    request->stream = g_new0(HttpReplyStream, 1);
    request->stream->bytes = g_byte_array_new();
    request->stream->limit = buffer_limit;
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, http_request_ref(request), unref_request);
    g_assert(response);
    add_headers(response, headers, n_headers);
    http_reply_set(request, status, response);
}

bool http_stream_write(HttpRequest *request, const void *data, size_t length) {
    HttpReplyStream *stream = request->stream;
    if (!stream || stream->has_ended || request->is_gone || !request->connection ||
        length > stream->limit - waiting(stream))
        return false;
    if (stream->sent > stream->limit / 2) { /* keep the array near the limit */
        g_byte_array_remove_range(stream->bytes, 0, (guint)stream->sent);
        stream->sent = 0;
    }
    g_byte_array_append(stream->bytes, data, (guint)length);
    http_request_wake(request);
    return true;
}

size_t http_stream_queued(const HttpRequest *request) {
    return request->stream ? waiting(request->stream) : 0;
}

void http_stream_on_drained(
    HttpRequest *request, void (*on_drained)(HttpRequest *request, void *data), void *data) {
    if (!request->stream)
        return;
    request->stream->on_drained = on_drained;
    request->stream->on_drained_data = data;
}

void http_stream_end(HttpRequest *request) {
    if (!request->stream)
        return;
    request->stream->has_ended = true;
    if (request->connection)
        http_request_wake(request);
}

void http_stream_abort(HttpRequest *request) {
    request->on_gone = NULL;
    if (request->connection)
        http_connection_cut(request->connection);
}
