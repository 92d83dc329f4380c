/*
 * Changes of definitions: one store transaction with a compare for each object, and index items that make
 * names and MACs unique whoever commits first: "name/<kind>/<name in lower case>" and "mac/<mac>" hold the id
 * of their object.
 */
#include "inventory/change.h"
#include <string.h>
#include "inventory/names.h"

typedef struct Part {
    ResourceId kind;
    char *id;
    void *data; /* NULL: delete */
    bool is_new;
} Part;

struct InventoryChange {
    Inventory *inventory;
    GArray *parts;
    char *principal, *job;
    InventoryDoneFn done;
    void *done_data;
};

static void part_clear(void *data) {
    Part *part = data;
    if (part->data)
        model_free(resources[part->kind].type, part->data);
    g_free(part->id);
}

InventoryChange *inventory_change_new(Inventory *inventory) {
    InventoryChange *change = g_new0(InventoryChange, 1);
    change->inventory = inventory;
    change->parts = g_array_new(FALSE, TRUE, sizeof(Part));
    g_array_set_clear_func(change->parts, part_clear);
    return change;
}

void inventory_change_free(InventoryChange *change) {
    if (!change)
        return;
    g_array_unref(change->parts);
    g_free(change->principal);
    g_free(change->job);
    g_free(change);
}

void inventory_change_by(InventoryChange *change, const char *principal, const char *job) {
    g_free(change->principal);
    change->principal = g_strdup(principal);
    g_free(change->job);
    change->job = g_strdup(job);
}

void inventory_change_put(InventoryChange *change, ResourceId kind, const void *data) {
    const TypeDescriptor *type = resources[kind].type;
    Part part = {.kind = kind, .data = g_malloc0(type->size)};
    model_copy(type, part.data, data);
    part.id = g_strdup(object_text(type, part.data, "id"));
    g_assert(part.id);
    const Object *known = inventory_get(change->inventory, kind, part.id);
    int64_t now = clock_realtime_ns(inventory_clock(change->inventory));
    part.is_new = !known;
    if (!known && object_int(type, part.data, "created") == 0)
        object_set_int(type, part.data, "created", now);
    object_set_int(type, part.data, "updated", now);
    int64_t before = known ? object_int(type, known->data, "revision") : 0;
    /* Above that of a definition which a repository gave back, too; another manager's epoch may be higher. */
    object_set_int(type, part.data, "revision", MAX(before, object_int(type, part.data, "revision")) + 1);
    int64_t epoch = store_epoch(inventory_store(change->inventory));
    object_set_int(type, part.data, "epoch", MAX(epoch, object_int(type, part.data, "epoch")));
    g_array_append_val(change->parts, part);
}

void inventory_change_delete(InventoryChange *change, ResourceId kind, const char *id) {
    Part part = {.kind = kind, .id = g_strdup(id)};
    g_array_append_val(change->parts, part);
}

/* Keys of the index items of an object: its name and the MACs of a VM. */
static void collect_index(ResourceId kind, const void *data, GHashTable *keys) {
    const char *name = object_text(resources[kind].type, data, "name");
    g_autofree char *plain = name ? g_ascii_strdown(name, -1) : NULL; /* host names ignore case */
    if (plain)
        g_hash_table_add(keys, g_strdup_printf("name/%s/%s", resources[kind].name, plain));
    if (kind != RESOURCE_VM)
        return;
    const Vm *vm = data;
    for (size_t i = 0; i < vm->nics.n; i++)
        if (vm->nics.items[i].mac)
            g_hash_table_add(keys, g_strconcat("mac/", vm->nics.items[i].mac, NULL));
}

static void write_index(StoreTransaction *transaction, const Part *part, const Object *known) {
    g_autoptr(GHashTable) before = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GHashTable) after = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    if (known)
        collect_index(part->kind, known->data, before);
    if (part->data)
        collect_index(part->kind, part->data, after);
    GHashTableIter iter;
    void *key;
    g_hash_table_iter_init(&iter, before);
    while (g_hash_table_iter_next(&iter, &key, NULL))
        if (!g_hash_table_contains(after, key))
            store_transaction_delete(transaction, key);
    g_hash_table_iter_init(&iter, after);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        if (g_hash_table_contains(before, key))
            continue;
        store_transaction_compare(transaction, key, 0);
        store_transaction_put(transaction, key, part->id, strlen(part->id), 0);
    }
}

static void write_part(Inventory *inventory, StoreTransaction *transaction, const Part *part) {
    const Object *known = inventory_get(inventory, part->kind, part->id);
    g_autofree char *key = g_strdup_printf("%s/%s", resources[part->kind].name, part->id);
    store_transaction_compare(transaction, key, known ? known->mod_revision : 0);
    if (part->kind != RESOURCE_JOB)
        write_index(transaction, part, known);
    if (!part->data) {
        store_transaction_delete(transaction, key);
        return;
    }
    g_autoptr(json_t) json = model_encode(resources[part->kind].type, part->data, MODEL_ENCODE_DEFINITION);
    g_autofree char *text = json_to_text(json);
    store_transaction_put(transaction, key, text, strlen(text), 0);
}

static void apply_part(const InventoryChange *change, Part *part, int64_t revision) {
    if (part->data) {
        const Object *object =
            inventory_apply(change->inventory, part->kind, g_steal_pointer(&part->data), revision);
        inventory_announce(
            change->inventory, part->is_new ? "created" : "changed", object, change->principal, change->job);
        return;
    }
    const Object *object = inventory_get(change->inventory, part->kind, part->id);
    if (!object)
        return;
    inventory_announce(change->inventory, "deleted", object, change->principal, change->job);
    inventory_forget(change->inventory, part->kind, part->id);
}

/* A taken name reads better as such than as a failed compare. */
static void explain(const Error *err, Error *ret_explained) {
    if (err->code == ERROR_PRECONDITION && strstr(err->message, "name/"))
        error_set(ret_explained, ERROR_EXISTS, "/name", "that name is taken");
    else if (err->code == ERROR_PRECONDITION && strstr(err->message, "mac/"))
        error_set(ret_explained, ERROR_EXISTS, "/nics", "that MAC is taken");
    else
        error_copy(ret_explained, err);
}

static void committed(int64_t revision, const Error *err, void *data) {
    InventoryChange *change = data;
    g_auto(Error) explained = {0};
    if (err)
        explain(err, &explained);
    for (guint i = 0; !err && i < change->parts->len; i++)
        apply_part(change, &g_array_index(change->parts, Part, i), revision);
    if (change->done)
        change->done(err ? &explained : NULL, change->done_data);
    inventory_change_free(change);
}

void inventory_commit(Inventory *inventory, InventoryChange *take_change, InventoryDoneFn done, void *data) {
    StoreTransaction *transaction = store_transaction_new();
    for (guint i = 0; i < take_change->parts->len; i++)
        write_part(inventory, transaction, &g_array_index(take_change->parts, Part, i));
    take_change->done = done;
    take_change->done_data = data;
    store_commit(inventory_store(inventory), transaction, committed, take_change);
}
