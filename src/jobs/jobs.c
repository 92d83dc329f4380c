/*
 * The life of a job, in the order in which it happens: submitted, queued for its claims, started, step by
 * step forward, perhaps step by step back, ended. Each arrow is a commit of the job's record; the next thing
 * happens only when the commit is durable.
 */
#include <string.h>
#include "base/heap.h"
#include "base/log.h"
#include "jobs/jobs-private.h"
#include "jobs/job-audit.h"
#include "model/format.h"

enum { MAX_ENDED_JOBS = 10000, TRIM_AFTER_MS = 5000, START_RETRY_MS = 2000 };
/* Claim revisions are taken from a block that the store remembers as used, so that they never repeat. */
enum { REVISION_BLOCK = 1000000, MOST_CLAIMS = 1000 };
#define REVISION_KEY "meta/claim-revision"
#define EPOCH_KEY "meta/jobs-epoch" /* the store's, when its jobs were last taken up */

typedef struct Waiter {
    JobRun *run;
    void (*done)(JobRun *run, const Job *child, void *data);
    void *data;
} Waiter;

static void run_step(JobRun *run);
static void begin(JobRun *run);

/* ---- set-up ---- */

static char *idempotency_name(const char *principal, const char *key) {
    return g_strdup_printf("%s\n%s", principal ? principal : "", key);
}

static void remember_keys(Jobs *jobs) {
    const GPtrArray *list = inventory_list(jobs->inventory, RESOURCE_JOB);
    for (guint i = 0; i < list->len; i++) {
        const Job *job = ((const Object *)list->pdata[i])->data;
        if (job->idempotency_key)
            g_hash_table_replace(
                jobs->idempotency, idempotency_name(job->principal, job->idempotency_key), g_strdup(job->id));
    }
}

static int64_t stored_number(Store *store, const char *key, int64_t when_missing) {
    g_auto(StoreItem) item = {0};
    if (!store_get(store, key, &item, NULL))
        return when_missing;
    g_autofree char *text = g_strndup(g_bytes_get_data(item.value, NULL), g_bytes_get_size(item.value));
    return g_ascii_strtoll(text, NULL, 10);
}

static bool reserve_revisions(Jobs *jobs, Error *err) {
    Store *store = inventory_store(jobs->inventory);
    int64_t used = stored_number(store, REVISION_KEY, 0);
    g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, used + REVISION_BLOCK);
    StoreTransaction *transaction = store_transaction_new();
    store_transaction_put(transaction, REVISION_KEY, text, strlen(text), 0);
    if (!store_commit_wait(store, transaction, NULL, err))
        return error_wrap(err, ERROR_NONE, "claim revisions cannot be reserved");
    jobs->next_revision = used + 1;
    jobs->last_revision = used + REVISION_BLOCK;
    return true;
}

Jobs *jobs_new(Inventory *inventory, const JobKind *const *kinds, size_t n_kinds, void *host, Error *err) {
    Jobs *jobs = g_new0(Jobs, 1);
    jobs->inventory = inventory;
    jobs->host = host;
    jobs->kinds = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t i = 0; i < n_kinds; i++)
        g_hash_table_insert(jobs->kinds, (void *)kinds[i]->name, (void *)kinds[i]);
    jobs->claims = claims_new();
    jobs->runs = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, run_free);
    jobs->queued = g_queue_new();
    jobs->failed_saves = g_queue_new();
    jobs->idempotency = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    jobs->waiters = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
    remember_keys(jobs);
    if (reserve_revisions(jobs, err))
        return jobs;
    jobs_free(jobs, NULL);
    return NULL;
}

void jobs_stop(Jobs *jobs) {
    jobs->is_stopping = true;
}

void jobs_free(Jobs *jobs, Store *take_store) {
    store_close(take_store);
    if (!jobs)
        return;
    g_clear_handle_id(&jobs->start_source, g_source_remove);
    job_saves_free(jobs);
    g_clear_handle_id(&jobs->trim_source, g_source_remove);
    g_hash_table_unref(jobs->waiters);
    g_hash_table_unref(jobs->idempotency);
    g_queue_free_full(jobs->queued, g_free);
    g_hash_table_unref(jobs->runs);
    claims_free(jobs->claims);
    g_hash_table_unref(jobs->kinds);
    g_free(jobs);
}

void jobs_on_settled(Jobs *jobs, void (*settled)(const char *operation, void *data), void *data) {
    jobs->settled = settled;
    jobs->settled_data = data;
}

bool jobs_has_kind(const Jobs *jobs, const char *kind) {
    return g_hash_table_contains(jobs->kinds, kind);
}

/* ---- 1. submitted ---- */

typedef struct Submission {
    Jobs *jobs;
    char *job_id, *key;
    Error refusal; /* set when it was refused */
    JobSubmitFn done;
    void *data;
} Submission;

static void try_starting(Jobs *jobs);

static void submission_free(Submission *submission) {
    g_free(submission->job_id);
    g_free(submission->key);
    error_clear(&submission->refusal);
    g_free(submission);
}

static void submitted(const Error *err, void *data) {
    Submission *submission = data;
    Jobs *jobs = submission->jobs;
    const Object *object = err ? NULL : inventory_get(jobs->inventory, RESOURCE_JOB, submission->job_id);
    if (err && submission->key)
        g_hash_table_remove(jobs->idempotency, submission->key);
    if (object) {
        claims_wait(jobs->claims, object->data);
        g_queue_push_tail(jobs->queued, g_strdup(submission->job_id));
    }
    submission->done(err ? NULL : submission->job_id, err, submission->data);
    submission_free(submission);
    try_starting(jobs);
}

/* Known already, or refused: never before submit() has returned. */
static gboolean answer_now(void *data) {
    Submission *submission = data;
    bool is_refused = error_is_set(&submission->refusal);
    submission->done(submission->job_id, is_refused ? &submission->refusal : NULL, submission->data);
    submission_free(submission);
    return G_SOURCE_REMOVE;
}

static bool prepare(Jobs *jobs, const char *name, const JobRequest *request, Job *job, Error *err) {
    const JobKind *kind = g_hash_table_lookup(jobs->kinds, name);
    if (!kind)
        return error_set(err, ERROR_UNSUPPORTED, NULL, "%s is not possible in this version", name);
    g_autofree char *id = uuid_new();
    job_set_id(job, id);
    job_set_kind(job, name);
    job_set_state(job, JOB_STATE_QUEUED);
    job_set_principal(job, request->principal);
    job_set_source(job, request->source);
    job_take_parameters(job, request->parameters ? json_deep_copy(request->parameters) : json_object());
    if (request->target) {
        g_autofree char *target =
            g_strdup_printf("%s/%s", resources[request->target->kind].name, request->target->id);
        job_set_target(job, target);
        job_set_target_name(job, request->target->name);
    }
    for (size_t i = 0; i < kind->n_steps; i++) {
        JobStep *step = job_add_steps(job);
        job_step_set_name(step, kind->steps[i].name);
        job_step_set_description(step, kind->steps[i].description);
        job_step_set_state(step, "pending");
    }
    if (kind->prepare && !kind->prepare(jobs->inventory, request, job, err))
        return false;
    /* A record with more could not be read again. */
    return job->claims.n <= (size_t)model_field(&job_type, "claims")->max_items ||
           error_set(err, ERROR_TOO_LARGE, NULL, "it would need %zu claims", job->claims.n);
}

/* A key stands for one request. A child's is made from its parent, which asks again after a crash. */
static bool is_same_request(
    Jobs *jobs, const char *job_id, const char *kind, const JobRequest *request, Error *err) {
    const Object *object = inventory_get(jobs->inventory, RESOURCE_JOB, job_id);
    const Job *job = object ? object->data : NULL;
    if (!job)
        return error_set(err, ERROR_BUSY, NULL, "the first request with this Idempotency-Key is under way");
    g_autoptr(json_t) asked = request->parameters ? json_deep_copy(request->parameters) : json_object();
    const char *slash = job->target ? strchr(job->target, '/') : NULL;
    bool is_target = !request->target || (slash && g_str_equal(slash + 1, request->target->id));
    if (g_str_equal(job->kind, kind) && is_target && json_equal(job->parameters, asked))
        return true;
    return error_set(
        err, ERROR_CONFLICT, NULL, "this Idempotency-Key was used for another request: job %.8s", job_id);
}

static void submit(Jobs *jobs, const char *kind, const JobRequest *request, const char *parent,
    const char *key, JobSubmitFn done, void *data) {
    Submission *submission = g_new0(Submission, 1);
    *submission = (Submission){.jobs = jobs, .done = done, .data = data};
    submission->key = key ? idempotency_name(request->principal, key) : NULL;
    const char *known = submission->key ? g_hash_table_lookup(jobs->idempotency, submission->key) : NULL;
    if (known) {
        if (parent || is_same_request(jobs, known, kind, request, &submission->refusal))
            submission->job_id = g_strdup(known);
        g_idle_add(answer_now, submission);
        return;
    }
    g_auto(Job) job = {0};
    if (!prepare(jobs, kind, request, &job, &submission->refusal)) {
        g_idle_add(answer_now, submission);
        return;
    }
    job_set_parent(&job, parent);
    job_set_idempotency_key(&job, key);
    submission->job_id = g_strdup(job.id);
    if (submission->key)
        g_hash_table_replace(jobs->idempotency, g_strdup(submission->key), g_strdup(job.id));
    InventoryChange *change = inventory_change_new(jobs->inventory);
    inventory_change_put(change, RESOURCE_JOB, &job);
    inventory_change_by(change, request->principal, job.id);
    inventory_commit(jobs->inventory, change, submitted, submission);
}

void job_submit(Jobs *jobs, const char *kind, const JobRequest *request, const char *idempotency_key,
    JobSubmitFn done, void *data) {
    submit(jobs, kind, request, NULL, idempotency_key, done, data);
}

json_t *job_dry_run(Jobs *jobs, const char *kind, const JobRequest *request, Error *err) {
    g_auto(Job) job = {0};
    if (!prepare(jobs, kind, request, &job, err))
        return NULL;
    g_autoptr(json_t) all = job_encode(&job, MODEL_ENCODE_PUBLIC);
    model_drop_secrets(json_object_get(all, "parameters"));
    model_drop_secrets(json_object_get(all, "data"));
    json_t *plan = json_object();
    static const char *const shown[] = {
        "kind", "target", "target_name", "parameters", "steps", "claims", "data"};
    for (size_t i = 0; i < G_N_ELEMENTS(shown); i++)
        if (json_object_get(all, shown[i]))
            json_object_set(plan, shown[i], json_object_get(all, shown[i]));
    return plan;
}

void job_claim_one_of(Job *job, ResourceId kind, const char *id, int64_t limit, const char *reason) {
    job_claim_add(job, kind, id, true, reason);
    claim_set_limit(&job->claims.items[job->claims.n - 1], limit);
}

void job_leave_out(Job *job, const char *step) {
    for (size_t i = 0; i < job->steps.n; i++) {
        JobStep *own = &job->steps.items[i];
        if (!g_str_equal(own->name, step))
            continue;
        job_step_clear(own);
        memmove(own, own + 1, (job->steps.n - i - 1) * sizeof *own);
        job->steps.n--;
        return;
    }
}

void job_claim_add(Job *job, ResourceId kind, const char *id, bool shared, const char *reason) {
    g_autofree char *object = g_strdup_printf("%s/%s", resources[kind].name, id);
    for (size_t i = 0; i < job->claims.n; i++) {
        Claim *known = &job->claims.items[i];
        if (g_str_equal(known->object, object)) {
            claim_set_shared(known, known->shared && shared);
            return;
        }
    }
    Claim *claim = job_add_claims(job);
    claim_set_object(claim, object);
    claim_set_shared(claim, shared);
    claim_set_reason(claim, reason);
}

/* ---- 2. queued, then started ---- */

static gboolean start_what_can(void *data);

static void start(Jobs *jobs, const Job *job) {
    JobRun *run = run_new(jobs, job);
    int64_t now = clock_realtime_ns(clock_system());
    claims_hold(jobs->claims, job);
    job_set_state(&run->job, JOB_STATE_RUNNING);
    job_set_started(&run->job, now);
    job_set_waits_for(&run->job, NULL);
    job_set_step(&run->job, 0);
    for (size_t i = 0; i < run->job.claims.n; i++) {
        Claim *claim = &run->job.claims.items[i];
        claim_set_revision(claim, jobs->next_revision++);
        claim_set_job(claim, run->job.id);
        claim_set_since(claim, now);
    }
    begin(run);
}

/* Enough for any job. On a full disk those that wait go on waiting. */
static bool has_revisions(Jobs *jobs) {
    g_auto(Error) err = {0};
    if (jobs->last_revision - jobs->next_revision >= MOST_CLAIMS || reserve_revisions(jobs, &err))
        return true;
    log_warning("no job is started now: %s", err.message);
    jobs->start_source = g_timeout_add(START_RETRY_MS, start_what_can, jobs);
    return false;
}

/* "web-1: vm.start by eva, job 1a2b3c4d" */
static char *describe_conflict(Jobs *jobs, const ClaimConflict *conflict) {
    g_auto(GStrv) parts = g_strsplit(conflict->object, "/", 2);
    ResourceId kind = parts[0] && parts[1] ? resource_find(parts[0]) : RESOURCE_MAX;
    const Object *object = kind != RESOURCE_MAX ? inventory_get(jobs->inventory, kind, parts[1]) : NULL;
    const Object *holder = inventory_get(jobs->inventory, RESOURCE_JOB, conflict->job_id);
    const Job *job = holder ? holder->data : NULL;
    return g_strdup_printf("%s: %s by %s, job %.8s", object && object->name ? object->name : conflict->object,
        job ? job->kind : "a job", job && job->principal ? job->principal : "Lodge", conflict->job_id);
}

/* Shown, not stored. */
static void show_conflict(Jobs *jobs, Job *job, const ClaimConflict *conflict) {
    g_autofree char *waits_for = describe_conflict(jobs, conflict);
    if (g_strcmp0(job->waits_for, waits_for) == 0)
        return;
    job_set_waits_for(job, waits_for);
    inventory_runtime_changed(jobs->inventory, RESOURCE_JOB, job->id);
}

static void displace(Jobs *jobs, const Job *job, const char *other_id) {
    const JobKind *kind = g_hash_table_lookup(jobs->kinds, job->kind);
    const Object *object = inventory_get(jobs->inventory, RESOURCE_JOB, other_id);
    const Job *other = object ? object->data : NULL;
    if (other && kind && g_strcmp0(other->kind, kind->displaces) == 0 && !other->cancel_requested &&
        g_strcmp0(other->target, job->target) == 0)
        job_cancel(jobs, other_id, NULL);
}

static gboolean start_what_can(void *data) {
    Jobs *jobs = data;
    jobs->start_source = 0;
    for (GList *link = jobs->queued->head, *next; link; link = next) {
        next = link->next;
        const Object *object = inventory_get(jobs->inventory, RESOURCE_JOB, link->data);
        Job *job = object ? object->data : NULL;
        ClaimConflict conflict = {0};
        if (job && g_hash_table_contains(jobs->runs, job->id)) /* being cancelled: that is not durable yet */
            continue;
        if (job && !job_has_ended(job) && !claims_are_free(jobs->claims, job, &conflict)) {
            show_conflict(jobs, job, &conflict);
            displace(jobs, job, conflict.job_id);
            continue;
        }
        if (!has_revisions(jobs))
            break;
        g_free(link->data);
        g_queue_delete_link(jobs->queued, link);
        if (job && !job_has_ended(job))
            start(jobs, job);
    }
    return G_SOURCE_REMOVE;
}

static void try_starting(Jobs *jobs) {
    if (!jobs->start_source)
        jobs->start_source = g_idle_add(start_what_can, jobs);
}

/* ---- 3. step by step ---- */

static void end(JobRun *run, JobState state);

static void set_fault(Job *job, const Error *err) {
    g_autoptr(json_t) problem = error_to_json(err);
    fault_clear(job_put_error(job));
    fault_decode(problem, MODEL_STORED, &job->error, NULL);
}

static void set_step_state(JobRun *run, size_t index, const char *state) {
    job_step_set_state(&run->job.steps.items[index], state);
}

/* Decides what comes next and commits that decision. */
static void go_on(JobRun *run) {
    Job *job = &run->job;
    if (job_is_cancelled(run)) {
        job_set_undoing(job, true);
        job_set_state(job, JOB_STATE_UNDOING);
    }
    while (job->undoing && job->step > 0 && !run->steps[job->step - 1]->undo)
        set_step_state(run, (size_t)--job->step, "undone");
    if (job->undoing && job->step == 0)
        end(run, job_has(job, JOB_FIELD_ERROR) ? JOB_STATE_FAILED : JOB_STATE_CANCELLED);
    else if (!job->undoing && (size_t)job->step == job->steps.n)
        end(run, JOB_STATE_SUCCEEDED);
    else {
        if (!job->undoing)
            set_step_state(run, (size_t)job->step, "running");
        job_save(run, run_step);
    }
}

/* From where it is, or to its end when this version cannot do what it was made for. */
static void begin(JobRun *run) {
    g_auto(Error) err = {0};
    if (run_check_steps(run, &err)) {
        go_on(run);
        return;
    }
    set_fault(&run->job, &err);
    end(run, JOB_STATE_FAILED);
}

static void run_step(JobRun *run) {
    Job *job = &run->job;
    size_t index = (size_t)(job->undoing ? job->step - 1 : job->step);
    const JobStepKind *step = run->steps[index];
    g_free(run->operation);
    run->operation = g_strdup_printf("%s/%s%s", job->id, step->name, job->undoing ? "/undo" : "");
    run->is_in_step = true;
    (job->undoing ? step->undo : step->run)(run);
}

/* True when the run is still wanted; frees one whose claims were broken. */
static bool come_back(JobRun *run) {
    g_assert(run->is_in_step);
    if (run->jobs->is_stopping && !run->is_abandoned)
        return false;
    run->is_in_step = false;
    run->on_cancel = NULL;
    g_free(run->ended_operation);
    run->ended_operation = g_steal_pointer(&run->operation);
    if (!run->is_abandoned)
        return true;
    run_free(run);
    return false;
}

void job_step_done(JobRun *run) {
    if (!come_back(run))
        return;
    Job *job = &run->job;
    if (job->undoing)
        set_step_state(run, (size_t)--job->step, "undone");
    else
        set_step_state(run, (size_t)job->step++, "done");
    go_on(run);
}

/* The job's error is why it went back, and why it could not go back all the way. */
static void remember_stuck_undo(Job *job, const Error *err) {
    g_auto(Error) both = {0};
    const char *step = job->steps.items[job->step - 1].name;
    log_warning("job %s: the step %s could not be undone: %s", job->id, step, err->message);
    error_set(&both, err->code, NULL, "%s; the step `%s` could not be undone: %s",
        job_has(job, JOB_FIELD_ERROR) ? job->error.detail : "cancelled", step, err->message);
    set_fault(job, &both);
}

void job_step_failed(JobRun *run, const Error *err) {
    g_auto(Error) own = {0};
    error_copy(&own, err);
    if (!come_back(run))
        return;
    Job *job = &run->job;
    if (job->undoing) { /* what the earlier steps made stays: taking it away could lose what this step left
                           running */
        set_step_state(run, (size_t)(job->step - 1), "failed");
        remember_stuck_undo(job, &own);
        end(run, JOB_STATE_FAILED);
        return;
    }
    bool was_cancelled = job->cancel_requested && own.code == ERROR_CANCELLED;
    if (!was_cancelled)
        set_fault(job, &own);
    set_step_state(run, (size_t)job->step, "failed");
    if (run_is_past_return(run)) { /* undoing what came before could take away what was done for good */
        end(run, JOB_STATE_FAILED);
        return;
    }
    job_set_undoing(job, true);
    job_set_state(job, JOB_STATE_UNDOING);
    job_set_step(job, job->step + 1); /* the failed step may have left something */
    go_on(run);
}

/* ---- 4. ended ---- */

static const Job *oldest_ended(Jobs *jobs) {
    const GPtrArray *list = inventory_list(jobs->inventory, RESOURCE_JOB);
    for (guint i = 0; list->len > MAX_ENDED_JOBS && i < list->len; i++)
        if (job_has_ended(((const Object *)list->pdata[i])->data))
            return ((const Object *)list->pdata[i])->data;
    return NULL;
}

static void prune(Jobs *jobs) {
    const Job *oldest = oldest_ended(jobs);
    if (!oldest)
        return;
    if (oldest->idempotency_key) {
        g_autofree char *key = idempotency_name(oldest->principal, oldest->idempotency_key);
        g_hash_table_remove(jobs->idempotency, key);
    }
    InventoryChange *change = inventory_change_new(jobs->inventory);
    inventory_change_delete(change, RESOURCE_JOB, oldest->id);
    inventory_commit(jobs->inventory, change, NULL, NULL);
}

static void tell_waiters(Jobs *jobs, const char *job_id) {
    g_autofree char *key = NULL;
    g_autoptr(GPtrArray) waiters = NULL;
    if (!g_hash_table_steal_extended(jobs->waiters, job_id, (void **)&key, (void **)&waiters))
        return;
    for (guint i = 0; i < waiters->len; i++) {
        const Waiter *waiter = waiters->pdata[i];
        const Object *child = inventory_get(jobs->inventory, RESOURCE_JOB, job_id);
        waiter->done(waiter->run, child->data, waiter->data);
    }
}

static void ended(JobRun *run) {
    Jobs *jobs = run->jobs;
    g_autofree char *id = g_strdup(run->job.id);
    claims_release(jobs->claims, id);
    g_hash_table_remove(jobs->runs, id);
    tell_waiters(jobs, id);
    prune(jobs);
    if (g_hash_table_size(jobs->runs) == 0)
        heap_trim_later(&jobs->trim_source, TRIM_AFTER_MS);
    try_starting(jobs);
}

static void end(JobRun *run, JobState state) {
    job_set_state(&run->job, state);
    job_set_ended(&run->job, clock_realtime_ns(clock_system()));
    job_audit_end(run->jobs->inventory, &run->job); /* before it is saved: perhaps told twice, never lost */
    if (state == JOB_STATE_SUCCEEDED)
        progress_set_percent(job_put_progress(&run->job), 100);
    job_save(run, ended);
}

void run_give_up(JobRun *run, const Error *err) {
    g_auto(Error) why = {0};
    error_copy(&why, err);
    error_wrap(&why, ERROR_NONE, "the job's record cannot be stored; what was done stays");
    set_fault(&run->job, &why);
    end(run, JOB_STATE_FAILED);
}

/* ---- cancel and break ---- */

static void cancel_children(Jobs *jobs, const Job *job) {
    for (size_t i = 0; i < job->children.n; i++)
        job_cancel(jobs, job->children.items[i], NULL);
}

bool job_cancel(Jobs *jobs, const char *job_id, Error *err) {
    const Object *object = inventory_find(jobs->inventory, RESOURCE_JOB, job_id, err);
    if (!object)
        return false;
    if (job_has_ended(object->data))
        return error_set(err, ERROR_WRONG_STATE, NULL, "the job has ended already");
    JobRun *run = g_hash_table_lookup(jobs->runs, object->id);
    if (!run) { /* still queued */
        run = run_new(jobs, object->data);
        job_set_cancel_requested(&run->job, true);
        end(run, JOB_STATE_CANCELLED);
        return true;
    }
    if (run_is_past_return(run))
        return error_set(err, ERROR_WRONG_STATE, NULL, "the job cannot be stopped any more: it ends soon");
    job_set_cancel_requested(&run->job, true);
    job_set_cancel_requested(object->data, true); /* shown at once, stored with the next step */
    inventory_runtime_changed(jobs->inventory, RESOURCE_JOB, object->id);
    cancel_children(jobs, &run->job);
    if (run->on_cancel && job_is_cancelled(run)) /* what goes back already goes on with that */
        run->on_cancel(run, run->on_cancel_data);
    return true;
}

bool job_break(Jobs *jobs, const char *job_id, const char *reason, Error *err) {
    const Object *object = inventory_find(jobs->inventory, RESOURCE_JOB, job_id, err);
    if (!object)
        return false;
    JobRun *run = g_hash_table_lookup(jobs->runs, object->id);
    if (!run || job_has_ended(&run->job))
        return error_set(err, ERROR_WRONG_STATE, NULL,
            run ? "the job has ended; that is only not stored yet" : "the job holds no claims now");
    g_auto(Error) why = {0};
    error_set(&why, ERROR_STALE_CLAIM, NULL, "its claims were broken: %s", reason);
    g_auto(Job) broken = {0};
    job_copy(&broken, &run->job);
    set_fault(&broken, &why);
    if (run->is_in_step) /* the step's call-back frees it */
        g_hash_table_steal(jobs->runs, run->job.id);
    else
        g_hash_table_remove(jobs->runs, g_steal_pointer(&run)->job.id);
    end(run_new(jobs, &broken), JOB_STATE_FAILED);
    cancel_children(jobs, &broken);
    if (!run)
        return true;
    run->is_abandoned = true;
    if (run->on_cancel) /* nothing of it is to happen late */
        run->on_cancel(run, run->on_cancel_data);
    return true;
}

/* ---- after a restart ---- */

static StoreTransaction *note_epoch(int64_t epoch) {
    g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, epoch);
    StoreTransaction *transaction = store_transaction_new();
    store_transaction_put(transaction, EPOCH_KEY, text, strlen(text), 0);
    return transaction;
}

/* True when the store was restored since the open jobs were committed. */
static bool take_epoch(Jobs *jobs) {
    Store *store = inventory_store(jobs->inventory);
    bool is_restored = stored_number(store, EPOCH_KEY, 1) != store_epoch(store);
    store_commit(store, note_epoch(store_epoch(store)), NULL, NULL);
    return is_restored;
}

bool jobs_become(Jobs *jobs, const char *uuid, int64_t epoch, Error *err) {
    return store_become(inventory_store(jobs->inventory), uuid, epoch, note_epoch(epoch), err);
}

bool job_becomes(JobRun *run, const char *uuid, int64_t epoch, Error *err) {
    return jobs_become(run->jobs, uuid, epoch, err);
}

/* What they did since the backup nobody knows; what they made shows itself. */
static void lose(Jobs *jobs, const GPtrArray *open) {
    g_auto(Error) err = {0};
    error_set(&err, ERROR_LOST, NULL, "a backup of the store was restored that was made while it was open");
    for (guint i = 0; i < open->len; i++) {
        JobRun *run = run_new(jobs, open->pdata[i]);
        set_fault(&run->job, &err);
        end(run, JOB_STATE_LOST);
    }
}

void jobs_resume(Jobs *jobs) {
    const GPtrArray *list = inventory_list(jobs->inventory, RESOURCE_JOB);
    g_autoptr(GPtrArray) open = g_ptr_array_new();
    for (guint i = 0; i < list->len; i++)
        if (!job_has_ended(((const Object *)list->pdata[i])->data))
            g_ptr_array_add(open, ((const Object *)list->pdata[i])->data);
    if (take_epoch(jobs)) {
        lose(jobs, open);
        return;
    }
    for (guint i = 0; i < open->len; i++) {
        const Job *job = open->pdata[i];
        if (job->state == JOB_STATE_QUEUED) {
            claims_wait(jobs->claims, job);
            g_queue_push_tail(jobs->queued, g_strdup(job->id));
        } else {
            claims_hold(jobs->claims, job);
        }
    }
    for (guint i = 0; i < open->len; i++) {
        const Job *job = open->pdata[i];
        if (job->state != JOB_STATE_QUEUED) {
            log_info("job %s (%s) goes on", job->id, job->kind);
            begin(run_new(jobs, job));
        }
    }
    try_starting(jobs);
}

/* ---- children ---- */

static void refuse_child(Waiter *take_waiter, const Error *err) {
    g_auto(Job) refused = {0};
    job_set_state(&refused, JOB_STATE_FAILED);
    set_fault(&refused, err);
    take_waiter->done(take_waiter->run, &refused, take_waiter->data);
    g_free(take_waiter);
}

static gboolean refuse_late_child(void *data) {
    g_auto(Error) err = {0};
    error_set(&err, ERROR_STALE_CLAIM, NULL, "the claims of its parent were broken");
    refuse_child(data, &err);
    return G_SOURCE_REMOVE;
}

static void child_submitted(const char *job_id, const Error *err, void *data) {
    Waiter *waiter = data;
    JobRun *run = waiter->run;
    if (err) {
        refuse_child(waiter, err);
        return;
    }
    if (run->is_abandoned) /* while it was submitted */
        job_cancel(run->jobs, job_id, NULL);
    bool is_listed = false;
    for (size_t i = 0; i < run->job.children.n; i++)
        is_listed |= g_str_equal(run->job.children.items[i], job_id);
    if (!is_listed)
        job_add_children(&run->job, job_id);
    const Object *child = inventory_get(run->jobs->inventory, RESOURCE_JOB, job_id);
    g_assert(child);
    if (job_has_ended(child->data)) {
        waiter->done(run, child->data, waiter->data);
        g_free(waiter);
        return;
    }
    GPtrArray *waiters = g_hash_table_lookup(run->jobs->waiters, job_id);
    if (!waiters) {
        waiters = g_ptr_array_new_with_free_func(g_free);
        g_hash_table_insert(run->jobs->waiters, g_strdup(job_id), waiters);
    }
    g_ptr_array_add(waiters, waiter);
}

void job_child(JobRun *run, const char *name, const char *kind, const JobRequest *request,
    void (*done)(JobRun *run, const Job *child, void *data), void *data) {
    Waiter *waiter = g_new0(Waiter, 1);
    *waiter = (Waiter){run, done, data};
    if (run->is_abandoned) {
        g_idle_add(refuse_late_child, waiter);
        return;
    }
    g_autofree char *key = g_strdup_printf("%s/%s", run->job.id, name);
    submit(run->jobs, kind, request, run->job.id, key, child_submitted, waiter);
}
