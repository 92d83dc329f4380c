/*
 * Domains that Lodge did not make: what they are, and taking them over. A domain of another tool is known to
 * libvirt while it does not run; once it is undefined nobody but Lodge starts it. One that runs stays the
 * same domain, and becomes transient as all of Lodge's are.
 */
#include <inttypes.h>
#include <string.h>
#include "base/clock.h"
#include "hypervisor/adopted.h"
#include "hypervisor/libvirt/foreign-xml.h"
#include "hypervisor/libvirt/session.h"
#include "hypervisor/libvirt/xml-read.h"

/* ---- what it is ---- */

/* A VM of another instance of Lodge, which starts and ends it. */
static void look_for_owner(virDomain *domain, ForeignVm *vm) {
    g_autofree char *element = virDomainGetMetadata(
        domain, VIR_DOMAIN_METADATA_ELEMENT, DOMAIN_VM_NAMESPACE, VIR_DOMAIN_AFFECT_CURRENT);
    g_autofree char *instance = element ? xml_attribute(element, "vm", "instance") : NULL;
    g_autofree char *own = instance ? domain_name(instance, vm->id) : NULL;
    if (g_strcmp0(own, vm->name) == 0)
        foreign_add_obstacle(vm, "it is a VM of another Lodge on this host (%s)", instance);
}

/* Whatever hangs on the definition that would go. What a driver does not know it cannot have. */
static void look_for_ties(virDomain *domain, ForeignVm *vm) {
    virDomainJobInfo job = {0};
    if (virDomainSnapshotNum(domain, 0) > 0)
        foreign_add_obstacle(vm, "libvirt has snapshots of it: delete them first (virsh snapshot-delete)");
    if (virDomainListAllCheckpoints(domain, NULL, 0) > 0)
        foreign_add_obstacle(
            vm, "libvirt has checkpoints of it: delete them first (virsh checkpoint-delete)");
    if (virDomainHasManagedSaveImage(domain, 0) == 1)
        foreign_add_obstacle(vm, "its memory is saved (managed save): start it, or drop that (virsh "
                                 "managedsave-remove), first");
    if (virDomainGetJobInfo(domain, &job) == 0 && job.type != VIR_DOMAIN_JOB_NONE &&
        job.type != VIR_DOMAIN_JOB_COMPLETED)
        foreign_add_obstacle(vm, "libvirt works on it just now (a move, a save or a backup)");
}

/* While it does not run only libvirt knows the bridge of its network. */
static void find_bridge(virConnect *connection, ForeignNic *nic) {
    g_autoptr(virNetwork) network =
        nic->network && !nic->bridge ? virNetworkLookupByName(connection, nic->network) : NULL;
    char *bridge = network ? virNetworkGetBridgeName(network) : NULL;
    if (bridge && strlen(bridge) < 64)
        foreign_nic_set_bridge(nic, bridge);
    free(bridge);
}

static void tell_unreadable(virDomain *domain, const Error *fault, ForeignVm *vm) {
    char id[VIR_UUID_STRING_BUFLEN] = "";
    virDomainGetUUIDString(domain, id);
    foreign_vm_set_id(vm, id);
    g_autofree char *name = foreign_line(virDomainGetName(domain), 255);
    foreign_vm_set_name(vm, name);
    foreign_add_obstacle(vm, "%s", fault->message);
}

/* ERROR_NOT_FOUND when it has ended meanwhile. */
static bool read_foreign(HypervisorSession *session, virConnect *connection, virDomain *domain,
    ForeignVm *ret_vm, ForeignExtra *ret_extra, Error *err) {
    int state = VIR_DOMAIN_NOSTATE, starts = 0;
    bool is_active = virDomainIsActive(domain) == 1;
    g_autofree char *xml = virDomainGetXMLDesc(domain, is_active ? 0 : VIR_DOMAIN_XML_INACTIVE);
    if (!xml || virDomainGetState(domain, &state, NULL, 0) < 0)
        return connection_is_missing() ? error_set(err, ERROR_NOT_FOUND, NULL, "it has ended")
                                       : connection_error(err, "a domain's definition cannot be read");
    g_auto(Error) fault = {0};
    if (!foreign_xml_read(xml, strlen(xml), ret_vm, ret_extra, &fault))
        tell_unreadable(domain, &fault, ret_vm);
    foreign_vm_set_tool(ret_vm, "libvirt");
    foreign_vm_set_state(ret_vm, session_vm_state(state));
    if (virDomainGetAutostart(domain, &starts) == 0)
        foreign_vm_set_autostart(ret_vm, starts);
    for (size_t i = 0; i < ret_vm->nics.n; i++)
        find_bridge(connection, &ret_vm->nics.items[i]);
    look_for_owner(domain, ret_vm);
    look_for_ties(domain, ret_vm);
    if (session->dialect->check_foreign)
        session->dialect->check_foreign(session, ret_vm, ret_extra);
    return true;
}

static bool is_foreign(HypervisorSession *session, virDomain *domain) {
    bool is_managed = true;
    bool is_no_guest = session->dialect->is_no_guest && session->dialect->is_no_guest(domain);
    return !is_no_guest && session_is_managed(session, domain, &is_managed, NULL, NULL) && !is_managed;
}

bool session_foreign(HypervisorSession *session, AgentForeignList *ret_list, Error *err) {
    g_autoptr(virConnect) connection = session_work(session, err);
    if (!connection)
        return false;
    virDomainPtr *domains = NULL;
    int n = virConnectListAllDomains(connection, &domains, 0);
    if (n < 0)
        return connection_error(err, "VMs cannot be listed");
    bool is_complete = true;
    for (int i = 0; i < n; i++) {
        g_auto(ForeignVm) vm = {0};
        g_auto(ForeignExtra) extra = {0};
        g_auto(Error) fault = {0};
        if (is_complete && is_foreign(session, domains[i])) {
            if (read_foreign(session, connection, domains[i], &vm, &extra, &fault))
                foreign_vm_copy(agent_foreign_list_add_vms(ret_list), &vm);
            else if (fault.code != ERROR_NOT_FOUND) {
                error_move(err, &fault);
                is_complete = false;
            }
        }
        virDomainFree(domains[i]);
    }
    free(domains);
    if (is_complete && session->dialect->add_foreign)
        session->dialect->add_foreign(connection, ret_list);
    return is_complete;
}

/* ---- taking it over ---- */

bool session_foreign_read(
    HypervisorSession *session, const char *vm_id, ForeignVm *ret_vm, char **ret_text, Error *err) {
    g_autoptr(virConnect) connection = session_work(session, err);
    g_auto(ForeignExtra) extra = {0};
    if (!connection)
        return false;
    g_autoptr(virDomain) domain = virDomainLookupByUUIDString(connection, vm_id);
    if (!domain && !connection_is_missing())
        return connection_error(err, "the VM cannot be looked up");
    if (!domain || !is_foreign(session, domain))
        return error_set(err, ERROR_NOT_FOUND, NULL, "no other tool has a VM with this id");
    if (!read_foreign(session, connection, domain, ret_vm, &extra, err))
        return false;
    *ret_text = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE);
    return *ret_text || connection_error(err, "the domain's definition cannot be read");
}

/* Under our name or with our mark it is ours from now on: the mark on disk first, so that it is never half
 * ours after a crash. */
static bool mark_running(HypervisorSession *session, virDomain *domain, const Vm *vm, const char *nvram,
    const char *acceleration, Error *err) {
    g_autofree char *started = g_strdup_printf("%" PRId64, clock_realtime_ns(clock_system()));
    const DomainMark mark = {.instance = session->instance, .acceleration = acceleration, .started = started};
    return adopted_mark_set(session->state_folder, vm->id, nvram, err) && domain_mark(domain, vm, &mark, err);
}

static bool take_running(
    HypervisorSession *session, virConnect *connection, virDomain *domain, const Vm *vm, Error *err) {
    g_auto(ForeignVm) found = {0};
    g_auto(ForeignExtra) extra = {0};
    g_autofree char *xml = virDomainGetXMLDesc(domain, 0);
    g_autofree char *type = xml ? xml_attribute(xml, "domain", "type") : NULL;
    if (!xml || !read_foreign(session, connection, domain, &found, &extra, err))
        return xml ? false : connection_error(err, "the domain's definition cannot be read");
    const char *acceleration = g_strcmp0(type, "qemu") == 0 ? "emulation" : type;
    return mark_running(session, domain, vm, extra.nvram, acceleration, err);
}

static bool take_stopped(
    HypervisorSession *session, virConnect *connection, virDomain *domain, const Vm *vm, Error *err) {
    g_auto(ForeignVm) found = {0};
    g_auto(ForeignExtra) extra = {0};
    if (!read_foreign(session, connection, domain, &found, &extra, err))
        return false;
    bool has_variables = extra.nvram && g_file_test(extra.nvram, G_FILE_TEST_EXISTS);
    return !has_variables || adopted_nvram_take(session->state_folder, vm->id, extra.nvram, err);
}

static bool undefine(virDomain *domain, const Vm *vm, Error *err) {
    int starts = 0;
    if (virDomainIsPersistent(domain) != 1)
        return true;
    if (virDomainGetAutostart(domain, &starts) == 0 && starts && virDomainSetAutostart(domain, 0) < 0)
        return connection_error(err, "libvirt does not let go of starting it with the host");
    unsigned flags = domain_is_uefi(vm) ? VIR_DOMAIN_UNDEFINE_KEEP_NVRAM : 0;
    if (virDomainUndefineFlags(domain, flags) == 0 || connection_is_missing())
        return true;
    connection_error(err, "libvirt does not forget it");
    if (starts)
        virDomainSetAutostart(domain, 1);
    return false;
}

/* Somebody may have started it just before it was undefined: it is looked at again. */
static bool take(HypervisorSession *session, virConnect *connection, const Vm *vm, Error *err) {
    for (;;) {
        bool is_ours = false;
        g_autoptr(virDomain) domain = virDomainLookupByUUIDString(connection, vm->id);
        if (!domain)
            return connection_is_missing() || connection_error(err, "the VM cannot be looked up");
        if (!session_is_managed(session, domain, &is_ours, NULL, err))
            return false;
        bool is_active = virDomainIsActive(domain) == 1;
        bool is_taken = is_ours     ? true
                        : is_active ? take_running(session, connection, domain, vm, err)
                                    : take_stopped(session, connection, domain, vm, err);
        if (!is_taken || !undefine(domain, vm, err)) {
            if (!is_ours) /* it is the other tool's again */
                adopted_mark_clear(session->state_folder, vm->id);
            return false;
        }
        if (is_ours || is_active)
            return true;
    }
}

bool session_adopt(HypervisorSession *session, const Vm *vm, Error *err) {
    g_autoptr(virConnect) connection = session_work(session, err);
    return connection && take(session, connection, vm, err);
}
