/*
 * The driver "qemu": QEMU and KVM through libvirt. Domains are transient: they exist from their start to
 * their end, so that libvirt never holds a definition of a VM that does not run.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"
#include "hypervisor/crash-mark.h"
#include "hypervisor/host-facts.h"
#include "hypervisor/libvirt/session.h"
#include "hypervisor/libvirt/xml-read.h"
#include "hypervisor/vm-files.h"

enum { POLL_MS = 200, ASK_AGAIN_MS = 5000 };

#define URI "qemu:///system"

static void remember_end(virDomain *domain, const char *vm_id, const char *fault, void *data) {
    const HypervisorSession *session = data;
    g_autofree char *own = domain_name(session->instance, vm_id);
    if (g_strcmp0(virDomainGetName(domain), own) != 0)
        return;
    if (fault)
        crash_mark_set(session->state_folder, vm_id, fault);
    else
        crash_mark_clear(session->state_folder, vm_id); /* an earlier run's, told late */
}

static HypervisorSession *qemu_open(const HypervisorOptions *options, Error *err) {
    (void)err;
    HypervisorSession *session = g_new0(HypervisorSession, 1);
    session->instance = g_strdup(options->instance);
    session->state_folder = g_strdup(options->state_folder);
    session->acceleration = options->acceleration;
    g_mutex_init(&session->network_lock);
    g_mutex_init(&session->limits_lock);
    const ConnectionListener listener = {.on_change = options->on_change,
        .on_change_data = options->on_change_data,
        .on_end = remember_end,
        .on_end_data = session};
    session->connection = connection_new(URI, &listener);
    session->work = work_connections_new(URI);
    return session;
}

static void qemu_close(HypervisorSession *session) {
    if (!session)
        return;
    work_connections_free(session->work);
    connection_free(session->connection);
    g_mutex_clear(&session->network_lock);
    g_mutex_clear(&session->limits_lock);
    g_clear_pointer(&session->counted, g_hash_table_unref);
    g_free(session->instance);
    g_free(session->state_folder);
    g_free(session);
}

/* From libvirt's description of the machine type; 0 when it gives none. Seconds while libvirt knows QEMU not
 * yet. */
static int64_t vcpus_limit(HypervisorSession *session, virConnect *connection, bool is_kvm) {
    g_mutex_lock(&session->limits_lock);
    if (!session->vcpus_limit) {
        g_autofree char *xml =
            virConnectGetDomainCapabilities(connection, NULL, "x86_64", "q35", is_kvm ? "kvm" : "qemu", 0);
        g_autofree char *maximum = xml ? xml_attribute(xml, "vcpu", "max") : NULL;
        session->vcpus_limit = maximum ? g_ascii_strtoll(maximum, NULL, 10) : 0;
    }
    int64_t limit = session->vcpus_limit;
    g_mutex_unlock(&session->limits_lock);
    return limit;
}

static char *version_text(unsigned long version) {
    return g_strdup_printf("%lu.%lu.%lu", version / 1000000, version / 1000 % 1000, version % 1000);
}

/* A run of a domain stays ours: it is asked once, because all are counted whenever one changes. One that
 * ended meanwhile is nobody's. */
static bool is_ours(HypervisorSession *session, virDomain *domain, GHashTable *counted) {
    char id[VIR_UUID_STRING_BUFLEN] = "";
    bool is_managed = true;
    virDomainGetUUIDString(domain, id);
    g_autofree char *run = g_strdup_printf("%s/%u", id, virDomainGetID(domain));
    g_mutex_lock(&session->limits_lock);
    bool is_known = session->counted && g_hash_table_contains(session->counted, run);
    g_mutex_unlock(&session->limits_lock);
    if (!is_known && state_is_managed(session, domain, &is_managed, NULL, NULL) && !is_managed)
        return false;
    g_hash_table_add(counted, g_steal_pointer(&run));
    return true;
}

static void count_vms(virConnect *connection, HypervisorSession *session, HostStatus *status) {
    g_autoptr(GHashTable) counted = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    virDomainPtr *domains = NULL;
    int n = virConnectListAllDomains(connection, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
    host_status_set_vms_running(status, MAX(n, 0));
    for (int i = 0; i < n; i++) {
        if (!is_ours(session, domains[i], counted))
            host_status_add_unmanaged(status, virDomainGetName(domains[i]));
        virDomainFree(domains[i]);
    }
    free(domains);
    g_mutex_lock(&session->limits_lock);
    GHashTable *before = session->counted;
    session->counted = g_steal_pointer(&counted);
    g_mutex_unlock(&session->limits_lock);
    g_clear_pointer(&before, g_hash_table_unref);
}

static bool qemu_probe(HypervisorSession *session, HostStatus *status, Error *err) {
    g_autofree char *reason = NULL;
    host_facts_read(status);
    bool is_kvm = host_acceleration(session->acceleration, &reason) == ACCELERATION_KVM;
    host_status_set_acceleration(status, is_kvm ? "kvm" : "emulation");
    host_status_set_acceleration_reason(status, reason);

    g_autoptr(virConnect) connection = connection_get(session->connection, err);
    if (!connection)
        return false;
    unsigned long version = 0;
    if (virConnectGetLibVersion(connection, &version) < 0)
        return connection_error(err, "libvirt does not tell its version");
    g_autofree char *libvirt = version_text(version);
    host_status_set_libvirt(status, libvirt);
    if (virConnectGetVersion(connection, &version) < 0)
        return connection_error(err, "QEMU (package qemu-system-x86) was not found");
    g_autofree char *number = version_text(version);
    g_autofree char *hypervisor = g_strdup_printf("QEMU %s", number);
    host_status_set_hypervisor(status, hypervisor);
    host_status_set_vcpus_limit(status, vcpus_limit(session, connection, is_kvm));
    count_vms(connection, session, status);
    return true;
}

static bool find(HypervisorSession *session, virConnect *connection, const char *vm_id,
    virDomain **ret_domain, Error *err) {
    g_autoptr(virDomain) domain = virDomainLookupByUUIDString(connection, vm_id);
    if (!domain) {
        *ret_domain = NULL;
        return connection_is_missing() ? true : connection_error(err, "the VM cannot be looked up");
    }
    g_auto(Error) fault = {0};
    bool is_managed = false;
    if (state_is_managed(session, domain, &is_managed, NULL, &fault) && is_managed) {
        *ret_domain = g_steal_pointer(&domain);
        return true;
    }
    if (fault.code == ERROR_NOT_FOUND) { /* ended meanwhile */
        *ret_domain = NULL;
        return true;
    }
    if (error_is_set(&fault)) {
        error_move(err, &fault);
        return false;
    }
    return error_set(err, ERROR_IN_USE, NULL,
        "the domain %s has this id but was not started by this instance", virDomainGetName(domain));
}

bool session_find(HypervisorSession *session, const char *vm_id, virDomain **ret_domain, Error *err) {
    g_autoptr(virConnect) connection = connection_get(session->connection, err);
    return connection && find(session, connection, vm_id, ret_domain, err);
}

/* Waits until libvirt answers. */
static virConnect *connection_to_work(HypervisorSession *session, Error *err) {
    g_autoptr(virConnect) answering = connection_get(session->connection, err);
    return answering ? work_connections_get(session->work, err) : NULL;
}

bool session_running_definition(virDomain *domain, Vm *ret_vm) {
    g_autofree char *element = virDomainGetMetadata(
        domain, VIR_DOMAIN_METADATA_ELEMENT, DOMAIN_DEFINITION_NAMESPACE, VIR_DOMAIN_AFFECT_CURRENT);
    g_autofree char *text = element ? xml_text(element, "vm") : NULL;
    g_autoptr(json_t) json = text ? json_parse(text, strlen(text), NULL) : NULL;
    return json && vm_decode(json, MODEL_STORED, ret_vm, NULL);
}

static bool can_bypass_cache(const char *path) {
    fd_auto int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    return fd >= 0;
}

DomainXmlOptions session_xml_options(HypervisorSession *session, const HypervisorVm *vm) {
    static const struct {
        const char *code, *variables;
    } firmwares[] = {{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
        {"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"}};
    g_autofree char *reason = NULL;
    Acceleration wanted = vm->acceleration != ACCELERATION_AUTO ? vm->acceleration : session->acceleration;
    DomainXmlOptions options = {.instance = session->instance,
        .state_folder = session->state_folder,
        .is_kvm = host_acceleration(wanted, &reason) == ACCELERATION_KVM,
        .can_bypass_cache = can_bypass_cache};
    for (size_t i = 0; i < G_N_ELEMENTS(firmwares) && !options.uefi_code; i++)
        if (access(firmwares[i].code, R_OK) == 0 && access(firmwares[i].variables, R_OK) == 0) {
            options.uefi_code = firmwares[i].code;
            options.uefi_variables = firmwares[i].variables;
        }
    return options;
}

/* What a start that was interrupted left behind counts as not running and is removed. */
static bool runs_already(virDomain *domain) {
    int state = VIR_DOMAIN_NOSTATE, reason = 0;
    if (!domain || virDomainGetState(domain, &state, &reason, 0) < 0)
        return false;
    bool is_half_started = state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_STARTING_UP;
    if (!is_half_started &&
        (state == VIR_DOMAIN_RUNNING || state == VIR_DOMAIN_BLOCKED || state == VIR_DOMAIN_PAUSED ||
            state == VIR_DOMAIN_PMSUSPENDED || state == VIR_DOMAIN_SHUTDOWN))
        return true;
    virDomainDestroy(domain);
    return false;
}

static bool open_networks(HypervisorSession *session, const HypervisorVm *vm, Error *err) {
    for (size_t i = 0; i < vm->n_nics; i++) {
        g_auto(Network) network = {0};
        network_copy(&network, vm->nics[i].network);
        if (qemu_network_open(session, &network, err))
            continue;
        g_autofree char *field = g_strdup_printf("/nics/%zu", i);
        return err ? error_prefix_field(err, field) : false;
    }
    return true;
}

static bool qemu_start(HypervisorSession *session, const HypervisorVm *vm, const Cancel *cancel, Error *err) {
    g_autoptr(virConnect) connection = connection_to_work(session, err);
    if (!connection)
        return false;
    DomainXmlOptions options = session_xml_options(session, vm);
    options.vcpus_limit = vcpus_limit(session, connection, options.is_kvm);
    options.started_ns = clock_realtime_ns(clock_system());
    g_autofree char *ignored = NULL;
    if (vm->acceleration == ACCELERATION_KVM && !host_has_kvm(&ignored))
        return error_set(err, ERROR_UNSUPPORTED, "/acceleration", "%s", ignored);
    g_autoptr(virDomain) present = NULL;
    if (!domain_check(vm, &options, err) || !find(session, connection, vm->vm->id, &present, err))
        return false;
    if (runs_already(present))
        return true;
    if (!session_share_backing(session, vm, err) || !open_networks(session, vm, err) ||
        !cancel_check(cancel, err))
        return false;
    g_autofree char *xml = domain_xml(vm, &options);
    crash_mark_clear(session->state_folder, vm->vm->id);
    g_autoptr(virDomain) domain = virDomainCreateXML(connection, xml, 0);
    if (domain)
        return true;
    connection_error(err, "the VM cannot be started");
    crash_mark_clear(session->state_folder, vm->vm->id); /* a start that fails looks like a crash */
    return false;
}

/* Only libvirt's word that it does not run counts: a libvirtd that died says nothing about the guest. */
static bool end_now(virDomain *domain, Error *err) {
    if (virDomainDestroy(domain) == 0 || connection_is_missing())
        return true;
    g_auto(Error) fault = {0};
    connection_error(&fault, "the VM cannot be ended");
    if (virDomainIsActive(domain) == 0 || connection_is_missing())
        return true;
    error_move(err, &fault);
    return false;
}

/* True when it has gone. A libvirtd that is away for a moment says nothing about the VM. */
static bool has_gone(HypervisorSession *session, const char *vm_id) {
    g_autoptr(virDomain) domain = NULL;
    return session_find(session, vm_id, &domain, NULL) && (!domain || virDomainIsActive(domain) == 0);
}

/* A guest that is still booting loses the press of the power button: it is repeated, in turn with its agent.
 */
static void ask_to_stop(HypervisorSession *session, const char *vm_id, int64_t turn) {
    g_autoptr(virDomain) domain = NULL;
    if (!session_find(session, vm_id, &domain, NULL) || !domain)
        return;
    if (turn % 2 == 0 || virDomainShutdownFlags(domain, VIR_DOMAIN_SHUTDOWN_GUEST_AGENT) < 0)
        virDomainShutdownFlags(domain, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN);
}

static bool wait_for_end(HypervisorSession *session, const char *vm_id, int64_t timeout_ms,
    const Cancel *cancel, bool *ret_has_ended, Error *err) {
    gint64 start = g_get_monotonic_time();
    int64_t turns = 0;
    for (;;) {
        int64_t passed_ms = (g_get_monotonic_time() - start) / 1000;
        *ret_has_ended = has_gone(session, vm_id);
        if (*ret_has_ended || passed_ms >= timeout_ms)
            return true;
        if (passed_ms >= turns * ASK_AGAIN_MS)
            ask_to_stop(session, vm_id, turns++);
        if (!cancel_check(cancel, err))
            return false;
        g_usleep(POLL_MS * 1000);
    }
}

static bool qemu_kill(HypervisorSession *session, const char *vm_id, Error *err) {
    g_autoptr(virConnect) connection = connection_to_work(session, err);
    g_autoptr(virDomain) domain = NULL;
    crash_mark_clear(session->state_folder, vm_id);
    return connection && find(session, connection, vm_id, &domain, err) && (!domain || end_now(domain, err));
}

static bool qemu_stop(HypervisorSession *session, const char *vm_id, int64_t timeout_ms, bool force,
    const Cancel *cancel, Error *err) {
    g_autoptr(virDomain) domain = NULL;
    int state = VIR_DOMAIN_NOSTATE;
    bool has_ended = false;
    if (!session_find(session, vm_id, &domain, err))
        return false;
    crash_mark_clear(session->state_folder, vm_id);
    if (!domain)
        return true;
    if (virDomainGetState(domain, &state, NULL, 0) == 0 && state == VIR_DOMAIN_PAUSED)
        return force ? end_now(domain, err)
                     : error_set(err, ERROR_WRONG_STATE, NULL,
                           "a paused VM cannot stop by itself; resume it first");
    if (!wait_for_end(session, vm_id, timeout_ms, cancel, &has_ended, err))
        return false;
    if (has_ended)
        return true;
    return force ? qemu_kill(session, vm_id, err)
                 : error_set(err, ERROR_TIMED_OUT, NULL,
                       "the guest has not stopped within %" G_GINT64_FORMAT " s", timeout_ms / 1000);
}

/* The domain of a VM that must run. */
static virDomain *find_running(HypervisorSession *session, const char *vm_id, Error *err) {
    virDomain *domain = NULL;
    if (session_find(session, vm_id, &domain, err) && !domain)
        error_set(err, ERROR_WRONG_STATE, NULL, "the VM does not run");
    return domain;
}

static bool is_in_state(virDomain *domain, int wanted) {
    int state = VIR_DOMAIN_NOSTATE;
    return virDomainGetState(domain, &state, NULL, 0) == 0 && state == wanted;
}

static bool qemu_reset(HypervisorSession *session, const char *vm_id, Error *err) {
    g_autoptr(virDomain) domain = find_running(session, vm_id, err);
    if (!domain)
        return false;
    return virDomainReset(domain, 0) == 0 || connection_error(err, "the VM cannot be reset");
}

static bool qemu_pause(HypervisorSession *session, const char *vm_id, Error *err) {
    g_autoptr(virDomain) domain = find_running(session, vm_id, err);
    if (!domain)
        return false;
    return is_in_state(domain, VIR_DOMAIN_PAUSED) || virDomainSuspend(domain) == 0 ||
           connection_error(err, "the VM cannot be paused");
}

static bool qemu_resume(HypervisorSession *session, const char *vm_id, Error *err) {
    g_autoptr(virDomain) domain = find_running(session, vm_id, err);
    if (!domain)
        return false;
    return is_in_state(domain, VIR_DOMAIN_RUNNING) || virDomainResume(domain) == 0 ||
           connection_error(err, "the VM cannot be resumed");
}

static bool qemu_forget(HypervisorSession *session, const char *vm_id, Error *err) {
    return vm_files_remove(session->state_folder, vm_id, err);
}

static bool qemu_definition(HypervisorSession *session, const HypervisorVm *vm, char **ret_text, Error *err) {
    DomainXmlOptions options = session_xml_options(session, vm);
    if (!domain_check(vm, &options, err))
        return false;
    *ret_text = domain_xml(vm, &options);
    return true;
}

/* Virtualization, NICs, and what libvirt's NAT networks use with either of its firewalls. */
static const char *const qemu_modules[] = {"kvm", "kvm_intel", "kvm_amd", "tun", "vhost_net", "vhost_vsock",
    "bridge", "ip_tables", "ip6_tables", "iptable_filter", "iptable_nat", "iptable_mangle", "ip6table_filter",
    "ip6table_nat", "ip6table_mangle", "ipt_REJECT", "ip6t_REJECT", "xt_CHECKSUM", "xt_MASQUERADE",
    "xt_conntrack", "xt_tcpudp", "nf_conntrack", "nf_nat", "nf_tables", "nft_compat", "nft_chain_nat",
    "nft_ct", "nft_masq", "nft_reject", "nft_reject_inet", "nft_reject_ipv4", "nft_reject_ipv6", "nft_limit",
    "nft_log", NULL};

const Hypervisor hypervisor_qemu = {
    .name = "qemu",
    .modules = qemu_modules,
    .open = qemu_open,
    .close = qemu_close,
    .probe = qemu_probe,
    .list = qemu_list,
    .state = qemu_state,
    .guest = qemu_guest,
    .start = qemu_start,
    .stop = qemu_stop,
    .kill = qemu_kill,
    .reset = qemu_reset,
    .pause = qemu_pause,
    .resume = qemu_resume,
    .forget = qemu_forget,
    .update = qemu_update,
    .console = qemu_console,
    .definition = qemu_definition,
    .network_open = qemu_network_open,
    .network_close = qemu_network_close,
};
