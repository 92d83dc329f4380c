/*
 * The manager's view of the world: every definition from the store, decoded once, and beside it the runtime
 * state that agents report. Lists and look-ups are answered from here. Every change of a definition is a
 * store commit first; the object changes and an event is sent when it is durable.
 *
 * Main loop only. Objects are borrowed and valid until the main loop runs again.
 */
#pragma once
#include "model/method.h"
#include "store/store.h"

typedef struct Inventory Inventory;

typedef struct Object {
    ResourceId kind;
    char *id, *name;
    void *data;              /* the generated struct: Vm, Host, Pool… */
    int64_t mod_revision;    /* the store's; the compare of the next change */
    struct Object *namesake; /* the inventory's own: the next one of that name, while one takes it over */
} Object;

/* What changed, for the event stream: a definition (`created`, `changed`, `deleted`), runtime state, an audit
 * line. */
typedef void (*InventoryEventFn)(const Event *event, void *data);

Inventory *inventory_new(Store *store, const Clock *clock);
void inventory_free(Inventory *inventory);
/* Reads everything. Blocks; at start-up. */
bool inventory_load(Inventory *inventory, Error *err);
Store *inventory_store(Inventory *inventory);
const char *inventory_epoch(const Inventory *inventory); /* of the event sequence; new at each start */
int64_t inventory_sequence(const Inventory *inventory);  /* of the newest event */

/* By id, or by name where that is unique (jobs: also by the first 8 characters of the id). ERROR_NOT_FOUND,
 * ERROR_AMBIGUOUS; the message names kind and name. */
const Object *inventory_find(Inventory *inventory, ResourceId kind, const char *name_or_id, Error *err);
/* By id only; NULL when there is none. */
const Object *inventory_get(Inventory *inventory, ResourceId kind, const char *id);
/* All of a kind in the order of their names (jobs, events: of their making). Borrowed array of Object. */
const GPtrArray *inventory_list(Inventory *inventory, ResourceId kind);
/* The VMs whose definition names that host, in no order; borrowed. */
const GPtrArray *inventory_vms_on(Inventory *inventory, const char *host_id);
/* Whether one has that name; names ignore case. */
bool inventory_has_name(Inventory *inventory, ResourceId kind, const char *name);
/* True when a VM has that MAC; its id in *ret_vm_id (may be NULL), borrowed. */
bool inventory_has_mac(Inventory *inventory, const char *mac, const char **ret_vm_id);

/* A change of several definitions at once. Every object given is checked against the revision that this
 * inventory knows: who changed it meanwhile wins, and the commit fails with ERROR_PRECONDITION. */
typedef struct InventoryChange InventoryChange;
InventoryChange *inventory_change_new(Inventory *inventory);
void inventory_change_free(InventoryChange *change);
/* Copies `data`; sets its revision and times (`created` when new). With `expected_revision` >= 0 the object's
 * own `revision` must be that. */
void inventory_change_put(InventoryChange *change, ResourceId kind, const void *data);
void inventory_change_delete(InventoryChange *change, ResourceId kind, const char *id);
/* Who and what for: shown in events. Strings may be NULL. */
void inventory_change_by(InventoryChange *change, const char *principal, const char *job);
typedef void (*InventoryDoneFn)(const Error *err, void *data);
/* `done` (may be NULL) is called when it is durable, never before this returns. A change is visible in the
 * inventory at once after the commit, before `done`. */
void inventory_commit(Inventory *inventory, InventoryChange *take_change, InventoryDoneFn done, void *data);

/* Runtime state: changed in place by the caller, then announced. Not stored. NULL when there is no such
 * object. */
void *inventory_runtime(Inventory *inventory, ResourceId kind, const char *id);
void inventory_runtime_changed(Inventory *inventory, ResourceId kind, const char *id);
/* The same a moment later and once, however often it is asked for: for what changes in bursts, and for what
 * changes because of another event, which is sent to all first. */
void inventory_runtime_changed_soon(Inventory *inventory, ResourceId kind, const char *id);

/* Something for the audit; stored (bounded history). */
void inventory_audit(Inventory *inventory, const Event *event);
/* Events since `sequence` of this epoch that are still remembered (4,000, or 4 MiB of them); ERROR_TOO_OLD.
 * Then live ones by callback. */
bool inventory_replay(
    Inventory *inventory, int64_t sequence, InventoryEventFn callback, void *data, Error *err);
int inventory_subscribe(Inventory *inventory, InventoryEventFn callback, void *data);
void inventory_unsubscribe(Inventory *inventory, int subscription);

/* The object as clients see it (PUBLIC encoding), with names of what it refers to; a new reference. */
json_t *inventory_encode(Inventory *inventory, const Object *object);
/* Only these fields of it (MODEL_BIT); what follows from others may be there, too. */
json_t *inventory_encode_some(Inventory *inventory, const Object *object, uint64_t fields);
/* Exactly these, as text. Not of kinds of which something is computed: jobs and pools. */
void inventory_write(Inventory *inventory, const Object *object, uint64_t fields, GString *text);
bool inventory_can_write(ResourceId kind);
