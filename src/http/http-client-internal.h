/* What http-client.c and http-client-websocket.c share. */
#pragma once
#include <curl/curl.h>
#include "http/http-client.h"

struct HttpClient {
    CURLM *multi;
    char *unix_path; /* NULL: TLS */
    char *url_base;  /* "http://lodge" or "https://host:7443" */
    char *host;      /* for the Host header */
    char *authority_file, *token;
    int64_t connect_timeout_ms;
    const Cancel *cancel;
};

/* A handle with everything set that does not depend on the request. */
CURL *http_client_handle(HttpClient *client, const char *path, char *error_text);
bool http_client_error(CURLcode code, const char *error_text, const HttpClient *client, Error *err);
/* Runs it in client->multi until it is done or cancelled. */
bool http_client_run(HttpClient *client, CURL *handle, CURLcode *ret_code, Error *err);
/* "Name: value" into response->headers; a status line empties them. */
void http_response_take_line(HttpResponse *response, const char *line, size_t length);
