/* A ticket from the agent, then a connection of its own that presents it. */
#include <string.h>
#include "manager/fleet-private.h"
#include "rpc/rpc-ticket.h"

enum { STREAM_TIMEOUT_MS = 10000 };

typedef struct StreamOpening {
    FleetPlace place;
    char *ticket;
    FleetStreamFn done;
    void *data;
} StreamOpening;

/* The stream is ready by then, and asks nobody any more who is there. */
static void opening_end(StreamOpening *opening, RpcStream *take_stream, const Error *err) {
    opening->done(take_stream, err, opening->data);
    rpc_address_clear(&opening->place.address);
    g_free(opening->place.id);
    g_free(opening->place.key);
    g_free(opening->ticket);
    g_free(opening);
}

static void stream_opened(RpcStream *take_stream, const Error *err, void *data) {
    opening_end(data, take_stream, err);
}

static void connected(RpcStream *take_stream, const Error *err, void *data) {
    StreamOpening *opening = data;
    if (err)
        opening_end(opening, NULL, err);
    else
        rpc_stream_open(take_stream, opening->ticket, STREAM_TIMEOUT_MS, stream_opened, opening);
}

static bool check_host(const TlsShown *shown, void *data, Error *err) {
    const StreamOpening *opening = data;
    const HostExpected expected = {opening->place.id, opening->place.key};
    return host_expected_check(&expected, shown, err);
}

static void ticket_arrived(const json_t *result, const Error *err, void *data) {
    StreamOpening *opening = data;
    const FleetNetwork *network = &opening->place.network;
    g_auto(Error) fault = {0};
    opening->ticket = err ? NULL : g_strdup(json_string_value(json_object_get(result, "ticket")));
    if (!opening->ticket) {
        if (!err)
            error_set(&fault, ERROR_PROTOCOL, NULL, "the agent gave no ticket");
        opening_end(opening, NULL, err ? err : &fault);
        return;
    }
    const RpcConnectOptions options = {
        .tls = {.credentials = network->authority ? host_authority_credentials(network->authority) : NULL,
            .check = check_host,
            .data = opening}};
    rpc_connect(network->connector, &opening->place.address, &options, connected, opening);
}

void fleet_stream(Fleet *fleet, const char *host_id, AgentMethodId method, json_t *take_parameters,
    FleetStreamFn done, void *data) {
    StreamOpening *opening = g_new0(StreamOpening, 1);
    *opening = (StreamOpening){.done = done, .data = data};
    fleet_place_of(fleet, host_id, &opening->place); /* of one that is gone nothing is asked */
    fleet_ask(fleet, host_id, method, take_parameters, ticket_arrived, opening);
}

void fleet_console(Fleet *fleet, const Vm *vm, FleetStreamFn done, void *data) {
    fleet_stream(fleet, vm->host, AGENT_METHOD_VM_CONSOLE, json_pack("{ss}", "id", vm->id), done, data);
}
