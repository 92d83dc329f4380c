/*
 * How a network is as a whole, from how it is on each host of its pool. Pure. Any thread.
 */
#pragma once
#include "types.h"

/* That row; NULL: there is none. Borrowed. */
NetworkHost *network_state_of_host(const NetworkStatus *status, const char *host_name);
/* Sets state and reason from the rows. Hosts that nothing is known of count for nothing: one that is away
 * does not make a network worse. */
void network_state_sum(NetworkStatus *status);
