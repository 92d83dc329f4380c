/*
 * A real server on a UNIX socket and on TLS, and clients in threads beside its main loop. The routes:
 *   GET /hello, POST /echo (body back), POST /count (streamed: "<bytes> bytes"), POST /slow-count (pauses 1
 * ms each 1 MiB), GET /who ("uid gid" or address), GET /later (answers from a timer after 50 ms), GET /never,
 * GET /big?size=N (stream while the client keeps up), GET /events (server-sent, 3 then end), GET /flood
 * (writes until refused, then aborts), POST /held (decided from a timer: ?ok=1 reads the body), POST
 * /stop-early (answers after the first chunk with 507), GET /file?offset=N (the test's file), GET /socket
 * (WebSocket echo), GET /push (WebSocket that sends until refused).
 */
#pragma once
#include "http/http-client.h"
#include "http/http-server.h"
#include "tls/tls-identity.h"

typedef struct TestServer {
    char *folder, *socket_path, *unix_base, *tls_base, *authority_file, *file_path;
    HttpServer *server;
    HttpListener *listener;
    TlsIdentity authority, identity;
    /* What happened; written by the main loop, read when the client has ended. `waiting` and `aborted` are
     * atomic. */
    int waiting, gone, aborted, sockets_open, sockets_closed, writable;
    uint64_t pushed, pulled; /* bytes of WebSockets: sent by the server, received by clients */
} TestServer;

enum { TEST_FILE_BYTES = 300000 };

TestServer *test_server_new(const HttpLimits *limits);
void test_server_free(TestServer *self);

/* Runs `body` in a thread and the main loop until it returns. */
void test_run(TestServer *server, void (*body)(TestServer *server));
/* Turns the main loop until the condition holds; fails the test after 10 s. */
#define test_wait_until(condition)                                     \
    do {                                                               \
        int64_t end_us = g_get_monotonic_time() + 10 * G_USEC_PER_SEC; \
        while (!(condition)) {                                         \
            g_assert_cmpint(g_get_monotonic_time(), <, end_us);        \
            if (!g_main_context_iteration(NULL, FALSE))                \
                g_usleep(1000);                                        \
        }                                                              \
    } while (0)

HttpClient *test_client(const char *base, const char *authority_file);
/* Performs it and checks the status; the body is newly allocated. */
char *test_get(HttpClient *client, const char *path, unsigned expected_status);
char *test_post(
    HttpClient *client, const char *path, const void *body, size_t length, unsigned expected_status);
/* Raw connections: to the UNIX socket, and to the TLS port without a handshake. */
int test_connect(const TestServer *server);
int test_connect_tcp(const TestServer *server);
