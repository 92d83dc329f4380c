/* A TlsSession as a stream, which remembers what the other side showed. */
#include "rpc/rpc-tls.h"

typedef struct TlsState {
    RpcTlsOptions options;
    TlsSession *session;
    TlsShown shown; /* a copy; empty until hands are shaken */
} TlsState;

/* ---- what was shown ---- */

static void remember(TlsShown *copy, const TlsShown *shown) {
    copy->certificate_pem = g_strdup(shown->certificate_pem);
    copy->key_fingerprint = g_strdup(shown->key_fingerprint);
    for (size_t i = 0; i < TLS_MOST_NAMES && shown->names[i]; i++)
        copy->names[i] = g_strdup(shown->names[i]);
    copy->is_trusted = shown->is_trusted;
    copy->flaw = g_strdup(shown->flaw);
}

static void forget(TlsShown *copy) {
    g_free((char *)copy->certificate_pem);
    g_free((char *)copy->key_fingerprint);
    for (size_t i = 0; i < TLS_MOST_NAMES; i++)
        g_free((char *)copy->names[i]);
    g_free((char *)copy->flaw);
}

static bool check(const TlsShown *shown, void *data, Error *err) {
    TlsState *self = data;
    remember(&self->shown, shown);
    return self->options.check ? self->options.check(shown, self->options.data, err)
                               : tls_shown_is_trusted(shown, err);
}

/* ---- the stream ---- */

static RpcIo io_of(TlsIo io) {
    static const RpcIo known[] = {[TLS_IO_DONE] = RPC_IO_DONE,
        [TLS_IO_AGAIN] = RPC_IO_AGAIN,
        [TLS_IO_END] = RPC_IO_END,
        [TLS_IO_FAILED] = RPC_IO_FAILED};
    return known[io];
}

static RpcIo tls_read(void *state, void *buffer, size_t size, size_t *ret_length, Error *err) {
    return io_of(tls_session_read(((TlsState *)state)->session, buffer, size, ret_length, err));
}

static RpcIo tls_write(void *state, const void *data, size_t length, size_t *ret_length, Error *err) {
    return io_of(tls_session_write(((TlsState *)state)->session, data, length, ret_length, err));
}

static void tls_shut_write(void *state) {
    tls_session_shut_write(((TlsState *)state)->session);
}

static int tls_fd(const void *state) {
    return tls_session_fd(((const TlsState *)state)->session);
}

/* A handshake goes in one direction at a time, whatever is wanted; later a read may have to write first. */
static GIOCondition tls_blocked_on(const void *state, GIOCondition wanted) {
    const TlsSession *session = ((const TlsState *)state)->session;
    bool must_write = tls_session_waits_to_write(session);
    if (tls_session_is_ready(session))
        return wanted | (must_write ? G_IO_OUT : 0);
    return must_write ? G_IO_OUT : G_IO_IN;
}

static bool tls_has_buffered(const void *state) {
    return tls_session_has_buffered(((const TlsState *)state)->session);
}

static void tls_free(void *state) {
    TlsState *self = state;
    tls_session_free(self->session);
    forget(&self->shown);
    g_free(self);
}

static const RpcStreamOps tls_ops = {
    .name = "TLS connection",
    .read = tls_read,
    .write = tls_write,
    .shut_write = tls_shut_write,
    .fd = tls_fd,
    .blocked_on = tls_blocked_on,
    .has_buffered = tls_has_buffered,
    .free = tls_free,
};

RpcStream *rpc_stream_new_tls(const RpcTlsOptions *options, int take_fd, Error *err) {
    TlsState *self = g_new0(TlsState, 1);
    self->options = *options;
    const TlsSessionOptions session = {.credentials = options->credentials,
        .side = options->side,
        .clock = options->clock,
        .check = check,
        .data = self};
    self->session = tls_session_new(&session, take_fd, err);
    if (self->session)
        return rpc_stream_new(&tls_ops, self);
    g_free(self);
    return NULL;
}

static TlsState *ready_state_of(const RpcStream *stream) {
    TlsState *self = rpc_stream_state(stream, &tls_ops);
    return self && tls_session_is_ready(self->session) ? self : NULL;
}

const TlsShown *rpc_stream_shown(const RpcStream *stream) {
    const TlsState *self = ready_state_of(stream);
    return self ? &self->shown : NULL;
}

bool rpc_stream_binding(const RpcStream *stream, uint8_t ret_binding[TLS_BINDING_BYTES], Error *err) {
    const TlsState *self = ready_state_of(stream);
    if (!self)
        return error_set(err, ERROR_UNSUPPORTED, NULL, "only TLS connections have a binding");
    return tls_session_binding(self->session, ret_binding, err);
}
