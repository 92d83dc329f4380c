/* libvirt's libxl driver tells no more than sizes and CPU time: the rest comes from the back ends. */
#include "hypervisor/libvirt/statistics.h"
#include "hypervisor/xen/back-ends.h"
#include "hypervisor/xen/session.h"

static void count_disk(const char *target, VmDiskStatistics *disk, const void *data) {
    const unsigned *domain = data;
    unsigned number = 0;
    if (xen_disk_number(target, &number))
        xen_count_disk("/sys", *domain, number, disk);
}

/* Not libvirt's name of the interface: it has none of a NIC that came while the guest runs. */
static char **interfaces(const LiveDevice *nic, const void *data) {
    const unsigned *domain = data;
    unsigned number = 0;
    return nic->mac && xen_nic_number(*domain, nic->mac, &number) ? xen_nic_interfaces(*domain, number)
                                                                  : NULL;
}

bool xen_statistics(HypervisorSession *session, const char *vm_id, VmStatistics *statistics, Error *err) {
    g_auto(Usage) usage = {0};
    if (!usage_begin(session, vm_id, &usage, statistics, err))
        return false;
    unsigned domain = virDomainGetID(usage.domain);
    usage_add_disks(&usage, count_disk, &domain, statistics);
    usage_add_nics(&usage, interfaces, &domain, statistics);
    return true;
}
