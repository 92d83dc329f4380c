/* Finding the domain, then its sizes, disks, NICs. */
#include "hypervisor/libvirt/statistics.h"
#include "base/clock.h"
#include "hypervisor/interface-counters.h"
#include "hypervisor/libvirt/xml-read.h"

enum { KIB = 1024 };

void usage_clear(Usage *usage) {
    live_devices_free(usage->live);
    vm_clear(&usage->running);
    if (usage->domain)
        virDomainFree(usage->domain);
    if (usage->connection)
        virConnectClose(usage->connection);
    *usage = (Usage){0};
}

/* Calls that share a connection with one that hangs stall too, by seconds (libvirt 9.0): each question has
 * its own, which takes milliseconds. */
static bool find_domain(HypervisorSession *session, const char *vm_id, Usage *usage, Error *err) {
    g_autoptr(virConnect) answering = connection_get(session->connection, err);
    usage->connection = answering ? connection_open_another(session->dialect->uri, err) : NULL;
    if (!usage->connection || !session_find_with(session, usage->connection, vm_id, &usage->domain, err))
        return false;
    return usage->domain || error_set(err, ERROR_WRONG_STATE, NULL, "the VM does not run");
}

static bool read_sizes(const Usage *usage, VmStatistics *statistics, Error *err) {
    virDomainInfo info = {0};
    if (virDomainGetInfo(usage->domain, &info) < 0)
        return connection_is_missing() ? error_set(err, ERROR_WRONG_STATE, NULL, "the VM does not run")
                                       : connection_error(err, "what the VM uses cannot be read");
    if (info.state == VIR_DOMAIN_SHUTOFF || info.state == VIR_DOMAIN_CRASHED)
        return error_set(err, ERROR_WRONG_STATE, NULL, "the VM does not run");
    vm_statistics_set_cpu_time_ms(statistics, (int64_t)(info.cpuTime / NS_PER_MS));
    vm_statistics_set_vcpus(statistics, info.nrVirtCpu);
    vm_statistics_set_memory(statistics, (uint64_t)info.memory * KIB);
    return true;
}

static void read_start(const Usage *usage, VmStatistics *statistics) {
    g_autofree char *element = virDomainGetMetadata(
        usage->domain, VIR_DOMAIN_METADATA_ELEMENT, DOMAIN_VM_NAMESPACE, VIR_DOMAIN_AFFECT_CURRENT);
    g_autofree char *started = element ? xml_attribute(element, "vm", "started") : NULL;
    if (started)
        vm_statistics_set_started(statistics, g_ascii_strtoll(started, NULL, 10));
}

bool usage_begin(
    HypervisorSession *session, const char *vm_id, Usage *ret_usage, VmStatistics *statistics, Error *err) {
    g_auto(Usage) usage = {0};
    if (!find_domain(session, vm_id, &usage, err) || !read_sizes(&usage, statistics, err))
        return false;
    g_autofree char *xml = virDomainGetXMLDesc(usage.domain, 0);
    if (!xml || !domain_running_definition(usage.domain, &usage.running))
        return connection_error(err, "what the VM has cannot be read");
    usage.live = live_devices_read(xml);
    usage.is_adopted = session_is_adopted(session, usage.domain);
    vm_statistics_set_id(statistics, vm_id);
    read_start(&usage, statistics);
    *ret_usage = usage;
    usage = (Usage){0};
    return true;
}

/* NULL when the domain does not have it: detached, or just gone. */
static const LiveDevice *live_device(const Usage *usage, const char *id) {
    g_autofree char *alias = id ? domain_alias(id) : NULL;
    return alias ? live_device_find(usage->live, alias) : NULL;
}

/* Another tool's device has no name of ours: a disk is called as its target when it is adopted. */
static const LiveDevice *adopted_device(const Usage *usage, const char *target, const char *mac) {
    for (guint i = 0; usage->is_adopted && i < usage->live->list->len; i++) {
        const LiveDevice *device = usage->live->list->pdata[i];
        if (mac ? g_strcmp0(device->mac, mac) == 0 : !device->mac && g_strcmp0(device->target, target) == 0)
            return device;
    }
    return NULL;
}

void usage_add_disks(const Usage *usage, UsageDiskFn count, const void *data, VmStatistics *statistics) {
    for (size_t i = 0; i < usage->running.disks.n; i++) {
        const Disk *disk = &usage->running.disks.items[i];
        const LiveDevice *device = live_device(usage, disk->id);
        if (!device)
            device = adopted_device(usage, disk->name, NULL);
        if (!device || !device->target)
            continue;
        VmDiskStatistics *row = vm_statistics_add_disks(statistics);
        vm_disk_statistics_set_id(row, disk->id);
        vm_disk_statistics_set_name(row, disk->name);
        count(device->target, row, data);
    }
}

void usage_add_nics(
    const Usage *usage, UsageInterfacesFn interfaces, const void *data, VmStatistics *statistics) {
    g_autofree char *text = interface_counters_text();
    for (size_t i = 0; i < usage->running.nics.n; i++) {
        const Nic *nic = &usage->running.nics.items[i];
        const LiveDevice *device = live_device(usage, nic->id);
        if (!device)
            device = adopted_device(usage, NULL, nic->mac);
        if (!device)
            continue;
        VmNicStatistics *row = vm_statistics_add_nics(statistics);
        vm_nic_statistics_set_id(row, nic->id);
        vm_nic_statistics_set_name(row, nic->name);
        g_auto(GStrv) names = interfaces(device, data);
        for (char **name = names; text && name && *name; name++) {
            InterfaceCounters counters;
            if (interface_counters_find(text, *name, &counters))
                interface_counters_add(&counters, row);
        }
    }
}
