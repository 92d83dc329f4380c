/*
 * Where an agent listens: `unix:PATH`, or a host and a port: `node-7`, `node-7.example.org:7444`,
 * `192.0.2.7`, `[2001:db8::7]:7444`, `2001:db8::7`. Any thread.
 */
#pragma once
#include <stdint.h>
#include <sys/socket.h>
#include "base/error.h"

enum { RPC_PORT = 7444 };

typedef struct RpcAddress {
    char *path; /* of a UNIX socket, absolute; or NULL and: */
    char *host; /* a name or a numeric address without brackets, in small letters */
    uint16_t port;
} RpcAddress;
void rpc_address_clear(RpcAddress *address);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RpcAddress, rpc_address_clear)

/* The port is RPC_PORT when it is not given. ERROR_INVALID for /address. */
bool rpc_address_parse(const char *text, RpcAddress *ret_address, Error *err);
/* As it is read again, always with the port; newly allocated. */
char *rpc_address_text(const RpcAddress *address);

/* One that can be connected to. */
typedef struct RpcSocketAddress {
    struct sockaddr_storage storage;
    socklen_t length;
} RpcSocketAddress;
/* Without asking anyone; false when the host is a name. */
bool rpc_address_is_numeric(const RpcAddress *address, RpcSocketAddress *ret_address);
/* One that no other machine can reach: in 127.0.0.0/8. */
bool rpc_address_is_own(const RpcSocketAddress *address);
/* Asks the system's resolver: blocks. RpcSocketAddress, in the order in which to try them; at most 16.
 * ERROR_UNREACHABLE when there is none. */
bool rpc_address_resolve(const RpcAddress *address, GArray **ret_addresses, Error *err);
