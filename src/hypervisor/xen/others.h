/*
 * Domains that libvirt does not know: made with xl or by hand. Read from xenstore, whose layout is described
 * in Xen's docs/misc/xenstore-paths.pandoc. Any thread; blocks while xenstored is busy.
 */
#pragma once
#include <glib.h>

/* Names of the domains whose number is none of `known` (ids of libvirt's domains, int), newly allocated
 * strings; empty when xenstore cannot be read. Never those of the control domain or of domains that are
 * dying. */
GPtrArray *xen_other_domains(const GArray *known);
