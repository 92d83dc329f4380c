/* What request targets are accepted, and what they decode to. */
#include "http/http-target.h"

static void refuses(const char *text) {
    g_autoptr(HttpTarget) target = NULL;
    g_auto(Error) err = {0};
    g_assert_false(http_target_parse(text, &target, &err));
    g_assert_cmpint(err.code, ==, ERROR_INVALID);
    g_assert_null(target);
}

static void test_decodes_segments_and_parameters(void) {
    g_autoptr(HttpTarget) target = NULL;
    g_assert_true(http_target_parse("/v1/vms/a%20b%C3%A9?x=1&y=%26+z&x=2&flag", &target, NULL));
    g_assert_cmpuint(target->segments->len, ==, 3);
    g_assert_cmpstr(g_ptr_array_index(target->segments, 2), ==, "a bé");
    g_assert_cmpstr(target->path, ==, "/v1/vms/a bé");
    g_assert_cmpstr(http_target_parameter(target, "x"), ==, "1");
    g_assert_cmpstr(http_target_parameter(target, "y"), ==, "& z");
    g_assert_cmpstr(http_target_parameter(target, "flag"), ==, "");
    g_assert_null(http_target_parameter(target, "z"));
    g_assert_cmpuint(target->parameter_names->len, ==, 4);
}

static void test_root_has_no_segment(void) {
    g_autoptr(HttpTarget) target = NULL;
    g_assert_true(http_target_parse("/", &target, NULL));
    g_assert_cmpuint(target->segments->len, ==, 0);
    g_assert_cmpstr(target->path, ==, "/");
}

static void test_plus_in_a_path_stays(void) {
    g_autoptr(HttpTarget) target = NULL;
    g_assert_true(http_target_parse("/a+b", &target, NULL));
    g_assert_cmpstr(target->path, ==, "/a+b");
}

static void test_refuses_what_could_mean_another_path(void) {
    static const char *const bad[] = {"", "v1", "*", "//", "/a/", "/a//b", "/.", "/..", "/a/../b",
        "/%2e%2E/b", "/a%2Fb", "/a%00b", "/a%0ab", "/%", "/%4", "/%zz", "/%ff", "/%c0%af", "/a?%ff=1",
        "/a?b=%00", "/\x7f", "http://host/a"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        refuses(bad[i]);
}

static void test_limits_segments_and_parameters(void) {
    g_autoptr(GString) path = g_string_new(NULL), query = g_string_new("/a?");
    for (int i = 0; i <= HTTP_TARGET_SEGMENTS_MAX; i++)
        g_string_append(path, "/a");
    for (int i = 0; i <= HTTP_TARGET_PARAMETERS_MAX; i++)
        g_string_append(query, "a=1&");
    refuses(path->str);
    refuses(query->str);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/http-target/decodes-segments-and-parameters", test_decodes_segments_and_parameters);
    g_test_add_func("/http-target/root-has-no-segment", test_root_has_no_segment);
    g_test_add_func("/http-target/plus-in-a-path-stays", test_plus_in_a_path_stays);
    g_test_add_func(
        "/http-target/refuses-what-could-mean-another-path", test_refuses_what_could_mean_another_path);
    g_test_add_func("/http-target/limits-segments-and-parameters", test_limits_segments_and_parameters);
    return g_test_run();
}
