/* What fleet.c (connections, calls) and fleet-stream.c share. Nobody else includes it. */
#pragma once
#include "manager/fleet.h"

/* Where a host's agent is, and whom a connection must lead to; owned. */
typedef struct FleetPlace {
    FleetNetwork network;
    RpcAddress address;
    char *id, *key;
} FleetPlace;

/* False when the host is not known. */
bool fleet_place_of(const Fleet *fleet, const char *host_id, FleetPlace *ret_place);
