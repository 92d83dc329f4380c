/* The grammar stands in query.h. */
#include "api/query.h"
#include <string.h>
#include "base/clock.h"
#include "inventory/names.h"

enum { MAX_CONDITIONS = 32, MAX_SORT_KEYS = 8, DEFAULT_LIMIT = 100, MAX_LIMIT = 1000 };

typedef enum Comparison {
    COMPARE_EQUAL,
    COMPARE_DIFFERENT,
    COMPARE_CONTAINS,
    COMPARE_LESS,
    COMPARE_MORE,
    COMPARE_AT_MOST,
    COMPARE_AT_LEAST
} Comparison;

/* Longer ones first. */
static const struct {
    const char *text;
    Comparison comparison;
} operators[] = {
    {"!=", COMPARE_DIFFERENT},
    {"<=", COMPARE_AT_MOST},
    {">=", COMPARE_AT_LEAST},
    {"=", COMPARE_EQUAL},
    {"~", COMPARE_CONTAINS},
    {"<", COMPARE_LESS},
    {">", COMPARE_MORE},
};

typedef struct Condition {
    char **path;
    const FieldDescriptor *field;
    Comparison comparison;
    char *text;     /* as written; folded for COMPARE_CONTAINS */
    int64_t number; /* of bools, numbers, sizes and times */
} Condition;

typedef struct SortKey {
    char **path;
    bool is_descending;
} SortKey;

struct Query {
    GArray *conditions, *sort;
    size_t limit;
    json_t *after; /* the cursor's array of keys, or NULL */
    char **fields; /* or NULL for all */
    uint64_t deciding, chosen;
    bool is_default_sort;
};

static void clear_condition(void *data) {
    Condition *condition = data;
    g_strfreev(condition->path);
    g_free(condition->text);
}

static void clear_sort_key(void *data) {
    g_strfreev(((SortKey *)data)->path);
}

void query_free(Query *query) {
    if (!query)
        return;
    g_array_unref(query->conditions);
    g_array_unref(query->sort);
    json_decref(query->after);
    g_strfreev(query->fields);
    g_free(query);
}

/* The field at a dotted path; *path gets "status" in front where only the state has that field. */
static const FieldDescriptor *find_field(const TypeDescriptor *type, char ***path) {
    const FieldDescriptor *status = model_field(type, "status");
    if (!model_field(type, (*path)[0]) && status && status->type && model_field(status->type, (*path)[0])) {
        g_autofree char *joined = g_strjoinv(".", *path);
        g_autofree char *full = g_strconcat("status.", joined, NULL);
        g_strfreev(*path);
        *path = g_strsplit(full, ".", -1);
    }
    const FieldDescriptor *field = NULL;
    for (char **part = *path; *part; part++) {
        field = type ? model_field(type, *part) : NULL;
        if (!field || field->flags & (FIELD_SECRET | FIELD_WRITE_ONLY | FIELD_HIDDEN))
            return NULL;
        type = field->kind == FIELD_OBJECT ? field->type : NULL;
    }
    return field;
}

static bool parse_size(const char *text, int64_t *ret_value) {
    static const struct {
        const char *unit;
        int shift;
    } units[] = {{"", 0}, {"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}, {"K", 10}, {"M", 20},
        {"G", 30}, {"T", 40}};
    char *end = NULL;
    if (!g_ascii_isdigit(*text))
        return false;
    guint64 value = g_ascii_strtoull(text, &end, 10);
    for (size_t i = 0; i < G_N_ELEMENTS(units); i++)
        if (g_str_equal(end, units[i].unit) && value <= (guint64)MODEL_SIZE_MAX >> units[i].shift) {
            *ret_value = (int64_t)(value << units[i].shift);
            return true;
        }
    return false;
}

static bool parse_value(const FieldDescriptor *field, const char *text, int64_t *ret_number) {
    switch (field->kind) {
    case FIELD_BOOL:
        *ret_number = g_str_equal(text, "true");
        return *ret_number || g_str_equal(text, "false");
    case FIELD_INT:
        return g_ascii_string_to_signed(text, 10, INT64_MIN, INT64_MAX, ret_number, NULL);
    case FIELD_SIZE:
        return parse_size(text, ret_number);
    case FIELD_TIME:
        return time_from_text(text, ret_number);
    case FIELD_ENUM:
        return model_enum_value(field->enumeration, text) >= 0;
    case FIELD_STRING:
        return true;
    case FIELD_OBJECT:
    case FIELD_JSON:
        return false;
    }
    g_assert_not_reached();
}

static bool is_text(const FieldDescriptor *field) {
    return field->kind == FIELD_STRING || field->kind == FIELD_ENUM;
}

static bool refuse_value(const FieldDescriptor *field, const char *path, const char *value, Error *err) {
    if (field->kind != FIELD_ENUM)
        return error_set(err, ERROR_INVALID, "/filter", "%s cannot be compared with \"%s\"", path, value);
    g_autofree char *names = model_enum_names(field->enumeration);
    return error_set(err, ERROR_INVALID, "/filter", "%s must be one of %s, not \"%s\"", path, names, value);
}

static bool fill_condition(const TypeDescriptor *type, const char *text, size_t path_length, size_t value_at,
    Condition *condition, Error *err) {
    g_autofree char *path = g_strndup(text, path_length);
    condition->path = g_strsplit(path, ".", -1);
    condition->field = condition->path[0] ? find_field(type, &condition->path) : NULL;
    if (!condition->field)
        return error_set(err, ERROR_UNKNOWN_FIELD, "/filter", "there is no field %s to filter by", path);
    const FieldDescriptor *field = condition->field;
    bool is_partial = condition->comparison == COMPARE_CONTAINS;
    if (is_partial ? !is_text(field) : !parse_value(field, text + value_at, &condition->number))
        return refuse_value(field, path, text + value_at, err);
    condition->text = is_partial                    ? g_utf8_casefold(text + value_at, -1)
                      : field->kind == FIELD_STRING ? model_normal_string(field, text + value_at)
                                                    : g_strdup(text + value_at);
    return true;
}

static bool parse_condition(const TypeDescriptor *type, const char *text, Condition *condition, Error *err) {
    size_t length = strcspn(text, "!=~<>");
    for (size_t i = 0; length > 0 && i < G_N_ELEMENTS(operators); i++) {
        if (!g_str_has_prefix(text + length, operators[i].text))
            continue;
        condition->comparison = operators[i].comparison;
        return fill_condition(type, text, length, length + strlen(operators[i].text), condition, err);
    }
    return error_set(err, ERROR_INVALID, "/filter", "\"%s\" is no condition such as name~web", text);
}

static bool parse_filter(const TypeDescriptor *type, const char *text, Query *query, Error *err) {
    if (!text || !*text)
        return true;
    g_auto(GStrv) parts = g_strsplit(text, ",", MAX_CONDITIONS + 1);
    if (g_strv_length(parts) > MAX_CONDITIONS)
        return error_set(err, ERROR_INVALID, "/filter", "at most %d conditions are possible", MAX_CONDITIONS);
    for (char **part = parts; *part; part++) {
        Condition condition = {0};
        bool ok = parse_condition(type, *part, &condition, err);
        g_array_append_val(query->conditions, condition);
        if (!ok)
            return false;
    }
    return true;
}

static bool parse_sort(const TypeDescriptor *type, const char *text, Query *query, Error *err) {
    g_auto(GStrv) parts = g_strsplit(text, ",", MAX_SORT_KEYS + 1);
    if (g_strv_length(parts) > MAX_SORT_KEYS)
        return error_set(err, ERROR_INVALID, "/sort", "at most %d keys are possible", MAX_SORT_KEYS);
    for (char **part = parts; *part; part++) {
        SortKey key = {.is_descending = **part == '-'};
        const char *name = *part + key.is_descending;
        key.path = g_strsplit(name, ".", -1);
        const FieldDescriptor *field = key.path[0] ? find_field(type, &key.path) : NULL;
        g_array_append_val(query->sort, key);
        if (!field || field->is_list || field->kind == FIELD_OBJECT || field->kind == FIELD_JSON)
            return error_set(err, ERROR_UNKNOWN_FIELD, "/sort", "there is no field %s to sort by", name);
    }
    return true;
}

static bool parse_limit(const char *text, Query *query, Error *err) {
    guint64 limit = DEFAULT_LIMIT;
    if (text && !g_ascii_string_to_unsigned(text, 10, 1, MAX_LIMIT, &limit, NULL))
        return error_set(err, ERROR_INVALID, "/limit", "limit: must lie between 1 and %d", MAX_LIMIT);
    query->limit = limit;
    return true;
}

/* The keys of the sort order and one more, so that no two rows are equal. */
static guint count_keys(const Query *query) {
    return query->sort->len + 1;
}

static bool parse_cursor(const char *text, Query *query, Error *err) {
    if (!text)
        return true;
    gsize length = 0;
    g_autofree guchar *bytes = g_base64_decode(text, &length);
    query->after = bytes ? json_parse((const char *)bytes, length, NULL) : NULL;
    if (json_is_array(query->after) && json_array_size(query->after) == count_keys(query))
        return true;
    return error_set(err, ERROR_INVALID, "/cursor", "cursor: not one of this list in this order");
}

static bool parse_fields(const TypeDescriptor *type, const char *text, Query *query, Error *err) {
    if (!text || !*text)
        return true;
    query->fields = g_strsplit(text, ",", (int)type->n_fields + 1);
    for (char **name = query->fields; *name; name++)
        if (!model_field(type, *name))
            return error_set(err, ERROR_UNKNOWN_FIELD, "/fields", "%s: no such field", *name);
    return true;
}

/* A name of what another field refers to follows from that one. */
static void note_deciding(const TypeDescriptor *type, const char *name, Query *query) {
    static const char suffix[] = "_name";
    g_autofree char *other =
        g_str_has_suffix(name, suffix) ? g_strndup(name, strlen(name) - strlen(suffix)) : NULL;
    const FieldDescriptor *field = model_field(type, name),
                          *reference = other ? model_field(type, other) : NULL;
    query->deciding |=
        (field ? MODEL_BIT(field - type->fields) : 0) | (reference ? MODEL_BIT(reference - type->fields) : 0);
}

static void collect_chosen(const TypeDescriptor *type, Query *query) {
    query->chosen = query->fields ? 0 : UINT64_MAX;
    for (size_t i = 0; query->fields && i < type->n_fields; i++)
        if (g_str_equal(type->fields[i].name, "id") ||
            g_strv_contains((const char *const *)query->fields, type->fields[i].name))
            query->chosen |= MODEL_BIT(i);
}

static void collect_deciding(const TypeDescriptor *type, Query *query) {
    note_deciding(type, "id", query);
    for (guint i = 0; i < query->conditions->len; i++)
        note_deciding(type, g_array_index(query->conditions, Condition, i).path[0], query);
    for (guint i = 0; i < query->sort->len; i++)
        note_deciding(type, g_array_index(query->sort, SortKey, i).path[0], query);
}

static bool check_names(const HttpTarget *target, Error *err) {
    static const char *const known[] = {"filter", "sort", "limit", "cursor", "fields", NULL};
    for (guint i = 0; i < target->parameter_names->len; i++) {
        const char *name = g_ptr_array_index(target->parameter_names, i);
        g_autofree char *field = g_strconcat("/", name, NULL);
        if (!g_strv_contains(known, name))
            return error_set(err, ERROR_UNKNOWN_FIELD, field, "%s: no such parameter of a list", name);
    }
    return true;
}

bool query_parse(const TypeDescriptor *type, const HttpTarget *target, const char *default_sort,
    Query **ret_query, Error *err) {
    g_autoptr(Query) query = g_new0(Query, 1);
    query->conditions = g_array_new(FALSE, FALSE, sizeof(Condition));
    g_array_set_clear_func(query->conditions, clear_condition);
    query->sort = g_array_new(FALSE, FALSE, sizeof(SortKey));
    g_array_set_clear_func(query->sort, clear_sort_key);
    const char *sort = http_target_parameter(target, "sort");
    query->is_default_sort = !sort || !*sort || g_str_equal(sort, default_sort);
    if (!check_names(target, err) ||
        !parse_filter(type, http_target_parameter(target, "filter"), query, err) ||
        !parse_sort(type, sort && *sort ? sort : default_sort, query, err) ||
        !parse_limit(http_target_parameter(target, "limit"), query, err) ||
        !parse_cursor(http_target_parameter(target, "cursor"), query, err) ||
        !parse_fields(type, http_target_parameter(target, "fields"), query, err))
        return false;
    collect_deciding(type, query);
    collect_chosen(type, query);
    *ret_query = g_steal_pointer(&query);
    return true;
}

static int64_t number_of(const FieldDescriptor *field, const json_t *value) {
    int64_t time = 0;
    if (field->kind == FIELD_BOOL)
        return json_is_true(value);
    if (field->kind != FIELD_TIME)
        return json_integer_value(value);
    return json_is_string(value) && time_from_text(json_string_value(value), &time) ? time : 0;
}

static bool holds(Comparison comparison, int order) {
    switch (comparison) {
    case COMPARE_EQUAL:
    case COMPARE_DIFFERENT: /* the caller turns the answer round */
        return order == 0;
    case COMPARE_LESS:
        return order < 0;
    case COMPARE_MORE:
        return order > 0;
    case COMPARE_AT_MOST:
        return order <= 0;
    case COMPARE_AT_LEAST:
        return order >= 0;
    case COMPARE_CONTAINS:
        break;
    }
    g_assert_not_reached();
}

static bool value_matches(const Condition *condition, const json_t *value) {
    if (!is_text(condition->field)) {
        int64_t number = number_of(condition->field, value);
        return holds(condition->comparison, (number > condition->number) - (number < condition->number));
    }
    const char *text = json_string_value(value);
    if (!text)
        return false;
    if (condition->comparison != COMPARE_CONTAINS)
        return holds(condition->comparison, strcmp(text, condition->text));
    g_autofree char *folded = g_utf8_casefold(text, -1);
    return strstr(folded, condition->text);
}

/* Every value at the path: lists on the way are spread out. */
static GPtrArray *collect(const json_t *row, char *const *path) {
    GPtrArray *values = g_ptr_array_new();
    g_ptr_array_add(values, (void *)row);
    for (char *const *part = path;; part++) {
        g_autoptr(GPtrArray) spread = g_ptr_array_new();
        for (guint i = 0; i < values->len; i++) {
            json_t *value = g_ptr_array_index(values, i), *item;
            size_t at;
            if (!json_is_array(value))
                g_ptr_array_add(spread, value);
            json_array_foreach (value, at, item)
                g_ptr_array_add(spread, item);
        }
        g_ptr_array_set_size(values, 0);
        for (guint i = 0; i < spread->len; i++) {
            json_t *value = g_ptr_array_index(spread, i);
            json_t *next = *part ? json_object_get(value, *part) : value;
            if (next)
                g_ptr_array_add(values, next);
        }
        if (!*part)
            return values;
    }
}

static bool name_matches(const Condition *condition, const json_t *row) {
    if (condition->field->format != FORMAT_REFERENCE || condition->path[1])
        return false;
    g_autofree char *name = g_strconcat(condition->path[0], "_name", NULL);
    const json_t *value = json_object_get(row, name);
    return value && value_matches(condition, value);
}

static bool condition_holds(const Condition *condition, const json_t *row) {
    g_autoptr(GPtrArray) values = collect(row, condition->path);
    bool found = is_text(condition->field) && name_matches(condition, row);
    for (guint i = 0; i < values->len && !found; i++)
        found = value_matches(condition, g_ptr_array_index(values, i));
    return condition->comparison == COMPARE_DIFFERENT ? !found : found;
}

uint64_t query_chosen(const Query *query) {
    return query->chosen;
}

uint64_t query_fields(const Query *query) {
    return query->deciding;
}

bool query_matches(const Query *query, const json_t *row) {
    for (guint i = 0; i < query->conditions->len; i++)
        if (!condition_holds(&g_array_index(query->conditions, Condition, i), row))
            return false;
    return true;
}

static json_t *sort_keys(const Query *query, const json_t *row) {
    json_t *keys = json_array();
    for (guint i = 0; i < query->sort->len; i++) {
        const json_t *value = row;
        for (char **part = g_array_index(query->sort, SortKey, i).path; *part; part++)
            value = json_object_get(value, *part);
        json_array_append_new(keys, value ? json_incref((json_t *)value) : json_null());
    }
    const json_t *id = json_object_get(row, "id");
    const json_t *last = id ? id : json_object_get(row, "sequence");
    json_array_append_new(keys, last ? json_incref((json_t *)last) : json_null());
    return keys;
}

/* Absent first, then numbers, then texts. */
static int compare_values(const json_t *a, const json_t *b) {
    if (json_is_integer(a) && json_is_integer(b)) {
        json_int_t x = json_integer_value(a), y = json_integer_value(b);
        return (x > y) - (x < y);
    }
    if (json_is_string(a) && json_is_string(b))
        return natural_compare(json_string_value(a), json_string_value(b));
    int x = json_is_null(a) ? 0 : 1 + (int)json_typeof(a), y = json_is_null(b) ? 0 : 1 + (int)json_typeof(b);
    return (x > y) - (x < y);
}

/* The last key has no order for people, it only tells rows apart. */
static int compare_last(const json_t *a, const json_t *b) {
    if (json_is_string(a) && json_is_string(b))
        return strcmp(json_string_value(a), json_string_value(b));
    return compare_values(a, b);
}

static int compare_keys(const Query *query, const json_t *a, const json_t *b) {
    guint last = query->sort->len;
    for (guint i = 0; i < last; i++) {
        int order = compare_values(json_array_get(a, i), json_array_get(b, i));
        if (order)
            return g_array_index(query->sort, SortKey, i).is_descending ? -order : order;
    }
    return compare_last(json_array_get(a, last), json_array_get(b, last));
}

bool query_is_plain(const Query *query) {
    return query->is_default_sort && query->conditions->len == 0;
}

bool query_has_cursor(const Query *query) {
    return query->after;
}

size_t query_limit(const Query *query) {
    return query->limit;
}

bool query_is_behind(const Query *query, const char *name, const char *id) {
    if (!query->after)
        return true;
    g_autoptr(json_t) keys = json_pack("[s?s]", name, id);
    return compare_keys(query, keys, query->after) > 0;
}

typedef struct SortedRow {
    json_t *keys, *row;
} SortedRow;

static int compare_rows(const void *a, const void *b, void *query) {
    return compare_keys(query, ((const SortedRow *)a)->keys, ((const SortedRow *)b)->keys);
}

static void clear_sorted_row(void *row) {
    json_decref(((SortedRow *)row)->keys);
}

json_t *query_choose(const Query *query, json_t *row) {
    if (!query->fields)
        return json_incref(row);
    json_t *chosen = json_object();
    const char *name;
    json_t *value;
    json_object_foreach (row, name, value)
        if (g_str_equal(name, "id") || g_strv_contains((const char *const *)query->fields, name))
            json_object_set(chosen, name, value);
    return chosen;
}

static char *make_cursor(const json_t *keys) {
    g_autofree char *text = json_to_text(keys);
    return g_base64_encode((const guchar *)text, strlen(text));
}

char *query_cursor_behind(const char *name, const char *id) {
    g_autoptr(json_t) keys = json_pack("[s?s]", name, id);
    return make_cursor(keys);
}

json_t *query_page(const Query *query, GPtrArray *rows) {
    g_autoptr(GArray) sorted = g_array_new(FALSE, FALSE, sizeof(SortedRow));
    g_array_set_clear_func(sorted, clear_sorted_row);
    for (guint i = 0; i < rows->len; i++) {
        json_t *row = g_ptr_array_index(rows, i);
        SortedRow item = {.keys = sort_keys(query, row), .row = row};
        g_array_append_val(sorted, item);
    }
    g_array_sort_with_data(sorted, compare_rows, (void *)query);
    json_t *items = json_array(), *page = json_pack("{so}", "items", items);
    for (guint i = 0; i < sorted->len; i++) {
        const SortedRow *item = &g_array_index(sorted, SortedRow, i);
        if (query->after && compare_keys(query, item->keys, query->after) <= 0)
            continue;
        if (json_array_size(items) == query->limit) {
            g_autofree char *cursor = make_cursor(g_array_index(sorted, SortedRow, i - 1).keys);
            json_object_set_new(page, "next", json_string(cursor));
            break;
        }
        json_array_append_new(items, query_choose(query, item->row));
    }
    return page;
}
