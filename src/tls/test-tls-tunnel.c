/* A tunnel between a TLS client and a plain socket: bytes, and what TLS says to itself between them. What
 * HTTP makes of it is tested in src/http. */
#include "tls/tls-tunnel.h"
#include <sys/socket.h>
#include <unistd.h>
#include "base/file.h"
#include "tls/tls-identity.h"
#include "tls/tls-internal.h"

enum { LONGEST_MS = 10000 };

typedef struct World {
    TlsIdentity authority, identity;
    TlsCredentials *credentials;
    TlsTunnels *set;
    TlsTunnel *tunnel;
    gnutls_session_t client;
    int client_fd, plain_fd;
    int gifts; /* turns that gave bytes to the plain side */
    bool is_over;
} World;

static void on_given(void *data) {
    ((World *)data)->gifts++;
}

static void on_end(void *data) {
    ((World *)data)->is_over = true;
}

static void turn(World *world, int64_t end_us) {
    g_assert_cmpint(g_get_monotonic_time(), <, end_us);
    g_assert_false(world->is_over);
    if (!g_main_context_iteration(NULL, FALSE))
        g_usleep(500);
}

static void shake_hands(World *world) {
    int64_t end_us = g_get_monotonic_time() + LONGEST_MS * 1000;
    int code;
    while ((code = gnutls_handshake(world->client)) == GNUTLS_E_AGAIN)
        turn(world, end_us);
    g_assert_cmpint(code, ==, GNUTLS_E_SUCCESS);
    for (int i = 0; i < 10; i++) /* the server's part of it */
        turn(world, end_us);
}

static void set_up(World *world, const void *data G_GNUC_UNUSED) {
    const char *const names[] = {"lodge:host:one", NULL};
    int fds[2];
    g_assert_true(tls_authority_make("Lodge", clock_system(), &world->authority, NULL));
    g_assert_true(tls_certificate_make(
        &world->authority, "test", names, TLS_ROLE_SERVER, clock_system(), &world->identity, NULL));
    const TlsCredentialsOptions options = {.certificate_pem = world->identity.certificate_pem,
        .key_pem = world->identity.key_pem,
        .authority_pem = world->authority.certificate_pem,
        .protocol = "test/1",
        .priority = TLS_PRIORITY_1_3};
    world->credentials = tls_credentials_new(&options, NULL);
    g_assert_nonnull(world->credentials);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), ==, 0);
    world->client_fd = fds[0];
    g_assert_cmpint(
        tls_session_start(world->credentials, GNUTLS_CLIENT, world->client_fd, &world->client), >=, 0);
    world->set = tls_tunnels_new(on_given, world);
    world->tunnel =
        tls_tunnel_new(world->set, world->credentials, fds[1], on_end, world, &world->plain_fd, NULL);
    g_assert_nonnull(world->tunnel);
    shake_hands(world);
}

static void tear_down(World *world, const void *data G_GNUC_UNUSED) {
    if (!world->is_over)
        tls_tunnel_free(world->tunnel);
    tls_tunnels_free(world->set);
    gnutls_deinit(world->client);
    fd_close(&world->client_fd);
    fd_close(&world->plain_fd);
    tls_credentials_unref(world->credentials);
    tls_identity_clear(&world->identity);
    tls_identity_clear(&world->authority);
}

static void say(World *world, const char *text) {
    g_assert_cmpint(gnutls_record_send(world->client, text, strlen(text)), ==, (int)strlen(text));
}

static void expect_plain(World *world, const char *text) {
    int64_t end_us = g_get_monotonic_time() + LONGEST_MS * 1000;
    char bytes[64] = "";
    ssize_t n;
    while ((n = recv(world->plain_fd, bytes, sizeof bytes - 1, MSG_DONTWAIT)) < 0)
        turn(world, end_us);
    g_assert_cmpint(n, ==, (ssize_t)strlen(text));
    g_assert_cmpstr(bytes, ==, text);
}

static void test_bytes_go_both_ways(World *world, const void *data G_GNUC_UNUSED) {
    int64_t end_us = g_get_monotonic_time() + LONGEST_MS * 1000;
    char bytes[64] = "";
    ssize_t n;
    say(world, "question");
    expect_plain(world, "question");
    g_assert_cmpint(world->gifts, ==, 1);
    g_assert_cmpint(send(world->plain_fd, "answer", 6, MSG_NOSIGNAL), ==, 6);
    while ((n = gnutls_record_recv(world->client, bytes, sizeof bytes - 1)) == GNUTLS_E_AGAIN)
        turn(world, end_us);
    g_assert_cmpint(n, ==, 6);
    g_assert_cmpstr(bytes, ==, "answer");
}

/* Both lie in the socket when the tunnel looks; the end of it comes behind them at once. */
static void test_what_follows_a_new_key_arrives(World *world, const void *data G_GNUC_UNUSED) {
    g_assert_cmpint(gnutls_session_key_update(world->client, 0), >=, 0);
    say(world, "one");
    expect_plain(world, "one");
    g_assert_cmpint(gnutls_session_key_update(world->client, GNUTLS_KU_PEER), >=, 0);
    say(world, "two");
    g_assert_cmpint(gnutls_bye(world->client, GNUTLS_SHUT_WR), ==, GNUTLS_E_SUCCESS);
    expect_plain(world, "two");
    expect_plain(world, "");
}

static void test_a_client_that_breaks_off_ends_it(World *world, const void *data G_GNUC_UNUSED) {
    int64_t end_us = g_get_monotonic_time() + LONGEST_MS * 1000;
    fd_close(&world->client_fd);
    while (!world->is_over) {
        g_assert_cmpint(g_get_monotonic_time(), <, end_us);
        g_main_context_iteration(NULL, FALSE);
    }
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
#define TEST(name, function) g_test_add("/tls/tunnel/" name, World, NULL, set_up, function, tear_down)
    TEST("both-ways", test_bytes_go_both_ways);
    TEST("new-key", test_what_follows_a_new_key_arrives);
    TEST("breaks-off", test_a_client_that_breaks_off_ends_it);
    return g_test_run();
}
