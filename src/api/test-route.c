/* Proves that paths of the schema find their method, and what a wrong one answers. */
#include "api/route.h"

static bool find(const char *http, const char *path, Route *ret_route, HttpTarget **ret_target,
    char **ret_allowed, Error *err) {
    g_assert_true(http_target_parse(path, ret_target, NULL));
    return route_find(http, *ret_target, ret_route, ret_allowed, err);
}

static void assert_route(const char *http, const char *path, MethodId method, const char *object) {
    g_autoptr(HttpTarget) target = NULL;
    g_autofree char *allowed = NULL;
    Route route;
    g_assert_true(find(http, path, &route, &target, &allowed, NULL));
    g_assert_cmpstr(methods[route.method].name, ==, methods[method].name);
    g_assert_cmpstr(route.object, ==, object);
    g_assert_null(allowed);
}

static void test_every_method_is_reached_by_its_path(void) {
    for (MethodId id = 0; id < METHOD_MAX; id++) {
        g_auto(GStrv) parts = g_strsplit(methods[id].path, "{id}", 2);
        g_autofree char *path = parts[1] ? g_strconcat(parts[0], "x-1", parts[1], NULL) : g_strdup(parts[0]);
        assert_route(methods[id].http, path, id, parts[1] ? "x-1" : NULL);
    }
}

static void test_a_literal_wins_over_an_id(void) {
    assert_route("POST", "/v1/templates/import", METHOD_TEMPLATE_IMPORT, NULL);
    assert_route("POST", "/v1/templates/import/build", METHOD_TEMPLATE_BUILD, "import");
}

static void assert_refused(const char *http, const char *path, ErrorCode code, const char *allow) {
    g_autoptr(HttpTarget) target = NULL;
    g_autofree char *allowed = NULL;
    g_auto(Error) err = {0};
    Route route;
    g_assert_false(find(http, path, &route, &target, &allowed, &err));
    g_assert_cmpint(err.code, ==, code);
    g_assert_cmpstr(allowed, ==, allow);
}

static void test_unknown_paths_are_not_found(void) {
    assert_refused("GET", "/v1", ERROR_NOT_FOUND, NULL);
    assert_refused("GET", "/v1/vmss", ERROR_NOT_FOUND, NULL);
    assert_refused("GET", "/v1/vm", ERROR_NOT_FOUND, NULL);
    assert_refused("GET", "/v1/vms/a/b/c", ERROR_NOT_FOUND, NULL);
    assert_refused("GET", "/vms", ERROR_NOT_FOUND, NULL);
}

static void test_a_wrong_method_names_the_right_ones(void) {
    assert_refused("PUT", "/v1/pools", ERROR_METHOD_NOT_ALLOWED, "GET, POST");
    assert_refused("GET", "/v1/vms/a/start", ERROR_METHOD_NOT_ALLOWED, "POST");
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/route/every-method-is-reached-by-its-path", test_every_method_is_reached_by_its_path);
    g_test_add_func("/route/a-literal-wins-over-an-id", test_a_literal_wins_over_an_id);
    g_test_add_func("/route/unknown-paths-are-not-found", test_unknown_paths_are_not_found);
    g_test_add_func("/route/a-wrong-method-names-the-right-ones", test_a_wrong_method_names_the_right_ones);
    return g_test_run();
}
