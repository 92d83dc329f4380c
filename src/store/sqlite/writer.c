/* Group commit. The mutex guards the queues, the counters and is_finished; the connection is the thread's
 * alone. */
#include "store/sqlite/writer.h"
#include "store/sqlite/apply.h"

enum {
    MAX_GROUP_JOBS = 4096,
    MAX_WAITING_JOBS = 65536,
    MAX_GROUP_BYTES = 16 * 1000 * 1000,
    MAX_WAITING_BYTES = 128 * 1000 * 1000,
};

struct Writer {
    SqliteConnection *connection;
    int64_t keep_changes;
    int64_t revision; /* the thread's */
    WriterDeliveredFn delivered;
    void *delivered_data;
    GThread *thread;
    bool is_delivering; /* main loop */

    GMutex mutex;
    GCond work_came, job_finished;
    GQueue waiting, finished; /* WriterJob */
    size_t waiting_bytes;
    int64_t committed; /* newest durable revision */
    bool is_stopping;
    guint delivery; /* source id; 0: none */
    StoreStats stats;
};

static size_t job_bytes(const WriterJob *job) {
    return job->transaction ? job->transaction->bytes : 0;
}

static void job_free(WriterJob *job) {
    store_transaction_free(job->transaction);
    error_clear(&job->err);
    g_free(job);
}

/* Thread: everything that waits, within the limits of one group; false when there is nothing left and the end
 * has come. */
static bool take_group(Writer *writer, GQueue *group) {
    g_mutex_lock(&writer->mutex);
    while (g_queue_is_empty(&writer->waiting) && !writer->is_stopping)
        g_cond_wait(&writer->work_came, &writer->mutex);
    size_t bytes = 0;
    while (!g_queue_is_empty(&writer->waiting) && group->length < MAX_GROUP_JOBS && bytes < MAX_GROUP_BYTES) {
        WriterJob *job = g_queue_pop_head(&writer->waiting);
        bytes += job_bytes(job);
        g_queue_push_tail(group, job);
    }
    writer->waiting_bytes -= bytes;
    g_mutex_unlock(&writer->mutex);
    return !g_queue_is_empty(group);
}

static ApplyOutcome apply_job(Writer *writer, const WriterJob *job, Error *err) {
    switch (job->kind) {
    case JOB_COMMIT:
        return apply_transaction(writer->connection, job->transaction, writer->revision + 1, err);
    case JOB_LEASE_GRANT:
        return apply_lease_grant(writer->connection, job->lease, job->ttl_ns, err);
    case JOB_LEASE_REVOKE:
        return apply_lease_revoke(writer->connection, job->lease, writer->revision + 1, err);
    case JOB_COMPACT:
        return apply_compact(writer->connection, job->up_to, writer->revision, err);
    default:
        g_assert_not_reached();
    }
}

/* False when SQLite failed and with it the group. */
static bool run_job(Writer *writer, WriterJob *job, Error *err) {
    if (error_is_set(&job->err)) {
        job->revision = writer->revision;
        return true;
    }
    if (!connection_run(writer->connection, "SAVEPOINT job", err))
        return false;
    ApplyOutcome outcome = apply_job(writer, job, &job->err);
    if (outcome == APPLY_BROKEN) {
        error_move(err, &job->err);
        return false;
    }
    if (outcome == APPLY_REFUSED && !connection_run(writer->connection, "ROLLBACK TO job", err))
        return false;
    if (outcome == APPLY_CHANGED)
        writer->revision++;
    job->revision = writer->revision;
    return connection_run(writer->connection, "RELEASE job", err);
}

static bool run_group_in_transaction(Writer *writer, GQueue *group, Error *err) {
    if (!connection_run(writer->connection, "BEGIN IMMEDIATE", err))
        return false;
    for (GList *link = group->head; link; link = link->next)
        if (!run_job(writer, link->data, err))
            return false;
    return apply_history_bound(writer->connection, writer->keep_changes, err) &&
           meta_set(writer->connection, "revision", writer->revision, err) &&
           connection_run(writer->connection, "COMMIT", err);
}

/* A refusal inside a failed group was judged by changes that do not exist: everyone gets the group's error.
 */
static void fail_group(GQueue *group, const Error *err) {
    for (GList *link = group->head; link; link = link->next) {
        WriterJob *job = link->data;
        if (job->kind == JOB_COMMIT && !job->transaction)
            continue; /* refused before it came here */
        error_clear(&job->err);
        error_copy(&job->err, err);
        error_wrap(&job->err, ERROR_NONE, "nothing was stored");
    }
}

static void run_group(Writer *writer, GQueue *group) {
    int64_t before = writer->revision;
    g_auto(Error) err = {0};
    bool is_stored = run_group_in_transaction(writer, group, &err);
    if (!is_stored) {
        writer->revision = before;
        if (!sqlite3_get_autocommit(writer->connection->db))
            connection_run(writer->connection, "ROLLBACK", NULL);
        fail_group(group, &err);
    }
    int64_t compacted = 0;
    bool has_compacted = meta_get(writer->connection, "compacted", &compacted, NULL);
    g_mutex_lock(&writer->mutex);
    writer->stats.groups += is_stored ? 1 : 0;
    writer->stats.failures += is_stored ? 0 : 1;
    if (has_compacted)
        writer->stats.compacted = compacted;
    writer->committed = writer->revision;
    g_mutex_unlock(&writer->mutex);
}

static gboolean deliver(void *data);

/* Thread: hands the group back; whoever blocks for a job is woken and frees it. */
static void finish_group(Writer *writer, GQueue *group) {
    g_mutex_lock(&writer->mutex);
    WriterJob *job = NULL;
    while ((job = g_queue_pop_head(group))) {
        bool is_commit = job->kind == JOB_COMMIT;
        writer->stats.commits += is_commit && !error_is_set(&job->err) ? 1 : 0;
        writer->stats.refused += is_commit && error_is_set(&job->err) ? 1 : 0;
        job->is_finished = true;
        if (!job->is_waited)
            g_queue_push_tail(&writer->finished, job);
    }
    g_cond_broadcast(&writer->job_finished);
    if (writer->delivery == 0)
        writer->delivery = g_idle_add_full(G_PRIORITY_DEFAULT, deliver, writer, NULL);
    g_mutex_unlock(&writer->mutex);
}

static void *write_groups(void *data) {
    Writer *writer = data;
    GQueue group = G_QUEUE_INIT;
    while (take_group(writer, &group)) {
        run_group(writer, &group);
        finish_group(writer, &group);
    }
    return NULL;
}

/* Main loop: the results of all groups that are durable by now. */
static void deliver_finished(Writer *writer) {
    g_mutex_lock(&writer->mutex);
    GQueue finished = writer->finished;
    g_queue_init(&writer->finished);
    int64_t committed = writer->committed;
    writer->delivery = 0;
    g_mutex_unlock(&writer->mutex);
    writer->is_delivering = true;
    WriterJob *job = NULL;
    while ((job = g_queue_pop_head(&finished))) {
        if (job->done)
            job->done(job->revision, error_is_set(&job->err) ? &job->err : NULL, job->data);
        job_free(job);
    }
    writer->is_delivering = false;
    writer->delivered(committed, writer->delivered_data);
}

static gboolean deliver(void *data) {
    deliver_finished(data);
    return G_SOURCE_REMOVE;
}

Writer *writer_start(SqliteConnection *take_connection, int64_t revision, int64_t keep_changes,
    WriterDeliveredFn delivered, void *data) {
    Writer *writer = g_new0(Writer, 1);
    *writer = (Writer){
        .connection = take_connection,
        .revision = revision,
        .committed = revision,
        .keep_changes = keep_changes,
        .delivered = delivered,
        .delivered_data = data,
    };
    g_mutex_init(&writer->mutex);
    g_cond_init(&writer->work_came);
    g_cond_init(&writer->job_finished);
    writer->thread = g_thread_new("store-writer", write_groups, writer);
    return writer;
}

static void join_thread(Writer *writer) {
    g_mutex_lock(&writer->mutex);
    writer->is_stopping = true;
    g_cond_signal(&writer->work_came);
    g_mutex_unlock(&writer->mutex);
    g_thread_join(writer->thread);
    writer->thread = NULL;
    g_clear_handle_id(&writer->delivery, g_source_remove);
}

void writer_stop(Writer *writer) {
    g_assert(!writer->is_delivering);
    join_thread(writer);
    do
        deliver_finished(writer); /* what a `done` adds now is refused: see enqueue */
    while (!g_queue_is_empty(&writer->finished));
    g_mutex_clear(&writer->mutex);
    g_cond_clear(&writer->work_came);
    g_cond_clear(&writer->job_finished);
    connection_close(writer->connection);
    g_free(writer);
}

static WriterJob *enqueue(Writer *writer, const WriterJob *take_job, bool is_waited) {
    WriterJob *job = g_new(WriterJob, 1);
    *job = *take_job;
    job->is_waited = is_waited;
    g_mutex_lock(&writer->mutex);
    bool is_full = writer->waiting.length >= MAX_WAITING_JOBS || writer->waiting_bytes >= MAX_WAITING_BYTES;
    if ((is_full || writer->is_stopping) && !error_is_set(&job->err))
        error_set(&job->err, ERROR_BUSY, NULL,
            writer->is_stopping ? "the store is being closed" : "too many changes wait for the store");
    if (error_is_set(&job->err))
        g_clear_pointer(&job->transaction, store_transaction_free);
    writer->waiting_bytes += job_bytes(job);
    if (writer->is_stopping) {
        job->is_finished = true;
        g_queue_push_tail(&writer->finished, job);
    } else {
        g_queue_push_tail(&writer->waiting, job);
        g_cond_signal(&writer->work_came);
    }
    g_mutex_unlock(&writer->mutex);
    return job;
}

void writer_add(Writer *writer, const WriterJob *take_job) {
    enqueue(writer, take_job, false);
}

bool writer_run(Writer *writer, const WriterJob *take_job, int64_t *ret_revision, Error *err) {
    g_assert(!writer->is_stopping);
    WriterJob *job = enqueue(writer, take_job, true);
    g_mutex_lock(&writer->mutex);
    while (!job->is_finished)
        g_cond_wait(&writer->job_finished, &writer->mutex);
    g_mutex_unlock(&writer->mutex);
    bool is_stored = !error_is_set(&job->err);
    if (is_stored && ret_revision)
        *ret_revision = job->revision;
    if (!is_stored)
        error_move(err, &job->err);
    job_free(job);
    return is_stored;
}

void writer_stats(Writer *writer, StoreStats *stats) {
    g_mutex_lock(&writer->mutex);
    *stats = writer->stats;
    stats->waiting = writer->waiting.length;
    g_mutex_unlock(&writer->mutex);
}
