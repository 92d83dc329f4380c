/* The server and the child of test-cli.c. */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "cli/test-server.h"
#include "tls/tls-identity.h"

enum { OUTPUT_LIMIT = 1 << 20 };

typedef struct Answer {
    char *line, *body;
    unsigned status;
} Answer;

static void answer_free(void *data) {
    Answer *answer = data;
    g_free(answer->line);
    g_free(answer->body);
    g_free(answer);
}

void server_answer(CliServer *server, const char *line, unsigned status, const char *body) {
    Answer *answer = g_new0(Answer, 1);
    *answer = (Answer){.line = g_strdup(line), .body = g_strdup(body), .status = status};
    g_ptr_array_add(server->answers, answer);
}

static void console_message(HttpWebSocket *websocket G_GNUC_UNUSED, bool is_text G_GNUC_UNUSED,
    const void *data, size_t length, void *user) {
    g_string_append_len(((CliServer *)user)->typed, data, (gssize)length);
}
static void console_closed(
    HttpWebSocket *websocket G_GNUC_UNUSED, uint16_t code G_GNUC_UNUSED, void *user G_GNUC_UNUSED) {
}
static void console_open(HttpWebSocket *websocket, void *user) {
    if (!websocket)
        return;
    http_websocket_send(websocket, false, "login: ", strlen("login: "));
    if (((CliServer *)user)->closes_console)
        http_websocket_close(websocket, HTTP_WEBSOCKET_NORMAL, NULL);
}

static void remember(CliServer *server, const HttpRequest *request, const char *line) {
    g_assert_cmpuint(server->n_requests, <, CLI_REQUESTS_MAX);
    const HttpTarget *target = http_request_target(request);
    GHashTable *query = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (guint i = 0; i < target->parameter_names->len; i++) {
        const char *name = target->parameter_names->pdata[i], *value = target->parameter_values->pdata[i];
        const char *before = g_hash_table_lookup(query, name);
        char *all = before ? g_strconcat(before, " ", value, NULL) : g_strdup(value);
        g_hash_table_insert(query, g_strdup(name), all);
    }
    size_t length = 0;
    const char *body = http_request_body(request, &length);
    server->requests[server->n_requests++] = (CliRequest){.line = g_strdup(line),
        .body = g_strndup(body, length),
        .idempotency_key = g_strdup(http_request_header(request, "Idempotency-Key")),
        .last_event_id = g_strdup(http_request_header(request, "Last-Event-ID")),
        .authorization = g_strdup(http_request_header(request, "Authorization")),
        .query = query};
}

/* How much of an upload is kept? Not remembered. */
static bool answer_question(const CliServer *server, HttpRequest *request) {
    const HttpHeader header = {"Upload-Offset", server->kept_bytes ? server->kept_bytes : "0"};
    if (!http_request_header(request, "Upload-Id") || http_request_header(request, "Upload-Offset"))
        return false;
    http_reply(request, 204, &header, 1, NULL);
    return true;
}

static void on_request(HttpRequest *request, void *data) {
    static const HttpWebSocketEvents events = {.on_message = console_message, .on_closed = console_closed};
    CliServer *server = data;
    if (answer_question(server, request))
        return;
    g_autofree char *line =
        g_strconcat(http_request_method(request), " ", http_request_target(request)->path, NULL);
    remember(server, request, line);
    if (server->interrupt_line && g_str_equal(server->interrupt_line, line)) {
        server->interrupt_line = NULL;
        g_assert_cmpint(kill(server->child, SIGINT), ==, 0);
    }
    for (guint i = 0; i < server->answers->len; i++) {
        Answer *answer = server->answers->pdata[i];
        if (!g_str_equal(answer->line, line))
            continue;
        http_reply_text(request, answer->status, "application/json", answer->body);
        g_ptr_array_remove_index(server->answers, i);
        return;
    }
    const HttpWebSocketOptions options = {0};
    if (!http_request_is_websocket(request) ||
        !http_reply_websocket(request, &options, &events, console_open, server, NULL))
        http_reply_text(request, 500, "text/plain", "no answer was prepared");
}

static void listen_tls(CliServer *server) {
    g_auto(TlsIdentity) authority = {0}, identity = {0};
    HttpListener *listener = NULL;
    static const char *const names[] = {"127.0.0.1", NULL};
    g_assert_true(tls_authority_make("Test authority", clock_system(), &authority, NULL));
    g_assert_true(
        tls_certificate_make(&authority, "test", names, TLS_ROLE_SERVER, clock_system(), &identity, NULL));
    g_assert_true(tls_fingerprint(authority.certificate_pem, &server->fingerprint, NULL));
    g_autofree char *chain = g_strconcat(identity.certificate_pem, authority.certificate_pem, NULL);
    g_assert_true(http_server_listen_tls(
        server->server, "127.0.0.1", 0, chain, identity.key_pem, NULL, &listener, NULL));
    server->tls_port = http_listener_port(listener);
}

CliServer *server_new(void) {
    static const HttpHandler handler = {.on_request = on_request};
    CliServer *server = g_new0(CliServer, 1);
    server->folder = g_dir_make_tmp("lodge-test-XXXXXX", NULL);
    server->answers = g_ptr_array_new_with_free_func(answer_free);
    server->typed = g_string_new(NULL);
    server->server = http_server_new(&handler, server, &http_limits_default);
    g_autofree char *socket = g_build_filename(server->folder, "lodged.sock", NULL);
    server->socket_url = g_strconcat("unix:", socket, NULL);
    g_assert_true(http_server_listen_unix(server->server, socket, 0600, (gid_t)-1, NULL));
    listen_tls(server);
    return server;
}

void server_free(CliServer *server) {
    http_server_free(server->server);
    g_assert_true(tree_remove(server->folder, NULL));
    for (size_t i = 0; i < server->n_requests; i++) {
        CliRequest *request = &server->requests[i];
        g_free(request->line);
        g_free(request->body);
        g_free(request->idempotency_key);
        g_free(request->last_event_id);
        g_free(request->authorization);
        g_hash_table_unref(request->query);
    }
    g_ptr_array_unref(server->answers);
    g_string_free(server->typed, TRUE);
    g_free(server->folder);
    g_free(server->socket_url);
    g_free(server->fingerprint);
    g_free(server);
}

const char *server_query(const CliServer *server, size_t n, const char *name) {
    g_assert_cmpuint(n, <, server->n_requests);
    return g_hash_table_lookup(server->requests[n].query, name);
}

typedef struct Child {
    int status;
    bool is_over;
} Child;

static void child_ended(GPid pid, int status, void *data) {
    Child *child = data;
    child->status = status;
    child->is_over = true;
    g_spawn_close_pid(pid);
}

static char *write_input(const CliServer *server, const char *input) {
    char *path = g_build_filename(server->folder, "input", NULL);
    g_assert_true(file_replace(path, input, strlen(input), 0600, NULL));
    return path;
}

static CliResult *run(CliServer *server, const char *input, GPtrArray *argv) {
    g_autofree char *in = write_input(server, input), *out = g_build_filename(server->folder, "out", NULL);
    g_autofree char *err = g_build_filename(server->folder, "err", NULL);
    g_auto(GStrv) environment = g_environ_setenv(g_get_environ(), "LODGE_SERVER", server->socket_url, TRUE);
    environment = g_environ_setenv(environment, "XDG_CONFIG_HOME", server->folder, TRUE);
    environment = g_environ_unsetenv(environment, "LODGE_TOKEN_FILE");
    fd_auto int in_fd = open(in, O_RDONLY | O_CLOEXEC);
    const char *out_path = server->output ? server->output : out;
    fd_auto int out_fd = open(out_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    fd_auto int err_fd = open(err, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    GPid pid = 0;
    Child child = {0};
    g_assert_true(g_spawn_async_with_fds(NULL, (char **)argv->pdata, environment, G_SPAWN_DO_NOT_REAP_CHILD,
        NULL, NULL, &pid, in_fd, out_fd, err_fd, NULL));
    server->child = pid;
    g_child_watch_add(pid, child_ended, &child);
    while (!child.is_over)
        g_main_context_iteration(NULL, TRUE);
    CliResult *result = g_new0(CliResult, 1);
    g_assert_true(WIFEXITED(child.status));
    result->status = WEXITSTATUS(child.status);
    if (server->output)
        result->out = g_strdup("");
    else
        g_assert_true(file_read(out, OUTPUT_LIMIT, &result->out, NULL, NULL));
    g_assert_true(file_read(err, OUTPUT_LIMIT, &result->err, NULL, NULL));
    return result;
}

static GPtrArray *collect(va_list list) {
    GPtrArray *argv = g_ptr_array_new();
    g_ptr_array_add(argv, (void *)LODGE_PROGRAM);
    for (const char *argument = va_arg(list, const char *); argument; argument = va_arg(list, const char *))
        g_ptr_array_add(argv, (void *)argument);
    g_ptr_array_add(argv, NULL);
    return argv;
}

CliResult *cli_run(CliServer *server, ...) {
    va_list list;
    va_start(list, server);
    g_autoptr(GPtrArray) argv = collect(list);
    va_end(list);
    return run(server, "", argv);
}

CliResult *cli_run_with_input(CliServer *server, const char *input, ...) {
    va_list list;
    va_start(list, input);
    g_autoptr(GPtrArray) argv = collect(list);
    va_end(list);
    return run(server, input, argv);
}

void cli_result_free(CliResult *result) {
    g_free(result->out);
    g_free(result->err);
    g_free(result);
}
