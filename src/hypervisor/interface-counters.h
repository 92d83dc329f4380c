/*
 * What the kernel counts of the host's network interfaces, and what that means for a guest at their other
 * end. The text is that of /proc/net/dev (proc(5)), which is always of the process's own network namespace.
 * Pure; any thread.
 */
#pragma once
#include <stdbool.h>
#include "types.h"

/* As the host sees them. */
typedef struct InterfaceCounters {
    uint64_t received_bytes, received_packets, received_errors, received_dropped;
    uint64_t sent_bytes, sent_packets, sent_errors, sent_dropped;
} InterfaceCounters;

/* /proc/net/dev, newly allocated; NULL when it cannot be read. */
char *interface_counters_text(void);
/* False, nothing set, when the text has no such interface. */
bool interface_counters_find(const char *text, const char *name, InterfaceCounters *ret_counters);
/* Adds them to what the guest has carried: what the host sends, the guest receives. */
void interface_counters_add(const InterfaceCounters *host, VmNicStatistics *guest);
/* No more than a size in JSON can be (MODEL_SIZE_MAX). */
uint64_t counter_limited(uint64_t value);
