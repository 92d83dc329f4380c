/*
 * What the drivers' live migrations share (docs/live-migration.md): marks in the state folder that tell what
 * libvirt does not, and lodge-migrate, which leads. ID.expected at the target, from `expect` until the VM was
 * let go on; ID.leading, locked by lodge-migrate while it leads; ID.left, made by it when all of it has gone.
 * Any thread.
 */
#pragma once
#include "hypervisor/libvirt/session.h"

#define MOVING_EXPECTED ".expected"
#define MOVING_LEFT ".left"
#define MOVING_LEADING ".leading"

/* Not in /run/INSTANCE, where the manager writes too: in this one nobody but root makes anything. */
char *moving_folder(HypervisorSession *session, const char *migration_id, bool is_target);

bool moving_mark(const HypervisorSession *session, const char *vm_id, const char *mark, Error *err);
void moving_unmark(const HypervisorSession *session, const char *vm_id, const char *mark);
bool moving_has_mark(const HypervisorSession *session, const char *vm_id, const char *mark);
/* What marks a copy that came, or one that left, when the VM starts or comes anew. */
void moving_forget(const HypervisorSession *session, const char *vm_id);
/* Whether lodge-migrate leads one of it, perhaps one that an agent before this one has started. */
bool moving_is_led(const HypervisorSession *session, const char *vm_id);
/* Of a VM that has no domain: NOTHING, LEFT or ENDED. */
MigrationHere moving_without_domain(const HypervisorSession *session, const char *vm_id);

/* As HypervisorMover's `tap`. */
bool moving_tap(MigrationTap *tap, const uint8_t *bytes, size_t length);

typedef struct MovingLead {
    const char *helpers;      /* folder of lodge-migrate */
    const char *memory;       /* URI to which the source's hypervisor connects; NULL: the socket `memory` */
    const GPtrArray *written; /* paths of files that are on the disk before it counts as gone; may be NULL */
} MovingLead;

/* Writes the definition for the target, and leads. As HypervisorMover's `move`. Blocks. */
bool moving_lead(HypervisorSession *session, const HypervisorMigration *migration, const MovingLead *lead,
    const char *target_xml, const ImageProgress *progress, const Cancel *cancel, Error *err);
/* The socket of libvirt's daemon for this driver; newly allocated. */
char *moving_daemon_socket(const char *modular);
