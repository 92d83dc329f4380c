/*
 * Runs a method of the API for the command line: sends it, waits for its job, shows what came of it. One
 * thread.
 */
#pragma once
#include "cli/arguments.h"
#include "cli/session.h"

bool run_method(const Arguments *arguments, Session *session, Error *err);
