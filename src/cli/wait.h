/*
 * Waiting for a job: a bar on a terminal, else a line for each phase, both on standard error. The first
 * ctrl-C asks the job to stop, the second leaves it alone. Blocking; the program's only thread (SIGINT is
 * blocked meanwhile).
 */
#pragma once
#include "cli/session.h"

/* Polls until the job has ended; *ret_job is its last state, also when it failed: then the error is the
 * job's. `timeout_s` 0: for ever; ERROR_TIMED_OUT otherwise, and the job goes on. */
bool wait_for_job(Session *session, const json_t *job, int64_t timeout_s, json_t **ret_job, Error *err);
