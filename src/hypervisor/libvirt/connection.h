/*
 * The connection to libvirt: opened, watched and opened again by a thread of its own, so that a libvirtd that
 * is restarted is found again within a second, and one that hangs (keep-alive) is given up. libvirt's events
 * arrive on a thread of their own (event-loop.h). Any thread.
 */
#pragma once
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include "hypervisor/hypervisor.h"

typedef struct _virConnect virConnect;
typedef struct _virDomain virDomain;
typedef struct _virNetwork virNetwork;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virConnect, virConnectClose)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virDomain, virDomainFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virNetwork, virNetworkFree)

typedef struct Connection Connection;

/* A domain has ended; by itself with a fault, or (`fault` NULL) as somebody wanted. */
typedef void (*ConnectionEndFn)(virDomain *domain, const char *vm_id, const char *fault, void *data);

/* Called from threads of libvirt's and of this part; must not call connection_free. */
typedef struct ConnectionListener {
    HypervisorChangeFn on_change;
    void *on_change_data;
    ConnectionEndFn on_end; /* before on_change */
    void *on_end_data;
} ConnectionListener;
Connection *connection_new(const char *uri, const ConnectionListener *listener);
void connection_free(Connection *connection); /* accepts NULL; afterwards the listener is not called again */

/* A reference, to be dropped by virConnectClose. Waits up to two seconds for one that is just being made;
 * ERROR_UNREACHABLE beyond. */
virConnect *connection_get(Connection *connection, Error *err);

/* Another connection beside it, watched by keep-alive only; to be dropped by virConnectClose.
 * ERROR_UNREACHABLE. */
virConnect *connection_open_another(const char *uri, Error *err);

/* Turns this thread's last libvirt error into *err, with `what` in front. Returns false. */
bool connection_error(Error *err, const char *what);
/* Whether this thread's last libvirt error says that there is no such domain or network. */
bool connection_is_missing(void);
/* Whether it says that a domain cannot be asked that now: it is just being made, or has just ended. */
bool connection_is_between_states(void);
/* Whether it says that the domain has no metadata of the kind that was asked for. */
bool connection_is_without_metadata(void);
