/*
 * The connection to a manager: which one, its pinned authority, the token. Blocking; one thread.
 *
 * The server is --server, else LODGE_SERVER, else this machine's socket /run/INSTANCE/lodged.sock when it
 * exists (LODGE_INSTANCE, "lodge"), else the one of the last log-in.
 */
#pragma once
#include "cli/options.h"
#include "http/http-client.h"
#include "model/json.h"

typedef struct Session Session;

bool session_open(const CliOptions *options, Session **ret_session, Error *err);
void session_free(Session *session); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Session, session_free)
HttpClient *session_client(Session *session);

typedef struct SessionRequest {
    const char *method, *path;
    const json_t *body;     /* or NULL */
    bool is_idempotent_job; /* sends an Idempotency-Key and repeats once when the connection broke */
    int64_t timeout_ms;     /* 0: 60 s */
} SessionRequest;
/* *ret_answer is JSON null when the answer has no body. An answer that is no success becomes the error it
 * tells. */
bool session_request(Session *session, const SessionRequest *request, json_t **ret_answer, Error *err);
bool session_get(Session *session, const char *path, json_t **ret_answer, Error *err);
/* The error that an answer tells; ERROR_PROTOCOL when it tells none. */
void session_answer_error(const HttpResponse *response, Error *err);

/* METHOD_PATH with the object's name in place of {id}; newly allocated. */
char *session_path(const char *template, const char *reference);
/* Appends "?name=value" or "&name=value", percent-encoded. */
void session_path_add(GString *path, const char *name, const char *value);
/* Every page of a list, or the first `limit` objects (0: all), in one array. */
bool session_list(Session *session, const char *path, uint64_t limit, json_t **ret_objects, Error *err);

/* What `lodge login` keeps for a server; the file has mode 0600. */
bool session_remember(const char *server, const char *authority_pem, const char *token, Error *err);
