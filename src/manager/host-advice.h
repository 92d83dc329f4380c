/*
 * What the manager finds wrong with a host that its agent cannot see: a clock that differs, another version.
 */
#pragma once
#include "types.h"

/* Adds to `warnings`. `clock_ahead_ms`: of the host's clock before the manager's; 0 when it is not known. */
void host_advice_add(HostStatus *status, int64_t clock_ahead_ms);
/* By how much a host's clock is ahead when it told its time to who asked at `asked_ns` and knew at
 * `answered_ns` (nanoseconds since 1970): as if it had answered in the middle. 0 for what is no time. */
int64_t host_clock_ahead_ms(int64_t host_ns, int64_t asked_ns, int64_t answered_ns);
