#include "inventory/pool-status.h"
#include "engine/cpu-baseline.h"

enum { TOLD_FEATURES = 5 };

const HostCpu *host_known_cpu(const Host *host) {
    bool is_there = host_has(host, HOST_FIELD_STATUS);
    if (is_there && host_status_has(&host->status, HOST_STATUS_FIELD_CPU))
        return &host->status.cpu;
    bool is_connected = is_there && host->status.state == HOST_STATE_CONNECTED;
    return !is_connected && host_has(host, HOST_FIELD_CPU_SEEN) ? &host->cpu_seen : NULL;
}

/* Hosts of the pool but that one (NULL: all); borrowed. */
static GPtrArray *hosts_of(Inventory *inventory, const char *pool_id, const Host *but) {
    const GPtrArray *all = inventory_list(inventory, RESOURCE_HOST);
    GPtrArray *hosts = g_ptr_array_new();
    for (guint i = 0; i < all->len; i++) {
        const Host *host = ((const Object *)all->pdata[i])->data;
        if (host != but && g_strcmp0(host->pool, pool_id) == 0)
            g_ptr_array_add(hosts, (void *)(uintptr_t)host);
    }
    return hosts;
}

static GPtrArray *cpus_of(const GPtrArray *hosts) {
    GPtrArray *cpus = g_ptr_array_new();
    for (guint i = 0; i < hosts->len; i++) {
        const HostCpu *cpu = host_known_cpu(hosts->pdata[i]);
        if (cpu)
            g_ptr_array_add(cpus, (void *)(uintptr_t)cpu);
    }
    return cpus;
}

GPtrArray *pool_known_cpus(Inventory *inventory, const char *pool_id) {
    g_autoptr(GPtrArray) hosts = hosts_of(inventory, pool_id, NULL);
    return cpus_of(hosts);
}

static size_t baseline_of(const GPtrArray *hosts, HostCpu *ret_baseline) {
    g_autoptr(GPtrArray) cpus = cpus_of(hosts);
    cpu_baseline((const HostCpu *const *)cpus->pdata, cpus->len, ret_baseline);
    return cpus->len;
}

/* ---- what VMs were started with ---- */

bool vm_has_moved(const Vm *vm) {
    return vm_has(vm, VM_FIELD_CPU_FROM) && vm_status_has(&vm->status, VM_STATUS_FIELD_STARTED) &&
           vm->cpu_from.started == vm->status.started;
}

/* One that this manager does not know was given by another one. */
static const CpuLevel *level_of(Inventory *inventory, const Vm *vm) {
    const Object *object = vm->pool ? inventory_get(inventory, RESOURCE_POOL, vm->pool) : NULL;
    const Pool *pool = object ? object->data : NULL;
    for (size_t i = 0; pool && i < pool->cpu_levels.n; i++)
        if (g_strcmp0(pool->cpu_levels.items[i].id, vm->status.cpu_level) == 0)
            return &pool->cpu_levels.items[i];
    return NULL;
}

bool vm_given_cpu(Inventory *inventory, const Vm *vm, HostCpu *ret_cpu, const Host **ret_from) {
    if (!vm_has(vm, VM_FIELD_STATUS) || g_strcmp0(vm->status.acceleration, "kvm") != 0)
        return false;
    if (vm->status.cpu_level) {
        const CpuLevel *level = level_of(inventory, vm);
        if (level)
            cpu_of_level(level, ret_cpu);
        if (level && ret_from)
            *ret_from = NULL;
        return level != NULL;
    }
    const char *id = vm_has_moved(vm) ? vm->cpu_from.host : vm->host;
    const Object *from = id ? inventory_get(inventory, RESOURCE_HOST, id) : NULL;
    const HostCpu *cpu = from ? host_known_cpu(from->data) : NULL;
    if (!cpu)
        return false;
    host_cpu_copy(ret_cpu, cpu);
    if (ret_from)
        *ret_from = from->data;
    return true;
}

static bool fits(const HostCpu *cpu, const HostCpu *other) {
    g_auto(GStrv) beyond = cpu_beyond(cpu, other);
    return !beyond[0] && g_strcmp0(cpu->vendor, other->vendor) == 0;
}

/* Many VMs have the same one: each is compared once. */
static const char *kind_of_cpu(const Vm *vm) {
    if (vm->status.cpu_level)
        return vm->status.cpu_level;
    return vm_has_moved(vm) ? vm->cpu_from.host : vm->host;
}

/* Running VMs of the pool that not every processor can take which has no more than `least`. */
static int64_t count_bound(Inventory *inventory, const char *pool_id, const HostCpu *least) {
    const GPtrArray *vms = inventory_list(inventory, RESOURCE_VM);
    g_autoptr(GHashTable) known = g_hash_table_new(g_str_hash, g_str_equal);
    int64_t n = 0;
    for (guint i = 0; i < vms->len; i++) {
        const Vm *vm = ((const Object *)vms->pdata[i])->data;
        const char *kind = vm_has(vm, VM_FIELD_STATUS) ? kind_of_cpu(vm) : NULL;
        if (!kind || g_strcmp0(vm->pool, pool_id) != 0 || g_strcmp0(vm->status.acceleration, "kvm") != 0)
            continue;
        if (!g_hash_table_contains(known, kind)) {
            g_auto(HostCpu) cpu = {0};
            bool is_bound = vm_given_cpu(inventory, vm, &cpu, NULL) && !fits(&cpu, least);
            g_hash_table_insert(known, (void *)(uintptr_t)kind, GINT_TO_POINTER(is_bound));
        }
        n += GPOINTER_TO_INT(g_hash_table_lookup(known, kind));
    }
    return n;
}

/* ---- as it is shown ---- */

static void describe_cpus(
    Inventory *inventory, const char *pool_id, const GPtrArray *hosts, PoolStatus *status) {
    g_auto(HostCpu) baseline = {0};
    size_t n = baseline_of(hosts, &baseline);
    if (n == 0)
        return;
    PoolCpu *cpu = pool_status_put_cpu(status);
    pool_cpu_set_vendor(cpu, baseline.vendor);
    pool_cpu_set_model(cpu, baseline.model);
    pool_cpu_set_features(cpu, baseline.features);
    pool_cpu_set_hosts(cpu, (int64_t)n);
    pool_status_set_vms_bound(status, count_bound(inventory, pool_id, &baseline));
    for (guint i = 0; i < hosts->len; i++) {
        const Host *host = hosts->pdata[i];
        const HostCpu *own = host_known_cpu(host);
        if (!own)
            continue;
        g_auto(GStrv) beyond = cpu_beyond(own, &baseline);
        PoolCpuHost *row = pool_status_add_cpu_hosts(status);
        pool_cpu_host_set_host(row, host->name);
        pool_cpu_host_set_vendor(row, own->vendor);
        pool_cpu_host_set_model(row, own->model);
        pool_cpu_host_set_features(row, own->features);
        pool_cpu_host_set_beyond(row, g_strv_length(beyond));
    }
}

/* Between the two that differ most, the manager's own among them. */
static void describe_clocks(const GPtrArray *hosts, PoolStatus *status) {
    int64_t first = 0, last = 0;
    for (guint i = 0; i < hosts->len; i++) {
        const Host *host = hosts->pdata[i];
        if (host->status.state != HOST_STATE_CONNECTED ||
            !host_status_has(&host->status, HOST_STATUS_FIELD_CLOCK_AHEAD_MS))
            continue;
        first = MIN(first, host->status.clock_ahead_ms);
        last = MAX(last, host->status.clock_ahead_ms);
        pool_status_set_clock_spread_ms(status, last - first);
    }
}

void pool_describe(Inventory *inventory, const char *pool_id, PoolStatus *ret_status) {
    g_autoptr(GPtrArray) hosts = hosts_of(inventory, pool_id, NULL);
    const GPtrArray *vms = inventory_list(inventory, RESOURCE_VM);
    int64_t n_vms = 0;
    for (guint i = 0; i < vms->len; i++)
        n_vms += g_strcmp0(((const Vm *)((const Object *)vms->pdata[i])->data)->pool, pool_id) == 0;
    *ret_status = (PoolStatus){0};
    pool_status_set_hosts(ret_status, hosts->len);
    pool_status_set_vms(ret_status, n_vms);
    describe_clocks(hosts, ret_status);
    describe_cpus(inventory, pool_id, hosts, ret_status);
}

char *pool_cpu_warning(Inventory *inventory, const Host *host, const char *pool_id) {
    const HostCpu *own = host_known_cpu(host);
    int64_t n = own ? count_bound(inventory, pool_id, own) : 0;
    return n == 0
               ? NULL
               : g_strdup_printf("%" G_GINT64_FORMAT " running %s of the pool cannot move to this host: its "
                                 "processor lacks something of what %s started with",
                     n, n == 1 ? "VM" : "VMs", n == 1 ? "it was" : "they were");
}

char *pool_cpu_loss(Inventory *inventory, const Host *host, const char *pool_id) {
    g_autoptr(GPtrArray) hosts = hosts_of(inventory, pool_id, host);
    g_auto(HostCpu) baseline = {0};
    const HostCpu *own = host_known_cpu(host);
    if (!own || baseline_of(hosts, &baseline) == 0)
        return NULL;
    if (g_strcmp0(own->vendor, baseline.vendor) != 0 && baseline.vendor)
        return g_strdup(
            "Its processor is of another maker: VMs that run do not move between it and the others");
    g_auto(GStrv) lost = cpu_beyond(&baseline, own);
    g_autofree char *names = cpu_names_text(lost, TOLD_FEATURES);
    return lost[0] ? g_strdup_printf("VMs that start in the pool from then on do without %s", names) : NULL;
}

void pool_compare_cpu(Inventory *inventory, const Host *host, HostStatus *status) {
    g_autoptr(GPtrArray) others = hosts_of(inventory, host->pool, host);
    g_auto(HostCpu) baseline = {0};
    const HostCpu *own = host_known_cpu(host);
    if (!own || baseline_of(others, &baseline) == 0)
        return;
    g_auto(GStrv) beyond = cpu_beyond(own, &baseline), lacks = cpu_beyond(&baseline, own);
    for (char **name = beyond; *name; name++)
        host_status_add_cpu_beyond(status, *name);
    for (char **name = lacks; *name; name++)
        host_status_add_cpu_lacks(status, *name);
    g_autofree char *warning = pool_cpu_warning(inventory, host, host->pool);
    if (warning)
        host_status_add_warnings(status, warning);
}
