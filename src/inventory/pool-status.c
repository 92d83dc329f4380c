#include "inventory/pool-status.h"
#include "engine/cpu-baseline.h"

static bool has_told_cpu(const Host *host) {
    return host_has(host, HOST_FIELD_STATUS) && host_status_has(&host->status, HOST_STATUS_FIELD_CPU);
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

static size_t baseline_of(const GPtrArray *hosts, HostCpu *ret_baseline) {
    g_autofree const HostCpu **cpus = g_new0(const HostCpu *, hosts->len + 1);
    size_t n = 0;
    for (guint i = 0; i < hosts->len; i++) {
        const Host *host = hosts->pdata[i];
        if (has_told_cpu(host))
            cpus[n++] = &host->status.cpu;
    }
    cpu_baseline(cpus, n, ret_baseline);
    return n;
}

static void describe_cpus(const GPtrArray *hosts, PoolStatus *status) {
    g_auto(HostCpu) baseline = {0};
    size_t n = baseline_of(hosts, &baseline);
    if (n == 0)
        return;
    PoolCpu *cpu = pool_status_put_cpu(status);
    pool_cpu_set_vendor(cpu, baseline.vendor);
    pool_cpu_set_model(cpu, baseline.model);
    pool_cpu_set_features(cpu, baseline.features);
    pool_cpu_set_hosts(cpu, (int64_t)n);
    for (guint i = 0; i < hosts->len; i++) {
        const Host *host = hosts->pdata[i];
        if (!has_told_cpu(host))
            continue;
        g_auto(GStrv) beyond = cpu_beyond(&host->status.cpu, &baseline);
        PoolCpuHost *row = pool_status_add_cpu_hosts(status);
        pool_cpu_host_set_host(row, host->name);
        pool_cpu_host_set_vendor(row, host->status.cpu.vendor);
        pool_cpu_host_set_model(row, host->status.cpu.model);
        pool_cpu_host_set_features(row, host->status.cpu.features);
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
    describe_cpus(hosts, ret_status);
}

void pool_compare_cpu(Inventory *inventory, const Host *host, HostStatus *status) {
    g_autoptr(GPtrArray) others = hosts_of(inventory, host->pool, host);
    g_auto(HostCpu) baseline = {0};
    if (!has_told_cpu(host) || baseline_of(others, &baseline) == 0)
        return;
    g_auto(GStrv) beyond = cpu_beyond(&host->status.cpu, &baseline),
                  lacks = cpu_beyond(&baseline, &host->status.cpu);
    for (char **name = beyond; *name; name++)
        host_status_add_cpu_beyond(status, *name);
    for (char **name = lacks; *name; name++)
        host_status_add_cpu_lacks(status, *name);
}
