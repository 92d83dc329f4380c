/* Inside of src/jobs: what jobs.c and job-run.c share. */
#pragma once
#include "jobs/claims.h"
#include "jobs/jobs.h"

struct Jobs {
    Inventory *inventory;
    GHashTable *kinds; /* name -> JobKind */
    void *host;
    Claims *claims;
    GHashTable *runs;        /* id -> JobRun, from its start to its end */
    GQueue *queued;          /* ids in the order of asking */
    GHashTable *idempotency; /* "principal/key" -> job id */
    GHashTable *waiters;     /* child id -> GPtrArray of Waiter */
    int64_t next_revision, last_revision, next_serial;
    guint start_source, trim_source;
    void (*settled)(const char *operation, void *data);
    void *settled_data;
    GQueue *failed_saves; /* Save, tried again by save_source */
    guint save_source;
    bool is_stopping;
};

struct JobRun {
    Jobs *jobs;
    const JobStepKind **steps; /* one for each of the job's; NULL: of another version of Lodge */
    Job job;                   /* our copy; the inventory has the last committed one */
    int64_t serial;            /* tells it from a later run of the same job */
    char *operation;
    char *ended_operation; /* of a step whose end is not durable yet */
    void (*on_cancel)(JobRun *run, void *data);
    void *on_cancel_data;
    int64_t progress_sent_ns;
    int n_cuts;        /* how often its record was made smaller, because the store refused it */
    bool is_in_step;   /* a step's function has been called and has not called back */
    bool is_abandoned; /* its claims were broken: what comes back is ignored */
};

static inline bool job_has_ended(const Job *job) {
    return job->state >= JOB_STATE_SUCCEEDED;
}

/* ---- job-save.c ---- */

/* Commits the run's record; `then` is called when it is durable, unless the run is gone by then. A record
 * that the store never takes loses what makes it large, and ends the job (run_give_up). */
void job_save(JobRun *run, void (*then)(JobRun *run));
void job_saves_free(Jobs *jobs); /* those that failed and would be tried again */

/* ---- jobs.c ---- */

/* The job fails at once. */
void run_give_up(JobRun *run, const Error *err);

/* ---- job-run.c ---- */

/* A run of the job's own plan: the steps that it was made with, each found by its name. Another version of
 * Lodge may have other steps for the same kind; those are for jobs that are made from now on. */
JobRun *run_new(Jobs *jobs, const Job *job);
void run_free(void *run);
/* ERROR_UNSUPPORTED when this version lacks one of its steps, or its kind. */
bool run_check_steps(const JobRun *run, Error *err);
/* Whether a cancel comes too late. */
bool run_is_past_return(const JobRun *run);
