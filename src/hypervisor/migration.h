/*
 * A driver's part in a live migration (docs/live-migration.md): the source's hypervisor connects to UNIX
 * sockets in a folder on its own machine, or to an address that is this machine's own, the target's listens
 * on its own; the agents carry the bytes between
 * the two. A guest is migrated paused: complete at the target, it waits there until `act` lets it go on.
 */
#pragma once
#include <glib.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cancel.h"
#include "hypervisor/migration-rules.h"
#include "image/progress.h"
#include "types.h"

typedef struct HypervisorSession HypervisorSession;
typedef struct HypervisorVm HypervisorVm;

/* The socket of a channel in a migration's folder, newly allocated; it is called as the schema calls the
 * channel. There are many connections for disks, one after the other or at once. */
static inline char *migration_socket(const char *folder, MigrationChannel channel) {
    return g_build_filename(folder, model_enum_name(&migration_channel_enum, (int)channel), NULL);
}

/* "127.1.2.3:7445", not the path of a socket. */
static inline bool migration_is_address(const char *place) {
    return place[0] != '/';
}

typedef struct HypervisorMigration {
    const char *state_folder_there; /* source: the other driver's; NULL: as here */
    const HypervisorVm *vm_here;    /* source: as it is here */
    const HypervisorVm
        *vm;            /* as it is to be at the target; its id, name and hardware are those that it has */
    const char *folder; /* of this migration's own, on this machine; exists */
    bool copies_disks;  /* those of `vm` exist there, as large as here, and are empty */
    int64_t bandwidth;  /* bytes a second; 0: as much as there is */
} HypervisorMigration;

/* Looks at the bytes that go from the target to the source on MIGRATION_CHANNEL_CONTROL, and is all zero at
 * first. */
typedef struct MigrationTap {
    uint8_t state[64];
} MigrationTap;

/* All but `tap` block, in any thread. */
typedef struct HypervisorMover {
    /* Where the sockets of a migration lie on this machine; newly allocated. */
    char *(*folder)(HypervisorSession *session, const char *migration_id, bool is_target);
    /* Source: where the hypervisor connects to for a channel: the path of a socket in that folder, or an
     * address of this machine's own (migration_is_address); newly allocated. NULL: it uses no such channel.
     * May be NULL: migration_socket() for each. */
    char *(*entry)(HypervisorSession *session, const char *migration_id, MigrationChannel channel);
    /* Source, before somebody listens at an entry: no user but root may come there. May be NULL. */
    bool (*guard)(HypervisorSession *session, Error *err);
    /* Target: from now on the hypervisor can be connected to. May be repeated. */
    bool (*expect)(HypervisorSession *session, const HypervisorMigration *migration, Error *err);
    /* Target: the path, or address, to connect a channel to, newly allocated. NULL: there is no such channel.
     */
    char *(*path)(HypervisorSession *session, const HypervisorMigration *migration, MigrationChannel channel);
    /* Source: until all of it is at the target and it has ended here, or it has failed: then `look` tells
     * what became of it. Never lets it go on here once the target said that it is complete. ERROR_CANCELLED:
     * it runs here still. */
    bool (*move)(HypervisorSession *session, const HypervisorMigration *migration,
        const ImageProgress *progress, const Cancel *cancel, Error *err);
    /* True once, with the bytes that say that the target has all of it. */
    bool (*tap)(MigrationTap *tap, const uint8_t *bytes, size_t length);
    /* Source, when the tap has said so: remembers it durably; `look` tells when the switch may be made. On
     * the main loop. NULL: the switch may be made at once. */
    void (*arrived)(HypervisorSession *session, const char *vm_id);
    /* ERROR_UNREACHABLE: the hypervisor does not answer. */
    bool (*look)(HypervisorSession *session, const char *vm_id, MigrationHere *ret_here, Error *err);
    /* One of START_TARGET, DROP_TARGET, RESUME_SOURCE, DROP_SOURCE on this host. Where it is done already:
     * success. ERROR_WRONG_STATE where it is not meant for what is here: nothing is touched. */
    bool (*act)(HypervisorSession *session, const char *vm_id, MigrationStep step, Error *err);
} HypervisorMover;
