/* The driver "qemu": QEMU and KVM through libvirt. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"
#include "model/abilities.h"
#include "hypervisor/adopted.h"
#include "hypervisor/host-facts.h"
#include "hypervisor/libvirt/network-modules.h"
#include "hypervisor/libvirt/xml-read.h"
#include "hypervisor/qemu/host-cpu.h"
#include "hypervisor/libvirt/moving.h"
#include "hypervisor/qemu/session.h"

static bool is_half_started(virDomain *domain, int state, int reason) {
    (void)domain;
    return state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_STARTING_UP;
}

static VmMode mode_of(virDomain *domain) {
    (void)domain;
    return VM_MODE_HVM;
}

static void check_foreign(HypervisorSession *base, ForeignVm *vm, const ForeignExtra *extra);

static const LibvirtDialect dialect = {.uri = "qemu:///system",
    .console_flags = VIR_DOMAIN_CONSOLE_SAFE,
    .has_agent = true,
    .stop_flags = {VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN, VIR_DOMAIN_SHUTDOWN_GUEST_AGENT},
    .is_half_started = is_half_started,
    .mode_of = mode_of,
    .is_whole_image = qemu_is_whole_image,
    .check_foreign = check_foreign};

/* Any Linux can. */
static bool qemu_is_here(void) {
    return true;
}

static HypervisorSession *qemu_open(const HypervisorOptions *options, Error *err) {
    (void)err;
    QemuSession *session = g_new0(QemuSession, 1);
    session->acceleration = options->acceleration;
    session->helpers = g_strdup(options->helpers);
    g_mutex_init(&session->lock);
    session_init(&session->base, &dialect, options);
    return &session->base;
}

static void qemu_close(HypervisorSession *base) {
    QemuSession *session = (QemuSession *)base;
    if (!session)
        return;
    session_clear(base);
    g_mutex_clear(&session->lock);
    host_cpu_clear(&session->cpu);
    g_free(session->helpers);
    g_free(session);
}

/* From libvirt's description of the machine type; 0 when it gives none. Seconds while libvirt knows QEMU not
 * yet. */
static int64_t vcpus_limit(QemuSession *session, virConnect *connection, bool is_kvm) {
    g_mutex_lock(&session->lock);
    if (!session->vcpus_limit) {
        g_autofree char *xml =
            virConnectGetDomainCapabilities(connection, NULL, "x86_64", "q35", is_kvm ? "kvm" : "qemu", 0);
        g_autofree char *maximum = xml ? xml_attribute(xml, "vcpu", "max") : NULL;
        session->vcpus_limit = maximum ? g_ascii_strtoll(maximum, NULL, 10) : 0;
    }
    int64_t limit = session->vcpus_limit;
    g_mutex_unlock(&session->lock);
    return limit;
}

/* Emulated guests have a processor of QEMU's own, which is the same everywhere. */
static void report_cpu(QemuSession *session, virConnect *connection, HostStatus *status) {
    g_mutex_lock(&session->lock);
    if (session->cpu.feature_names.n == 0 && !qemu_cpu_ask(connection, "kvm", &session->cpu))
        host_cpu_clear(&session->cpu);
    if (session->cpu.feature_names.n > 0)
        host_cpu_copy(host_status_put_cpu(status), &session->cpu);
    g_mutex_unlock(&session->lock);
}

static bool has_uefi(QemuSession *session) {
    const HypervisorVm any = {0};
    return qemu_xml_options(session, &any).uefi_code != NULL;
}

static bool qemu_probe(HypervisorSession *base, HostStatus *status, Error *err) {
    QemuSession *session = (QemuSession *)base;
    g_autofree char *reason = NULL;
    host_facts_read(status);
    bool is_kvm = host_acceleration(session->acceleration, &reason) == ACCELERATION_KVM;
    host_status_set_acceleration(status, is_kvm ? "kvm" : "emulation");
    host_status_set_acceleration_reason(status, reason);
    abilities_report("qemu", status);
    host_mode_set_uefi(&status->modes.items[0], has_uefi(session));

    g_autoptr(virConnect) connection = connection_get(base->connection, err);
    if (!connection)
        return false;
    unsigned long version = 0;
    if (virConnectGetLibVersion(connection, &version) < 0)
        return connection_error(err, "libvirt does not tell its version");
    g_autofree char *libvirt = session_version_text(version);
    host_status_set_libvirt(status, libvirt);
    if (virConnectGetVersion(connection, &version) < 0)
        return connection_error(err, "QEMU (package qemu-system-x86) was not found");
    g_autofree char *number = session_version_text(version);
    g_autofree char *hypervisor = g_strdup_printf("QEMU %s", number);
    host_status_set_hypervisor(status, hypervisor);
    host_status_set_vcpus_limit(status, vcpus_limit(session, connection, is_kvm));
    if (is_kvm)
        report_cpu(session, connection, status);
    session_count_vms(base, connection, status);
    return true;
}

/* UEFI's variables belong to its code. */
static void check_foreign(HypervisorSession *base, ForeignVm *vm, const ForeignExtra *extra) {
    const HypervisorVm any = {0};
    const char *code = qemu_xml_options((QemuSession *)base, &any).uefi_code;
    if (vm->firmware != FIRMWARE_UEFI)
        return;
    if (!code)
        foreign_add_obstacle(vm, "the UEFI firmware (package ovmf) is not installed");
    else if (extra->loader ? strcmp(extra->loader, code) != 0 : extra->nvram != NULL)
        foreign_add_obstacle(vm, "its UEFI is %s, that of Lodge here is %s",
            extra->loader ? extra->loader : "not named", code);
}

static bool can_bypass_cache(const char *path) {
    fd_auto int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    return fd >= 0;
}

QemuXmlOptions qemu_xml_options(QemuSession *session, const HypervisorVm *vm) {
    static const struct {
        const char *code, *variables;
    } firmwares[] = {{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
        {"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"}};
    g_autofree char *reason = NULL;
    Acceleration wanted = vm->acceleration != ACCELERATION_AUTO ? vm->acceleration : session->acceleration;
    QemuXmlOptions options = {.instance = session->base.instance,
        .state_folder = session->base.state_folder,
        .is_kvm = host_acceleration(wanted, &reason) == ACCELERATION_KVM,
        .can_bypass_cache = can_bypass_cache};
    for (size_t i = 0; i < G_N_ELEMENTS(firmwares) && !options.uefi_code; i++)
        if (access(firmwares[i].code, R_OK) == 0 && access(firmwares[i].variables, R_OK) == 0) {
            options.uefi_code = firmwares[i].code;
            options.uefi_variables = firmwares[i].variables;
        }
    return options;
}

static bool qemu_start(HypervisorSession *base, const HypervisorVm *vm, const Cancel *cancel, Error *err) {
    QemuSession *session = (QemuSession *)base;
    g_autoptr(virConnect) connection = session_work(base, err);
    if (!connection)
        return false;
    QemuXmlOptions options = qemu_xml_options(session, vm);
    options.vcpus_limit = vcpus_limit(session, connection, options.is_kvm);
    options.started_ns = clock_realtime_ns(clock_system());
    g_autofree char *ignored = NULL;
    if (vm->acceleration == ACCELERATION_KVM && !host_has_kvm(&ignored))
        return error_set(err, ERROR_UNSUPPORTED, "/acceleration", "%s", ignored);
    g_autoptr(virDomain) present = NULL;
    if (!qemu_domain_check(vm, &options, err) ||
        !session_find_with(base, connection, vm->vm->id, &present, err))
        return false;
    if (session_runs_already(base, present))
        return true;
    if (!qemu_share_backing(session, vm, err) || !session_open_networks(base, vm, err) ||
        !adopted_settle(base->state_folder, vm->vm->id, err) || !cancel_check(cancel, err))
        return false;
    g_autofree char *xml = qemu_domain_xml(vm, &options);
    moving_forget(base, vm->vm->id);
    g_autoptr(virDomain) domain = session_create(base, connection, vm->vm->id, xml, 0, err);
    return domain != NULL;
}

static bool qemu_reset(HypervisorSession *session, const char *vm_id, Error *err) {
    g_autoptr(virDomain) domain = session_find_running(session, vm_id, err);
    if (!domain)
        return false;
    return virDomainReset(domain, 0) == 0 || connection_error(err, "the VM cannot be reset");
}

static bool qemu_definition(HypervisorSession *session, const HypervisorVm *vm, char **ret_text, Error *err) {
    QemuXmlOptions options = qemu_xml_options((QemuSession *)session, vm);
    if (!qemu_domain_check(vm, &options, err))
        return false;
    *ret_text = qemu_domain_xml(vm, &options);
    return true;
}

/* A QEMU that stops its CPUs waits for all requests and flushes all disks (do_vm_stop), which writes the
 * tables that qcow2 keeps in memory, whatever the cache mode (bdrv_co_flush, qcow2_co_flush_to_os). Not so
 * when it was a disk that failed. */
static bool qemu_quiesce(HypervisorSession *session, const char *vm_id, const Cancel *cancel, Error *err) {
    int state = VIR_DOMAIN_NOSTATE, reason = VIR_DOMAIN_PAUSED_UNKNOWN;
    g_autoptr(virDomain) domain = session_find_running(session, vm_id, err);
    if (!domain || !cancel_check(cancel, err) || !session_pause(session, vm_id, err))
        return false;
    if (virDomainGetState(domain, &state, &reason, 0) < 0)
        return connection_error(err, "the VM's state cannot be asked for");
    return state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_IOERROR
               ? error_set(err, ERROR_WRONG_STATE, NULL, "the VM is held because one of its disks failed")
               : true;
}

static const char *const qemu_modules[] = {
    NETWORK_MODULES, "kvm", "kvm_intel", "kvm_amd", "vhost_net", "vhost_vsock", NULL};

const Hypervisor hypervisor_qemu = {
    .name = "qemu",
    .modules = qemu_modules,
    .is_here = qemu_is_here,
    .open = qemu_open,
    .close = qemu_close,
    .probe = qemu_probe,
    .list = session_list,
    .state = session_state,
    .guest = session_guest,
    .statistics = qemu_statistics,
    .start = qemu_start,
    .stop = session_stop,
    .kill = session_kill,
    .reset = qemu_reset,
    .pause = session_pause,
    .resume = session_resume,
    .quiesce = qemu_quiesce,
    .save = session_save,
    .save_settle = session_save_settle,
    .restore = qemu_restore,
    .forget = session_forget,
    .update = qemu_update,
    .console = session_console,
    .definition = qemu_definition,
    .foreign = session_foreign,
    .foreign_read = session_foreign_read,
    .adopt = session_adopt,
    .network_open = session_network_open,
    .network_close = session_network_close,
    .mover = &qemu_mover,
};
