/*
 * Connections for calls that take long: starting and ending VMs. libvirtd works on at most five calls of one
 * connection at once (max_client_requests in libvirtd.conf) and reads no more of it meanwhile, so that with
 * one connection a burst of starts would be slow and questions would wait behind it. Any thread.
 */
#pragma once
#include "hypervisor/libvirt/connection.h"

typedef struct WorkConnections WorkConnections;

/* `uri` is borrowed. Opens nothing yet; after connection_new, which starts libvirt's event loop. */
WorkConnections *work_connections_new(const char *uri);
void work_connections_free(WorkConnections *connections); /* accepts NULL; no call may run any more */

/* A reference to one of them, opened when it is needed, in turn; to be dropped by virConnectClose.
 * ERROR_UNREACHABLE. */
virConnect *work_connections_get(WorkConnections *connections, Error *err);
