/*
 * What the manager finds wrong with a host that its agent cannot see: a clock that differs, another version.
 */
#pragma once
#include "types.h"

/* Adds to `warnings`. `clock_ahead_ms`: of the host's clock before the manager's; 0 when it is not known. */
void host_advice_add(HostStatus *status, int64_t clock_ahead_ms);
