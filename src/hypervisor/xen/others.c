/* Through xenstored's socket only: the kernel's device would block for ever when the daemon is dead. */
#include "hypervisor/xen/others.h"
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

#define CONTROL_DOMAIN "0"

enum { MAX_DOMAINS = 4096 };

static char *name_of(struct xs_handle *store, const char *id) {
    g_autofree char *path = g_strdup_printf("/local/domain/%s/name", id);
    unsigned length = 0;
    char *text = xs_read(store, XBT_NULL, path, &length);
    char *name = text && length && g_utf8_validate(text, (gssize)length, NULL)
                     ? g_strndup(text, length)
                     : g_strdup_printf("domain %s", id);
    free(text);
    return name;
}

GPtrArray *xen_other_domains(GHashTable *known) {
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    struct xs_handle *store = xs_open(XS_OPEN_SOCKETONLY);
    unsigned n = 0;
    char **ids = store ? xs_directory(store, XBT_NULL, "/local/domain", &n) : NULL;
    for (unsigned i = 0; ids && i < MIN(n, MAX_DOMAINS); i++) {
        g_autofree char *name = name_of(store, ids[i]);
        if (strcmp(ids[i], CONTROL_DOMAIN) != 0 && !g_hash_table_contains(known, name))
            g_ptr_array_add(names, g_steal_pointer(&name));
    }
    free(ids);
    if (store)
        xs_close(store);
    return names;
}
