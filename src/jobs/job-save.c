/* Records of jobs on their way into the store. */
#include "base/log.h"
#include "jobs/jobs-private.h"

enum { SAVE_RETRY_MS = 2000 };

typedef struct Save {
    Jobs *jobs;
    char *job_id;
    int64_t serial;
    void (*then)(JobRun *run);
} Save;

static void save_free(void *data) {
    Save *save = data;
    g_free(save->job_id);
    g_free(save);
}

/* The run that a save belongs to, unless its claims were broken meanwhile. */
static JobRun *run_of(const Save *save) {
    JobRun *run = g_hash_table_lookup(save->jobs->runs, save->job_id);
    return run && run->serial == save->serial ? run : NULL;
}

static void commit_save(Save *take_save);

static gboolean save_again(void *data) {
    Jobs *jobs = data;
    jobs->save_source = 0;
    for (guint n = g_queue_get_length(jobs->failed_saves); n > 0; n--)
        commit_save(g_queue_pop_head(jobs->failed_saves));
    return G_SOURCE_REMOVE;
}

/* A full disk, say: the job stands still until its decision is durable. */
static void save_later(Save *save, const Error *err) {
    Jobs *jobs = save->jobs;
    if (!jobs->save_source) {
        log_warning("job %s is not saved yet: %s", save->job_id, err->message);
        jobs->save_source = g_timeout_add(SAVE_RETRY_MS, save_again, jobs);
    }
    g_queue_push_tail(jobs->failed_saves, save);
}

/* The same record will never be taken. */
static bool is_hopeless(const Error *err) {
    return err->code == ERROR_TOO_LARGE || err->code == ERROR_INVALID;
}

/* What may be large goes: first what the job itself added, then what it was submitted with. */
static bool cut(JobRun *run) {
    switch (run->n_cuts++) {
    case 0:
        job_take_result(&run->job, NULL);
        job_take_data(&run->job, NULL);
        return true;
    case 1:
        job_take_parameters(&run->job, NULL);
        return true;
    default:
        return false;
    }
}

static void tell_settled(JobRun *run) {
    g_autofree char *operation = g_steal_pointer(&run->ended_operation);
    if (operation && run->jobs->settled)
        run->jobs->settled(operation, run->jobs->settled_data);
}

static void saved(const Error *err, void *data) {
    Save *save = data;
    JobRun *run = run_of(save);
    if (!err && run)
        tell_settled(run);
    if (err && run && is_hopeless(err) && cut(run)) {
        log_warning("job %s is stored without all of its record: %s", save->job_id, err->message);
        if (job_has_ended(&run->job)) {
            commit_save(save);
            return;
        }
        run_give_up(run, err); /* its steps need what is gone now */
    } else if (err && run) {
        save_later(save, err);
        return;
    } else if (run && save->then && !save->jobs->is_stopping) {
        save->then(run);
    }
    save_free(save);
}

static void commit_save(Save *take_save) {
    JobRun *run = run_of(take_save);
    if (!run) {
        save_free(take_save);
        return;
    }
    InventoryChange *change = inventory_change_new(run->jobs->inventory);
    inventory_change_put(change, RESOURCE_JOB, &run->job);
    inventory_change_by(change, run->job.principal, run->job.id);
    inventory_commit(run->jobs->inventory, change, saved, take_save);
}

void job_save(JobRun *run, void (*then)(JobRun *run)) {
    Save *save = g_new0(Save, 1);
    *save = (Save){run->jobs, g_strdup(run->job.id), run->serial, then};
    commit_save(save);
}

void job_saves_free(Jobs *jobs) {
    g_clear_handle_id(&jobs->save_source, g_source_remove);
    g_queue_free_full(jobs->failed_saves, save_free);
}
