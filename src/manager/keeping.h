/*
 * Gives every host what only this manager knows of it, to be kept for a manager that is made anew: the host's
 * own definition, its pool, the pool's networks, repositories with their templates and ISOs (agent call
 * `keep`). Whoever connects is told, and all that are concerned when something of it changes; what a host has
 * already is not sent again. Main loop only.
 */
#pragma once
#include "manager/fleet.h"

typedef struct Keeping Keeping;
Keeping *keeping_new(Inventory *inventory, Fleet *fleet); /* borrows both */
/* After the fleet, whose open calls end then, and before the inventory. Accepts NULL. */
void keeping_free(Keeping *self);
/* For the fleet's on_connected. */
void keeping_connected(Keeping *self, const char *host_id);
