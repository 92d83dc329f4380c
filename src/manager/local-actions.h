/*
 * What root did on a host itself while this manager was away (`lodge --host-local`) becomes lines of the
 * audit: asked of the host when it connects and when it says so, forgotten there once they are durable here.
 * The store remembers how far each host was taken note of, so that no line is written twice. Main loop only.
 */
#pragma once
#include "manager/fleet.h"

typedef struct LocalActions LocalActions;

/* Borrows both. */
LocalActions *local_actions_new(Inventory *inventory, Fleet *fleet);
/* Before the fleet is freed: nothing is asked any more. */
void local_actions_stop(LocalActions *actions);
/* After the store, whose last answers need it; accepts NULL. */
void local_actions_free(LocalActions *actions);

void local_actions_take(LocalActions *actions, const char *host_id);
