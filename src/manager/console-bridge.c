/* Two ends and a small buffer for each direction; whichever end goes takes the other with it. */
#include "manager/console-bridge.h"
#include <string.h>

enum { BLOCK = 16384, MAX_TYPED = 65536 };

typedef struct Bridge {
    HttpRequest *request; /* until it is answered */
    RpcStream *stream;
    HttpWebSocket *websocket;
    GByteArray *typed; /* from the browser, not yet taken by the stream */
    bool is_full;      /* the WebSocket takes no more now */
} Bridge;

static void on_ready(GIOCondition ready, void *data);

static void bridge_free(Bridge *bridge) {
    http_request_unref(bridge->request);
    rpc_stream_free(bridge->stream);
    g_byte_array_unref(bridge->typed);
    g_free(bridge);
}

static void watch(Bridge *bridge) {
    GIOCondition wanted = (bridge->is_full ? 0 : G_IO_IN) | (bridge->typed->len > 0 ? G_IO_OUT : 0);
    rpc_stream_watch(bridge->stream, wanted, on_ready, bridge);
}

/* The stream's end: the WebSocket's on_closed frees the bridge. */
static void stream_ended(Bridge *bridge) {
    rpc_stream_free(g_steal_pointer(&bridge->stream));
    http_websocket_close(bridge->websocket, HTTP_WEBSOCKET_NORMAL, "the console has ended");
}

static void send_typed(Bridge *bridge) {
    size_t written = 0;
    if (bridge->typed->len == 0)
        return;
    if (rpc_stream_write(bridge->stream, bridge->typed->data, bridge->typed->len, &written, NULL) ==
        RPC_IO_DONE)
        g_byte_array_remove_range(bridge->typed, 0, (guint)written);
    if (bridge->typed->len < MAX_TYPED)
        http_websocket_resume(bridge->websocket);
}

static void on_ready(GIOCondition ready, void *data) {
    Bridge *bridge = data;
    if (ready & G_IO_OUT)
        send_typed(bridge);
    if (ready & (G_IO_IN | G_IO_HUP)) {
        char block[BLOCK];
        size_t n = 0;
        RpcIo io = rpc_stream_read(bridge->stream, block, sizeof block, &n, NULL);
        if (io == RPC_IO_END || io == RPC_IO_FAILED) {
            stream_ended(bridge);
            return;
        }
        if (io == RPC_IO_DONE && !http_websocket_send(bridge->websocket, false, block, n)) {
            rpc_stream_unread(bridge->stream, block, n);
            bridge->is_full = true;
        }
    }
    watch(bridge);
}

static void on_message(
    HttpWebSocket *websocket, bool is_text G_GNUC_UNUSED, const void *data, size_t length, void *user) {
    Bridge *bridge = user;
    if (!bridge->stream)
        return;
    g_byte_array_append(bridge->typed, data, (guint)length);
    if (bridge->typed->len >= MAX_TYPED)
        http_websocket_pause(websocket);
    watch(bridge);
}

static void on_writable(HttpWebSocket *websocket G_GNUC_UNUSED, void *user) {
    Bridge *bridge = user;
    bridge->is_full = false;
    if (bridge->stream)
        watch(bridge);
}

static void on_closed(HttpWebSocket *websocket G_GNUC_UNUSED, uint16_t code G_GNUC_UNUSED, void *user) {
    bridge_free(user);
}

static void on_open(HttpWebSocket *websocket, void *user) {
    Bridge *bridge = user;
    if (!websocket) {
        bridge_free(bridge);
        return;
    }
    bridge->websocket = websocket;
    watch(bridge);
}

static void refuse(HttpRequest *request, const Error *err) {
    g_autoptr(json_t) problem = error_to_json(err);
    g_autofree char *text = json_to_text(problem);
    http_reply_text(request, (unsigned)error_info(err->code)->http_status, "application/problem+json", text);
}

static void stream_opened(RpcStream *take_stream, const Error *err, void *data) {
    static const HttpWebSocketEvents events = {
        .on_message = on_message, .on_writable = on_writable, .on_closed = on_closed};
    static const HttpWebSocketOptions options = {0};
    Bridge *bridge = data;
    g_autoptr(HttpRequest) request = g_steal_pointer(&bridge->request);
    g_auto(Error) fault = {0};
    bridge->stream = take_stream;
    /* From here on the bridge may be gone: who does not wait any more is told to on_open at once. */
    bool is_answered =
        take_stream && http_reply_websocket(request, &options, &events, on_open, bridge, &fault);
    if (is_answered)
        return;
    refuse(request, err ? err : &fault);
    bridge_free(bridge);
}

bool console_bridge_open(Fleet *fleet, HttpRequest *request, const Vm *vm, Error *err) {
    if (!http_request_is_websocket(request))
        return error_set(err, ERROR_INVALID, NULL, "the console is a WebSocket: ask for an upgrade");
    Bridge *bridge = g_new0(Bridge, 1);
    bridge->request = http_request_ref(request);
    bridge->typed = g_byte_array_new();
    fleet_console(fleet, vm, stream_opened, bridge);
    return true;
}
