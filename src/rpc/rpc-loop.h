/*
 * What all streams, listeners and connections of a process share, so that a turn of the main loop costs what
 * is ready, however many there are: one epoll descriptor and one queue of timers. Made when they are first
 * asked for, kept until the process ends. Main loop only.
 */
#pragma once
#include "base/poller.h"
#include "base/timers.h"

Poller *rpc_loop_poller(void);
Timers *rpc_loop_timers(void);
