#include "engine/network-state.h"
#include <string.h>

enum { TOLD_HOSTS = 3 };

NetworkHost *network_state_of_host(const NetworkStatus *status, const char *host_name) {
    for (size_t i = 0; i < status->hosts.n; i++)
        if (g_strcmp0(status->hosts.items[i].host, host_name) == 0)
            return &status->hosts.items[i];
    return NULL;
}

static size_t count(const NetworkStatus *status, NetworkState state) {
    size_t n = 0;
    for (size_t i = 0; i < status->hosts.n; i++)
        n += status->hosts.items[i].state == state;
    return n;
}

/* "node-8: the bridge br0 does not exist; and 3 more". Newly allocated. */
static char *reasons_text(const NetworkStatus *status, size_t n_failed) {
    g_autoptr(GString) text = g_string_new(NULL);
    size_t n = 0;
    for (size_t i = 0; i < status->hosts.n && n < TOLD_HOSTS; i++) {
        const NetworkHost *row = &status->hosts.items[i];
        if (row->state == NETWORK_STATE_FAILED)
            g_string_append_printf(
                text, "%s%s: %.200s", n++ ? "; " : "", row->host, row->reason ? row->reason : "it failed");
    }
    if (n_failed > n)
        g_string_append_printf(text, "; and %zu more", n_failed - n);
    return g_utf8_make_valid(text->str, -1); /* a reason may have been cut in the middle of a character */
}

void network_state_sum(NetworkStatus *status) {
    size_t n_active = count(status, NETWORK_STATE_ACTIVE), n_failed = count(status, NETWORK_STATE_FAILED);
    g_autofree char *reasons = n_failed ? reasons_text(status, n_failed) : NULL;
    network_status_set_reason(status, reasons);
    if (n_failed > 0)
        network_status_set_state(status, n_active ? NETWORK_STATE_PARTIAL : NETWORK_STATE_FAILED);
    else
        network_status_set_state(status, n_active ? NETWORK_STATE_ACTIVE : NETWORK_STATE_UNKNOWN);
}
