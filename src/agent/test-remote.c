/* Whom an agent lets in over the network, and what its one-time code is worth: on a clock that only moves
 * when told. */
#include <string.h>
#include "agent/remote.h"
#include "base/file.h"
#include "tls/tls-identity.h"

#define OWNER "11111111-1111-4111-8111-111111111111"
#define STRANGER "22222222-2222-4222-8222-222222222222"

typedef struct World {
    char *folder, *secret_path;
    FakeClock clock;
    Journal *journal;
    Remote *remote;
    TlsIdentity authority;
    bool is_owned;
} World;

static void owned(int64_t revision G_GNUC_UNUSED, const Error *err, void *data) {
    g_assert_null(err);
    ((World *)data)->is_owned = true;
}

static void own(World *world) {
    g_assert_true(remote_write_authority(world->remote, OWNER, world->authority.certificate_pem, NULL));
    journal_own(world->journal, OWNER, 1, owned, world);
    while (!world->is_owned)
        g_main_context_iteration(NULL, TRUE);
    g_assert_true(remote_reload(world->remote, NULL));
}

static RemoteOptions options_of(World *world) {
    return (RemoteOptions){.state_folder = world->folder,
        .secret_path = world->secret_path,
        .journal = world->journal,
        .clock = &world->clock.clock};
}

static void open_remote(World *world) {
    const RemoteOptions options = options_of(world);
    world->remote = remote_new(&options, NULL);
    g_assert_nonnull(world->remote);
}

static void set_up(World *world, const void *data G_GNUC_UNUSED) {
    fake_clock_init(&world->clock, INT64_C(1800000000) * NS_PER_S);
    world->folder = g_dir_make_tmp("lodge-remote-XXXXXX", NULL);
    world->secret_path = g_build_filename(world->folder, "secret", NULL);
    g_autofree char *path = g_build_filename(world->folder, "journal.sqlite", NULL);
    world->journal = journal_open(path, NULL);
    g_assert_nonnull(world->journal);
    g_assert_true(tls_authority_make("Lodge", &world->clock.clock, &world->authority, NULL));
    open_remote(world);
}

static void tear_down(World *world, const void *data G_GNUC_UNUSED) {
    remote_free(world->remote);
    journal_close(world->journal);
    tls_identity_clear(&world->authority);
    tree_remove(world->folder, NULL);
    g_free(world->secret_path);
    g_free(world->folder);
}

static bool lets_in(World *world, const char *name, bool is_trusted, bool has_key) {
    const TlsShown shown = {.certificate_pem = has_key ? "" : NULL,
        .key_fingerprint = has_key ? "sha256:01" : NULL,
        .names = {name},
        .is_trusted = is_trusted,
        .flaw = is_trusted ? NULL : "it is unknown"};
    g_auto(Error) err = {0};
    return remote_check(&shown, world->remote, &err);
}

#define MANAGER(uuid) "lodge:manager:" uuid

static void test_who_is_let_in(World *world, const void *data G_GNUC_UNUSED) {
    g_assert_true(lets_in(world, NULL, false, true)); /* it is free: to prove a code */
    g_assert_false(lets_in(world, NULL, false, false));
    own(world);
    g_assert_true(lets_in(world, MANAGER(OWNER), true, true));
    g_assert_false(lets_in(world, MANAGER(OWNER), false, true));
    g_assert_false(lets_in(world, MANAGER(STRANGER), true, true));
    g_assert_false(lets_in(world, "lodge:host:" OWNER, true, true)); /* another host of the same owner */
    g_assert_false(lets_in(world, NULL, false, true));
    remote_code_make(world->remote); /* its root wants it to be taken again */
    g_assert_true(lets_in(world, NULL, false, true));
    fake_clock_advance(&world->clock, REMOTE_CODE_S * NS_PER_S);
    g_assert_false(lets_in(world, NULL, false, true));
}

static void test_another_host_that_is_expected(World *world, const void *data G_GNUC_UNUSED) {
    const char *name = "lodge:host:" STRANGER;
    g_assert_true(remote_expect(world->remote, STRANGER, "sha256:01", 60, NULL));
    own(world);
    g_assert_true(lets_in(world, name, true, true));
    g_assert_false(lets_in(world, name, false, true)); /* signed by somebody else */
    g_assert_false(lets_in(world, "lodge:host:" OWNER, true, true));
    g_assert_true(remote_expect(world->remote, STRANGER, "sha256:02", 60, NULL)); /* it has another key */
    g_assert_false(lets_in(world, name, true, true));
    g_assert_true(remote_expect(world->remote, STRANGER, "sha256:01", 60, NULL));
    g_assert_true(lets_in(world, name, true, true));
    fake_clock_advance(&world->clock, 60 * NS_PER_S);
    g_assert_false(lets_in(world, name, true, true));
    g_assert_true(remote_expect(world->remote, STRANGER, "sha256:01", 60, NULL));
    g_assert_true(remote_expect(world->remote, STRANGER, "sha256:01", 0, NULL)); /* no more */
    g_assert_false(lets_in(world, name, true, true));
    for (int i = 0; i < REMOTE_PEERS_LIMIT; i++) {
        g_autofree char *id = g_strdup_printf("host-%d", i);
        g_assert_true(remote_expect(world->remote, id, "sha256:03", 60, NULL));
    }
    g_assert_false(remote_expect(world->remote, STRANGER, "sha256:01", 60, NULL));
    fake_clock_advance(&world->clock, 60 * NS_PER_S); /* those are over */
    g_assert_true(remote_expect(world->remote, STRANGER, "sha256:01", 60, NULL));
}

static bool try_code(World *world, const char *manager) {
    g_auto(RemoteCodes) codes = {0};
    g_auto(Error) err = {0};
    bool is_open = remote_try(world->remote, manager, &codes, &err);
    g_assert_true(is_open == (codes.code || codes.secret));
    g_assert_true(is_open || err.code == ERROR_DENIED);
    return is_open;
}

static void test_what_a_code_is_worth(World *world, const void *data G_GNUC_UNUSED) {
    g_assert_false(try_code(world, OWNER));
    g_autofree char *first = g_strdup(remote_code_make(world->remote));
    for (int i = 0; i < REMOTE_TRIES; i++)
        g_assert_true(try_code(world, STRANGER));
    g_assert_false(try_code(world, OWNER));
    g_assert_cmpstr(remote_code_make(world->remote), !=, first);
    g_assert_true(try_code(world, OWNER));
    remote_tried_well(world->remote, OWNER);
    g_assert_false(try_code(world, STRANGER)); /* it was used */
    g_assert_true(try_code(world, OWNER));     /* the answer was lost */
    fake_clock_advance(&world->clock, REMOTE_CODE_S * NS_PER_S);
    g_assert_false(try_code(world, OWNER));
}

static void write_secret(World *world, const char *text) {
    g_assert_true(file_replace(world->secret_path, text, strlen(text), 0600, NULL));
}

static void test_what_a_secret_is_worth(World *world, const void *data G_GNUC_UNUSED) {
    g_auto(RemoteCodes) codes = {0};
    g_auto(Error) err = {0};
    write_secret(world, "too short\n");
    g_assert_false(try_code(world, OWNER));
    write_secret(world, "a secret of a pool, long enough\n");
    g_assert_true(remote_try(world->remote, OWNER, &codes, NULL));
    g_assert_cmpstr(codes.secret, ==, "a secret of a pool, long enough");
    remote_codes_clear(&codes);
    g_assert_false(remote_try(world->remote, OWNER, &codes, &err));
    g_assert_cmpint(err.code, ==, ERROR_RATE_LIMITED);
    error_clear(&err);
    fake_clock_advance(&world->clock, REMOTE_SECRET_PAUSE_S * NS_PER_S);
    own(world);
    g_assert_false(try_code(world, STRANGER)); /* it has an owner */
    g_assert_true(try_code(world, OWNER));     /* whose answer was lost */
    g_assert_true(lets_in(world, MANAGER(OWNER), true, true));
    g_assert_false(lets_in(world, NULL, false, true));
}

static void test_the_key_stays(World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *key = g_strdup(remote_key(world->remote)), *certificate = NULL, *path = NULL;
    g_auto(TlsIdentity) other = {0}, own_identity = {0};
    g_auto(Error) err = {0};
    const TlsSubject subject = {.common_name = "host", .role = TLS_ROLE_BOTH};
    g_autofree char *folder = g_build_filename(world->folder, "tls", NULL);
    g_assert_true(tls_identity_load(folder, "host", &own_identity, NULL));
    g_assert_true(tls_certificate_sign(
        &world->authority, own_identity.certificate_pem, &subject, &world->clock.clock, &certificate, NULL));
    g_assert_true(remote_write_certificate(world->remote, certificate, NULL));
    g_assert_true(remote_reload(world->remote, NULL));
    g_assert_cmpstr(remote_key(world->remote), ==, key);
    g_assert_true(tls_identity_make_own(&subject, &world->clock.clock, &other, NULL));
    g_assert_false(remote_write_certificate(world->remote, other.certificate_pem, &err));
    g_assert_cmpstr(err.field, ==, "/certificate");
    error_clear(&err);
    g_assert_false(remote_write_certificate(world->remote, "no PEM", &err));
    error_clear(&err);
    remote_free(world->remote);
    open_remote(world);
    g_assert_cmpstr(remote_key(world->remote), ==, key);
    path = g_build_filename(folder, "host.key", NULL);
    g_assert_true(file_replace(path, "", 0, 0600, NULL)); /* damaged: no new key in its place */
    const RemoteOptions options = options_of(world);
    g_assert_null(remote_new(&options, &err));
    g_assert_cmpint(err.code, ==, ERROR_CORRUPT);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
#define TEST(name, function) g_test_add("/remote/" name, World, NULL, set_up, function, tear_down)
    TEST("let-in", test_who_is_let_in);
    TEST("expected", test_another_host_that_is_expected);
    TEST("code", test_what_a_code_is_worth);
    TEST("secret", test_what_a_secret_is_worth);
    TEST("key", test_the_key_stays);
    return g_test_run();
}
