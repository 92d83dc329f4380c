/*
 * What libvirt keeps of a domain that it could not start again when its guest rebooted: a domain that does
 * not run, which no call of libvirt's removes before libvirtd is restarted. It counts as gone when the
 * hypervisor has had no domain of that name for a while; until then it is about to run. Any thread.
 */
#pragma once
#include "hypervisor/libvirt/session.h"

typedef struct XenRemains XenRemains;

XenRemains *xen_remains_new(void);
void xen_remains_free(XenRemains *remains);

/* The name of a domain that libvirt knows and that does not run, and whether the hypervisor has one of that
 * name now; `now_us` is monotonic. True when it has gone for good. */
bool xen_remains_judge(XenRemains *remains, const char *name, bool is_there, int64_t now_us);
