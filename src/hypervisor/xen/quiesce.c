/*
 * A guest that is held, and what its block back ends still do: blkback goes on with the requests that are in
 * its rings. Its counters stand still and its loop device has nothing in flight when it is done.
 *
 * QEMU's back end (qdisk) and the emulated controller of a full PC are other processes, which nobody tells
 * that the guest is held. Of a raw file they keep nothing but requests that the guest does not know to be
 * done: as after a power cut, these are in the copy or not. Of a qcow2 file they keep the tables that tell
 * where data lies, so that such files are not copied.
 */
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "hypervisor/adopted.h"
#include "hypervisor/xen/session.h"

#define DEVICES "/sys/bus/xen-backend/devices"

enum { POLL_MS = 100, STILL_POLLS = 5, PATIENCE_MS = 30000, NUMBER_LIMIT = 256 };

static bool check_formats(const Vm *running, Error *err) {
    for (size_t i = 0; i < running->disks.n; i++)
        if (running->disks.items[i].kind == DISK_KIND_DISK &&
            running->disks.items[i].format == DISK_FORMAT_QCOW2)
            return error_set(err, ERROR_UNSUPPORTED, "/disks",
                "the disk %s is of format qcow2, which this host keeps partly in memory while the VM runs: "
                "stop it to copy it",
                running->disks.items[i].name);
    return true;
}

/* All requests that the domain's back ends have taken so far. */
static char *taken(unsigned domain_id) {
    GString *text = g_string_new(NULL);
    g_autofree char *prefix = g_strdup_printf("vbd-%u-", domain_id);
    g_autoptr(GDir) names = g_dir_open(DEVICES, 0, NULL);
    for (const char *name = names ? g_dir_read_name(names) : NULL; name; name = g_dir_read_name(names)) {
        static const char *const counters[] = {"rd_req", "wr_req", "f_req", "ds_req"};
        for (size_t i = 0; g_str_has_prefix(name, prefix) && i < G_N_ELEMENTS(counters); i++) {
            g_autofree char *path = g_strdup_printf(DEVICES "/%s/statistics/%s", name, counters[i]);
            g_autofree char *number = NULL;
            file_read(path, NUMBER_LIMIT, &number, NULL, NULL);
            g_string_append_printf(text, "%s/%s=%s;", name, counters[i], number ? g_strchomp(number) : "");
        }
    }
    return g_string_free(text, FALSE);
}

/* Of any block device of the domain's back ends ("7:3" in sysfs' physical_device). */
static bool is_in_flight(unsigned domain_id) {
    g_autofree char *prefix = g_strdup_printf("vbd-%u-", domain_id);
    g_autoptr(GDir) names = g_dir_open(DEVICES, 0, NULL);
    for (const char *name = names ? g_dir_read_name(names) : NULL; name; name = g_dir_read_name(names)) {
        unsigned major = 0, minor = 0, reads = 0, writes = 0;
        g_autofree char *path = g_strdup_printf(DEVICES "/%s/physical_device", name);
        g_autofree char *device = NULL, *text = NULL;
        if (!g_str_has_prefix(name, prefix) || !file_read(path, NUMBER_LIMIT, &device, NULL, NULL) ||
            sscanf(device, "%x:%x", &major, &minor) != 2)
            continue;
        g_autofree char *inflight = g_strdup_printf("/sys/dev/block/%u:%u/inflight", major, minor);
        if (file_read(inflight, NUMBER_LIMIT, &text, NULL, NULL) &&
            sscanf(text, "%u %u", &reads, &writes) == 2 && reads + writes > 0)
            return true;
    }
    return false;
}

static bool wait_until_still(virDomain *domain, const Cancel *cancel, Error *err) {
    unsigned id = virDomainGetID(domain);
    g_autofree char *before = taken(id);
    int n_still = 0;
    for (int waited_ms = 0; n_still < STILL_POLLS; waited_ms += POLL_MS) {
        if (waited_ms >= PATIENCE_MS)
            return error_set(err, ERROR_TIMED_OUT, NULL, "its disks are still being written to after %d s",
                PATIENCE_MS / 1000);
        if (!cancel_check(cancel, err))
            return false;
        g_usleep(POLL_MS * 1000);
        char *now = taken(id);
        n_still = !strcmp(before, now) && !is_in_flight(id) ? n_still + 1 : 0;
        g_free(before);
        before = now;
    }
    return true;
}

bool xen_quiesce(HypervisorSession *session, const char *vm_id, const Cancel *cancel, Error *err) {
    g_autoptr(virDomain) domain = session_find_running(session, vm_id, err);
    g_auto(Vm) running = {0};
    if (!domain)
        return false;
    if (!domain_running_definition(domain, &running))
        return error_set(err, ERROR_CORRUPT, NULL, "the domain's metadata holds no definition");
    if (session_is_adopted(session, domain))
        return adopted_refuse("cannot copy it", err);
    return check_formats(&running, err) && session_pause(session, vm_id, err) &&
           wait_until_still(domain, cancel, err);
}
