/* Every domain of the hypervisor has a folder in xenstore. */
#include "hypervisor/xen/others.h"
#include <string.h>
#include "hypervisor/xen/store.h"

#define CONTROL_DOMAIN "0"

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
