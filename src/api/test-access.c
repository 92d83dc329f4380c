/* Proves the parts that decide about people: peers, the throttle, passwords, and what a patch may touch. */
#include <string.h>
#include <unistd.h>
#include "api/access.h"
#include "api/password.h"
#include "api/reference.h"
#include "api/throttle.h"

static ErrorCode identify(bool is_unix, uid_t uid, Identity *ret_identity) {
    HttpPeer peer = {.is_unix = is_unix, .uid = uid};
    g_auto(Error) err = {0};
    access_identify(NULL, clock_system(), &peer, NULL, ret_identity, &err);
    return err.code;
}

static void test_root_on_the_socket_is_administrator(void) {
    g_auto(Identity) root = {0}, other = {0};
    g_assert_cmpint(identify(true, 0, &root), ==, ERROR_NONE);
    g_assert_cmpstr(root.name, ==, ACCESS_LOCAL_NAME);
    g_assert_true(access_permits_all(NULL, &root, "principal.manage"));
    g_assert_cmpint(identify(true, getuid() + 12345, &other), ==, ERROR_UNAUTHENTICATED);
    g_assert_cmpint(identify(false, 0, &other), ==, ERROR_UNAUTHENTICATED);
    g_assert_false(access_permits_all(NULL, &other, "vm.view"));
    g_assert_true(access_permits_all(NULL, &other, "anyone"));
}

static void test_the_delay_grows_and_is_forgotten(void) {
    FakeClock clock;
    fake_clock_init(&clock, 0);
    Throttle *throttle = throttle_new(&clock.clock);
    for (int i = 0; i < THROTTLE_FREE_ATTEMPTS; i++)
        g_assert_true(throttle_attempt(throttle, "a", NULL));
    g_assert_false(throttle_attempt(throttle, "a", NULL));
    g_assert_true(throttle_attempt(throttle, "b", NULL));
    for (int delay_s = 1; delay_s <= 32; delay_s *= 2) {
        fake_clock_advance(&clock, delay_s * NS_PER_S - 1);
        g_assert_false(throttle_attempt(throttle, "a", NULL));
        fake_clock_advance(&clock, 1);
        g_assert_true(throttle_attempt(throttle, "a", NULL));
    }
    fake_clock_advance(&clock, THROTTLE_FORGET_S * NS_PER_S);
    for (int i = 0; i < THROTTLE_FREE_ATTEMPTS; i++)
        g_assert_true(throttle_attempt(throttle, "a", NULL));
    throttle_free(throttle);
}

static void test_success_ends_the_delay(void) {
    FakeClock clock;
    fake_clock_init(&clock, 0);
    Throttle *throttle = throttle_new(&clock.clock);
    for (int i = 0; i < THROTTLE_FREE_ATTEMPTS; i++)
        throttle_attempt(throttle, "a", NULL);
    throttle_success(throttle, "a");
    g_assert_true(throttle_attempt(throttle, "a", NULL));
    throttle_free(throttle);
}

static void test_a_flood_of_names_stays_bounded(void) {
    FakeClock clock;
    fake_clock_init(&clock, 0);
    Throttle *throttle = throttle_new(&clock.clock);
    for (int i = 0; i < THROTTLE_MAX_KEYS; i++) {
        g_autofree char *key = g_strdup_printf("%d", i);
        g_assert_true(throttle_attempt(throttle, key, NULL));
    }
    g_assert_false(throttle_attempt(throttle, "one more", NULL));
    fake_clock_advance(&clock, THROTTLE_FORGET_S * NS_PER_S);
    g_assert_true(throttle_attempt(throttle, "one more", NULL));
    throttle_free(throttle);
}

static void test_only_the_right_password_matches(void) {
    g_autofree char *hash = NULL, *other = NULL;
    g_assert_true(password_hash("correct horse", &hash, NULL));
    g_assert_true(password_hash("correct horse", &other, NULL));
    g_assert_true(g_str_has_prefix(hash, "$y$"));
    g_assert_cmpstr(hash, !=, other);
    g_assert_true(password_matches("correct horse", hash));
    g_assert_false(password_matches("correct hors", hash));
    g_assert_false(password_matches("correct horse", NULL));
    g_assert_false(password_matches("", "*"));
}

static void test_an_unknown_name_costs_a_real_hash(void) {
    g_autofree char *hash = NULL;
    g_assert_true(password_hash("x", &hash, NULL));
    gint64 begun = g_get_monotonic_time();
    password_matches("y", hash);
    gint64 known = g_get_monotonic_time() - begun;
    begun = g_get_monotonic_time();
    password_matches("y", NULL);
    g_assert_cmpint(g_get_monotonic_time() - begun, >, known / 10);
}

static json_t *json(const char *text) {
    json_t *value = json_parse(text, strlen(text), NULL);
    g_assert_nonnull(value);
    return value;
}

static char *disk_of_size(int size) {
    return g_strdup_printf(
        "\"disks\":[{\"id\":\"0f9b8a6e-0000-4000-8000-000000000001\",\"name\":\"disk0\",\"size\":%d}]", size);
}

static void test_what_is_only_repeated_may_stand_in_a_patch(void) {
    g_autofree char *old_disk = disk_of_size(1024), *new_disk = disk_of_size(2048);
    g_autofree char *now_text =
        g_strdup_printf("{\"id\":\"1\",\"name\":\"web\",\"status\":{\"state\":\"running\"},%s}", old_disk);
    g_autofree char *patch_text =
        g_strdup_printf("{\"id\":\"1\",\"vcpus\":2,\"status\":{\"state\":\"stopped\"},%s}", new_disk);
    g_autoptr(json_t) now = json(now_text);
    g_autoptr(json_t) patch = json(patch_text);
    g_assert_false(patch_check(&vm_type, patch, NULL));
    patch_drop_repeated(&vm_type, patch, now);
    g_auto(Error) err = {0};
    patch_check(&vm_type, patch, &err);
    g_assert_cmpstr(err.message, ==, NULL);
    g_assert_cmpint(json_integer_value(json_at(patch, "disks.0.size")), ==, 2048);
}

static void test_a_patch_cannot_touch_what_lodge_sets(void) {
    static const char *const patches[] = {"{\"id\":\"2\"}", "{\"id\":null}", "{\"name\":null}",
        "{\"pool\":null}", "{\"host\":\"x\"}", "{\"revision\":7}",
        "{\"disks\":[{\"id\":\"0f9b8a6e-0000-4000-8000-000000000002\"}]}"};
    g_autoptr(json_t) now =
        json("{\"id\":\"1\",\"name\":\"web\",\"pool\":\"p\",\"revision\":3,\"disks\":[]}");
    for (size_t i = 0; i < G_N_ELEMENTS(patches); i++) {
        g_autoptr(json_t) patch = json(patches[i]);
        g_auto(Error) err = {0};
        patch_drop_repeated(&vm_type, patch, now);
        g_test_message("%s", patches[i]);
        g_assert_false(patch_check(&vm_type, patch, &err));
        g_assert_cmpint(err.code, ==, ERROR_INVALID);
    }
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/access/root-on-the-socket-is-administrator", test_root_on_the_socket_is_administrator);
    g_test_add_func("/access/the-delay-grows-and-is-forgotten", test_the_delay_grows_and_is_forgotten);
    g_test_add_func("/access/success-ends-the-delay", test_success_ends_the_delay);
    g_test_add_func("/access/a-flood-of-names-stays-bounded", test_a_flood_of_names_stays_bounded);
    g_test_add_func("/access/only-the-right-password-matches", test_only_the_right_password_matches);
    g_test_add_func("/access/an-unknown-name-costs-a-real-hash", test_an_unknown_name_costs_a_real_hash);
    g_test_add_func("/access/what-is-only-repeated-may-stand-in-a-patch",
        test_what_is_only_repeated_may_stand_in_a_patch);
    g_test_add_func(
        "/access/a-patch-cannot-touch-what-lodge-sets", test_a_patch_cannot_touch_what_lodge_sets);
    return g_test_run();
}
