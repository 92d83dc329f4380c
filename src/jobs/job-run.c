/* What a step may ask of its run, and tell it. */
#include "jobs/jobs-private.h"

static const int64_t progress_interval_ns = NS_PER_S / 5;

Inventory *job_inventory(JobRun *run) {
    return run->jobs->inventory;
}

void *job_host(JobRun *run) {
    return run->jobs->host;
}

const Job *job_definition(const JobRun *run) {
    return &run->job;
}

const json_t *job_parameters(const JobRun *run) {
    return run->job.parameters;
}

static const JobStepKind *find_step(const JobKind *kind, const char *name) {
    for (size_t i = 0; kind && i < kind->n_steps; i++)
        if (g_str_equal(kind->steps[i].name, name))
            return &kind->steps[i];
    return NULL;
}

JobRun *run_new(Jobs *jobs, const Job *job) {
    JobRun *run = g_new0(JobRun, 1);
    const JobKind *kind = g_hash_table_lookup(jobs->kinds, job->kind);
    run->jobs = jobs;
    run->serial = ++jobs->next_serial;
    run->steps = g_new0(const JobStepKind *, job->steps.n + 1);
    for (size_t i = 0; i < job->steps.n; i++)
        run->steps[i] = find_step(kind, job->steps.items[i].name);
    job_copy(&run->job, job);
    g_hash_table_insert(jobs->runs, run->job.id, run);
    return run;
}

void run_free(void *data) {
    JobRun *run = data;
    job_clear(&run->job);
    g_free(run->steps);
    g_free(run->operation);
    g_free(run->ended_operation);
    g_free(run);
}

bool run_check_steps(const JobRun *run, Error *err) {
    for (size_t i = 0; i < run->job.steps.n; i++)
        if (!run->steps[i])
            return error_set(err, ERROR_UNSUPPORTED, NULL,
                "another version of Lodge made this job; this one does not know its step `%s`. What was done "
                "stays",
                run->job.steps.items[i].name);
    return true;
}

bool run_is_past_return(const JobRun *run) {
    size_t n_done = (size_t)run->job.step;
    bool can_undo = false;
    if (run->job.undoing)
        return false;
    for (size_t i = 0; i < n_done && run->steps[i]; i++) {
        if (run->steps[i]->has_no_way_back)
            return true;
        can_undo = can_undo || run->steps[i]->undo;
    }
    return n_done == run->job.steps.n && !can_undo;
}

bool job_is_cancelled(const JobRun *run) {
    return run->job.cancel_requested && !run->job.undoing && !run_is_past_return(run);
}

bool job_is_abandoned(const JobRun *run) {
    return run->is_abandoned;
}

bool job_is_undoing(const JobRun *run) {
    return run->job.undoing;
}

const char *job_operation(const JobRun *run) {
    return run->operation;
}

int64_t job_claim_revision(const JobRun *run, ResourceId kind, const char *id) {
    g_autofree char *object = g_strdup_printf("%s/%s", resources[kind].name, id);
    for (size_t i = 0; i < run->job.claims.n; i++)
        if (g_str_equal(run->job.claims.items[i].object, object))
            return run->job.claims.items[i].revision;
    return 0;
}

const json_t *job_data(const JobRun *run) {
    return run->job.data;
}

void job_remember(JobRun *run, const char *key, json_t *take_value) {
    if (!run->job.data)
        job_take_data(&run->job, json_object());
    json_object_set_new(run->job.data, key, take_value);
}

void job_forget(JobRun *run, const char *key) {
    json_object_del(run->job.data, key);
}

void job_result(JobRun *run, json_t *take_result) {
    job_take_result(&run->job, take_result);
}

void job_progress(JobRun *run, int percent, const char *phase) {
    Progress *progress = job_put_progress(&run->job);
    progress_set_percent(progress, CLAMP(percent, 0, 100));
    progress_set_phase(progress, phase);
    int64_t now = clock_monotonic_ns(clock_system());
    Job *shown = inventory_runtime(run->jobs->inventory, RESOURCE_JOB, run->job.id);
    if (!shown || now - run->progress_sent_ns < progress_interval_ns)
        return;
    run->progress_sent_ns = now;
    progress_set_percent(job_put_progress(shown), progress->percent);
    progress_set_phase(job_put_progress(shown), phase);
    inventory_runtime_changed(run->jobs->inventory, RESOURCE_JOB, run->job.id);
}

void job_on_cancel(JobRun *run, void (*on_cancel)(JobRun *run, void *data), void *data) {
    run->on_cancel = on_cancel;
    run->on_cancel_data = data;
    if (on_cancel && job_is_cancelled(run))
        on_cancel(run, data);
}
