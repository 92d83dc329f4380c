/* libmicrohttpd inside the main loop: its epoll descriptor and its time-out as one GSource, no threads. */
#include "http/http-internal.h"
#include <string.h>

/* TLS 1.2 and 1.3 only; otherwise GnuTLS's defaults, which follow the distribution. */
#define DEFAULT_PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

enum { TIMEOUT_MAX_MS = 60000, CLOSING_MS = 5 };

typedef struct EngineSource {
    GSource source;
    HttpEngine *engine;
    gpointer tag;
    int64_t due_us;
} EngineSource;

static gboolean engine_prepare(GSource *source, int *timeout_ms) {
    EngineSource *self = (EngineSource *)source;
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    *timeout_ms = -1;
    self->due_us = INT64_MAX;
    if (self->engine->needs_run)
        return TRUE;
    bool has_timeout = MHD_get_timeout(self->engine->daemon, &wait_ms) == MHD_YES;
    if (!has_timeout && self->engine->closing == 0)
        return FALSE;
    /* MHD ends an upgraded TLS connection in several turns and does not say when it wants the next. */
    uint64_t limit_ms = self->engine->closing > 0 ? CLOSING_MS : TIMEOUT_MAX_MS;
    wait_ms = has_timeout ? MIN((uint64_t)wait_ms, limit_ms) : limit_ms;
    *timeout_ms = (int)wait_ms;
    self->due_us = g_source_get_time(source) + (int64_t)*timeout_ms * 1000;
    return wait_ms == 0;
}

static gboolean engine_check(GSource *source) {
    EngineSource *self = (EngineSource *)source;
    return g_source_query_unix_fd(source, self->tag) != 0 || g_source_get_time(source) >= self->due_us;
}

static gboolean engine_dispatch(
    GSource *source, GSourceFunc callback G_GNUC_UNUSED, void *data G_GNUC_UNUSED) {
    http_engine_run(((EngineSource *)source)->engine);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs engine_functions = {
    .prepare = engine_prepare, .check = engine_check, .dispatch = engine_dispatch};

/* The target is parsed whole in http-target.c; MHD must leave it as it came. */
static size_t keep_escapes(void *data G_GNUC_UNUSED, struct MHD_Connection *mhd G_GNUC_UNUSED, char *text) {
    return strlen(text);
}

/* What MHD says is mostly about broken clients; it must not reach standard error unbounded. */
static void drop_log(
    void *data G_GNUC_UNUSED, const char *format G_GNUC_UNUSED, va_list arguments G_GNUC_UNUSED) {
}

static bool start_daemon(HttpEngine *self, Error *err) {
    const HttpLimits *limits = &self->server->limits;
    struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, self->certificate_pem},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, self->key_pem},
        {MHD_OPTION_HTTPS_PRIORITIES, 0,
            self->priority ? self->priority : (char *)(uintptr_t)DEFAULT_PRIORITY},
        {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};
    unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE |
                     MHD_USE_ERROR_LOG;
    /* The memory of a connection holds its headers and the block that is being read or sent. */
    size_t memory = limits->header_bytes + 16384;
    self->daemon = MHD_start_daemon(flags | (self->key_pem ? MHD_USE_TLS : 0u), 0, NULL, NULL,
        http_request_access, self, MHD_OPTION_EXTERNAL_LOGGER, drop_log, NULL, MHD_OPTION_CONNECTION_LIMIT,
        limits->connections + 16u, MHD_OPTION_CONNECTION_MEMORY_LIMIT, memory, MHD_OPTION_CONNECTION_TIMEOUT,
        limits->stall_timeout_s, MHD_OPTION_NOTIFY_CONNECTION, http_connection_notify, self,
        MHD_OPTION_NOTIFY_COMPLETED, http_request_completed, self, MHD_OPTION_URI_LOG_CALLBACK,
        http_request_begin, self, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, self->key_pem ? tls : plain, MHD_OPTION_END);
    if (!self->daemon)
        return error_set(err, self->key_pem ? ERROR_INVALID : ERROR_INTERNAL, NULL,
            self->key_pem ? "the certificate, the key or the TLS priority is not usable"
                          : "cannot start the HTTP engine");
    return true;
}

HttpEngine *http_engine_new(
    HttpServer *server, const char *certificate_pem, const char *key_pem, const char *priority, Error *err) {
    HttpEngine *self = g_new0(HttpEngine, 1);
    self->server = server;
    self->certificate_pem = g_strdup(certificate_pem);
    self->key_pem = g_strdup(key_pem);
    self->priority = g_strdup(priority);
    if (!start_daemon(self, err)) {
        http_engine_free(self);
        return NULL;
    }
    self->source = g_source_new(&engine_functions, sizeof(EngineSource));
    EngineSource *source = (EngineSource *)self->source;
    source->engine = self;
    int fd = MHD_get_daemon_info(self->daemon, MHD_DAEMON_INFO_EPOLL_FD)->listen_fd;
    source->tag = g_source_add_unix_fd(self->source, fd, G_IO_IN);
    g_source_attach(self->source, NULL);
    g_ptr_array_add(server->engines, self);
    return self;
}

void http_engine_free(HttpEngine *engine) {
    if (!engine)
        return;
    if (engine->source) {
        g_source_destroy(engine->source);
        g_source_unref(engine->source);
    }
    if (engine->daemon)
        MHD_stop_daemon(engine->daemon);
    g_free(engine->certificate_pem);
    g_free(engine->key_pem);
    g_free(engine->priority);
    g_free(engine);
}

void http_engine_retire(HttpEngine *engine) {
    engine->is_retired = true;
    if (engine->connections == 0 && !engine->server->is_freeing)
        g_ptr_array_remove_fast(engine->server->engines, engine);
}

void http_engine_run(HttpEngine *engine) {
    engine->needs_run = false;
    MHD_run(engine->daemon);
    if (engine->is_retired)
        http_engine_retire(engine);
}
