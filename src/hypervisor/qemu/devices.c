/* libvirt's QEMU driver, and QEMU itself where libvirt does not know better. */
#include "hypervisor/qemu/devices.h"
#include <libvirt/libvirt-qemu.h>
#include <string.h>

enum { LETTERS = 26 };

static bool can_come(const DeviceUpdate *update, const Disk *disk) {
    return disk_can_come(update->running, disk);
}

static bool check_detach(const DeviceUpdate *update, const Disk *disk, Error *err) {
    return disk_check_detach(update->running, disk, err);
}

static char *target_name(const DeviceUpdate *update, const Disk *disk, size_t place) {
    return qemu_target_name(disk_bus_of(update->running, disk), place);
}

/* "sdc" is place 2, "sdaa" place 26. */
static size_t place_of(const char *target) {
    size_t place = 0;
    for (const char *letter = target + strlen("sd"); *letter; letter++)
        place = place * LETTERS + (size_t)(*letter - 'a') + 1;
    return place - 1;
}

static char *disk_xml(const DeviceUpdate *update, size_t index, const char *target) {
    return qemu_disk_xml(update->vm, index, place_of(target), update->options);
}

static char *nic_xml(const DeviceUpdate *update, size_t index) {
    return qemu_nic_xml(update->vm, index, update->options);
}

static bool prepare_disk(DeviceUpdate *update, const Disk *disk, const LiveDevices *live, Error *err) {
    if (disk_bus_of(update->running, disk) != DISK_BUS_SCSI || live->has_scsi)
        return true;
    return device_update_attach(update, "<controller type='scsi' index='0' model='virtio-scsi'/>",
        "no SCSI controller can be added", err);
}

static bool ask_to_let_go(DeviceUpdate *update, const LiveDevice *device) {
    return virDomainDetachDeviceAlias(update->domain, device->alias, VIR_DOMAIN_AFFECT_LIVE) == 0;
}

static bool grow(DeviceUpdate *update, const HypervisorDisk *disk, bool *ret_has_it, Error *err) {
    *ret_has_it = virDomainBlockResize(
                      update->domain, disk->path, disk->disk->size, VIR_DOMAIN_BLOCK_RESIZE_BYTES) == 0;
    return *ret_has_it || connection_error(err, "the disk cannot grow");
}

static bool move_tray(DeviceUpdate *update, const char *command, const char *alias, bool is_forced) {
    g_autofree char *reply = NULL;
    g_autofree char *request = g_strdup_printf("{\"execute\": \"%s\", \"arguments\": {\"id\": \"%s\"%s}}",
        command, alias, is_forced ? ", \"force\": true" : "");
    return virDomainQemuMonitorCommand(
               update->domain, request, &reply, VIR_DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT) == 0;
}

/* The guest is asked first, then the tray is opened by force. libvirt does not know that a drive which came
 * while the VM ran has a tray (seen with 9.0), so the last try moves it itself. */
static bool insist_on_medium(DeviceUpdate *update, const LiveDevice *device, const char *xml, Error *err) {
    if (virDomainUpdateDeviceFlags(update->domain, xml, VIR_DOMAIN_AFFECT_LIVE) == 0)
        return true;
    unsigned forced = VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_DEVICE_MODIFY_FORCE;
    if (virDomainUpdateDeviceFlags(update->domain, xml, forced) == 0)
        return true;
    if (!move_tray(update, "blockdev-open-tray", device->alias, true) ||
        virDomainUpdateDeviceFlags(update->domain, xml, forced) < 0)
        return connection_error(err, "the CD's medium cannot be changed");
    move_tray(update, "blockdev-close-tray", device->alias, false);
    return true;
}

static bool change_medium(
    DeviceUpdate *update, const LiveDevice *device, const char *xml, bool *ret_has_it, Error *err) {
    *ret_has_it = insist_on_medium(update, device, xml, err);
    return *ret_has_it;
}

static bool plug(DeviceUpdate *update, size_t index, bool *ret_has_it, Error *err) {
    g_autofree char *xml = nic_xml(update, index);
    *ret_has_it = virDomainUpdateDeviceFlags(update->domain, xml, VIR_DOMAIN_AFFECT_LIVE) == 0;
    return *ret_has_it || connection_error(err, "the NIC's cable cannot be switched");
}

const DeviceDialect qemu_devices = {.can_come = can_come,
    .check_detach = check_detach,
    .prepare_disk = prepare_disk,
    .target_name = target_name,
    .disk_xml = disk_xml,
    .nic_xml = nic_xml,
    .ask_to_let_go = ask_to_let_go,
    .grow = grow,
    .change_medium = change_medium,
    .plug = plug};
