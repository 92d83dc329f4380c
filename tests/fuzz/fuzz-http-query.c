/* A request's target, from the request line to the page of a list: path, routes, filters, order, cursor. */
#include <string.h>
#include "api/query.h"
#include "api/route.h"
#include "fuzz.h"

enum { MAX_SIZE = 16384 };

const char *const fuzz_seeds[] = {
    "/v1/vms?filter=state=running,name~web,memory>=512MiB,tags!=prod&sort=-memory,name&limit=2",
    "/v1/vms?fields=name,status&cursor=WyJ3ZWItMSIsIjEiXQ==",
    "/v1/vms?filter=nics.mac=52:54:00:00:00:01,repository=main,created<2027-01-01T00:00:00Z",
    "/v1/jobs?filter=state=done&sort=-created",
    "/v1/hosts?filter=status.state!=connected,status.cpus>1",
    "/v1/vms/web%2D1/start?a=1&b=+%20&c",
    "/v1/events?after=1",
    "/v1/repositories?limit=1000&sort=name",
    NULL,
};

static const char rows_text[] =
    "[{\"id\":\"1\",\"name\":\"web-1\",\"memory\":1073741824,\"vcpus\":1,\"tags\":[\"prod\",\"web\"],"
    "\"repository\":\"7\",\"repository_name\":\"main\",\"status\":{\"state\":\"running\",\"cpus\":2},"
    "\"nics\":[{\"mac\":\"52:54:00:00:00:01\"},{}]},"
    "{\"id\":\"2\",\"name\":\"web-10\",\"status\":null,\"tags\":[]},"
    "{\"sequence\":3,\"name\":7,\"created\":\"2026-05-01T10:00:00.000Z\",\"state\":\"done\"},"
    "{\"id\":\"3\",\"name\":\"web-2\",\"memory\":\"no number\",\"protected\":true},[],null]";

static void list(const TypeDescriptor *type, const HttpTarget *target) {
    g_autoptr(Query) query = NULL;
    g_auto(Error) err = {0};
    if (!query_parse(type, target, "name", &query, &err)) {
        g_assert_true(error_is_set(&err));
        return;
    }
    g_autoptr(json_t) rows = json_parse(rows_text, strlen(rows_text), NULL);
    g_autoptr(GPtrArray) matching = g_ptr_array_new();
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row)
        if (query_matches(query, row))
            g_ptr_array_add(matching, row);
    g_autoptr(json_t) page = query_page(query, matching);
    g_assert_cmpuint(json_array_size(json_object_get(page, "items")), <=, query_limit(query));
    query_is_behind(query, "web-1", "1");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const verbs[] = {"GET", "POST", "PATCH", "DELETE", "PUT"};
    g_autofree char *text = g_strndup((const char *)data, MIN(size, MAX_SIZE));
    g_autoptr(HttpTarget) target = NULL;
    g_auto(Error) err = {0};
    if (!http_target_parse(text, &target, &err)) {
        g_assert_true(error_is_set(&err));
        return 0;
    }
    g_assert_true(g_utf8_validate(target->path, -1, NULL) && !strstr(target->path, "/../"));
    g_assert_cmpuint(target->parameter_names->len, ==, target->parameter_values->len);
    for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++) {
        Route route = {0};
        g_autofree char *allowed = NULL;
        if (route_find(verbs[i], target, &route, &allowed, NULL) &&
            methods[route.method].kind == METHOD_KIND_LIST)
            list(resources[methods[route.method].rows].type, target);
    }
    return 0;
}
