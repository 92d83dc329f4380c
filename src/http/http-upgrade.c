/* From an HTTP request to a WebSocket on the server. */
#include "http/http-internal.h"
#include <string.h>
#include <sys/socket.h>
#include "http/http-websocket-internal.h"

enum { STATUS_SWITCHING = 101, KEY_BYTES = 16, CLOSE_MS = 2000 };

struct HttpUpgrade {
    HttpWebSocketOptions options;
    HttpWebSocketEvents events;
    HttpWebSocketOpenFn on_open;
    void *user;
};

/* 1. Does the client ask rightly? RFC 6455, section 4.2.1. */

static bool has_token(const HttpRequest *request, const char *name, const char *token) {
    const char *value = http_request_header(request, name);
    if (!value)
        return false;
    g_auto(GStrv) parts = g_strsplit(value, ",", 16);
    for (char **part = parts; *part; part++)
        if (g_ascii_strcasecmp(g_strstrip(*part), token) == 0)
            return true;
    return false;
}

bool http_request_is_websocket(const HttpRequest *request) {
    const char *key = http_request_header(request, "Sec-WebSocket-Key");
    if (!key || strlen(key) != 24 || request->content_length != 0 || !g_str_equal(request->method, "GET") ||
        !has_token(request, "Connection", "upgrade") || !has_token(request, "Upgrade", "websocket") ||
        !has_token(request, "Sec-WebSocket-Version", "13"))
        return false;
    gsize length = 0;
    g_autofree guchar *decoded = g_base64_decode(key, &length);
    return decoded && length == KEY_BYTES;
}

/* 3. MHD has sent the answer and hands over the socket. */

typedef struct UpgradedSocket {
    HttpConnection *connection;
    struct MHD_UpgradeResponseHandle *handle;
    int fd;
} UpgradedSocket;

static ssize_t read_socket(void *data, void *buffer, size_t length) {
    return recv(((UpgradedSocket *)data)->fd, buffer, length, MSG_DONTWAIT);
}

static ssize_t write_socket(void *data, const void *buffer, size_t length) {
    return send(((UpgradedSocket *)data)->fd, buffer, length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void close_socket(void *data) {
    UpgradedSocket *self = data;
    self->connection->websocket = NULL;
    self->connection->server->engine->needs_run = true;
    http_connection_set_deadline(self->connection, CLOSE_MS);
    MHD_upgrade_action(self->handle, MHD_UPGRADE_ACTION_CLOSE);
    g_free(self);
}

static void upgraded(void *data G_GNUC_UNUSED, struct MHD_Connection *mhd, void *context G_GNUC_UNUSED,
    const char *early, size_t early_length, int fd, struct MHD_UpgradeResponseHandle *handle) {
    HttpConnection *connection = http_connection_of(mhd);
    HttpUpgrade *upgrade = connection->request ? connection->request->upgrade : NULL;
    if (!upgrade || connection->is_cut) {
        MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
        return;
    }
    connection->request->upgrade = NULL;
    http_request_detach(connection->request);
    http_connection_set_deadline(connection, -1);
    UpgradedSocket *socket = g_new0(UpgradedSocket, 1);
    *socket = (UpgradedSocket){.connection = connection, .handle = handle, .fd = fd};
    const WebSocketTransport transport = {
        .fd = fd, .read = read_socket, .write = write_socket, .close = close_socket, .data = socket};
    connection->websocket = http_websocket_new(
        false, &transport, early, early_length, &upgrade->options, &upgrade->events, upgrade->user);
    http_websocket_attach(connection->websocket);
    upgrade->on_open(connection->websocket, upgrade->user);
    g_free(upgrade);
}

void http_upgrade_drop(HttpRequest *request) {
    HttpUpgrade *upgrade = request->upgrade;
    request->upgrade = NULL;
    upgrade->on_open(NULL, upgrade->user);
    g_free(upgrade);
}

/* 2. The answer. */

bool http_reply_websocket(HttpRequest *request, const HttpWebSocketOptions *options,
    const HttpWebSocketEvents *events, HttpWebSocketOpenFn on_open, void *user, Error *err) {
    if (!http_request_is_websocket(request))
        return error_set(err, ERROR_INVALID, NULL, "this path speaks WebSocket (RFC 6455) only");
    if (request->server->is_stopping)
        return error_set(err, ERROR_BUSY, NULL, "the server stops");
    if (!http_reply_is_possible(request)) {
        on_open(NULL, user);
        return true;
    }
    request->upgrade = g_new0(HttpUpgrade, 1);
    *request->upgrade = (HttpUpgrade){.events = *events, .on_open = on_open, .user = user};
    if (options)
        request->upgrade->options = *options;
    request->upgrade->options.protocol = NULL; /* only needed here; not ours to keep */
    struct MHD_Response *response = MHD_create_response_for_upgrade(upgraded, NULL);
    g_assert(response);
    g_autofree char *accept = http_websocket_accept_key(http_request_header(request, "Sec-WebSocket-Key"));
    MHD_add_response_header(response, "Upgrade", "websocket");
    MHD_add_response_header(response, "Sec-WebSocket-Accept", accept);
    if (options && options->protocol)
        MHD_add_response_header(response, "Sec-WebSocket-Protocol", options->protocol);
    http_reply_set(request, STATUS_SWITCHING, response);
    return true;
}
