/* The server under test. */
#include "http/test-support.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/file.h"

typedef void (*RouteFn)(HttpRequest *request, TestServer *server);

static void reply_text(HttpRequest *request, unsigned status, const char *text) {
    http_reply_text(request, status, "text/plain", text);
}

static uint64_t parameter(HttpRequest *request, const char *name) {
    const char *text = http_target_parameter(http_request_target(request), name);
    return text ? g_ascii_strtoull(text, NULL, 10) : 0;
}

static void route_hello(HttpRequest *request, TestServer *server G_GNUC_UNUSED) {
    reply_text(request, 200, "hello");
}

static void route_echo(HttpRequest *request, TestServer *server G_GNUC_UNUSED) {
    size_t length = 0;
    const char *body = http_request_body(request, &length);
    g_autoptr(GBytes) bytes = g_bytes_new(body, length);
    http_reply(request, 200, NULL, 0, bytes);
}

static void route_count(HttpRequest *request, TestServer *server G_GNUC_UNUSED) {
    g_autofree char *text =
        g_strdup_printf("%" G_GUINT64_FORMAT " bytes", *(uint64_t *)http_request_data(request));
    reply_text(request, 200, text);
}

static void route_who(HttpRequest *request, TestServer *server G_GNUC_UNUSED) {
    const HttpPeer *peer = http_request_peer(request);
    g_autofree char *text = peer->is_unix ? g_strdup_printf("%u %u %d", peer->uid, peer->gid, peer->pid)
                                          : g_strdup(peer->address);
    reply_text(request, 200, text);
}

static gboolean answer_later(void *data) {
    g_autoptr(HttpRequest) request = data;
    reply_text(request, 200, "later");
    return G_SOURCE_REMOVE;
}

static void route_later(HttpRequest *request, TestServer *server G_GNUC_UNUSED) {
    g_timeout_add(50, answer_later, http_request_ref(request));
}

static void count_gone(HttpRequest *request, void *data) {
    g_assert_true(http_request_is_gone(request));
    ((TestServer *)data)->gone++;
    reply_text(request, 200, "harmless");
}

static void route_never(HttpRequest *request, TestServer *server) {
    http_request_on_gone(request, count_gone, server);
    g_atomic_int_inc(&server->waiting);
}

static void send_block(HttpRequest *request, void *data G_GNUC_UNUSED) {
    static const char block[32768];
    uint64_t *left = http_request_data(request);
    size_t n = (size_t)MIN(*left, sizeof block);
    g_assert_true(n == 0 || http_stream_write(request, block, n));
    *left -= n;
    if (*left == 0)
        http_stream_end(request);
}

static void route_big(HttpRequest *request, TestServer *server G_GNUC_UNUSED) {
    uint64_t *left = g_new(uint64_t, 1);
    *left = parameter(request, "size");
    http_request_set_data(request, left, g_free);
    http_stream_begin(request, 200, NULL, 0, 65536);
    http_stream_on_drained(request, send_block, NULL);
    send_block(request, NULL);
}

static gboolean send_event(void *data) {
    g_autoptr(HttpRequest) request = data;
    uint64_t *count = http_request_data(request);
    g_autofree char *text = g_strdup_printf("data: %d\r\n\n", (int)++*count);
    http_stream_write(request, text, strlen(text));
    if (*count == 3)
        http_stream_end(request);
    else
        g_timeout_add(20, send_event, g_steal_pointer(&request));
    return G_SOURCE_REMOVE;
}

static void route_events(HttpRequest *request, TestServer *server G_GNUC_UNUSED) {
    static const HttpHeader type = {"Content-Type", "text/event-stream"};
    http_request_set_data(request, g_new0(uint64_t, 1), g_free);
    http_stream_begin(request, 200, &type, 1, 4096);
    g_timeout_add(20, send_event, http_request_ref(request));
}

typedef struct Flood {
    HttpRequest *request;
    TestServer *server;
} Flood;

static gboolean flood(void *data) {
    static const char block[4096];
    Flood *self = data;
    if (http_stream_write(self->request, block, sizeof block)) {
        self->server->pushed += sizeof block;
        return G_SOURCE_CONTINUE;
    }
    http_stream_abort(self->request);
    g_atomic_int_inc(&self->server->aborted);
    http_request_unref(self->request);
    g_free(self);
    return G_SOURCE_REMOVE;
}

static void route_flood(HttpRequest *request, TestServer *server) {
    Flood *self = g_new(Flood, 1);
    *self = (Flood){.request = http_request_ref(request), .server = server};
    http_stream_begin(request, 200, NULL, 0, 65536);
    g_idle_add(flood, self);
}

static void route_file(HttpRequest *request, TestServer *server) {
    int fd = open(server->file_path, O_RDONLY | O_CLOEXEC);
    uint64_t offset = parameter(request, "offset");
    http_reply_fd(request, 200, NULL, 0, fd, offset, TEST_FILE_BYTES - offset);
}

/* WebSockets. */

static void echo_message(
    HttpWebSocket *websocket, bool is_text, const void *data, size_t length, void *user G_GNUC_UNUSED) {
    if (!http_websocket_send(websocket, is_text, data, length))
        http_websocket_close(websocket, HTTP_WEBSOCKET_POLICY, "too slow");
}

static void push_more(HttpWebSocket *websocket, void *user) {
    static const char block[16384];
    TestServer *server = user;
    server->writable++;
    while (http_websocket_send(websocket, false, block, sizeof block))
        server->pushed += sizeof block;
}

static void count_closed(HttpWebSocket *websocket G_GNUC_UNUSED, uint16_t code G_GNUC_UNUSED, void *user) {
    ((TestServer *)user)->sockets_closed++;
}

static void count_open(HttpWebSocket *websocket, void *user) {
    if (websocket)
        ((TestServer *)user)->sockets_open++;
}

static void start_push(HttpWebSocket *websocket, void *user) {
    count_open(websocket, user);
    if (websocket)
        push_more(websocket, user);
}

static void open_socket(HttpRequest *request, TestServer *server, HttpWebSocketOpenFn on_open, bool pushes) {
    static const HttpWebSocketOptions options = {
        .protocol = "lodge-test", .message_limit = 65536, .queue_limit = 1 << 20};
    const HttpWebSocketEvents events = {
        .on_message = echo_message, .on_writable = pushes ? push_more : NULL, .on_closed = count_closed};
    g_auto(Error) err = {0};
    if (!http_reply_websocket(request, &options, &events, on_open, server, &err))
        reply_text(request, 400, err.message);
}

static void route_socket(HttpRequest *request, TestServer *server) {
    open_socket(request, server, count_open, false);
}

static void route_push(HttpRequest *request, TestServer *server) {
    open_socket(request, server, start_push, true);
}

/* Bodies that are not kept. */

static void count_chunk(
    HttpRequest *request, const void *data G_GNUC_UNUSED, size_t length, void *user G_GNUC_UNUSED) {
    *(uint64_t *)http_request_data(request) += length;
}

static gboolean resume_later(void *data) {
    g_autoptr(HttpRequest) request = data;
    http_request_resume(request);
    return G_SOURCE_REMOVE;
}

static void count_slowly(HttpRequest *request, const void *data, size_t length, void *user) {
    uint64_t *bytes = http_request_data(request);
    uint64_t before = *bytes >> 20;
    count_chunk(request, data, length, user);
    if (*bytes >> 20 == before)
        return;
    http_request_pause(request);
    g_timeout_add(1, resume_later, http_request_ref(request));
}

static void answer_no_space(HttpRequest *request, const void *data G_GNUC_UNUSED, size_t length G_GNUC_UNUSED,
    void *user G_GNUC_UNUSED) {
    reply_text(request, 507, "no space");
}

static gboolean decide_later(void *data) {
    g_autoptr(HttpRequest) request = data;
    if (parameter(request, "ok"))
        http_request_resume(request);
    else
        reply_text(request, 403, "denied");
    return G_SOURCE_REMOVE;
}

static void take_headers(HttpRequest *request, void *data G_GNUC_UNUSED) {
    const char *path = http_request_target(request)->path;
    HttpChunkFn on_chunk = NULL;
    if (g_str_equal(path, "/count"))
        on_chunk = count_chunk;
    else if (g_str_equal(path, "/slow-count"))
        on_chunk = count_slowly;
    else if (g_str_equal(path, "/stop-early"))
        on_chunk = answer_no_space;
    if (on_chunk) {
        http_request_set_data(request, g_new0(uint64_t, 1), g_free);
        http_request_stream_body(request, on_chunk, NULL);
    }
    if (g_str_equal(path, "/held")) {
        http_request_pause(request);
        g_timeout_add(20, decide_later, http_request_ref(request));
    }
}

static const struct {
    const char *path;
    RouteFn run;
} routes[] = {{"/hello", route_hello}, {"/echo", route_echo}, {"/count", route_count},
    {"/slow-count", route_count}, {"/who", route_who}, {"/later", route_later}, {"/never", route_never},
    {"/big", route_big}, {"/events", route_events}, {"/flood", route_flood}, {"/file", route_file},
    {"/socket", route_socket}, {"/push", route_push}, {"/held", route_echo}};

static void take_request(HttpRequest *request, void *data) {
    const char *path = http_request_target(request)->path;
    for (size_t i = 0; i < G_N_ELEMENTS(routes); i++)
        if (g_str_equal(routes[i].path, path)) {
            routes[i].run(request, data);
            return;
        }
    reply_text(request, 404, "no such path");
}

static const HttpHandler handler = {.on_headers = take_headers, .on_request = take_request};

TestServer *test_server_new(const HttpLimits *limits) {
    TestServer *self = g_new0(TestServer, 1);
    self->folder = g_dir_make_tmp("lodge-http-XXXXXX", NULL);
    self->socket_path = g_build_filename(self->folder, "socket", NULL);
    self->file_path = g_build_filename(self->folder, "file", NULL);
    self->authority_file = g_build_filename(self->folder, "authority.pem", NULL);
    self->unix_base = g_strconcat("unix:", self->socket_path, NULL);
    g_assert_true(tls_authority_make("Test", clock_system(), &self->authority, NULL));
    g_assert_true(tls_certificate_make(
        &self->authority, "test", NULL, TLS_ROLE_SERVER, clock_system(), &self->identity, NULL));
    g_assert_true(tls_identity_save(&self->authority, self->folder, "authority", NULL));
    g_autofree char *content = g_malloc(TEST_FILE_BYTES);
    for (size_t i = 0; i < TEST_FILE_BYTES; i++)
        content[i] = (char)('a' + i % 23);
    g_assert_true(file_replace(self->file_path, content, TEST_FILE_BYTES, 0600, NULL));
    self->server = http_server_new(&handler, self, limits);
    g_assert_true(http_server_listen_unix(self->server, self->socket_path, 0600, (gid_t)-1, NULL));
    g_assert_true(http_server_listen_tls(self->server, "127.0.0.1", 0, self->identity.certificate_pem,
        self->identity.key_pem, NULL, &self->listener, NULL));
    self->tls_base = g_strdup_printf("https://127.0.0.1:%u", http_listener_port(self->listener));
    return self;
}

void test_server_free(TestServer *self) {
    http_server_free(self->server);
    g_assert_false(g_file_test(self->socket_path, G_FILE_TEST_EXISTS));
    g_assert_true(tree_remove(self->folder, NULL));
    tls_identity_clear(&self->authority);
    tls_identity_clear(&self->identity);
    g_free(self->folder);
    g_free(self->socket_path);
    g_free(self->unix_base);
    g_free(self->tls_base);
    g_free(self->authority_file);
    g_free(self->file_path);
    g_free(self);
}

typedef struct Run {
    TestServer *server;
    void (*body)(TestServer *server);
    GMainLoop *loop;
} Run;

static gboolean quit(void *data) {
    g_main_loop_quit(data);
    return G_SOURCE_REMOVE;
}

static void *run_body(void *data) {
    Run *self = data;
    self->body(self->server);
    g_idle_add(quit, self->loop);
    return NULL;
}

void test_run(TestServer *server, void (*body)(TestServer *server)) {
    Run run = {.server = server, .body = body, .loop = g_main_loop_new(NULL, FALSE)};
    GThread *thread = g_thread_new("client", run_body, &run);
    g_main_loop_run(run.loop);
    g_thread_join(thread);
    g_main_loop_unref(run.loop);
}

HttpClient *test_client(const char *base, const char *authority_file) {
    HttpClient *client = NULL;
    const HttpClientConfig config = {.base = base, .authority_file = authority_file};
    g_assert_true(http_client_new(&config, &client, NULL));
    return client;
}

static char *perform(HttpClient *client, const HttpClientRequest *request, unsigned expected_status) {
    g_auto(HttpResponse) response = {0};
    g_auto(Error) err = {0};
    if (!http_client_perform(client, request, &response, &err))
        g_error("%s %s: %s", request->method, request->path, err.message);
    g_assert_cmpuint(response.status, ==, expected_status);
    return g_strndup((char *)response.body->data, response.body->len);
}

char *test_get(HttpClient *client, const char *path, unsigned expected_status) {
    const HttpClientRequest request = {.method = "GET", .path = path, .timeout_ms = 20000};
    return perform(client, &request, expected_status);
}

char *test_post(
    HttpClient *client, const char *path, const void *body, size_t length, unsigned expected_status) {
    const HttpClientRequest request = {
        .method = "POST", .path = path, .body = body, .body_length = length, .timeout_ms = 20000};
    return perform(client, &request, expected_status);
}

int test_connect(const TestServer *server) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_strlcpy(address.sun_path, server->socket_path, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    return fd;
}

int test_connect_tcp(const TestServer *server) {
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons(http_listener_port(server->listener)),
        .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    return fd;
}
