/* Lists and single objects. */
#include "api/api-internal.h"
#include "api/query.h"

/* In which order a list comes that asks for none. */
static const char *default_sort(ResourceId kind) {
    if (kind == RESOURCE_JOB)
        return "-created";
    return kind == RESOURCE_EVENT ? "-time" : "name";
}

static bool is_newest_first(ResourceId kind) {
    return kind == RESOURCE_JOB || kind == RESOURCE_EVENT;
}

/* Who may not view all sees what his grants name. */
static bool is_shown(ApiCall *call, const Object *object) {
    const ApiRule *rule = rule_find(call->id);
    Inventory *inventory = call->api->inventory;
    if (object->kind == RESOURCE_EVENT)
        return access_may_see(inventory, &call->who, object->data);
    if (rule->is_visible)
        return rule->is_visible(call, object);
    return access_check_object(inventory, &call->who, call->method->permission, object, NULL);
}

/* In a list in the order of names, which is the order of pages. */
static guint first_behind(const Query *query, const GPtrArray *objects) {
    guint low = 0, high = objects->len;
    while (low < high) {
        guint middle = low + (high - low) / 2;
        const Object *object = g_ptr_array_index(objects, middle);
        if (query_is_behind(query, object->name, object->id))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Most lists are that, and may be long: no tree is made of them. */
static GString *write_by_name(ApiCall *call, const Query *query, const GPtrArray *objects) {
    Inventory *inventory = call->api->inventory;
    GString *text = g_string_new("{\"items\":[");
    const Object *last = NULL;
    size_t n = 0;
    for (guint i = first_behind(query, objects); i < objects->len && n <= query_limit(query); i++) {
        const Object *object = g_ptr_array_index(objects, i);
        if (!is_shown(call, object) || n++ == query_limit(query))
            continue;
        if (last)
            g_string_append_c(text, ',');
        inventory_write(inventory, object, query_chosen(query), text);
        last = object;
    }
    g_autofree char *next = n > query_limit(query) ? query_cursor_behind(last->name, last->id) : NULL;
    g_string_append_printf(text, "]%s%s%s,\"position\":\"%s:%" G_GINT64_FORMAT "\"}",
        next ? ",\"next\":\"" : "", next ? next : "", next ? "\"" : "", inventory_epoch(inventory),
        inventory_sequence(inventory));
    return text;
}

/* No more than the page and one. */
static void collect_by_name(ApiCall *call, const Query *query, const GPtrArray *objects, GPtrArray *rows) {
    for (guint i = first_behind(query, objects); i < objects->len && rows->len <= query_limit(query); i++) {
        const Object *object = g_ptr_array_index(objects, i);
        if (is_shown(call, object))
            g_ptr_array_add(rows, inventory_encode(call->api->inventory, object));
    }
}

static int64_t time_of(const Object *object) {
    return object->kind == RESOURCE_JOB ? ((const Job *)object->data)->created
                                        : ((const Event *)object->data)->time;
}

/* The list stands in the order of time: the last ones, and all that share the millisecond of the last of
 * them. */
static void collect_newest(ApiCall *call, const Query *query, const GPtrArray *objects, GPtrArray *rows) {
    int64_t previous_ms = 0;
    for (guint i = objects->len; i-- > 0;) {
        const Object *object = g_ptr_array_index(objects, i);
        int64_t time_ms = time_of(object) / NS_PER_MS;
        if (rows->len > query_limit(query) && time_ms != previous_ms)
            return;
        previous_ms = time_ms;
        if (is_shown(call, object))
            g_ptr_array_add(rows, inventory_encode(call->api->inventory, object));
    }
}

/* Only what decides: there may be very many. Lines of the audit have no id by which the rest is found. */
static void collect_matching(ApiCall *call, const Query *query, const GPtrArray *objects, GPtrArray *rows) {
    uint64_t fields = call->method->resource == RESOURCE_EVENT ? UINT64_MAX : query_fields(query);
    for (guint i = 0; i < objects->len; i++) {
        const Object *object = g_ptr_array_index(objects, i);
        if (!is_shown(call, object))
            continue;
        g_autoptr(json_t) row = inventory_encode_some(call->api->inventory, object, fields);
        if (query_matches(query, row))
            g_ptr_array_add(rows, g_steal_pointer(&row));
    }
}

static void complete(ApiCall *call, const Query *query, json_t *page) {
    json_t *items = json_object_get(page, "items"), *item;
    size_t i;
    json_array_foreach (items, i, item) {
        const Object *object =
            inventory_get(call->api->inventory, call->method->resource, json_text_at(item, "id"));
        g_autoptr(json_t) row = object ? inventory_encode(call->api->inventory, object) : NULL;
        if (row)
            json_array_set_new(items, i, query_choose(query, row));
    }
}

static json_t *collect_page(ApiCall *call, const Query *query) {
    ResourceId kind = call->method->resource;
    const GPtrArray *objects = inventory_list(call->api->inventory, kind);
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)json_decref);
    bool is_by_name = query_is_plain(query) && !is_newest_first(kind);
    bool is_newest = query_is_plain(query) && !is_by_name && !query_has_cursor(query);
    if (is_by_name)
        collect_by_name(call, query, objects, rows);
    else if (is_newest)
        collect_newest(call, query, objects, rows);
    else
        collect_matching(call, query, objects, rows);
    json_t *page = query_page(query, rows);
    if (!is_by_name && !is_newest)
        complete(call, query, page);
    return page;
}

void handle_list(ApiCall *call) {
    g_auto(Error) err = {0};
    g_autoptr(Query) query = NULL;
    const TypeDescriptor *type = resources[call->method->resource].type;
    const HttpTarget *target = http_request_target(call->request);
    if (!query_parse(type, target, default_sort(call->method->resource), &query, &err)) {
        call_fail(call, &err);
        return;
    }
    ResourceId kind = call->method->resource;
    if (query_is_plain(query) && !is_newest_first(kind) && inventory_can_write(kind))
        call_reply_text(call, write_by_name(call, query, inventory_list(call->api->inventory, kind)));
    else
        call_reply_page(call, collect_page(call, query));
}

void call_reply_page(ApiCall *call, json_t *take_page) {
    g_autoptr(json_t) page = take_page;
    g_autofree char *position = g_strdup_printf("%s:%" G_GINT64_FORMAT, inventory_epoch(call->api->inventory),
        inventory_sequence(call->api->inventory));
    json_object_set_new(page, "position", json_string(position));
    call_reply_json(call, 200, page, NULL, 0);
}

void handle_get(ApiCall *call) {
    g_auto(Error) err = {0};
    const Object *object = call_object(call, &err);
    if (object)
        call_reply_object(call, 200, object);
    else
        call_fail(call, &err);
}
