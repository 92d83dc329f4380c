/* Whole connections: the bytes go to a real server on a UNIX socket, which must be rid of the client soon. */
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/file.h"
#include "fuzz.h"
#include "http/http-server.h"

enum { MAX_SIZE = 65536, HEADER_BYTES = 2048, TURNS_MAX = 100000 };

const char *const fuzz_seeds[] = {
    "GET /v1/vms?a=%20 HTTP/1.1\r\nHost: x\r\nCookie: a=b; c=\"d\"\r\nAuthorization: Bearer abc\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n{\"a\"}"
    "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST /stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;e=1\r\nabcde\r\n0\r\nT: "
    "1\r\n\r\n",
    "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x85mask,\x04\x1f",
    "HEAD //..%2f HTTP/1.0\r\n\r\n",
    "PUT /early HTTP/1.1\nHost: x\nContent-Length: 18446744073709551615\n\n",
    NULL,
};

static void ignore_open(HttpWebSocket *websocket G_GNUC_UNUSED, void *user G_GNUC_UNUSED) {
}

static void send_back(
    HttpWebSocket *websocket, bool is_text, const void *data, size_t length, void *user G_GNUC_UNUSED) {
    http_websocket_send(websocket, is_text, data, length);
}

static void ignore_close(
    HttpWebSocket *websocket G_GNUC_UNUSED, uint16_t code G_GNUC_UNUSED, void *user G_GNUC_UNUSED) {
}

static void drop_chunk(
    HttpRequest *request, const void *data G_GNUC_UNUSED, size_t length, void *user G_GNUC_UNUSED) {
    if (length == 3)
        http_reply_text(request, 507, "text/plain", "early");
}

static void take_headers(HttpRequest *request, void *data G_GNUC_UNUSED) {
    const char *path = http_request_target(request)->path;
    if (g_str_equal(path, "/early"))
        http_reply_text(request, 403, "text/plain", "no");
    else if (g_str_equal(path, "/stream"))
        http_request_stream_body(request, drop_chunk, NULL);
}

static void take_request(HttpRequest *request, void *data G_GNUC_UNUSED) {
    static const HttpWebSocketEvents events = {.on_message = send_back, .on_closed = ignore_close};
    size_t length = 0;
    const char *body = http_request_body(request, &length);
    g_assert_true(body[length] == '\0');
    if (http_request_is_websocket(request)) {
        g_assert_true(http_reply_websocket(request, NULL, &events, ignore_open, NULL, NULL));
        return;
    }
    g_autoptr(GBytes) echo = g_bytes_new(body, length);
    http_reply(request, 200, NULL, 0, echo);
}

static int connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    g_assert_cmpint(connect(fd, (const struct sockaddr *)&address, sizeof address), ==, 0);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const HttpHandler handler = {.on_headers = take_headers, .on_request = take_request};
    HttpLimits limits = http_limits_default;
    char block[4096];
    limits.header_bytes = HEADER_BYTES;
    g_autofree char *path = g_build_filename(fuzz_folder(), "socket", NULL);
    HttpServer *server = http_server_new(&handler, NULL, &limits);
    g_assert_true(http_server_listen_unix(server, path, 0600, (gid_t)-1, NULL));
    int fd = connect_to(path);
    (void)!send(fd, data, MIN(size, MAX_SIZE), MSG_NOSIGNAL);
    for (int quiet = 0; quiet < 3;) {
        while (recv(fd, block, sizeof block, 0) > 0) {
        }
        quiet = g_main_context_iteration(NULL, FALSE) ? 0 : quiet + 1;
    }
    close(fd);
    for (int turn = 0; http_server_load(server).connections > 0; turn++) {
        g_assert_cmpint(turn, <, TURNS_MAX);
        g_main_context_iteration(NULL, FALSE);
    }
    g_assert_cmpuint(http_server_load(server).requests_waiting, ==, 0);
    http_server_free(server);
    return 0;
}
