/* Bounded thread pools with one queue per key. The main loop owns all queues; threads only see their item. */
#include "base/work.h"

typedef struct Item {
    WorkPool *pool;
    struct KeyQueue *queue; /* NULL without a key */
    WorkFn run, done;
    void *data;
} Item;

typedef struct KeyQueue {
    char *key;
    GQueue waiting; /* Item; the running one is not in it */
} KeyQueue;

struct WorkPool {
    char *name;
    int max_queued;
    int load; /* items whose `done` was not called yet */
    GThreadPool *threads;
    GHashTable *queues; /* key -> KeyQueue, only while one of its items runs; shared with pools beside it */
};

static gboolean finish_item(void *data);

static void run_item(void *data, void *pool G_GNUC_UNUSED) {
    Item *item = data;
    item->run(item->data);
    g_idle_add_full(G_PRIORITY_DEFAULT, finish_item, item, NULL);
}

static void start_item(Item *item) {
    g_thread_pool_push(item->pool->threads, item, NULL);
}

static void key_queue_free(void *data) {
    KeyQueue *queue = data;
    g_assert(g_queue_is_empty(&queue->waiting));
    g_free(queue->key);
    g_free(queue);
}

static gboolean finish_item(void *data) {
    Item *item = data;
    WorkPool *pool = item->pool;
    if (item->queue) {
        Item *next = g_queue_pop_head(&item->queue->waiting);
        if (next)
            start_item(next);
        else
            g_hash_table_remove(pool->queues, item->queue->key);
    }
    pool->load--;
    item->done(item->data);
    g_free(item);
    return G_SOURCE_REMOVE;
}

WorkPool *work_pool_new(const char *name, int threads, int max_queued) {
    return work_pool_new_beside(NULL, name, threads, max_queued);
}

WorkPool *work_pool_new_beside(const WorkPool *other, const char *name, int threads, int max_queued) {
    WorkPool *pool = g_new0(WorkPool, 1);
    pool->name = g_strdup(name);
    pool->max_queued = max_queued;
    pool->threads = g_thread_pool_new(run_item, pool, threads, FALSE, NULL);
    pool->queues = other ? g_hash_table_ref(other->queues)
                         : g_hash_table_new_full(g_str_hash, g_str_equal, NULL, key_queue_free);
    return pool;
}

void work_pool_free(WorkPool *pool) {
    if (!pool)
        return;
    while (pool->load > 0)
        g_main_context_iteration(NULL, TRUE);
    g_thread_pool_free(pool->threads, FALSE, TRUE);
    g_hash_table_unref(pool->queues);
    g_free(pool->name);
    g_free(pool);
}

static Item *item_new(WorkPool *pool, WorkFn run, WorkFn done, void *data, Error *err) {
    if (pool->load >= pool->max_queued) {
        error_set(err, ERROR_BUSY, NULL, "the queue of the worker pool %s is full (%d)", pool->name,
            pool->max_queued);
        return NULL;
    }
    pool->load++;
    Item *item = g_new0(Item, 1);
    *item = (Item){.pool = pool, .run = run, .done = done, .data = data};
    return item;
}

bool work_pool_add(WorkPool *pool, WorkFn run, WorkFn done, void *data, Error *err) {
    Item *item = item_new(pool, run, done, data, err);
    if (!item)
        return false;
    start_item(item);
    return true;
}

bool work_pool_add_keyed(WorkPool *pool, const char *key, WorkFn run, WorkFn done, void *data, Error *err) {
    Item *item = item_new(pool, run, done, data, err);
    if (!item)
        return false;
    item->queue = g_hash_table_lookup(pool->queues, key);
    if (item->queue) {
        g_queue_push_tail(&item->queue->waiting, item);
        return true;
    }
    item->queue = g_new0(KeyQueue, 1);
    item->queue->key = g_strdup(key);
    g_queue_init(&item->queue->waiting);
    g_hash_table_insert(pool->queues, item->queue->key, item->queue);
    start_item(item);
    return true;
}

int work_pool_load(const WorkPool *pool) {
    return pool->load;
}
