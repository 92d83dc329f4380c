/* Receiving: from the request line to the complete body, in the order in which MHD calls. */
#include "http/http-internal.h"
#include <string.h>
#include <sys/socket.h>

/* 1. The request line. */

void *http_request_begin(void *engine G_GNUC_UNUSED, const char *uri, struct MHD_Connection *mhd) {
    HttpConnection *connection = http_connection_of(mhd);
    if (connection->request)
        http_request_detach(connection->request);
    HttpRequest *self = g_new0(HttpRequest, 1);
    self->reference_count = 1;
    self->server = connection->server;
    self->connection = connection;
    self->peer = connection->peer;
    self->headers = g_ptr_array_new_with_free_func(g_free);
    self->body_limit = connection->server->limits.body_bytes;
    self->content_length = -1;
    if (!http_target_parse(uri, &self->target, &self->refusal))
        self->target = NULL;
    connection->request = self;
    connection->server->load.requests++;
    /* The first request shares the deadline that runs since accept. */
    if (connection->server->limits.header_timeout_ms * 1000 <
        connection->deadline_us - g_get_monotonic_time())
        http_connection_set_deadline(connection, connection->server->limits.header_timeout_ms);
    return self;
}

/* 2. The headers. */

typedef struct HeaderCount {
    HttpRequest *request;
    int content_lengths, transfer_encodings;
} HeaderCount;

static enum MHD_Result take_header(
    void *data, enum MHD_ValueKind kind G_GNUC_UNUSED, const char *name, const char *value) {
    HeaderCount *count = data;
    value = value ? value : "";
    g_ptr_array_add(count->request->headers, g_strdup(name));
    g_ptr_array_add(count->request->headers, g_strdup(value));
    if (g_ascii_strcasecmp(name, "Content-Length") == 0) {
        count->content_lengths++;
        guint64 length = 0;
        if (g_ascii_string_to_unsigned(value, 10, 0, INT64_MAX, &length, NULL))
            count->request->content_length = (int64_t)length;
    } else if (g_ascii_strcasecmp(name, "Transfer-Encoding") == 0) {
        count->transfer_encodings++;
    }
    return MHD_YES;
}

static void take_header_lines(HttpRequest *self, struct MHD_Connection *mhd) {
    HeaderCount count = {.request = self};
    MHD_get_connection_values(mhd, MHD_HEADER_KIND, take_header, &count);
    bool is_unclear = count.content_lengths + count.transfer_encodings > 1 ||
                      (count.content_lengths == 1 && self->content_length < 0);
    if (is_unclear && !error_is_set(&self->refusal))
        error_set(&self->refusal, ERROR_INVALID, NULL, "the length of the body is not clear");
    if (count.content_lengths + count.transfer_encodings == 0)
        self->content_length = 0;
    HttpServer *server = self->server;
    if (server->load.requests_waiting >= server->limits.requests_waiting && !error_is_set(&self->refusal))
        error_set(&self->refusal, ERROR_BUSY, NULL, "too many requests wait for an answer");
}

static void refuse(HttpRequest *self) {
    const HttpHandler *handler = self->server->handler;
    if (handler->on_refused)
        handler->on_refused(self, &self->refusal, self->server->handler_data);
    if (!self->has_reply)
        http_reply_text(self, (unsigned)error_info(self->refusal.code)->http_status,
            "text/plain; charset=utf-8", self->refusal.message);
}

static void start(HttpRequest *self, struct MHD_Connection *mhd, const char *method) {
    self->has_started = true;
    self->method = g_strdup(method);
    take_header_lines(self, mhd);
    http_connection_set_deadline(self->connection, -1);
    self->is_waiting_counted = true;
    self->server->load.requests_waiting++;
    if (error_is_set(&self->refusal))
        refuse(self);
    else if (self->server->handler->on_headers)
        self->server->handler->on_headers(self, self->server->handler_data);
}

static bool is_too_large(const HttpRequest *self) {
    return !self->on_chunk && self->content_length > 0 && (uint64_t)self->content_length > self->body_limit;
}

static void refuse_too_large(HttpRequest *self) {
    error_set(&self->refusal, ERROR_TOO_LARGE, NULL, "the body is larger than %" G_GUINT64_FORMAT " bytes",
        self->body_limit);
    refuse(self);
}

static enum MHD_Result after_headers(HttpRequest *self) {
    if (self->has_reply && self->content_length != 0) { /* nothing of the body will be read */
        self->connection->lingers = true;
        return http_reply_queue(self);
    }
    if (self->is_paused && !self->has_reply) {
        http_request_suspend(self, self->content_length == 0);
        return MHD_YES;
    }
    if (!self->has_reply && is_too_large(self)) {
        refuse_too_large(self);
        self->connection->lingers = true;
        return http_reply_queue(self);
    }
    self->phase = REQUEST_BODY;
    if (!self->on_chunk && self->content_length != 0)
        http_connection_set_deadline(self->connection, self->server->limits.body_timeout_ms);
    return MHD_YES;
}

/* 3. The body. */

static void keep_chunk(HttpRequest *self, const char *data, size_t length) {
    if (!self->body)
        self->body = g_byte_array_new();
    if (self->body->len + length > self->body_limit) {
        refuse_too_large(self);
        return;
    }
    g_byte_array_append(self->body, (const guint8 *)data, (guint)length);
    g_byte_array_append(self->body, (const guint8 *)"", 1);
    g_byte_array_set_size(self->body, self->body->len - 1); /* the NUL stays behind the end */
}

static enum MHD_Result answer_early(HttpRequest *self) {
    http_reply_write_raw(self);
    self->connection->lingers = true;
    return MHD_NO;
}

static enum MHD_Result take_body(HttpRequest *self, const char *upload, size_t *upload_length) {
    if (self->has_reply)
        return answer_early(self);
    if (!self->is_paused) {
        size_t length = *upload_length;
        *upload_length = 0;
        if (self->on_chunk)
            self->on_chunk(self, upload, length, self->chunk_user);
        else
            keep_chunk(self, upload, length);
    }
    if (self->has_reply)
        return answer_early(self);
    if (self->is_paused)
        http_request_suspend(self, false);
    return MHD_YES;
}

static void end_body(HttpRequest *self) {
    self->phase = REQUEST_WAITING;
    http_connection_set_deadline(self->connection, -1);
    if (!self->has_reply)
        self->server->handler->on_request(self, self->server->handler_data);
}

/* 4. MHD asks each time that there is something new, and once after each resume. */

enum MHD_Result http_request_access(void *engine G_GNUC_UNUSED, struct MHD_Connection *mhd,
    const char *url G_GNUC_UNUSED, const char *method, const char *version G_GNUC_UNUSED, const char *upload,
    size_t *upload_length, void **context) {
    HttpRequest *self = *context;
    if (!self || !self->connection || self->is_gone || self->connection->is_cut)
        return MHD_NO;
    if (!self->has_started)
        start(self, mhd, method);
    if (self->phase == REQUEST_HEADERS)
        return after_headers(self);
    if (*upload_length > 0)
        return take_body(self, upload, upload_length);
    if (self->phase == REQUEST_BODY && self->is_paused && !self->has_reply) {
        http_request_suspend(self, true);
        return MHD_YES;
    }
    if (self->phase == REQUEST_BODY)
        end_body(self);
    if (self->has_reply && self->phase == REQUEST_WAITING)
        return http_reply_queue(self);
    http_request_suspend(self, true);
    return MHD_YES;
}

/* MHD 0.9.75 asks again within one run for each chunk that it has read, also when it is suspended already;
 * suspended twice it would keep the connection in its list after its end. */
void http_request_suspend(HttpRequest *request, bool half_close_counts) {
    if (request->is_suspended)
        return;
    request->is_suspended = true;
    MHD_suspend_connection(request->connection->mhd);
    http_connection_watch(request->connection, half_close_counts);
}

void http_request_wake(HttpRequest *request) {
    if (!request->is_suspended)
        return;
    request->is_suspended = false;
    http_connection_unwatch(request->connection);
    MHD_resume_connection(request->connection->mhd);
    request->connection->server->engine->needs_run = true;
}

/* 5. The end, whichever comes first. */

void http_request_count_answered(HttpRequest *request) {
    if (request->is_waiting_counted)
        request->server->load.requests_waiting--;
    request->is_waiting_counted = false;
}

void http_request_client_gone(HttpRequest *request) {
    if (request->is_gone || request->phase == REQUEST_DONE)
        return;
    bool was_open =
        request->has_started && (!request->has_reply || (request->stream && !request->stream->has_ended));
    request->is_gone = true;
    http_request_count_answered(request);
    http_request_ref(request);
    if (request->upgrade)
        http_upgrade_drop(request);
    else if (was_open && request->on_gone)
        request->on_gone(request, request->on_gone_data);
    if (request->connection)
        http_request_wake(request);
    http_request_unref(request);
}

void http_request_detach(HttpRequest *request) {
    HttpConnection *connection = request->connection;
    http_request_count_answered(request);
    http_reply_drop(request);
    connection->request = NULL;
    request->connection = NULL;
    request->phase = REQUEST_DONE;
    http_request_unref(request);
}

void http_request_completed(void *engine G_GNUC_UNUSED, struct MHD_Connection *mhd, void **context,
    enum MHD_RequestTerminationCode code) {
    HttpConnection *connection = http_connection_of(mhd);
    HttpRequest *self =
        *context; /* may be freed already: it is only looked at when the connection still has it */
    *context = NULL;
    if (!self || !connection || connection->request != self)
        return;
    bool is_whole = code == MHD_REQUEST_TERMINATED_COMPLETED_OK && (!self->stream || self->stream->has_ended);
    if (!is_whole)
        http_request_client_gone(self);
    http_request_detach(self);
    if (connection->is_cut)
        return;
    http_connection_set_deadline(connection, connection->server->limits.idle_timeout_ms);
    if (connection->server->is_stopping && !connection->lingers)
        shutdown(connection->fd, SHUT_RDWR);
}

/* What handlers ask and set. */

HttpRequest *http_request_ref(HttpRequest *request) {
    request->reference_count++;
    return request;
}

void http_request_unref(HttpRequest *request) {
    if (!request || --request->reference_count > 0)
        return;
    g_assert(!request->connection);
    http_reply_drop(request);
    if (request->destroy_data)
        request->destroy_data(request->data);
    if (request->body)
        g_byte_array_unref(request->body);
    if (request->stream)
        g_byte_array_unref(request->stream->bytes);
    g_free(request->stream);
    http_target_free(request->target);
    g_ptr_array_unref(request->headers);
    error_clear(&request->refusal);
    g_free(request->method);
    g_free(request);
}

const char *http_request_method(const HttpRequest *request) {
    return request->method;
}

const HttpTarget *http_request_target(const HttpRequest *request) {
    return request->target;
}

const char *http_request_header(const HttpRequest *request, const char *name) {
    for (guint i = 0; i + 1 < request->headers->len; i += 2)
        if (g_ascii_strcasecmp(g_ptr_array_index(request->headers, i), name) == 0)
            return g_ptr_array_index(request->headers, i + 1);
    return NULL;
}

const HttpPeer *http_request_peer(const HttpRequest *request) {
    return &request->peer;
}

int64_t http_request_content_length(const HttpRequest *request) {
    return request->content_length;
}

const char *http_request_body(const HttpRequest *request, size_t *ret_length) {
    *ret_length = request->body ? request->body->len : 0;
    return request->body ? (const char *)request->body->data : "";
}

void http_request_set_data(HttpRequest *request, void *data, GDestroyNotify destroy) {
    if (request->destroy_data)
        request->destroy_data(request->data);
    request->data = data;
    request->destroy_data = destroy;
}

void *http_request_data(const HttpRequest *request) {
    return request->data;
}

void http_request_on_gone(
    HttpRequest *request, void (*on_gone)(HttpRequest *request, void *data), void *data) {
    request->on_gone = on_gone;
    request->on_gone_data = data;
}

bool http_request_is_gone(const HttpRequest *request) {
    return request->is_gone;
}

void http_request_set_body_limit(HttpRequest *request, uint64_t limit) {
    g_assert(request->phase == REQUEST_HEADERS);
    request->body_limit = MIN(limit, (uint64_t)G_MAXUINT32 / 2);
}

void http_request_stream_body(HttpRequest *request, HttpChunkFn on_chunk, void *user) {
    g_assert(request->phase == REQUEST_HEADERS);
    request->on_chunk = on_chunk;
    request->chunk_user = user;
}

void http_request_pause(HttpRequest *request) {
    request->is_paused = true;
}

void http_request_resume(HttpRequest *request) {
    request->is_paused = false;
    if (request->connection && request->phase < REQUEST_WAITING)
        http_request_wake(request);
}
