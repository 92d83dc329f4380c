/*
 * Rows of `xl list -v` (xl(1)): name ("(null)" when it dies), id, memory, vCPUs, state as six letters, time,
 * UUID, the reason of its end as a number (xen/include/public/sched.h), … libvirt does not tell these. Any
 * thread; blocks for seconds at most.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include "base/error.h"

typedef struct XenDomainRow {
    char uuid[37];     /* small letters */
    bool is_dying;     /* it was ended, and does not go away */
    bool is_paused;    /* it is held, and runs when it is let go on */
    bool is_suspended; /* it was stopped to be saved */
    bool is_shut;      /* its guest does not run any more, for whatever reason */
    bool is_rebooting; /* its guest has asked for a reboot: it stands, and is to be made again */
} XenDomainRow;

/* An array of XenDomainRow. NULL with ERROR_UNREACHABLE when xl does not answer. */
GArray *xen_domain_list(Error *err);
/* The row of that domain; NULL when there is none. */
const XenDomainRow *xen_domain_find(const GArray *rows, const char *uuid);
/* The same of what xl printed; rows that are not understood are left out. */
GArray *xen_domain_list_parse(const char *text);
