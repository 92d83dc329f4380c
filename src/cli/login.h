/* `lodge login URL`: pins the server's authority and trades name and password for a token. Blocking; one
 * thread. */
#pragma once
#include "cli/arguments.h"

bool login_run(const Arguments *arguments, Error *err);
