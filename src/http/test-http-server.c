/* Requests, answers, bodies and streams between a real server and a real client, over the UNIX socket and
 * TLS. */
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/file.h"
#include "http/test-support.h"

enum { UPLOAD_BYTES = 64 << 20, KEEP_ALIVE_REQUESTS = 1000 };

/* Runs `check` over both transports. */
static void for_both(TestServer *server, void (*check)(HttpClient *client)) {
    g_autoptr(HttpClient) local = test_client(server->unix_base, NULL);
    check(local);
    g_autoptr(HttpClient) tls = test_client(server->tls_base, server->authority_file);
    check(tls);
}

static void run_test(const HttpLimits *limits, void (*body)(TestServer *server)) {
    TestServer *server = test_server_new(limits);
    test_run(server, body);
    test_server_free(server);
}

static void check_answers(HttpClient *client) {
    g_autofree char *hello = test_get(client, "/hello", 200);
    g_assert_cmpstr(hello, ==, "hello");
    g_autofree char *later = test_get(client, "/later", 200);
    g_assert_cmpstr(later, ==, "later");
    g_autofree char *echo = test_post(client, "/echo", "abc", 3, 200);
    g_assert_cmpstr(echo, ==, "abc");
    g_free(test_get(client, "/missing", 404));
}

static void answers(TestServer *server) {
    for_both(server, check_answers);
}
static void test_answers_now_and_later(void) {
    run_test(NULL, answers);
}

static void check_head(HttpClient *client) {
    g_auto(HttpResponse) response = {0};
    const HttpClientRequest request = {.method = "HEAD", .path = "/hello"};
    g_assert_true(http_client_perform(client, &request, &response, NULL));
    g_assert_cmpuint(response.status, ==, 200);
    g_assert_cmpuint(response.body->len, ==, 0);
    g_assert_cmpstr(http_response_header(&response, "server"), ==, "lodge");
    g_assert_cmpstr(http_response_header(&response, "Content-Length"), ==, "5");
    g_assert_nonnull(http_response_header(&response, "Date"));
    g_free(test_get(client, "/hello", 200));
}

static void head(TestServer *server) {
    for_both(server, check_head);
}
static void test_head_has_headers_and_no_body(void) {
    run_test(NULL, head);
}

static void check_keep_alive(HttpClient *client) {
    for (int i = 0; i < KEEP_ALIVE_REQUESTS; i++)
        g_free(test_get(client, "/hello", 200));
}

static void keep_alive(TestServer *server) {
    for_both(server, check_keep_alive);
}

static void test_1000_requests_use_one_connection(void) {
    TestServer *server = test_server_new(NULL);
    test_run(server, keep_alive);
    g_assert_cmpuint(http_server_load(server->server).requests, ==, 2 * KEEP_ALIVE_REQUESTS);
    g_assert_cmpuint(http_server_load(server->server).connections_refused, ==, 0);
    test_server_free(server);
}

static void check_large_body(HttpClient *client) {
    size_t length = (1 << 20) + 1;
    g_autofree char *body = g_malloc0(length);
    g_free(test_post(client, "/echo", body, length, 413));
    g_autofree char *echo = test_post(client, "/echo", body, length - 1, 200);
    (void)echo;
    /* Without an announced length. */
    const char *const headers[] = {"Transfer-Encoding: chunked", NULL};
    g_auto(HttpResponse) response = {0};
    const HttpClientRequest chunked = {
        .method = "POST", .path = "/echo", .headers = headers, .body = body, .body_length = length};
    g_assert_true(http_client_perform(client, &chunked, &response, NULL));
    g_assert_cmpuint(response.status, ==, 413);
}

static void large_body(TestServer *server) {
    for_both(server, check_large_body);
}
static void test_large_body_is_refused_early(void) {
    run_test(NULL, large_body);
}

static int sparse_file(uint64_t length) {
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("lodge-http-XXXXXX", &path, NULL);
    g_assert_cmpint(ftruncate(fd, (off_t)length), ==, 0);
    unlink(path);
    return fd;
}

static void count_progress(int64_t sent, int64_t received G_GNUC_UNUSED, void *user) {
    *(int64_t *)user = MAX(*(int64_t *)user, sent);
}

static void upload(
    HttpClient *client, const char *path, bool is_chunked, unsigned status, const char *expected) {
    fd_auto int fd = sparse_file(UPLOAD_BYTES);
    int64_t progress = 0;
    g_auto(HttpResponse) response = {0};
    g_auto(Error) err = {0};
    const HttpClientRequest request = {.method = "POST",
        .path = path,
        .has_upload = true,
        .upload_fd = fd,
        .upload_length = is_chunked ? -1 : UPLOAD_BYTES,
        .on_progress = count_progress,
        .user = &progress};
    if (!http_client_perform(client, &request, &response, &err))
        g_error("%s: %s", path, err.message);
    g_assert_cmpuint(response.status, ==, status);
    g_assert_cmpstr((char *)response.body->data, ==, expected);
    if (status == 200)
        g_assert_cmpint(progress, >=, UPLOAD_BYTES);
}

static void check_uploads(HttpClient *client) {
    upload(client, "/count", false, 200, "67108864 bytes");
    upload(client, "/slow-count", true, 200, "67108864 bytes");
}

static void uploads(TestServer *server) {
    for_both(server, check_uploads);
}

static void test_streamed_upload_needs_little_memory(void) {
    struct rusage before, after;
    TestServer *server = test_server_new(NULL);
    getrusage(RUSAGE_SELF, &before);
    test_run(server, uploads);
    getrusage(RUSAGE_SELF, &after);
#ifndef __SANITIZE_ADDRESS__                                          /* it keeps freed memory */
    g_assert_cmpint(after.ru_maxrss - before.ru_maxrss, <, 16 << 10); /* KiB */
#endif
    test_server_free(server);
}

static void check_early_answers(HttpClient *client) {
    upload(client, "/stop-early", false, 507, "no space");
    upload(client, "/held?ok=1", false, 413, "the body is larger than 1048576 bytes");
    g_autofree char *denied = test_post(client, "/held", "abc", 3, 403);
    g_assert_cmpstr(denied, ==, "denied");
    g_autofree char *echo = test_post(client, "/held?ok=1", "abc", 3, 200);
    g_assert_cmpstr(echo, ==, "abc");
}

static void early_answers(TestServer *server) {
    for_both(server, check_early_answers);
}
static void test_answer_before_the_body_ends_arrives(void) {
    run_test(NULL, early_answers);
}

static void check_streams(HttpClient *client) {
    g_autofree char *big = test_get(client, "/big?size=0", 200);
    g_assert_cmpstr(big, ==, "");
    g_auto(HttpResponse) response = {0};
    const HttpClientRequest request = {.method = "GET", .path = "/big?size=20000000"};
    g_assert_true(http_client_perform(client, &request, &response, NULL));
    g_assert_cmpuint(response.body->len, ==, 20000000);
    g_autofree char *file = test_get(client, "/file?offset=100000", 200);
    g_assert_cmpuint(strlen(file), ==, TEST_FILE_BYTES - 100000);
    g_assert_cmpint(file[0], ==, 'a' + 100000 % 23);
}

static void streams(TestServer *server) {
    for_both(server, check_streams);
}
static void test_long_answers_arrive_whole(void) {
    run_test(NULL, streams);
}

static bool collect_line(const char *line, void *user) {
    g_string_append_printf(user, "%s|", line);
    return true;
}

static void check_events(HttpClient *client) {
    g_autoptr(GString) lines = g_string_new(NULL);
    g_auto(HttpResponse) response = {0};
    const HttpClientRequest request = {
        .method = "GET", .path = "/events", .on_line = collect_line, .user = lines};
    g_assert_true(http_client_perform(client, &request, &response, NULL));
    g_assert_cmpstr(http_response_header(&response, "Content-Type"), ==, "text/event-stream");
    g_assert_cmpstr(lines->str, ==, "data: 1||data: 2||data: 3||");
}

static void events(TestServer *server) {
    for_both(server, check_events);
}
static void test_events_arrive_line_by_line(void) {
    run_test(NULL, events);
}

static void check_paths(HttpClient *client) {
    static const char *const bad[] = {"/..", "/a/../hello", "/hello/", "//hello", "/%00", "/%ff", "/a%2fb"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        g_free(test_get(client, bad[i], 400));
    g_free(test_get(client, "/%68ello", 200));
}

static void paths(TestServer *server) {
    for_both(server, check_paths);
}
static void test_bad_paths_are_refused(void) {
    run_test(NULL, paths);
}

static void peers(TestServer *server) {
    g_autoptr(HttpClient) local = test_client(server->unix_base, NULL);
    g_autofree char *who = test_get(local, "/who", 200);
    g_autofree char *expected = g_strdup_printf("%u %u %d", getuid(), getgid(), getpid());
    g_assert_cmpstr(who, ==, expected);
    g_autoptr(HttpClient) tls = test_client(server->tls_base, server->authority_file);
    g_autofree char *address = test_get(tls, "/who", 200);
    g_assert_cmpstr(address, ==, "127.0.0.1");
}
static void test_peer_is_known(void) {
    run_test(NULL, peers);
}

static void wrong_authority(TestServer *server) {
    g_auto(TlsIdentity) other = {0};
    g_assert_true(tls_authority_make("Test", clock_system(), &other, NULL));
    g_assert_true(tls_identity_save(&other, server->folder, "other", NULL));
    g_autofree char *other_file = g_build_filename(server->folder, "other.pem", NULL);
    g_autoptr(HttpClient) client = test_client(server->tls_base, other_file);
    g_auto(HttpResponse) response = {0};
    g_auto(Error) err = {0};
    const HttpClientRequest request = {.method = "GET", .path = "/hello"};
    g_assert_false(http_client_perform(client, &request, &response, &err));
    g_assert_cmpint(err.code, ==, ERROR_DENIED);
}
static void test_client_refuses_another_authority(void) {
    run_test(NULL, wrong_authority);
}

static void unreachable(TestServer *server) {
    g_autoptr(HttpClient) nobody = test_client("unix:/nonexistent/socket", NULL);
    g_autoptr(HttpClient) local = test_client(server->unix_base, NULL);
    g_auto(HttpResponse) response = {0};
    g_auto(Error) err = {0};
    HttpClientRequest request = {.method = "GET", .path = "/hello"};
    g_assert_false(http_client_perform(nobody, &request, &response, &err));
    g_assert_cmpint(err.code, ==, ERROR_UNREACHABLE);
    error_clear(&err);
    request = (HttpClientRequest){.method = "GET", .path = "/never", .timeout_ms = 100};
    g_assert_false(http_client_perform(local, &request, &response, &err));
    g_assert_cmpint(err.code, ==, ERROR_TIMED_OUT);
}
static void test_client_names_what_failed(void) {
    run_test(NULL, unreachable);
}

static void test_reload_serves_new_connections(void) {
    TestServer *server = test_server_new(NULL);
    g_auto(TlsIdentity) other = {0}, identity = {0};
    g_auto(Error) err = {0};
    g_assert_false(http_listener_reload(server->listener, "no", "no", &err));
    g_assert_true(tls_authority_make("Other", clock_system(), &other, NULL));
    g_assert_true(
        tls_certificate_make(&other, "test", NULL, TLS_ROLE_SERVER, clock_system(), &identity, NULL));
    g_assert_true(http_listener_reload(server->listener, identity.certificate_pem, identity.key_pem, NULL));
    test_run(server, wrong_authority); /* neither the first nor a third authority fits */
    g_assert_true(file_replace(
        server->authority_file, other.certificate_pem, strlen(other.certificate_pem), 0600, NULL));
    test_run(server, answers);
    test_server_free(server);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/http/answers-now-and-later", test_answers_now_and_later);
    g_test_add_func("/http/head-has-headers-and-no-body", test_head_has_headers_and_no_body);
    g_test_add_func("/http/1000-requests-use-one-connection", test_1000_requests_use_one_connection);
    g_test_add_func("/http/large-body-is-refused-early", test_large_body_is_refused_early);
    g_test_add_func("/http/streamed-upload-needs-little-memory", test_streamed_upload_needs_little_memory);
    g_test_add_func("/http/answer-before-the-body-ends-arrives", test_answer_before_the_body_ends_arrives);
    g_test_add_func("/http/long-answers-arrive-whole", test_long_answers_arrive_whole);
    g_test_add_func("/http/events-arrive-line-by-line", test_events_arrive_line_by_line);
    g_test_add_func("/http/bad-paths-are-refused", test_bad_paths_are_refused);
    g_test_add_func("/http/peer-is-known", test_peer_is_known);
    g_test_add_func("/http/client-refuses-another-authority", test_client_refuses_another_authority);
    g_test_add_func("/http/client-names-what-failed", test_client_names_what_failed);
    g_test_add_func("/http/reload-serves-new-connections", test_reload_serves_new_connections);
    return g_test_run();
}
