/*
 * Waiting for a job: a bar on a terminal, else a line for each phase, both on standard error. ctrl-C ends the
 * waiting, never the job. Blocking; the program's only thread (SIGINT is blocked meanwhile).
 */
#pragma once
#include "cli/session.h"

/* Polls until the job has ended; *ret_job is its last state, also when it failed: then the error is the
 * job's. `timeout_s` 0: for ever; ERROR_TIMED_OUT otherwise, and the job goes on. ERROR_CANCELLED with a job
 * that has not ended: the user has had enough. */
bool wait_for_job(Session *session, const json_t *job, int64_t timeout_s, json_t **ret_job, Error *err);
bool wait_has_ended(const json_t *job);
/* What to do about a job that goes on without being waited for. Newly allocated. */
char *wait_advice(const json_t *job);
