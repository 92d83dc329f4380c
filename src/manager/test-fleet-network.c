/* Whom the manager believes over the network, and that certificates are renewed in time: on a pretended agent
 * and a clock that only moves when told. */
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include "base/file.h"
#include "base/log.h"
#include "manager/fleet.h"
#include "rpc/rpc-connection.h"
#include "rpc/rpc-listener.h"
#include "tls/tls-identity.h"

#define HOST "33333333-3333-4333-8333-333333333333"
#define OTHER_HOST "44444444-4444-4444-8444-444444444444"
#define DAY_NS (86400 * NS_PER_S)

typedef struct World {
    char *folder;
    FakeClock clock;
    HostAuthority *authority, *other_authority;
    RpcConnector *connector;
    Store *store;
    Inventory *inventory;
    Fleet *fleet;
    /* The pretended agent: */
    TlsIdentity identity; /* the key that it made itself */
    char *key, *certificate;
    RpcListener *listener;
    RpcConnection *connection;
    uint16_t port;
    char *renewed; /* what it was told to show */
    int n_asked;   /* calls of any kind */
} World;

/* ---- the agent ---- */

static void serve(RpcRequest *take_request, void *data) {
    World *world = data;
    const char *method = rpc_request_method(take_request);
    world->n_asked++;
    if (g_str_equal(method, "certificate.apply")) {
        g_free(world->renewed);
        world->renewed =
            g_strdup(json_string_value(json_object_get(rpc_request_parameters(take_request), "certificate")));
    }
    if (g_str_equal(method, "inventory"))
        rpc_reply(take_request, json_pack("{s{ss}}", "host", "state", "connected"));
    else
        rpc_reply(take_request, NULL);
    rpc_request_unref(take_request);
}

static RpcHandler lookup(const char *method G_GNUC_UNUSED, void *data G_GNUC_UNUSED) {
    return serve;
}

static void accept_stream(RpcStream *take_stream, const RpcPeer *peer G_GNUC_UNUSED, void *data) {
    World *world = data;
    const RpcOptions options = {
        .lookup = lookup, .data = world, .software = "test", .lowest_version = 1, .highest_version = 1};
    rpc_connection_free(world->connection);
    world->connection = rpc_connection_new(take_stream, RPC_ACCEPTOR, &options);
}

static void agent_listen(World *world) {
    g_auto(RpcAddress) address = {.host = g_strdup("127.0.0.1")};
    const TlsCredentialsOptions shown = {
        .certificate_pem = world->certificate ? world->certificate : world->identity.certificate_pem,
        .key_pem = world->identity.key_pem,
        .authority_pem = host_authority_pem(world->authority),
        .protocol = RPC_TLS_PROTOCOL,
        .priority = TLS_PRIORITY_1_3};
    g_autoptr(TlsCredentials) credentials = tls_credentials_new(&shown, NULL);
    const RpcListenerOptions options = {.address = &address,
        .tls = {.credentials = credentials, .clock = &world->clock.clock},
        .on_stream = accept_stream,
        .data = world};
    world->listener = rpc_listener_new(&options, NULL);
    g_assert_nonnull(world->listener);
    world->port = rpc_listener_port(world->listener);
}

static void certify(World *world, const HostAuthority *authority, const char *id) {
    g_clear_pointer(&world->certificate, g_free);
    g_assert_true(
        host_authority_sign(authority, world->identity.certificate_pem, id, &world->certificate, NULL));
}

/* ---- the manager ---- */

/* Of nothing at all until the host is stored. */
static const HostStatus *status_of(World *world) {
    static const HostStatus none = {.state = HOST_STATE_UNKNOWN};
    const Object *host = inventory_get(world->inventory, RESOURCE_HOST, HOST);
    return host ? &((const Host *)host->data)->status : &none;
}

static bool is_connected(World *world) {
    return status_of(world)->state == HOST_STATE_CONNECTED;
}

static bool is_connected_anew(World *world) {
    return world->n_asked > 0 && is_connected(world);
}

static bool is_unreachable(World *world) {
    return status_of(world)->state == HOST_STATE_UNREACHABLE;
}

static bool is_renewed(World *world) {
    return world->renewed;
}

static bool is_hung_up(World *world) {
    return !rpc_connection_is_open(world->connection);
}

static bool iterate_until(bool (*is_so)(World *world), World *world) {
    gint64 end = g_get_monotonic_time() + 10 * G_TIME_SPAN_SECOND;
    while (!is_so(world) && g_get_monotonic_time() < end)
        if (!g_main_context_iteration(NULL, FALSE))
            g_usleep(1000);
    return is_so(world);
}

static void add_host(World *world, const char *key) {
    g_auto(Host) host = {0};
    g_autofree char *address = g_strdup_printf("127.0.0.1:%d", world->port);
    host_set_id(&host, HOST);
    host_set_name(&host, "one");
    host_set_address(&host, address);
    host_set_key(&host, key);
    InventoryChange *change = inventory_change_new(world->inventory);
    inventory_change_put(change, RESOURCE_HOST, &host);
    inventory_commit(world->inventory, change, NULL, NULL);
}

static HostAuthority *make_authority(World *world, const char *name, const char *manager) {
    g_autofree char *folder = g_build_filename(world->folder, name, NULL);
    g_assert_true(folder_make(folder, 0700, NULL));
    HostAuthority *authority = host_authority_new(folder, manager, &world->clock.clock, NULL);
    g_assert_nonnull(authority);
    return authority;
}

static void set_up(World *world, const void *data G_GNUC_UNUSED) {
    const TlsSubject subject = {.common_name = "host", .role = TLS_ROLE_BOTH};
    fake_clock_init(&world->clock, INT64_C(1800000000) * NS_PER_S);
    world->folder = g_dir_make_tmp("lodge-network-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(world->folder, "store.db", NULL);
    world->store = store_open_sqlite(path, NULL, clock_system(), NULL);
    g_assert_nonnull(world->store);
    world->inventory = inventory_new(world->store, clock_system());
    g_assert_true(inventory_load(world->inventory, NULL));
    world->authority = make_authority(world, "own", store_uuid(world->store));
    world->other_authority = make_authority(world, "other", store_uuid(world->store));
    world->connector = rpc_connector_new();
    const FleetNetwork network = {world->authority, world->connector, NULL};
    world->fleet = fleet_new(world->inventory, &world->clock.clock, &network);
    fleet_start(world->fleet);
    g_assert_true(tls_identity_make_own(&subject, &world->clock.clock, &world->identity, NULL));
    g_assert_true(tls_key_fingerprint(world->identity.certificate_pem, &world->key, NULL));
}

static void tear_down(World *world, const void *data G_GNUC_UNUSED) {
    fleet_free(world->fleet);
    rpc_listener_free(world->listener);
    rpc_connection_free(world->connection);
    rpc_connector_free(world->connector);
    host_authority_free(world->authority);
    host_authority_free(world->other_authority);
    store_close(world->store);
    inventory_free(world->inventory);
    tls_identity_clear(&world->identity);
    tree_remove(world->folder, NULL);
    g_free(world->key);
    g_free(world->certificate);
    g_free(world->renewed);
    g_free(world->folder);
}

/* ---- believed ---- */

static void test_a_host_is_reached(World *world, const void *data G_GNUC_UNUSED) {
    certify(world, world->authority, HOST);
    agent_listen(world);
    add_host(world, world->key);
    g_assert_true(iterate_until(is_connected, world));
    g_assert_null(world->renewed);
}

static void test_a_certificate_is_renewed(World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *key = NULL;
    certify(world, world->authority, HOST);
    fake_clock_advance(&world->clock, (TLS_CERTIFICATE_DAYS - TLS_RENEW_DAYS + 1) * DAY_NS);
    /* As a new start of the manager would: its own has become old too. */
    HostAuthority *again = make_authority(world, "own", store_uuid(world->store));
    g_assert_cmpstr(host_authority_pem(again), ==, host_authority_pem(world->authority));
    host_authority_free(again);
    agent_listen(world);
    add_host(world, world->key);
    g_assert_true(iterate_until(is_renewed, world));
    g_assert_true(iterate_until(is_connected, world));
    g_assert_true(tls_key_fingerprint(world->renewed, &key, NULL));
    g_assert_cmpstr(key, ==, world->key);
    g_assert_false(host_authority_is_due(world->authority, world->renewed));
}

static void test_a_clock_that_is_behind_is_borne(World *world, const void *data G_GNUC_UNUSED) {
    certify(world, world->authority, HOST);
    fake_clock_advance(&world->clock, -DAY_NS / 2);
    agent_listen(world);
    add_host(world, world->key);
    g_assert_true(iterate_until(is_connected, world));
}

static void change_host(World *world, void (*change)(Host *host, World *world)) {
    g_auto(Host) host = {0};
    host_copy(&host, inventory_get(world->inventory, RESOURCE_HOST, HOST)->data);
    change(&host, world);
    InventoryChange *commit = inventory_change_new(world->inventory);
    inventory_change_put(commit, RESOURCE_HOST, &host);
    inventory_commit(world->inventory, commit, NULL, NULL);
}

static void set_address(Host *host, World *world) {
    g_autofree char *address = g_strdup_printf("127.0.0.1:%d", world->port);
    host_set_address(host, address);
}

static void test_a_host_that_moves_is_followed(World *world, const void *data G_GNUC_UNUSED) {
    certify(world, world->authority, HOST);
    agent_listen(world);
    add_host(world, world->key);
    g_assert_true(iterate_until(is_connected, world));
    uint16_t before = world->port;
    g_clear_pointer(&world->listener, rpc_listener_free);
    agent_listen(world);
    g_assert_cmpint(world->port, !=, before);
    world->n_asked = 0;
    change_host(world, set_address);
    g_assert_true(iterate_until(is_connected_anew, world));
}

static void set_key(Host *host, World *world) {
    host_set_key(host, world->key);
}

static void test_a_new_key_counts_at_once(World *world, const void *data G_GNUC_UNUSED) {
    certify(world, world->authority, HOST);
    agent_listen(world);
    add_host(world, "sha256:00");
    g_assert_true(iterate_until(is_unreachable, world));
    change_host(world, set_key);
    g_assert_true(iterate_until(is_connected, world));
}

static void test_the_own_certificate_is_renewed(World *world, const void *data G_GNUC_UNUSED) {
    TlsCredentials *before = host_authority_credentials(world->authority);
    g_assert_true(host_authority_renew(world->authority, NULL));
    g_assert_true(host_authority_credentials(world->authority) == before);
    fake_clock_advance(&world->clock, (TLS_CERTIFICATE_DAYS - TLS_RENEW_DAYS + 1) * DAY_NS);
    tls_credentials_ref(before); /* so that the new ones have another place */
    g_assert_true(host_authority_renew(world->authority, NULL));
    g_assert_true(host_authority_credentials(world->authority) != before);
    tls_credentials_unref(before);
    fake_clock_advance(&world->clock, TLS_RENEW_DAYS * DAY_NS); /* the one before has expired */
    certify(world, world->authority, HOST);
    agent_listen(world);
    add_host(world, world->key);
    g_assert_true(iterate_until(is_connected, world));
}

static bool is_let_go(World *world) {
    return status_of(world)->state == HOST_STATE_REFUSED;
}

/* The manager died after its agent had let go, and before it was forgotten. */
static void test_a_released_host_is_not_owned_again(World *world, const void *data G_GNUC_UNUSED) {
    g_auto(Job) job = {0};
    job_set_id(&job, OTHER_HOST);
    job_set_kind(&job, "host.release");
    job_set_state(&job, JOB_STATE_RUNNING);
    job_set_target(&job, "host/" HOST);
    InventoryChange *change = inventory_change_new(world->inventory);
    inventory_change_put(change, RESOURCE_JOB, &job);
    inventory_commit(world->inventory, change, NULL, NULL);
    certify(world, world->authority, HOST);
    agent_listen(world);
    add_host(world, world->key);
    g_assert_true(iterate_until(is_let_go, world));
    g_assert_cmpint(world->n_asked, ==, 1); /* hello */
}

/* ---- who knocks too often ---- */

enum { KNOCKS = 300, LET_IN_AT_ONCE = 256 };

static bool are_some_refused(World *world) {
    return rpc_listener_refused(world->listener) >= KNOCKS - LET_IN_AT_ONCE;
}

/* Time stands still, so that none comes in after the first ones. */
static void test_knocks_are_counted(World *world, const void *data G_GNUC_UNUSED) {
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    certify(world, world->authority, HOST);
    agent_listen(world);
    place.sin_port = htons(world->port);
    for (int i = 0; i < KNOCKS; i++) {
        fd_auto int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_cmpint(connect(fd, (const struct sockaddr *)&place, sizeof place), ==, 0);
    }
    g_assert_true(iterate_until(are_some_refused, world));
    g_assert_cmpint(rpc_listener_refused(world->listener), ==, KNOCKS - LET_IN_AT_ONCE);
}

/* ---- not believed: nothing is asked of it ---- */

static void expect_refused(World *world, const char *key, const char *word) {
    agent_listen(world);
    add_host(world, key);
    g_assert_true(iterate_until(is_unreachable, world));
    g_assert_nonnull(strstr(status_of(world)->reason, word));
    g_assert_cmpint(world->n_asked, ==, 0);
}

static void test_an_expired_one_is_refused(World *world, const void *data G_GNUC_UNUSED) {
    certify(world, world->authority, HOST);
    fake_clock_advance(&world->clock, (TLS_CERTIFICATE_DAYS + 1) * DAY_NS);
    expect_refused(world, world->key, "expired");
}

static void test_another_authority_is_refused(World *world, const void *data G_GNUC_UNUSED) {
    certify(world, world->other_authority, HOST);
    expect_refused(world, world->key, "authority");
}

static void test_its_own_signature_is_refused(World *world, const void *data G_GNUC_UNUSED) {
    expect_refused(world, world->key, "authority");
}

static void test_another_name_is_refused(World *world, const void *data G_GNUC_UNUSED) {
    certify(world, world->authority, OTHER_HOST);
    expect_refused(world, world->key, "another host");
}

/* A key that was taken away from a host is worth nothing, although its certificate is valid for a year. */
static void test_another_key_is_refused(World *world, const void *data G_GNUC_UNUSED) {
    certify(world, world->authority, HOST);
    expect_refused(world, "sha256:00", "another key");
}

static void test_a_removed_host_is_hung_up_on(World *world, const void *data G_GNUC_UNUSED) {
    certify(world, world->authority, HOST);
    agent_listen(world);
    add_host(world, world->key);
    g_assert_true(iterate_until(is_connected, world));
    InventoryChange *change = inventory_change_new(world->inventory);
    inventory_change_delete(change, RESOURCE_HOST, HOST);
    inventory_commit(world->inventory, change, NULL, NULL);
    g_assert_true(iterate_until(is_hung_up, world));
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    log_init("test", LOG_LEVEL_ERROR);
#define TEST(name, function) g_test_add("/fleet/network/" name, World, NULL, set_up, function, tear_down)
    TEST("reached", test_a_host_is_reached);
    TEST("renewed", test_a_certificate_is_renewed);
    TEST("clock-behind", test_a_clock_that_is_behind_is_borne);
    TEST("expired", test_an_expired_one_is_refused);
    TEST("other-authority", test_another_authority_is_refused);
    TEST("self-signed", test_its_own_signature_is_refused);
    TEST("other-name", test_another_name_is_refused);
    TEST("other-key", test_another_key_is_refused);
    TEST("removed", test_a_removed_host_is_hung_up_on);
    TEST("moves", test_a_host_that_moves_is_followed);
    TEST("new-key", test_a_new_key_counts_at_once);
    TEST("let-go", test_a_released_host_is_not_owned_again);
    TEST("knocks", test_knocks_are_counted);
    TEST("own-renewed", test_the_own_certificate_is_renewed);
    return g_test_run();
}
