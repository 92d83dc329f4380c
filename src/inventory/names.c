/* Fields by name, and an order of names that people expect. */
#include "inventory/names.h"
#include <string.h>

static const void *place_of(
    const TypeDescriptor *type, const void *data, const char *name, const FieldDescriptor **ret_field) {
    const FieldDescriptor *field = model_field(type, name);
    *ret_field = field;
    if (!field || !(*(const uint64_t *)data & MODEL_BIT(field - type->fields)))
        return NULL;
    return (const char *)data + field->offset;
}

const char *object_text(const TypeDescriptor *type, const void *data, const char *name) {
    const FieldDescriptor *field;
    const void *place = place_of(type, data, name, &field);
    return place && field->kind == FIELD_STRING && !field->is_list ? *(char *const *)place : NULL;
}

int64_t object_int(const TypeDescriptor *type, const void *data, const char *name) {
    const FieldDescriptor *field;
    const void *place = place_of(type, data, name, &field);
    return place && (field->kind == FIELD_INT || field->kind == FIELD_TIME) ? *(const int64_t *)place : 0;
}

void object_set_int(const TypeDescriptor *type, void *data, const char *name, int64_t value) {
    const FieldDescriptor *field = model_field(type, name);
    if (!field || (field->kind != FIELD_INT && field->kind != FIELD_TIME))
        return;
    *(int64_t *)((char *)data + field->offset) = value;
    *(uint64_t *)data |= MODEL_BIT(field - type->fields);
}

int natural_compare(const char *a, const char *b) {
    while (*a && *b) {
        if (g_ascii_isdigit(*a) && g_ascii_isdigit(*b)) {
            size_t na = strspn(a, "0123456789"), nb = strspn(b, "0123456789");
            guint64 x = g_ascii_strtoull(a, NULL, 10), y = g_ascii_strtoull(b, NULL, 10);
            if (x != y)
                return x < y ? -1 : 1;
            a += na;
            b += nb;
            continue;
        }
        if (*a != *b)
            return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
        a++;
        b++;
    }
    return *a ? 1 : *b ? -1 : 0;
}
