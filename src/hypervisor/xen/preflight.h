/*
 * What libxl would refuse with no more than "failed to create new domain", told before: memory that is not
 * there, disks that another domain has open. Its own checks stay the last word. Any thread; blocks while
 * xenstored is busy.
 */
#pragma once
#include "hypervisor/libvirt/session.h"

/* ERROR_NO_CAPACITY at /memory, ERROR_IN_USE at /disks. */
bool xen_preflight(virConnect *connection, const HypervisorVm *vm, VmMode mode, Error *err);

/* Whether a back end's `params` in xenstore ("PATH", "aio:PATH", "qcow2:PATH") means that file. */
bool xen_params_are(const char *params, const char *path);
