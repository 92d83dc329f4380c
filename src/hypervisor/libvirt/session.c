/*
 * Connections, and which domain is whose. Domains are transient: they exist from their start to their end, so
 * that libvirt never holds a definition of a VM that does not run.
 */
#include "hypervisor/libvirt/session.h"
#include "hypervisor/crash-mark.h"
#include <string.h>

enum { SETTLE_MS = 75000, SETTLE_POLL_MS = 250 };

static void remember_end(virDomain *domain, const char *vm_id, const char *fault, void *data) {
    const HypervisorSession *session = data;
    g_autofree char *own = domain_name(session->instance, vm_id);
    if (g_strcmp0(virDomainGetName(domain), own) != 0 && !session_is_adopted(session, domain))
        return;
    if (fault)
        crash_mark_set(session->state_folder, vm_id, fault);
    else
        crash_mark_clear(session->state_folder, vm_id); /* an earlier run's, told late */
}

void session_init(
    HypervisorSession *session, const LibvirtDialect *dialect, const HypervisorOptions *options) {
    session->dialect = dialect;
    session->instance = g_strdup(options->instance);
    session->state_folder = g_strdup(options->state_folder);
    g_mutex_init(&session->network_lock);
    g_mutex_init(&session->counted_lock);
    const ConnectionListener listener = {.on_change = options->on_change,
        .on_change_data = options->on_change_data,
        .on_end = remember_end,
        .on_end_data = session};
    session->connection = connection_new(dialect->uri, &listener);
    session->work = work_connections_new(dialect->uri);
}

void session_clear(HypervisorSession *session) {
    work_connections_free(session->work);
    connection_free(session->connection);
    g_mutex_clear(&session->network_lock);
    g_mutex_clear(&session->counted_lock);
    g_clear_pointer(&session->counted, g_hash_table_unref);
    g_free(session->instance);
    g_free(session->state_folder);
}

virConnect *session_work(HypervisorSession *session, Error *err) {
    g_autoptr(virConnect) answering = connection_get(session->connection, err);
    return answering ? work_connections_get(session->work, err) : NULL;
}

char *session_version_text(unsigned long version) {
    return g_strdup_printf("%lu.%lu.%lu", version / 1000000, version / 1000 % 1000, version % 1000);
}

/* A run of a domain stays ours: it is asked once, because all are counted whenever one changes. One that
 * ended meanwhile is nobody's. */
static bool is_ours(HypervisorSession *session, virDomain *domain, GHashTable *counted) {
    char id[VIR_UUID_STRING_BUFLEN] = "";
    bool is_managed = true;
    virDomainGetUUIDString(domain, id);
    g_autofree char *run = g_strdup_printf("%s/%u", id, virDomainGetID(domain));
    g_mutex_lock(&session->counted_lock);
    bool is_known = session->counted && g_hash_table_contains(session->counted, run);
    g_mutex_unlock(&session->counted_lock);
    if (!is_known && session_is_managed(session, domain, &is_managed, NULL, NULL) && !is_managed)
        return false;
    if (!is_known && session->dialect->see_run && !session_is_adopted(session, domain))
        session->dialect->see_run(domain);
    g_hash_table_add(counted, g_steal_pointer(&run));
    return true;
}

/* Others' VMs that do not run. By name: what was ours has no domain then. */
static void add_idle(HypervisorSession *session, virConnect *connection, HostStatus *status) {
    virDomainPtr *domains = NULL;
    int n = virConnectListAllDomains(connection, &domains, VIR_CONNECT_LIST_DOMAINS_INACTIVE);
    for (int i = 0; i < n; i++) {
        char id[VIR_UUID_STRING_BUFLEN] = "";
        virDomainGetUUIDString(domains[i], id);
        g_autofree char *own = domain_name(session->instance, id);
        if (strcmp(virDomainGetName(domains[i]), own) != 0 && !session_is_adopted(session, domains[i]))
            host_status_add_unmanaged(status, virDomainGetName(domains[i]));
        virDomainFree(domains[i]);
    }
    free(domains);
}

void session_count_vms(HypervisorSession *session, virConnect *connection, HostStatus *status) {
    g_autoptr(GHashTable) counted = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    virDomainPtr *domains = NULL;
    int n = virConnectListAllDomains(connection, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE), n_guests = 0;
    for (int i = 0; i < n; i++) {
        bool is_guest = !session->dialect->is_no_guest || !session->dialect->is_no_guest(domains[i]);
        n_guests += is_guest;
        if (is_guest && !is_ours(session, domains[i], counted))
            host_status_add_unmanaged(status, virDomainGetName(domains[i]));
        virDomainFree(domains[i]);
    }
    free(domains);
    add_idle(session, connection, status);
    host_status_set_vms_running(status, n_guests);
    g_mutex_lock(&session->counted_lock);
    GHashTable *before = session->counted;
    session->counted = g_steal_pointer(&counted);
    g_mutex_unlock(&session->counted_lock);
    g_clear_pointer(&before, g_hash_table_unref);
}

bool session_has_gone(HypervisorSession *session, const char *vm_id) {
    return session->dialect->has_gone && session->dialect->has_gone(session, vm_id);
}

bool session_find_with(HypervisorSession *session, virConnect *connection, const char *vm_id,
    virDomain **ret_domain, Error *err) {
    g_autoptr(virDomain) domain = virDomainLookupByUUIDString(connection, vm_id);
    if (!domain) {
        *ret_domain = NULL;
        return connection_is_missing() ? true : connection_error(err, "the VM cannot be looked up");
    }
    g_auto(Error) fault = {0};
    bool is_managed = false;
    if (session_is_managed(session, domain, &is_managed, NULL, &fault) && is_managed) {
        *ret_domain = g_steal_pointer(&domain);
        return true;
    }
    if (fault.code == ERROR_NOT_FOUND) { /* ended meanwhile */
        *ret_domain = NULL;
        return true;
    }
    if (error_is_set(&fault) && session->dialect->restarts_itself &&
        session_is_between_states(session, domain, vm_id)) {
        *ret_domain = NULL;
        return session_has_gone(session, vm_id) ||
               error_set(err, ERROR_BUSY, NULL, "the VM is just starting again, try it in a moment");
    }
    if (error_is_set(&fault)) {
        error_move(err, &fault);
        return false;
    }
    return error_set(err, ERROR_IN_USE, NULL,
        "the domain %s has this id but was not started by this instance", virDomainGetName(domain));
}

bool session_find(HypervisorSession *session, const char *vm_id, virDomain **ret_domain, Error *err) {
    g_autoptr(virConnect) connection = connection_get(session->connection, err);
    return connection && session_find_with(session, connection, vm_id, ret_domain, err);
}

bool session_find_settled(HypervisorSession *session, virConnect *connection, const char *vm_id,
    const Cancel *cancel, virDomain **ret_domain, Error *err) {
    gint64 deadline = g_get_monotonic_time() + SETTLE_MS * G_TIME_SPAN_MILLISECOND;
    for (;;) {
        g_auto(Error) fault = {0};
        bool is_found = session_find_with(session, connection, vm_id, ret_domain, &fault);
        if (is_found || fault.code != ERROR_BUSY || g_get_monotonic_time() > deadline) {
            error_move(err, &fault);
            return is_found;
        }
        if (!cancel_check(cancel, err))
            return false;
        g_usleep(SETTLE_POLL_MS * 1000);
    }
}

virDomain *session_find_running(HypervisorSession *session, const char *vm_id, Error *err) {
    virDomain *domain = NULL;
    g_autoptr(virConnect) connection = connection_get(session->connection, err);
    if (connection && session_find_settled(session, connection, vm_id, NULL, &domain, err) && !domain)
        error_set(err, ERROR_WRONG_STATE, NULL, "the VM does not run");
    return domain;
}
