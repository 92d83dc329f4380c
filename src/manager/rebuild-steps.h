/*
 * Inside of the job system.rebuild: its steps, and what they leave for each other in the job's data:
 * "found" [{address, id, key?, name, driver?}], "not_found" [{address, name?, reason, advice?}] hosts;
 * "moves" {vm: {from, to, left, working}}; "taken" [{id, name}] hosts.
 */
#pragma once
#include "manager/fleet.h"

/* Looks for the hosts, and raises the epoch above what any of them has seen. */
void rebuild_find(JobRun *run);
/* Owns them, and stores what they keep: pools, networks, repositories, then the hosts themselves. */
void rebuild_take(JobRun *run);
/* {address, name, reason, advice} for "not_found"; what is NULL is left out. */
void rebuild_tell_lost(
    json_t *list, const char *address, const char *name, const char *reason, const char *advice);
