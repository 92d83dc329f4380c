/*
 * The one thread that writes. It takes all jobs that wait, runs each in a savepoint of one SQLite
 * transaction, commits once (one fsync) and hands the results back to the main loop in their order. All
 * functions: main loop's thread.
 */
#pragma once
#include "store/sqlite/connection.h"

typedef struct Writer Writer;

typedef enum JobKind { JOB_COMMIT, JOB_LEASE_GRANT, JOB_LEASE_REVOKE, JOB_COMPACT, JOB_KIND_MAX } JobKind;

typedef struct WriterJob {
    JobKind kind;
    StoreTransaction *transaction; /* JOB_COMMIT; NULL when it was refused before it came here */
    int64_t lease, ttl_ns;         /* leases */
    int64_t up_to;                 /* JOB_COMPACT: revision */
    StoreDoneFn done;              /* may be NULL */
    void *data;
    /* The writer's. */
    bool is_waited, is_finished;
    int64_t revision; /* the store's after this job */
    Error err;
} WriterJob;

/* Called after the `done` functions of what has become durable; `revision` is the newest durable one. */
typedef void (*WriterDeliveredFn)(int64_t revision, void *data);

Writer *writer_start(SqliteConnection *take_connection, int64_t revision, int64_t keep_changes,
    WriterDeliveredFn delivered, void *data);
/* Finishes all jobs, calls their `done`, ends the thread and closes the connection. */
void writer_stop(Writer *writer);

/* Queues a copy; takes the transaction and the error. `job->done` is always called, from the main loop. */
void writer_add(Writer *writer, const WriterJob *take_job);
/* The same, blocking; `done` is not used. */
bool writer_run(Writer *writer, const WriterJob *take_job, int64_t *ret_revision, Error *err);
/* Fills commits, refused, groups, failures, compacted and waiting. */
void writer_stats(Writer *writer, StoreStats *stats);
