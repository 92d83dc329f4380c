/*
 * Durable jobs and their claims. A job is a kind (a table of steps, registered by name), parameters and a
 * target; it is committed before it starts, each step before it runs and after it ends. After a crash the
 * step that was under way runs again with the same operation id: steps are written so that this ends in the
 * same state. A failure or a cancel runs the `undo` of the steps that were done, last first. A cancel comes
 * too late when a step from which there is no way back is done, or all are and none can be undone.
 *
 * A job keeps the steps that it was made with; each is found by its name when it runs. A version of Lodge
 * that has more steps for the kind runs what the job lists; one that lacks a step fails the job with
 * ERROR_UNSUPPORTED before it goes on, and what was done stays.
 *
 * A record has STORE_MAX_BYTES at most. One that outgrows them (by its result, or what its steps remember) is
 * stored without these, and an unfinished job fails then with ERROR_TOO_LARGE and stays where it is.
 *
 * Main loop only. A step calls back with job_step_done or job_step_failed, now or much later, exactly once.
 */
#pragma once
#include "inventory/inventory.h"

typedef struct Jobs Jobs;
typedef struct JobRun JobRun; /* a job that works now */

typedef struct JobStepKind {
    const char *name;
    const char *description; /* "Makes the disks" */
    void (*run)(JobRun *run);
    void (*undo)(JobRun *run); /* NULL: nothing to undo */
    /* Once it is done the job goes on to its end, cancelled or not: half of it would be worse than all. */
    bool has_no_way_back;
} JobStepKind;

/* What a submission asks for; borrowed during `prepare`. */
typedef struct JobRequest {
    ResourceId target_kind;
    const Object *target;           /* NULL for a method without object */
    const json_t *parameters;       /* decoded and encoded again by the schema; references resolved to ids */
    const char *principal, *source; /* who, and from where; for the audit */
} JobRequest;

typedef struct JobKind {
    const char *name; /* the method: "vm.create" */
    const JobStepKind *steps;
    size_t n_steps;
    /* Refuses what cannot be done before anything starts; adds claims with job_claim_add; sets target_name.
     * Pure. */
    bool (*prepare)(Inventory *inventory, const JobRequest *request, Job *job, Error *err);
    /* A kind of jobs that are cancelled when this one has to wait for them and both have the same target: who
     * pulls the plug does not wait until the guest has been asked politely. NULL: none. */
    const char *displaces;
} JobKind;

/* `host` is handed to every step (job_host). Blocks; NULL when the store cannot be written. */
Jobs *jobs_new(Inventory *inventory, const JobKind *const *kinds, size_t n_kinds, void *host, Error *err);
/* No step begins or ends any more: what is under way is done again at the next start, as after a crash.
 * Before that is taken away what steps wait for, and which may answer then that it is gone. */
void jobs_stop(Jobs *jobs);
/* Running jobs stay in the store and go on at the next start. Closes the store first, because the call-backs
 * of its last commits need the jobs. Both accept NULL. */
void jobs_free(Jobs *jobs, Store *take_store);
/* `settled` is told of each step whose end is durable: its operation will never be asked for again. NULL: of
 * none from now on. */
void jobs_on_settled(Jobs *jobs, void (*settled)(const char *operation, void *data), void *data);
/* Takes up all jobs that have not ended; when the store was restored since (its epoch grew), marks them as
 * lost instead and releases their claims. Call once, when hosts can be asked. */
void jobs_resume(Jobs *jobs);

/* Another identity of the store (store_become), under which open jobs go on. Blocks. */
bool jobs_become(Jobs *jobs, const char *uuid, int64_t epoch, Error *err);

/* `done` gets the id of the stored job, or the error that refused it. With a known idempotency key: the
 * earlier job; ERROR_CONFLICT when that was asked for something else, ERROR_BUSY while it is being stored.
 * The end of a job without parent is an audit line. */
typedef void (*JobSubmitFn)(const char *job_id, const Error *err, void *data);
void job_submit(Jobs *jobs, const char *kind, const JobRequest *request, const char *idempotency_key,
    JobSubmitFn done, void *data);
/* What a submission would do, without doing it: {"steps":[…],"claims":[…],"objects":[…]}; NULL with the
 * error. */
json_t *job_dry_run(Jobs *jobs, const char *kind, const JobRequest *request, Error *err);
/* The step that is under way is told: it ends with ERROR_CANCELLED, or after all. ERROR_WRONG_STATE when the
 * job has ended or cannot go back any more. */
bool job_cancel(Jobs *jobs, const char *job_id, Error *err);
/* The job fails at once and its claims are free. The step that is under way is told to cancel and its
 * outcome is ignored; children are cancelled and no more are made. ERROR_WRONG_STATE unless it has started
 * and not ended. */
bool job_break(Jobs *jobs, const char *job_id, const char *reason, Error *err);
bool jobs_has_kind(const Jobs *jobs, const char *kind);

/* For `prepare`. An object that is claimed twice is claimed exclusively unless both share it. */
void job_claim_add(Job *job, ResourceId kind, const char *id, bool shared, const char *reason);
/* For `prepare`: one of at most `limit` jobs that hold it at a time; an object of its own, that nobody claims
 * otherwise. */
void job_claim_one_of(Job *job, ResourceId kind, const char *id, int64_t limit, const char *reason);
/* For `prepare`: the job does without that step of its kind. */
void job_leave_out(Job *job, const char *step);

/* For steps. */
Inventory *job_inventory(JobRun *run);
void *job_host(JobRun *run);
const Job *job_definition(const JobRun *run);
const json_t *job_parameters(const JobRun *run);
bool job_is_cancelled(const JobRun *run);
/* Its claims were broken: what is not sent yet must not be. */
bool job_is_abandoned(const JobRun *run);
bool job_is_undoing(const JobRun *run);
/* Stable for this step across crashes: "<job>/<step>", with "/undo" while going back. Borrowed. */
const char *job_operation(const JobRun *run);
/* The revision of the claim that this job holds on an object; 0 when it holds none. */
int64_t job_claim_revision(const JobRun *run, ResourceId kind, const char *id);
/* What steps remember for each other; stored with the next step. */
const json_t *job_data(const JobRun *run);
void job_remember(JobRun *run, const char *key, json_t *take_value);
void job_forget(JobRun *run, const char *key);
void job_result(JobRun *run, json_t *take_result);
/* jobs_become, by a step. */
bool job_becomes(JobRun *run, const char *uuid, int64_t epoch, Error *err);
void job_progress(JobRun *run, int percent, const char *phase);
/* Called once when the job is cancelled while this step runs; cleared at the step's end. */
void job_on_cancel(JobRun *run, void (*on_cancel)(JobRun *run, void *data), void *data);
/* A child: done is called when it has ended. Its id is remembered, so that the same step finds it after a
 * crash. */
void job_child(JobRun *run, const char *name, const char *kind, const JobRequest *request,
    void (*done)(JobRun *run, const Job *child, void *data), void *data);
void job_step_done(JobRun *run);
void job_step_failed(JobRun *run, const Error *err);
