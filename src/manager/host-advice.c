/* Sentences for people. */
#include "manager/host-advice.h"
#include <glib.h>
#include <inttypes.h>
#include <stdlib.h>
#include "base/clock.h"

enum { CLOCK_TOLERANCE_MS = 2000, MS_PER_S = 1000 };

void host_advice_add(HostStatus *status, int64_t clock_ahead_ms) {
    if (llabs(clock_ahead_ms) > CLOCK_TOLERANCE_MS) {
        g_autofree char *text = g_strdup_printf("its clock is %lld s %s the manager's",
            llabs(clock_ahead_ms) / MS_PER_S, clock_ahead_ms > 0 ? "ahead of" : "behind");
        host_status_add_warnings(status, text);
    }
    if (status->agent_version && g_strcmp0(status->agent_version, LODGE_VERSION) != 0) {
        g_autofree char *text = g_strdup_printf(
            "its agent is of the version %s, this manager of " LODGE_VERSION, status->agent_version);
        host_status_add_warnings(status, text);
    }
}

int64_t host_clock_ahead_ms(int64_t host_ns, int64_t asked_ns, int64_t answered_ns) {
    /* A time is less than half of what the number holds. */
    return host_ns < 0 ? 0 : host_ns / NS_PER_MS - (asked_ns / 2 + answered_ns / 2) / NS_PER_MS;
}
