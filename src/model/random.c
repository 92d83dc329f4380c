/* Valid random objects, for round-trip tests of everything that is generated. */
#include <string.h>
#include "base/clock.h"
#include "model/model.h"

enum { MAX_RANDOM_ITEMS = 3, MAX_RANDOM_LENGTH = 12 };

static char *random_string(const FieldDescriptor *field, GRand *random) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    GString *text = g_string_new(NULL);
    static const char *const patterns[] = {[FORMAT_UUID] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        [FORMAT_MAC] = "52:54:00:xx:xx:xx",
        [FORMAT_MAC_RANGE] = "52:54:xx",
        [FORMAT_SSH_KEY] = "ssh-ed25519 AAAAxxxx me",
        [FORMAT_SUBNET] = "192.168.77.0/24",
        [FORMAT_INTERFACE] = "brxxxx",
        [FORMAT_MODULE] = "mod_xxxx",
        [FORMAT_KEYMAP] = "de(nodeadkeys)",
        [FORMAT_REFERENCE] = NULL};
    const char *pattern = patterns[field->format];
    if (pattern) {
        for (const char *c = pattern; *c; c++)
            g_string_append_c(text, *c == 'x' ? "0123456789abcdef"[g_rand_int_range(random, 0, 16)] : *c);
        return g_string_free(text, FALSE);
    }
    if (field->format == FORMAT_PATH)
        g_string_append_c(text, '/');
    int length = 1 + g_rand_int_range(random, 0, MAX_RANDOM_LENGTH);
    for (int i = 0; i < length && text->len < (size_t)field->maximum; i++)
        g_string_append_c(text, letters[g_rand_int_range(random, 0, (int)sizeof letters - 1)]);
    if ((field->format == FORMAT_LINE || field->format == FORMAT_TEXT) &&
        text->len + 12 < (size_t)field->maximum)
        g_string_append(text, "\303\244\"\\<\342\202\254");
    return g_string_free(text, FALSE);
}

static int64_t random_integer(const FieldDescriptor *field, GRand *random) {
    uint64_t range = (uint64_t)field->maximum - (uint64_t)field->minimum;
    uint64_t value = ((uint64_t)g_rand_int(random) << 32) | g_rand_int(random);
    return (int64_t)((uint64_t)field->minimum + (range == UINT64_MAX ? value : value % (range + 1)));
}

static void random_value(const FieldDescriptor *field, GRand *random, void *value) {
    switch (field->kind) {
    case FIELD_BOOL:
        *(bool *)value = g_rand_boolean(random);
        break;
    case FIELD_INT:
    case FIELD_SIZE:
        *(int64_t *)value = random_integer(field, random);
        break;
    case FIELD_STRING:
        *(char **)value = random_string(field, random);
        break;
    case FIELD_ENUM:
        *(int *)value = g_rand_int_range(random, 0, (int)field->enumeration->n_values);
        break;
    case FIELD_TIME:
        *(int64_t *)value = (int64_t)g_rand_int(random) * NS_PER_S;
        break;
    case FIELD_OBJECT:
        model_random(field->type, random, value);
        break;
    case FIELD_JSON:
        *(json_t **)value =
            json_pack("{s:i, s:[s]}", "number", g_rand_int_range(random, 0, 100), "list", "x");
        break;
    }
}

void model_random(const TypeDescriptor *type, GRand *random, void *object) {
    memset(object, 0, type->size);
    uint64_t *present = object;
    for (size_t i = 0; i < type->n_fields; i++) {
        const FieldDescriptor *field = &type->fields[i];
        bool is_wanted = (field->flags & FIELD_REQUIRED) || g_rand_boolean(random);
        if (!is_wanted || !model_is_branch_open(type, object, field))
            continue;
        void *place = (char *)object + field->offset;
        *present |= MODEL_BIT(i);
        if (!field->is_list) {
            random_value(field, random, place);
            continue;
        }
        int n = g_rand_int_range(random, 0, MAX_RANDOM_ITEMS + 1);
        for (int item = 0; item < n; item++)
            random_value(field, random, model_list_add(place, model_value_size(field)));
    }
}
