/* One table, replaced as a whole. */
#include "hypervisor/xen/loopback-guard.h"
#include <glib.h>
#include "base/process.h"

/* 127.64.0.0/10 */
enum { FIRST = 64, N_SECOND = 64, PORT = 7445, TOOL_TIMEOUT_MS = 10000 };

char *loopback_guard_address(const char *migration_id) {
    guint hash = g_str_hash(migration_id);
    return g_strdup_printf(
        "127.%u.%u.%u:%d", FIRST + (hash >> 16) % N_SECOND, hash >> 8 & 0xff, hash & 0xff, PORT);
}

/* What is no letter or digit is none in nft's names either. */
static char *table_name(const char *instance) {
    g_autofree char *name = g_strdup_printf("%s_migration", instance);
    return g_strdup(g_strcanon(name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS, '_'));
}

bool loopback_guard_close(const char *instance, Error *err) {
    static const char *const load[] = {"nft", "-f", "-", NULL};
    g_autofree char *table = table_name(instance);
    g_autofree char *text = g_strdup_printf("table inet %s\ndelete table inet %s\ntable inet %s {\n"
                                            "  chain output {\n"
                                            "    type filter hook output priority filter; policy accept;\n"
                                            "    ip daddr 127.%d.0.0/10 tcp dport %d meta skuid != 0 drop\n"
                                            "  }\n}\n",
        table, table, table, FIRST, PORT);
    const ProcessSpec spec = {.argv = load, .stdin_data = text, .timeout_ms = TOOL_TIMEOUT_MS};
    g_auto(Error) fault = {0};
    return process_run(&spec, NULL, &fault) ||
           error_set(err, ERROR_UNSUPPORTED, NULL,
               "other users of this host cannot be kept from a guest's memory while it moves (nft: %s)",
               fault.message);
}
