/*
 * The definition of a running domain as it is to be on another host: the same machine to the last address,
 * with disks at their new paths, files of the state folder in the other host's, and NICs in the bridges that
 * their networks have there. Pure. Any thread.
 */
#pragma once
#include "hypervisor/hypervisor.h"

typedef struct MigrationPaths {
    const HypervisorVm *vm;   /* there: each disk's id, path and format */
    const HypervisorVm *here; /* its seed, kernel and RAM disk are those of `vm` there; NULL: it has none */
    const char *state_folder, *state_folder_there; /* without a slash at the end */
    bool same_disks; /* both hosts see the same files; else they are whole there */
} MigrationPaths;

/* From what libvirt gives for VIR_DOMAIN_XML_MIGRATABLE; newly allocated. ERROR_HYPERVISOR when that is not
 * understood or has a disk that `vm` has not. */
char *migration_xml(const char *running, const MigrationPaths *paths, Error *err);
