/*
 * Domains that libvirt does not know: made with xl or by hand. Read from xenstore, whose layout is described
 * in Xen's docs/misc/xenstore-paths.pandoc. Any thread; blocks while xenstored is busy.
 */
#pragma once
#include "types.h"

/* Names of all domains but those in `known` (a set of names; NULL: none), newly allocated; empty when
 * xenstore cannot be read. Never that of the control domain. */
GPtrArray *xen_other_domains(GHashTable *known);

/* The same as VMs, with what xenstore tells of them: nothing of it is enough to take them over. */
void xen_add_others(GHashTable *known, AgentForeignList *list);

typedef enum XenPresence {
    XEN_ABSENT,
    XEN_PRESENT,
    XEN_NOT_KNOWN /* xenstore does not answer */
} XenPresence;
XenPresence xen_domain_presence(const char *name);
