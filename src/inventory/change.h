/* What change.c, load.c and inventory.c need of each other, and nobody else. */
#pragma once
#include "inventory/inventory.h"

const Clock *inventory_clock(const Inventory *inventory);
const Object *inventory_apply(Inventory *inventory, ResourceId kind, void *take_data, int64_t mod_revision);
void inventory_forget(Inventory *inventory, ResourceId kind, const char *id);
void inventory_announce(
    Inventory *inventory, const char *what, const Object *object, const char *principal, const char *job);
bool inventory_load_audit(Inventory *inventory, Error *err);
bool inventory_load_kind(Inventory *inventory, ResourceId kind, Error *err);
