/* Two sides of a connection: who is believed, who is not, and that bytes and ends arrive as they were sent.
 */
#include "tls/tls-session.h"
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/file.h"
#include "tls/tls-identity.h"
#include "tls/tls-internal.h"

#define START_S INT64_C(1800000000)

typedef struct Party {
    TlsIdentity identity;
    const char *authority_pem; /* whom it believes */
    bool (*check)(const TlsShown *shown, void *data, Error *err);
    TlsSession *session;
    Error err;
    TlsIo state;
    char seen[128]; /* by note_shown */
} Party;

typedef struct World {
    FakeClock clock;
    TlsIdentity authority, other_authority;
    Party client, server;
} World;

static void make(
    World *world, const TlsIdentity *authority, const char *name, TlsRole role, TlsIdentity *ret_identity) {
    const char *const names[] = {name, NULL};
    g_assert_true(
        tls_certificate_make(authority, "test", names, role, &world->clock.clock, ret_identity, NULL));
}

static void set_up(World *world, const void *data G_GNUC_UNUSED) {
    fake_clock_init(&world->clock, START_S * NS_PER_S);
    g_assert_true(tls_authority_make("Lodge", &world->clock.clock, &world->authority, NULL));
    g_assert_true(tls_authority_make("Other", &world->clock.clock, &world->other_authority, NULL));
    make(world, &world->authority, "lodge:manager:one", TLS_ROLE_CLIENT, &world->client.identity);
    make(world, &world->authority, "lodge:host:one", TLS_ROLE_SERVER, &world->server.identity);
    world->client.authority_pem = world->server.authority_pem = world->authority.certificate_pem;
}

static void party_end(Party *party) {
    g_clear_pointer(&party->session, tls_session_free);
    error_clear(&party->err);
    tls_identity_clear(&party->identity);
}

static void tear_down(World *world, const void *data G_GNUC_UNUSED) {
    party_end(&world->client);
    party_end(&world->server);
    tls_identity_clear(&world->authority);
    tls_identity_clear(&world->other_authority);
}

static void begin(World *world, Party *party, TlsSide side, int take_fd) {
    const TlsCredentialsOptions options = {.certificate_pem = party->identity.certificate_pem,
        .key_pem = party->identity.key_pem,
        .authority_pem = party->authority_pem,
        .protocol = "lodge-agent/1",
        .priority = TLS_PRIORITY_1_3};
    g_autoptr(TlsCredentials) credentials = tls_credentials_new(&options, NULL);
    g_assert_nonnull(credentials);
    const TlsSessionOptions session = {.credentials = credentials,
        .side = side,
        .clock = &world->clock.clock,
        .check = party->check,
        .data = party};
    party->session = tls_session_new(&session, take_fd, NULL);
    g_assert_nonnull(party->session);
}

static void connect_parties(World *world) {
    int fds[2];
    const int size = 4096; /* so that records do not fit at once */
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), ==, 0);
    for (int i = 0; i < 2; i++)
        setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    begin(world, &world->client, TLS_SIDE_CLIENT, fds[0]);
    begin(world, &world->server, TLS_SIDE_SERVER, fds[1]);
}

static void poke(Party *party) {
    char byte;
    size_t n = 0;
    if (party->state == TLS_IO_FAILED)
        return;
    party->state = tls_session_read(party->session, &byte, 1, &n, &party->err);
}

/* Until nothing moves any more. */
static void shake_hands(World *world) {
    for (int i = 0; i < 20; i++) {
        poke(&world->client);
        poke(&world->server);
    }
}

static void test_both_are_believed_and_bound(World *world, const void *data G_GNUC_UNUSED) {
    uint8_t one[TLS_BINDING_BYTES], two[TLS_BINDING_BYTES];
    connect_parties(world);
    shake_hands(world);
    g_assert_true(tls_session_is_ready(world->client.session) && tls_session_is_ready(world->server.session));
    g_assert_true(tls_session_binding(world->client.session, one, NULL));
    g_assert_true(tls_session_binding(world->server.session, two, NULL));
    g_assert_cmpint(memcmp(one, two, sizeof one), ==, 0);
    tls_session_free(world->client.session);
    tls_session_free(world->server.session);
    connect_parties(world);
    shake_hands(world);
    g_assert_true(tls_session_binding(world->client.session, two, NULL));
    g_assert_cmpint(memcmp(one, two, sizeof one), !=, 0);
}

static bool note_shown(const TlsShown *shown, void *data, Error *err G_GNUC_UNUSED) {
    Party *party = data;
    g_snprintf(party->seen, sizeof party->seen, "%s %s %s", shown->names[0] ? shown->names[0] : "-",
        shown->is_trusted ? "trusted" : "strange", shown->key_fingerprint ? "key" : "-");
    return true;
}

static void test_names_and_keys_are_shown(World *world, const void *data G_GNUC_UNUSED) {
    world->client.check = world->server.check = note_shown;
    world->client.authority_pem = NULL;
    connect_parties(world);
    shake_hands(world);
    g_assert_cmpstr(world->client.seen, ==, "lodge:host:one strange key");
    g_assert_cmpstr(world->server.seen, ==, "lodge:manager:one trusted key");
}

static char *shown_certificate; /* by keep_certificate */

static bool keep_certificate(const TlsShown *shown, void *data G_GNUC_UNUSED, Error *err G_GNUC_UNUSED) {
    shown_certificate = g_strdup(shown->certificate_pem);
    return true;
}

/* As a host gets into a data centre: it shows a key of its own, and gets a certificate for it. */
static void test_a_shown_key_gets_a_certificate(World *world, const void *data G_GNUC_UNUSED) {
    static const char *const names[] = {"lodge:host:new", NULL};
    const TlsSubject subject = {"new", names, TLS_ROLE_SERVER};
    char *signed_pem = NULL;
    tls_identity_clear(&world->server.identity);
    g_assert_true(tls_identity_make_own(&subject, &world->clock.clock, &world->server.identity, NULL));
    world->client.check = keep_certificate;
    connect_parties(world);
    shake_hands(world);
    g_assert_true(tls_certificate_sign(
        &world->authority, shown_certificate, &subject, &world->clock.clock, &signed_pem, NULL));
    g_clear_pointer(&shown_certificate, g_free);
    g_free(world->server.identity.certificate_pem);
    world->server.identity.certificate_pem = signed_pem;
    tls_session_free(world->client.session);
    tls_session_free(world->server.session);
    world->client.check = note_shown;
    connect_parties(world);
    shake_hands(world);
    g_assert_cmpstr(world->client.seen, ==, "lodge:host:new trusted key");
}

static size_t count_names(const World *world, const char *const *uris) {
    char names[TLS_MOST_NAMES][TLS_NAME_BYTES];
    g_auto(TlsIdentity) identity = {0};
    gnutls_x509_crt_t certificate;
    g_assert_true(tls_certificate_make(
        &world->authority, "test", uris, TLS_ROLE_SERVER, &world->clock.clock, &identity, NULL));
    const gnutls_datum_t pem = tls_text_datum(identity.certificate_pem);
    g_assert_cmpint(gnutls_x509_crt_init(&certificate), ==, 0);
    g_assert_cmpint(gnutls_x509_crt_import(certificate, &pem, GNUTLS_X509_FMT_PEM), ==, 0);
    size_t n = tls_names_of(certificate, names, TLS_MOST_NAMES);
    gnutls_x509_crt_deinit(certificate);
    return n;
}

/* Beside a server's own localhost and its addresses. */
static void test_odd_names_are_left_out(World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *many = g_strnfill(TLS_NAME_BYTES, 'x'), *too_long = g_strconcat("lodge:", many, NULL);
    const char *const odd[] = {"host.example", too_long, "lodge:host:two", NULL};
    const char *const nine[] = {"lodge:1", "lodge:2", "lodge:3", "lodge:4", "lodge:5", "lodge:6", "lodge:7",
        "lodge:8", "lodge:9", NULL};
    g_assert_cmpuint(count_names(world, odd), ==, 1);
    g_assert_cmpuint(count_names(world, nine), ==, TLS_MOST_NAMES);
}

/* The one who refuses says why, the other one hears that it is refused. */
static void expect_refusal(World *world, Party *who, const char *words) {
    Party *other = who == &world->server ? &world->client : &world->server;
    connect_parties(world);
    shake_hands(world);
    g_assert_cmpint(who->state, ==, TLS_IO_FAILED);
    g_assert_cmpint(who->err.code, ==, ERROR_DENIED);
    g_test_message("%s / %s", who->err.message, other->err.message);
    g_assert_nonnull(strstr(who->err.message, words));
    g_assert_cmpint(other->state, ==, TLS_IO_FAILED);
    g_assert_cmpint(other->err.code, ==, ERROR_DENIED);
}

static void test_another_authority_is_refused(World *world, const void *data G_GNUC_UNUSED) {
    tls_identity_clear(&world->client.identity);
    make(world, &world->other_authority, "lodge:manager:one", TLS_ROLE_CLIENT, &world->client.identity);
    expect_refusal(world, &world->server, "authority");
}

static void test_a_host_of_another_authority_is_refused(World *world, const void *data G_GNUC_UNUSED) {
    tls_identity_clear(&world->server.identity);
    make(world, &world->other_authority, "lodge:host:one", TLS_ROLE_SERVER, &world->server.identity);
    expect_refusal(world, &world->client, "authority");
}

static void test_a_host_cannot_pass_as_manager(World *world, const void *data G_GNUC_UNUSED) {
    tls_identity_clear(&world->client.identity);
    make(world, &world->authority, "lodge:host:two", TLS_ROLE_SERVER, &world->client.identity);
    expect_refusal(world, &world->server, "role");
}

static void test_an_expired_certificate_is_refused(World *world, const void *data G_GNUC_UNUSED) {
    fake_clock_advance(&world->clock, (int64_t)(TLS_CERTIFICATE_DAYS + 1) * 86400 * NS_PER_S);
    tls_identity_clear(&world->client.identity);
    make(world, &world->authority, "lodge:manager:one", TLS_ROLE_CLIENT, &world->client.identity);
    expect_refusal(world, &world->client, "expired"); /* the host's */
}

static void test_a_clock_that_is_behind_is_borne_with(World *world, const void *data G_GNUC_UNUSED) {
    fake_clock_advance(&world->clock, INT64_C(-20) * 3600 * NS_PER_S);
    connect_parties(world);
    shake_hands(world);
    g_assert_true(tls_session_is_ready(world->client.session) && tls_session_is_ready(world->server.session));
    tls_session_free(world->client.session);
    tls_session_free(world->server.session);
    fake_clock_advance(&world->clock, INT64_C(-6) * 3600 * NS_PER_S);
    expect_refusal(world, &world->client, "clock");
}

static void test_who_speaks_no_tls_is_told(World *world, const void *data G_GNUC_UNUSED) {
    int fds[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), ==, 0);
    fd_auto int stranger = fds[0];
    begin(world, &world->server, TLS_SIDE_SERVER, fds[1]);
    static const char text[] = "GET / HTTP/1.1\r\n\r\n";
    g_assert_cmpint(write(stranger, text, sizeof text - 1), ==, (ssize_t)sizeof text - 1);
    poke(&world->server);
    g_assert_cmpint(world->server.err.code, ==, ERROR_PROTOCOL);
}

/* Offers the same bytes again whenever not all were taken, as the agent protocol does. */
static void test_bytes_arrive_whole_through_a_narrow_socket(World *world, const void *data G_GNUC_UNUSED) {
    enum { LENGTH = 1 << 20 };
    g_autofree uint8_t *sent = g_malloc(LENGTH), *got = g_malloc(LENGTH);
    size_t written = 0, received = 0, n = 0;
    g_auto(Error) err = {0};
    for (size_t i = 0; i < LENGTH; i++)
        sent[i] = (uint8_t)g_random_int();
    connect_parties(world);
    shake_hands(world);
    while (received < LENGTH) {
        TlsIo out = tls_session_write(world->client.session, sent + written, LENGTH - written, &n, &err);
        written += out == TLS_IO_DONE ? n : 0;
        TlsIo in = tls_session_read(world->server.session, got + received, LENGTH - received, &n, &err);
        received += in == TLS_IO_DONE ? n : 0;
        g_assert_cmpstr(err.message, ==, NULL);
    }
    g_assert_cmpint(memcmp(sent, got, LENGTH), ==, 0);
}

static void test_an_end_without_farewell_is_no_end(World *world, const void *data G_GNUC_UNUSED) {
    connect_parties(world);
    shake_hands(world);
    tls_session_shut_write(world->client.session);
    poke(&world->server);
    g_assert_cmpint(world->server.state, ==, TLS_IO_END);
    g_clear_pointer(&world->server.session, tls_session_free); /* says nothing */
    poke(&world->client);
    g_assert_cmpint(world->client.state, ==, TLS_IO_FAILED);
    g_assert_cmpint(world->client.err.code, ==, ERROR_UNREACHABLE);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function) g_test_add("/tls-session/" name, World, NULL, set_up, function, tear_down)
    ADD("both-are-believed", test_both_are_believed_and_bound);
    ADD("shown", test_names_and_keys_are_shown);
    ADD("odd-names", test_odd_names_are_left_out);
    ADD("signed", test_a_shown_key_gets_a_certificate);
    ADD("another-authority", test_another_authority_is_refused);
    ADD("host-of-another-authority", test_a_host_of_another_authority_is_refused);
    ADD("role", test_a_host_cannot_pass_as_manager);
    ADD("expired", test_an_expired_certificate_is_refused);
    ADD("clock-behind", test_a_clock_that_is_behind_is_borne_with);
    ADD("no-tls", test_who_speaks_no_tls_is_told);
    ADD("narrow-socket", test_bytes_arrive_whole_through_a_narrow_socket);
    ADD("farewell", test_an_end_without_farewell_is_no_end);
    return g_test_run();
}
