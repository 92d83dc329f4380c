/*
 * Networks. NAT: a transient network of libvirt's (bridge, DHCP, address translation), so that nothing is
 * left in its configuration; it lives until it is closed or the machine restarts. Bridge: only looked at.
 */
#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "hypervisor/libvirt/network-remains.h"
#include "hypervisor/libvirt/session.h"
#include "hypervisor/libvirt/xml-read.h"
#include "model/subnet.h"

enum {
    ROUTES_LIMIT = 16 * 1024 * 1024,
    FIRST_OWN_SUBNET = 100,
    LAST_OWN_SUBNET = 254,
    BRIDGE_PREFIX_LENGTH = 6
};

/* Any route of this host but the default one; /proc/net/route, proc(5), holds numbers in network byte order.
 */
static bool is_routed(const Subnet *subnet) {
    g_autofree char *text = NULL;
    if (!file_read("/proc/net/route", ROUTES_LIMIT, &text, NULL, NULL))
        return false;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_auto(GStrv) columns = g_strsplit(*line, "\t", -1);
        if (line == lines || g_strv_length(columns) < 8)
            continue;
        Subnet route = {.first = ntohl((uint32_t)g_ascii_strtoull(columns[1], NULL, 16)),
            .mask = ntohl((uint32_t)g_ascii_strtoull(columns[7], NULL, 16))};
        if (route.mask && subnet_overlaps(subnet, &route))
            return true;
    }
    return false;
}

static bool choose_subnet(Network *network, Error *err) {
    for (int third = FIRST_OWN_SUBNET; third <= LAST_OWN_SUBNET; third++) {
        g_autofree char *text = g_strdup_printf("192.168.%d.0/24", third);
        Subnet subnet;
        if (!subnet_from_text(text, &subnet) || is_routed(&subnet))
            continue;
        network_set_subnet(network, text);
        return true;
    }
    return error_set(err, ERROR_NO_CAPACITY, "/subnet", "no free subnet was found; name one");
}

static char *network_xml(const HypervisorSession *session, const Network *network, const Subnet *subnet) {
    g_autofree char *name = domain_network_name(session->instance, network->id);
    g_autofree char *mac = network_bridge_mac(network->id);
    uint32_t last = subnet->first | ~subnet->mask;
    g_autofree char *own = subnet_address_text(subnet->first + 1);
    g_autofree char *start = subnet_address_text(subnet->first + 2);
    g_autofree char *end = subnet_address_text(last - 1);
    return g_markup_printf_escaped(
        "<network>\n  <name>%s</name>\n  <uuid>%s</uuid>\n  <forward mode='nat'/>\n"
        "  <bridge name='%s' stp='off' delay='0'/>\n  <mac address='%s'/>\n  <ip address='%s' prefix='%d'>\n"
        "    <dhcp>\n      <range start='%s' end='%s'/>\n    </dhcp>\n  </ip>\n</network>\n",
        name, network->id, network->bridge, mac, own, subnet->prefix_length, start, end);
}

/* What is absent in the definition is read from the network that runs. */
static bool read_running(virNetwork *running, Network *network, Error *err) {
    g_autofree char *xml = virNetworkGetXMLDesc(running, 0);
    if (!xml)
        return connection_error(err, "the network cannot be read");
    g_autofree char *bridge = xml_attribute(xml, "bridge", "name");
    g_autofree char *address = xml_attribute(xml, "ip", "address");
    g_autofree char *length = xml_attribute(xml, "ip", "prefix");
    g_autofree char *text = g_strdup_printf("%s/%s", address ? address : "", length ? length : "");
    Subnet subnet;
    if (bridge)
        network_set_bridge(network, bridge);
    if (subnet_from_text(text, &subnet)) {
        g_autofree char *first = subnet_address_text(subnet.first);
        g_autofree char *plain = g_strdup_printf("%s/%d", first, subnet.prefix_length);
        network_set_subnet(network, plain);
    }
    return true;
}

static char *own_bridge_name(const HypervisorSession *session, const Network *network) {
    return g_strdup_printf("%.*s-%.8s", BRIDGE_PREFIX_LENGTH, session->instance, network->id);
}

/* For a network that libvirt does not know. */
static bool remove_remains(const HypervisorSession *session, const Network *network, Error *err) {
    g_autofree char *name = domain_network_name(session->instance, network->id);
    g_autofree char *bridge = network->bridge ? g_strdup(network->bridge) : own_bridge_name(session, network);
    g_autofree char *mac = network_bridge_mac(network->id);
    return network_remains_remove(name, bridge, mac, err);
}

static bool make_network(HypervisorSession *session, virConnect *connection, Network *network, Error *err) {
    Subnet subnet;
    if (!remove_remains(session, network, err))
        return false;
    if (!network->bridge) {
        g_autofree char *bridge = own_bridge_name(session, network);
        network_set_bridge(network, bridge);
    }
    if (!network->subnet && !choose_subnet(network, err))
        return false;
    if (!subnet_from_text(network->subnet, &subnet))
        return error_set(err, ERROR_INVALID, "/subnet", "is no IPv4 subnet from /8 to /29");
    if (is_routed(&subnet))
        return error_set(err, ERROR_IN_USE, "/subnet", "%s is already routed on this host", network->subnet);
    g_autofree char *xml = network_xml(session, network, &subnet);
    g_autoptr(virNetwork) made = virNetworkCreateXML(connection, xml);
    return made ? true : connection_error(err, "the network cannot be made");
}

static bool open_nat(HypervisorSession *session, Network *network, Error *err) {
    g_autoptr(virConnect) connection = connection_get(session->connection, err);
    if (!connection)
        return false;
    g_autofree char *name = domain_network_name(session->instance, network->id);
    g_mutex_lock(&session->network_lock);
    g_autoptr(virNetwork) present = virNetworkLookupByName(connection, name);
    bool is_open = false;
    if (present && virNetworkIsActive(present) == 1)
        is_open = read_running(present, network, err);
    else if (present || connection_is_missing())
        is_open = make_network(session, connection, network, err);
    else
        connection_error(err, "the network cannot be looked up");
    g_mutex_unlock(&session->network_lock);
    return is_open;
}

static bool open_bridge(const Network *network, Error *err) {
    if (!network->bridge)
        return error_set(err, ERROR_INVALID, "/bridge", "is required for a network of kind bridge");
    g_autofree char *path = g_strdup_printf("/sys/class/net/%s/bridge", network->bridge);
    if (strchr(network->bridge, '/') || access(path, F_OK) != 0)
        return error_set(err, ERROR_NOT_FOUND, "/bridge", "the bridge %s does not exist", network->bridge);
    return true;
}

bool session_network_open(HypervisorSession *session, Network *network, Error *err) {
    bool is_nat = network->kind == NETWORK_KIND_NAT;
    if (!(is_nat ? open_nat(session, network, err) : open_bridge(network, err)))
        return false;
    network_status_set_state(network_put_status(network), NETWORK_STATE_ACTIVE);
    return true;
}

bool session_network_close(HypervisorSession *session, const Network *network, Error *err) {
    if (network->kind != NETWORK_KIND_NAT)
        return true;
    g_autoptr(virConnect) connection = connection_get(session->connection, err);
    if (!connection)
        return false;
    g_autofree char *name = domain_network_name(session->instance, network->id);
    g_autoptr(virNetwork) present = virNetworkLookupByName(connection, name);
    bool is_gone =
        present ? virNetworkDestroy(present) == 0 || connection_is_missing() : connection_is_missing();
    return is_gone ? remove_remains(session, network, err)
                   : connection_error(err, "the network cannot be removed");
}

bool session_open_networks(HypervisorSession *session, const HypervisorVm *vm, Error *err) {
    for (size_t i = 0; i < vm->n_nics; i++) {
        g_auto(Network) network = {0};
        network_copy(&network, vm->nics[i].network);
        if (session_network_open(session, &network, err))
            continue;
        g_autofree char *field = g_strdup_printf("/nics/%zu", i);
        return err ? error_prefix_field(err, field) : false;
    }
    return true;
}
