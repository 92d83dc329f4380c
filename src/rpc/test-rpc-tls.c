/* Agents reached over the network: connecting, believing and refusing, bytes and ends through TLS. */
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include "base/file.h"
#include "rpc/rpc-connect.h"
#include "rpc/rpc-listener.h"
#include "rpc/rpc-splice.h"
#include "rpc/test-rpc-side.h"
#include "tls/tls-identity.h"

typedef struct World {
    TlsIdentity authority, other_authority;
    TlsCredentials *manager, *host, *foreign_manager, *foreign_host;
    RpcConnector *connector;
    RpcListener *listener;
    RpcAddress address; /* where it listens */
    Side server;        /* made from the first stream that comes */
    RpcStream *raw;     /* instead, when `keeps_raw` */
    bool keeps_raw, is_taken;
    /* Of the newest connecting: */
    RpcStream *stream;
    Error err;
    bool is_connected;
} World;

static TlsCredentials *make(const TlsIdentity *authority, const TlsIdentity *believed, TlsRole role) {
    const char *const names[] = {role == TLS_ROLE_CLIENT ? "lodge:manager:one" : "lodge:host:one", NULL};
    g_auto(TlsIdentity) identity = {0};
    g_assert_true(tls_certificate_make(authority, "test", names, role, clock_system(), &identity, NULL));
    const TlsCredentialsOptions options = {.certificate_pem = identity.certificate_pem,
        .key_pem = identity.key_pem,
        .authority_pem = believed->certificate_pem,
        .protocol = RPC_TLS_PROTOCOL,
        .priority = TLS_PRIORITY_1_3};
    TlsCredentials *credentials = tls_credentials_new(&options, NULL);
    g_assert_nonnull(credentials);
    return credentials;
}

static void on_stream(RpcStream *take_stream, const RpcPeer *peer, void *data) {
    World *world = data;
    g_assert_null(peer);
    g_assert_false(world->is_taken);
    world->is_taken = true;
    if (world->keeps_raw)
        world->raw = take_stream;
    else
        side_start(&world->server, take_stream, RPC_ACCEPTOR);
}

static void set_up(World *world, const void *data G_GNUC_UNUSED) {
    g_assert_true(tls_authority_make("Lodge", clock_system(), &world->authority, NULL));
    g_assert_true(tls_authority_make("Other", clock_system(), &world->other_authority, NULL));
    world->manager = make(&world->authority, &world->authority, TLS_ROLE_CLIENT);
    world->host = make(&world->authority, &world->authority, TLS_ROLE_SERVER);
    world->foreign_manager = make(&world->other_authority, &world->authority, TLS_ROLE_CLIENT);
    world->foreign_host = make(&world->other_authority, &world->authority, TLS_ROLE_SERVER);
    world->connector = rpc_connector_new();
    world->address = (RpcAddress){.host = g_strdup("127.0.0.1")};
    side_init(&world->server, "agent");
    const RpcListenerOptions options = {.address = &world->address,
        .tls = {.credentials = world->host},
        .on_stream = on_stream,
        .data = world};
    world->listener = rpc_listener_new(&options, NULL);
    g_assert_nonnull(world->listener);
    world->address.port = rpc_listener_port(world->listener);
    g_assert_cmpint(world->address.port, >, 0);
}

static void tear_down(World *world, const void *data G_GNUC_UNUSED) {
    side_clear(&world->server);
    rpc_stream_free(world->raw);
    rpc_listener_free(world->listener);
    rpc_connector_free(world->connector);
    rpc_address_clear(&world->address);
    TlsCredentials *all[] = {world->manager, world->host, world->foreign_manager, world->foreign_host};
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++)
        tls_credentials_unref(all[i]);
    tls_identity_clear(&world->authority);
    tls_identity_clear(&world->other_authority);
    error_clear(&world->err);
}

static void on_connected(RpcStream *take_stream, const Error *err, void *data) {
    World *world = data;
    g_assert_true(!take_stream != !err);
    world->is_connected = true;
    world->stream = take_stream;
    error_clear(&world->err);
    if (err)
        error_copy(&world->err, err);
}

static RpcConnecting *begin(World *world, const RpcAddress *address, TlsCredentials *credentials) {
    const RpcConnectOptions options = {.tls = {.credentials = credentials}, .timeout_ms = 5000};
    world->is_connected = false;
    return rpc_connect(world->connector, address, &options, on_connected, world);
}

static void connect_side(World *world, Side *client, const RpcAddress *address, TlsCredentials *credentials) {
    side_init(client, "lodged");
    begin(world, address, credentials);
    WAIT_FOR(world->is_connected);
    g_assert_nonnull(world->stream);
    side_start(client, g_steal_pointer(&world->stream), RPC_INITIATOR);
}

/* ---- those who believe each other ---- */

static void check_echo(Side *from) {
    g_auto(Outcome) outcome = {0};
    rpc_call(from->connection, "echo", json_pack("{si}", "n", 7), NULL, 0, outcome_reply, NULL, &outcome);
    WAIT_FOR(outcome.replies == 1);
    g_assert_cmpint(json_integer_value(json_object_get(outcome.result, "n")), ==, 7);
}

static void test_calls_go_both_ways(World *world, const void *data G_GNUC_UNUSED) {
    Side client;
    uint8_t one[TLS_BINDING_BYTES], two[TLS_BINDING_BYTES];
    connect_side(world, &client, &world->address, world->manager);
    WAIT_FOR(client.ready && world->server.ready);
    check_echo(&client);
    check_echo(&world->server);
    const RpcStream *ours = rpc_connection_stream(client.connection),
                    *theirs = rpc_connection_stream(world->server.connection);
    g_assert_cmpstr(rpc_stream_shown(ours)->names[0], ==, "lodge:host:one");
    g_assert_cmpstr(rpc_stream_shown(theirs)->names[0], ==, "lodge:manager:one");
    g_assert_true(rpc_stream_binding(ours, one, NULL) && rpc_stream_binding(theirs, two, NULL));
    g_assert_cmpint(memcmp(one, two, sizeof one), ==, 0);
    g_assert_cmpint(rpc_listener_connections(world->listener), ==, 1);
    side_clear(&client);
    WAIT_FOR(world->server.closed);
    g_assert_cmpint(rpc_listener_connections(world->listener), ==, 0);
}

static void test_a_name_is_found(World *world, const void *data G_GNUC_UNUSED) {
    Side client;
    g_auto(RpcAddress) address = {.host = g_strdup("localhost"), .port = world->address.port};
    connect_side(world, &client, &address, world->manager); /* ::1 may come first, where nobody listens */
    WAIT_FOR(client.ready);
    side_clear(&client);
}

/* ---- those who do not ---- */

static void test_a_foreign_manager_is_refused(World *world, const void *data G_GNUC_UNUSED) {
    Side client;
    connect_side(world, &client, &world->address, world->foreign_manager);
    WAIT_FOR(client.closed && world->server.closed);
    g_assert_cmpint(world->server.why.code, ==, ERROR_DENIED);
    g_assert_cmpint(client.why.code, ==, ERROR_DENIED);
    g_assert_cmpint(world->server.ready + client.ready, ==, 0);
    side_clear(&client);
}

static void test_a_foreign_host_is_refused(World *world, const void *data G_GNUC_UNUSED) {
    Side client;
    rpc_listener_set_credentials(world->listener, world->foreign_host);
    connect_side(world, &client, &world->address, world->manager);
    WAIT_FOR(client.closed && world->server.closed);
    g_assert_cmpint(client.why.code, ==, ERROR_DENIED);
    g_assert_cmpint(world->server.ready + client.ready, ==, 0);
    side_clear(&client);
}

static void test_who_says_nothing_is_left(World *world, const void *data G_GNUC_UNUSED) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    RpcSocketAddress place;
    world->server.options.hello_ms = 200;
    g_assert_true(rpc_address_is_numeric(&world->address, &place));
    g_assert_cmpint(connect(fd, (const struct sockaddr *)&place.storage, place.length), ==, 0);
    WAIT_FOR(world->server.closed);
    g_assert_cmpint(world->server.why.code, ==, ERROR_UNREACHABLE);
    fd_close(&fd);
}

/* Not TLS at all. */
static void test_noise_is_refused(World *world, const void *data G_GNUC_UNUSED) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    static const char noise[] = "GET / HTTP/1.1\r\nHost: node-7\r\n\r\n";
    RpcSocketAddress place;
    g_assert_true(rpc_address_is_numeric(&world->address, &place));
    g_assert_cmpint(connect(fd, (const struct sockaddr *)&place.storage, place.length), ==, 0);
    g_assert_cmpint(send(fd, noise, sizeof noise, MSG_NOSIGNAL), ==, sizeof noise);
    WAIT_FOR(world->server.closed);
    g_assert_cmpint(world->server.why.code, ==, ERROR_PROTOCOL);
    fd_close(&fd);
}

/* ---- nobody there ---- */

static void test_nobody_listens(World *world, const void *data G_GNUC_UNUSED) {
    g_clear_pointer(&world->listener, rpc_listener_free);
    begin(world, &world->address, world->manager);
    WAIT_FOR(world->is_connected);
    g_assert_null(world->stream);
    g_assert_cmpint(world->err.code, ==, ERROR_UNREACHABLE);
    const RpcAddress nowhere = {.path = (char[]){"/nowhere/agent.sock"}};
    begin(world, &nowhere, NULL);
    g_assert_false(world->is_connected);
    WAIT_FOR(world->is_connected);
    g_assert_cmpint(world->err.code, ==, ERROR_UNREACHABLE);
}

static void test_a_connecting_is_given_up(World *world, const void *data G_GNUC_UNUSED) {
    g_auto(RpcAddress) name = {.host = g_strdup("nobody.invalid"), .port = 1};
    rpc_connecting_free(begin(world, &world->address, world->manager));
    rpc_connecting_free(begin(world, &name, world->manager));
    settle();
    g_assert_false(world->is_connected);
}

/* ---- bytes ---- */

enum { PIPE_BYTES = 8 * 1024 * 1024, CHUNK = 50000 };

typedef struct Pipe {
    RpcStream *from, *to;
    size_t sent, received;
    bool is_ended;
} Pipe;

static uint8_t byte_at(size_t position) {
    return (uint8_t)(position * 2654435761U >> 13);
}

static void pipe_send(GIOCondition ready G_GNUC_UNUSED, void *data) {
    Pipe *pipe = data;
    uint8_t bytes[CHUNK];
    size_t length = MIN(sizeof bytes, PIPE_BYTES - pipe->sent), n = 0;
    for (size_t i = 0; i < length; i++)
        bytes[i] = byte_at(pipe->sent + i);
    RpcIo io = rpc_stream_write(pipe->from, bytes, length, &n, NULL);
    g_assert_cmpint(io, !=, RPC_IO_FAILED);
    pipe->sent += io == RPC_IO_DONE ? n : 0;
    if (pipe->sent < PIPE_BYTES)
        return;
    rpc_stream_watch(pipe->from, 0, NULL, NULL);
    rpc_stream_shut_write(pipe->from);
}

static void pipe_receive(GIOCondition ready G_GNUC_UNUSED, void *data) {
    Pipe *pipe = data;
    uint8_t bytes[CHUNK];
    size_t n = 0;
    RpcIo io = rpc_stream_read(pipe->to, bytes, sizeof bytes, &n, NULL);
    g_assert_cmpint(io, !=, RPC_IO_FAILED);
    if (io == RPC_IO_END) {
        pipe->is_ended = true;
        rpc_stream_watch(pipe->to, 0, NULL, NULL);
    }
    if (io != RPC_IO_DONE)
        return;
    for (size_t i = 0; i < n; i++)
        g_assert_cmpint(bytes[i], ==, byte_at(pipe->received + i));
    pipe->received += n;
}

/* Through a splice too: plain on its other side. */
static void test_bytes_and_ends_arrive(World *world, const void *data G_GNUC_UNUSED) {
    RpcStream *near = NULL, *far = NULL;
    world->keeps_raw = true;
    begin(world, &world->address, world->manager);
    WAIT_FOR(world->is_connected && world->is_taken);
    g_assert_true(rpc_stream_pair(&near, &far, NULL));
    RpcSplice *splice = rpc_splice(g_steal_pointer(&world->raw), near, NULL, NULL);
    Pipe up = {.from = world->stream, .to = far};
    rpc_stream_watch(up.from, G_IO_OUT, pipe_send, &up);
    rpc_stream_watch(up.to, G_IO_IN, pipe_receive, &up);
    WAIT_FOR(up.is_ended);
    g_assert_cmpuint(up.received, ==, PIPE_BYTES);
    Pipe down = {.from = far, .to = world->stream}; /* the other half is still open */
    rpc_stream_watch(down.from, G_IO_OUT, pipe_send, &down);
    rpc_stream_watch(down.to, G_IO_IN, pipe_receive, &down);
    WAIT_FOR(down.is_ended);
    g_assert_cmpuint(down.received, ==, PIPE_BYTES);
    (void)splice; /* both directions have ended: it is gone */
    rpc_stream_free(far);
    rpc_stream_free(g_steal_pointer(&world->stream));
}

enum { RECORD = 10000, SIP = 100 };

static void sip(GIOCondition ready G_GNUC_UNUSED, void *data) {
    Pipe *pipe = data;
    uint8_t bytes[SIP];
    size_t n = 0;
    if (rpc_stream_read(pipe->to, bytes, sizeof bytes, &n, NULL) == RPC_IO_DONE)
        pipe->received += n;
    if (pipe->received == SIP)
        rpc_stream_watch(pipe->to, 0, NULL, NULL);
}

/* GnuTLS has decrypted the whole record with the first of them; the socket will not become readable again. */
static void test_bytes_that_wait_inside_tls_are_told_of(World *world, const void *data G_GNUC_UNUSED) {
    static const uint8_t bytes[RECORD] = {0};
    world->keeps_raw = true;
    begin(world, &world->address, world->manager);
    WAIT_FOR(world->is_connected && world->is_taken);
    Pipe up = {.from = world->stream, .to = world->raw};
    rpc_stream_watch(up.to, G_IO_IN, sip, &up);
    size_t n = 0;
    while (rpc_stream_write(up.from, bytes, sizeof bytes, &n, NULL) == RPC_IO_AGAIN)
        g_main_context_iteration(NULL, FALSE); /* shakes hands */
    g_assert_cmpuint(n, ==, RECORD);
    WAIT_FOR(up.received == SIP);
    settle();
    g_assert_cmpuint(up.received, ==, SIP);
    rpc_stream_watch(up.to, G_IO_IN, sip, &up);
    WAIT_FOR(up.received == RECORD);
    settle();
    rpc_stream_free(g_steal_pointer(&world->stream));
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
#define TEST(name, function) g_test_add("/rpc/tls/" name, World, NULL, set_up, function, tear_down)
    TEST("calls", test_calls_go_both_ways);
    TEST("name", test_a_name_is_found);
    TEST("foreign-manager", test_a_foreign_manager_is_refused);
    TEST("foreign-host", test_a_foreign_host_is_refused);
    TEST("silent", test_who_says_nothing_is_left);
    TEST("noise", test_noise_is_refused);
    TEST("nobody", test_nobody_listens);
    TEST("given-up", test_a_connecting_is_given_up);
    TEST("bytes", test_bytes_and_ends_arrive);
    TEST("decrypted", test_bytes_that_wait_inside_tls_are_told_of);
    return g_test_run();
}
