/* The client's WebSockets: libcurl connects (UNIX or TLS), the handshake is ours, libwslay frames. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include "http/http-client-internal.h"
#include "http/http-websocket-internal.h"

enum { HANDSHAKE_LIMIT = 32768, REFUSAL_LIMIT = 1 << 20, HANDSHAKE_MS = 15000, KEY_BYTES = 16 };

static ssize_t curl_read(void *data, void *buffer, size_t length) {
    size_t n = 0;
    CURLcode code = curl_easy_recv(data, buffer, length, &n);
    if (code == CURLE_OK)
        return (ssize_t)n;
    errno = code == CURLE_AGAIN ? EAGAIN : EIO;
    return -1;
}

static ssize_t curl_write(void *data, const void *buffer, size_t length) {
    size_t n = 0;
    CURLcode code = curl_easy_send(data, buffer, length, &n);
    if (code == CURLE_OK && n > 0)
        return (ssize_t)n;
    errno = code == CURLE_AGAIN || code == CURLE_OK ? EAGAIN : EIO;
    return -1;
}

static void curl_close(void *data) {
    curl_easy_cleanup(data);
}

/* 1. The connection. The easy interface: a handle of the multi interface cannot be used for curl_easy_send
 * later. */
static CURL *connect_plain(HttpClient *client, const char *path, int *ret_fd, Error *err) {
    char error_text[CURL_ERROR_SIZE];
    CURL *handle = http_client_handle(client, path, error_text);
    curl_easy_setopt(handle, CURLOPT_CONNECT_ONLY, 1L);
    CURLcode code = curl_easy_perform(handle);
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (code == CURLE_OK)
        curl_easy_getinfo(handle, CURLINFO_ACTIVESOCKET, &fd);
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, NULL); /* it lives on our stack */
    if (code != CURLE_OK || fd == CURL_SOCKET_BAD) {
        http_client_error(code, error_text, client, err);
        curl_easy_cleanup(handle);
        return NULL;
    }
    *ret_fd = fd;
    return handle;
}

/* 2. The handshake, blocking up to a deadline. */

typedef struct Handshake {
    HttpClient *client;
    CURL *handle;
    int fd;
    int64_t end_us;
    GByteArray *received;
} Handshake;

static bool wait_for(const Handshake *self, short events, Error *err) {
    int64_t left_ms = (self->end_us - g_get_monotonic_time()) / 1000;
    struct pollfd fds[2] = {
        {.fd = self->fd, .events = events}, {.fd = cancel_fd(self->client->cancel), .events = POLLIN}};
    int n = left_ms > 0 ? poll(fds, 2, (int)left_ms) : 0;
    if (n == 0)
        return error_set(err, ERROR_TIMED_OUT, NULL, "the WebSocket handshake took too long");
    return cancel_check(self->client->cancel, err);
}

static bool send_all(const Handshake *self, const char *text, size_t length, Error *err) {
    while (length > 0) {
        ssize_t n = curl_write(self->handle, text, length);
        if (n < 0 && errno != EAGAIN)
            return error_set(
                err, ERROR_UNREACHABLE, NULL, "the connection broke during the WebSocket handshake");
        if (n < 0 && !wait_for(self, POLLOUT, err))
            return false;
        text += MAX(n, 0);
        length -= (size_t)MAX(n, 0);
    }
    return true;
}

/* *ret_is_end (may be NULL: the end is an error). */
static bool receive_some(const Handshake *self, bool *ret_is_end, Error *err) {
    char block[4096];
    for (;;) {
        ssize_t n = curl_read(self->handle, block, sizeof block);
        if (n > 0) {
            g_byte_array_append(self->received, (guint8 *)block, (guint)n);
            return true;
        }
        bool is_later = n < 0 && errno == EAGAIN;
        if (!is_later && ret_is_end) {
            *ret_is_end = true;
            return true;
        }
        if (!is_later)
            return error_set(
                err, ERROR_UNREACHABLE, NULL, "the connection broke during the WebSocket handshake");
        if (!wait_for(self, POLLIN, err))
            return false;
    }
}

static bool send_request(
    const Handshake *self, const char *path, const char *key, const char *protocol, Error *err) {
    g_autoptr(GString) text = g_string_new(NULL);
    g_string_append_printf(text,
        "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n",
        path, self->client->host, key);
    if (protocol)
        g_string_append_printf(text, "Sec-WebSocket-Protocol: %s\r\n", protocol);
    if (self->client->token)
        g_string_append_printf(text, "Authorization: Bearer %s\r\n", self->client->token);
    g_string_append(text, "\r\n");
    bool is_sent = send_all(self, text->str, text->len, err);
    explicit_bzero(text->str, text->len);
    return is_sent;
}

static bool receive_head(const Handshake *self, HttpResponse *response, Error *err) {
    const char *end = NULL;
    while (!end) {
        if (self->received->len > HANDSHAKE_LIMIT)
            return error_set(err, ERROR_PROTOCOL, NULL, "the answer to the WebSocket handshake is too long");
        if (!receive_some(self, NULL, err))
            return false;
        end = memmem(self->received->data, self->received->len, "\r\n\r\n", 4);
    }
    g_autofree char *head =
        g_strndup((char *)self->received->data, (size_t)(end - (char *)self->received->data));
    g_byte_array_remove_range(self->received, 0, (guint)strlen(head) + 4);
    g_auto(GStrv) lines = g_strsplit(head, "\r\n", 256);
    for (char **line = lines; *line; line++)
        http_response_take_line(response, *line, strlen(*line));
    if (g_str_has_prefix(head, "HTTP/1.1 "))
        response->status = (unsigned)g_ascii_strtoull(head + strlen("HTTP/1.1 "), NULL, 10);
    return true;
}

/* The body of a refusal, as far as its length is announced. */
static bool receive_refusal(const Handshake *self, HttpResponse *response, Error *err) {
    const char *text = http_response_header(response, "Content-Length");
    guint64 length = 0;
    if (!text || !g_ascii_string_to_unsigned(text, 10, 0, REFUSAL_LIMIT, &length, NULL))
        length = 0;
    bool is_end = false;
    while (!is_end && self->received->len < length)
        if (!receive_some(self, &is_end, err))
            return false;
    response->body = g_byte_array_new();
    g_byte_array_append(
        response->body, self->received->data, (guint)MIN((guint64)self->received->len, length));
    g_byte_array_append(response->body, (const guint8 *)"", 1);
    g_byte_array_set_size(response->body, response->body->len - 1); /* the NUL stays behind the end */
    return true;
}

static bool shake_hands(
    const Handshake *self, const char *path, const char *protocol, HttpResponse *ret_refusal, Error *err) {
    guint8 random[KEY_BYTES];
    g_auto(HttpResponse) response = {0};
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return error_set_errno(err, errno, "getting random bytes");
    g_autofree char *key = g_base64_encode(random, sizeof random);
    g_autofree char *expected = http_websocket_accept_key(key);
    if (!send_request(self, path, key, protocol, err) || !receive_head(self, &response, err))
        return false;
    if (response.status == 101) {
        const char *accept = http_response_header(&response, "Sec-WebSocket-Accept");
        return (accept && g_str_equal(accept, expected)) ||
               error_set(err, ERROR_PROTOCOL, NULL, "the WebSocket handshake was answered wrongly");
    }
    if (!receive_refusal(self, &response, err))
        return false;
    error_set(err, ERROR_PROTOCOL, NULL, "the server answered %u instead of a WebSocket", response.status);
    if (ret_refusal) {
        *ret_refusal = response;
        response = (HttpResponse){0};
    }
    return false;
}

/* 3. Frames. */

bool http_client_websocket(HttpClient *client, const char *path, const HttpWebSocketOptions *options,
    const HttpWebSocketEvents *events, void *user, HttpWebSocket **ret_websocket, HttpResponse *ret_refusal,
    Error *err) {
    g_autoptr(GByteArray) received = g_byte_array_new();
    Handshake handshake = {.client = client, .received = received};
    handshake.handle = connect_plain(client, path, &handshake.fd, err);
    if (!handshake.handle)
        return false;
    handshake.end_us = g_get_monotonic_time() + HANDSHAKE_MS * 1000;
    if (!shake_hands(&handshake, path, options ? options->protocol : NULL, ret_refusal, err)) {
        curl_easy_cleanup(handshake.handle);
        return false;
    }
    const WebSocketTransport transport = {.fd = handshake.fd,
        .read = curl_read,
        .write = curl_write,
        .close = curl_close,
        .data = handshake.handle};
    *ret_websocket =
        http_websocket_new(true, &transport, received->data, received->len, options, events, user);
    return true;
}

int http_client_websocket_fd(const HttpWebSocket *websocket) {
    return http_websocket_descriptor(websocket);
}

short http_client_websocket_interest(const HttpWebSocket *websocket) {
    return http_websocket_interest(websocket);
}

bool http_client_websocket_pump(HttpWebSocket *websocket) {
    return http_websocket_pump(websocket);
}

void http_client_websocket_free(HttpWebSocket *websocket) {
    http_websocket_drop(websocket);
}
