/*
 * A serial console in the terminal, over a WebSocket. ctrl-] leaves, also when it comes through a pipe; the
 * end of a pipe does not, so that the output can be read on. Blocking; one thread.
 */
#pragma once
#include "cli/session.h"

bool console_run(Session *session, const char *path, const char *name, Error *err);
