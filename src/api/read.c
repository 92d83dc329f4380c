/* Lists and single objects. */
#include "api/api-internal.h"
#include "api/query.h"

/* In which order a list comes that asks for none. */
static const char *default_sort(ResourceId kind) {
    if (kind == RESOURCE_JOB)
        return "-created";
    return kind == RESOURCE_EVENT ? "-time" : "name";
}

static json_t *collect_page(ApiCall *call, const Query *query) {
    Inventory *inventory = call->api->inventory;
    const ApiRule *rule = rule_find(call->id);
    const GPtrArray *objects = inventory_list(inventory, call->method->resource);
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)json_decref);
    for (guint i = 0; i < objects->len; i++) {
        const Object *object = g_ptr_array_index(objects, i);
        if (rule->is_visible && !rule->is_visible(call, object))
            continue;
        json_t *row = inventory_encode(inventory, object);
        if (query_matches(query, row))
            g_ptr_array_add(rows, row);
        else
            json_decref(row);
    }
    return query_page(query, rows);
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
    g_autoptr(json_t) page = collect_page(call, query);
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
