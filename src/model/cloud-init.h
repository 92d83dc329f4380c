/*
 * What shows at a glance to be no cloud-init input: a guest that cannot read it comes up without its user or
 * without any network. The same rules before anything starts and where the seed medium is written. Formats:
 * cloud-init's documentation, "User data formats" and "Networking config version 2". Any thread.
 */
#pragma once
#include <stdbool.h>
#include "base/error.h"

enum { CLOUD_INIT_USER_DATA_LIMIT = 512 * 1024, CLOUD_INIT_NETWORK_LIMIT = 16 * 1024 }; /* bytes */

/* ERROR_INVALID at /user_data. */
bool cloud_init_check_user_data(const char *text, Error *err);
/* ERROR_INVALID at /network_config. */
bool cloud_init_check_network_config(const char *text, Error *err);
