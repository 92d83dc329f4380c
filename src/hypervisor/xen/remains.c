/* Since when, and when last seen so: what ran in between begins anew. */
#include "hypervisor/xen/remains.h"

enum { PATIENCE_S = 60, LONGEST_GAP_S = 15 }; /* all is looked at every 10 s */

typedef struct Seen {
    int64_t first_us, last_us;
} Seen;

struct XenRemains {
    GMutex lock;
    GHashTable *seen; /* name -> Seen */
};

XenRemains *xen_remains_new(void) {
    XenRemains *remains = g_new0(XenRemains, 1);
    g_mutex_init(&remains->lock);
    remains->seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return remains;
}

void xen_remains_free(XenRemains *remains) {
    g_hash_table_unref(remains->seen);
    g_mutex_clear(&remains->lock);
    g_free(remains);
}

bool xen_remains_judge(XenRemains *remains, const char *name, bool is_there, int64_t now_us) {
    bool has_gone = false;
    g_mutex_lock(&remains->lock);
    Seen *seen = g_hash_table_lookup(remains->seen, name);
    if (is_there) {
        g_hash_table_remove(remains->seen, name);
    } else if (!seen || now_us - seen->last_us > LONGEST_GAP_S * G_USEC_PER_SEC) {
        seen = g_new0(Seen, 1);
        *seen = (Seen){now_us, now_us};
        g_hash_table_replace(remains->seen, g_strdup(name), seen);
    } else {
        seen->last_us = now_us;
        has_gone = now_us - seen->first_us >= PATIENCE_S * G_USEC_PER_SEC;
    }
    g_mutex_unlock(&remains->lock);
    return has_gone;
}
