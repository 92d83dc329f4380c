/* Starting, ending and holding domains. */
#include "hypervisor/crash-mark.h"
#include "hypervisor/libvirt/session.h"
#include "hypervisor/vm-files.h"

enum { POLL_MS = 200, ASK_AGAIN_MS = 5000 };

bool session_runs_already(HypervisorSession *session, virDomain *domain) {
    int state = VIR_DOMAIN_NOSTATE, reason = 0;
    if (!domain || virDomainGetState(domain, &state, &reason, 0) < 0)
        return false;
    if (!session->dialect->is_half_started(domain, state, reason) &&
        (state == VIR_DOMAIN_RUNNING || state == VIR_DOMAIN_BLOCKED || state == VIR_DOMAIN_PAUSED ||
            state == VIR_DOMAIN_PMSUSPENDED || state == VIR_DOMAIN_SHUTDOWN ||
            (state == VIR_DOMAIN_SHUTOFF && session->dialect->restarts_itself)))
        return true;
    virDomainDestroy(domain);
    return false;
}

virDomain *session_create(HypervisorSession *session, virConnect *connection, const char *vm_id,
    const char *xml, unsigned flags, Error *err) {
    crash_mark_clear(session->state_folder, vm_id);
    virDomain *domain = virDomainCreateXML(connection, xml, flags);
    if (domain)
        return domain;
    connection_error(err, "the VM cannot be started");
    crash_mark_clear(session->state_folder, vm_id); /* a start that fails looks like a crash */
    return NULL;
}

/* Only libvirt's word that it does not run counts: a libvirtd that died says nothing about the guest. */
static bool end_now(const HypervisorSession *session, virDomain *domain, Error *err) {
    if (virDomainDestroy(domain) == 0 || connection_is_missing())
        return true;
    g_auto(Error) fault = {0};
    connection_error(&fault, "the VM cannot be ended");
    if ((!session->dialect->restarts_itself && virDomainIsActive(domain) == 0) || connection_is_missing())
        return true;
    error_move(err, &fault);
    return false;
}

/* True when it has gone. A libvirtd that is away for a moment says nothing about the VM. */
static bool has_gone(HypervisorSession *session, const char *vm_id) {
    g_autoptr(virDomain) domain = NULL;
    return session_find(session, vm_id, &domain, NULL) &&
           (!domain || (!session->dialect->restarts_itself && virDomainIsActive(domain) == 0));
}

/* A guest that is still booting loses the press of the power button: it is repeated, in turn with the other
 * way. */
static void ask_to_stop(HypervisorSession *session, const char *vm_id, int64_t turn) {
    const unsigned *flags = session->dialect->stop_flags;
    g_autoptr(virDomain) domain = NULL;
    if (!session_find(session, vm_id, &domain, NULL) || !domain)
        return;
    if (turn % 2 == 0 || virDomainShutdownFlags(domain, flags[1]) < 0)
        virDomainShutdownFlags(domain, flags[0]);
}

static bool wait_for_end(HypervisorSession *session, const char *vm_id, int64_t timeout_ms,
    const Cancel *cancel, bool *ret_has_ended, Error *err) {
    gint64 start = g_get_monotonic_time();
    int64_t turns = 0;
    for (;;) {
        int64_t passed_ms = (g_get_monotonic_time() - start) / 1000;
        *ret_has_ended = has_gone(session, vm_id);
        if (*ret_has_ended || passed_ms >= timeout_ms)
            return true;
        if (passed_ms >= turns * ASK_AGAIN_MS)
            ask_to_stop(session, vm_id, turns++);
        if (!cancel_check(cancel, err))
            return false;
        g_usleep(POLL_MS * 1000);
    }
}

bool session_kill(HypervisorSession *session, const char *vm_id, Error *err) {
    g_autoptr(virConnect) connection = session_work(session, err);
    g_autoptr(virDomain) domain = NULL;
    crash_mark_clear(session->state_folder, vm_id);
    return connection && session_find_settled(session, connection, vm_id, NULL, &domain, err) &&
           (!domain || end_now(session, domain, err));
}

bool session_stop(HypervisorSession *session, const char *vm_id, int64_t timeout_ms, bool force,
    const Cancel *cancel, Error *err) {
    g_autoptr(virConnect) connection = connection_get(session->connection, err);
    g_autoptr(virDomain) domain = NULL;
    int state = VIR_DOMAIN_NOSTATE;
    bool has_ended = false;
    if (!connection || !session_find_settled(session, connection, vm_id, cancel, &domain, err))
        return false;
    crash_mark_clear(session->state_folder, vm_id);
    if (!domain)
        return true;
    if (virDomainGetState(domain, &state, NULL, 0) == 0 && state == VIR_DOMAIN_PAUSED)
        return force ? end_now(session, domain, err)
                     : error_set(err, ERROR_WRONG_STATE, NULL,
                           "a paused VM cannot stop by itself; resume it first");
    if (!wait_for_end(session, vm_id, timeout_ms, cancel, &has_ended, err))
        return false;
    if (has_ended)
        return true;
    return force ? session_kill(session, vm_id, err)
                 : error_set(err, ERROR_TIMED_OUT, NULL,
                       "the guest has not stopped within %" G_GINT64_FORMAT " s", timeout_ms / 1000);
}

static bool is_in_state(virDomain *domain, int wanted) {
    int state = VIR_DOMAIN_NOSTATE;
    return virDomainGetState(domain, &state, NULL, 0) == 0 && state == wanted;
}

bool session_pause(HypervisorSession *session, const char *vm_id, Error *err) {
    g_autoptr(virDomain) domain = session_find_running(session, vm_id, err);
    if (!domain)
        return false;
    return is_in_state(domain, VIR_DOMAIN_PAUSED) || virDomainSuspend(domain) == 0 ||
           connection_error(err, "the VM cannot be paused");
}

bool session_resume(HypervisorSession *session, const char *vm_id, Error *err) {
    g_autoptr(virDomain) domain = session_find_running(session, vm_id, err);
    if (!domain)
        return false;
    return is_in_state(domain, VIR_DOMAIN_RUNNING) || virDomainResume(domain) == 0 ||
           connection_error(err, "the VM cannot be resumed");
}

bool session_forget(HypervisorSession *session, const char *vm_id, Error *err) {
    return vm_files_remove(session->state_folder, vm_id, err);
}
