/* What the control domain of a host may keep for itself. Pure; any thread. */
#pragma once
#include "types.h"

/* By what the host reports of itself. ERROR_UNSUPPORTED at /control where there is no control domain,
 * ERROR_INVALID with the field when the machine cannot spare that. */
bool host_control_check(const HostControl *wanted, const HostStatus *host, Error *err);
