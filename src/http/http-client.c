/* Requests through libcurl's multi interface, which lets a Cancel end them. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "http/http-client-internal.h"

enum {
    DEFAULT_CONNECT_MS = 10000,
    DEFAULT_RESPONSE_LIMIT = 64 << 20,
    LINE_LIMIT = 1 << 20,
    HEADERS_MAX = 256,
    POLL_MS = 1000,
    UPLOAD_BUFFER = 256 << 10,
};

/* One exchange. */
typedef struct Exchange {
    HttpClient *client;
    const HttpClientRequest *request;
    HttpResponse *response;
    GByteArray *line;
    CURL *handle;
    bool is_ended, is_too_large, has_read_error;
    int read_errno;
} Exchange;

/* libcurl's TLS is set up only for TLS: it costs milliseconds that a command over the UNIX socket does not
 * have. */
static bool init_library(bool needs_tls, Error *err) {
    CURLcode code = curl_global_init(needs_tls ? CURL_GLOBAL_SSL : CURL_GLOBAL_NOTHING);
    if (code != CURLE_OK)
        return error_set(err, ERROR_INTERNAL, NULL, "libcurl: %s", curl_easy_strerror(code));
    return true;
}

bool http_client_new(const HttpClientConfig *config, HttpClient **ret_client, Error *err) {
    bool is_unix = g_str_has_prefix(config->base, "unix:/"),
         is_tls = g_str_has_prefix(config->base, "https://");
    if (!is_unix && !is_tls)
        return error_set(
            err, ERROR_INVALID, NULL, "the server is unix:/path or https://host:port, not %s", config->base);
    if (is_tls && !config->authority_file)
        return error_set(err, ERROR_INVALID, NULL, "no pinned certificate authority for %s", config->base);
    if (config->token && strpbrk(config->token, "\r\n"))
        return error_set(err, ERROR_INVALID, NULL, "the token has a line break");
    if (!init_library(is_tls, err))
        return false;
    HttpClient *self = g_new0(HttpClient, 1);
    self->multi = curl_multi_init();
    g_assert(self->multi);
    self->unix_path = is_unix ? g_strdup(config->base + strlen("unix:")) : NULL;
    self->url_base = g_strdup(is_unix ? "http://lodge" : config->base);
    if (g_str_has_suffix(self->url_base, "/"))
        self->url_base[strlen(self->url_base) - 1] = '\0';
    self->host = g_strdup(strstr(self->url_base, "://") + 3);
    self->authority_file = g_strdup(config->authority_file);
    self->token = g_strdup(config->token);
    self->connect_timeout_ms = config->connect_timeout_ms ? config->connect_timeout_ms : DEFAULT_CONNECT_MS;
    self->cancel = config->cancel;
    *ret_client = self;
    return true;
}

void http_client_free(HttpClient *client) {
    if (!client)
        return;
    curl_multi_cleanup(client->multi);
    if (client->token)
        explicit_bzero(client->token, strlen(client->token));
    g_free(client->unix_path);
    g_free(client->url_base);
    g_free(client->host);
    g_free(client->authority_file);
    g_free(client->token);
    g_free(client);
}

CURL *http_client_handle(HttpClient *client, const char *path, char *error_text) {
    CURL *handle = curl_easy_init();
    g_assert(handle);
    g_autofree char *url = g_strconcat(client->url_base, path, NULL);
    error_text[0] = '\0';
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, error_text);
    curl_easy_setopt(handle, CURLOPT_URL, url);
    curl_easy_setopt(handle, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_PROXY, "");
    curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, client->unix_path ? "http" : "https");
    curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, (long)client->connect_timeout_ms);
    if (client->unix_path) {
        curl_easy_setopt(handle, CURLOPT_UNIX_SOCKET_PATH, client->unix_path);
    } else {
        curl_easy_setopt(handle, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
        curl_easy_setopt(handle, CURLOPT_CAINFO, client->authority_file);
        curl_easy_setopt(handle, CURLOPT_CAPATH, NULL); /* no system trust beside it */
        curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 1L);
        curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 2L);
    }
    return handle;
}

bool http_client_error(CURLcode code, const char *error_text, const HttpClient *client, Error *err) {
    static const struct {
        CURLcode curl;
        ErrorCode error;
    } codes[] = {{CURLE_COULDNT_RESOLVE_HOST, ERROR_UNREACHABLE}, {CURLE_COULDNT_CONNECT, ERROR_UNREACHABLE},
        {CURLE_OPERATION_TIMEDOUT, ERROR_TIMED_OUT}, {CURLE_PEER_FAILED_VERIFICATION, ERROR_DENIED},
        {CURLE_SSL_CACERT_BADFILE, ERROR_INVALID}, {CURLE_SSL_CONNECT_ERROR, ERROR_PROTOCOL},
        {CURLE_GOT_NOTHING, ERROR_UNREACHABLE}, {CURLE_SEND_ERROR, ERROR_UNREACHABLE},
        {CURLE_RECV_ERROR, ERROR_UNREACHABLE}, {CURLE_PARTIAL_FILE, ERROR_UNREACHABLE},
        {CURLE_URL_MALFORMAT, ERROR_INVALID}, {CURLE_WEIRD_SERVER_REPLY, ERROR_PROTOCOL},
        {CURLE_UNSUPPORTED_PROTOCOL, ERROR_PROTOCOL}};
    ErrorCode mapped = ERROR_PROTOCOL;
    for (size_t i = 0; i < G_N_ELEMENTS(codes); i++)
        if (codes[i].curl == code)
            mapped = codes[i].error;
    return error_set(err, mapped, NULL, "%s: %s", client->unix_path ? client->unix_path : client->url_base,
        error_text[0] ? error_text : curl_easy_strerror(code));
}

/* Sending. */

static size_t read_upload(char *buffer, size_t size, size_t count, void *data) {
    Exchange *self = data;
    ssize_t n;
    do
        n = read(self->request->upload_fd, buffer, size * count);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        self->has_read_error = true;
        self->read_errno = errno;
        return CURL_READFUNC_ABORT;
    }
    return (size_t)n;
}

static struct curl_slist *make_headers(const HttpClient *client, const HttpClientRequest *request) {
    /* "Expect" stays as libcurl sends it: a large body that is refused is not sent then. */
    struct curl_slist *list = NULL;
    for (const char *const *header = request->headers; header && *header; header++)
        list = curl_slist_append(list, *header);
    if (client->token) {
        char *line = g_strdup_printf("Authorization: Bearer %s", client->token);
        list = curl_slist_append(list, line);
        explicit_bzero(line, strlen(line));
        g_free(line);
    }
    if (request->body || request->has_upload)
        return list;
    return curl_slist_append(list, "Content-Type:");
}

static void set_method(CURL *handle, Exchange *exchange) {
    const HttpClientRequest *request = exchange->request;
    if (request->body) {
        curl_easy_setopt(handle, CURLOPT_POST, 1L);
        curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_length);
        curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request->body);
    } else if (request->has_upload) {
        curl_easy_setopt(handle, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(handle, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BUFFER);
        curl_easy_setopt(handle, CURLOPT_READFUNCTION, read_upload);
        curl_easy_setopt(handle, CURLOPT_READDATA, exchange);
        curl_easy_setopt(handle, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->upload_length);
    } else if (g_str_equal(request->method, "POST")) {
        curl_easy_setopt(handle, CURLOPT_POST, 1L);
        curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
    }
    if (g_str_equal(request->method, "HEAD"))
        curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
    else
        curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request->method);
}

/* Receiving. */

void http_response_take_line(HttpResponse *response, const char *line, size_t length) {
    if (!response->headers)
        response->headers = g_ptr_array_new_with_free_func(g_free);
    if (length >= 5 && memcmp(line, "HTTP/", 5) == 0)
        g_ptr_array_set_size(response->headers, 0); /* a 100 came before */
    const char *colon = memchr(line, ':', length);
    if (!colon || response->headers->len >= 2 * HEADERS_MAX)
        return;
    g_ptr_array_add(response->headers, g_strndup(line, (size_t)(colon - line)));
    char *value = g_strndup(colon + 1, (size_t)(line + length - colon - 1));
    g_ptr_array_add(response->headers, g_strstrip(value));
}

static size_t take_header(char *line, size_t size, size_t count, void *data) {
    Exchange *self = data;
    http_response_take_line(self->response, line, size * count);
    return size * count;
}

static bool append_limited(GByteArray *array, const void *data, size_t length, uint64_t limit) {
    if (array->len + length > limit)
        return false;
    g_byte_array_append(array, data, (guint)length);
    g_byte_array_append(array, (const guint8 *)"", 1);
    g_byte_array_set_size(array, array->len - 1); /* the NUL stays behind the end */
    return true;
}

static bool take_lines(Exchange *self, const char *data, size_t length) {
    const char *end = data + length;
    while (data < end) {
        const char *newline = memchr(data, '\n', (size_t)(end - data));
        const char *stop = newline ? newline : end;
        if (!append_limited(self->line, data, (size_t)(stop - data), LINE_LIMIT)) {
            self->is_too_large = true;
            return false;
        }
        if (!newline)
            break;
        if (self->line->len > 0 && self->line->data[self->line->len - 1] == '\r')
            self->line->data[self->line->len - 1] = '\0';
        self->is_ended =
            !self->request->on_line(self->line->data ? (char *)self->line->data : "", self->request->user);
        append_limited((g_byte_array_set_size(self->line, 0)), "", 0, LINE_LIMIT);
        if (self->is_ended)
            return false;
        data = newline + 1;
    }
    return true;
}

static size_t take_data(char *data, size_t size, size_t count, void *user) {
    Exchange *self = user;
    size_t length = size * count;
    long status = 0;
    curl_easy_getinfo(self->handle, CURLINFO_RESPONSE_CODE, &status);
    bool is_streamed = status >= 200 && status < 300;
    if (is_streamed && self->request->on_line)
        return take_lines(self, data, length) ? length : 0;
    if (is_streamed && self->request->on_data) {
        self->is_ended = !self->request->on_data(data, length, self->request->user);
        return self->is_ended ? 0 : length;
    }
    uint64_t limit = self->request->response_limit ? self->request->response_limit : DEFAULT_RESPONSE_LIMIT;
    self->is_too_large = !append_limited(self->response->body, data, length, limit);
    return self->is_too_large ? 0 : length;
}

static int take_progress(void *user, curl_off_t total G_GNUC_UNUSED, curl_off_t received,
    curl_off_t to_send G_GNUC_UNUSED, curl_off_t sent) {
    Exchange *self = user;
    if (self->request->on_progress)
        self->request->on_progress(sent, received, self->request->user);
    return 0;
}

void http_response_clear(HttpResponse *response) {
    g_clear_pointer(&response->headers, g_ptr_array_unref);
    g_clear_pointer(&response->body, g_byte_array_unref);
    response->status = 0;
}

const char *http_response_header(const HttpResponse *response, const char *name) {
    for (guint i = 0; response->headers && i + 1 < response->headers->len; i += 2)
        if (g_ascii_strcasecmp(g_ptr_array_index(response->headers, i), name) == 0)
            return g_ptr_array_index(response->headers, i + 1);
    return NULL;
}

/* The exchange. */

static void set_exchange(CURL *handle, Exchange *exchange) {
    const HttpClientRequest *request = exchange->request;
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, exchange);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_data);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, exchange);
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    if (request->stall_timeout_ms) {
        curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, (long)((request->stall_timeout_ms + 999) / 1000));
    }
    if (request->on_progress) {
        curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, take_progress);
        curl_easy_setopt(handle, CURLOPT_XFERINFODATA, exchange);
    }
    set_method(handle, exchange);
}

bool http_client_run(HttpClient *client, CURL *handle, CURLcode *ret_code, Error *err) {
    struct curl_waitfd cancelled = {.fd = cancel_fd(client->cancel), .events = CURL_WAIT_POLLIN};
    unsigned n_extra = cancelled.fd >= 0 ? 1 : 0;
    int running = 1, left = 0;
    curl_multi_add_handle(client->multi, handle);
    for (;;) {
        curl_multi_perform(client->multi, &running);
        if (!running || is_cancelled(client->cancel))
            break;
        curl_multi_poll(client->multi, &cancelled, n_extra, POLL_MS, NULL);
    }
    CURLMsg *message = curl_multi_info_read(client->multi, &left);
    *ret_code = message && message->msg == CURLMSG_DONE ? message->data.result : CURLE_OK;
    bool is_done = message != NULL;
    curl_multi_remove_handle(client->multi, handle);
    return is_done || cancel_check(client->cancel, err);
}

static bool finish_exchange(const Exchange *exchange, CURLcode code, const char *error_text, Error *err) {
    if (exchange->is_too_large)
        return error_set(err, ERROR_TOO_LARGE, NULL, "the answer is too long");
    if (exchange->has_read_error)
        return error_set_errno(err, exchange->read_errno, "reading what is to be sent");
    if (code == CURLE_OK || exchange->is_ended)
        return true;
    /* The server may answer and close before it has read the whole body: the answer counts. */
    bool is_early = code == CURLE_SEND_ERROR && exchange->response->status >= 400;
    return is_early || http_client_error(code, error_text, exchange->client, err);
}

bool http_client_perform(
    HttpClient *client, const HttpClientRequest *request, HttpResponse *ret_response, Error *err) {
    char error_text[CURL_ERROR_SIZE];
    g_auto(HttpResponse) response = {.body = g_byte_array_new()};
    g_autoptr(GByteArray) line = g_byte_array_new();
    append_limited(response.body, "", 0, 0);
    CURL *handle = http_client_handle(client, request->path, error_text);
    Exchange exchange = {
        .client = client, .request = request, .response = &response, .handle = handle, .line = line};
    struct curl_slist *headers = make_headers(client, request);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    set_exchange(handle, &exchange);
    CURLcode code = CURLE_OK;
    bool is_ok = http_client_run(client, handle, &code, err);
    long status = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    response.status = (unsigned)status;
    curl_slist_free_all(headers);
    curl_easy_cleanup(handle);
    if (!is_ok || !finish_exchange(&exchange, code, error_text, err))
        return false;
    *ret_response = response;
    response = (HttpResponse){0};
    return true;
}
