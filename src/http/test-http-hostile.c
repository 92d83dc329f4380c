/* Clients that trickle, vanish, read nothing, crowd or send garbage; and the end of the server under load. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/file.h"
#include "http/test-support.h"

enum { GARBAGE_CONNECTIONS = 2000, GARBAGE_SEED = 20260501, SHORT_MS = 300 };

static void send_text(int fd, const char *text) {
    g_assert_cmpint(send(fd, text, strlen(text), MSG_NOSIGNAL), ==, strlen(text));
}

static HttpLimits short_limits(void) {
    HttpLimits limits = http_limits_default;
    limits.header_timeout_ms = limits.body_timeout_ms = limits.idle_timeout_ms = SHORT_MS;
    return limits;
}

/* One byte each 20 ms until the server has had enough; how long that took in ms. */
static int64_t trickle(TestServer *server, int fd) {
    int64_t start_us = g_get_monotonic_time(), next_us = start_us;
    char byte;
    g_assert_cmpuint(http_server_load(server->server).connections_cut, ==, 0);
    while (recv(fd, &byte, 1, MSG_DONTWAIT) != 0) {
        int64_t now_us = g_get_monotonic_time();
        g_assert_cmpint(now_us - start_us, <, 10 * G_USEC_PER_SEC);
        if (now_us >= next_us && send(fd, "a", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1)
            next_us = now_us + 20000;
        if (!g_main_context_iteration(NULL, FALSE))
            g_usleep(1000);
    }
    return (g_get_monotonic_time() - start_us) / 1000;
}

static void check_trickle(const char *beginning) {
    HttpLimits limits = short_limits();
    TestServer *server = test_server_new(&limits);
    fd_auto int fd = test_connect(server);
    send_text(fd, beginning);
    int64_t took_ms = trickle(server, fd);
    g_assert_cmpint(took_ms, >=, SHORT_MS / 2);
    g_assert_cmpint(took_ms, <, SHORT_MS * 10);
    g_assert_cmpuint(http_server_load(server->server).connections_cut, ==, 1);
    test_server_free(server);
}

static void test_trickled_request_line_is_cut(void) {
    check_trickle("GET /");
}
static void test_trickled_headers_are_cut(void) {
    check_trickle("GET /hello HTTP/1.1\r\nHost: ");
}
static void test_trickled_body_is_cut(void) {
    check_trickle("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
}
static void test_idle_connection_is_cut(void) {
    HttpLimits limits = short_limits();
    TestServer *server = test_server_new(&limits);
    fd_auto int silent = test_connect(server);
    fd_auto int answered = test_connect(server);
    send_text(answered, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    test_wait_until(http_server_load(server->server).connections == 2);
    test_wait_until(http_server_load(server->server).connections == 0);
    g_assert_cmpuint(http_server_load(server->server).connections_cut, ==, 2);
    test_server_free(server);
}

static void stall_handshake(TestServer *server) {
    g_autoptr(HttpClient) client = test_client(server->tls_base, server->authority_file);
    g_free(test_get(client, "/hello", 200)); /* others go on */
}

static void test_stalled_handshake_is_cut(void) {
    HttpLimits limits = short_limits();
    TestServer *server = test_server_new(&limits);
    g_autoptr(GSocketClient) unused = NULL;
    (void)unused;
    test_run(server, stall_handshake);
    test_server_free(server);
}
