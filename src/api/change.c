/*
 * Create, update and delete without a job, in the order in which they happen: decode, resolve, the method's
 * own rule (which may take time), the last checks, the commit, the answer.
 */
#include "api/api-internal.h"
#include <string.h>
#include "api/reference.h"

static const FieldDescriptor *field_of(ResourceId kind, const char *name, size_t *ret_bit) {
    const TypeDescriptor *type = resources[kind].type;
    const FieldDescriptor *field = model_field(type, name);
    *ret_bit = field ? (size_t)(field - type->fields) : 0;
    return field;
}

const char *definition_text(ResourceId kind, const void *definition, const char *name) {
    size_t bit;
    const FieldDescriptor *field = field_of(kind, name, &bit);
    if (!field || field->kind != FIELD_STRING || field->is_list ||
        !(*(const uint64_t *)definition & MODEL_BIT(bit)))
        return NULL;
    return *(char *const *)((const char *)definition + field->offset);
}

void definition_set_text(ResourceId kind, void *definition, const char *name, const char *value) {
    size_t bit;
    const FieldDescriptor *field = field_of(kind, name, &bit);
    g_assert(field && field->kind == FIELD_STRING && !field->is_list);
    model_string_set(definition, MODEL_BIT(bit), (char **)((char *)definition + field->offset), value);
}

int64_t definition_revision(ResourceId kind, const void *definition) {
    size_t bit;
    const FieldDescriptor *field = field_of(kind, "revision", &bit);
    if (!field || !(*(const uint64_t *)definition & MODEL_BIT(bit)))
        return 0;
    return *(const int64_t *)((const char *)definition + field->offset);
}

static void go_on(ApiCall *call) {
    const ApiRule *rule = rule_find(call->id);
    if (rule->prepare)
        rule->prepare(call);
    else
        call_store(call);
}

/* Create. The parameters' fields are a subset of the resource's, by the same names. */

static bool make_definition(ApiCall *call, Error *err) {
    ResourceId kind = call->method->resource;
    const TypeDescriptor *type = resources[kind].type;
    if (!call_decode_parameters(call, err) || !call_check_permission(call, NULL, err))
        return false;
    call->definition = g_malloc0(type->size);
    if (!model_decode(type, call->parameters, MODEL_STORED, call->definition, err))
        return false;
    model_apply_defaults(type, call->definition);
    g_autofree char *id = g_uuid_string_random();
    definition_set_text(kind, call->definition, "id", id);
    return true;
}

/* What the same request made before, in *ret_object; NULL when this is the first one. */
static bool find_repeated(ApiCall *call, const Object **ret_object, Error *err) {
    const char *key = NULL;
    *ret_object = NULL;
    if (!call_idempotency_key(call, &key, err) || !key)
        return key || !error_is_set(err);
    g_autofree char *text = json_to_text(call->parameters), *made = NULL;
    g_autofree char *request = g_strconcat(call->method->name, " ", text, NULL);
    g_autofree char *name = g_strconcat(call->who.name, "\n", key, NULL);
    if (!repeats_begin(call->api->repeats, name, request, &made, err))
        return false;
    if (!made) {
        call->repeat_name = g_steal_pointer(&name);
        return true;
    }
    *ret_object = inventory_get(call->api->inventory, call->method->resource, made);
    return *ret_object || error_set(err, ERROR_CONFLICT, NULL, "what this Idempotency-Key made is gone");
}

void handle_create(ApiCall *call) {
    g_auto(Error) err = {0};
    const Object *made = NULL;
    if (!make_definition(call, &err) || !find_repeated(call, &made, &err))
        call_fail(call, &err);
    else if (made)
        call_reply_object(call, 201, made);
    else
        go_on(call);
}

/* Update. */

static json_t *read_patch(ApiCall *call, const Object *object, Error *err) {
    const TypeDescriptor *type = resources[object->kind].type;
    g_autoptr(json_t) patch = call_body(call, true, err);
    if (!patch)
        return NULL;
    g_autoptr(json_t) now = inventory_encode(call->api->inventory, object);
    g_autoptr(json_t) checked = json_deep_copy(patch);
    patch_drop_repeated(type, checked, now);
    if (!patch_check(type, checked, err) || !reference_resolve(call->api->inventory, type, patch, err))
        return NULL;
    /* What is only repeated has no part in the change: it may be older than what is stored by now. */
    for (size_t i = 0; i < type->n_fields; i++)
        if (!json_object_get(checked, type->fields[i].name))
            json_object_del(patch, type->fields[i].name);
    return g_steal_pointer(&patch);
}

static bool patch_definition(ApiCall *call, Error *err) {
    const Object *object = call_object(call, err);
    if (!object || !call_check_match(call, object, err))
        return false;
    const TypeDescriptor *type = resources[object->kind].type;
    call->parameters = read_patch(call, object, err);
    if (!call->parameters)
        return false;
    g_autoptr(json_t) now = model_encode(type, object->data, MODEL_ENCODE_DEFINITION);
    g_autoptr(json_t) next = json_merge_patch(now, call->parameters);
    if (!definition_check(type, next, err))
        return false;
    call->definition = g_malloc0(type->size);
    if (!model_decode(type, next, MODEL_STORED, call->definition, err))
        return false;
    model_apply_defaults(type, call->definition);
    return true;
}

void handle_update(ApiCall *call) {
    g_auto(Error) err = {0};
    if (!patch_definition(call, &err))
        call_fail(call, &err);
    else if (call->method->is_job)
        handle_job(call);
    else
        go_on(call);
}

/* Both: the last checks, then the commit. Nothing may come between them. */

static bool check_name(ApiCall *call, Error *err) {
    ResourceId kind = call->method->resource;
    const char *name = definition_text(kind, call->definition, "name");
    bool is_new = call->method->kind == METHOD_KIND_CREATE;
    const Object *now = is_new ? NULL : call_object(call, err);
    if (!is_new && !now)
        return false;
    if (now && g_strcmp0(now->name, name) == 0)
        return true;
    if (name && inventory_has_name(call->api->inventory, kind, name))
        return error_set(
            err, ERROR_EXISTS, "/name", "there is a %s called %s already", resources[kind].name, name);
    return true;
}

/* A change may have come in while the rule took its time. */
static bool check_unchanged(ApiCall *call, Error *err) {
    if (call->method->kind != METHOD_KIND_UPDATE)
        return true;
    const Object *now = call_object(call, err);
    ResourceId kind = call->method->resource;
    if (!now)
        return false;
    if (definition_revision(kind, now->data) == definition_revision(kind, call->definition))
        return true;
    return error_set(err, ERROR_PRECONDITION, NULL, "it was changed meanwhile");
}

static void stored(const Error *err, void *data) {
    ApiCall *call = data;
    g_auto(Error) inner = {0};
    const Object *object = err || call->api->is_closed ? NULL : call_object(call, &inner);
    if (object && call->repeat_name) {
        repeats_end(call->api->repeats, call->repeat_name, object->id);
        g_clear_pointer(&call->repeat_name, g_free);
    }
    if (object)
        call_reply_object(call, call->method->kind == METHOD_KIND_CREATE ? 201 : 200, object);
    else if (!err && !error_is_set(&inner))
        http_reply(call->request, 503, NULL, 0, NULL); /* the manager ends */
    else
        call_fail(call, err ? err : &inner);
    call_release(call);
}

void call_store(ApiCall *call) {
    g_auto(Error) err = {0};
    ResourceId kind = call->method->resource;
    if (!check_name(call, &err) || !check_unchanged(call, &err)) {
        call_fail(call, &err);
        return;
    }
    g_free(call->object_id);
    g_free(call->object_name);
    call->object_id = g_strdup(definition_text(kind, call->definition, "id"));
    call->object_name = g_strdup(definition_text(kind, call->definition, "name"));
    InventoryChange *change = inventory_change_new(call->api->inventory);
    inventory_change_put(change, kind, call->definition);
    if (rule_find(call->id)->also_store)
        rule_find(call->id)->also_store(call, change);
    inventory_change_by(change, call->who.name, NULL);
    call_hold(call);
    inventory_commit(call->api->inventory, change, stored, call);
}

/* Delete. */

static void deleted(const Error *err, void *data) {
    ApiCall *call = data;
    if (err)
        call_fail(call, err);
    else
        call_reply_empty(call);
    call_release(call);
}

void handle_delete(ApiCall *call) {
    g_auto(Error) err = {0};
    const ApiRule *rule = rule_find(call->id);
    const Object *object = call_object(call, &err);
    if (!object || !call_check_match(call, object, &err) || !call_decode_parameters(call, &err) ||
        (rule->check_delete && !rule->check_delete(call, object, &err))) {
        call_fail(call, &err);
        return;
    }
    InventoryChange *change = inventory_change_new(call->api->inventory);
    inventory_change_delete(change, object->kind, object->id);
    if (rule->also_delete)
        rule->also_delete(call, object, change);
    inventory_change_by(change, call->who.name, NULL);
    call_hold(call);
    inventory_commit(call->api->inventory, change, deleted, call);
}
