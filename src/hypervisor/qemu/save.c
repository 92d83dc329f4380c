/* Memory in files. libvirt's file begins with a word that it writes last (its qemu_saveimage.h). */
#include <string.h>
#include <unistd.h>
#include "hypervisor/qemu/session.h"

static const char whole[] = "LibvirtQemudSave"; /* "LibvirtQemudPart" before */

bool qemu_is_whole_image(int fd) {
    char bytes[sizeof whole - 1];
    return pread(fd, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes && !memcmp(bytes, whole, sizeof bytes);
}

bool qemu_restore(
    HypervisorSession *session, const HypervisorVm *vm, const char *path, const Cancel *cancel, Error *err) {
    return qemu_share_backing((QemuSession *)session, vm, err) &&
           session_restore(session, vm, path, cancel, err);
}
