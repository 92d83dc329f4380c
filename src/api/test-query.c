/* Proves filters, order and pages on rows as clients see them. */
#include <string.h>
#include "api/query.h"
#include "model/method.h"

static const char *const world =
    "[{\"id\":\"1\",\"name\":\"web-1\",\"memory\":1073741824,\"vcpus\":1,\"tags\":[\"prod\",\"web\"],"
    "\"repository\":\"7\",\"repository_name\":\"main\",\"status\":{\"state\":\"running\"},\"nics\":[{\"mac\":"
    "\"52:54:00:00:00:01\"}]},"
    "{\"id\":\"2\",\"name\":\"web-10\",\"memory\":2147483648,\"vcpus\":2,\"tags\":[\"test\"],\"status\":{"
    "\"state\":\"stopped\"}},"
    "{\"id\":\"3\",\"name\":\"web-2\",\"memory\":2147483648,\"vcpus\":1,\"protected\":true,\"status\":{"
    "\"state\":\"running\"}},"
    "{\"id\":\"4\",\"name\":\"db\",\"vcpus\":4,\"created\":\"2026-05-01T10:00:00.000Z\",\"status\":{"
    "\"state\":\"running\"}}]";

static Query *parse(const char *text, Error *err) {
    g_autofree char *path = g_strconcat("/v1/vms?", text, NULL);
    g_autoptr(HttpTarget) target = NULL;
    g_assert_true(http_target_parse(path, &target, NULL));
    Query *query = NULL;
    query_parse(&vm_type, target, "name", &query, err);
    return query;
}

/* The page, and the names in it joined by spaces. */
static char *names_of(const char *text, json_t **ret_page) {
    g_auto(Error) err = {0};
    g_autoptr(Query) query = parse(text, &err);
    g_assert_cmpstr(err.message, ==, NULL);
    g_autoptr(json_t) rows = json_parse(world, strlen(world), NULL);
    g_autoptr(GPtrArray) matching = g_ptr_array_new();
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row)
        if (query_matches(query, row))
            g_ptr_array_add(matching, row);
    json_t *page = query_page(query, matching);
    g_autoptr(GString) names = g_string_new(NULL);
    json_array_foreach (json_object_get(page, "items"), i, row) {
        const char *name = json_text_at(row, "name");
        g_string_append_printf(names, "%s%s", i ? " " : "", name ? name : "-");
    }
    if (ret_page)
        *ret_page = page;
    else
        json_decref(page);
    return g_strdup(names->str);
}

static void assert_names(const char *text, const char *expected) {
    g_autofree char *names = names_of(text, NULL);
    g_assert_cmpstr(names, ==, expected);
}

static void test_filters_choose_rows(void) {
    assert_names("", "db web-1 web-2 web-10");
    assert_names("filter=state=running", "db web-1 web-2");
    assert_names("filter=status.state!=running", "web-10");
    assert_names("filter=name~WEB,vcpus=1", "web-1 web-2");
    assert_names("filter=memory%3E1GiB", "web-2 web-10");
    assert_names("filter=memory%3E=1024MiB", "web-1 web-2 web-10");
    assert_names("filter=memory%3C=1073741824", "web-1");
    assert_names("filter=tags=prod", "web-1");
    assert_names("filter=tags!=prod", "db web-2 web-10");
    assert_names("filter=nics.mac=52:54:00:00:00:01", "web-1");
    assert_names("filter=repository=main", "web-1");
    assert_names("filter=repository=7", "web-1");
    assert_names("filter=protected=true", "web-2");
    assert_names("filter=created%3C2027-01-01T00:00:00Z", "db");
}

static void test_sort_puts_rows_in_order(void) {
    assert_names("sort=-name", "web-10 web-2 web-1 db");
    assert_names("sort=-memory,name", "web-2 web-10 web-1 db");
    assert_names("sort=state,-vcpus", "db web-1 web-2 web-10");
}

static void test_pages_show_every_row_once(void) {
    g_autofree char *cursor = g_strdup("");
    g_autoptr(GString) all = g_string_new(NULL);
    for (int page = 0; cursor; page++) {
        g_assert_cmpint(page, <, 4);
        g_autofree char *escaped = g_uri_escape_string(cursor, NULL, FALSE);
        g_autofree char *text =
            g_strdup_printf("sort=-memory&limit=1%s%s", *cursor ? "&cursor=" : "", escaped);
        g_autoptr(json_t) answer = NULL;
        g_autofree char *names = names_of(text, &answer);
        g_string_append_printf(all, "%s ", names);
        g_free(cursor);
        cursor = g_strdup(json_text_at(answer, "next"));
    }
    g_assert_cmpstr(all->str, ==, "web-10 web-2 web-1 db ");
}

static void test_fields_are_chosen_and_the_id_stays(void) {
    g_autoptr(json_t) page = NULL;
    g_free(names_of("fields=vcpus&limit=1", &page));
    g_autofree char *text = json_to_text(json_object_get(page, "items"));
    g_assert_cmpstr(text, ==, "[{\"id\":\"4\",\"vcpus\":4}]");
}

static void test_bad_queries_name_the_parameter(void) {
    static const struct {
        const char *text;
        ErrorCode code;
        const char *field;
    } cases[] = {
        {"filter=colour=red", ERROR_UNKNOWN_FIELD, "/filter"},
        {"filter=name", ERROR_INVALID, "/filter"},
        {"filter=memory=lots", ERROR_INVALID, "/filter"},
        {"filter=memory=99999999TiB", ERROR_INVALID, "/filter"},
        {"filter=state=flying", ERROR_INVALID, "/filter"},
        {"filter==x", ERROR_INVALID, "/filter"},
        {"filter=cloud_init.user_data~x", ERROR_UNKNOWN_FIELD, "/filter"},
        {"sort=colour", ERROR_UNKNOWN_FIELD, "/sort"},
        {"limit=0", ERROR_INVALID, "/limit"},
        {"limit=1001", ERROR_INVALID, "/limit"},
        {"cursor=xyz", ERROR_INVALID, "/cursor"},
        {"fields=colour", ERROR_UNKNOWN_FIELD, "/fields"},
        {"colour=red", ERROR_UNKNOWN_FIELD, "/colour"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Error) err = {0};
        g_autoptr(Query) query = parse(cases[i].text, &err);
        g_test_message("%s", cases[i].text);
        g_assert_null(query);
        g_assert_cmpint(err.code, ==, cases[i].code);
        g_assert_cmpstr(err.field, ==, cases[i].field);
    }
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/query/filters-choose-rows", test_filters_choose_rows);
    g_test_add_func("/query/sort-puts-rows-in-order", test_sort_puts_rows_in_order);
    g_test_add_func("/query/pages-show-every-row-once", test_pages_show_every_row_once);
    g_test_add_func("/query/fields-are-chosen-and-the-id-stays", test_fields_are_chosen_and_the_id_stays);
    g_test_add_func("/query/bad-queries-name-the-parameter", test_bad_queries_name_the_parameter);
    return g_test_run();
}
