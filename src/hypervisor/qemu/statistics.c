/* Disks and the guest's memory come in one answer of libvirt's; see virConnectGetAllDomainStats. */
#include <string.h>
#include "hypervisor/interface-counters.h"
#include "hypervisor/libvirt/statistics.h"
#include "hypervisor/qemu/session.h"

enum { KIB = 1024, NAME_LIMIT = 64 };

typedef virDomainStatsRecordPtr *Records;
G_DEFINE_AUTO_CLEANUP_FREE_FUNC(Records, virDomainStatsRecordListFree, NULL)

/* False when libvirt does not tell. */
static bool number_of(const virDomainStatsRecord *record, const char *name, uint64_t *ret_number) {
    unsigned long long number = 0;
    if (virTypedParamsGetULLong(record->params, record->nparams, name, &number) != 1)
        return false;
    *ret_number = counter_limited(number);
    return true;
}

/* Of the disk that libvirt counts as number `i`. */
static bool number_of_disk(
    const virDomainStatsRecord *record, unsigned i, const char *what, uint64_t *ret_number) {
    char name[NAME_LIMIT];
    g_snprintf(name, sizeof name, "block.%u.%s", i, what);
    return number_of(record, name, ret_number);
}

static bool find_disk(const virDomainStatsRecord *record, const char *target, unsigned *ret_i) {
    char name[NAME_LIMIT];
    const char *found = NULL;
    unsigned n = 0;
    virTypedParamsGetUInt(record->params, record->nparams, "block.count", &n);
    for (unsigned i = 0; i < n; i++) {
        g_snprintf(name, sizeof name, "block.%u.name", i);
        bool is_told = virTypedParamsGetString(record->params, record->nparams, name, &found) == 1;
        if (is_told && !strcmp(found, target)) {
            *ret_i = i;
            return true;
        }
    }
    return false;
}

static void count_disk(const char *target, VmDiskStatistics *disk, const void *data) {
    const virDomainStatsRecord *record = data;
    uint64_t number = 0;
    unsigned i = 0;
    if (!find_disk(record, target, &i))
        return;
    if (number_of_disk(record, i, "rd.bytes", &number))
        vm_disk_statistics_set_read_bytes(disk, number);
    if (number_of_disk(record, i, "rd.reqs", &number))
        vm_disk_statistics_set_read_requests(disk, (int64_t)number);
    if (number_of_disk(record, i, "wr.bytes", &number))
        vm_disk_statistics_set_written_bytes(disk, number);
    if (number_of_disk(record, i, "wr.reqs", &number))
        vm_disk_statistics_set_write_requests(disk, (int64_t)number);
}

/* The guest tells by its balloon driver, when it has one: what it has, and what a program could get at once,
 * or (before Linux 3.14) what is free. */
static void count_memory(const virDomainStatsRecord *record, VmStatistics *statistics) {
    uint64_t has = 0, left = 0, resident = 0;
    if (number_of(record, "balloon.rss", &resident))
        vm_statistics_set_memory_resident(statistics, counter_limited(resident * KIB));
    bool is_told = number_of(record, "balloon.available", &has) &&
                   (number_of(record, "balloon.usable", &left) || number_of(record, "balloon.unused", &left));
    if (is_told && left <= has)
        vm_statistics_set_memory_used(statistics, counter_limited((has - left) * KIB));
}

static char **interfaces(const LiveDevice *nic, const void *data) {
    (void)data;
    const char *const names[] = {nic->target, NULL};
    return g_strdupv((char **)names);
}

/* While another call works on the domain, or waits for a QEMU that hangs, what QEMU itself would have to tell
 * is left out, so that this does not hang too. */
bool qemu_statistics(HypervisorSession *session, const char *vm_id, VmStatistics *statistics, Error *err) {
    g_auto(Usage) usage = {0};
    g_auto(Records) records = NULL;
    if (!usage_begin(session, vm_id, &usage, statistics, err))
        return false;
    virDomainPtr domains[] = {usage.domain, NULL};
    int n = virDomainListGetStats(domains, VIR_DOMAIN_STATS_BALLOON | VIR_DOMAIN_STATS_BLOCK, &records,
        VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT);
    if (n < 0)
        return connection_error(err, "what the VM uses cannot be read");
    if (n == 0)
        return error_set(err, ERROR_WRONG_STATE, NULL, "the VM does not run");
    count_memory(records[0], statistics);
    usage_add_disks(&usage, count_disk, records[0], statistics);
    usage_add_nics(&usage, interfaces, NULL, statistics);
    return true;
}
