/* WebSockets between a real server and a real client, over the UNIX socket and TLS. */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/file.h"
#include "http/http-websocket-internal.h"
#include "http/test-support.h"

enum { ECHO_MESSAGES = 10000, WINDOW = 100, WAIT_MS = 10000, PUSH_BYTES = 8 << 20, AHEAD_BYTES = 16 << 20 };

typedef struct Echo {
    int sent, received;
    uint64_t bytes;
    bool is_closed;
    uint16_t code;
} Echo;

static void take_echo(HttpWebSocket *websocket, bool is_text, const void *data, size_t length, void *user) {
    Echo *self = user;
    g_autofree char *expected = g_strdup_printf("message %d", self->received++);
    g_assert_cmpint(is_text, ==, self->received % 2);
    g_assert_cmpuint(length, ==, strlen(expected));
    g_assert_true(memcmp(data, expected, length) == 0);
    if (self->received == ECHO_MESSAGES)
        http_websocket_close(websocket, HTTP_WEBSOCKET_NORMAL, "done");
}

static void take_close(HttpWebSocket *websocket G_GNUC_UNUSED, uint16_t code, void *user) {
    Echo *self = user;
    g_assert_false(self->is_closed);
    self->is_closed = true;
    self->code = code;
}

static void count_bytes(HttpWebSocket *websocket G_GNUC_UNUSED, bool is_text G_GNUC_UNUSED,
    const void *data G_GNUC_UNUSED, size_t length, void *user) {
    ((Echo *)user)->bytes += length;
}

static const HttpWebSocketEvents echo_events = {.on_message = take_echo, .on_closed = take_close};
static const HttpWebSocketEvents byte_events = {.on_message = count_bytes, .on_closed = take_close};
static const HttpWebSocketOptions client_options = {.protocol = "lodge-test"};

static HttpWebSocket *open_socket(
    HttpClient *client, const char *path, const HttpWebSocketEvents *events, Echo *echo) {
    HttpWebSocket *websocket = NULL;
    g_auto(Error) err = {0};
    if (!http_client_websocket(client, path, &client_options, events, echo, &websocket, NULL, &err))
        g_error("%s: %s", path, err.message);
    return websocket;
}

static void wait_for(HttpWebSocket *websocket) {
    struct pollfd fds = {
        .fd = http_client_websocket_fd(websocket), .events = http_client_websocket_interest(websocket)};
    g_assert_cmpint(poll(&fds, 1, WAIT_MS), >, 0);
}

/* Waits for something and pumps once; false when it is over. */
static bool turn(HttpWebSocket *websocket) {
    wait_for(websocket);
    return http_client_websocket_pump(websocket);
}

static void send_window(HttpWebSocket *websocket, Echo *echo) {
    while (echo->sent < ECHO_MESSAGES && echo->sent - echo->received < WINDOW) {
        g_autofree char *text = g_strdup_printf("message %d", echo->sent++);
        g_assert_true(http_websocket_send(websocket, echo->sent % 2, text, strlen(text)));
    }
}

static void check_echo(HttpClient *client) {
    Echo echo = {0};
    HttpWebSocket *websocket = open_socket(client, "/socket", &echo_events, &echo);
    while (http_client_websocket_pump(websocket)) {
        send_window(websocket, &echo);
        wait_for(websocket);
    }
    http_client_websocket_free(websocket);
    g_assert_cmpint(echo.received, ==, ECHO_MESSAGES);
    g_assert_cmpuint(echo.code, ==, HTTP_WEBSOCKET_NORMAL);
}

static void check_large_message(HttpClient *client) {
    Echo echo = {0};
    HttpWebSocket *websocket = open_socket(client, "/socket", &byte_events, &echo);
    g_autofree char *data = g_malloc0(65537);
    g_assert_true(http_websocket_send(websocket, false, data, 65536));
    while (echo.bytes < 65536)
        g_assert_true(turn(websocket));
    g_assert_true(http_websocket_send(websocket, false, data, 65537));
    while (turn(websocket)) {
    }
    g_assert_cmpuint(echo.code, ==, 1009);
    http_client_websocket_free(websocket);
}

/* Reads at least PUSH_BYTES after a pause; more when they come fast. Returns how many. */
static uint64_t check_push(HttpClient *client) {
    Echo echo = {0};
    HttpWebSocket *websocket = open_socket(client, "/push", &byte_events, &echo);
    http_websocket_pause(websocket);
    g_assert_true(http_client_websocket_pump(websocket));
    g_usleep(200000);
    g_assert_cmpuint(echo.bytes, <=, 65536);
    http_websocket_resume(websocket);
    g_assert_true(http_client_websocket_pump(websocket));
    while (echo.bytes < PUSH_BYTES)
        g_assert_true(turn(websocket));
    http_client_websocket_free(websocket); /* breaks it in the middle */
    g_assert_cmpuint(echo.code, ==, HTTP_WEBSOCKET_ABNORMAL);
    return echo.bytes;
}

static void for_both(TestServer *server, void (*check)(HttpClient *client)) {
    g_autoptr(HttpClient) local = test_client(server->unix_base, NULL);
    check(local);
    g_autoptr(HttpClient) tls = test_client(server->tls_base, server->authority_file);
    check(tls);
}

static void echoes(TestServer *server) {
    for_both(server, check_echo);
}
static void large_messages(TestServer *server) {
    for_both(server, check_large_message);
}
static void pushes(TestServer *server) {
    g_autoptr(HttpClient) local = test_client(server->unix_base, NULL);
    server->pulled += check_push(local);
    g_autoptr(HttpClient) tls = test_client(server->tls_base, server->authority_file);
    server->pulled += check_push(tls);
}

static void test_10000_messages_come_back(void) {
    TestServer *server = test_server_new(NULL);
    test_run(server, echoes);
    test_wait_until(server->sockets_closed == 2);
    test_wait_until(http_server_load(server->server).connections == 0);
    test_server_free(server);
}

static void test_too_large_message_closes_with_1009(void) {
    TestServer *server = test_server_new(NULL);
    test_run(server, large_messages);
    test_wait_until(server->sockets_closed == 2);
    test_server_free(server);
}

static void test_slow_reader_holds_the_sender_back(void) {
    TestServer *server = test_server_new(NULL);
    test_run(server, pushes);
    test_wait_until(server->sockets_closed == 2);
    /* It was refused and woken more than once, and never far ahead of the reader. */
    g_assert_cmpint(server->writable, >, 4);
    g_assert_cmpuint(server->pushed, <, server->pulled + AHEAD_BYTES);
    test_server_free(server);
}

static void refusals(TestServer *server) {
    g_autoptr(HttpClient) client = test_client(server->unix_base, NULL);
    g_auto(HttpResponse) refusal = {0};
    g_auto(Error) err = {0};
    HttpWebSocket *websocket = NULL;
    Echo echo = {0};
    g_assert_false(
        http_client_websocket(client, "/missing", NULL, &byte_events, &echo, &websocket, &refusal, &err));
    g_assert_cmpint(err.code, ==, ERROR_PROTOCOL);
    g_assert_cmpuint(refusal.status, ==, 404);
    g_assert_cmpstr((char *)refusal.body->data, ==, "no such path");
    g_free(test_get(client, "/socket", 400));
}
static void test_refusal_reaches_the_client(void) {
    TestServer *server = test_server_new(NULL);
    test_run(server, refusals);
    test_server_free(server);
}

static void test_server_end_closes_sockets(void) {
    TestServer *server = test_server_new(NULL);
    fd_auto int fd = test_connect(server);
    static const char request[] =
        "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    g_assert_cmpint(send(fd, request, strlen(request), 0), ==, (int64_t)strlen(request));
    test_wait_until(server->sockets_open == 1);
    char answer[512] = {0};
    g_assert_cmpint(recv(fd, answer, sizeof answer - 1, 0), >, 0);
    /* The example of RFC 6455, section 1.3. */
    g_assert_nonnull(strstr(answer, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    test_server_free(server);
    g_assert_cmpint(recv(fd, answer, sizeof answer, 0), ==, 0);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/websocket/10000-messages-come-back", test_10000_messages_come_back);
    g_test_add_func("/websocket/too-large-message-closes-with-1009", test_too_large_message_closes_with_1009);
    g_test_add_func("/websocket/slow-reader-holds-the-sender-back", test_slow_reader_holds_the_sender_back);
    g_test_add_func("/websocket/refusal-reaches-the-client", test_refusal_reaches_the_client);
    g_test_add_func("/websocket/server-end-closes-sockets", test_server_end_closes_sockets);
    return g_test_run();
}
