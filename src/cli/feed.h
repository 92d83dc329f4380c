/* Shows rows that the server finds one after the other, as they come. Blocking; one thread. */
#pragma once
#include "cli/arguments.h"
#include "cli/session.h"

/* A table that fills for people; `-o json`: an array in the end; with columns or as CSV a line each. */
bool feed_run(Session *session, const Arguments *arguments, const MethodDescriptor *method, Error *err);
