/* Definitions decoded once, runtime state beside them, and the one event sequence over both. */
#include "inventory/inventory.h"
#include <string.h>
#include "inventory/change.h"
#include "inventory/names.h"
#include "inventory/pool-status.h"
#include "model/format.h"
#include "model/guest-os.h"

enum {
    SHORT_ID = 8,
    MAX_REMEMBERED_EVENTS = 4000,
    MAX_REMEMBERED_BYTES = 4 << 20,
    MAX_AUDIT = 10000,
    SOON_MS = 250
};

typedef struct Subscription {
    int id;
    InventoryEventFn callback;
    void *data;
} Subscription;

/* A past event. Its data is kept as text: as objects in memory it takes five times as much. */
typedef struct Remembered {
    Event *event; /* without data */
    char *data;   /* NULL: none */
    size_t bytes; /* of the data */
} Remembered;

/* A field that shows the name of what another one refers to. */
typedef struct NameField {
    const FieldDescriptor *reference, *name;
    ResourceId kind;
} NameField;

struct Inventory {
    Store *store;
    const Clock *clock;
    char *epoch;
    int64_t sequence;
    GHashTable *objects[RESOURCE_MAX]; /* id -> Object */
    GPtrArray *lists[RESOURCE_MAX];    /* the same objects; sorted when is_sorted */
    bool is_sorted[RESOURCE_MAX];
    GHashTable *names[RESOURCE_MAX];   /* name, whatever its case -> the first Object that has it */
    GArray *name_fields[RESOURCE_MAX]; /* NameField */
    GHashTable *macs;                  /* mac -> id of its VM */
    GHashTable *vms_on;                /* host id -> GPtrArray of Object */
    GPtrArray *no_vms;
    GQueue *remembered; /* Remembered, oldest first */
    size_t remembered_bytes;
    GArray *subscriptions;
    int next_subscription;
    GHashTable *soon; /* id -> kind: whose runtime state is announced in a moment */
    guint soon_source;
};

static void object_free(void *data) {
    Object *object = data;
    model_free(resources[object->kind].type, object->data);
    g_free(object->id);
    g_free(object->name);
    g_free(object);
}

static guint name_hash(const void *name) {
    guint hash = 5381;
    for (const char *c = name; *c; c++)
        hash = hash * 33 + (guchar)g_ascii_tolower(*c);
    return hash;
}

static gboolean name_equal(const void *a, const void *b) {
    return g_ascii_strcasecmp(a, b) == 0;
}

static GArray *name_fields_of(const TypeDescriptor *type);

Inventory *inventory_new(Store *store, const Clock *clock) {
    Inventory *inventory = g_new0(Inventory, 1);
    inventory->store = store;
    inventory->clock = clock;
    inventory->epoch = uuid_new();
    for (ResourceId kind = 0; kind < RESOURCE_MAX; kind++) {
        inventory->objects[kind] = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, object_free);
        inventory->lists[kind] = g_ptr_array_new();
        inventory->names[kind] = g_hash_table_new(name_hash, name_equal);
        inventory->name_fields[kind] = name_fields_of(resources[kind].type);
    }
    inventory->vms_on =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
    inventory->no_vms = g_ptr_array_new();
    inventory->macs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    inventory->remembered = g_queue_new();
    inventory->subscriptions = g_array_new(FALSE, TRUE, sizeof(Subscription));
    inventory->soon = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    return inventory;
}

static void remembered_free(void *data) {
    Remembered *remembered = data;
    event_free(remembered->event);
    g_free(remembered->data);
    g_free(remembered);
}

void inventory_free(Inventory *inventory) {
    if (!inventory)
        return;
    for (ResourceId kind = 0; kind < RESOURCE_MAX; kind++) {
        g_ptr_array_unref(inventory->lists[kind]);
        g_hash_table_unref(inventory->names[kind]);
        g_array_unref(inventory->name_fields[kind]);
        g_hash_table_unref(inventory->objects[kind]);
    }
    g_hash_table_unref(inventory->vms_on);
    g_ptr_array_unref(inventory->no_vms);
    g_hash_table_unref(inventory->macs);
    g_queue_free_full(inventory->remembered, remembered_free);
    g_array_unref(inventory->subscriptions);
    g_clear_handle_id(&inventory->soon_source, g_source_remove);
    g_hash_table_unref(inventory->soon);
    g_free(inventory->epoch);
    g_free(inventory);
}

Store *inventory_store(Inventory *inventory) {
    return inventory->store;
}

const char *inventory_epoch(const Inventory *inventory) {
    return inventory->epoch;
}

int64_t inventory_sequence(const Inventory *inventory) {
    return inventory->sequence;
}

/* ---- the cache ---- */

static int compare_objects(const void *a, const void *b) {
    const Object *left = *(Object *const *)a, *right = *(Object *const *)b;
    int order;
    if (left->kind == RESOURCE_JOB) {
        const Job *x = left->data, *y = right->data;
        order = x->created < y->created ? -1 : x->created > y->created;
    } else {
        order = natural_compare(left->name ? left->name : "", right->name ? right->name : "");
    }
    return order ? order : strcmp(left->id, right->id);
}

/* Where it stands in the sorted list, or belongs. */
static guint place_in(const GPtrArray *list, const Object *object) {
    guint low = 0, high = list->len;
    while (low < high) {
        guint middle = low + (high - low) / 2;
        if (compare_objects(&list->pdata[middle], &object) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void list_add(Inventory *inventory, Object *object) {
    GPtrArray *list = inventory->lists[object->kind];
    if (inventory->is_sorted[object->kind])
        g_ptr_array_insert(list, (int)place_in(list, object), object);
    else
        g_ptr_array_add(list, object);
}

/* The audit stands in the order in which it was written. */
static void list_remove(Inventory *inventory, Object *object) {
    GPtrArray *list = inventory->lists[object->kind];
    guint place = inventory->is_sorted[object->kind] ? place_in(list, object) : list->len;
    if (place < list->len && list->pdata[place] == object)
        g_ptr_array_remove_index(list, place);
    else if (inventory->is_sorted[object->kind])
        g_ptr_array_remove(list, object);
    else
        g_ptr_array_remove_fast(list, object);
}

/* Names are unique but for the moment in which one object takes over another's. */
static void index_name(Inventory *inventory, Object *object) {
    if (!object->name)
        return;
    object->namesake = g_hash_table_lookup(inventory->names[object->kind], object->name);
    g_hash_table_replace(inventory->names[object->kind], object->name, object);
}

static void forget_name(Inventory *inventory, Object *object) {
    GHashTable *names = inventory->names[object->kind];
    Object *before = object->name ? g_hash_table_lookup(names, object->name) : NULL;
    if (before == object && object->namesake)
        g_hash_table_replace(names, object->namesake->name, object->namesake);
    else if (before == object)
        g_hash_table_remove(names, object->name);
    while (before && before != object && before->namesake != object)
        before = before->namesake;
    if (before && before != object)
        before->namesake = object->namesake;
    object->namesake = NULL;
}

static void index_host(Inventory *inventory, Object *object, bool is_added) {
    const char *host = ((const Vm *)object->data)->host;
    GPtrArray *vms = host ? g_hash_table_lookup(inventory->vms_on, host) : NULL;
    if (host && is_added && !vms) {
        vms = g_ptr_array_new();
        g_hash_table_insert(inventory->vms_on, g_strdup(host), vms);
    }
    if (vms && is_added)
        g_ptr_array_add(vms, object);
    else if (vms)
        g_ptr_array_remove_fast(vms, object);
    if (vms && vms->len == 0)
        g_hash_table_remove(inventory->vms_on, host);
}

static void index_macs(Inventory *inventory, const Vm *vm, bool is_added) {
    for (size_t i = 0; i < vm->nics.n; i++) {
        const char *mac = vm->nics.items[i].mac;
        if (mac && is_added)
            g_hash_table_replace(inventory->macs, g_strdup(mac), g_strdup(vm->id));
        else if (mac && g_strcmp0(g_hash_table_lookup(inventory->macs, mac), vm->id) == 0)
            g_hash_table_remove(inventory->macs, mac);
    }
}

static void index_vm(Inventory *inventory, Object *object, bool is_added) {
    index_macs(inventory, object->data, is_added);
    index_host(inventory, object, is_added);
}

static void forget_object(Inventory *inventory, ResourceId kind, const char *id) {
    Object *object = g_hash_table_lookup(inventory->objects[kind], id);
    if (!object)
        return;
    if (kind == RESOURCE_VM)
        index_vm(inventory, object, false);
    list_remove(inventory, object);
    forget_name(inventory, object);
    g_hash_table_remove(inventory->objects[kind], id);
}

/* Runtime state lives on when the definition is replaced: what the new one carries of it is older. */
static void carry_runtime(const TypeDescriptor *type, void *to, void *from) {
    uint64_t *present_to = to, *present_from = from;
    for (size_t i = 0; i < type->n_fields; i++) {
        const FieldDescriptor *field = &type->fields[i];
        if (!(field->flags & FIELD_RUNTIME) || !(*present_from & MODEL_BIT(i)))
            continue;
        size_t size = field->is_list ? sizeof(ModelList) : model_value_size(field);
        char *x = (char *)to + field->offset, *y = (char *)from + field->offset;
        for (size_t byte = 0; byte < size; byte++) {
            char swapped = x[byte];
            x[byte] = y[byte];
            y[byte] = swapped;
        }
        *present_to |= MODEL_BIT(i);
    }
}

/* Under its new name, if that has changed. */
static void rename_object(Inventory *inventory, Object *object, const char *name) {
    if (g_strcmp0(object->name, name) == 0)
        return;
    list_remove(inventory, object);
    forget_name(inventory, object);
    g_free(object->name);
    object->name = g_strdup(name);
    index_name(inventory, object);
    list_add(inventory, object);
}

static Object *add_object(
    Inventory *inventory, ResourceId kind, const char *id, const char *name, void *take_data) {
    Object *object = g_new0(Object, 1);
    *object = (Object){.kind = kind, .id = g_strdup(id), .name = g_strdup(name), .data = take_data};
    g_hash_table_insert(inventory->objects[kind], object->id, object);
    index_name(inventory, object);
    list_add(inventory, object);
    return object;
}

static Object *remember_object(Inventory *inventory, ResourceId kind, void *take_data, int64_t mod_revision) {
    const TypeDescriptor *type = resources[kind].type;
    const char *id = object_text(type, take_data, "id"), *name = object_text(type, take_data, "name");
    Object *object = g_hash_table_lookup(inventory->objects[kind], id);
    if (object) {
        if (kind == RESOURCE_VM)
            index_vm(inventory, object, false);
        rename_object(inventory, object, name);
        carry_runtime(type, take_data, object->data);
        model_free(type, object->data);
        object->data = take_data;
    } else {
        object = add_object(inventory, kind, id, name, take_data);
    }
    object->mod_revision = mod_revision;
    if (kind == RESOURCE_VM)
        index_vm(inventory, object, true);
    return object;
}

/* Built in: listed and found like what is stored, never changed. */
static void add_guest_oses(Inventory *inventory) {
    for (size_t i = 0; i < n_guest_oses; i++) {
        GuestOsInfo *info = g_new0(GuestOsInfo, 1);
        guest_os_describe(&guest_oses[i], info);
        remember_object(inventory, RESOURCE_GUEST_OS, info, 0);
    }
}

bool inventory_load(Inventory *inventory, Error *err) {
    json_object_seed(0); /* before threads make objects */
    add_guest_oses(inventory);
    for (ResourceId kind = 0; kind < RESOURCE_MAX; kind++)
        if (!resources[kind].is_singleton && kind != RESOURCE_EVENT &&
            !inventory_load_kind(inventory, kind, err))
            return false;
    return inventory_load_audit(inventory, err);
}

/* ---- look-ups ---- */

const GPtrArray *inventory_list(Inventory *inventory, ResourceId kind) {
    if (!inventory->is_sorted[kind])
        g_ptr_array_sort(inventory->lists[kind], compare_objects);
    inventory->is_sorted[kind] = true;
    return inventory->lists[kind];
}

const Object *inventory_get(Inventory *inventory, ResourceId kind, const char *id) {
    return id ? g_hash_table_lookup(inventory->objects[kind], id) : NULL;
}

const GPtrArray *inventory_vms_on(Inventory *inventory, const char *host_id) {
    const GPtrArray *vms = host_id ? g_hash_table_lookup(inventory->vms_on, host_id) : NULL;
    return vms ? vms : inventory->no_vms;
}

/* The first of those that are meant, and whether there are more. */
static const Object *find_job(Inventory *inventory, const char *short_id, bool *ret_has_more) {
    const Object *found = NULL;
    const GPtrArray *jobs = inventory->lists[RESOURCE_JOB];
    for (guint i = 0; strlen(short_id) >= SHORT_ID && i < jobs->len && !*ret_has_more; i++) {
        const Object *object = jobs->pdata[i];
        if (!g_str_has_prefix(object->id, short_id))
            continue;
        *ret_has_more = found;
        found = object;
    }
    return found;
}

static const Object *find_named(Inventory *inventory, ResourceId kind, const char *name, bool *ret_has_more) {
    const Object *found = g_hash_table_lookup(inventory->names[kind], name);
    *ret_has_more = found && found->namesake;
    return found;
}

const Object *inventory_find(Inventory *inventory, ResourceId kind, const char *name_or_id, Error *err) {
    const Object *found = inventory_get(inventory, kind, name_or_id);
    bool has_more = false;
    if (found)
        return found;
    found = kind == RESOURCE_JOB ? find_job(inventory, name_or_id, &has_more)
                                 : find_named(inventory, kind, name_or_id, &has_more);
    if (has_more)
        error_set(err, ERROR_AMBIGUOUS, NULL, "several %s are called %s", resources[kind].plural, name_or_id);
    else if (!found)
        error_set(err, ERROR_NOT_FOUND, NULL, "there is no %s %s", resources[kind].name, name_or_id);
    return has_more ? NULL : found;
}

bool inventory_has_name(Inventory *inventory, ResourceId kind, const char *name) {
    return name && g_hash_table_contains(inventory->names[kind], name);
}

bool inventory_has_mac(Inventory *inventory, const char *mac, const char **ret_vm_id) {
    const char *id = g_hash_table_lookup(inventory->macs, mac);
    if (id && ret_vm_id)
        *ret_vm_id = id;
    return id != NULL;
}

/* ---- events ---- */

static void forget_oldest(Inventory *inventory) {
    Remembered *oldest = g_queue_pop_head(inventory->remembered);
    inventory->remembered_bytes -= oldest->bytes;
    remembered_free(oldest);
}

static void remember_event(Inventory *inventory, Event *event) {
    Remembered *remembered = g_new0(Remembered, 1);
    json_t *data = json_incref(event->data);
    event_take_data(event, NULL);
    remembered->event = g_new0(Event, 1);
    event_copy(remembered->event, event);
    if (data) {
        event_take_data(event, data);
        remembered->data = json_to_text(data);
        remembered->bytes = strlen(remembered->data);
    }
    inventory->remembered_bytes += remembered->bytes;
    g_queue_push_tail(inventory->remembered, remembered);
    while (g_queue_get_length(inventory->remembered) > MAX_REMEMBERED_EVENTS ||
           inventory->remembered_bytes > MAX_REMEMBERED_BYTES)
        forget_oldest(inventory);
}

static void replay_event(const Remembered *remembered, InventoryEventFn callback, void *data) {
    g_auto(Event) event = {0};
    event_copy(&event, remembered->event);
    if (remembered->data)
        event_take_data(&event, json_parse(remembered->data, remembered->bytes, NULL));
    callback(&event, data);
}

static void send_event(Inventory *inventory, Event *event) {
    event_set_sequence(event, ++inventory->sequence);
    event_set_epoch(event, inventory->epoch);
    event_set_time(event, clock_realtime_ns(inventory->clock));
    remember_event(inventory, event);
    for (guint i = 0; i < inventory->subscriptions->len; i++) {
        Subscription subscription = g_array_index(inventory->subscriptions, Subscription, i);
        subscription.callback(event, subscription.data);
    }
}

/* Events are remembered by the thousand: what a job was asked for and what its steps keep is left to a look
 * at the job. */
static json_t *encode_for_event(Inventory *inventory, const Object *object) {
    static const char *const bulky[] = {"data", "parameters", "result"};
    json_t *json = inventory_encode(inventory, object);
    for (size_t i = 0; object->kind == RESOURCE_JOB && i < G_N_ELEMENTS(bulky); i++)
        json_object_del(json, bulky[i]);
    return json;
}

void inventory_announce(
    Inventory *inventory, const char *what, const Object *object, const char *principal, const char *job) {
    g_auto(Event) event = {0};
    event_set_kind(&event, what);
    g_autofree char *key = g_strdup_printf("%s/%s", resources[object->kind].name, object->id);
    event_set_object(&event, key);
    event_set_name(&event, object->name);
    event_set_principal(&event, principal);
    event_set_job(&event, job);
    if (!g_str_equal(what, "deleted"))
        event_take_data(&event, encode_for_event(inventory, object));
    send_event(inventory, &event);
}

bool inventory_replay(
    Inventory *inventory, int64_t sequence, InventoryEventFn callback, void *data, Error *err) {
    const Remembered *oldest = g_queue_peek_head(inventory->remembered);
    bool is_known = sequence == inventory->sequence || (oldest && sequence + 1 >= oldest->event->sequence);
    if (!is_known || sequence > inventory->sequence)
        return error_set(
            err, ERROR_TOO_OLD, NULL, "events after %" G_GINT64_FORMAT " are not remembered", sequence);
    for (GList *link = inventory->remembered->head; link; link = link->next)
        if (((const Remembered *)link->data)->event->sequence > sequence)
            replay_event(link->data, callback, data);
    return true;
}

int inventory_subscribe(Inventory *inventory, InventoryEventFn callback, void *data) {
    Subscription subscription = {++inventory->next_subscription, callback, data};
    g_array_append_val(inventory->subscriptions, subscription);
    return subscription.id;
}

void inventory_unsubscribe(Inventory *inventory, int id) {
    for (guint i = 0; i < inventory->subscriptions->len; i++) {
        if (g_array_index(inventory->subscriptions, Subscription, i).id != id)
            continue;
        g_array_remove_index(inventory->subscriptions, i);
        return;
    }
}

static int compare_audit(const void *a, const void *b) {
    const Event *left = (*(Object *const *)a)->data, *right = (*(Object *const *)b)->data;
    return left->time < right->time ? -1 : left->time > right->time;
}

void inventory_audit(Inventory *inventory, const Event *event) {
    g_auto(Event) sent = {0};
    event_copy(&sent, event);
    event_set_kind(&sent, "audit");
    send_event(inventory, &sent);
    g_autofree char *key = g_strdup_printf(
        "event/%020" G_GINT64_FORMAT "-%06" G_GINT64_FORMAT, sent.time, sent.sequence % 1000000);
    g_autoptr(json_t) json = event_encode(&sent, MODEL_ENCODE_DEFINITION);
    g_autofree char *text = json_to_text(json);
    StoreTransaction *transaction = store_transaction_new();
    store_transaction_put(transaction, key, text, strlen(text), 0);
    Object *object = g_new0(Object, 1);
    *object = (Object){.kind = RESOURCE_EVENT, .id = g_strdup(key), .data = g_new0(Event, 1)};
    event_copy(object->data, &sent);
    GPtrArray *list = inventory->lists[RESOURCE_EVENT];
    g_hash_table_insert(inventory->objects[RESOURCE_EVENT], object->id, object);
    g_ptr_array_add(list, object);
    inventory->is_sorted[RESOURCE_EVENT] = true;
    if (list->len > MAX_AUDIT) {
        const Object *oldest = list->pdata[0];
        store_transaction_delete(transaction, oldest->id);
        forget_object(inventory, RESOURCE_EVENT, oldest->id);
    }
    store_commit(inventory->store, transaction, NULL, NULL);
}

/* The audit of earlier runs: its items have no id field, their key names them. */
bool inventory_load_audit(Inventory *inventory, Error *err) {
    g_auto(StoreRange) range = {0};
    g_autofree char *last = NULL;
    for (bool has_more = true; has_more;) {
        store_range_clear(&range);
        if (!store_range(inventory->store, "event/", last, STORE_MAX_RANGE, &range, err))
            return false;
        for (size_t i = 0; i < range.n_items; i++) {
            size_t length = 0;
            const char *text = g_bytes_get_data(range.items[i].value, &length);
            g_autoptr(json_t) json = json_parse(text, length, NULL);
            Event *event = g_new0(Event, 1);
            if (!json || !event_decode(json, MODEL_STORED, event, NULL)) {
                event_free(event);
                continue;
            }
            Object *object = g_new0(Object, 1);
            *object = (Object){.kind = RESOURCE_EVENT, .id = g_strdup(range.items[i].key), .data = event};
            g_hash_table_insert(inventory->objects[RESOURCE_EVENT], object->id, object);
            g_ptr_array_add(inventory->lists[RESOURCE_EVENT], object);
        }
        has_more = range.has_more && range.n_items > 0;
        g_free(g_steal_pointer(&last));
        last = range.n_items > 0 ? g_strdup(range.items[range.n_items - 1].key) : NULL;
    }
    g_ptr_array_sort(inventory->lists[RESOURCE_EVENT], compare_audit);
    inventory->is_sorted[RESOURCE_EVENT] = true;
    return true;
}

/* ---- runtime ---- */

void *inventory_runtime(Inventory *inventory, ResourceId kind, const char *id) {
    const Object *object = inventory_get(inventory, kind, id);
    return object ? object->data : NULL;
}

void inventory_runtime_changed(Inventory *inventory, ResourceId kind, const char *id) {
    const Object *object = inventory_get(inventory, kind, id);
    if (object)
        inventory_announce(inventory, "runtime", object, NULL, NULL);
}

static gboolean announce_all(void *data) {
    Inventory *inventory = data;
    g_autoptr(GHashTable) soon = inventory->soon;
    GHashTableIter each;
    void *id, *kind;
    inventory->soon = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    inventory->soon_source = 0;
    g_hash_table_iter_init(&each, soon);
    while (g_hash_table_iter_next(&each, &id, &kind))
        inventory_runtime_changed(inventory, (ResourceId)GPOINTER_TO_UINT(kind), id);
    return G_SOURCE_REMOVE;
}

void inventory_runtime_changed_soon(Inventory *inventory, ResourceId kind, const char *id) {
    g_hash_table_replace(inventory->soon, g_strdup(id), GUINT_TO_POINTER(kind));
    if (!inventory->soon_source)
        inventory->soon_source = g_timeout_add(SOON_MS, announce_all, inventory);
}

static json_t *pool_status_json(Inventory *inventory, const char *pool_id) {
    g_auto(PoolStatus) status = {0};
    pool_describe(inventory, pool_id, &status);
    return pool_status_encode(&status, MODEL_ENCODE_PUBLIC);
}

/* `repository_name` is the name of what `repository` refers to: a rule of the schema. */
static GArray *name_fields_of(const TypeDescriptor *type) {
    GArray *fields = g_array_new(FALSE, FALSE, sizeof(NameField));
    for (size_t i = 0; i < type->n_fields; i++) {
        const FieldDescriptor *field = &type->fields[i];
        if (field->format != FORMAT_REFERENCE || field->is_list || !field->reference)
            continue;
        g_autofree char *name = g_strconcat(field->name, "_name", NULL);
        NameField row = {field, model_field(type, name), resource_find(field->reference)};
        if (row.name)
            g_array_append_val(fields, row);
    }
    return fields;
}

/* NULL: it refers to nothing, or that has no name. */
static const char *name_of_other(
    Inventory *inventory, const TypeDescriptor *type, const void *data, const NameField *row) {
    if (!(*(const uint64_t *)data & MODEL_BIT(row->reference - type->fields)))
        return NULL;
    const char *id = *(char *const *)((const char *)data + row->reference->offset);
    const Object *other = inventory_get(inventory, row->kind, id);
    return other ? other->name : NULL;
}

static void add_reference_names(Inventory *inventory, const Object *object, uint64_t fields, json_t *json) {
    const TypeDescriptor *type = resources[object->kind].type;
    const GArray *rows = inventory->name_fields[object->kind];
    for (guint i = 0; i < rows->len; i++) {
        const NameField *row = &g_array_index(rows, NameField, i);
        const char *name = name_of_other(inventory, type, object->data, row);
        if (name && (fields & MODEL_BIT(row->reference - type->fields)))
            json_object_set_new(json, row->name->name, json_string(name));
    }
}

bool inventory_can_write(ResourceId kind) {
    return kind != RESOURCE_JOB && kind != RESOURCE_POOL;
}

void inventory_write(Inventory *inventory, const Object *object, uint64_t fields, GString *text) {
    g_assert(inventory_can_write(object->kind));
    const TypeDescriptor *type = resources[object->kind].type;
    const GArray *rows = inventory->name_fields[object->kind];
    gsize begun = text->len;
    model_write(type, object->data, MODEL_ENCODE_PUBLIC, fields, text);
    g_string_truncate(text, text->len - 1);
    for (guint i = 0; i < rows->len; i++) {
        const NameField *row = &g_array_index(rows, NameField, i);
        const char *name = fields & MODEL_BIT(row->name - type->fields)
                               ? name_of_other(inventory, type, object->data, row)
                               : NULL;
        if (!name)
            continue;
        g_string_append(text, text->len > begun + 1 ? ",\"" : "\"");
        g_string_append(text, row->name->name);
        g_string_append(text, "\":");
        json_append_string(text, name);
    }
    g_string_append_c(text, '}');
}

json_t *inventory_encode(Inventory *inventory, const Object *object) {
    return inventory_encode_some(inventory, object, UINT64_MAX);
}

json_t *inventory_encode_some(Inventory *inventory, const Object *object, uint64_t fields) {
    const TypeDescriptor *type = resources[object->kind].type;
    json_t *json = model_encode_some(type, object->data, MODEL_ENCODE_PUBLIC, fields);
    add_reference_names(inventory, object, fields, json);
    if (object->kind == RESOURCE_POOL)
        json_object_set_new(json, "status", pool_status_json(inventory, object->id));
    if (object->kind == RESOURCE_JOB) {
        json_object_set_new(json, "short_id", json_stringn(object->id, SHORT_ID));
        model_drop_secrets(json_object_get(json, "parameters"));
        model_drop_secrets(json_object_get(json, "data"));
        model_drop_secrets(json_object_get(json, "result"));
    }
    return json;
}

/* ---- for change.c ---- */

const Clock *inventory_clock(const Inventory *inventory) {
    return inventory->clock;
}

const Object *inventory_apply(Inventory *inventory, ResourceId kind, void *take_data, int64_t mod_revision) {
    return remember_object(inventory, kind, take_data, mod_revision);
}

void inventory_forget(Inventory *inventory, ResourceId kind, const char *id) {
    forget_object(inventory, kind, id);
}
