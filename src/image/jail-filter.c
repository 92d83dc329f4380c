/* Refused calls as two tables, compiled by libseccomp. */
#include "image/jail-filter.h"
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/file.h"

/* Nobody in a jail needs these. */
static const int refused_everywhere[] = {
    SCMP_SYS(acct),
    SCMP_SYS(add_key),
    SCMP_SYS(bpf),
    SCMP_SYS(delete_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(init_module),
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(kexec_load),
    SCMP_SYS(keyctl),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(reboot),
    SCMP_SYS(request_key),
    SCMP_SYS(swapoff),
    SCMP_SYS(swapon),
    SCMP_SYS(userfaultfd),
};

/* Package scripts need some of these inside their user namespace; a parser never does. */
static const int refused_for_single[] = {
    SCMP_SYS(chroot),
    SCMP_SYS(fsopen),
    SCMP_SYS(mount),
    SCMP_SYS(move_mount),
    SCMP_SYS(name_to_handle_at),
    SCMP_SYS(open_tree),
    SCMP_SYS(pivot_root),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(ptrace),
    SCMP_SYS(setns),
    SCMP_SYS(umount2),
    SCMP_SYS(unshare),
};

static int refuse_all(scmp_filter_ctx filter, const int *calls, size_t n_calls) {
    for (size_t i = 0; i < n_calls; i++) {
        int result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), calls[i], 0);
        if (result < 0)
            return result;
    }
    return 0;
}

static int fill(scmp_filter_ctx filter, JailKind kind) {
    int result = refuse_all(filter, refused_everywhere, G_N_ELEMENTS(refused_everywhere));
    if (result == 0)
        result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
            SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, TIOCSTI));
    if (result < 0 || kind == JAIL_BUILD)
        return result;
    result = refuse_all(filter, refused_for_single, G_N_ELEMENTS(refused_for_single));
    /* clone3 hides its flags from the filter; with ENOSYS the C library falls back to clone. */
    if (result == 0)
        result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (result == 0)
        result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
            SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
    return result;
}

bool jail_filter_open(JailKind kind, int *ret_fd, Error *err) {
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    g_assert(filter);
    fd_auto int fd = memfd_create("jail-filter", MFD_CLOEXEC);
    int result = fd < 0 ? -errno : fill(filter, kind);
    if (result == 0)
        result = seccomp_export_bpf(filter, fd);
    seccomp_release(filter);
    if (result < 0)
        return error_set_errno(err, -result, "preparing the jail's system call filter");
    if (lseek(fd, 0, SEEK_SET) < 0)
        return error_set_errno(err, errno, "rewinding the jail's system call filter");
    *ret_fd = fd_steal(&fd);
    return true;
}
