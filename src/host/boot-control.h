/*
 * What the control domain of a Xen host keeps for itself, as an argument of the hypervisor: a file of our own
 * in GRUB's configuration (/etc/default/grub.d, read by Debian's grub-mkconfig after /etc/default/grub), and
 * update-grub. It counts from the host's next start on (docs/xen.md). Blocks; one thread at a time.
 */
#pragma once
#include "types.h"

typedef struct BootControl {
    const char *root;     /* "/", or a folder for tests */
    const char *instance; /* names the file */
} BootControl;

/* Makes the file say so (NULL: removes it) and, when it changed, the boot loader's configuration. Of several
 * calls the last one counts. ERROR_TOOL_FAILED when update-grub is missing or fails: the file is there then.
 */
bool boot_control_write(const BootControl *place, const HostControl *wanted, Error *err);
/* What the file says. False when there is none. */
bool boot_control_read(const BootControl *place, HostControl *ret_wanted);
/* Whether what the control domain has now is what is wanted; the hypervisor rounds memory. Pure. */
bool boot_control_is_met(const HostControl *wanted, uint64_t memory_now, int64_t cpus_now);
