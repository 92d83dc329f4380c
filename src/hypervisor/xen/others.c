/* Through xenstored's socket only: the kernel's device would block for ever when the daemon is dead. */
#include "hypervisor/xen/others.h"
#include <stdlib.h>
#include <xenstore.h>

enum { MAX_DOMAINS = 4096, CONTROL_DOMAIN = 0 };

static bool is_known(const GArray *known, int id) {
    for (guint i = 0; i < known->len; i++)
        if (g_array_index(known, int, i) == id)
            return true;
    return false;
}

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

GPtrArray *xen_other_domains(const GArray *known) {
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    struct xs_handle *store = xs_open(XS_OPEN_SOCKETONLY);
    unsigned n = 0;
    char **ids = store ? xs_directory(store, XBT_NULL, "/local/domain", &n) : NULL;
    for (unsigned i = 0; ids && i < MIN(n, MAX_DOMAINS); i++) {
        int id = (int)g_ascii_strtoll(ids[i], NULL, 10);
        if (id != CONTROL_DOMAIN && !is_known(known, id))
            g_ptr_array_add(names, name_of(store, ids[i]));
    }
    free(ids);
    if (store)
        xs_close(store);
    return names;
}
