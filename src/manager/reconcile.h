/*
 * After a backup of the store was restored: what repositories hold and the store does not, and the other way
 * round. A definition that is newer in its repository than in the store is taken over (it was decided after
 * the backup); VMs that only one side knows are named in the repository's status. Nothing is deleted. Main
 * loop.
 */
#pragma once
#include "inventory/inventory.h"

/* Whether the store was ever restored, so that repositories must be read. */
bool reconcile_is_needed(Inventory *inventory);
void reconcile_repository(Inventory *inventory, const AgentRepositoryContent *content);
