/* What libxenstore allocates is the C library's. */
#include "hypervisor/xen/store.h"
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

enum { MAX_NAMES = 65536 };

XenStore *xen_store_open(void) {
    return xs_open(XS_OPEN_SOCKETONLY);
}

void xen_store_close(XenStore *store) {
    xs_close(store);
}

char *xen_store_text(XenStore *store, const char *path) {
    unsigned length = 0;
    char *raw = xs_read(store, XBT_NULL, path, &length);
    char *text = raw ? g_strndup(raw, length) : NULL;
    free(raw);
    return text;
}

char **xen_store_names(XenStore *store, const char *folder) {
    unsigned n = 0;
    char **raw = store ? xs_directory(store, XBT_NULL, folder, &n) : NULL;
    n = raw ? MIN(n, MAX_NAMES) : 0;
    char **names = g_new0(char *, n + 1);
    for (unsigned i = 0; i < n; i++)
        names[i] = g_strdup(raw[i]);
    free(raw);
    return names;
}

bool xen_store_write(XenStore *store, const char *path, const char *text) {
    return xs_write(store, XBT_NULL, path, text, (unsigned)strlen(text));
}
