/*
 * Changes of a running VM. The domain's metadata holds the definition that runs; what is changed here is
 * written back to it, so that the next comparison starts from what is.
 */
#include "hypervisor/adopted.h"
#include "hypervisor/restart.h"
#include "hypervisor/xen/devices.h"
#include "hypervisor/xen/loops.h"
#include "hypervisor/xen/vcpus.h"

enum { GUEST_WAIT_MS = 30000, GUEST_POLL_MS = 500, KIB = 1024 };

typedef struct Update {
    virDomain *domain;
    const HypervisorVm *vm;
    AgentVmChanged *changed;
    Vm *running; /* brought forward with every change */
    const Cancel *cancel;
} Update;

/* A guest takes a moment to bring a vCPU up or down. */
static bool wait_for_vcpus(Update *update, int64_t wanted, bool *ret_has_them, Error *err) {
    gint64 deadline = g_get_monotonic_time() + GUEST_WAIT_MS * G_TIME_SPAN_MILLISECOND;
    *ret_has_them = false;
    while (!*ret_has_them && g_get_monotonic_time() < deadline) {
        *ret_has_them = xen_vcpus_online(update->domain) == wanted;
        if (*ret_has_them)
            break;
        if (!cancel_check(update->cancel, err))
            return false;
        g_usleep(GUEST_POLL_MS * 1000);
    }
    return true;
}

/* A machine that is built with all of them has them for libvirt all the time. */
static bool set_vcpus(const Update *update, int64_t wanted, Error *err) {
    int64_t maximum = domain_vcpus_maximum(update->running);
    if (xen_mode_of(update->domain) == VM_MODE_PVH && vm_has(update->running, VM_FIELD_VCPUS_MAXIMUM))
        return xen_offer_vcpus(update->domain, wanted, maximum, err);
    return virDomainSetVcpusFlags(update->domain, (unsigned)wanted, VIR_DOMAIN_VCPU_LIVE) == 0 ||
           connection_error(err, "the number of vCPUs cannot be changed");
}

static bool update_vcpus(Update *update, Error *err) {
    int64_t wanted = update->vm->vm->vcpus, present = update->running->vcpus;
    bool has_them = false;
    if (wanted == present)
        return true;
    bool is_removal = wanted < present && xen_mode_of(update->domain) == VM_MODE_HVM;
    if (is_removal || wanted > domain_vcpus_maximum(update->running)) {
        agent_vm_changed_add_pending(update->changed, "/vcpus");
        return true;
    }
    if (!set_vcpus(update, wanted, err))
        return false;
    vm_set_vcpus(update->running, wanted);
    if (!wait_for_vcpus(update, wanted, &has_them, err))
        return false;
    if (!has_them)
        agent_vm_changed_add_pending(update->changed, "/vcpus");
    return true;
}

/* The guest's balloon moves between its smallest size and what it was started with at most. */
static bool update_memory(Update *update, Error *err) {
    uint64_t wanted = update->vm->vm->memory;
    if (wanted == update->running->memory)
        return true;
    if (wanted > domain_memory_maximum(update->running)) {
        agent_vm_changed_add_pending(update->changed, "/memory");
        return true;
    }
    if (virDomainSetMemoryFlags(update->domain, (unsigned long)(wanted / KIB), VIR_DOMAIN_MEM_LIVE) < 0)
        return connection_error(err, "the memory cannot be changed");
    vm_set_memory(update->running, wanted);
    return true;
}

bool xen_update(HypervisorSession *session, const HypervisorVm *vm, AgentVmChanged *ret_pending,
    const Cancel *cancel, Error *err) {
    g_autoptr(virDomain) domain = NULL;
    g_auto(Vm) running = {0};
    g_autofree char *element = NULL;
    XenXmlOptions options;
    bool is_managed = false;
    g_autoptr(virConnect) connection = connection_get(session->connection, err);
    if (!connection || !session_find_settled(session, connection, vm->vm->id, cancel, &domain, err))
        return false;
    if (!domain)
        return true;
    if (!domain_running_definition(domain, &running))
        return error_set(err, ERROR_CORRUPT, NULL, "the domain's metadata holds no definition");
    if (!xen_xml_options(session, vm, &options, err) ||
        !session_is_managed(session, domain, &is_managed, &element, err))
        return false;
    if (session_is_adopted(session, domain)) {
        bool is_possible = adopted_update(&running, vm->vm, ret_pending, err);
        domain_write_back(domain, session->instance, element, &running, ret_pending);
        return is_possible;
    }
    options.mode = xen_mode_of(domain); /* what runs, whatever would be chosen now */
    restart_pending(&running, vm->vm, ret_pending);
    Update update = {
        .domain = domain, .vm = vm, .changed = ret_pending, .running = &running, .cancel = cancel};
    DeviceUpdate devices = {.session = session,
        .dialect = &xen_devices,
        .domain = domain,
        .vm = vm,
        .options = &options,
        .changed = ret_pending,
        .running = &running,
        .cancel = cancel};
    bool is_done = device_update_sync(&devices, err) && device_update_nics(&devices, err) &&
                   device_update_disks(&devices, err) && update_memory(&update, err) &&
                   update_vcpus(&update, err);
    domain_write_back(domain, session->instance, element, &running, ret_pending);
    if (!is_done)
        xen_release_loops(vm);
    return is_done;
}
