/* Struct -> JSON, copies, comparison and defaults: all by descriptor. */
#include "model/model.h"
#include <string.h>
#include "base/clock.h"

size_t model_value_size(const FieldDescriptor *field) {
    switch (field->kind) {
    case FIELD_BOOL:
        return sizeof(bool);
    case FIELD_INT:
    case FIELD_SIZE:
    case FIELD_TIME:
        return sizeof(int64_t);
    case FIELD_STRING:
    case FIELD_JSON:
        return sizeof(void *);
    case FIELD_ENUM:
        return sizeof(int);
    case FIELD_OBJECT:
        return field->type->size;
    }
    g_assert_not_reached();
}

static ModelList list_at(const void *place) {
    ModelList list;
    memcpy(&list, place, sizeof list);
    return list;
}

void *model_list_add(void *place, size_t item_size) {
    ModelList list = list_at(place);
    /* Room grows to the next power of two, so that a list costs by its length: only here is it made. */
    if ((list.n & (list.n - 1)) == 0)
        list.items = g_realloc_n(list.items, MAX(list.n * 2, 1), item_size);
    void *item = (char *)list.items + list.n * item_size;
    memset(item, 0, item_size);
    list.n++;
    memcpy(place, &list, sizeof list);
    return item;
}

void model_string_set(uint64_t *present, uint64_t bit, char **field, const char *value) {
    char *copy = g_strdup(value);
    g_free(*field);
    *field = copy;
    *present = value ? *present | bit : *present & ~bit;
}

void model_json_set(uint64_t *present, uint64_t bit, json_t **field, json_t *take_value) {
    json_decref(*field);
    *field = take_value;
    *present = take_value ? *present | bit : *present & ~bit;
}

const FieldDescriptor *model_field(const TypeDescriptor *type, const char *name) {
    for (size_t i = 0; i < type->n_fields; i++)
        if (g_str_equal(type->fields[i].name, name))
            return &type->fields[i];
    return NULL;
}

const char *model_enum_name(const EnumDescriptor *enumeration, int value) {
    g_assert(value >= 0 && (size_t)value < enumeration->n_values);
    return enumeration->values[value].name;
}

char *model_enum_names(const EnumDescriptor *enumeration) {
    GString *names = g_string_new(NULL);
    for (size_t i = 0; i < enumeration->n_values; i++)
        g_string_append_printf(names, "%s%s", i ? ", " : "", enumeration->values[i].name);
    return g_string_free(names, FALSE);
}

int model_enum_value(const EnumDescriptor *enumeration, const char *name) {
    for (size_t i = 0; i < enumeration->n_values; i++)
        if (g_str_equal(enumeration->values[i].name, name))
            return (int)i;
    return -1;
}

static void clear_value(const FieldDescriptor *field, void *value) {
    if (field->kind == FIELD_STRING)
        g_free(*(char **)value);
    else if (field->kind == FIELD_JSON)
        json_decref(*(json_t **)value);
    else if (field->kind == FIELD_OBJECT)
        model_clear(field->type, value);
}

void model_clear(const TypeDescriptor *type, void *object) {
    for (size_t i = 0; i < type->n_fields; i++) {
        const FieldDescriptor *field = &type->fields[i];
        void *place = (char *)object + field->offset;
        if (!field->is_list) {
            clear_value(field, place);
            continue;
        }
        ModelList list = list_at(place);
        for (size_t item = 0; item < list.n; item++)
            clear_value(field, (char *)list.items + item * model_value_size(field));
        g_free(list.items);
    }
    memset(object, 0, type->size);
}

void model_free(const TypeDescriptor *type, void *object) {
    if (!object)
        return;
    model_clear(type, object);
    g_free(object);
}

static void copy_value(const FieldDescriptor *field, void *destination, const void *source) {
    if (field->kind == FIELD_STRING)
        *(char **)destination = g_strdup(*(char *const *)source);
    else if (field->kind == FIELD_JSON)
        *(json_t **)destination = json_deep_copy(*(json_t *const *)source);
    else if (field->kind == FIELD_OBJECT)
        model_copy(field->type, destination, source);
    else
        memcpy(destination, source, model_value_size(field));
}

void model_copy(const TypeDescriptor *type, void *destination, const void *source) {
    memset(destination, 0, type->size);
    *(uint64_t *)destination = *(const uint64_t *)source;
    for (size_t i = 0; i < type->n_fields; i++) {
        const FieldDescriptor *field = &type->fields[i];
        void *to = (char *)destination + field->offset;
        const void *from = (const char *)source + field->offset;
        if (!field->is_list) {
            copy_value(field, to, from);
            continue;
        }
        ModelList list = list_at(from);
        size_t size = model_value_size(field);
        for (size_t item = 0; item < list.n; item++)
            copy_value(field, model_list_add(to, size), (const char *)list.items + item * size);
    }
}

static bool is_shown(const FieldDescriptor *field, ModelEncoding encoding) {
    static const int hidden[] = {
        [MODEL_ENCODE_ALL] = 0,
        [MODEL_ENCODE_PUBLIC] = FIELD_SECRET | FIELD_WRITE_ONLY | FIELD_HIDDEN,
        [MODEL_ENCODE_DEFINITION] = FIELD_RUNTIME | FIELD_WRITE_ONLY,
        [MODEL_ENCODE_REPLICA] = FIELD_RUNTIME | FIELD_SECRET,
    };
    return !(field->flags & hidden[encoding]);
}

static json_t *encode_time(int64_t ns) {
    g_autofree char *text = time_to_text(ns);
    return json_string(text);
}

static json_t *encode_value(const FieldDescriptor *field, const void *value, ModelEncoding encoding) {
    switch (field->kind) {
    case FIELD_BOOL:
        return json_boolean(*(const bool *)value);
    case FIELD_INT:
    case FIELD_SIZE:
        return json_integer(*(const int64_t *)value);
    case FIELD_STRING:
        return json_string(*(char *const *)value);
    case FIELD_ENUM:
        return json_string(model_enum_name(field->enumeration, *(const int *)value));
    case FIELD_TIME:
        return encode_time(*(const int64_t *)value);
    case FIELD_OBJECT:
        return model_encode(field->type, value, encoding);
    case FIELD_JSON:
        return json_deep_copy(*(json_t *const *)value);
    }
    g_assert_not_reached();
}

static json_t *encode_list(const FieldDescriptor *field, const void *place, ModelEncoding encoding) {
    json_t *array = json_array();
    ModelList list = list_at(place);
    size_t size = model_value_size(field);
    for (size_t i = 0; i < list.n; i++)
        json_array_append_new(array, encode_value(field, (const char *)list.items + i * size, encoding));
    return array;
}

json_t *model_encode(const TypeDescriptor *type, const void *object, ModelEncoding encoding) {
    return model_encode_some(type, object, encoding, UINT64_MAX);
}

json_t *model_encode_some(
    const TypeDescriptor *type, const void *object, ModelEncoding encoding, uint64_t fields) {
    json_t *json = json_object();
    uint64_t present = *(const uint64_t *)object & fields;
    for (size_t i = 0; i < type->n_fields; i++) {
        const FieldDescriptor *field = &type->fields[i];
        if (!(present & MODEL_BIT(i)) || !is_shown(field, encoding))
            continue;
        const void *place = (const char *)object + field->offset;
        json_t *value =
            field->is_list ? encode_list(field, place, encoding) : encode_value(field, place, encoding);
        g_assert(value); /* strings are UTF-8: setters take checked text only */
        json_object_set_new_nocheck(json, field->name, value);
    }
    return json;
}

static void write_value(
    const FieldDescriptor *field, const void *value, ModelEncoding encoding, GString *text) {
    switch (field->kind) {
    case FIELD_BOOL:
        g_string_append(text, *(const bool *)value ? "true" : "false");
        return;
    case FIELD_INT:
    case FIELD_SIZE:
        g_string_append_printf(text, "%" G_GINT64_FORMAT, *(const int64_t *)value);
        return;
    case FIELD_STRING:
        json_append_string(text, *(char *const *)value);
        return;
    case FIELD_ENUM:
        json_append_string(text, model_enum_name(field->enumeration, *(const int *)value));
        return;
    case FIELD_TIME: {
        g_autofree char *time = time_to_text(*(const int64_t *)value);
        json_append_string(text, time);
        return;
    }
    case FIELD_OBJECT:
        model_write(field->type, value, encoding, UINT64_MAX, text);
        return;
    case FIELD_JSON: {
        g_autofree char *json = json_to_text(*(json_t *const *)value);
        g_string_append(text, json);
        return;
    }
    }
    g_assert_not_reached();
}

static void write_list(
    const FieldDescriptor *field, const void *place, ModelEncoding encoding, GString *text) {
    ModelList list = list_at(place);
    size_t size = model_value_size(field);
    g_string_append_c(text, '[');
    for (size_t i = 0; i < list.n; i++) {
        if (i > 0)
            g_string_append_c(text, ',');
        write_value(field, (const char *)list.items + i * size, encoding, text);
    }
    g_string_append_c(text, ']');
}

void model_write(
    const TypeDescriptor *type, const void *object, ModelEncoding encoding, uint64_t fields, GString *text) {
    uint64_t present = *(const uint64_t *)object & fields;
    gsize begun = text->len;
    g_string_append_c(text, '{');
    for (size_t i = 0; i < type->n_fields; i++) {
        const FieldDescriptor *field = &type->fields[i];
        const void *place = (const char *)object + field->offset;
        if (!(present & MODEL_BIT(i)) || !is_shown(field, encoding))
            continue;
        g_string_append(text, text->len > begun + 1 ? ",\"" : "\"");
        g_string_append(text, field->name);
        g_string_append(text, "\":");
        if (field->is_list)
            write_list(field, place, encoding, text);
        else
            write_value(field, place, encoding, text);
    }
    g_string_append_c(text, '}');
}

/* Children wait in a list of their own: no recursion on what may have come from outside. */
static void drop_secret_members(json_t *json, GPtrArray *waiting) {
    size_t i;
    json_t *value;
    const char *key;
    json_array_foreach (json, i, value)
        g_ptr_array_add(waiting, value);
    for (const char *const *name = model_secret_names; *name; name++)
        json_object_del(json, *name);
    json_object_foreach (json, key, value)
        g_ptr_array_add(waiting, value);
}

void model_drop_secrets(json_t *json) {
    g_autoptr(GPtrArray) waiting = g_ptr_array_new();
    if (json)
        g_ptr_array_add(waiting, json);
    while (waiting->len > 0)
        drop_secret_members(g_ptr_array_steal_index_fast(waiting, waiting->len - 1), waiting);
}

bool model_equal(const TypeDescriptor *type, const void *a, const void *b) {
    g_autoptr(json_t) left = model_encode(type, a, MODEL_ENCODE_ALL);
    g_autoptr(json_t) right = model_encode(type, b, MODEL_ENCODE_ALL);
    return json_equal(left, right);
}

char **model_diff(const TypeDescriptor *type, const void *a, const void *b) {
    g_autoptr(json_t) left = model_encode(type, a, MODEL_ENCODE_ALL);
    g_autoptr(json_t) right = model_encode(type, b, MODEL_ENCODE_ALL);
    GPtrArray *paths = g_ptr_array_new();
    for (size_t i = 0; i < type->n_fields; i++) {
        const char *name = type->fields[i].name;
        const json_t *x = json_object_get(left, name), *y = json_object_get(right, name);
        if (x != y && (!x || !y || !json_equal(x, y)))
            g_ptr_array_add(paths, g_strconcat("/", name, NULL));
    }
    g_ptr_array_add(paths, NULL);
    return (char **)g_ptr_array_free(paths, FALSE);
}

static void set_default(const FieldDescriptor *field, void *value) {
    const char *text = field->default_text;
    switch (field->kind) {
    case FIELD_BOOL:
        *(bool *)value = g_str_equal(text, "true");
        break;
    case FIELD_INT:
    case FIELD_SIZE:
        *(int64_t *)value = g_ascii_strtoll(text, NULL, 10);
        break;
    case FIELD_STRING:
        *(char **)value = g_strdup(text);
        break;
    case FIELD_ENUM:
        *(int *)value = model_enum_value(field->enumeration, text);
        break;
    case FIELD_TIME:
    case FIELD_OBJECT:
    case FIELD_JSON:
        g_assert_not_reached();
    }
}

static void apply_defaults_inside(const FieldDescriptor *field, void *place) {
    if (!field->is_list) {
        model_apply_defaults(field->type, place);
        return;
    }
    ModelList list = list_at(place);
    for (size_t i = 0; i < list.n; i++)
        model_apply_defaults(field->type, (char *)list.items + i * field->type->size);
}

void model_apply_defaults(const TypeDescriptor *type, void *object) {
    uint64_t *present = object;
    for (size_t i = 0; i < type->n_fields; i++) {
        const FieldDescriptor *field = &type->fields[i];
        void *place = (char *)object + field->offset;
        if (*present & MODEL_BIT(i)) {
            if (field->kind == FIELD_OBJECT)
                apply_defaults_inside(field, place);
        } else if (field->default_text && model_is_branch_open(type, object, field)) {
            set_default(field, place);
            *present |= MODEL_BIT(i);
        }
    }
}
