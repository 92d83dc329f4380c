/* A domain looks at what xenstore says of each of its vCPUs. */
#include "hypervisor/xen/vcpus.h"
#include <inttypes.h>
#include "base/log.h"
#include "hypervisor/xen/session.h"
#include "hypervisor/xen/store.h"

enum { MAX_VCPUS = 4096 };

bool xen_keeps_vcpus_back(const Vm *vm, VmMode mode) {
    return mode == VM_MODE_PVH && domain_vcpus_maximum(vm) > vm->vcpus;
}

bool xen_offer_vcpus(virDomain *domain, int64_t vcpus, int64_t maximum, Error *err) {
    unsigned id = virDomainGetID(domain);
    g_autoptr(XenStore) store = xen_store_open();
    bool is_written = store != NULL;
    for (int64_t i = 0; is_written && i < MIN(maximum, MAX_VCPUS); i++) {
        const char *text = i < vcpus ? "online" : "offline";
        g_autofree char *path = g_strdup_printf("/local/domain/%u/cpu/%" PRId64 "/availability", id, i);
        is_written = xen_store_write(store, path, text);
    }
    return is_written || error_set(err, ERROR_UNREACHABLE, NULL,
                             "the number of vCPUs cannot be changed: xenstore does not answer");
}

void xen_see_run(virDomain *domain) {
    g_auto(Vm) running = {0};
    g_auto(Error) err = {0};
    if (xen_mode_of(domain) != VM_MODE_PVH || !domain_running_definition(domain, &running) ||
        !xen_keeps_vcpus_back(&running, VM_MODE_PVH))
        return;
    if (!xen_offer_vcpus(domain, running.vcpus, domain_vcpus_maximum(&running), &err))
        log_warning("%s: %s", virDomainGetName(domain), err.message);
}

/* The hypervisor counts those that run or wait. */
int64_t xen_vcpus_online(virDomain *domain) {
    g_autofree virVcpuInfo *vcpus = g_new0(virVcpuInfo, MAX_VCPUS);
    int n = virDomainGetVcpus(domain, vcpus, MAX_VCPUS, NULL, 0);
    int64_t online = 0;
    for (int i = 0; i < n; i++)
        online += vcpus[i].state != VIR_VCPU_OFFLINE;
    return n < 0 ? -1 : online;
}
