/*
 * Memory of a domain in a file, and back. libvirt ends a domain once its file is complete; what a save left
 * that was interrupted is told by whether the domain is still there, and by the file itself.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "hypervisor/adopted.h"
#include "hypervisor/crash-mark.h"
#include "hypervisor/libvirt/session.h"

enum { LOOK_MS = 500, PERCENT = 100, KIB = 1024 };

/* ---- beside the call, which blocks: how far it is, and cancelling it ---- */

typedef struct SaveWatch {
    virDomain *domain;
    const char *path;
    uint64_t expected; /* bytes, about */
    const ImageProgress *progress;
    const Cancel *cancel;
    int done_fd;
} SaveWatch;

static void tell_progress(const SaveWatch *watch) {
    struct stat now;
    if (!watch->expected || stat(watch->path, &now) < 0)
        return;
    uint64_t percent = (uint64_t)now.st_size * PERCENT / watch->expected;
    progress_report(watch->progress, (int)MIN(percent, PERCENT - 1), "Writing the memory");
}

static void *watch_save(void *data) {
    const SaveWatch *watch = data;
    struct pollfd fds[] = {
        {.fd = watch->done_fd, .events = POLLIN}, {.fd = cancel_fd(watch->cancel), .events = POLLIN}};
    for (;;) {
        int n = poll(fds, G_N_ELEMENTS(fds), LOOK_MS);
        if (n > 0 && fds[0].revents)
            return NULL;
        if (n > 0 && fds[1].revents) {
            fds[1].fd = -1; /* once; where libvirt cannot, the save goes on to its end */
            virDomainAbortJob(watch->domain);
        }
        tell_progress(watch);
    }
}

static uint64_t memory_of(virDomain *domain) {
    virDomainInfo info = {0};
    return virDomainGetInfo(domain, &info) == 0 ? (uint64_t)info.memory * KIB : 0;
}

bool session_save(HypervisorSession *session, const char *vm_id, const char *path,
    const ImageProgress *progress, const Cancel *cancel, Error *err) {
    g_autoptr(virConnect) connection = session_work(session, err);
    g_autoptr(virDomain) domain = NULL;
    if (!connection || !session_find_settled(session, connection, vm_id, cancel, &domain, err))
        return false;
    if (!domain)
        return error_set(err, ERROR_WRONG_STATE, NULL, "the VM does not run");
    if (session_is_adopted(session, domain))
        return adopted_refuse("cannot save it", err);
    fd_auto int done_fd = eventfd(0, EFD_CLOEXEC);
    if (done_fd < 0)
        return error_set_errno(err, errno, "eventfd");
    SaveWatch watch = {.domain = domain,
        .path = path,
        .expected = memory_of(domain),
        .progress = progress,
        .cancel = cancel,
        .done_fd = done_fd};
    GThread *thread = g_thread_new("save-watch", watch_save, &watch);
    bool is_saved = virDomainSave(domain, path) == 0 || connection_error(err, "the VM cannot be saved");
    eventfd_write(done_fd, 1);
    g_thread_join(thread);
    if (is_saved)
        return true;
    return is_cancelled(cancel) ? error_set(err, ERROR_CANCELLED, NULL, "the VM runs on") : false;
}

/* ---- after an interruption ---- */

static bool is_whole(const HypervisorSession *session, const char *path) {
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && session->dialect->is_whole_image(fd);
}

/* A libvirtd that outlived the agent still writes. */
static bool wait_for_job(virDomain *domain, const Cancel *cancel, Error *err) {
    virDomainJobInfo job = {0};
    while (virDomainGetJobInfo(domain, &job) == 0 && job.type != VIR_DOMAIN_JOB_NONE &&
           job.type != VIR_DOMAIN_JOB_COMPLETED) {
        if (!cancel_check(cancel, err))
            return false;
        g_usleep(LOOK_MS * 1000);
    }
    return true;
}

/* Once libvirt knows the domain it runs on, whatever the file holds: the file is a moment of the past then.
 */
bool session_save_settle(HypervisorSession *session, const char *vm_id, const char *path, bool *ret_is_saved,
    const Cancel *cancel, Error *err) {
    g_autoptr(virDomain) domain = NULL;
    if (!session_find(session, vm_id, &domain, err) || (domain && !wait_for_job(domain, cancel, err)))
        return false;
    g_clear_pointer(&domain, virDomainFree);
    if (!session_find(session, vm_id, &domain, err))
        return false;
    *ret_is_saved = !domain && is_whole(session, path);
    return !domain || !session->dialect->run_on || session->dialect->run_on(domain, err);
}

/* ---- back ---- */

bool session_restore(
    HypervisorSession *session, const HypervisorVm *vm, const char *path, const Cancel *cancel, Error *err) {
    g_autoptr(virConnect) connection = session_work(session, err);
    g_autoptr(virDomain) present = NULL;
    if (!connection || !session_find_with(session, connection, vm->vm->id, &present, err))
        return false;
    if (present)
        return error_set(err, ERROR_WRONG_STATE, NULL, "the VM runs");
    if (!session_open_networks(session, vm, err) || !cancel_check(cancel, err))
        return false;
    crash_mark_clear(session->state_folder, vm->vm->id);
    if (virDomainRestoreFlags(connection, path, NULL, VIR_DOMAIN_SAVE_PAUSED) == 0)
        return true;
    connection_error(err, "the VM's memory cannot be read back");
    crash_mark_clear(session->state_folder, vm->vm->id); /* what fails looks like a crash */
    return false;
}
