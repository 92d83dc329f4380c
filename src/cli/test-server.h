/*
 * For test-cli.c: a server on a UNIX socket and on TLS in this process that answers from a list and remembers
 * what it was asked, and the real `lodge` (LODGE_PROGRAM) as a child. Any WebSocket that has no answer in the
 * list is a console that says "login: " and remembers what was typed.
 */
#pragma once
#include "http/http-server.h"

enum { CLI_REQUESTS_MAX = 64 };

typedef struct CliRequest {
    char *line; /* "GET /v1/vms" */
    char *body, *idempotency_key, *last_event_id, *authorization;
    GHashTable *query; /* a repeated parameter's values are joined by spaces */
} CliRequest;

typedef struct CliServer {
    char *folder, *socket_url, *fingerprint;
    uint16_t tls_port;
    HttpServer *server;
    GPtrArray *answers;
    CliRequest requests[CLI_REQUESTS_MAX];
    size_t n_requests;
    bool closes_console;        /* after its greeting */
    GString *typed;             /* on the console */
    const char *kept_bytes;     /* what it says that it has of an upload; NULL: 0 */
    const char *interrupt_line; /* a request of this line sends the child SIGINT; or NULL */
    int child;                  /* its process */
    const char *output;         /* a file for its standard output that is not read back; or NULL */
} CliServer;

CliServer *server_new(void);
void server_free(CliServer *server);
/* The next request of that line gets this answer; answers of one line are used in their order. */
void server_answer(CliServer *server, const char *line, unsigned status, const char *body);
/* A parameter of the n-th request's query, or NULL. */
const char *server_query(const CliServer *server, size_t n, const char *name);

typedef struct CliResult {
    char *out, *err;
    int status;
} CliResult;
/* Runs the program to its end while the server answers. */
CliResult *cli_run(CliServer *server, ...) G_GNUC_NULL_TERMINATED;
CliResult *cli_run_with_input(CliServer *server, const char *input, ...) G_GNUC_NULL_TERMINATED;
void cli_result_free(CliResult *result);
