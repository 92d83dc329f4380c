/*
 * The host's ends of a domain's disks and NICs. How devices are numbered stands in Xen's
 * docs/man/xen-vbd-interface.7.pandoc, how xenstore is laid out in docs/misc/xenstore-paths.pandoc. Any
 * thread.
 */
#pragma once
#include <stdbool.h>
#include "base/error.h"
#include "types.h"

/* The number under which a guest has the disk that is called so ("xvda", "hdc"): 51712, 5632. False for other
 * names. Pure. */
bool xen_disk_number(const char *target, unsigned *ret_number);
/* Sets what the kernel's back end has counted; `root` stands for /sys. Nothing is set where another program
 * is the back end. */
void xen_count_disk(const char *root, unsigned domain, unsigned number, VmDiskStatistics *disk);

/* Whether each disk of a domain has its back end: a program that cannot serve one says so to its own log
 * only, and the guest would start without it. ERROR_HYPERVISOR. Blocks while xenstored is busy. */
bool xen_check_disks_served(unsigned domain, const char *name, Error *err);

/* The number of the NIC that has this MAC, from xenstore; false when there is none. Blocks while xenstored is
 * busy. */
bool xen_nic_number(unsigned domain, const char *mac, unsigned *ret_number);
/* "vif3.0" and, of a full PC, "vif3.0-emu": NULL-terminated, newly allocated. Pure. */
char **xen_nic_interfaces(unsigned domain, unsigned number);
