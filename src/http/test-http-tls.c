/* TLS as a client of another make sees it: versions, protocols, ends in the middle, slow readers, limits. */
#include <gnutls/gnutls.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/file.h"
#include "http/test-support.h"

enum { BIG_BYTES = 2 << 20, NO_COMMON_PROTOCOL = 120 /* RFC 7301, section 3.2 */ };

typedef struct Client {
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    int fd, code; /* of the handshake */
} Client;

static void client_end(Client *self) {
    gnutls_deinit(self->session);
    gnutls_certificate_free_credentials(self->credentials);
    fd_close(&self->fd);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Client, client_end)

/* `protocols` are up to two names for ALPN, NULL for none. */
static void client_start(
    Client *self, const TestServer *server, const char *priority, const char *const *protocols) {
    gnutls_datum_t offered[2] = {0};
    unsigned n = 0;
    for (; protocols && protocols[n]; n++)
        offered[n] =
            (gnutls_datum_t){(unsigned char *)(uintptr_t)protocols[n], (unsigned)strlen(protocols[n])};
    g_assert_cmpint(gnutls_init(&self->session, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL), >=, 0);
    g_assert_cmpint(gnutls_certificate_allocate_credentials(&self->credentials), >=, 0);
    g_assert_cmpint(gnutls_priority_set_direct(self->session, priority, NULL), >=, 0);
    gnutls_credentials_set(self->session, GNUTLS_CRD_CERTIFICATE, self->credentials);
    if (n > 0)
        gnutls_alpn_set_protocols(self->session, offered, n, 0);
    self->fd = test_connect_tcp(server);
    gnutls_transport_set_int(self->session, self->fd);
    do
        self->code = gnutls_handshake(self->session);
    while (self->code < 0 && !gnutls_error_is_fatal(self->code));
}

static void client_send(Client *self, const char *text) {
    g_assert_cmpint(gnutls_record_send(self->session, text, strlen(text)), ==, (int64_t)strlen(text));
}

static void run(const HttpLimits *limits, void (*body)(TestServer *server)) {
    TestServer *server = test_server_new(limits);
    test_run(server, body);
    test_wait_until(http_server_load(server->server).connections == 0);
    test_server_free(server);
}

/* Versions and protocols */

static void old_versions(TestServer *server) {
    static const struct {
        const char *priority;
        bool is_taken;
    } cases[] = {{"NORMAL:-VERS-ALL:+VERS-TLS1.1", false}, {"NORMAL:-VERS-ALL:+VERS-TLS1.2", true},
        {"NORMAL:-VERS-ALL:+VERS-TLS1.3", true}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Client) client = {0};
        client_start(&client, server, cases[i].priority, NULL);
        g_assert_cmpint(client.code >= 0, ==, cases[i].is_taken);
    }
}
static void test_tls_below_1_2_is_refused(void) {
    run(NULL, old_versions);
}

static void protocols(TestServer *server) {
    static const char *const both[] = {"h2", "http/1.1", NULL}, *const other[] = {"h2", NULL};
    g_auto(Client) silent = {0}, client = {0}, stranger = {0};
    gnutls_datum_t chosen = {0};
    client_start(&silent, server, "NORMAL", NULL);
    g_assert_cmpint(silent.code, >=, 0);
    client_start(&client, server, "NORMAL", both);
    g_assert_cmpint(client.code, >=, 0);
    g_assert_cmpint(gnutls_alpn_get_selected_protocol(client.session, &chosen), >=, 0);
    g_assert_true(chosen.size == 8 && memcmp(chosen.data, "http/1.1", 8) == 0);
    client_start(&stranger, server, "NORMAL", other);
    g_assert_cmpint(stranger.code, ==, GNUTLS_E_FATAL_ALERT_RECEIVED);
    g_assert_cmpint(gnutls_alert_get(stranger.session), ==, NO_COMMON_PROTOCOL);
}
static void test_http_1_1_is_the_only_protocol(void) {
    run(NULL, protocols);
}

/* Ends in the middle */

static void wait_for_request(TestServer *server) {
    while (g_atomic_int_get(&server->waiting) == 0)
        g_usleep(1000);
}

static void farewell(TestServer *server) {
    g_auto(Client) client = {0};
    client_start(&client, server, "NORMAL", NULL);
    client_send(&client, "GET /never HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for_request(server);
    gnutls_bye(client.session, GNUTLS_SHUT_WR);
    char byte;
    g_assert_cmpint(gnutls_record_recv(client.session, &byte, 1), ==, 0);
}

static void break_off(TestServer *server) {
    g_auto(Client) client = {0};
    client_start(&client, server, "NORMAL", NULL);
    client_send(&client, "GET /never HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for_request(server);
    const struct linger reset = {.l_onoff = 1};
    setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

static void check_gone(void (*body)(TestServer *server)) {
    TestServer *server = test_server_new(NULL);
    test_run(server, body);
    test_wait_until(http_server_load(server->server).connections == 0);
    g_assert_cmpint(server->gone, ==, 1);
    g_assert_cmpuint(http_server_load(server->server).requests_waiting, ==, 0);
    test_server_free(server);
}
static void test_farewell_reaches_the_request(void) {
    check_gone(farewell);
}
static void test_reset_reaches_the_request(void) {
    check_gone(break_off);
}

/* Slow readers */

static void late_reader(TestServer *server) {
    static const char request[] = "GET /big?size=2097152 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    char block[16384];
    g_auto(Client) client = {0};
    client_start(&client, server, "NORMAL", NULL);
    client_send(&client, request);
    g_usleep(300000);
    int64_t received = 0;
    for (ssize_t n = 1; n > 0; received += n) {
        n = gnutls_record_recv(client.session, block, sizeof block);
        g_assert_cmpint(n, >=, 0); /* with a farewell at its end */
    }
    g_assert_cmpint(received, >, BIG_BYTES);
}
static void test_late_reader_gets_the_whole_answer(void) {
    run(NULL, late_reader);
}

static void deaf_reader(TestServer *server) {
    g_auto(Client) client = {0};
    client_start(&client, server, "NORMAL", NULL);
    client_send(&client, "GET /flood HTTP/1.1\r\nHost: x\r\n\r\n");
    while (g_atomic_int_get(&server->aborted) == 0)
        g_usleep(1000);
}
static void test_deaf_reader_of_a_stream_is_dropped(void) {
    TestServer *server = test_server_new(NULL);
    test_run(server, deaf_reader);
    test_wait_until(http_server_load(server->server).connections == 0);
    g_assert_cmpuint(server->pushed, <, 8 << 20);
    test_server_free(server);
}

/* MHD closes when nothing moved for a second; what it wrote then waits in the tunnel a second at most. */
static void stalled_reader(TestServer *server) {
    char block[16384];
    ssize_t n = 1;
    g_auto(Client) client = {0};
    client_start(&client, server, "NORMAL", NULL);
    client_send(&client, "GET /big?size=104857600 HTTP/1.1\r\nHost: x\r\n\r\n");
    g_usleep(4000000);
    while (n > 0)
        n = gnutls_record_recv(client.session, block, sizeof block);
    g_assert_cmpint(n, <, 0); /* cut, without a farewell */
}
static void test_stalled_reader_is_cut(void) {
    HttpLimits limits = http_limits_default;
    limits.stall_timeout_s = 1;
    run(&limits, stalled_reader);
}

/* Limits and stop */

static void test_handshakes_count_as_connections(void) {
    HttpLimits limits = http_limits_default;
    limits.connections_per_peer = 2;
    TestServer *server = test_server_new(&limits);
    int fds[3];
    for (int i = 0; i < 3; i++)
        fds[i] = test_connect_tcp(server);
    test_wait_until(http_server_load(server->server).connections_refused == 1);
    g_assert_cmpuint(http_server_load(server->server).connections, ==, 2);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    test_wait_until(http_server_load(server->server).connections == 0);
    test_server_free(server);
}

static void finished(void *data) {
    *(bool *)data = true;
}

static void test_stop_does_not_wait_for_silent_clients(void) {
    TestServer *server = test_server_new(NULL);
    fd_auto int fd = test_connect_tcp(server);
    (void)fd; /* stays open until the end */
    bool is_finished = false;
    test_wait_until(http_server_load(server->server).connections == 1);
    http_server_stop(server->server, 60000, finished, &is_finished);
    test_wait_until(is_finished);
    g_assert_cmpuint(http_server_load(server->server).connections_cut, ==, 0);
    test_server_free(server);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/http-tls/below-1.2-is-refused", test_tls_below_1_2_is_refused);
    g_test_add_func("/http-tls/http-1.1-is-the-only-protocol", test_http_1_1_is_the_only_protocol);
    g_test_add_func("/http-tls/farewell-reaches-the-request", test_farewell_reaches_the_request);
    g_test_add_func("/http-tls/reset-reaches-the-request", test_reset_reaches_the_request);
    g_test_add_func("/http-tls/late-reader-gets-the-whole-answer", test_late_reader_gets_the_whole_answer);
    g_test_add_func("/http-tls/deaf-reader-of-a-stream-is-dropped", test_deaf_reader_of_a_stream_is_dropped);
    g_test_add_func("/http-tls/stalled-reader-is-cut", test_stalled_reader_is_cut);
    g_test_add_func("/http-tls/handshakes-count-as-connections", test_handshakes_count_as_connections);
    g_test_add_func(
        "/http-tls/stop-does-not-wait-for-silent-clients", test_stop_does_not_wait_for_silent_clients);
    return g_test_run();
}
