/* A look in a thread, then an item in the queue of each VM that it found. */
#include "agent/saved-watch.h"
#include "agent/agent-private.h"
#include "agent/saved-memory.h"
#include "base/log.h"

enum { LOOK_S = 10 };

struct SavedWatch {
    Agent *agent;
    GHashTable *settling; /* ids that wait in their queues */
    char **found;         /* by the look under way */
    guint source;
    bool is_looking, is_stopping;
};

typedef struct Settling {
    SavedWatch *watch;
    char *id;
    bool is_good;
} Settling;

static void settle(void *data) {
    Settling *settling = data;
    g_auto(Error) err = {0};
    settling->is_good = saved_memory_settle(settling->watch->agent, settling->id, NULL, &err);
    if (!settling->is_good)
        log_debug("the save of %s is not settled yet: %s", settling->id, err.message);
}

static void settled(void *data) {
    Settling *settling = data;
    g_hash_table_remove(settling->watch->settling, settling->id);
    if (settling->is_good)
        reporter_changed(settling->id, settling->watch->agent->reporter);
    g_free(settling->id);
    g_free(settling);
}

static void begin(SavedWatch *watch, const char *id) {
    if (watch->is_stopping || g_hash_table_contains(watch->settling, id))
        return;
    Settling *settling = g_new0(Settling, 1);
    settling->watch = watch;
    settling->id = g_strdup(id);
    g_hash_table_add(watch->settling, g_strdup(id));
    if (work_pool_add_keyed(watch->agent->pools[LANE_VM], id, settle, settled, settling, NULL))
        return;
    settled(settling); /* the queue is full: another time */
}

static void look(void *data) {
    SavedWatch *watch = data;
    watch->found = saved_memory_unsettled(watch->agent);
}

static void looked(void *data) {
    SavedWatch *watch = data;
    g_auto(GStrv) found = g_steal_pointer(&watch->found);
    watch->is_looking = false;
    for (char **id = found; *id; id++)
        begin(watch, *id);
}

static gboolean time_to_look(void *data) {
    SavedWatch *watch = data;
    if (!watch->is_looking)
        watch->is_looking = work_pool_add(watch->agent->pools[LANE_VM], look, looked, watch, NULL);
    return G_SOURCE_CONTINUE;
}

SavedWatch *saved_watch_new(Agent *agent) {
    SavedWatch *watch = g_new0(SavedWatch, 1);
    watch->agent = agent;
    watch->settling = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    watch->source = g_timeout_add_seconds(LOOK_S, time_to_look, watch);
    return watch;
}

void saved_watch_stop(SavedWatch *watch) {
    watch->is_stopping = true;
    g_clear_handle_id(&watch->source, g_source_remove);
}

void saved_watch_free(SavedWatch *watch) {
    if (!watch)
        return;
    saved_watch_stop(watch);
    g_hash_table_unref(watch->settling);
    g_free(watch);
}
