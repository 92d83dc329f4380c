/* What runs, as libvirt tells it. */
#include <libvirt/libvirt-qemu.h>
#include <string.h>
#include "hypervisor/adopted.h"
#include "hypervisor/crash-mark.h"
#include "hypervisor/libvirt/session.h"
#include "hypervisor/libvirt/xml-read.h"

enum { AGENT_TIMEOUT_S = 2, AGENT_VERSION_LIMIT = 64, KIB = 1024 };

VmState session_vm_state(int libvirt_state) {
    switch (libvirt_state) {
    case VIR_DOMAIN_RUNNING:
    case VIR_DOMAIN_BLOCKED:
        return VM_STATE_RUNNING;
    case VIR_DOMAIN_PAUSED:
    case VIR_DOMAIN_PMSUSPENDED:
        return VM_STATE_PAUSED;
    case VIR_DOMAIN_SHUTDOWN:
        return VM_STATE_STOPPING;
    case VIR_DOMAIN_SHUTOFF:
        return VM_STATE_STOPPED;
    case VIR_DOMAIN_CRASHED:
        return VM_STATE_CRASHED;
    default:
        return VM_STATE_UNKNOWN;
    }
}

bool session_is_adopted(const HypervisorSession *session, virDomain *domain) {
    char id[VIR_UUID_STRING_BUFLEN] = "";
    virDomainGetUUIDString(domain, id);
    g_autofree char *own = domain_name(session->instance, id);
    return g_strcmp0(virDomainGetName(domain), own) != 0 && adopted_mark_has(session->state_folder, id);
}

bool session_is_managed(
    HypervisorSession *session, virDomain *domain, bool *ret_is_managed, char **ret_element, Error *err) {
    char id[VIR_UUID_STRING_BUFLEN];
    if (virDomainGetUUIDString(domain, id) < 0)
        return connection_error(err, "a domain's id cannot be read");
    *ret_is_managed = false;
    g_autofree char *expected = domain_name(session->instance, id);
    if (strcmp(virDomainGetName(domain), expected) != 0 && !session_is_adopted(session, domain))
        return true;
    g_autofree char *element = virDomainGetMetadata(
        domain, VIR_DOMAIN_METADATA_ELEMENT, DOMAIN_VM_NAMESPACE, VIR_DOMAIN_AFFECT_CURRENT);
    if (!element)
        return connection_is_without_metadata() ||
               connection_error(err, "a domain's metadata cannot be read");
    g_autofree char *instance = xml_attribute(element, "vm", "instance");
    *ret_is_managed = g_strcmp0(instance, session->instance) == 0;
    if (*ret_is_managed && ret_element)
        *ret_element = g_steal_pointer(&element);
    return true;
}

static void read_element(const char *element, VmStatus *status) {
    g_autofree char *acceleration = xml_attribute(element, "vm", "acceleration");
    g_autofree char *started = xml_attribute(element, "vm", "started");
    g_autofree char *cpu_level = xml_attribute(element, "vm", "cpu");
    g_autofree char *pending = xml_attribute(element, "vm", "pending");
    g_auto(GStrv) pointers = g_strsplit(pending ? pending : "", " ", -1);
    for (char **pointer = pointers; *pointer; pointer++)
        if (**pointer)
            vm_status_add_pending(status, *pointer);
    vm_status_set_acceleration(status, acceleration);
    vm_status_set_cpu_level(status, cpu_level);
    if (started)
        vm_status_set_started(status, g_ascii_strtoll(started, NULL, 10));
}

bool session_is_between_states(const HypervisorSession *session, virDomain *domain, const char *id) {
    g_autofree char *own = domain_name(session->instance, id);
    return connection_is_between_states() &&
           (g_strcmp0(virDomainGetName(domain), own) == 0 || session_is_adopted(session, domain)) &&
           virDomainIsActive(domain) == 0;
}

static void tell_starting(virDomain *domain, const char *id, AgentVmState *state) {
    agent_vm_state_set_id(state, id);
    agent_vm_state_set_name(state, virDomainGetName(domain));
    agent_vm_state_set_managed(state, true);
    vm_status_set_state(agent_vm_state_put_status(state), VM_STATE_STARTING);
}

/* ERROR_NOT_FOUND when it has ended meanwhile. */
static bool read_domain(HypervisorSession *session, virDomain *domain, AgentVmState *state, Error *err) {
    char id[VIR_UUID_STRING_BUFLEN] = "";
    virDomainInfo info = {0};
    bool is_managed = false;
    g_autofree char *element = NULL;
    g_auto(Error) fault = {0};
    virDomainGetUUIDString(domain, id);
    if (!session_is_managed(session, domain, &is_managed, &element, &fault)) {
        if (!session_is_between_states(session, domain, id)) {
            error_move(err, &fault);
            return false;
        }
        if (session_has_gone(session, id))
            return error_set(err, ERROR_NOT_FOUND, NULL, "it has ended");
        tell_starting(domain, id, state);
        return true;
    }
    if (virDomainGetInfo(domain, &info) < 0)
        return connection_error(err, "a domain's state cannot be read");
    if (is_managed && info.state == VIR_DOMAIN_SHUTOFF && session->dialect->restarts_itself) {
        if (session_has_gone(session, id))
            return error_set(err, ERROR_NOT_FOUND, NULL, "it has ended");
        tell_starting(domain, id, state);
        return true;
    }
    VmStatus *status = agent_vm_state_put_status(state);
    agent_vm_state_set_id(state, id);
    agent_vm_state_set_name(state, virDomainGetName(domain));
    agent_vm_state_set_managed(state, is_managed);
    vm_status_set_state(status, session_vm_state(info.state));
    if (!is_managed)
        vm_status_set_unmanaged(status, true);
    if (info.state == VIR_DOMAIN_SHUTOFF)
        return true;
    vm_status_set_vcpus_online(status, info.nrVirtCpu);
    vm_status_set_memory_actual(status, (uint64_t)info.memory * KIB);
    if (is_managed && session_is_adopted(session, domain))
        vm_status_set_adopted(status, true);
    if (is_managed)
        vm_status_set_mode(status, session->dialect->mode_of(domain));
    if (element)
        read_element(element, status);
    return true;
}

/* What ended since it was listed is not there any more; anything else that cannot be read spoils the list. */
static bool add_domain(HypervisorSession *session, virDomain *domain, AgentInventory *inventory, Error *err) {
    g_auto(AgentVmState) state = {0};
    g_auto(Error) fault = {0};
    if (read_domain(session, domain, &state, &fault)) {
        agent_vm_state_copy(agent_inventory_add_vms(inventory), &state);
        return true;
    }
    if (fault.code == ERROR_NOT_FOUND)
        return true;
    error_move(err, &fault);
    return false;
}

bool session_list(HypervisorSession *session, AgentInventory *inventory, Error *err) {
    g_autoptr(virConnect) connection = connection_get(session->connection, err);
    if (!connection)
        return false;
    virDomainPtr *domains = NULL;
    int n = virConnectListAllDomains(connection, &domains, 0);
    if (n < 0)
        return connection_error(err, "VMs cannot be listed");
    bool is_complete = true;
    for (int i = 0; i < n; i++) {
        bool is_guest = !session->dialect->is_no_guest || !session->dialect->is_no_guest(domains[i]);
        is_complete = is_complete && (!is_guest || add_domain(session, domains[i], inventory, err));
        virDomainFree(domains[i]);
    }
    free(domains);
    if (is_complete)
        crash_marks_list(session->state_folder, inventory);
    return is_complete;
}

enum { MAX_ADDRESSES = 64 };

static bool is_worth_showing(const char *address) {
    return !g_str_has_prefix(address, "127.") && !g_str_has_prefix(address, "169.254.") &&
           !g_str_has_prefix(address, "fe80:") && strcmp(address, "::1") != 0;
}

static bool is_listed(const VmStatus *status, const char *address) {
    for (size_t i = 0; i < status->addresses.n; i++)
        if (!strcmp(status->addresses.items[i].address, address))
            return true;
    return false;
}

void session_add_address(VmStatus *status, const char *text, const char *mac, AddressSource source) {
    if (!is_worth_showing(text) || is_listed(status, text) || status->addresses.n >= MAX_ADDRESSES)
        return;
    Address *address = vm_status_add_addresses(status);
    address_set_address(address, text);
    address_set_source(address, source);
    if (mac)
        address_set_mac(address, mac);
}

static void add_interface(
    VmStatus *status, const virDomainInterface *interface, int type, AddressSource source) {
    for (unsigned i = 0; i < interface->naddrs; i++) {
        if (interface->addrs[i].type == type)
            session_add_address(status, interface->addrs[i].addr, interface->hwaddr, source);
    }
}

/* False when that source does not answer. */
static bool add_addresses(VmStatus *status, virDomain *domain, unsigned from, AddressSource source) {
    virDomainInterfacePtr *interfaces = NULL;
    int n = virDomainInterfaceAddresses(domain, &interfaces, from, 0);
    for (int i = 0; i < n; i++)
        add_interface(status, interfaces[i], VIR_IP_ADDR_TYPE_IPV4, source);
    for (int i = 0; i < n; i++) {
        add_interface(status, interfaces[i], VIR_IP_ADDR_TYPE_IPV6, source);
        virDomainInterfaceFree(interfaces[i]);
    }
    free(interfaces);
    return n >= 0;
}

/* {"return":{"version":"7.2.11",…}} */
static void read_agent(virDomain *domain, VmStatus *status) {
    g_autofree char *text =
        virDomainQemuAgentCommand(domain, "{\"execute\":\"guest-info\"}", AGENT_TIMEOUT_S, 0);
    g_autoptr(json_t) answer = text ? json_parse(text, strlen(text), NULL) : NULL;
    const char *version = answer ? json_text_at(answer, "return.version") : NULL;
    if (version && strlen(version) <= AGENT_VERSION_LIMIT && g_utf8_validate(version, -1, NULL))
        vm_status_set_agent(status, version);
}

/* IPv4 by lease, then what the agent inside says, and the neighbour table when both are silent. */
static void read_guest(virDomain *domain, bool has_agent, VmStatus *status) {
    add_addresses(status, domain, VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE, ADDRESS_SOURCE_LEASE);
    if (!has_agent)
        return;
    virDomainAgentSetResponseTimeout(domain, AGENT_TIMEOUT_S, 0);
    if (add_addresses(status, domain, VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT, ADDRESS_SOURCE_AGENT)) {
        read_agent(domain, status);
        int online = virDomainGetVcpusFlags(domain, VIR_DOMAIN_VCPU_GUEST);
        if (online > 0)
            vm_status_set_vcpus_online(status, online);
    }
    if (!status->addresses.n)
        add_addresses(status, domain, VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP, ADDRESS_SOURCE_ARP);
}

/* A VM that does not run, or not any more. */
static void tell_stopped(const HypervisorSession *session, const char *vm_id, AgentVmState *ret_state) {
    if (crash_mark_read(session->state_folder, vm_id, ret_state))
        return;
    agent_vm_state_set_id(ret_state, vm_id);
    agent_vm_state_set_managed(ret_state, true);
    vm_status_set_state(agent_vm_state_put_status(ret_state), VM_STATE_STOPPED);
}

bool session_state(HypervisorSession *session, const char *vm_id, AgentVmState *ret_state, Error *err) {
    g_autoptr(virDomain) domain = NULL;
    g_auto(Error) fault = {0};
    if (!session_find(session, vm_id, &domain, err))
        return false;
    if (domain && read_domain(session, domain, ret_state, &fault))
        return true;
    if (domain && fault.code != ERROR_NOT_FOUND) {
        error_move(err, &fault);
        return false;
    }
    tell_stopped(session, vm_id, ret_state);
    return true;
}

bool session_guest(HypervisorSession *session, const char *vm_id, VmStatus *ret_status, Error *err) {
    g_autoptr(virDomain) domain = NULL;
    if (!session_find(session, vm_id, &domain, err))
        return false;
    if (domain)
        read_guest(domain, session->dialect->has_agent, ret_status);
    return true;
}
