/* Devices from features. Where a system has several drivers, the one that costs least at run time is taken.
 */
#include "model/guest-os.h"
#include <stdlib.h>
#include <string.h>

static const unsigned todays =
    GUEST_OS_VIRTIO_DISK | GUEST_OS_VIRTIO_NET | GUEST_OS_VIRTIO_SCSI | GUEST_OS_TABLET;
static const uint64_t mib = 1 << 20;

static int compare(const void *id, const void *row) {
    return strcmp(id, ((const GuestOs *)row)->id);
}

const GuestOs *guest_os_find(const char *id) {
    return id ? bsearch(id, guest_oses, n_guest_oses, sizeof *guest_oses, compare) : NULL;
}

bool guest_os_check(const char *id, Error *err) {
    return !id || guest_os_find(id) ||
           error_set(err, ERROR_INVALID, "/guest_os",
               "guest_os: \"%s\" is no short id that is known; `lodge guest-os list` shows all", id);
}

static unsigned features_of(const char *id) {
    const GuestOs *row = guest_os_find(id);
    bool is_known = row && (row->features || (*row->family && strcmp(row->family, "unknown") != 0));
    return is_known ? row->features : todays;
}

static bool is_of_family(const char *id, const char *const *families) {
    const GuestOs *row = guest_os_find(id);
    return row && g_strv_contains(families, row->family);
}

/* Who knows neither virtio nor the NIC that came with PCI Express knows no AHCI either. */
bool guest_os_needs_old_machine(const char *id) {
    return !(features_of(id) & (GUEST_OS_VIRTIO_DISK | GUEST_OS_SATA | GUEST_OS_E1000E | GUEST_OS_UEFI));
}

DiskBus guest_os_disk_bus(const char *id) {
    if (features_of(id) & GUEST_OS_VIRTIO_DISK)
        return DISK_BUS_VIRTIO;
    return guest_os_needs_old_machine(id) ? DISK_BUS_IDE : DISK_BUS_SATA;
}

/* SCSI where possible: Debian's kernel for clouds has no AHCI, and drives on it can come and go. */
DiskBus guest_os_cd_bus(const char *id) {
    if (features_of(id) & GUEST_OS_VIRTIO_SCSI)
        return DISK_BUS_SCSI;
    return guest_os_needs_old_machine(id) ? DISK_BUS_IDE : DISK_BUS_SATA;
}

NicModel guest_os_nic_model(const char *id) {
    static const char *const oldest[] = {"win9x", "win16", "msdos", NULL};
    unsigned features = features_of(id);
    if (features & GUEST_OS_VIRTIO_NET)
        return NIC_MODEL_VIRTIO;
    if (features & GUEST_OS_E1000E)
        return NIC_MODEL_E1000E;
    return is_of_family(id, oldest) ? NIC_MODEL_RTL8139 : NIC_MODEL_E1000;
}

/* Windows that can start by UEFI soon starts by nothing else; all others are content with BIOS. */
Firmware guest_os_firmware(const char *id) {
    static const char *const windows[] = {"winnt", NULL};
    bool is_uefi = features_of(id) & GUEST_OS_UEFI && is_of_family(id, windows);
    return is_uefi ? FIRMWARE_UEFI : FIRMWARE_BIOS;
}

bool guest_os_has_local_clock(const char *id) {
    static const char *const families[] = {"winnt", "win9x", "win16", "msdos", NULL};
    return is_of_family(id, families);
}

bool guest_os_has_tablet(const char *id) {
    return features_of(id) & GUEST_OS_TABLET;
}

bool guest_os_boots_by_grub(const char *id) {
    static const char *const beginnings[] = {"debian1", "ubuntu18.", "ubuntu19.", "ubuntu2"};
    for (size_t i = 0; id && i < G_N_ELEMENTS(beginnings); i++)
        if (g_str_has_prefix(id, beginnings[i]) && g_ascii_isdigit(id[strlen(beginnings[i])]))
            return true;
    return false;
}

uint64_t guest_os_memory(const char *id) {
    const GuestOs *row = guest_os_find(id);
    return row ? row->memory_recommended_mib * mib : 0;
}

void guest_os_describe(const GuestOs *row, GuestOsInfo *ret_info) {
    guest_os_info_set_id(ret_info, row->id);
    guest_os_info_set_name(ret_info, row->name);
    if (*row->family)
        guest_os_info_set_family(ret_info, row->family);
    guest_os_info_set_disk_bus(ret_info, guest_os_disk_bus(row->id));
    guest_os_info_set_cd_bus(ret_info, guest_os_cd_bus(row->id));
    guest_os_info_set_nic_model(ret_info, guest_os_nic_model(row->id));
    guest_os_info_set_firmware(ret_info, guest_os_firmware(row->id));
    guest_os_info_set_local_clock(ret_info, guest_os_has_local_clock(row->id));
    if (row->memory_minimum_mib)
        guest_os_info_set_memory_minimum(ret_info, row->memory_minimum_mib * mib);
    if (row->memory_recommended_mib)
        guest_os_info_set_memory_recommended(ret_info, row->memory_recommended_mib * mib);
}
