/*
 * Changes of a running VM. The domain's metadata holds the definition that runs; what is changed here is
 * written back to it, so that the next comparison starts from what is.
 */
#include <libvirt/libvirt-qemu.h>
#include <string.h>
#include "hypervisor/qemu/devices.h"
#include "hypervisor/adopted.h"
#include "hypervisor/restart.h"

enum {
    GUEST_WAIT_MS = 30000,
    GUEST_POLL_MS = 500,
    MEMORY_BLOCK = 128 * 1024 * 1024,
    KIB = 1024,
    TRANSLATION_REGION = 2 * 1024 * 1024
};

typedef struct Update {
    virDomain *domain;
    const HypervisorVm *vm;
    const QemuXmlOptions *options;
    AgentVmChanged *changed;
    Vm *running; /* brought forward with every change */
} Update;

/* Waits until the guest counts them. A guest without an agent is not asked: the device model's count stands.
 */
static bool wait_for_vcpus(
    virDomain *domain, int64_t vcpus, const Cancel *cancel, bool *ret_has_them, Error *err) {
    gint64 deadline = g_get_monotonic_time() + GUEST_WAIT_MS * G_TIME_SPAN_MILLISECOND;
    *ret_has_them = true;
    while (g_get_monotonic_time() < deadline) {
        int counted = virDomainGetVcpusFlags(domain, VIR_DOMAIN_VCPU_GUEST);
        if (counted < 0 || counted >= vcpus)
            return true;
        virDomainSetVcpusFlags(
            domain, (unsigned)vcpus, VIR_DOMAIN_VCPU_GUEST); /* guests bring them on line when told */
        if (!cancel_check(cancel, err))
            return false;
        g_usleep(GUEST_POLL_MS * 1000);
    }
    *ret_has_them = false;
    return true;
}

/* An emulating QEMU dies when a vCPU comes while every region of its translation cache is taken (see
 * domain-xml.c). The cache has up to eight regions a vCPU of at least 2 MiB; a started one counts as taken.
 */
static bool has_room_for_vcpus(const Update *update, int64_t present, int64_t wanted) {
    g_autofree char *text = NULL;
    uint64_t used = 0, capacity = 0;
    if (update->options->is_kvm)
        return true;
    if (virDomainQemuMonitorCommand(update->domain, "info jit", &text, VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP) <
        0)
        return false;
    const char *line = strstr(text, "gen code size");
    const char *digits = line ? line + strcspn(line, "0123456789\r\n") : "";
    char *end = NULL;
    used = g_ascii_strtoull(digits, &end, 10);
    if (*end != '/')
        return false;
    capacity = g_ascii_strtoull(end + 1, NULL, 10);
    uint64_t maximum = (uint64_t)domain_vcpus_maximum(update->running);
    uint64_t region = MAX(capacity / (maximum * 8), TRANSLATION_REGION);
    return capacity > used && (capacity - used) / region > (uint64_t)(MAX(present, 1) + wanted - present);
}

static bool update_vcpus(Update *update, const Cancel *cancel, Error *err) {
    int64_t wanted = update->vm->vm->vcpus;
    int present = virDomainGetVcpusFlags(update->domain, VIR_DOMAIN_AFFECT_LIVE);
    bool has_them = false;
    if (present < 0)
        return connection_error(err, "the VM's vCPUs cannot be counted");
    if (wanted < present || wanted > domain_vcpus_maximum(update->running) ||
        (wanted > present && !has_room_for_vcpus(update, present, wanted))) {
        agent_vm_changed_add_pending(update->changed, "/vcpus");
        return true;
    }
    if (wanted > present &&
        virDomainSetVcpusFlags(update->domain, (unsigned)wanted, VIR_DOMAIN_AFFECT_LIVE) < 0)
        return connection_error(err, "vCPUs cannot be added");
    vm_set_vcpus(update->running, wanted);
    if (wanted == present)
        return true;
    if (!wait_for_vcpus(update->domain, wanted, cancel, &has_them, err))
        return false;
    if (!has_them)
        agent_vm_changed_add_pending(update->changed, "/vcpus");
    return true;
}

/* Guests take memory in whole blocks only; anything else waits for a restart. */
static bool update_memory(Update *update, Error *err) {
    uint64_t wanted = update->vm->vm->memory;
    uint64_t present = (uint64_t)virDomainGetMaxMemory(update->domain) * KIB;
    if (!present)
        return connection_error(err, "the VM's memory cannot be counted");
    if (wanted == present)
        return true;
    uint64_t limit = domain_memory_maximum(update->running);
    if (wanted < present || wanted > limit || (wanted - present) % MEMORY_BLOCK) {
        agent_vm_changed_add_pending(update->changed, "/memory");
        return true;
    }
    g_autofree char *xml = g_strdup_printf("<memory model='dimm'><target><size unit='b'>%" G_GUINT64_FORMAT
                                           "</size><node>0</node></target></memory>",
        wanted - present);
    if (virDomainAttachDeviceFlags(update->domain, xml, VIR_DOMAIN_AFFECT_LIVE) < 0)
        return connection_error(err, "memory cannot be added");
    return true;
}

bool qemu_update(HypervisorSession *base, const HypervisorVm *vm, AgentVmChanged *ret_pending,
    const Cancel *cancel, Error *err) {
    QemuSession *session = (QemuSession *)base;
    g_autoptr(virDomain) domain = NULL;
    g_auto(Vm) running = {0};
    if (!session_find(base, vm->vm->id, &domain, err))
        return false;
    if (!domain)
        return true;
    if (!domain_running_definition(domain, &running))
        return error_set(err, ERROR_CORRUPT, NULL, "the domain's metadata holds no definition");
    QemuXmlOptions options = qemu_xml_options(session, vm);
    g_autofree char *element = NULL;
    bool is_managed = false;
    if (!qemu_domain_check(vm, &options, err) ||
        !session_is_managed(base, domain, &is_managed, &element, err))
        return false;
    if (session_is_adopted(base, domain)) {
        bool is_possible = adopted_update(&running, vm->vm, ret_pending, err);
        domain_write_back(domain, base->instance, element, &running, ret_pending);
        return is_possible;
    }
    if (!qemu_share_backing(session, vm, err))
        return false;
    restart_pending(&running, vm->vm, ret_pending);
    Update update = {
        .domain = domain, .vm = vm, .options = &options, .changed = ret_pending, .running = &running};
    DeviceUpdate devices = {.session = base,
        .dialect = &qemu_devices,
        .domain = domain,
        .vm = vm,
        .options = &options,
        .changed = ret_pending,
        .running = &running,
        .cancel = cancel};
    bool is_done = device_update_sync(&devices, err) && device_update_nics(&devices, err) &&
                   device_update_disks(&devices, err) && update_memory(&update, err) &&
                   update_vcpus(&update, cancel, err);
    domain_write_back(domain, base->instance, element, &running, ret_pending);
    return is_done;
}
