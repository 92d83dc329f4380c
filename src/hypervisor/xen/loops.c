/* What a loop device shows is in sysfs (loop/backing_file), and so is what a back end uses (physical_device).
 */
#include "hypervisor/xen/loops.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include "base/file.h"
#include "base/log.h"

#define BACK_ENDS "/sys/bus/xen-backend/devices"
#define DELETED " (deleted)" /* the kernel's word behind the name of a file that is gone */

enum { TEXT_LIMIT = 4096, LOOP_MAJOR = 7 /* Linux' Documentation/admin-guide/devices.txt */ };

static char *read_line(const char *folder, const char *name, const char *file) {
    g_autofree char *path = g_strdup_printf("%s/%s/%s", folder, name, file);
    char *text = NULL;
    return file_read(path, TEXT_LIMIT, &text, NULL, NULL) ? g_strchomp(text) : NULL;
}

static bool is_used(unsigned major, unsigned minor) {
    g_autoptr(GDir) names = g_dir_open(BACK_ENDS, 0, NULL);
    for (const char *name = names ? g_dir_read_name(names) : NULL; name; name = g_dir_read_name(names)) {
        unsigned used_major = 0, used_minor = 0;
        g_autofree char *device = read_line(BACK_ENDS, name, "physical_device");
        if (device && sscanf(device, "%x:%x", &used_major, &used_minor) == 2 && used_major == major &&
            used_minor == minor)
            return true;
    }
    return false;
}

static bool is_disk_of(const HypervisorVm *vm, char *file) {
    if (g_str_has_suffix(file, DELETED))
        file[strlen(file) - strlen(DELETED)] = '\0';
    for (size_t i = 0; i < vm->n_disks; i++)
        if (g_strcmp0(vm->disks[i].path, file) == 0)
            return true;
    return false;
}

/* One that is only read has nothing to be late with. */
static bool bypass_cache(const char *back_end, Error *err) {
    unsigned major = 0, minor = 0;
    g_autofree char *device = read_line(BACK_ENDS, back_end, "physical_device");
    g_autofree char *mode = read_line(BACK_ENDS, back_end, "mode");
    if (!device || sscanf(device, "%x:%x", &major, &minor) != 2 || major != LOOP_MAJOR ||
        g_strcmp0(mode, "r") == 0)
        return true;
    g_autofree char *path = g_strdup_printf("/dev/loop%u", minor);
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
    return (fd >= 0 && ioctl(fd, LOOP_SET_DIRECT_IO, 1UL) == 0) ||
           error_set(err, ERROR_UNSUPPORTED, NULL,
               "the file system of its disks cannot do without the host's cache (O_DIRECT: %s), so that "
               "another host would read old blocks; stop the VM and move it then",
               g_strerror(errno));
}

bool xen_bypass_cache(unsigned domain_id, Error *err) {
    g_autofree char *prefix = g_strdup_printf("vbd-%u-", domain_id);
    g_autoptr(GDir) names = g_dir_open(BACK_ENDS, 0, NULL);
    for (const char *name = names ? g_dir_read_name(names) : NULL; name; name = g_dir_read_name(names))
        if (g_str_has_prefix(name, prefix) && !bypass_cache(name, err))
            return false;
    return true;
}

void xen_release_loops(const HypervisorVm *vm) {
    g_autoptr(GDir) names = g_dir_open("/sys/block", 0, NULL);
    for (const char *name = names ? g_dir_read_name(names) : NULL; name; name = g_dir_read_name(names)) {
        unsigned major = 0, minor = 0;
        if (!g_str_has_prefix(name, "loop"))
            continue;
        g_autofree char *file = read_line("/sys/block", name, "loop/backing_file");
        g_autofree char *number = file ? read_line("/sys/block", name, "dev") : NULL;
        if (!file || !number || sscanf(number, "%u:%u", &major, &minor) != 2 || !is_disk_of(vm, file) ||
            is_used(major, minor))
            continue;
        g_autofree char *path = g_build_filename("/dev", name, NULL);
        fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && ioctl(fd, LOOP_CLR_FD) == 0)
            log_info("%s was left behind %s and is free again", path, file);
    }
}
