/*
 * To which addresses a fetch may connect. Whoever may import names a URL and this host asks for it: the host
 * must not become a way to what only it can reach. Asked for every connection, after names were resolved, so
 * that redirects and changing names are covered. Any thread.
 */
#pragma once
#include <ifaddrs.h>
#include <stdbool.h>
#include <sys/socket.h>

/* Why not, as a short text; NULL when it may be. Refused: this machine itself (loopback, unspecified, and
 * every address of `own`, which may be NULL; waived by `allows_own`), link-local ones (cloud metadata),
 * multicast and broadcast, IPv4 dressed as IPv6 counts as what it is. Private networks are allowed: mirrors
 * live there. */
const char *address_refusal(const struct sockaddr *address, const struct ifaddrs *own, bool allows_own);
