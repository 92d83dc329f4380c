/* Shows server-sent events until the user stops it. Blocking; one thread. */
#pragma once
#include "cli/session.h"
#include "model/method.h"

/* A line for each event; `-o json`: each as JSON in one line. When the connection breaks it continues after
 * the last event; ends with ERROR_UNREACHABLE when the server stays away. When events are lost (the manager
 * was started anew) `-o json` ends with ERROR_TOO_OLD, people get a line on standard error and what follows.
 */
bool watch_events(Session *session, const CliOptions *options, const MethodDescriptor *method, Error *err);
