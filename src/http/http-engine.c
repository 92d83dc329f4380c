/* libmicrohttpd inside the main loop: its epoll descriptor and its time-out as one GSource, no threads. */
#include "http/http-internal.h"
#include <string.h>

enum { TIMEOUT_MAX_MS = 60000 };

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
    if (MHD_get_timeout(self->engine->daemon, &wait_ms) != MHD_YES)
        return FALSE;
    *timeout_ms = (int)MIN((uint64_t)wait_ms, (uint64_t)TIMEOUT_MAX_MS);
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

static struct MHD_Daemon *start_daemon(HttpEngine *self) {
    const HttpLimits *limits = &self->server->limits;
    unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE |
                     MHD_USE_ERROR_LOG;
    /* The memory of a connection holds its headers and the block that is being read or sent. */
    size_t memory = limits->header_bytes + 16384;
    return MHD_start_daemon(flags, 0, NULL, NULL, http_request_access, self, MHD_OPTION_EXTERNAL_LOGGER,
        drop_log, NULL, MHD_OPTION_CONNECTION_LIMIT, limits->connections + 16u,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, memory, MHD_OPTION_CONNECTION_TIMEOUT, limits->stall_timeout_s,
        MHD_OPTION_NOTIFY_CONNECTION, http_connection_notify, self, MHD_OPTION_NOTIFY_COMPLETED,
        http_request_completed, self, MHD_OPTION_URI_LOG_CALLBACK, http_request_begin, self,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
}

HttpEngine *http_engine_new(HttpServer *server) {
    HttpEngine *self = g_new0(HttpEngine, 1);
    self->server = server;
    self->daemon = start_daemon(self);
    g_assert(self->daemon);
    self->source = g_source_new(&engine_functions, sizeof(EngineSource));
    EngineSource *source = (EngineSource *)self->source;
    source->engine = self;
    int fd = MHD_get_daemon_info(self->daemon, MHD_DAEMON_INFO_EPOLL_FD)->listen_fd;
    source->tag = g_source_add_unix_fd(self->source, fd, G_IO_IN);
    g_source_attach(self->source, NULL);
    return self;
}

void http_engine_free(HttpEngine *engine) {
    g_source_destroy(engine->source);
    g_source_unref(engine->source);
    MHD_stop_daemon(engine->daemon);
    g_free(engine);
}

void http_engine_run(void *engine) {
    HttpEngine *self = engine;
    self->needs_run = false;
    MHD_run(self->daemon);
}
