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

bool xen_domain_is_there(const char *name) {
    g_autoptr(GPtrArray) names = xen_other_domains(NULL);
    for (guint i = 0; i < names->len; i++)
        if (!strcmp(names->pdata[i], name))
            return true;
    return false;
}
