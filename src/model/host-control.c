/* The machine's size is what the host reports; something must be left to VMs. */
#include "model/host-control.h"
#include <inttypes.h>

static const uint64_t mib = 1 << 20;
static const uint64_t left_to_vms = UINT64_C(256) << 20;

bool host_control_check(const HostControl *wanted, const HostStatus *host, Error *err) {
    if (!host_status_has(host, HOST_STATUS_FIELD_CONTROL_MEMORY))
        return error_set(err, ERROR_UNSUPPORTED, "/control",
            "on this host no system of its own controls the hypervisor: VMs and system share all of it");
    if (host_control_has(wanted, HOST_CONTROL_FIELD_MEMORY) && wanted->memory + left_to_vms > host->memory)
        return error_set(err, ERROR_INVALID, "/control/memory",
            "control.memory: the machine has %" PRIu64 " MiB, some of which VMs need", host->memory / mib);
    return !host_control_has(wanted, HOST_CONTROL_FIELD_VCPUS) || wanted->vcpus <= host->cpus ||
           error_set(err, ERROR_INVALID, "/control/vcpus", "control.vcpus: the machine has %" PRId64 " CPUs",
               host->cpus);
}
