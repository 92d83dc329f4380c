/* Every domain of the hypervisor has a folder in xenstore. */
#include "hypervisor/xen/others.h"
#include <string.h>
#include "hypervisor/libvirt/foreign-xml.h"
#include "hypervisor/xen/store.h"
#include "model/format.h"

#define CONTROL_DOMAIN "0"
enum { KIB = 1024, MOST_NICS = 32, LONGEST_BRIDGE = 64, LONGEST_NAME = 255, MOST_KIB = 1 << 30 };

static char *name_of(XenStore *store, const char *id) {
    g_autofree char *path = g_strdup_printf("/local/domain/%s/name", id);
    g_autofree char *text = xen_store_text(store, path);
    return text && *text && g_utf8_validate(text, -1, NULL) ? g_steal_pointer(&text)
                                                            : g_strdup_printf("domain %s", id);
}

GPtrArray *xen_other_domains(GHashTable *known) {
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(XenStore) store = xen_store_open();
    g_auto(GStrv) ids = xen_store_names(store, "/local/domain");
    for (char **id = ids; *id; id++) {
        g_autofree char *name = name_of(store, *id);
        if (strcmp(*id, CONTROL_DOMAIN) != 0 && !(known && g_hash_table_contains(known, name)))
            g_ptr_array_add(names, g_steal_pointer(&name));
    }
    return names;
}

/* ---- as VMs ---- */

static char *text_of(XenStore *store, const char *id, const char *rest) {
    g_autofree char *path = g_strdup_printf("/local/domain/%s/%s", id, rest);
    return xen_store_text(store, path);
}

static size_t count_of(XenStore *store, const char *id, const char *rest) {
    g_autofree char *path = g_strdup_printf("/local/domain/%s/%s", id, rest);
    g_auto(GStrv) names = xen_store_names(store, path);
    return g_strv_length(names);
}

static void add_nics(XenStore *store, const char *id, ForeignVm *vm) {
    g_autofree char *folder = g_strdup_printf("/local/domain/%s/device/vif", id);
    g_auto(GStrv) numbers = xen_store_names(store, folder);
    for (char **number = numbers; *number && vm->nics.n < MOST_NICS; number++) {
        g_autofree char *at_mac = g_strdup_printf("%s/%s/mac", folder, *number);
        g_autofree char *at_backend = g_strdup_printf("%s/%s/backend", folder, *number);
        g_autofree char *mac = xen_store_text(store, at_mac), *backend = xen_store_text(store, at_backend);
        g_autofree char *at_bridge = g_strdup_printf("%s/bridge", backend ? backend : "");
        g_autofree char *bridge = backend ? xen_store_text(store, at_bridge) : NULL;
        ForeignNic *nic = foreign_vm_add_nics(vm);
        if (mac && is_mac(mac))
            foreign_nic_set_mac(nic, mac);
        g_autofree char *line = bridge ? foreign_line(bridge, LONGEST_BRIDGE - 1) : NULL;
        if (line)
            foreign_nic_set_bridge(nic, line);
    }
}

static void add_one(XenStore *store, const char *id, const char *name, AgentForeignList *list) {
    g_autofree char *home = text_of(store, id, "vm"), *memory = text_of(store, id, "memory/target");
    const char *uuid = home && g_str_has_prefix(home, "/vm/") ? home + strlen("/vm/") : NULL;
    if (!uuid || !is_uuid(uuid)) /* a stub domain or the like: no VM of its own */
        return;
    ForeignVm *vm = agent_foreign_list_add_vms(list);
    foreign_vm_set_id(vm, uuid);
    g_autofree char *line = foreign_line(name, LONGEST_NAME);
    foreign_vm_set_name(vm, line);
    foreign_vm_set_state(vm, VM_STATE_RUNNING);
    foreign_vm_set_tool(vm, "xl");
    size_t n_vcpus = count_of(store, id, "cpu");
    if (n_vcpus > 0)
        foreign_vm_set_vcpus(vm, (int64_t)n_vcpus);
    guint64 kib = memory ? g_ascii_strtoull(memory, NULL, 10) : 0;
    if (kib > 0 && kib < MOST_KIB)
        foreign_vm_set_memory(vm, kib * KIB);
    add_nics(store, id, vm);
    foreign_vm_add_obstacles(vm, "it was made with xl, which libvirt does not see: shut it down, give its "
                                 "configuration to libvirt (virsh domxml-from-native xen-xl FILE), and adopt "
                                 "that");
}

void xen_add_others(GHashTable *known, AgentForeignList *list) {
    g_autoptr(XenStore) store = xen_store_open();
    g_auto(GStrv) ids = xen_store_names(store, "/local/domain");
    for (char **id = ids; *id; id++) {
        g_autofree char *name = name_of(store, *id);
        if (strcmp(*id, CONTROL_DOMAIN) != 0 && !g_hash_table_contains(known, name))
            add_one(store, *id, name, list);
    }
}

XenPresence xen_domain_presence(const char *name) {
    g_autoptr(XenStore) store = xen_store_open();
    g_auto(GStrv) ids = xen_store_names(store, "/local/domain");
    if (!store || !*ids) /* the control domain is always there */
        return XEN_NOT_KNOWN;
    for (char **id = ids; *id; id++) {
        g_autofree char *present = name_of(store, *id);
        if (!strcmp(present, name))
            return XEN_PRESENT;
    }
    return XEN_ABSENT;
}
