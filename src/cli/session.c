/* The connection to a manager. */
#include <string.h>
#include <sys/stat.h>
#include "base/file.h"
#include "cli/session.h"

enum { CONFIG_LIMIT = 1 << 20, TOKEN_LIMIT = 4096, PAGE = 1000, REQUEST_TIMEOUT_MS = 60000 };

struct Session {
    HttpClient *client;
    char *server, *token, *authority_file;
};

void session_free(Session *session) {
    if (!session)
        return;
    http_client_free(session->client);
    g_free(session->server);
    g_free(session->token);
    g_free(session->authority_file);
    g_free(session);
}

HttpClient *session_client(Session *session) {
    return session->client;
}

static char *config_path(const char *name) {
    return g_build_filename(g_get_user_config_dir(), "lodge", name, NULL);
}

/* An empty object when there is none yet. */
static json_t *config_load(Error *err) {
    g_autofree char *path = config_path("config.json"), *text = NULL;
    size_t length = 0;
    if (!g_file_test(path, G_FILE_TEST_EXISTS))
        return json_object();
    json_t *config =
        file_read(path, CONFIG_LIMIT, &text, &length, err) ? json_parse(text, length, err) : NULL;
    if (!config)
        error_wrap(err, ERROR_LOCAL_FILE, "cannot read %s", path);
    return config;
}

/* 1. Which server. */
static char *choose_server(const CliOptions *options, const json_t *config) {
    const char *instance = g_getenv("LODGE_INSTANCE");
    const char *server = options->values[CLI_OPTION_SERVER];
    if (!server)
        server = g_getenv("LODGE_SERVER");
    if (server && *server)
        return g_strdup(server);
    g_autofree char *socket =
        g_strdup_printf("/run/%s/lodged.sock", instance && *instance ? instance : "lodge");
    const char *remembered = json_text_at(config, "current");
    if (!remembered || g_file_test(socket, G_FILE_TEST_EXISTS))
        return g_strconcat("unix:", socket, NULL);
    return g_strdup(remembered);
}

/* 2. Its token and its authority. */
static bool load_trust(Session *session, const CliOptions *options, const json_t *config, Error *err) {
    const json_t *known = json_object_get(json_object_get(config, "servers"), session->server);
    const char *token_file = options->values[CLI_OPTION_TOKEN_FILE];
    session->authority_file = g_strdup(json_text_at(known, "authority_file"));
    if (!token_file)
        token_file = g_getenv("LODGE_TOKEN_FILE");
    if (!token_file || !*token_file) {
        session->token = g_strdup(json_text_at(known, "token"));
    } else {
        if (!file_read(token_file, TOKEN_LIMIT, &session->token, NULL, err))
            return error_wrap(err, ERROR_LOCAL_FILE, "cannot read the token");
        g_strstrip(session->token);
    }
    if (g_str_has_prefix(session->server, "https:") && !session->authority_file)
        return error_set(err, ERROR_UNAUTHENTICATED, NULL,
            "the authority of %s is not known here; run `lodge login %s`", session->server, session->server);
    return true;
}

bool session_open(const CliOptions *options, Session **ret_session, Error *err) {
    g_autoptr(json_t) config = config_load(err);
    if (!config)
        return false;
    g_autoptr(Session) session = g_new0(Session, 1);
    session->server = choose_server(options, config);
    g_strchomp(session->server);
    if (g_str_has_suffix(session->server, "/"))
        session->server[strlen(session->server) - 1] = 0;
    if (!load_trust(session, options, config, err))
        return false;
    const HttpClientConfig client = {
        .base = session->server, .authority_file = session->authority_file, .token = session->token};
    if (!http_client_new(&client, &session->client, err))
        return false;
    *ret_session = g_steal_pointer(&session);
    return true;
}

/* Outside /v1, and from a proxy in between, only the status says what is wrong. */
void session_answer_error(const HttpResponse *response, Error *err) {
    static const struct {
        unsigned status;
        ErrorCode code;
        const char *text;
    } known[] = {{401, ERROR_UNAUTHENTICATED, "the server asks for a log-in"},
        {403, ERROR_DENIED, "the server refuses this"}, {404, ERROR_NOT_FOUND, "there is no such path"},
        {409, ERROR_CONFLICT, "the server says that this contradicts what is there"}};
    g_autoptr(json_t) problem = json_parse((const char *)response->body->data, response->body->len, NULL);
    if (json_is_object(problem) && json_text_at(problem, "code")) {
        error_from_json(problem, err);
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
        if (known[i].status == response->status) {
            error_set(err, known[i].code, NULL, "%s", known[i].text);
            return;
        }
    error_set(err, ERROR_PROTOCOL, NULL, "the server answered with status %u", response->status);
}

static bool perform(Session *session, const HttpClientRequest *request, bool may_repeat,
    HttpResponse *ret_response, Error *err) {
    g_auto(Error) failure = {0};
    if (http_client_perform(session->client, request, ret_response, &failure))
        return true;
    if (may_repeat && failure.code == ERROR_PROTOCOL)
        return http_client_perform(session->client, request, ret_response, err);
    error_move(err, &failure);
    return false;
}

bool session_request(Session *session, const SessionRequest *request, json_t **ret_answer, Error *err) {
    g_autofree char *body = request->body ? json_to_text(request->body) : NULL;
    g_autofree char *uuid = g_uuid_string_random();
    g_autofree char *key = g_strconcat("Idempotency-Key: ", uuid, NULL);
    const char *headers[4] = {"Accept: application/json"};
    size_t n = 1;
    if (body)
        headers[n++] = g_str_equal(request->method, "PATCH") ? "Content-Type: application/merge-patch+json"
                                                             : "Content-Type: application/json";
    if (request->is_idempotent_job)
        headers[n++] = key;
    const HttpClientRequest http = {.method = request->method,
        .path = request->path,
        .headers = headers,
        .body = body,
        .body_length = body ? strlen(body) : 0,
        .timeout_ms = request->timeout_ms ? request->timeout_ms : REQUEST_TIMEOUT_MS};
    g_auto(HttpResponse) response = {0};
    if (!perform(session, &http, request->is_idempotent_job, &response, err))
        return false;
    if (response.status / 100 != 2) {
        session_answer_error(&response, err);
        return false;
    }
    bool is_empty = response.body->len == 0;
    *ret_answer =
        is_empty ? json_null() : json_parse((const char *)response.body->data, response.body->len, err);
    return *ret_answer || error_wrap(err, ERROR_PROTOCOL, "the server's answer is no JSON");
}

bool session_get(Session *session, const char *path, json_t **ret_answer, Error *err) {
    return session_request(session, &(SessionRequest){.method = "GET", .path = path}, ret_answer, err);
}

char *session_path(const char *template, const char *reference) {
    const char *hole = strstr(template, "{id}");
    if (!hole)
        return g_strdup(template);
    g_autofree char *escaped = g_uri_escape_string(reference, NULL, FALSE);
    return g_strdup_printf("%.*s%s%s", (int)(hole - template), template, escaped, hole + strlen("{id}"));
}

void session_path_add(GString *path, const char *name, const char *value) {
    g_autofree char *escaped = g_uri_escape_string(value, NULL, FALSE);
    g_string_append_printf(path, "%c%s=%s", strchr(path->str, '?') ? '&' : '?', name, escaped);
}

bool session_list(Session *session, const char *path, uint64_t limit, json_t **ret_objects, Error *err) {
    g_autoptr(json_t) objects = json_array();
    g_autofree char *cursor = NULL;
    do {
        size_t had = json_array_size(objects);
        uint64_t page = limit ? MIN(limit - had, PAGE) : PAGE;
        g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, page);
        g_autoptr(GString) full = g_string_new(path);
        session_path_add(full, "limit", size);
        if (cursor)
            session_path_add(full, "cursor", cursor);
        g_autoptr(json_t) answer = NULL;
        if (!session_get(session, full->str, &answer, err))
            return false;
        json_t *items = json_object_get(answer, "items");
        if (!json_is_array(items))
            return error_set(err, ERROR_PROTOCOL, NULL, "the server's answer is no list");
        json_array_extend(objects, items);
        g_free(cursor);
        cursor = json_array_size(items) > 0 ? g_strdup(json_text_at(answer, "next")) : NULL;
    } while (cursor && (limit == 0 || json_array_size(objects) < limit));
    *ret_objects = g_steal_pointer(&objects);
    return true;
}

bool session_remember(const char *server, const char *authority_pem, const char *token, Error *err) {
    g_autoptr(json_t) config = config_load(err);
    if (!config)
        return false;
    g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, authority_pem, -1);
    g_autofree char *name = g_strdup_printf("authority-%.16s.pem", digest);
    g_autofree char *folder = config_path(NULL), *authority = config_path(name),
                    *path = config_path("config.json");
    json_t *servers = json_object_get(config, "servers");
    if (!servers) {
        servers = json_object();
        json_object_set_new(config, "servers", servers);
    }
    json_object_set_new(servers, server, json_pack("{ssss}", "authority_file", authority, "token", token));
    json_object_set_new(config, "current", json_string(server));
    g_autofree char *text = json_to_pretty_text(config);
    return (folder_make(folder, 0700, err) &&
               file_replace(authority, authority_pem, strlen(authority_pem), 0644, err) &&
               file_replace(path, text, strlen(text), 0600, err)) ||
           error_wrap(err, ERROR_LOCAL_FILE, "cannot keep the token in %s", folder);
}
