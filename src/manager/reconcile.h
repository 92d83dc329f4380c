/*
 * After a backup of the store was restored: what repositories hold and the store does not, and the other way
 * round. A definition that is newer in its repository than in the store is taken over (it was decided after
 * the backup); VMs that only one side knows are named in the repository's status. Nothing is deleted. A
 * repository that cannot be read is read again until it can; changes of its VMs are refused so long, because
 * they would replace what was never looked at. Main loop.
 */
#pragma once
#include "manager/fleet.h"

typedef struct Reconciler Reconciler;

/* Borrows both; to be freed after the fleet, whose last answers need it. */
Reconciler *reconciler_new(Inventory *inventory, Fleet *fleet);
void reconciler_free(Reconciler *reconciler); /* accepts NULL */
/* Whether the store was ever restored, so that repositories must be read. */
bool reconcile_is_needed(Inventory *inventory);
/* Begins to read it on that host, which has just connected; or the repository is new. */
void reconcile_repository(Reconciler *reconciler, const Repository *repository, const char *host_id);
/* Whether it was read since the last restore, as far as that is needed; ERROR_BUSY. */
bool reconcile_check(Inventory *inventory, const char *repository_id, Error *err);
