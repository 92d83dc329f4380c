/* Clients that trickle, vanish, read nothing, crowd or send garbage; and the end of the server under load. */
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/file.h"
#include "http/test-support.h"

enum { GARBAGE_CONNECTIONS = 2000, GARBAGE_SEED = 20260501, SHORT_MS = 300 };

static void send_text(int fd, const char *text) {
    g_assert_cmpint(send(fd, text, strlen(text), MSG_NOSIGNAL), ==, (int64_t)strlen(text));
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
    g_assert_cmpint(silent, !=, answered);
    send_text(answered, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    test_wait_until(http_server_load(server->server).connections == 2);
    test_wait_until(http_server_load(server->server).connections == 0);
    g_assert_cmpuint(http_server_load(server->server).connections_cut, ==, 2);
    test_server_free(server);
}

static void say_hello_over_tls(TestServer *server) {
    g_autoptr(HttpClient) client = test_client(server->tls_base, server->authority_file);
    g_free(test_get(client, "/hello", 200));
}

static void test_stalled_handshake_is_cut_and_holds_nobody(void) {
    HttpLimits limits = http_limits_default;
    limits.header_timeout_ms = 1000;
    TestServer *server = test_server_new(&limits);
    fd_auto int fd = test_connect_tcp(server);
    g_assert_cmpint(send(fd, "\x16\x03\x01", 3, 0), ==, 3); /* the first bytes of a handshake */
    test_run(server, say_hello_over_tls);
    test_wait_until(http_server_load(server->server).connections_cut == 1);
    char byte;
    test_wait_until(recv(fd, &byte, 1, MSG_DONTWAIT) == 0);
    test_server_free(server);
}

static void test_headers_have_a_limit(void) {
    TestServer *server = test_server_new(NULL);
    fd_auto int fd = test_connect(server);
    g_autofree char *padding = g_strnfill(256 << 10, 'a');
    g_autofree char *request =
        g_strdup_printf("GET /hello HTTP/1.1\r\nHost: x\r\nX-Padding: %s\r\n\r\n", padding);
    char answer[64] = {0};
    test_wait_until(http_server_load(server->server).connections == 1);
    (void)!send(fd, request, strlen(request), MSG_NOSIGNAL | MSG_DONTWAIT);
    test_wait_until(recv(fd, answer, sizeof answer - 1, MSG_DONTWAIT) != -1);
    g_assert_true(answer[0] == '\0' || g_str_has_prefix(answer, "HTTP/1.1 4"));
    test_server_free(server);
}

static void test_client_that_vanishes_is_reported_once(void) {
    TestServer *server = test_server_new(NULL);
    int fd = test_connect(server);
    send_text(fd, "GET /never HTTP/1.1\r\nHost: x\r\n\r\n");
    test_wait_until(http_server_load(server->server).requests_waiting == 1);
    close(fd);
    test_wait_until(http_server_load(server->server).connections == 0);
    g_assert_cmpint(server->gone, ==, 1);
    g_assert_cmpuint(http_server_load(server->server).requests_waiting, ==, 0);
    test_server_free(server);
}

static void test_slow_reader_of_a_stream_is_dropped(void) {
    TestServer *server = test_server_new(NULL);
    fd_auto int fd = test_connect(server);
    send_text(fd, "GET /flood HTTP/1.1\r\nHost: x\r\n\r\n");
    test_wait_until(server->aborted == 1);
    g_assert_cmpuint(server->pushed, <, 4 << 20);
    test_wait_until(http_server_load(server->server).connections == 0);
    test_server_free(server);
}

static void test_connections_per_peer_are_limited(void) {
    HttpLimits limits = http_limits_default;
    limits.connections_per_peer = 3;
    TestServer *server = test_server_new(&limits);
    int fds[4];
    for (int i = 0; i < 4; i++)
        fds[i] = test_connect(server);
    test_wait_until(http_server_load(server->server).connections_refused == 1);
    char byte;
    g_assert_cmpint(recv(fds[3], &byte, 1, 0), ==, 0);
    close(fds[0]);
    test_wait_until(http_server_load(server->server).connections == 2);
    close(fds[3]);
    fds[0] = test_connect(server); /* the place is free again */
    test_wait_until(http_server_load(server->server).connections == 3);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    test_server_free(server);
}

static void test_waiting_requests_are_limited(void) {
    HttpLimits limits = http_limits_default;
    limits.requests_waiting = 1;
    TestServer *server = test_server_new(&limits);
    fd_auto int first = test_connect(server);
    fd_auto int second = test_connect(server);
    char answer[64] = {0};
    send_text(first, "GET /never HTTP/1.1\r\nHost: x\r\n\r\n");
    test_wait_until(http_server_load(server->server).requests_waiting == 1);
    send_text(second, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    test_wait_until(recv(second, answer, sizeof answer - 1, MSG_DONTWAIT) > 0);
    g_assert_true(g_str_has_prefix(answer, "HTTP/1.1 503 "));
    test_server_free(server);
}

static void test_unclear_body_length_is_refused(void) {
    static const char *const bad[] = {"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n", "Content-Length: -1\r\n", "Content-Length: x\r\n"};
    TestServer *server = test_server_new(NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        fd_auto int fd = test_connect(server);
        g_autofree char *request = g_strdup_printf("POST /echo HTTP/1.1\r\nHost: x\r\n%s\r\nabc", bad[i]);
        char answer[64] = {0};
        send_text(fd, request);
        test_wait_until(recv(fd, answer, sizeof answer - 1, MSG_DONTWAIT) > 0);
        g_assert_true(g_str_has_prefix(answer, "HTTP/1.1 4"));
    }
    test_server_free(server);
}

static void finished(void *data) {
    *(bool *)data = true;
}

static void test_stop_waits_for_answers(void) {
    TestServer *server = test_server_new(NULL);
    fd_auto int waiting = test_connect(server);
    fd_auto int idle = test_connect(server);
    char answer[512] = {0};
    bool is_finished = false;
    send_text(waiting, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    test_wait_until(http_server_load(server->server).requests_waiting == 1);
    http_server_stop(server->server, 5000, finished, &is_finished);
    test_wait_until(is_finished);
    g_assert_cmpint(recv(waiting, answer, sizeof answer - 1, MSG_DONTWAIT), >, 0);
    g_assert_nonnull(strstr(answer, "later"));
    g_assert_nonnull(strstr(answer, "Connection: close"));
    g_assert_cmpint(recv(idle, answer, 1, MSG_DONTWAIT), ==, 0);
    test_server_free(server);
}

static void test_stop_ends_at_its_deadline(void) {
    TestServer *server = test_server_new(NULL);
    fd_auto int fd = test_connect(server);
    bool is_finished = false;
    send_text(fd, "GET /never HTTP/1.1\r\nHost: x\r\n\r\n");
    test_wait_until(http_server_load(server->server).requests_waiting == 1);
    http_server_stop(server->server, 200, finished, &is_finished);
    test_wait_until(is_finished);
    g_assert_cmpint(server->gone, ==, 1);
    test_server_free(server);
}

static void test_socket_in_use_is_refused_and_stale_replaced(void) {
    static const HttpHandler nothing = {0};
    TestServer *server = test_server_new(NULL);
    HttpServer *other = http_server_new(&nothing, NULL, NULL);
    g_auto(Error) err = {0};
    g_assert_false(http_server_listen_unix(other, server->socket_path, 0600, (gid_t)-1, &err));
    g_assert_cmpint(err.code, ==, ERROR_IN_USE);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_snprintf(address.sun_path, sizeof address.sun_path, "%s.stale", server->socket_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    close(fd); /* the file stays behind, as after kill -9 */
    g_assert_true(http_server_listen_unix(other, address.sun_path, 0640, (gid_t)-1, NULL));
    struct stat status;
    g_assert_cmpint(stat(address.sun_path, &status), ==, 0);
    g_assert_cmpuint(status.st_mode & 07777, ==, 0640);
    http_server_free(other);
    g_assert_cmpint(stat(address.sun_path, &status), ==, -1);
    test_server_free(server);
}

/* Garbage. */

static size_t make_garbage(GRand *random, char *buffer, size_t size) {
    static const char *const parts[] = {"GET ", "POST ", "/hello", "/echo", "/socket", "/%",
        "?a=", " HTTP/1.1\r\n", " HTTP/1.0\r\n", "Host: x\r\n",
        "Content-Length: ", "Transfer-Encoding: chunked\r\n", "Expect: 100-continue\r\n",
        "Connection: Upgrade\r\n", "Upgrade: websocket\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "Sec-WebSocket-Version: 13\r\n", "\r\n",
        "\r\n\r\n", "\n", "\0", ":", "7\r\nabcdefg\r\n", "0\r\n\r\n", "ffffffff\r\n",
        "18446744073709551615\r\n", "\x16\x03\x01"};
    size_t length = 0;
    int n = g_rand_int_range(random, 1, 24);
    for (int i = 0; i < n; i++) {
        const char *part = parts[g_rand_int_range(random, 0, G_N_ELEMENTS(parts))];
        size_t part_length = MAX(strlen(part), 1);
        if (length + part_length + 1 >= size)
            break;
        memcpy(buffer + length, part, part_length);
        length += part_length;
        if (g_rand_int_range(random, 0, 4) == 0)
            buffer[length++] = (char)g_rand_int_range(random, 0, 256);
    }
    return length;
}

static void send_garbage(TestServer *server) {
    GRand *random = g_rand_new_with_seed(GARBAGE_SEED);
    g_test_message("seed %d", GARBAGE_SEED);
    char buffer[4096];
    for (int i = 0; i < GARBAGE_CONNECTIONS; i++) {
        fd_auto int fd = i % 2 ? test_connect(server) : test_connect_tcp(server);
        size_t length = make_garbage(random, buffer, sizeof buffer);
        (void)!send(fd, buffer, length, MSG_NOSIGNAL);
        if (g_rand_boolean(random))
            (void)!recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
        if (g_rand_boolean(random))
            shutdown(fd, SHUT_WR);
    }
    g_rand_free(random);
    say_hello_over_tls(server);
}

static void test_garbage_on_2000_connections_does_no_harm(void) {
    HttpLimits limits = http_limits_default;
    limits.header_timeout_ms = limits.body_timeout_ms = limits.idle_timeout_ms = 2000;
    limits.connections_per_peer = limits.connections;
    TestServer *server = test_server_new(&limits);
    test_run(server, send_garbage);
    test_wait_until(http_server_load(server->server).connections == 0);
    g_assert_cmpuint(http_server_load(server->server).requests_waiting, ==, 0);
    test_server_free(server);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/http-hostile/trickled-request-line-is-cut", test_trickled_request_line_is_cut);
    g_test_add_func("/http-hostile/trickled-headers-are-cut", test_trickled_headers_are_cut);
    g_test_add_func("/http-hostile/trickled-body-is-cut", test_trickled_body_is_cut);
    g_test_add_func("/http-hostile/idle-connection-is-cut", test_idle_connection_is_cut);
    g_test_add_func("/http-hostile/stalled-handshake-is-cut-and-holds-nobody",
        test_stalled_handshake_is_cut_and_holds_nobody);
    g_test_add_func("/http-hostile/headers-have-a-limit", test_headers_have_a_limit);
    g_test_add_func(
        "/http-hostile/vanished-client-is-reported-once", test_client_that_vanishes_is_reported_once);
    g_test_add_func("/http-hostile/slow-reader-is-dropped", test_slow_reader_of_a_stream_is_dropped);
    g_test_add_func("/http-hostile/connections-per-peer-are-limited", test_connections_per_peer_are_limited);
    g_test_add_func("/http-hostile/waiting-requests-are-limited", test_waiting_requests_are_limited);
    g_test_add_func("/http-hostile/unclear-body-length-is-refused", test_unclear_body_length_is_refused);
    g_test_add_func("/http-hostile/stop-waits-for-answers", test_stop_waits_for_answers);
    g_test_add_func("/http-hostile/stop-ends-at-its-deadline", test_stop_ends_at_its_deadline);
    g_test_add_func(
        "/http-hostile/socket-in-use-is-refused", test_socket_in_use_is_refused_and_stale_replaced);
    g_test_add_func("/http-hostile/garbage-on-2000-connections-does-no-harm",
        test_garbage_on_2000_connections_does_no_harm);
    return g_test_run();
}
