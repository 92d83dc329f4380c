/* Every function recurses along the types of the schema, which contain no cycles. */
#include "api/reference.h"

static bool resolve_one(Inventory *inventory, const FieldDescriptor *field, json_t *value, Error *err) {
    const char *text = json_string_value(value);
    if (!text)
        return true;
    ResourceId kind = resource_find(field->reference);
    g_assert(kind < RESOURCE_MAX);
    const Object *object = inventory_find(inventory, kind, text, err);
    if (!object)
        return false;
    json_string_set(value, object->id);
    return true;
}

static bool resolve_value(Inventory *inventory, const FieldDescriptor *field, json_t *value, Error *err) {
    if (field->kind == FIELD_OBJECT)
        return reference_resolve(inventory, field->type, value, err);
    return field->format != FORMAT_REFERENCE || field->kind != FIELD_STRING ||
           resolve_one(inventory, field, value, err);
}

static bool point_at(const char *field, const char *item, Error *err, Error *inner) {
    g_autofree char *pointer = g_strconcat("/", field, item, inner->field ? inner->field : "", NULL);
    g_free(inner->field);
    inner->field = g_steal_pointer(&pointer);
    error_move(err, inner);
    return false;
}

static bool resolve_list(Inventory *inventory, const FieldDescriptor *field, json_t *list, Error *err) {
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        g_auto(Error) inner = {0};
        g_autofree char *index = g_strdup_printf("/%zu", i);
        if (!resolve_value(inventory, field, item, &inner))
            return point_at(field->name, index, err, &inner);
    }
    return true;
}

bool reference_resolve(Inventory *inventory, const TypeDescriptor *type, json_t *json, Error *err) {
    for (size_t i = 0; i < type->n_fields; i++) {
        const FieldDescriptor *field = &type->fields[i];
        json_t *value = json_object_get(json, field->name);
        if (!value || json_is_null(value))
            continue;
        if (field->is_list) {
            if (!resolve_list(inventory, field, value, err))
                return false;
            continue;
        }
        g_auto(Error) inner = {0};
        if (!resolve_value(inventory, field, value, &inner))
            return point_at(field->name, "", err, &inner);
    }
    return true;
}

static const json_t *item_with_id(const json_t *list, const json_t *id) {
    size_t i;
    json_t *item;
    if (json_is_string(id))
        json_array_foreach ((json_t *)list, i, item)
            if (json_equal(json_object_get(item, "id"), (json_t *)id))
                return item;
    return NULL;
}

static void drop_in_list(const FieldDescriptor *field, json_t *list, const json_t *current) {
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        const json_t *same = item_with_id(current, json_object_get(item, "id"));
        if (same)
            patch_drop_repeated(field->type, item, same);
    }
}

void patch_drop_repeated(const TypeDescriptor *type, json_t *patch, const json_t *current) {
    for (size_t i = 0; i < type->n_fields; i++) {
        const FieldDescriptor *field = &type->fields[i];
        json_t *value = json_object_get(patch, field->name), *now = json_object_get(current, field->name);
        if (!value || !now)
            continue;
        bool is_fixed = field->flags & (FIELD_READ_ONLY | FIELD_CREATE_ONLY);
        if (is_fixed && (json_equal(value, now) || field->flags & FIELD_RUNTIME))
            json_object_del(patch, field->name);
        else if (field->kind == FIELD_OBJECT && field->is_list)
            drop_in_list(field, value, now);
        else if (field->kind == FIELD_OBJECT)
            patch_drop_repeated(field->type, value, now);
    }
}

bool patch_check(const TypeDescriptor *type, const json_t *patch, Error *err) {
    for (size_t i = 0; i < type->n_fields; i++) {
        const FieldDescriptor *field = &type->fields[i];
        if (!json_is_null(json_object_get(patch, field->name)))
            continue;
        if (!(field->flags & (FIELD_READ_ONLY | FIELD_CREATE_ONLY | FIELD_REQUIRED)))
            continue;
        g_autofree char *pointer = g_strconcat("/", field->name, NULL);
        return error_set(err, ERROR_INVALID, pointer, "%s: cannot be removed", field->name);
    }
    void *object = g_malloc0(type->size);
    bool ok = model_decode(type, patch, MODEL_PATCH, object, err);
    model_free(type, object);
    return ok;
}

static void drop_read_only(const TypeDescriptor *type, json_t *json) {
    for (size_t i = 0; i < type->n_fields; i++) {
        const FieldDescriptor *field = &type->fields[i];
        json_t *value = json_object_get(json, field->name), *item;
        size_t at;
        if (field->flags & FIELD_READ_ONLY)
            json_object_del(json, field->name);
        else if (field->kind != FIELD_OBJECT)
            continue;
        else if (!field->is_list)
            drop_read_only(field->type, value);
        else
            json_array_foreach (value, at, item)
                drop_read_only(field->type, item);
    }
}

bool definition_check(const TypeDescriptor *type, const json_t *definition, Error *err) {
    g_autoptr(json_t) copy = json_deep_copy(definition);
    drop_read_only(type, copy);
    void *object = g_malloc0(type->size);
    bool ok = model_decode(type, copy, MODEL_INPUT, object, err);
    model_free(type, object);
    return ok;
}

/* What cannot be read as the field's kind stays text, which the decoder then refuses with the field's name.
 */
static json_t *value_from_text(const FieldDescriptor *field, const char *text) {
    gint64 number = 0;
    if (field && field->kind == FIELD_BOOL && (g_str_equal(text, "true") || g_str_equal(text, "false")))
        return json_boolean(*text == 't');
    if (field && (field->kind == FIELD_INT || field->kind == FIELD_SIZE) &&
        g_ascii_string_to_signed(text, 10, INT64_MIN, INT64_MAX, &number, NULL))
        return json_integer(number);
    return json_string(text);
}

json_t *parameters_from_query(
    const TypeDescriptor *type, const GPtrArray *names, const GPtrArray *values, const char *except) {
    json_t *json = json_object();
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        if (g_str_equal(name, except))
            continue;
        const FieldDescriptor *field = model_field(type, name);
        json_t *value = value_from_text(field, g_ptr_array_index(values, i));
        json_t *list = json_object_get(json, name);
        if (!field || !field->is_list)
            json_object_set_new(json, name, value);
        else if (list)
            json_array_append_new(list, value);
        else
            json_object_set_new(json, name, json_pack("[o]", value));
    }
    return json;
}
