/*
 * Networks on the hosts of their pool. Each host that answers is told of them: it makes a NAT network, and
 * looks for the bridge of the others. What came of it stands in the network's status, a row for each host. A
 * host is told again when it connects or joins the pool, when a network comes or changes, and every half
 * minute as long as it failed there, because bridges are made by people. Main loop only.
 */
#pragma once
#include "manager/fleet.h"

typedef struct NetworkHosts NetworkHosts;

/* Shows at once that nothing is known yet. Borrows both. */
NetworkHosts *network_hosts_new(Inventory *inventory, Fleet *fleet);
/* After the fleet, whose open calls end then, and before the inventory. Accepts NULL. */
void network_hosts_free(NetworkHosts *self);
/* For fleet_on_connected. */
void network_hosts_connected(NetworkHosts *self, const char *host_id);

/* Whether it is to be on the host. `opened` is the network as it is there (NULL with the error). */
typedef void (*NetworkAppliedFn)(const char *host_id, const Network *opened, const Error *err, void *data);
typedef enum NetworkWish { NETWORK_HERE, NETWORK_GONE } NetworkWish;
/* Tells one host of a network that may not be listed yet, and shows what came of it where it is. `done` (may
 * be NULL) is called once, perhaps before this returns: ERROR_UNREACHABLE when the host is away. */
void network_apply(Fleet *fleet, Inventory *inventory, const Network *network, const char *host_id,
    NetworkWish wish, NetworkAppliedFn done, void *data);

/* Ids of the hosts of a pool (NULL: of all) that answer, by name; borrowed until the inventory changes. */
GPtrArray *network_hosts_of(Inventory *inventory, const char *pool_id);
/* The definition as that host is told it: with the bridge that it has there. A new reference. */
json_t *network_definition(const Network *network, const char *host_id);
/* ERROR_CONFLICT when the host is known to lack a network that a NIC of the VM is plugged into. */
bool vm_networks_are_on(Inventory *inventory, const Vm *vm, const Host *host, Error *err);
