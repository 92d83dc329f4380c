/* A VM is listed where it runs or may be started, once, or not at all. */
#include <glib.h>
#include <string.h>
#include "engine/rebuild-place.h"

static bool is_known(const char *host_id, void *data) {
    return !data || strcmp(host_id, data) != 0; /* all but that one */
}

static void check(PlaceFound found, const char *missing, const char *expected) {
    const char *host = "untouched";
    g_auto(Error) err = {0};
    bool is_decided = rebuild_place(&found, is_known, (void *)missing, &host, &err);
    if (g_strcmp0(expected, "?") == 0) {
        g_assert_false(is_decided);
        g_assert_cmpint(err.code, ==, ERROR_CONFLICT);
        return;
    }
    g_assert_true(is_decided);
    g_assert_cmpstr(host, ==, expected);
}

static void test_without_a_move(void) {
    check((PlaceFound){.here = "a", .named = "a"}, NULL, "a");
    check((PlaceFound){.here = "a"}, NULL, "a");
    check((PlaceFound){.here = "a", .named = "b"}, NULL, "?");
    check((PlaceFound){.here = "a", .named = "b", .is_shared = true}, NULL, "b");
    check((PlaceFound){.here = "a", .named = "b", .is_shared = true}, "b", "?");
    check((PlaceFound){.here = "a", .is_shared = true}, NULL, "?");
}

static void test_the_source_decides(void) {
    const PlaceMove gone = {.from = "a", .to = "b", .has_left = true}, stays = {.from = "a", .to = "b"};
    for (int shared = 0; shared < 2; shared++) {
        const char *at_source = shared ? "b" : NULL, *stayed = shared ? "a" : NULL;
        check((PlaceFound){.here = "a", .named = "a", .is_shared = shared, .move = gone}, NULL, at_source);
        check((PlaceFound){.here = "b", .named = "a", .is_shared = shared, .move = gone}, NULL, "b");
        check((PlaceFound){.here = "b", .named = "b", .is_shared = shared, .move = gone}, NULL, "b");
        check((PlaceFound){.here = "a", .named = "a", .is_shared = shared, .move = stays}, NULL, "a");
        check((PlaceFound){.here = "b", .named = "a", .is_shared = shared, .move = stays}, NULL, stayed);
        check((PlaceFound){.here = "a", .named = "a", .is_shared = shared, .move = gone}, "b", "?");
    }
}

/* It went on to a third host, and the record of its first move stayed. */
static void test_an_old_record_is_no_news(void) {
    const PlaceMove old = {.from = "a", .to = "b", .has_left = true};
    for (int shared = 0; shared < 2; shared++) {
        check((PlaceFound){.here = "c", .named = "c", .is_shared = shared, .move = old}, NULL, "c");
        check((PlaceFound){.here = "a", .named = "a", .is_shared = shared, .move = old}, NULL,
            shared ? "b" : NULL);
    }
}

static void test_what_is_under_way_is_left_alone(void) {
    const PlaceMove moves = {.from = "a", .to = "b", .is_working = true};
    for (int shared = 0; shared < 2; shared++) {
        check((PlaceFound){.here = "a", .named = "a", .is_shared = shared, .move = moves}, NULL, "?");
        check((PlaceFound){.here = "b", .named = "a", .is_shared = shared, .move = moves}, NULL, "?");
    }
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rebuild-place/plain", test_without_a_move);
    g_test_add_func("/rebuild-place/source", test_the_source_decides);
    g_test_add_func("/rebuild-place/old-record", test_an_old_record_is_no_news);
    g_test_add_func("/rebuild-place/under-way", test_what_is_under_way_is_left_alone);
    return g_test_run();
}
