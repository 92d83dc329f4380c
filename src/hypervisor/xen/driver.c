/*
 * The driver "xen": Xen through libvirt's libxl driver. What libvirt does not offer there, and how it is done
 * instead, stands in docs/xen.md.
 */
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"
#include "model/abilities.h"
#include "hypervisor/adopted.h"
#include "hypervisor/host-facts.h"
#include "hypervisor/libvirt/moving.h"
#include "hypervisor/libvirt/network-modules.h"
#include "hypervisor/xen/back-ends.h"
#include "hypervisor/xen/dying.h"
#include "hypervisor/xen/loops.h"
#include "hypervisor/xen/others.h"
#include "hypervisor/xen/preflight.h"
#include "hypervisor/xen/save.h"
#include "hypervisor/xen/session.h"
#include "hypervisor/xen/strays.h"
#include "hypervisor/xen/vcpus.h"
#include "model/vm-mode.h"

enum { CAPABILITIES_LIMIT = 64 * 1024, KIB = 1024, CONTROL_DOMAIN = 0 };

static const char uefi_path[] = "/usr/lib/xen/boot/ovmf.bin";
static const char grub_path[] = "/usr/lib/grub-xen/grub-i386-xen_pvh.bin";

/* libxl makes a domain, builds it, and lets it go: one that is held and never ran was left in between. */
static bool is_half_started(virDomain *domain, int state, int reason) {
    virDomainInfo info = {0};
    (void)reason;
    return state == VIR_DOMAIN_PAUSED && virDomainGetInfo(domain, &info) == 0 && info.cpuTime == 0;
}

static bool is_control_domain(virDomain *domain) {
    return virDomainGetID(domain) == CONTROL_DOMAIN;
}

VmMode xen_mode_of(virDomain *domain) {
    g_autofree char *type = virDomainGetOSType(domain);
    if (g_strcmp0(type, "hvm") == 0)
        return VM_MODE_HVM;
    return g_strcmp0(type, "xenpvh") == 0 ? VM_MODE_PVH : VM_MODE_PV;
}

static bool has_gone(HypervisorSession *session, const char *vm_id) {
    g_autofree char *name = domain_name(session->instance, vm_id);
    XenPresence presence = xen_domain_presence(name);
    return presence != XEN_NOT_KNOWN && xen_remains_judge(((XenSession *)session)->remains, name,
                                            presence == XEN_PRESENT, g_get_monotonic_time());
}

static void add_foreign(virConnect *connection, AgentForeignList *list);

static const LibvirtDialect dialect = {.uri = "xen:///system",
    .console_flags = 0,
    .has_agent = false,
    .stop_flags = {VIR_DOMAIN_SHUTDOWN_PARAVIRT, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN},
    .is_half_started = is_half_started,
    .restarts_itself = true,
    .has_gone = has_gone,
    .mode_of = xen_mode_of,
    .is_whole_image = xen_is_whole_image,
    .run_on = xen_run_on,
    .owns_console = xen_owns_console,
    .see_run = xen_see_run,
    .is_no_guest = is_control_domain,
    .add_foreign = add_foreign};

static bool sysfs_says(const char *file, const char *expected) {
    g_autofree char *path = g_build_filename("/sys/hypervisor", file, NULL);
    g_autofree char *text = NULL;
    return file_read(path, CAPABILITIES_LIMIT, &text, NULL, NULL) && !strcmp(g_strchomp(text), expected);
}

/* The control domain has the id of zeros. */
static bool xen_is_here(void) {
    return sysfs_says("type", "xen") && sysfs_says("uuid", "00000000-0000-0000-0000-000000000000");
}

static HypervisorSession *xen_open(const HypervisorOptions *options, Error *err) {
    (void)err;
    XenSession *session = g_new0(XenSession, 1);
    session_init(&session->base, &dialect, options);
    g_mutex_init(&session->dying_lock);
    session->remains = xen_remains_new();
    session->helpers = g_strdup(options->helpers);
    session->dying = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    return &session->base;
}

static void xen_close(HypervisorSession *session) {
    if (!session)
        return;
    XenSession *own = (XenSession *)session;
    session_clear(session);
    xen_remains_free(own->remains);
    g_hash_table_unref(own->dying);
    g_mutex_clear(&own->dying_lock);
    g_free(own->helpers);
    g_free(own);
}

/* ---- the host ---- */

/* What the driver's table says, less what this machine lacks: the hypervisor's words are "xen-3.0-x86_64" for
 * paravirtual guests and "hvm-3.0-x86_64" where the CPU has virtualization. */
static void report_modes(HostStatus *status) {
    g_autofree char *text = NULL;
    g_auto(HostStatus) all = {0};
    if (!file_read("/sys/hypervisor/properties/capabilities", CAPABILITIES_LIMIT, &text, NULL, NULL))
        return;
    abilities_report("xen", &all);
    for (size_t i = 0; i < all.modes.n; i++) {
        HostMode *mode = &all.modes.items[i];
        if (!strstr(text, mode->mode == VM_MODE_PV ? "xen-" : "hvm-"))
            continue;
        if (mode->mode == VM_MODE_PVH && access(grub_path, R_OK) != 0)
            host_mode_set_boot_disk(mode, false);
        if (access(uefi_path, R_OK) != 0)
            host_mode_set_uefi(mode, false);
        host_mode_copy(host_status_add_modes(status), mode);
    }
}

/* "4.20.2-pre": what libvirt packs into a number lacks the last part. */
static char *hypervisor_text(unsigned long version) {
    g_autofree char *extra = NULL;
    if (file_read("/sys/hypervisor/version/extra", CAPABILITIES_LIMIT, &extra, NULL, NULL))
        g_strstrip(extra);
    return g_strdup_printf("Xen %lu.%lu%s", version / 1000000, version / 1000 % 1000, extra ? extra : "");
}

/* The machine's, not the control domain's: that one's memory is never free for guests. */
static bool read_sizes(virConnect *connection, HostStatus *status, Error *err) {
    virNodeInfo node = {0};
    if (virNodeGetInfo(connection, &node) < 0)
        return connection_error(err, "the machine's size cannot be read");
    host_status_set_cpus(status, node.cpus);
    host_status_set_memory(status, (uint64_t)node.memory * KIB);
    host_status_set_memory_free(status, virNodeGetFreeMemory(connection));
    g_autoptr(virDomain) control = virDomainLookupByID(connection, CONTROL_DOMAIN);
    virDomainInfo info = {0};
    if (control && virDomainGetInfo(control, &info) == 0) {
        host_status_set_control_memory(status, (uint64_t)info.memory * KIB);
        host_status_set_control_cpus(status, info.nrVirtCpu);
    }
    return true;
}

/* Those that libvirt is just building have their names in its list before they run. NULL: it does not tell.
 */
static GHashTable *known_names(virConnect *connection) {
    GHashTable *known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    virDomainPtr *domains = NULL;
    int n = virConnectListAllDomains(connection, &domains, 0);
    for (int i = 0; i < n; i++) {
        g_hash_table_add(known, g_strdup(virDomainGetName(domains[i])));
        virDomainFree(domains[i]);
    }
    free(domains);
    if (n < 0)
        g_clear_pointer(&known, g_hash_table_unref);
    return known;
}

static void add_foreign(virConnect *connection, AgentForeignList *list) {
    g_autoptr(GHashTable) known = known_names(connection);
    if (known)
        xen_add_others(known, list);
}

static void add_others(virConnect *connection, HostStatus *status) {
    g_autoptr(GHashTable) known = known_names(connection);
    g_autoptr(GPtrArray) names = known ? xen_other_domains(known) : NULL;
    for (guint i = 0; names && i < names->len; i++) {
        host_status_add_unmanaged(status, names->pdata[i]);
        host_status_set_vms_running(status, status->vms_running + 1);
    }
}

static bool xen_probe(HypervisorSession *session, HostStatus *status, Error *err) {
    host_facts_read(status);
    host_status_set_acceleration(status, "xen");
    report_modes(status);
    host_status_set_acceleration_reason(status, "this system is the control domain of a Xen hypervisor");
    g_autoptr(virConnect) connection = connection_get(session->connection, err);
    if (!connection)
        return false;
    unsigned long version = 0;
    if (virConnectGetLibVersion(connection, &version) < 0)
        return connection_error(err, "libvirt does not tell its version");
    g_autofree char *libvirt = session_version_text(version);
    host_status_set_libvirt(status, libvirt);
    if (virConnectGetVersion(connection, &version) < 0)
        return connection_error(err, "Xen does not tell its version");
    g_autofree char *hypervisor = hypervisor_text(version);
    host_status_set_hypervisor(status, hypervisor);
    int limit = virConnectGetMaxVcpus(connection, NULL);
    if (limit > 0)
        host_status_set_vcpus_limit(status, limit);
    session_count_vms(session, connection, status);
    add_others(connection, status);
    return read_sizes(connection, status, err);
}

/* ---- what runs ---- */

static bool xen_list(HypervisorSession *session, AgentInventory *inventory, Error *err) {
    if (!session_list(session, inventory, err))
        return false;
    xen_strays_list(session, inventory);
    xen_dying_list(session, inventory);
    return true;
}

static bool xen_state(HypervisorSession *session, const char *vm_id, AgentVmState *ret_state, Error *err) {
    if (!session_state(session, vm_id, ret_state, err))
        return false;
    if (ret_state->status.state == VM_STATE_STOPPED || ret_state->status.state == VM_STATE_CRASHED) {
        xen_stray_tell(session, vm_id, ret_state);
        xen_dying_tell(session, vm_id, ret_state);
    }
    return true;
}

/* libvirt does not end what it does not know. */
static bool xen_stop(HypervisorSession *session, const char *vm_id, int64_t timeout_ms, bool force,
    const Cancel *cancel, Error *err) {
    return session_stop(session, vm_id, timeout_ms, force, cancel, err) &&
           xen_stop_stray(session, vm_id, timeout_ms, force, cancel, err) &&
           xen_check_is_dead(session, vm_id, err);
}

static bool xen_kill(HypervisorSession *session, const char *vm_id, Error *err) {
    bool may_stray = xen_may_stray(vm_id);
    return session_kill(session, vm_id, err) && xen_end_stray(session, vm_id, may_stray, err) &&
           xen_check_is_dead(session, vm_id, err);
}

/* ---- starting ---- */

bool xen_xml_options(
    const HypervisorSession *session, const HypervisorVm *vm, XenXmlOptions *ret_options, Error *err) {
    g_auto(HostStatus) status = {0};
    XenXmlOptions options = {.instance = session->instance,
        .state_folder = session->state_folder,
        .uefi_path = access(uefi_path, R_OK) == 0 ? uefi_path : NULL,
        .grub_path = access(grub_path, R_OK) == 0 ? grub_path : NULL};
    report_modes(&status);
    if (!status.modes.n)
        return error_set(err, ERROR_UNREACHABLE, NULL, "the hypervisor does not tell what it can do");
    if (!vm_mode_choose(vm->vm, &status, vm->kernel_path != NULL, &options.mode, err))
        return false;
    *ret_options = options;
    return xen_domain_check(vm, &options, err);
}

/* The guest has not run yet: what goes wrong here leaves nothing behind. */
static bool release(virDomain *domain, const Vm *vm, VmMode mode, Error *err) {
    bool is_complete = xen_check_disks_served(virDomainGetID(domain), virDomainGetName(domain), err) &&
                       (!xen_keeps_vcpus_back(vm, mode) ||
                           xen_offer_vcpus(domain, vm->vcpus, domain_vcpus_maximum(vm), err));
    if (is_complete && virDomainResume(domain) == 0)
        return true;
    if (is_complete)
        connection_error(err, "the VM cannot be started");
    virDomainDestroy(domain);
    return false;
}

static bool xen_start(HypervisorSession *session, const HypervisorVm *vm, const Cancel *cancel, Error *err) {
    XenXmlOptions options;
    g_autoptr(virConnect) connection = session_work(session, err);
    g_autoptr(virDomain) present = NULL;
    if (!connection || !xen_xml_options(session, vm, &options, err) ||
        !session_find_settled(session, connection, vm->vm->id, cancel, &present, err))
        return false;
    if (session_runs_already(session, present))
        return true;
    if (!xen_check_no_stray(session, vm->vm->id, err) || !xen_check_is_dead(session, vm->vm->id, err) ||
        !xen_preflight(connection, vm, options.mode, err) || !session_open_networks(session, vm, err) ||
        !adopted_settle(session->state_folder, vm->vm->id, err) || !cancel_check(cancel, err))
        return false;
    moving_forget(session, vm->vm->id);
    options.started_ns = clock_realtime_ns(clock_system());
    g_autofree char *xml = xen_domain_xml(vm, &options);
    g_autoptr(virDomain) domain =
        session_create(session, connection, vm->vm->id, xml, VIR_DOMAIN_START_PAUSED, err);
    if (domain && release(domain, vm->vm, options.mode, err))
        return true;
    xen_release_loops(vm);
    return false;
}

/* libvirt cannot reset domains here: ended and made again from what it knows of it, which is what a reset
 * does to a machine. */
static bool xen_reset(HypervisorSession *session, const char *vm_id, Error *err) {
    g_autoptr(virConnect) connection = session_work(session, err);
    g_autoptr(virDomain) domain = NULL;
    g_auto(Vm) running = {0};
    if (!connection || !session_find_settled(session, connection, vm_id, NULL, &domain, err))
        return false;
    if (!domain)
        return error_set(err, ERROR_WRONG_STATE, NULL, "the VM does not run");
    if (session_is_adopted(session, domain))
        return adopted_refuse("cannot reset it", err);
    g_autofree char *xml = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_INACTIVE);
    if (!xml || !domain_running_definition(domain, &running))
        return connection_error(err, "the VM cannot be reset");
    VmMode mode = xen_mode_of(domain);
    if (virDomainDestroy(domain) < 0)
        return connection_error(err, "the VM cannot be reset");
    g_autoptr(virDomain) again =
        session_create(session, connection, vm_id, xml, VIR_DOMAIN_START_PAUSED, err);
    return again && release(again, &running, mode, err);
}

static bool xen_restore(
    HypervisorSession *session, const HypervisorVm *vm, const char *path, const Cancel *cancel, Error *err) {
    g_autoptr(virDomain) domain = NULL;
    if (!xen_check_no_stray(session, vm->vm->id, err) || !xen_check_is_dead(session, vm->vm->id, err) ||
        !session_restore(session, vm, path, cancel, err) || !session_find(session, vm->vm->id, &domain, err))
        return false;
    if (domain)
        xen_see_run(domain); /* before it runs: libxl offers all vCPUs */
    return true;
}

static bool xen_definition(HypervisorSession *session, const HypervisorVm *vm, char **ret_text, Error *err) {
    XenXmlOptions options;
    if (!xen_xml_options(session, vm, &options, err))
        return false;
    options.state_folder = NULL; /* it is to start without Lodge */
    *ret_text = xen_domain_xml(vm, &options);
    return true;
}

/* The control domain's own, and the back ends of guests' devices. */
static const char *const xen_modules[] = {NETWORK_MODULES, "xen_evtchn", "xen_gntdev", "xen_gntalloc",
    "xen_privcmd", "xenfs", "xen_netback", "xen_blkback", "xen_acpi_processor", "loop", NULL};

const Hypervisor hypervisor_xen = {
    .name = "xen",
    .modules = xen_modules,
    .is_here = xen_is_here,
    .open = xen_open,
    .close = xen_close,
    .probe = xen_probe,
    .list = xen_list,
    .state = xen_state,
    .guest = xen_guest,
    .statistics = xen_statistics,
    .start = xen_start,
    .stop = xen_stop,
    .kill = xen_kill,
    .reset = xen_reset,
    .pause = session_pause,
    .resume = session_resume,
    .quiesce = xen_quiesce,
    .save = session_save,
    .save_settle = session_save_settle,
    .restore = xen_restore,
    .forget = session_forget,
    .update = xen_update,
    .console = session_console,
    .definition = xen_definition,
    .mover = &xen_mover,
    .foreign = session_foreign,
    .foreign_read = session_foreign_read,
    .adopt = session_adopt,
    .network_open = session_network_open,
    .network_close = session_network_close,
};
