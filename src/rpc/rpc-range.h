/*
 * Many addresses from what people write: names, `192.0.2.7`, `192.0.2.7:7000`, ranges (`192.0.2.5-40`,
 * `192.0.2.5-192.0.3.9`), networks (`192.0.2.0/24`, `2001:db8::/120`). Pure but for names, which stay names
 * here. Any thread.
 */
#pragma once
#include "rpc/rpc-address.h"

enum { RPC_RANGE_MOST = 65536 };

/* What is to be asked: each address once, in the order in which it was first named. */
typedef struct RpcTargets {
    GArray *addresses; /* RpcTarget */
    GHashTable *seen;
} RpcTargets;

typedef struct RpcTarget {
    RpcSocketAddress socket; /* without a length: `host` is a name that is not resolved yet */
    char *host;              /* as it was written or, of networks and ranges, as it is written */
    uint16_t port;
    bool is_named; /* written by itself, not as part of a network or range */
} RpcTarget;

void rpc_targets_init(RpcTargets *targets);
void rpc_targets_clear(RpcTargets *targets);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RpcTargets, rpc_targets_clear)

/* Adds what the text says. Of a network of IPv4 its own and its broadcast address are left out, unless it has
 * one or two addresses. ERROR_INVALID with what is wrong, ERROR_TOO_LARGE beyond RPC_RANGE_MOST in all. */
bool rpc_targets_add(RpcTargets *targets, const char *text, Error *err);
