/*
 * Files that libvirt must not give to QEMU's user, because it would take them back: templates' disks below
 * overlays, which several VMs have, and all files in a shared repository, which another host may have by
 * then. They are marked so (domain-xml.c). What is only read its group may read; what is written is QEMU's
 * for good.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include "base/file.h"
#include "hypervisor/qemu/session.h"

/* libvirt's capabilities say "+64055:+64055" for the security model dac; nothing where it runs QEMU as
 * itself. */
static bool ask_for_user(QemuSession *session, QemuUser *ret_user, Error *err) {
    static const char mark[] = "<baselabel type='qemu'>+";
    g_autoptr(virConnect) connection = connection_get(session->base.connection, err);
    g_autofree char *xml = connection ? virConnectGetCapabilities(connection) : NULL;
    if (!xml)
        return connection ? connection_error(err, "the host's capabilities cannot be read") : false;
    const char *found = strstr(xml, mark);
    char *end = NULL;
    if (!found)
        return true;
    ret_user->uid = (uid_t)g_ascii_strtoull(found + sizeof mark - 1, &end, 10);
    if (end[0] == ':' && end[1] == '+')
        ret_user->gid = (gid_t)g_ascii_strtoull(end + 2, NULL, 10);
    return true;
}

/* Asked for once: it does not change while libvirtd runs, and the answer is long. */
bool qemu_user(QemuSession *session, QemuUser *ret_user, Error *err) {
    *ret_user = (QemuUser){0};
    g_mutex_lock(&session->lock);
    if (!session->is_user_known && ask_for_user(session, ret_user, err)) {
        session->uid = ret_user->uid;
        session->gid = ret_user->gid;
        session->is_user_known = true;
    }
    bool is_known = session->is_user_known;
    *ret_user = (QemuUser){session->uid, session->gid};
    g_mutex_unlock(&session->lock);
    return is_known;
}

static bool can_read(const struct stat *status, const QemuUser *user) {
    return user->uid == 0 || (status->st_mode & S_IROTH) ||
           (status->st_gid == user->gid && status->st_mode & S_IRGRP) ||
           (status->st_uid == user->uid && status->st_mode & S_IRUSR);
}

static bool share(const char *path, const QemuUser *user, Error *err) {
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0)
        return error_set_errno(err, errno, "the template's disk %s", path);
    if (can_read(&status, user))
        return true;
    if (fchown(fd, (uid_t)-1, user->gid) < 0 || fchmod(fd, 0640) < 0)
        return error_set_errno(err, errno, "letting QEMU read %s", path);
    return true;
}

static bool give(const char *path, const QemuUser *user, Error *err) {
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0)
        return error_set_errno(err, errno, "the disk %s", path);
    bool is_given = user->uid == 0 || (status.st_uid == user->uid && status.st_gid == user->gid);
    return is_given || fchown(fd, user->uid, user->gid) == 0 ||
           error_set_errno(err, errno, "giving QEMU %s", path);
}

/* In a shared repository. */
static bool give_file(QemuSession *session, const HypervisorDisk *disk, Error *err) {
    QemuUser user;
    bool is_cd = disk->disk->kind == DISK_KIND_CD;
    return !disk->path || (qemu_user(session, &user, err) && (is_cd ? share : give)(disk->path, &user, err));
}

static bool share_chain(QemuSession *session, const HypervisorDisk *disk, Error *err) {
    QemuUser user;
    for (size_t i = 0; i < disk->n_backing; i++)
        if (!qemu_user(session, &user, err) || !share(disk->backing[i].path, &user, err))
            return false;
    return true;
}

bool qemu_share_backing(QemuSession *session, const HypervisorVm *vm, Error *err) {
    QemuUser user;
    for (size_t i = 0; i < vm->n_disks; i++)
        if (!share_chain(session, &vm->disks[i], err) ||
            (vm->shares_files && !give_file(session, &vm->disks[i], err)))
            return false;
    return !vm->shares_files || !vm->seed_path ||
           (qemu_user(session, &user, err) && give(vm->seed_path, &user, err));
}
