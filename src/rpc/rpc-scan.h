/*
 * Which of many addresses accept a connection on some ports, by non-blocking connects on one epoll
 * descriptor. Blocks: for a thread of its own; one scan a thread.
 */
#pragma once
#include <stddef.h>
#include "base/cancel.h"
#include "rpc/rpc-address.h"

/* What a machine without an agent may offer: well-known ports (IANA's registry of service names). */
enum { RPC_SERVICES = 3 };
typedef struct RpcService {
    uint16_t port;
    const char *name;
} RpcService;
extern const RpcService rpc_services[RPC_SERVICES];

typedef enum RpcReach {
    RPC_REACH_OPEN,    /* something accepted the connection; it was closed at once */
    RPC_REACH_REFUSED, /* the machine is there, and nobody listens */
    RPC_REACH_SILENT,  /* no answer in time */
    RPC_REACH_NO_WAY,  /* no route, or the network says so */
} RpcReach;

typedef struct RpcScanOptions {
    int most_at_once;  /* connects under way; 0: 1024 */
    int most_a_second; /* that begin; 0: no limit */
    int timeout_ms;    /* for each; 0: 1500 */
    Cancel *cancel;    /* may be NULL */
    /* In the scan's thread, once for each address that was tried, in the order in which they end. */
    void (*on_result)(size_t index, RpcReach reach, void *data);
    void *data;
} RpcScanOptions;

/* Ports stand in the addresses. ERROR_CANCELLED, ERROR_IO without descriptors. */
bool rpc_scan(const RpcSocketAddress *addresses, size_t n, const RpcScanOptions *options, Error *err);
