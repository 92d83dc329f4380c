/* JSON -> struct. Recursion follows the schema, which contains no cycles, never the input. */
#include <string.h>
#include "base/clock.h"
#include "model/format.h"

static bool decode_object(
    const TypeDescriptor *type, const json_t *json, ModelMode mode, void *object, Error *err);

static bool fault(const FieldDescriptor *field, Error *err, const char *format, ...) G_GNUC_PRINTF(3, 4);
static bool fault(const FieldDescriptor *field, Error *err, const char *format, ...) {
    g_autofree char *pointer = g_strconcat("/", field->name, NULL);
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *what = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    return error_set(err, ERROR_INVALID, pointer, "%s: %s", field->name, what);
}

static bool decode_integer(const FieldDescriptor *field, const json_t *json, int64_t *ret_value, Error *err) {
    if (!json_is_integer(json))
        return fault(field, err, "must be a whole number%s", field->kind == FIELD_SIZE ? " of bytes" : "");
    int64_t value = json_integer_value(json);
    if (value >= field->minimum && value <= field->maximum) {
        *ret_value = value;
        return true;
    }
    if (field->maximum == INT64_MAX)
        return fault(field, err, "must be at least %" G_GINT64_FORMAT, field->minimum);
    return fault(field, err, "must lie between %" G_GINT64_FORMAT " and %" G_GINT64_FORMAT, field->minimum,
        field->maximum);
}

static bool decode_string(const FieldDescriptor *field, const json_t *json, char **ret_value, Error *err) {
    const char *value = json_string_value(json);
    if (!value || strlen(value) != json_string_length(json))
        return fault(field, err, "must be a string without NUL characters");
    if (!model_check_string(field, value, err))
        return false;
    *ret_value = model_normal_string(field, value);
    return true;
}

static bool decode_enum(const FieldDescriptor *field, const json_t *json, int *ret_value, Error *err) {
    const char *name = json_string_value(json);
    int value = name ? model_enum_value(field->enumeration, name) : -1;
    if (value >= 0) {
        *ret_value = value;
        return true;
    }
    g_autofree char *names = model_enum_names(field->enumeration);
    return fault(field, err, "must be one of %s", names);
}

static bool decode_nested(
    const FieldDescriptor *field, const json_t *json, ModelMode mode, void *value, Error *err) {
    if (decode_object(field->type, json, mode, value, err))
        return true;
    g_autofree char *pointer = g_strconcat("/", field->name, NULL);
    return error_prefix_field(err, pointer);
}

static bool decode_value(
    const FieldDescriptor *field, const json_t *json, ModelMode mode, void *value, Error *err) {
    switch (field->kind) {
    case FIELD_BOOL:
        *(bool *)value = json_is_true(json);
        return json_is_boolean(json) || fault(field, err, "must be true or false");
    case FIELD_INT:
    case FIELD_SIZE:
        return decode_integer(field, json, value, err);
    case FIELD_STRING:
        return decode_string(field, json, value, err);
    case FIELD_ENUM:
        return decode_enum(field, json, value, err);
    case FIELD_TIME:
        return (json_is_string(json) && time_from_text(json_string_value(json), value)) ||
               fault(field, err, "must be a time such as 2026-05-01T10:00:00Z");
    case FIELD_OBJECT:
        return decode_nested(field, json, mode, value, err);
    case FIELD_JSON:
        *(json_t **)value = json_deep_copy(json);
        return true;
    }
    g_assert_not_reached();
}

static bool decode_list(
    const FieldDescriptor *field, const json_t *json, ModelMode mode, void *list, Error *err) {
    if (!json_is_array(json))
        return fault(field, err, "must be a list");
    if (json_array_size(json) > field->max_items)
        return fault(field, err, "must have at most %zu items", field->max_items);
    size_t i;
    json_t *item;
    json_array_foreach ((json_t *)json, i, item) {
        g_auto(Error) inner = {0};
        void *value = model_list_add(list, model_value_size(field));
        if (decode_value(field, item, mode, value, &inner))
            continue;
        const char *rest = inner.field ? inner.field + strlen(field->name) + 1 : "";
        g_autofree char *pointer = g_strdup_printf("/%s/%zu%s", field->name, i, rest);
        return error_set(err, inner.code, pointer, "%s", inner.message);
    }
    return true;
}

static bool may_be_set(const FieldDescriptor *field, ModelMode mode, Error *err) {
    if (mode == MODEL_STORED)
        return true;
    if (field->flags & FIELD_READ_ONLY)
        return fault(field, err, "is set by Lodge and cannot be given");
    if (mode == MODEL_PATCH && (field->flags & FIELD_CREATE_ONLY))
        return fault(field, err, "cannot be changed after creation");
    return true;
}

static bool check_unknown(const TypeDescriptor *type, const json_t *json, Error *err) {
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)json, key, value) {
        if (model_field(type, key))
            continue;
        g_autofree char *pointer = g_strconcat("/", key, NULL);
        return error_set(err, ERROR_UNKNOWN_FIELD, pointer, "%s: no such field", key);
    }
    return true;
}

/* Name of the value that an enum field has, its default when absent, or NULL. */
static const char *tag_value(const TypeDescriptor *type, const void *object, const FieldDescriptor *tag) {
    if (!(*(const uint64_t *)object & MODEL_BIT(tag - type->fields)))
        return tag->default_text;
    return model_enum_name(tag->enumeration, *(const int *)((const char *)object + tag->offset));
}

bool model_is_branch_open(const TypeDescriptor *type, const void *object, const FieldDescriptor *field) {
    if (!field->when_field)
        return true;
    return g_strcmp0(tag_value(type, object, model_field(type, field->when_field)), field->when_value) == 0;
}

static bool check_present(const TypeDescriptor *type, const void *object, ModelMode mode, Error *err) {
    uint64_t present = *(const uint64_t *)object;
    for (size_t i = 0; i < type->n_fields; i++) {
        const FieldDescriptor *field = &type->fields[i];
        bool is_present = present & MODEL_BIT(i);
        if (is_present && mode != MODEL_STORED && !model_is_branch_open(type, object, field))
            return fault(field, err, "only allowed when %s is %s", field->when_field, field->when_value);
        bool is_needed = (field->flags & FIELD_REQUIRED) && !(field->flags & FIELD_READ_ONLY);
        if (!is_present && is_needed && mode == MODEL_INPUT)
            return fault(field, err, "is required");
    }
    return true;
}

static bool decode_object(
    const TypeDescriptor *type, const json_t *json, ModelMode mode, void *object, Error *err) {
    if (!json_is_object(json))
        return error_set(err, ERROR_INVALID, "", "must be an object");
    if (mode != MODEL_STORED && !check_unknown(type, json, err))
        return false;
    uint64_t *present = object;
    for (size_t i = 0; i < type->n_fields; i++) {
        const FieldDescriptor *field = &type->fields[i];
        const json_t *value = json_object_get(json, field->name);
        if (!value || json_is_null(value))
            continue;
        if (!may_be_set(field, mode, err))
            return false;
        void *place = (char *)object + field->offset;
        *present |= MODEL_BIT(i); /* before decoding, so that clearing frees a half-read value */
        bool ok = field->is_list ? decode_list(field, value, mode, place, err)
                                 : decode_value(field, value, mode, place, err);
        if (!ok)
            return false;
    }
    return check_present(type, object, mode, err);
}

bool model_decode(const TypeDescriptor *type, const json_t *json, ModelMode mode, void *object, Error *err) {
    memset(object, 0, type->size);
    if (decode_object(type, json, mode, object, err))
        return true;
    model_clear(type, object);
    return false;
}
