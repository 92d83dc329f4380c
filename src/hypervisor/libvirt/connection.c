/* Connecting, losing the connection, connecting again. */
#include "hypervisor/libvirt/connection.h"
#include "hypervisor/libvirt/event-loop.h"

enum {
    RETRY_MS = 500,
    WAIT_MS = 2000,
    KEEPALIVE_INTERVAL_S = 5,
    KEEPALIVE_COUNT = 3,
    WORK_KEEPALIVE_COUNT = 12
};

struct Connection { /* reference-counted: libvirt's callbacks hold it too */
    char *uri;
    GThread *watcher;

    GMutex lock; /* all below */
    GCond changed;
    virConnect *connection;
    int event_ids[2];
    bool is_lost, is_closing;

    GMutex notify_lock; /* held while the listener runs */
    ConnectionListener listener;
};

static void notify(Connection *self, const char *vm_id) {
    g_mutex_lock(&self->notify_lock);
    if (self->listener.on_change)
        self->listener.on_change(vm_id, self->listener.on_change_data);
    g_mutex_unlock(&self->notify_lock);
}

static void notify_domain(Connection *self, virDomainPtr domain) {
    char id[VIR_UUID_STRING_BUFLEN];
    if (virDomainGetUUIDString(domain, id) == 0)
        notify(self, id);
}

static void notify_end(Connection *self, virDomainPtr domain, const char *fault) {
    char id[VIR_UUID_STRING_BUFLEN];
    g_mutex_lock(&self->notify_lock);
    if (self->listener.on_end && virDomainGetUUIDString(domain, id) == 0)
        self->listener.on_end(domain, id, fault, self->listener.on_end_data);
    g_mutex_unlock(&self->notify_lock);
}

static int lifecycle_changed(
    virConnectPtr connection, virDomainPtr domain, int event, int detail, void *data) {
    (void)connection;
    bool is_end = event == VIR_DOMAIN_EVENT_STOPPED;
    if (is_end && detail == VIR_DOMAIN_EVENT_STOPPED_FAILED)
        notify_end(data, domain, "the hypervisor's process ended by itself");
    else if (event == VIR_DOMAIN_EVENT_CRASHED || (is_end && detail == VIR_DOMAIN_EVENT_STOPPED_CRASHED))
        notify_end(data, domain, "the guest's kernel panicked");
    else if (is_end)
        notify_end(data, domain, NULL);
    notify_domain(data, domain);
    return 0;
}

static void agent_changed(virConnectPtr connection, virDomainPtr domain, int state, int reason, void *data) {
    (void)connection, (void)state, (void)reason;
    notify_domain(data, domain);
}

static void connection_closed(virConnectPtr connection, int reason, void *data) {
    (void)connection, (void)reason;
    Connection *self = data;
    g_mutex_lock(&self->lock);
    self->is_lost = true;
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
}

static void destroy(void *data) {
    Connection *self = data;
    g_mutex_clear(&self->lock);
    g_mutex_clear(&self->notify_lock);
    g_cond_clear(&self->changed);
    g_free(self->uri);
}

/* libvirt calls it when no callback runs any more, which may be after the registration has ended. */
static void release(void *data) {
    g_atomic_rc_box_release_full(data, destroy);
}

static virConnect *open_and_register(Connection *self, int ret_event_ids[static 2]) {
    virConnect *connection = virConnectOpen(self->uri);
    if (!connection)
        return NULL;
    if (virConnectSetKeepAlive(connection, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT) < 0) {
        virConnectClose(connection); /* a daemon that hangs would hold its callers for ever */
        return NULL;
    }
    virConnectRegisterCloseCallback(connection, connection_closed, g_atomic_rc_box_acquire(self), release);
    ret_event_ids[0] = virConnectDomainEventRegisterAny(connection, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
        VIR_DOMAIN_EVENT_CALLBACK(lifecycle_changed), g_atomic_rc_box_acquire(self), release);
    ret_event_ids[1] = virConnectDomainEventRegisterAny(connection, NULL, VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE,
        VIR_DOMAIN_EVENT_CALLBACK(agent_changed), g_atomic_rc_box_acquire(self), release);
    return connection;
}

static void unregister_and_close(virConnect *connection, const int event_ids[static 2]) {
    for (int i = 0; i < 2; i++)
        if (event_ids[i] >= 0)
            virConnectDomainEventDeregisterAny(connection, event_ids[i]);
    virConnectUnregisterCloseCallback(connection, connection_closed);
    virConnectClose(connection);
}

/* With the lock held; gives it up while libvirt works. */
static void drop(Connection *self) {
    virConnect *connection = g_steal_pointer(&self->connection);
    int event_ids[2] = {self->event_ids[0], self->event_ids[1]};
    g_mutex_unlock(&self->lock);
    if (connection)
        unregister_and_close(connection, event_ids);
    notify(self, NULL);
    g_mutex_lock(&self->lock);
}

static bool try_open(Connection *self) {
    int event_ids[2] = {-1, -1};
    self->is_lost = false;
    g_mutex_unlock(&self->lock);
    virConnect *connection = open_and_register(self, event_ids);
    g_mutex_lock(&self->lock);
    if (!connection)
        return false;
    self->connection = connection;
    self->event_ids[0] = event_ids[0];
    self->event_ids[1] = event_ids[1];
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
    notify(self, NULL);
    g_mutex_lock(&self->lock);
    return true;
}

static void *watch(void *data) {
    Connection *self = data;
    g_mutex_lock(&self->lock);
    while (!self->is_closing) {
        if (self->connection && self->is_lost)
            drop(self);
        else if (self->connection)
            g_cond_wait(&self->changed, &self->lock);
        else if (!try_open(self) && !self->is_closing)
            g_cond_wait_until(
                &self->changed, &self->lock, g_get_monotonic_time() + RETRY_MS * G_TIME_SPAN_MILLISECOND);
    }
    drop(self);
    g_mutex_unlock(&self->lock);
    return NULL;
}

Connection *connection_new(const char *uri, const ConnectionListener *listener) {
    event_loop_start();
    Connection *self = g_atomic_rc_box_new0(Connection);
    self->uri = g_strdup(uri);
    self->listener = *listener;
    g_mutex_init(&self->lock);
    g_mutex_init(&self->notify_lock);
    g_cond_init(&self->changed);
    self->watcher = g_thread_new("libvirt-watch", watch, self);
    return self;
}

void connection_free(Connection *self) {
    if (!self)
        return;
    g_mutex_lock(&self->notify_lock);
    self->listener = (ConnectionListener){0};
    g_mutex_unlock(&self->notify_lock);
    g_mutex_lock(&self->lock);
    self->is_closing = true;
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
    g_thread_join(self->watcher);
    release(self);
}

virConnect *connection_get(Connection *self, Error *err) {
    gint64 deadline = g_get_monotonic_time() + WAIT_MS * G_TIME_SPAN_MILLISECOND;
    virConnect *connection = NULL;
    g_mutex_lock(&self->lock);
    while (!self->connection || self->is_lost)
        if (!g_cond_wait_until(&self->changed, &self->lock, deadline))
            break;
    if (self->connection && !self->is_lost && virConnectRef(self->connection) == 0)
        connection = self->connection;
    g_mutex_unlock(&self->lock);
    if (!connection)
        error_set(err, ERROR_UNREACHABLE, NULL, "libvirt (%s) does not answer", self->uri);
    return connection;
}

virConnect *connection_open_another(const char *uri, Error *err) {
    virConnect *connection = virConnectOpen(uri);
    if (connection) /* a libvirtd that is busy for a minute has not lost the start that it works on */
        virConnectSetKeepAlive(connection, KEEPALIVE_INTERVAL_S, WORK_KEEPALIVE_COUNT);
    else
        error_set(err, ERROR_UNREACHABLE, NULL, "libvirt (%s) does not answer", uri);
    return connection;
}

static ErrorCode code_of(int libvirt_code) {
    switch (libvirt_code) {
    case VIR_ERR_NO_DOMAIN:
    case VIR_ERR_NO_NETWORK:
        return ERROR_NOT_FOUND;
    case VIR_ERR_NO_CONNECT:
    case VIR_ERR_INVALID_CONN:
    case VIR_ERR_RPC:
    case VIR_ERR_SYSTEM_ERROR:
        return ERROR_UNREACHABLE;
    case VIR_ERR_OPERATION_TIMEOUT:
    case VIR_ERR_AGENT_UNRESPONSIVE:
        return ERROR_TIMED_OUT;
    case VIR_ERR_NO_SUPPORT:
    case VIR_ERR_CONFIG_UNSUPPORTED:
    case VIR_ERR_ARGUMENT_UNSUPPORTED:
        return ERROR_UNSUPPORTED;
    case VIR_ERR_OPERATION_INVALID:
        return ERROR_WRONG_STATE;
    default:
        return ERROR_HYPERVISOR;
    }
}

bool connection_error(Error *err, const char *what) {
    const virError *last = virGetLastError();
    if (!last)
        return error_set(err, ERROR_HYPERVISOR, NULL, "%s: libvirt gave no reason", what);
    ErrorCode code = code_of(last->code);
    /* A failed system call inside libvirtd (a file, a bridge) is no lost connection. */
    if (last->code == VIR_ERR_SYSTEM_ERROR && last->domain != VIR_FROM_RPC && last->domain != VIR_FROM_REMOTE)
        code = ERROR_HYPERVISOR;
    if (last->code == VIR_ERR_INTERNAL_ERROR && last->domain == VIR_FROM_RPC) /* "client socket is closed" */
        code = ERROR_UNREACHABLE;
    g_autofree char *reason = g_strdup(last->message ? last->message : "no reason given");
    return error_set(err, code, NULL, "%s: %s", what, g_strdelimit(reason, "\r\n\t", ' '));
}

bool connection_is_missing(void) {
    const virError *last = virGetLastError();
    return last && (last->code == VIR_ERR_NO_DOMAIN || last->code == VIR_ERR_NO_NETWORK);
}

bool connection_is_between_states(void) {
    const virError *last = virGetLastError();
    return last && last->code == VIR_ERR_OPERATION_INVALID;
}

bool connection_is_without_metadata(void) {
    const virError *last = virGetLastError();
    return last && last->code == VIR_ERR_NO_DOMAIN_METADATA;
}
