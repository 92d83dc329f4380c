/*
 * JSON of the schema's types, beyond what the descriptor engine does: names of other objects become their
 * ids; what a patch may change. Follows the descriptors, never the input. Main loop only.
 */
#pragma once
#include "inventory/inventory.h"

/* Replaces every reference in `json` (also in lists and nested objects) by the id. ERROR_NOT_FOUND or
 * ERROR_AMBIGUOUS with the field's JSON pointer. */
bool reference_resolve(Inventory *inventory, const TypeDescriptor *type, json_t *json, Error *err);

/* Removes from `patch` what only repeats `current` and could not be changed: so that an object can be read,
 * edited and sent back whole. Items of lists are compared with the item of the same id. */
void patch_drop_repeated(const TypeDescriptor *type, json_t *patch, const json_t *current);
/* A merge patch as the schema allows it: known fields, right values, nothing that Lodge sets; null only where
 * a field may be absent. `patch` has gone through patch_drop_repeated. */
bool patch_check(const TypeDescriptor *type, const json_t *patch, Error *err);
/* Whether a complete definition is one that could have been created so. Ignores what Lodge sets. */
bool definition_check(const TypeDescriptor *type, const json_t *definition, Error *err);

/* Parameters in a query ("?force=true&timeout_s=5") as JSON by the type's fields; `except` is left out. A new
 * object. */
json_t *parameters_from_query(
    const TypeDescriptor *type, const GPtrArray *names, const GPtrArray *values, const char *except);
