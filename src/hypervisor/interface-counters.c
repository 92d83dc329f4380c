/* One line an interface: "  vnet0: ", eight numbers received, eight numbers sent. */
#include "hypervisor/interface-counters.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "model/model.h"

enum { TEXT_LIMIT = 4 * 1024 * 1024, NUMBERS = 8 };

char *interface_counters_text(void) {
    char *text = NULL;
    return file_read("/proc/net/dev", TEXT_LIMIT, &text, NULL, NULL) ? text : NULL;
}

/* Behind the colon; NULL when there is no such line. */
static const char *find_line(const char *text, const char *name) {
    size_t length = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += strspn(line, "\n ");
        if (strncmp(line, name, length) == 0 && line[length] == ':')
            return line + length + 1;
    }
    return NULL;
}

bool interface_counters_find(const char *text, const char *name, InterfaceCounters *ret_counters) {
    InterfaceCounters found = {0};
    const char *line = find_line(text, name);
    /* bytes, packets, errors, dropped; then fifo, frame, compressed, multicast, which tell nothing here */
    int n = line ? sscanf(line,
                       "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %*u %*u %*u %*u %" SCNu64 " %" SCNu64
                       " %" SCNu64 " %" SCNu64,
                       &found.received_bytes, &found.received_packets, &found.received_errors,
                       &found.received_dropped, &found.sent_bytes, &found.sent_packets, &found.sent_errors,
                       &found.sent_dropped)
                 : 0;
    if (n != NUMBERS)
        return false;
    *ret_counters = found;
    return true;
}

uint64_t counter_limited(uint64_t value) {
    return MIN(value, (uint64_t)MODEL_SIZE_MAX);
}

static int64_t sum(int64_t before, uint64_t more) {
    return (int64_t)counter_limited((uint64_t)before + counter_limited(more));
}

void interface_counters_add(const InterfaceCounters *host, VmNicStatistics *guest) {
    uint64_t received = guest->received_bytes, sent = guest->sent_bytes; /* 0 where absent */
    vm_nic_statistics_set_received_bytes(
        guest, counter_limited(received + counter_limited(host->sent_bytes)));
    vm_nic_statistics_set_received_packets(guest, sum(guest->received_packets, host->sent_packets));
    vm_nic_statistics_set_received_errors(guest, sum(guest->received_errors, host->sent_errors));
    vm_nic_statistics_set_received_dropped(guest, sum(guest->received_dropped, host->sent_dropped));
    vm_nic_statistics_set_sent_bytes(guest, counter_limited(sent + counter_limited(host->received_bytes)));
    vm_nic_statistics_set_sent_packets(guest, sum(guest->sent_packets, host->received_packets));
    vm_nic_statistics_set_sent_errors(guest, sum(guest->sent_errors, host->received_errors));
    vm_nic_statistics_set_sent_dropped(guest, sum(guest->sent_dropped, host->received_dropped));
}
