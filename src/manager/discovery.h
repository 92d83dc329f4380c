/*
 * Looks for hosts at many addresses: a thread tries their ports, then each that answers is asked who it is,
 * some at a time. Main loop only.
 */
#pragma once
#include "inventory/inventory.h"
#include "manager/host-authority.h"

typedef struct Discovery Discovery;

/* Must outlive all discoveries. */
typedef struct DiscoveryMeans {
    Inventory *inventory;
    const HostAuthority *authority;
    RpcConnector *connector;
    struct WorkPool *pool; /* one thread for each discovery */
} DiscoveryMeans;

typedef void (*DiscoveryRowFn)(const FoundHost *row, void *data);
typedef void (*DiscoveryEndFn)(const Error *err, void *data);

/* Neither function is called before this returns; after on_end it is gone. ERROR_INVALID for addresses that
 * are not understood, ERROR_TOO_LARGE for too many, ERROR_BUSY. */
Discovery *discovery_begin(const DiscoveryMeans *means, const HostDiscover *asked, DiscoveryRowFn on_row,
    DiscoveryEndFn on_end, void *data, Error *err);
void discovery_end(Discovery *discovery); /* early: without on_end */
