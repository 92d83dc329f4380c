#include "manager/reconcile.h"
#include <string.h>
#include "base/log.h"
#include "manager/repository-hosts.h"

enum { RETRY_S = 5 };
#define MARK_PREFIX "meta/reconciled/" /* and a repository's id: the epoch in which it was read last */

struct Reconciler {
    Inventory *inventory;
    Fleet *fleet;
    GHashTable *readings; /* repository id -> Reading */
};

/* A repository's VMs arrive page by page. */
typedef struct Reading {
    Reconciler *reconciler;
    char *repository_id, *host_id, *after;
    AgentRepositoryContent content;
    guint retry_source;
} Reading;

static void reading_free(void *data) {
    Reading *reading = data;
    g_clear_handle_id(&reading->retry_source, g_source_remove);
    agent_repository_content_clear(&reading->content);
    g_free(reading->repository_id);
    g_free(reading->host_id);
    g_free(reading->after);
    g_free(reading);
}

Reconciler *reconciler_new(Inventory *inventory, Fleet *fleet) {
    Reconciler *reconciler = g_new0(Reconciler, 1);
    *reconciler = (Reconciler){inventory, fleet, NULL};
    reconciler->readings = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, reading_free);
    return reconciler;
}

void reconciler_free(Reconciler *reconciler) {
    if (!reconciler)
        return;
    g_hash_table_unref(reconciler->readings);
    g_free(reconciler);
}

/* ---- which were read ---- */

bool reconcile_is_needed(Inventory *inventory) {
    return store_epoch(inventory_store(inventory)) > 1;
}

static bool is_read(Inventory *inventory, const char *repository_id) {
    g_autofree char *key = g_strconcat(MARK_PREFIX, repository_id, NULL);
    g_autofree char *epoch = g_strdup_printf("%" G_GINT64_FORMAT, store_epoch(inventory_store(inventory)));
    g_auto(StoreItem) item = {0};
    if (!store_get(inventory_store(inventory), key, &item, NULL))
        return false;
    g_autofree char *text = g_strndup(g_bytes_get_data(item.value, NULL), g_bytes_get_size(item.value));
    return g_str_equal(text, epoch);
}

bool reconcile_check(Inventory *inventory, const char *repository_id, Error *err) {
    const Object *object = inventory_get(inventory, RESOURCE_REPOSITORY, repository_id);
    if (!object || !reconcile_is_needed(inventory) || is_read(inventory, repository_id))
        return true;
    return error_set(err, ERROR_BUSY, NULL,
        "the repository %s was not compared with the restored backup yet: it may hold newer definitions",
        object->name);
}

/* Behind what was taken over, because the store keeps the order. */
static void mark_read(Inventory *inventory, const char *repository_id) {
    g_autofree char *key = g_strconcat(MARK_PREFIX, repository_id, NULL);
    g_autofree char *epoch = g_strdup_printf("%" G_GINT64_FORMAT, store_epoch(inventory_store(inventory)));
    StoreTransaction *transaction = store_transaction_new();
    store_transaction_put(transaction, key, epoch, strlen(epoch), 0);
    store_commit(inventory_store(inventory), transaction, NULL, NULL);
}

/* ---- comparing ---- */

static char *name_and_id(const Vm *vm) {
    return g_strdup_printf("%s (%s)", vm->name ? vm->name : "without name", vm->id);
}

static bool is_newer(const Vm *vm, const Vm *than) {
    return vm->epoch != than->epoch ? vm->epoch > than->epoch : vm->revision > than->revision;
}

/* Over what the store knows, because repositories hold no secrets. A job that changes the VM at this moment
 * wins: the commit compares revisions. */
static void take_over(Inventory *inventory, const Vm *known, const Vm *newer) {
    g_autoptr(json_t) merged = vm_encode(known, MODEL_ENCODE_DEFINITION);
    g_autoptr(json_t) above = vm_encode(newer, MODEL_ENCODE_DEFINITION);
    g_auto(Vm) vm = {0};
    g_auto(Error) err = {0};
    json_object_update_recursive(merged, above);
    if (!vm_decode(merged, MODEL_STORED, &vm, &err)) {
        log_warning("VM %s: its repository's definition cannot be taken over: %s", known->id, err.message);
        return;
    }
    log_info("VM %s: its repository's definition is newer than the backup; it is taken over", known->id);
    InventoryChange *change = inventory_change_new(inventory);
    inventory_change_put(change, RESOURCE_VM, &vm);
    inventory_commit(inventory, change, NULL, NULL);
}

static void compare(Inventory *inventory, const AgentRepositoryContent *content, RepositoryStatus *status) {
    g_autoptr(GHashTable) present = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t i = 0; i < content->vms.n; i++) {
        const Vm *vm = &content->vms.items[i];
        g_hash_table_add(present, vm->id);
        const Object *known = inventory_get(inventory, RESOURCE_VM, vm->id);
        g_autofree char *text = name_and_id(vm);
        if (!known)
            repository_status_add_unknown_vms(status, text);
        else if (is_newer(vm, known->data))
            take_over(inventory, known->data, vm);
    }
    const GPtrArray *vms = inventory_list(inventory, RESOURCE_VM);
    for (guint i = 0; i < vms->len; i++) {
        const Vm *vm = ((const Object *)vms->pdata[i])->data;
        bool is_being_made = vm_has(vm, VM_FIELD_STATUS) && vm->status.state == VM_STATE_CREATING;
        if (g_strcmp0(vm->repository, content->repository.id) != 0 || is_being_made ||
            g_hash_table_contains(present, vm->id))
            continue;
        g_autofree char *text = name_and_id(vm);
        repository_status_add_missing_vms(status, text);
    }
}

static void take_content(const Reading *reading) {
    Inventory *inventory = reading->reconciler->inventory;
    const AgentRepositoryContent *content = &reading->content;
    Repository *repository = inventory_runtime(inventory, RESOURCE_REPOSITORY, content->repository.id);
    if (!repository)
        return;
    repository_begin_anew(repository);
    repository_take_view(inventory, repository->id, reading->host_id, &content->repository.status, NULL);
    compare(inventory, content, repository_put_status(repository));
    inventory_runtime_changed(inventory, RESOURCE_REPOSITORY, repository->id);
    mark_read(inventory, repository->id);
}

/* ---- reading, page by page ---- */

static void ask_page(Reading *reading);

/* Of a shared one, another host may see it where this one does not. */
static void choose_host(Reading *reading) {
    Inventory *inventory = reading->reconciler->inventory;
    const Object *object = inventory_get(inventory, RESOURCE_REPOSITORY, reading->repository_id);
    const char *host_id = object ? repository_worker(inventory, object->data) : NULL;
    if (!host_id)
        return;
    g_free(reading->host_id);
    reading->host_id = g_strdup(host_id);
}

static gboolean read_again(void *data) {
    Reading *reading = data;
    reading->retry_source = 0;
    agent_repository_content_clear(&reading->content);
    g_clear_pointer(&reading->after, g_free);
    choose_host(reading);
    ask_page(reading);
    return G_SOURCE_REMOVE;
}

static void show_failure(Reading *reading, const Error *err) {
    Inventory *inventory = reading->reconciler->inventory;
    g_autofree char *text = error_text(err);
    g_autofree char *reason =
        g_strdup_printf("what lies in it cannot be compared with the restored backup: %s", text);
    log_warning("repository %s: %s", reading->repository_id, reason);
    reason[MIN(strlen(reason), 1000)] = '\0';
    Repository *repository = inventory_runtime(inventory, RESOURCE_REPOSITORY, reading->repository_id);
    if (!repository)
        return;
    if (repository_is_shared(repository)) { /* others may use it */
        repository_take_view(inventory, repository->id, reading->host_id, NULL, reason);
        return;
    }
    repository_status_set_state(repository_put_status(repository), REPOSITORY_STATE_FAILED);
    repository_status_set_reason(&repository->status, reason);
    inventory_runtime_changed(inventory, RESOURCE_REPOSITORY, repository->id);
}

/* A host that is away is asked anew when it is back (reconcile_repository). */
static void reading_failed(Reading *reading, const Error *err) {
    if (err->code == ERROR_UNREACHABLE) {
        g_hash_table_remove(reading->reconciler->readings, reading->repository_id);
        return;
    }
    show_failure(reading, err);
    reading->retry_source = g_timeout_add_seconds(RETRY_S, read_again, reading);
}

static bool take_page(Reading *reading, const json_t *result, bool *ret_is_last, Error *err) {
    g_auto(AgentRepositoryContent) page = {0};
    if (!agent_repository_content_decode(result, MODEL_STORED, &page, err))
        return false;
    repository_clear(agent_repository_content_put_repository(&reading->content));
    repository_copy(&reading->content.repository, &page.repository);
    for (size_t i = 0; i < page.vms.n; i++)
        vm_copy(agent_repository_content_add_vms(&reading->content), &page.vms.items[i]);
    if (page.next && reading->after && strcmp(page.next, reading->after) <= 0)
        return error_set(err, ERROR_PROTOCOL, NULL, "its pages have no end");
    g_free(reading->after);
    reading->after = g_strdup(page.next);
    *ret_is_last = !page.next;
    return true;
}

static void page_arrived(const json_t *result, const Error *err, void *data) {
    Reading *reading = data;
    Reconciler *reconciler = reading->reconciler;
    g_auto(Error) fault = {0};
    bool is_last = false;
    if (err || !take_page(reading, result, &is_last, &fault)) {
        reading_failed(reading, err ? err : &fault);
        return;
    }
    if (!is_last) {
        ask_page(reading);
        return;
    }
    take_content(reading);
    g_hash_table_remove(reconciler->readings, reading->repository_id);
}

static void ask_page(Reading *reading) {
    const Object *object =
        inventory_get(reading->reconciler->inventory, RESOURCE_REPOSITORY, reading->repository_id);
    if (!object) { /* forgotten meanwhile */
        g_hash_table_remove(reading->reconciler->readings, reading->repository_id);
        return;
    }
    json_t *parameters = json_pack("{so ss*}", "repository",
        repository_encode(object->data, MODEL_ENCODE_DEFINITION), "after", reading->after);
    fleet_ask(reading->reconciler->fleet, reading->host_id, AGENT_METHOD_REPOSITORY_SCAN, parameters,
        page_arrived, reading);
}

void reconcile_repository(Reconciler *reconciler, const Repository *repository, const char *host_id) {
    Reading *known = g_hash_table_lookup(reconciler->readings, repository->id);
    if (known && !known->retry_source)
        return; /* under way */
    Reading *reading = g_new0(Reading, 1);
    reading->reconciler = reconciler;
    reading->repository_id = g_strdup(repository->id);
    reading->host_id = g_strdup(host_id);
    g_hash_table_replace(reconciler->readings, reading->repository_id, reading);
    ask_page(reading);
}
