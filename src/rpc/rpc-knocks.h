/*
 * How often somebody may knock at a port: a number at once for each address (IPv6: for each /64, which one
 * machine may have to itself), and so many a second after that. Bounded: of more addresses than it remembers
 * those that knocked longest ago are forgotten. Main loop only.
 */
#pragma once
#include <sys/socket.h>
#include "base/clock.h"

typedef struct RpcKnocks RpcKnocks;

/* `at_once` and `a_second` at least 1. */
RpcKnocks *rpc_knocks_new(int at_once, int a_second, const Clock *clock);
void rpc_knocks_free(RpcKnocks *knocks); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RpcKnocks, rpc_knocks_free)
/* Counts one more; whether it is let in. */
bool rpc_knocks_take(RpcKnocks *knocks, const struct sockaddr_storage *from);
