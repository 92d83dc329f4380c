/*
 * What a guest says of itself by writing into its part of xenstore, where it may write (Xen's
 * docs/misc/xenstore-paths.pandoc): ~/attr/vif/DEVICE/ipv4|ipv6/INDEX, as guest tools of XenServer and XCP-ng
 * do and as the templates of Lodge's recipes do (src/image/recipes/xen-addresses.sh). Tools tell their
 * version below ~/attr/PVAddons. All of it is foreign: what is no address is left out.
 */
#include <arpa/inet.h>
#include <string.h>
#include "hypervisor/xen/session.h"
#include "hypervisor/xen/store.h"

#define NO_VERSION "xenstore" /* an agent that does not tell its version */

enum { MAX_NUMBER = 16, MAX_NICS = 32, MAX_OF_A_NIC = 32 };

typedef struct Family {
    const char *folder;
    int number;
} Family;

static char *text_at(XenStore *store, const char *folder, const char *name) {
    g_autofree char *path = g_strdup_printf("%s/%s", folder, name);
    return xen_store_text(store, path);
}

static void add_family(
    XenStore *store, const char *folder, const Family *family, const char *mac, VmStatus *status) {
    g_autofree char *path = g_strdup_printf("%s/%s", folder, family->folder);
    g_auto(GStrv) names = xen_store_names(store, path);
    for (size_t i = 0; names[i] && i < MAX_OF_A_NIC; i++) {
        unsigned char bytes[sizeof(struct in6_addr)];
        g_autofree char *text = text_at(store, path, names[i]);
        if (text && inet_pton(family->number, text, bytes) == 1)
            session_add_address(status, text, mac, ADDRESS_SOURCE_AGENT);
    }
}

/* The MAC is the back end's, whatever the guest says. */
static void add_nics(XenStore *store, unsigned domain, const char *attributes, VmStatus *status) {
    static const Family families[] = {{"ipv4", AF_INET}, {"ipv6", AF_INET6}};
    g_autofree char *folder = g_strdup_printf("%s/vif", attributes);
    g_auto(GStrv) names = xen_store_names(store, folder);
    for (size_t i = 0; i < G_N_ELEMENTS(families); i++)
        for (size_t k = 0; names[k] && k < MAX_NICS; k++) {
            g_autofree char *nic = g_strdup_printf("%s/%s", folder, names[k]);
            g_autofree char *end = g_strdup_printf("/local/domain/0/backend/vif/%u/%s", domain, names[k]);
            g_autofree char *mac = text_at(store, end, "mac");
            if (mac)
                add_family(store, nic, &families[i], mac, status);
        }
}

/* "8.2.0", or that there is one at all. */
static void add_version(XenStore *store, const char *attributes, VmStatus *status) {
    static const char *const names[] = {
        "PVAddons/MajorVersion", "PVAddons/MinorVersion", "PVAddons/MicroVersion"};
    g_autoptr(GString) version = g_string_new(NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *number = text_at(store, attributes, names[i]);
        if (!number || !*number || strlen(number) > MAX_NUMBER ||
            strspn(number, "0123456789") != strlen(number))
            break;
        g_string_append_printf(version, "%s%s", version->len ? "." : "", number);
    }
    vm_status_set_agent(status, version->len ? version->str : NO_VERSION);
}

bool xen_guest(HypervisorSession *session, const char *vm_id, VmStatus *status, Error *err) {
    g_autoptr(virDomain) domain = NULL;
    if (!session_guest(session, vm_id, status, err) || !session_find(session, vm_id, &domain, err))
        return false;
    unsigned id = domain ? virDomainGetID(domain) : 0;
    g_autoptr(XenStore) store = domain && id != (unsigned)-1 ? xen_store_open() : NULL;
    g_autofree char *attributes = g_strdup_printf("/local/domain/%u/attr", id);
    g_auto(GStrv) said = xen_store_names(store, attributes);
    if (!store || !said[0])
        return true;
    add_nics(store, id, attributes, status);
    add_version(store, attributes, status);
    return true;
}
