/*
 * What stays of a network when libvirt's daemon is killed while it makes or removes one: a bridge with an
 * address, a DHCP server. libvirt has no record of it then, and would refuse to make the network again. Any
 * thread.
 */
#pragma once
#include "base/error.h"

/* The address that our bridges have on this network: the same at every start, locally administered, made from
 * the network's id. Newly allocated. */
char *network_bridge_mac(const char *network_id);

/* Removes the bridge and the DHCP server of a network that libvirt does not know; nothing there is no error.
 * `name` is libvirt's name of the network. A bridge with another MAC than `mac` is not ours and stays.
 * ERROR_IN_USE when guests are still plugged into it. */
bool network_remains_remove(const char *name, const char *bridge, const char *mac, Error *err);
