/*
 * libvirt's libxl driver finds a disk by its target and a NIC by its MAC, adds disks of Xen's own bus only,
 * and changes the medium of an emulated drive only.
 */
#include "hypervisor/xen/devices.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"

enum { SYSFS_LIMIT = 4096 };

static VmMode mode_of(const DeviceUpdate *update) {
    return ((const XenXmlOptions *)update->options)->mode;
}

static bool is_drive(VmMode mode, const Disk *disk) {
    return mode == VM_MODE_HVM && disk->kind == DISK_KIND_CD;
}

/* Emulated drives are there from the start or not at all; without them an empty drive is nothing. */
static bool can_come(const DeviceUpdate *update, const Disk *disk) {
    return !is_drive(mode_of(update), disk) && (disk->kind == DISK_KIND_DISK || disk->image);
}

static bool check_detach(const DeviceUpdate *update, const Disk *disk, Error *err) {
    if (!is_drive(mode_of(update), disk))
        return true;
    return error_set(err, ERROR_WRONG_STATE, NULL,
        "the drive %s cannot be taken away while the VM runs; eject its disc, or stop the VM first",
        disk->name ? disk->name : disk->id);
}

static char *target_name(const DeviceUpdate *update, const Disk *disk, size_t place) {
    return xen_target_name(mode_of(update), disk, place);
}

static char *disk_xml(const DeviceUpdate *update, size_t index, const char *target) {
    return xen_disk_xml(update->vm, index, target, update->options);
}

static char *nic_xml(const DeviceUpdate *update, size_t index) {
    return xen_nic_xml(update->vm, index, update->options);
}

static char *removal_xml(const LiveDevice *device) {
    if (device->mac)
        return g_markup_printf_escaped(
            "<interface type='bridge'><mac address='%s'/><source bridge='none'/></interface>", device->mac);
    return g_markup_printf_escaped("<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
                                   "<target dev='%s' bus='xen'/></disk>",
        device->target);
}

static bool ask_to_let_go(DeviceUpdate *update, const LiveDevice *device) {
    g_autofree char *xml = removal_xml(device);
    return virDomainDetachDeviceFlags(update->domain, xml, VIR_DOMAIN_AFFECT_LIVE) == 0;
}

/* The loop device whose file this is: "/dev/loop3", newly allocated, or NULL. */
static char *loop_of(const char *path) {
    g_autoptr(GDir) devices = g_dir_open("/sys/block", 0, NULL);
    for (const char *name; devices && (name = g_dir_read_name(devices));) {
        g_autofree char *backing = g_strdup_printf("/sys/block/%s/loop/backing_file", name);
        g_autofree char *file = NULL;
        if (file_read(backing, SYSFS_LIMIT, &file, NULL, NULL) && g_strcmp0(g_strchomp(file), path) == 0)
            return g_strdup_printf("/dev/%s", name);
    }
    return NULL;
}

/* Never smaller. */
static bool grow_file(const char *path, uint64_t size, Error *err) {
    fd_auto int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct stat now;
    return (fd >= 0 && fstat(fd, &now) == 0 &&
               ((uint64_t)now.st_size >= size || ftruncate(fd, (off_t)size) == 0)) ||
           error_set_errno(err, errno, "growing %s", path);
}

/* The kernel's back end sees a new size of its loop device with the guest's next request, and tells the
 * guest. */
static bool grow(DeviceUpdate *update, const HypervisorDisk *disk, bool *ret_has_it, Error *err) {
    (void)update;
    g_autofree char *path = disk->disk->format == DISK_FORMAT_QCOW2 ? NULL : loop_of(disk->path);
    *ret_has_it = path != NULL;
    if (!path)
        return true;
    if (!grow_file(disk->path, disk->disk->size, err))
        return false;
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
    return (fd >= 0 && ioctl(fd, LOOP_SET_CAPACITY, 0) == 0) ||
           error_set_errno(err, errno, "telling %s its new size", path);
}

static bool change_medium(
    DeviceUpdate *update, const LiveDevice *device, const char *xml, bool *ret_has_it, Error *err) {
    (void)device;
    *ret_has_it = mode_of(update) == VM_MODE_HVM;
    return !*ret_has_it || virDomainUpdateDeviceFlags(update->domain, xml, VIR_DOMAIN_AFFECT_LIVE) == 0 ||
           connection_error(err, "the CD's medium cannot be changed");
}

/* Neither cable nor network of a NIC that is plugged can be changed. */
static bool plug(DeviceUpdate *update, size_t index, bool *ret_has_it, Error *err) {
    (void)update, (void)index, (void)err;
    *ret_has_it = false;
    return true;
}

const DeviceDialect xen_devices = {.can_come = can_come,
    .check_detach = check_detach,
    .target_name = target_name,
    .disk_xml = disk_xml,
    .nic_xml = nic_xml,
    .ask_to_let_go = ask_to_let_go,
    .grow = grow,
    .change_medium = change_medium,
    .plug = plug};
