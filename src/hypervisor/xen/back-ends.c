/* Names to numbers; then the files of the kernel's back end, and xenstore. */
#include "hypervisor/xen/back-ends.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "hypervisor/interface-counters.h"
#include "hypervisor/xen/store.h"

enum {
    XVD_MAJOR = 202,
    XVD_SHORT = 16, /* disks that have the short form */
    XVD_LONG_FORM = 1 << 28,
    N_IDE = 4,
    LETTERS = 26,
    SECTOR = 512, /* whatever the disk has: xen/include/public/io/blkif.h */
    FILE_LIMIT = 256,
};

/* "a": 0, "z": 25, "aa": 26 */
static bool place_of(const char *letters, unsigned *ret_place) {
    unsigned place = 0;
    size_t n = strlen(letters);
    if (n < 1 || n > 2)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!g_ascii_islower(letters[i]))
            return false;
        place = place * LETTERS + (unsigned)(letters[i] - 'a') + 1;
    }
    *ret_place = place - 1;
    return true;
}

bool xen_disk_number(const char *target, unsigned *ret_number) {
    static const unsigned ide[N_IDE] = {3 << 8, 3 << 8 | 64, 22 << 8, 22 << 8 | 64};
    unsigned place = 0;
    if (g_str_has_prefix(target, "xvd") && place_of(target + 3, &place)) {
        *ret_number = place < XVD_SHORT ? XVD_MAJOR << 8 | place << 4 : XVD_LONG_FORM | place << 8;
        return true;
    }
    if (!g_str_has_prefix(target, "hd") || !place_of(target + 2, &place) || place >= N_IDE)
        return false;
    *ret_number = ide[place];
    return true;
}

static bool read_number(const char *folder, const char *name, uint64_t *ret_number) {
    g_autofree char *path = g_build_filename(folder, name, NULL), *text = NULL;
    return file_read(path, FILE_LIMIT, &text, NULL, NULL) && sscanf(text, "%" SCNu64, ret_number) == 1;
}

void xen_count_disk(const char *root, unsigned domain, unsigned number, VmDiskStatistics *disk) {
    g_autofree char *folder =
        g_strdup_printf("%s/bus/xen-backend/devices/vbd-%u-%u/statistics", root, domain, number);
    uint64_t value = 0;
    if (read_number(folder, "rd_sect", &value))
        vm_disk_statistics_set_read_bytes(disk, counter_limited(counter_limited(value) * SECTOR));
    if (read_number(folder, "rd_req", &value))
        vm_disk_statistics_set_read_requests(disk, (int64_t)counter_limited(value));
    if (read_number(folder, "wr_sect", &value))
        vm_disk_statistics_set_written_bytes(disk, counter_limited(counter_limited(value) * SECTOR));
    if (read_number(folder, "wr_req", &value))
        vm_disk_statistics_set_write_requests(disk, (int64_t)counter_limited(value));
}

static bool is_served(XenStore *store, const char *folder, const char *number) {
    g_autofree char *type_path = g_strdup_printf("%s/%s/device-type", folder, number);
    g_autofree char *path = g_strdup_printf("%s/%s/backend", folder, number);
    g_autofree char *type = xen_store_text(store, type_path), *backend = xen_store_text(store, path);
    if (g_strcmp0(type, "cdrom") == 0) /* perhaps an empty drive */
        return true;
    g_auto(GStrv) entries = backend ? xen_store_names(store, backend) : NULL;
    return entries && entries[0];
}

bool xen_check_disks_served(unsigned domain, const char *name, Error *err) {
    g_autoptr(XenStore) store = xen_store_open();
    g_autofree char *folder = g_strdup_printf("/local/domain/%u/device/vbd", domain);
    g_auto(GStrv) numbers = xen_store_names(store, folder);
    for (char **number = numbers; *number; number++)
        if (!is_served(store, folder, *number))
            return error_set(err, ERROR_HYPERVISOR, "/disks",
                "disk %s has no back end; /var/log/xen/qemu-dm-%s.log tells why", *number, name);
    return true;
}

static bool has_mac(XenStore *store, const char *folder, const char *number, const char *mac) {
    g_autofree char *path = g_strdup_printf("%s/%s/mac", folder, number);
    g_autofree char *text = xen_store_text(store, path);
    return text && g_ascii_strcasecmp(text, mac) == 0;
}

bool xen_nic_number(unsigned domain, const char *mac, unsigned *ret_number) {
    g_autoptr(XenStore) store = xen_store_open();
    g_autofree char *folder = g_strdup_printf("/local/domain/0/backend/vif/%u", domain);
    g_auto(GStrv) names = xen_store_names(store, folder);
    guint64 number = 0;
    bool is_found = false;
    for (char **name = names; *name && !is_found; name++)
        is_found = g_ascii_string_to_unsigned(*name, 10, 0, G_MAXINT32, &number, NULL) &&
                   has_mac(store, folder, *name, mac);
    if (is_found)
        *ret_number = (unsigned)number;
    return is_found;
}

char **xen_nic_interfaces(unsigned domain, unsigned number) {
    g_autofree char *name = g_strdup_printf("vif%u.%u", domain, number);
    g_autofree char *emulated = g_strdup_printf("%s-emu", name);
    const char *const names[] = {name, emulated, NULL};
    return g_strdupv((char **)names);
}
