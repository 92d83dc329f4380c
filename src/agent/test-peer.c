/* Proves what two agents have with each other: two of them in this process, over real TLS, on the fake
 * hypervisor. */
#include "agent/peer.h"
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "tls/tls-identity.h"

#define OWNER "11111111-1111-4111-8111-111111111111"

typedef struct Side {
    char *folder, *socket, *address;
    Agent *agent;
} Side;

typedef struct World {
    char *folder;
    TlsIdentity authority;
    Side a, b;
    PeerLink *link;
    bool is_ready, is_closed, is_answered;
    Error why;
    RpcStream *opened, *served;
    json_t *answer;
} World;

static void owned(int64_t revision G_GNUC_UNUSED, const Error *err, void *data) {
    g_assert_null(err);
    *(bool *)data = true;
}

#define WAIT_FOR(condition) \
    while (!(condition))    \
    g_main_context_iteration(NULL, TRUE)

/* Owned, with a certificate that the owner signed. */
static void side_own(World *world, const Side *side) {
    Agent *agent = side->agent;
    bool is_owned = false;
    g_autofree char *uri = g_strconcat("lodge:host:", journal_host(agent->journal), NULL), *pem = NULL;
    g_autofree char *tls = g_build_filename(side->folder, "tls", NULL);
    g_auto(TlsIdentity) shown = {0};
    const char *const names[] = {uri, NULL};
    const TlsSubject subject = {"host", names, TLS_ROLE_BOTH};
    g_assert_true(tls_identity_load(tls, "host", &shown, NULL));
    g_assert_true(
        tls_certificate_sign(&world->authority, shown.certificate_pem, &subject, clock_system(), &pem, NULL));
    g_assert_true(remote_write_authority(agent->remote, OWNER, world->authority.certificate_pem, NULL));
    g_assert_true(remote_write_certificate(agent->remote, pem, NULL));
    journal_own(agent->journal, OWNER, 1, owned, &is_owned);
    WAIT_FOR(is_owned);
    g_assert_true(agent_take_credentials(agent, NULL));
}

/* Nobody listens there at this moment. */
static unsigned free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    fd_auto int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, length), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&address, &length), ==, 0);
    return ntohs(address.sin_port);
}

static void side_start(World *world, Side *side, const char *name) {
    side->folder = g_build_filename(world->folder, name, NULL);
    side->socket = g_strconcat(side->folder, ".sock", NULL);
    side->address = g_strdup_printf("127.0.0.1:%u", free_port());
    g_assert_true(folder_make(side->folder, 0711, NULL));
    const AgentOptions options = {.instance = "test",
        .socket = side->socket,
        .listen = side->address,
        .state = side->folder,
        .driver = hypervisor_find("fake"),
        .system_root = world->folder,
        .helpers = "/"};
    g_auto(Error) err = {0};
    side->agent = agent_new(&options, &err);
    g_assert_cmpstr(err.message, ==, NULL);
    side_own(world, side);
}

static void side_end(Side *side) {
    agent_free(side->agent);
    g_free(side->folder);
    g_free(side->socket);
    g_free(side->address);
}

static void set_up(World *world, const void *data G_GNUC_UNUSED) {
    world->folder = g_dir_make_tmp("lodge-peer-XXXXXX", NULL);
    g_assert_true(tls_authority_make("Lodge", clock_system(), &world->authority, NULL));
    side_start(world, &world->a, "a");
    side_start(world, &world->b, "b");
}

static void tear_down(World *world, const void *data G_GNUC_UNUSED) {
    peer_link_free(world->link);
    rpc_stream_free(world->opened);
    rpc_stream_free(world->served);
    side_end(&world->a);
    side_end(&world->b);
    tls_identity_clear(&world->authority);
    error_clear(&world->why);
    json_decref(world->answer);
    tree_remove(world->folder, NULL);
    g_free(world->folder);
}

static void on_ready(PeerLink *link G_GNUC_UNUSED, void *data) {
    ((World *)data)->is_ready = true;
}

static void on_closed(PeerLink *link G_GNUC_UNUSED, const Error *why, void *data) {
    World *world = data;
    world->is_closed = true;
    error_copy(&world->why, why);
}

/* From a to b. */
static void connect_to(World *world, const char *key) {
    const PeerLinkFns fns = {on_ready, on_closed};
    const PeerPlace place = {world->b.address, journal_host(world->b.agent->journal), key};
    world->is_ready = world->is_closed = false;
    error_clear(&world->why);
    peer_link_free(world->link);
    world->link = peer_link_new(world->a.agent, &place, &fns, world, NULL);
    g_assert_nonnull(world->link);
    WAIT_FOR(world->is_ready || world->is_closed);
}

static void expect_a(World *world, int64_t seconds) {
    g_assert_true(remote_expect(world->b.agent->remote, journal_host(world->a.agent->journal),
        remote_key(world->a.agent->remote), seconds, NULL));
}

static void on_reply(const json_t *result, const Error *error, void *data) {
    World *world = data;
    world->is_answered = true;
    g_assert_null(result);
    error_clear(&world->why);
    error_copy(&world->why, error);
}

static void test_who_is_not_expected_is_not_let_in(World *world, const void *data G_GNUC_UNUSED) {
    connect_to(world, remote_key(world->b.agent->remote));
    g_assert_true(world->is_closed);
    expect_a(world, 60);
    connect_to(world, remote_key(world->b.agent->remote));
    g_assert_true(world->is_ready);
    expect_a(world, 0);
    connect_to(world, remote_key(world->b.agent->remote));
    g_assert_true(world->is_closed);
}

static void test_who_shows_another_key_is_told_nothing(World *world, const void *data G_GNUC_UNUSED) {
    expect_a(world, 60);
    connect_to(world, "sha256:00");
    g_assert_true(world->is_closed);
    g_assert_nonnull(strstr(world->why.message, "another key"));
}

/* It is the owner's host, not the owner. */
static void test_a_peer_commands_nothing(World *world, const void *data G_GNUC_UNUSED) {
    static const char *const refused[] = {"inventory", "vm.kill", "host.release", "enrol.code", "own"};
    expect_a(world, 60);
    connect_to(world, remote_key(world->b.agent->remote));
    const RpcContext context = {.owner = OWNER, .epoch = 1, .operation = "x"};
    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        world->is_answered = false;
        rpc_call(peer_link_connection(world->link), refused[i],
            json_pack("{ss ss si}", "manager", OWNER, "id", OWNER, "epoch", 7), &context, 5000, on_reply,
            NULL, world);
        WAIT_FOR(world->is_answered);
        g_assert_true(error_is_set(&world->why));
    }
    g_assert_cmpint(journal_epoch(world->b.agent->journal), ==, 1);
}

static void serve_stream(
    RpcStream *take_stream, const char *purpose, const char *object G_GNUC_UNUSED, void *data) {
    g_assert_cmpstr(purpose, ==, "test");
    ((World *)data)->served = take_stream;
}

static void on_opened(RpcStream *take_stream, const Error *error, void *data) {
    World *world = data;
    world->is_answered = true;
    world->opened = take_stream;
    error_clear(&world->why);
    if (error)
        error_copy(&world->why, error);
}

static void open_stream(World *world, const char *ticket) {
    world->is_answered = false;
    peer_link_stream(world->link, ticket, on_opened, world);
    WAIT_FOR(world->is_answered);
}

static void test_streams_outlive_their_link(World *world, const void *data G_GNUC_UNUSED) {
    expect_a(world, 60);
    connect_to(world, remote_key(world->b.agent->remote));
    open_stream(world, "wrong");
    g_assert_null(world->opened);
    g_autofree char *ticket =
        rpc_ticket_issue(world->b.agent->tickets, "test", "1", 60000, serve_stream, world, NULL, NULL);
    open_stream(world, ticket);
    g_assert_nonnull(world->opened);
    WAIT_FOR(world->served);
    g_clear_pointer(&world->link, peer_link_free);
    expect_a(world, 0);
    char text[8] = "";
    size_t n = 0;
    g_assert_cmpint(rpc_stream_write(world->opened, "hello", 5, &n, NULL), ==, RPC_IO_DONE);
    while (rpc_stream_read(world->served, text, sizeof text, &n, NULL) == RPC_IO_AGAIN)
        g_usleep(1000);
    g_assert_cmpuint(n, ==, 5);
    g_assert_true(memcmp(text, "hello", 5) == 0);
}

/* b expects a migration from a, whose kernel is to lie at a path, and whose memory at another one. */
static void expect_migration(World *world, const char *kernel, const char *memory) {
    bool is_durable = false;
    expect_a(world, 60);
    journal_migration_put(world->b.agent->journal, OWNER,
        json_pack("{ss ss ss ss ss}", "role", "target", "peer", journal_host(world->a.agent->journal), "vm",
            OWNER, "kernel", kernel, "memory", memory),
        owned, &is_durable);
    WAIT_FOR(is_durable);
    connect_to(world, remote_key(world->b.agent->remote));
}

static void on_answer(const json_t *result, const Error *error, void *data) {
    World *world = data;
    world->is_answered = true;
    json_decref(world->answer);
    world->answer = json_deep_copy(result);
    error_clear(&world->why);
    error_copy(&world->why, error);
}

static void ask(World *world, const char *method, json_t *take_parameters) {
    json_object_update_missing_new(take_parameters, json_pack("{ss ss}", "migration", OWNER, "vm", OWNER));
    world->is_answered = false;
    rpc_call(peer_link_connection(world->link), method, take_parameters, NULL, 5000, on_answer, NULL, world);
    WAIT_FOR(world->is_answered);
}

static void give(World *world, const char *text, int64_t offset, const char *sum_of) {
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, sum_of, -1);
    g_autofree char *data = g_base64_encode((const guchar *)text, strlen(text));
    ask(world, "migration.give",
        json_pack("{ss sI sI ss ss}", "file", "kernel", "size", (json_int_t)strlen(sum_of), "offset",
            (json_int_t)offset, "sha256", sum, "data", data));
}

static void test_a_kernel_is_believed_by_its_sum(World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *path = g_build_filename(world->folder, "new", "kernel", NULL), *content = NULL;
    expect_migration(world, path, "/");
    give(world, "worse!", 0, "kernel");
    g_assert_cmpint(world->why.code, ==, ERROR_CORRUPT);
    g_assert_cmpint(access(path, F_OK), <, 0);
    give(world, "nel", 3, "kernel"); /* not in order */
    g_assert_cmpint(world->why.code, ==, ERROR_CONFLICT);
    give(world, "ker", 0, "kernel");
    g_assert_false(json_is_true(json_object_get(world->answer, "complete")));
    give(world, "nel", 3, "kernel");
    g_assert_true(json_is_true(json_object_get(world->answer, "complete")));
    g_assert_true(file_read(path, 100, &content, NULL, NULL));
    g_assert_cmpstr(content, ==, "kernel");
}

static void test_a_link_leads_nowhere(World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *path = g_build_filename(world->folder, "memory", NULL);
    char byte;
    size_t n = 0;
    RpcIo io;
    g_assert_cmpint(symlink(world->b.socket, path), ==, 0); /* where root would be believed */
    expect_migration(world, path, path);
    ask(world, "migration.stream", json_pack("{ss}", "channel", "memory"));
    open_stream(world, json_string_value(json_object_get(world->answer, "ticket")));
    g_assert_nonnull(world->opened);
    while ((io = rpc_stream_read(world->opened, &byte, 1, &n, NULL)) == RPC_IO_AGAIN)
        g_main_context_iteration(NULL, FALSE);
    g_assert_true(io == RPC_IO_END || io == RPC_IO_FAILED);
    ask(world, "migration.stream", json_pack("{ss}", "channel", "disks"));
    g_assert_cmpint(world->why.code, ==, ERROR_UNSUPPORTED);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    log_init("test-peer", LOG_LEVEL_WARNING);
#define TEST(name, function) g_test_add("/peer/" name, World, NULL, set_up, function, tear_down)
    TEST("not-expected", test_who_is_not_expected_is_not_let_in);
    TEST("another-key", test_who_shows_another_key_is_told_nothing);
    TEST("commands-nothing", test_a_peer_commands_nothing);
    TEST("kernel", test_a_kernel_is_believed_by_its_sum);
    TEST("link", test_a_link_leads_nowhere);
    TEST("streams", test_streams_outlive_their_link);
    return g_test_run();
}
