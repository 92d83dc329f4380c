/*
 * Named, bounded pools of threads for what blocks (libvirt, files, SQLite, password hashes). The main loop
 * hands over a copy of what the work needs, `run` works on it in a thread, `done` gets it back on the main
 * loop.
 *
 * work_pool_* belong to the thread that runs the default GMainContext.
 */
#pragma once
#include "base/error.h"

typedef struct WorkPool WorkPool;
typedef void (*WorkFn)(void *data);

/* `threads` at most that many at once; `max_queued` is the limit of waiting items. `name` is copied. */
WorkPool *work_pool_new(const char *name, int threads, int max_queued);
/* One that shares the queues of keys with `other` (NULL: none): items with one key run one after another in
 * whichever of these pools they are. */
WorkPool *work_pool_new_beside(const WorkPool *other, const char *name, int threads, int max_queued);
/* Waits for the running items, drops no `done`: they are called before it returns. */
void work_pool_free(WorkPool *pool);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WorkPool, work_pool_free)

/* Queues `run(data)`; afterwards `done(data)` on the main loop, which then owns `data`. False with ERROR_BUSY
 * when the queue is full: `data` stays with the caller and neither function is called. */
bool work_pool_add(WorkPool *pool, WorkFn run, WorkFn done, void *data, Error *err);

/* Items with the same key (copied) run one after another in the order in which they came; different keys run
 * in parallel. A hung item holds its key's queue and one thread, nothing else. */
bool work_pool_add_keyed(WorkPool *pool, const char *key, WorkFn run, WorkFn done, void *data, Error *err);

/* Waiting plus running items. */
int work_pool_load(const WorkPool *pool);
