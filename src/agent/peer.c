/* The side that connects; the other one is in remote.c and dispatch.c. */
#include "agent/peer.h"
#include <string.h>
#include "model/method.h"
#include "tls/tls-identity.h"

enum { STREAM_TIMEOUT_MS = 10000 };

struct PeerLink {
    Agent *agent;
    PeerLinkFns fns;
    void *data;
    RpcAddress address;
    char *id, *key;
    RpcConnecting *connecting;
    RpcConnection *connection;
    bool is_ready;
    GPtrArray *openings; /* Opening, owned */
};

/* A stream that is being opened. */
typedef struct Opening {
    PeerLink *link;
    char *ticket;
    RpcOpenedFn on_opened;
    void *data;
    RpcConnecting *connecting;
    RpcStreamOpening *opening;
} Opening;

static bool check_host(const TlsShown *shown, void *data, Error *err) {
    const PeerLink *link = data;
    if (!shown->is_trusted)
        return error_set(err, ERROR_DENIED, NULL, "the other host is not believed: %s", shown->flaw);
    if (g_strcmp0(tls_shown_name(shown, TLS_URI_PREFIX "host:"), link->id) != 0)
        return error_set(err, ERROR_DENIED, NULL, "another host than %s answers at its address", link->id);
    return g_strcmp0(shown->key_fingerprint, link->key) == 0 ||
           error_set(err, ERROR_DENIED, NULL, "the other host shows another key than it should");
}

static RpcConnectOptions connect_options(PeerLink *link) {
    return (RpcConnectOptions){.tls = {
                                   .credentials = remote_credentials(link->agent->remote),
                                   .check = check_host,
                                   .data = link,
                               }};
}

/* ---- the connection ---- */

static void on_ready(RpcConnection *connection G_GNUC_UNUSED, void *data) {
    PeerLink *link = data;
    link->is_ready = true;
    link->fns.on_ready(link, link->data);
}

static void on_closed(RpcConnection *connection G_GNUC_UNUSED, const Error *why, void *data) {
    PeerLink *link = data;
    link->is_ready = false;
    link->fns.on_closed(link, why, link->data);
}

static void connected(RpcStream *take_stream, const Error *err, void *data) {
    PeerLink *link = data;
    link->connecting = NULL;
    if (err) {
        link->fns.on_closed(link, err, link->data);
        return;
    }
    const RpcOptions options = {.on_ready = on_ready,
        .on_closed = on_closed,
        .data = link,
        .software = "lodge-agent " LODGE_VERSION,
        .lowest_version = AGENT_PROTOCOL_VERSION,
        .highest_version = AGENT_PROTOCOL_VERSION};
    link->connection = rpc_connection_new(take_stream, RPC_INITIATOR, &options);
}

static void opening_free(void *data) {
    Opening *opening = data;
    rpc_connecting_free(opening->connecting);
    rpc_stream_opening_free(opening->opening);
    g_free(opening->ticket);
    g_free(opening);
}

PeerLink *peer_link_new(
    Agent *agent, const PeerPlace *place, const PeerLinkFns *fns, void *data, Error *err) {
    g_autoptr(PeerLink) link = g_new0(PeerLink, 1);
    *link = (PeerLink){.agent = agent,
        .fns = *fns,
        .data = data,
        .id = g_strdup(place->id),
        .key = g_strdup(place->key),
        .openings = g_ptr_array_new_with_free_func(opening_free)};
    if (!rpc_address_parse(place->address, &link->address, err))
        return NULL;
    const RpcConnectOptions options = connect_options(link);
    link->connecting = rpc_connect(agent->connector, &link->address, &options, connected, link);
    return g_steal_pointer(&link);
}

void peer_link_free(PeerLink *link) {
    if (!link)
        return;
    rpc_connecting_free(link->connecting);
    rpc_connection_free(link->connection);
    g_ptr_array_unref(link->openings);
    rpc_address_clear(&link->address);
    g_free(link->id);
    g_free(link->key);
    g_free(link);
}

RpcConnection *peer_link_connection(PeerLink *link) {
    return link->is_ready ? link->connection : NULL;
}

/* ---- streams ---- */

/* The link may be gone behind the call-back. */
static void opening_end(Opening *opening, RpcStream *take_stream, const Error *err) {
    RpcOpenedFn on_opened = opening->on_opened;
    void *data = opening->data;
    opening->connecting = NULL;
    opening->opening = NULL;
    g_ptr_array_remove_fast(opening->link->openings, opening);
    on_opened(take_stream, err, data);
}

static void stream_opened(RpcStream *take_stream, const Error *err, void *data) {
    opening_end(data, take_stream, err);
}

static void stream_connected(RpcStream *take_stream, const Error *err, void *data) {
    Opening *opening = data;
    opening->connecting = NULL;
    if (err)
        opening_end(opening, NULL, err);
    else
        opening->opening =
            rpc_stream_open(take_stream, opening->ticket, STREAM_TIMEOUT_MS, stream_opened, opening);
}

void peer_link_stream(PeerLink *link, const char *ticket, RpcOpenedFn on_opened, void *data) {
    Opening *opening = g_new0(Opening, 1);
    *opening = (Opening){.link = link, .ticket = g_strdup(ticket), .on_opened = on_opened, .data = data};
    g_ptr_array_add(link->openings, opening);
    const RpcConnectOptions options = connect_options(link);
    opening->connecting =
        rpc_connect(link->agent->connector, &link->address, &options, stream_connected, opening);
}
