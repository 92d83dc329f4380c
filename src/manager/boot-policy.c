/* Two sets in memory over two prefixes of the store; decisions in an idle moment, when the host's VMs are
 * known too. */
#include "manager/boot-policy.h"
#include <string.h>
#include "base/log.h"
#include "inventory/names.h"

#define BOOT_PREFIX "boot/"
#define RAN_PREFIX "ran/"
#define PRINCIPAL "run-policy"

struct BootPolicy {
    Inventory *inventory;
    Jobs *jobs;
    GHashTable *boots;      /* host id -> boot id that was dealt with */
    GHashTable *ran;        /* ids of VMs with the policy `last` that run, or ran when their host went down */
    GHashTable *stopping;   /* id of a VM that is about to be forgotten -> source of its timer */
    GHashTable *going_down; /* ids of hosts that said so and were not seen to start since */
    guint decide_source;
    int subscription;
};

typedef struct Forgetting {
    BootPolicy *policy;
    char *vm_id;
} Forgetting;

/* ---- the store ---- */

static void put(BootPolicy *policy, const char *prefix, const char *id, const char *value) {
    g_autofree char *key = g_strconcat(prefix, id, NULL);
    StoreTransaction *transaction = store_transaction_new();
    if (value)
        store_transaction_put(transaction, key, value, strlen(value), 0);
    else
        store_transaction_delete(transaction, key);
    store_commit(inventory_store(policy->inventory), transaction, NULL, NULL);
}

static bool load(BootPolicy *policy, const char *prefix, GHashTable *into, Error *err) {
    g_autofree char *last = NULL;
    bool has_more = true;
    while (has_more) {
        g_auto(StoreRange) range = {0};
        if (!store_range(inventory_store(policy->inventory), prefix, last, STORE_MAX_RANGE, &range, err))
            return false;
        for (size_t i = 0; i < range.n_items; i++) {
            size_t length = 0;
            const char *value = g_bytes_get_data(range.items[i].value, &length);
            g_hash_table_replace(
                into, g_strdup(range.items[i].key + strlen(prefix)), g_strndup(value, length));
        }
        has_more = range.has_more && range.n_items > 0;
        g_free(last);
        last = range.n_items > 0 ? g_strdup(range.items[range.n_items - 1].key) : NULL;
    }
    return true;
}

/* ---- which VMs ran ---- */

/* Whether what happens on the host belongs to a boot that was dealt with. */
static bool is_dealt_with(BootPolicy *policy, const char *host_id) {
    const Object *object = host_id ? inventory_get(policy->inventory, RESOURCE_HOST, host_id) : NULL;
    const Host *host = object ? object->data : NULL;
    return host && host_has(host, HOST_FIELD_STATUS) && host->status.state == HOST_STATE_CONNECTED &&
           host->status.boot_id &&
           g_strcmp0(host->status.boot_id, g_hash_table_lookup(policy->boots, host_id)) == 0;
}

static void forget(BootPolicy *policy, const char *vm_id) {
    g_hash_table_remove(policy->stopping, vm_id);
    if (g_hash_table_remove(policy->ran, vm_id))
        put(policy, RAN_PREFIX, vm_id, NULL);
}

/* While the host goes down, or cannot be asked, nobody can tell why the VM stopped: later. */
static gboolean settled(void *data) {
    Forgetting *forgetting = data;
    g_autofree char *vm_id = g_strdup(forgetting->vm_id);
    BootPolicy *policy = forgetting->policy;
    const Object *object = inventory_get(policy->inventory, RESOURCE_VM, vm_id);
    const Vm *vm = object ? object->data : NULL;
    if (vm && vm->host && inventory_get(policy->inventory, RESOURCE_HOST, vm->host) &&
        !is_dealt_with(policy, vm->host))
        return G_SOURCE_CONTINUE;
    g_hash_table_steal(policy->stopping, vm_id);
    forget(policy, vm_id);
    return G_SOURCE_REMOVE;
}

static void forgetting_free(void *data) {
    Forgetting *forgetting = data;
    g_free(forgetting->vm_id);
    g_free(forgetting);
}

static void forget_soon(BootPolicy *policy, const char *vm_id) {
    if (!g_hash_table_contains(policy->ran, vm_id) || g_hash_table_contains(policy->stopping, vm_id))
        return;
    Forgetting *forgetting = g_new0(Forgetting, 1);
    *forgetting = (Forgetting){policy, g_strdup(vm_id)};
    guint source =
        g_timeout_add_full(G_PRIORITY_DEFAULT, STOP_SETTLES_MS, settled, forgetting, forgetting_free);
    g_hash_table_insert(policy->stopping, forgetting->vm_id, GUINT_TO_POINTER(source));
}

static void vm_changed(BootPolicy *policy, const char *vm_id) {
    const Object *object = inventory_get(policy->inventory, RESOURCE_VM, vm_id);
    const Vm *vm = object ? object->data : NULL;
    if (!vm || vm->run_policy != RUN_POLICY_LAST) {
        forget(policy, vm_id);
        return;
    }
    if (!vm_has(vm, VM_FIELD_STATUS) || !is_dealt_with(policy, vm->host))
        return;
    if (vm->status.state == VM_STATE_RUNNING || vm->status.state == VM_STATE_PAUSED) {
        g_hash_table_remove(policy->stopping, vm_id);
        if (g_hash_table_insert(policy->ran, g_strdup(vm_id), g_strdup("")))
            put(policy, RAN_PREFIX, vm_id, "{}");
    } else if (vm->status.state == VM_STATE_STOPPED || vm->status.state == VM_STATE_CRASHED) {
        forget_soon(policy, vm_id);
    }
}

/* ---- a host has started ---- */

static bool is_wanted(BootPolicy *policy, const Vm *vm) {
    bool is_down = vm_has(vm, VM_FIELD_STATUS) &&
                   (vm->status.state == VM_STATE_STOPPED || vm->status.state == VM_STATE_CRASHED);
    return is_down && (vm->run_policy == RUN_POLICY_ALWAYS ||
                          (vm->run_policy == RUN_POLICY_LAST && g_hash_table_contains(policy->ran, vm->id)));
}

static void submitted(const char *job_id G_GNUC_UNUSED, const Error *err, void *data) {
    g_autofree char *name = data;
    if (err)
        log_warning("%s cannot be started, as its run policy says: %s", name, err->message);
}

static int compare_names(const void *a, const void *b) {
    return natural_compare((*(const Object *const *)a)->name, (*(const Object *const *)b)->name);
}

static void start_vms(BootPolicy *policy, const Host *host) {
    g_autoptr(GPtrArray) vms =
        g_ptr_array_copy((GPtrArray *)inventory_vms_on(policy->inventory, host->id), NULL, NULL);
    g_ptr_array_sort(vms, compare_names);
    for (guint i = 0; i < vms->len; i++) {
        const Object *object = vms->pdata[i];
        const Vm *vm = object->data;
        if (!is_wanted(policy, vm))
            continue;
        log_info("the host %s has started; so does %s (run policy)", host->name, vm->name);
        g_autoptr(json_t) parameters = json_object();
        g_autofree char *key = g_strdup_printf("%s/%s", host->status.boot_id, vm->id);
        const JobRequest request = {
            .target_kind = RESOURCE_VM, .target = object, .parameters = parameters, .principal = PRINCIPAL};
        job_submit(policy->jobs, "vm.start", &request, key, submitted, g_strdup(vm->name));
    }
}

static void look_at_vms(BootPolicy *policy, const char *host_id) {
    const GPtrArray *vms = inventory_vms_on(policy->inventory, host_id);
    for (guint i = 0; i < vms->len; i++)
        vm_changed(policy, ((const Object *)vms->pdata[i])->id);
}

static gboolean decide(void *data) {
    BootPolicy *policy = data;
    policy->decide_source = 0;
    const GPtrArray *hosts = inventory_list(policy->inventory, RESOURCE_HOST);
    for (guint i = 0; i < hosts->len; i++) {
        const Host *host = ((const Object *)hosts->pdata[i])->data;
        if (!host_has(host, HOST_FIELD_STATUS) || host->status.state != HOST_STATE_CONNECTED ||
            !host->status.boot_id || is_dealt_with(policy, host->id))
            continue;
        if (g_hash_table_contains(policy->boots, host->id))
            start_vms(policy, host);
        g_hash_table_replace(policy->boots, g_strdup(host->id), g_strdup(host->status.boot_id));
        put(policy, BOOT_PREFIX, host->id, host->status.boot_id);
        look_at_vms(policy, host->id);
    }
    return G_SOURCE_REMOVE;
}

/* What stopped while the host seemed to go down was not looked at; that it stays up says that it was meant.
 */
static void look_again(BootPolicy *policy, const char *host_id) {
    const Object *object = inventory_get(policy->inventory, RESOURCE_HOST, host_id);
    const Host *host = object ? object->data : NULL;
    if (host && host_has(host, HOST_FIELD_STATUS) && host->status.state == HOST_STATE_STOPPING)
        g_hash_table_add(policy->going_down, g_strdup(host_id));
    if (is_dealt_with(policy, host_id) && g_hash_table_remove(policy->going_down, host_id))
        look_at_vms(policy, host_id);
}

static void host_changed(BootPolicy *policy, const Event *event, const char *host_id) {
    if (g_str_equal(event->kind, "deleted")) {
        if (g_hash_table_remove(policy->boots, host_id))
            put(policy, BOOT_PREFIX, host_id, NULL);
    } else if (!is_dealt_with(policy, host_id) && !policy->decide_source) {
        policy->decide_source = g_idle_add(decide, policy);
    }
    look_again(policy, host_id);
}

static void on_event(const Event *event, void *data) {
    BootPolicy *policy = data;
    if (!event->object)
        return;
    if (g_str_has_prefix(event->object, "host/"))
        host_changed(policy, event, event->object + strlen("host/"));
    else if (g_str_has_prefix(event->object, "vm/"))
        vm_changed(policy, event->object + strlen("vm/"));
}

/* ---- start and end ---- */

static void remove_timer(void *source) {
    g_source_remove(GPOINTER_TO_UINT(source));
}

BootPolicy *boot_policy_new(Inventory *inventory, Jobs *jobs, Error *err) {
    BootPolicy *policy = g_new0(BootPolicy, 1);
    *policy = (BootPolicy){.inventory = inventory,
        .jobs = jobs,
        .boots = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free),
        .ran = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free),
        .stopping = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, remove_timer),
        .going_down = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL)};
    policy->subscription = inventory_subscribe(inventory, on_event, policy);
    if (load(policy, BOOT_PREFIX, policy->boots, err) && load(policy, RAN_PREFIX, policy->ran, err))
        return policy;
    boot_policy_free(policy);
    return NULL;
}

void boot_policy_free(BootPolicy *policy) {
    if (!policy)
        return;
    inventory_unsubscribe(policy->inventory, policy->subscription);
    if (policy->decide_source)
        g_source_remove(policy->decide_source);
    g_hash_table_unref(policy->stopping);
    g_hash_table_unref(policy->going_down);
    g_hash_table_unref(policy->ran);
    g_hash_table_unref(policy->boots);
    g_free(policy);
}
