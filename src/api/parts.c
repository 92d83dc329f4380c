/* Lists of what VMs are made of: rows are taken from the VMs that may be seen. */
#include "api/api-internal.h"
#include "api/query.h"

static bool has_field(const ApiCall *call, const char *name) {
    return model_field(resources[call->method->resource].type, name);
}

static void take(const ApiCall *call, json_t *row, const char *name, json_t *value) {
    if (value && has_field(call, name) && !json_object_get(row, name))
        json_object_set(row, name, value);
}

/* "image_name" beside "image". */
static void add_names(const ApiCall *call, json_t *row) {
    const TypeDescriptor *type = resources[call->method->resource].type;
    for (size_t i = 0; i < type->n_fields; i++) {
        const FieldDescriptor *field = &type->fields[i];
        const char *id = json_string_value(json_object_get(row, field->name));
        if (field->format != FORMAT_REFERENCE || !field->reference || !id)
            continue;
        const Object *object = inventory_get(call->api->inventory, resource_find(field->reference), id);
        g_autofree char *name = g_strconcat(field->name, "_name", NULL);
        g_autoptr(json_t) text = object && object->name ? json_string(object->name) : NULL;
        take(call, row, name, text);
    }
}

static json_t *address_of(const json_t *vm, const json_t *row) {
    const json_t *addresses = json_object_get(json_object_get(vm, "status"), "addresses");
    json_t *mac = json_object_get(row, "mac"), *item;
    size_t i;
    json_array_foreach ((json_t *)addresses, i, item)
        if (mac && json_equal(json_object_get(item, "mac"), mac))
            return json_object_get(item, "address");
    return NULL;
}

/* Only fields of the row's type: a disk may have more. */
static json_t *row_of(const ApiCall *call, const json_t *vm, const json_t *part) {
    json_t *row = json_object(), *value;
    const char *name;
    json_object_foreach ((json_t *)part, name, value)
        take(call, row, name, value);
    take(call, row, "vm", json_object_get(vm, "id"));
    take(call, row, "repository", json_object_get(vm, "repository"));
    take(call, row, "address", address_of(vm, row));
    add_names(call, row);
    return row;
}

static void collect(const ApiCall *call, const Query *query, const Object *vm, GPtrArray *rows) {
    g_autoptr(json_t) whole = inventory_encode(call->api->inventory, vm);
    size_t i;
    json_t *part;
    json_array_foreach (json_object_get(whole, resources[call->method->resource].plural), i, part) {
        g_autoptr(json_t) row = row_of(call, whole, part);
        if (query_matches(query, row))
            g_ptr_array_add(rows, g_steal_pointer(&row));
    }
}

void handle_parts(ApiCall *call) {
    g_auto(Error) err = {0};
    g_autoptr(Query) query = NULL;
    Inventory *inventory = call->api->inventory;
    const HttpTarget *target = http_request_target(call->request);
    if (!query_parse(resources[call->method->resource].type, target, "vm_name,name", &query, &err)) {
        call_fail(call, &err);
        return;
    }
    const GPtrArray *vms = inventory_list(inventory, RESOURCE_VM);
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)json_decref);
    for (guint i = 0; i < vms->len; i++)
        if (access_check_object(inventory, &call->who, "vm.view", vms->pdata[i], NULL))
            collect(call, query, vms->pdata[i], rows);
    call_reply_page(call, query_page(query, rows));
}
