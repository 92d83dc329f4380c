/*
 * What a request costs over the UNIX socket and over TLS: requests per second and the server's CPU time each.
 * The server is a process of its own; the clients are threads of this one, each on one connection, or on a
 * new one for each request. Prints the median of the rounds. Usage: http-requests [REQUESTS [CLIENTS
 * [ROUNDS]]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "http/http-client.h"
#include "http/http-server.h"
#include "tls/tls-identity.h"

enum { DEFAULT_REQUESTS = 20000, DEFAULT_CLIENTS = 4, DEFAULT_ROUNDS = 5, ANSWER_BYTES = 1024 };

typedef struct Bench {
    char *folder, *socket_path, *unix_base, *tls_base, *authority_file;
    int requests, clients;
} Bench;

typedef struct Load {
    const Bench *bench;
    const char *base;
    int requests;
    bool is_kept; /* one connection for all requests of a client */
} Load;

typedef struct Result {
    double per_second, cpu_us;
} Result;

static void answer(HttpRequest *request, void *data) {
    http_reply(request, 200, NULL, 0, data);
}

static void fail_on(const Error *err, const char *what) {
    if (!error_is_set(err))
        return;
    g_autofree char *text = error_text(err);
    g_error("%s: %s", what, text);
}

/* The server's process: writes its port, then serves until it is killed. */
static void serve(const Bench *bench, int port_fd) {
    static const HttpHandler handler = {.on_request = answer};
    static const char text[ANSWER_BYTES];
    g_autoptr(GBytes) body = g_bytes_new_static(text, sizeof text);
    g_auto(TlsIdentity) authority = {0}, identity = {0};
    g_auto(Error) err = {0};
    HttpListener *listener = NULL;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    HttpServer *server = http_server_new(&handler, body, NULL);
    if (tls_authority_make("Bench", clock_system(), &authority, &err) &&
        tls_certificate_make(&authority, "bench", NULL, TLS_ROLE_SERVER, clock_system(), &identity, &err) &&
        tls_identity_save(&authority, bench->folder, "authority", &err) &&
        http_server_listen_unix(server, bench->socket_path, 0600, (gid_t)-1, &err))
        http_server_listen_tls(
            server, "127.0.0.1", 0, identity.certificate_pem, identity.key_pem, NULL, &listener, &err);
    fail_on(&err, "starting the server");
    const uint16_t port = http_listener_port(listener);
    g_assert_cmpint(write(port_fd, &port, sizeof port), ==, sizeof port);
    g_main_loop_run(g_main_loop_new(NULL, FALSE));
}

static void *run_client(void *data) {
    const Load *load = data;
    const HttpClientConfig config = {.base = load->base, .authority_file = load->bench->authority_file};
    const HttpClientRequest request = {.method = "GET", .path = "/", .timeout_ms = 20000};
    g_auto(Error) err = {0};
    HttpClient *client = NULL;
    for (int i = 0; i < load->requests; i++) {
        g_auto(HttpResponse) response = {0};
        if (!client)
            http_client_new(&config, &client, &err);
        fail_on(&err, "making a client");
        http_client_perform(client, &request, &response, &err);
        fail_on(&err, load->base);
        g_assert_cmpuint(response.body->len, ==, ANSWER_BYTES);
        if (!load->is_kept)
            g_clear_pointer(&client, http_client_free);
    }
    http_client_free(client);
    return NULL;
}

/* User and system time of a process in microseconds: fields 14 and 15 of /proc/PID/stat, see proc(5). */
static double cpu_us(pid_t pid) {
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid);
    g_autofree char *text = NULL;
    g_assert_true(file_read(path, 65536, &text, NULL, NULL));
    g_auto(GStrv) fields = g_strsplit(strrchr(text, ')') + 2, " ", 16);
    double ticks = g_ascii_strtod(fields[11], NULL) + g_ascii_strtod(fields[12], NULL);
    return ticks * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

static Result run_load(const Load *load, pid_t server) {
    GThread **threads = g_new(GThread *, (size_t)load->bench->clients);
    double before_us = cpu_us(server);
    int64_t start_us = g_get_monotonic_time();
    for (int i = 0; i < load->bench->clients; i++)
        threads[i] = g_thread_new("client", run_client, (void *)(uintptr_t)load);
    for (int i = 0; i < load->bench->clients; i++)
        g_thread_join(threads[i]);
    double total = (double)load->requests * load->bench->clients;
    Result result = {.per_second = total * 1e6 / (double)(g_get_monotonic_time() - start_us),
        .cpu_us = (cpu_us(server) - before_us) / total};
    g_free(threads);
    return result;
}

static int compare_results(const void *a, const void *b) {
    double x = ((const Result *)a)->per_second, y = ((const Result *)b)->per_second;
    return (x > y) - (x < y);
}

static void measure(const Bench *bench, pid_t server, int rounds) {
    const int each = MAX(bench->requests / bench->clients, 1);
    const Load loads[] = {{bench, bench->unix_base, each, true}, {bench, bench->tls_base, each, true},
        {bench, bench->tls_base, MAX(each / 20, 1), false}};
    static const char *const names[] = {"UNIX socket", "TLS", "TLS, new connection each"};
    for (size_t i = 0; i < G_N_ELEMENTS(loads); i++) {
        g_autofree Result *results = g_new(Result, (size_t)rounds);
        for (int round = 0; round < rounds; round++)
            results[round] = run_load(&loads[i], server);
        qsort(results, (size_t)rounds, sizeof *results, compare_results);
        printf("%-26s %8.0f requests/s %8.1f us of the server's CPU each\n", names[i],
            results[rounds / 2].per_second, results[rounds / 2].cpu_us);
    }
}

int main(int argc, char **argv) {
    int numbers[] = {DEFAULT_REQUESTS, DEFAULT_CLIENTS, DEFAULT_ROUNDS};
    for (int i = 1; i < argc && i <= (int)G_N_ELEMENTS(numbers); i++) {
        guint64 value = 0;
        if (!g_ascii_string_to_unsigned(argv[i], 10, 1, 10000000, &value, NULL)) {
            fprintf(stderr, "usage: %s [REQUESTS [CLIENTS [ROUNDS]]]\n", argv[0]);
            return 2;
        }
        numbers[i - 1] = (int)value;
    }
    Bench bench = {.requests = numbers[0], .clients = numbers[1]};
    bench.folder = g_dir_make_tmp("lodge-bench-XXXXXX", NULL);
    bench.socket_path = g_build_filename(bench.folder, "socket", NULL);
    bench.authority_file = g_build_filename(bench.folder, "authority.pem", NULL);
    bench.unix_base = g_strconcat("unix:", bench.socket_path, NULL);
    int ports[2];
    g_assert_cmpint(pipe(ports), ==, 0);
    pid_t server = fork();
    if (server == 0)
        serve(&bench, ports[1]);
    uint16_t port = 0;
    close(ports[1]);
    g_assert_cmpint(read(ports[0], &port, sizeof port), ==, sizeof port);
    bench.tls_base = g_strdup_printf("https://127.0.0.1:%u", port);
    measure(&bench, server, numbers[2]);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    g_assert_true(tree_remove(bench.folder, NULL));
    return 0;
}
