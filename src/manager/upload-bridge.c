/*
 * In the order in which it happens: the ticket and its stream, the body's blocks, its end, the agent's last
 * words. Whoever goes takes the bridge with it; what the agent has stays there.
 */
#include "manager/upload-bridge.h"
#include "manager/job-kinds.h"
#include "manager/repository-hosts.h"

enum { LAST_WORDS_LIMIT = 65536 };

struct UploadBridge {
    HttpRequest *request;
    RpcStream *stream;
    GByteArray *waiting; /* of the body, not yet taken by the stream */
    GByteArray *words;   /* the agent's last ones, as far as they are here */
    bool is_complete;    /* the body */
    bool is_beginning, is_over;
    ApiUploadFn done;
    void *done_data;
};

/* Where it goes: {"upload", "repository"}; NULL with the error. */
static json_t *message_about(
    Inventory *inventory, const ApiUpload *upload, const char **ret_host, Error *err) {
    const Object *object = the_object(
        inventory, RESOURCE_REPOSITORY, json_text_at(upload->parameters, "repository"), "repository", err);
    if (!object)
        return NULL;
    *ret_host = repository_worker(inventory, object->data);
    json_t *message = json_pack("{ss so}", "upload", upload->id, "repository",
        repository_encode(object->data, MODEL_ENCODE_DEFINITION));
    if (upload->size >= 0)
        json_object_set_new(message, "size", json_integer(upload->size));
    json_object_set_new(message, "offset", json_integer((json_int_t)upload->offset));
    return message;
}

/* ---- how much is kept ---- */

typedef struct Asking {
    ApiUploadFn done;
    void *done_data;
} Asking;

static void asked(const json_t *result, const Error *err, void *data) {
    Asking *asking = data;
    asking->done(
        err ? 0 : (uint64_t)json_integer_value(json_object_get(result, "offset")), err, asking->done_data);
    g_free(asking);
}

void upload_bridge_ask(
    Fleet *fleet, Inventory *inventory, const ApiUpload *upload, ApiUploadFn done, void *done_data) {
    g_auto(Error) err = {0};
    const char *host = NULL;
    json_t *message = message_about(inventory, upload, &host, &err);
    if (!message) {
        done(0, &err, done_data);
        return;
    }
    Asking *asking = g_new0(Asking, 1);
    *asking = (Asking){done, done_data};
    fleet_ask(fleet, host, AGENT_METHOD_UPLOAD_STATUS, message, asked, asking);
}

/* ---- the end, for whatever reason ---- */

static void bridge_free(UploadBridge *bridge) {
    http_request_on_gone(bridge->request, NULL, NULL);
    http_request_unref(bridge->request);
    rpc_stream_free(bridge->stream);
    g_byte_array_unref(bridge->waiting);
    g_byte_array_unref(bridge->words);
    g_free(bridge);
}

/* What still comes of the body is thrown away by the server once it has the answer. */
static void finish(UploadBridge *bridge, uint64_t kept_bytes, const Error *err) {
    HttpRequest *request = http_request_ref(bridge->request);
    bridge->done(kept_bytes, err, bridge->done_data);
    bridge->is_over = true;
    if (!bridge->is_beginning)
        bridge_free(bridge);
    http_request_resume(request);
    http_request_unref(request);
}

static void fail(UploadBridge *bridge, ErrorCode code, const char *text) {
    g_auto(Error) err = {0};
    error_set(&err, code, NULL, "%s", text);
    finish(bridge, 0, &err);
}

static void on_gone(HttpRequest *request G_GNUC_UNUSED, void *data) {
    UploadBridge *bridge = data;
    if (bridge->stream) /* else the stream's opening comes back and finds it gone */
        fail(bridge, ERROR_UNREACHABLE, "the upload broke off");
}

static void take_words(UploadBridge *bridge) {
    g_auto(AgentUploadState) state = {0};
    g_auto(Error) err = {0};
    g_autoptr(json_t) json = json_parse((const char *)bridge->words->data, bridge->words->len, NULL);
    if (!json || !agent_upload_state_decode(json, MODEL_STORED, &state, NULL)) {
        fail(bridge, ERROR_UNREACHABLE,
            "the host broke the upload off; send it again, it goes on where it stopped");
    } else if (agent_upload_state_has(&state, AGENT_UPLOAD_STATE_FIELD_ERROR)) {
        g_autoptr(json_t) fault = fault_encode(&state.error, MODEL_ENCODE_ALL);
        error_from_json(fault, &err);
        finish(bridge, state.offset, &err);
    } else if (!bridge->is_complete) {
        fail(bridge, ERROR_PROTOCOL, "the host ended the upload before its end");
    } else {
        finish(bridge, state.offset, NULL);
    }
}

/* ---- the body's blocks ---- */

static void on_ready(GIOCondition ready, void *data);

static void watch(UploadBridge *bridge) {
    rpc_stream_watch(bridge->stream, G_IO_IN | (bridge->waiting->len > 0 ? G_IO_OUT : 0), on_ready, bridge);
}

/* A stream that takes no more has last words: those tell why. */
static void send_waiting(UploadBridge *bridge) {
    size_t n = 0;
    while (bridge->waiting->len > 0 && rpc_stream_write(bridge->stream, bridge->waiting->data,
                                           bridge->waiting->len, &n, NULL) == RPC_IO_DONE)
        g_byte_array_remove_range(bridge->waiting, 0, (guint)n);
    if (bridge->waiting->len > 0)
        return;
    if (bridge->is_complete)
        rpc_stream_shut_write(bridge->stream);
    else
        http_request_resume(bridge->request);
}

static void on_ready(GIOCondition ready, void *data) {
    UploadBridge *bridge = data;
    uint8_t block[4096];
    size_t n = 0;
    if (ready & G_IO_IN) {
        RpcIo io = rpc_stream_read(bridge->stream, block, sizeof block, &n, NULL);
        if (io == RPC_IO_DONE)
            g_byte_array_append(bridge->words, block, (guint)n);
        if (io == RPC_IO_END || io == RPC_IO_FAILED || bridge->words->len > LAST_WORDS_LIMIT) {
            take_words(bridge);
            return;
        }
    }
    if (bridge->waiting->len > 0)
        send_waiting(bridge);
    watch(bridge);
}

static void on_chunk(HttpRequest *request, const void *data, size_t length, void *user) {
    UploadBridge *bridge = user;
    const uint8_t *bytes = data;
    size_t sent = 0, n = 0;
    while (bridge->waiting->len == 0 && sent < length &&
           rpc_stream_write(bridge->stream, bytes + sent, length - sent, &n, NULL) == RPC_IO_DONE)
        sent += n;
    if (sent == length)
        return;
    g_byte_array_append(bridge->waiting, bytes + sent, (guint)(length - sent));
    http_request_pause(request);
    watch(bridge);
}

void upload_bridge_end(UploadBridge *bridge) {
    bridge->is_complete = true;
    if (bridge->waiting->len == 0)
        rpc_stream_shut_write(bridge->stream);
}

/* ---- the beginning ---- */

static void stream_opened(RpcStream *take_stream, const Error *err, void *data) {
    UploadBridge *bridge = data;
    bridge->stream = take_stream;
    if (err) {
        finish(bridge, 0, err);
    } else if (http_request_is_gone(bridge->request)) {
        fail(bridge, ERROR_UNREACHABLE, "the upload broke off");
    } else {
        watch(bridge);
        http_request_resume(bridge->request);
    }
}

UploadBridge *upload_bridge_begin(Fleet *fleet, Inventory *inventory, HttpRequest *request,
    const ApiUpload *upload, ApiUploadFn done, void *done_data) {
    g_auto(Error) err = {0};
    const char *host = NULL;
    json_t *message = message_about(inventory, upload, &host, &err);
    if (!message) {
        done(0, &err, done_data);
        return NULL;
    }
    UploadBridge *bridge = g_new0(UploadBridge, 1);
    *bridge = (UploadBridge){.request = http_request_ref(request),
        .waiting = g_byte_array_new(),
        .words = g_byte_array_new(),
        .done = done,
        .done_data = done_data,
        .is_beginning = true};
    http_request_stream_body(request, on_chunk, bridge);
    http_request_pause(request);
    http_request_on_gone(request, on_gone, bridge);
    fleet_stream(fleet, host, AGENT_METHOD_UPLOAD_OPEN, message, stream_opened, bridge);
    bridge->is_beginning = false;
    if (!bridge->is_over)
        return bridge;
    bridge_free(bridge);
    return NULL;
}
