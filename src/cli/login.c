/* The log-in: first the authority, then name and password. */
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "base/file.h"
#include "cli/login.h"
#include "cli/session.h"
#include "cli/value.h"
#include "tls/tls-identity.h"
#include "tls/tls-peer.h"

enum { ANSWER_LIMIT = 1100, FILE_LIMIT = 65536, CONNECT_TIMEOUT_MS = 10000, DEFAULT_PORT = 7443 };

/* One line from the terminal, or from standard input where there is none. */
static bool ask(const char *question, bool is_secret, char **ret_answer, Error *err) {
    struct termios before, quiet;
    bool is_hidden = is_secret && isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;
    char answer[ANSWER_LIMIT];
    if (isatty(STDIN_FILENO))
        fprintf(stderr, "%s", question);
    if (is_hidden) {
        quiet = before;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    }
    bool is_read = fgets(answer, sizeof answer, stdin) != NULL;
    if (is_hidden) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fprintf(stderr, "\n");
    }
    if (!is_read)
        return error_set(err, ERROR_INVALID, NULL, "nothing was answered");
    *ret_answer = g_strdup(g_strchomp(answer));
    explicit_bzero(answer, sizeof answer);
    return true;
}

/* "https://host:7443" with its port; host without brackets. */
static bool split_url(const char *url, char **ret_server, char **ret_host, uint16_t *ret_port, Error *err) {
    g_autoptr(GUri) uri = g_uri_parse(url, G_URI_FLAGS_NONE, NULL);
    if (!uri || !g_str_equal(g_uri_get_scheme(uri), "https") || !g_uri_get_host(uri) || !*g_uri_get_host(uri))
        return error_set(
            err, ERROR_INVALID, NULL, "\"%s\" is not a URL such as https://host:%d", url, DEFAULT_PORT);
    int port = g_uri_get_port(uri);
    *ret_port = (uint16_t)(port > 0 ? port : DEFAULT_PORT);
    *ret_host = g_strdup(g_uri_get_host(uri));
    bool is_ipv6 = strchr(*ret_host, ':') != NULL;
    *ret_server = g_strdup_printf(is_ipv6 ? "https://[%s]:%u" : "https://%s:%u", *ret_host, *ret_port);
    return true;
}

static bool confirm_fingerprint(const Arguments *arguments, const char *fingerprint, Error *err) {
    const char *expected = arguments->options.values[CLI_OPTION_CA_FINGERPRINT];
    if (expected) {
        g_autofree char *own = g_str_has_prefix(expected, "sha256:") ? g_ascii_strdown(expected, -1)
                                                                     : g_strconcat("sha256:", expected, NULL);
        return g_ascii_strcasecmp(own, fingerprint) == 0 ||
               error_set(err, ERROR_OTHER_AUTHORITY, NULL,
                   "the server's authority has another fingerprint: %s", fingerprint);
    }
    fprintf(stderr, "The server's authority has the fingerprint\n  %s\n", fingerprint);
    if (!isatty(STDIN_FILENO))
        return error_set(
            err, ERROR_INVALID, NULL, "confirm it with --ca-fingerprint when nobody can be asked");
    g_autofree char *answer = NULL;
    if (!ask("Does the server show the same (`lodge system info` there)? [y/N] ", false, &answer, err))
        return false;
    return g_ascii_tolower(*answer) == 'y' || error_set(err, ERROR_CANCELLED, NULL, "not confirmed");
}

/* 1. The authority. */
static bool find_authority(
    const Arguments *arguments, const char *host, uint16_t port, char **ret_pem, Error *err) {
    const char *file = arguments->options.values[CLI_OPTION_CA_FILE];
    if (file)
        return file_read(file, FILE_LIMIT, ret_pem, NULL, err) ||
               error_wrap(err, ERROR_LOCAL_FILE, "cannot read the authority");
    g_autofree char *pem = NULL, *fingerprint = NULL;
    if (!tls_peer_authority(host, port, CONNECT_TIMEOUT_MS, &pem, err) ||
        !tls_fingerprint(pem, &fingerprint, err) || !confirm_fingerprint(arguments, fingerprint, err))
        return false;
    *ret_pem = g_steal_pointer(&pem);
    return true;
}

/* 2. Name and password. */
static bool find_credentials(const CliOptions *options, json_t **ret_credentials, Error *err) {
    const char *file = options->values[CLI_OPTION_PASSWORD_FILE];
    g_autofree char *name = g_strdup(options->values[CLI_OPTION_NAME]), *password = NULL;
    size_t length = 0;
    if (!name && !ask("Name: ", false, &name, err))
        return false;
    if (!(file ? value_read_input(file, FILE_LIMIT, &password, &length, err)
               : ask("Password: ", true, &password, err)))
        return false;
    g_strchomp(password);
    *ret_credentials = json_pack("{ssss}", "name", name, "password", password);
    explicit_bzero(password, strlen(password));
    return *ret_credentials || error_set(err, ERROR_INVALID, NULL, "name or password is not UTF-8");
}

/* 3. The token. */
static bool fetch_token(
    const char *server, const char *authority_file, const json_t *credentials, char **ret_token, Error *err) {
    g_autoptr(HttpClient) client = NULL;
    const HttpClientConfig config = {.base = server, .authority_file = authority_file};
    if (!http_client_new(&config, &client, err))
        return false;
    g_autofree char *body = json_to_text(credentials);
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    const HttpClientRequest request = {.method = "POST",
        .path = "/v1/system/login",
        .headers = headers,
        .body = body,
        .body_length = strlen(body),
        .timeout_ms = 60000};
    g_auto(HttpResponse) response = {0};
    bool is_answered = http_client_perform(client, &request, &response, err);
    explicit_bzero(body, strlen(body));
    if (!is_answered)
        return false;
    if (response.status / 100 != 2) {
        session_answer_error(&response, err);
        if (err->code == ERROR_UNAUTHENTICATED || err->code == ERROR_DENIED)
            err->code = ERROR_LOGIN_REFUSED;
        return false;
    }
    g_autoptr(json_t) token = json_parse((const char *)response.body->data, response.body->len, err);
    if (token && !json_text_at(token, "secret"))
        return error_set(err, ERROR_PROTOCOL, NULL, "the server's answer has no token");
    *ret_token = token ? g_strdup(json_text_at(token, "secret")) : NULL;
    return token != NULL;
}

bool login_run(const Arguments *arguments, Error *err) {
    if (arguments->words->len != 1)
        return error_set(
            err, ERROR_INVALID, NULL, "the URL is missing, such as https://host:%d", DEFAULT_PORT);
    g_autofree char *server = NULL, *host = NULL, *authority = NULL, *token = NULL, *temporary = NULL;
    uint16_t port = 0;
    g_autoptr(json_t) credentials = NULL;
    if (!split_url(arguments->words->pdata[0], &server, &host, &port, err) ||
        !find_authority(arguments, host, port, &authority, err) ||
        !find_credentials(&arguments->options, &credentials, err))
        return false;
    GError *failure = NULL;
    fd_auto int fd = g_file_open_tmp("lodge-XXXXXX.pem", &temporary, &failure);
    if (fd < 0) {
        error_set(err, ERROR_IO, NULL, "%s", failure->message);
        g_error_free(failure);
        return false;
    }
    bool is_done = fd_write_all(fd, authority, strlen(authority), err) &&
                   fetch_token(server, temporary, credentials, &token, err) &&
                   session_remember(server, authority, token, err);
    unlink(temporary);
    if (is_done)
        fprintf(stderr, "Logged in to %s.\n", server);
    return is_done;
}
