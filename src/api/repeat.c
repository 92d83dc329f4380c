/* A table of keys, and their order for forgetting the oldest. */
#include "api/repeat.h"
#include <string.h>

struct Repeats {
    GHashTable *known; /* name -> Repeat */
    GQueue *order;     /* of char *, names, oldest first; may name some that are forgotten */
};

typedef struct Repeat {
    char *digest; /* of the request, which may hold secrets */
    char *object; /* NULL: under way */
} Repeat;

static void repeat_free(void *data) {
    Repeat *repeat = data;
    g_free(repeat->digest);
    g_free(repeat->object);
    g_free(repeat);
}

Repeats *repeats_new(void) {
    Repeats *self = g_new0(Repeats, 1);
    self->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, repeat_free);
    self->order = g_queue_new();
    return self;
}

void repeats_free(Repeats *repeats) {
    if (!repeats)
        return;
    g_hash_table_unref(repeats->known);
    g_queue_free_full(repeats->order, g_free);
    g_free(repeats);
}

bool repeats_begin(Repeats *repeats, const char *name, const char *request, char **ret_object, Error *err) {
    g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, request, -1);
    const Repeat *known = g_hash_table_lookup(repeats->known, name);
    *ret_object = NULL;
    if (known && !g_str_equal(known->digest, digest))
        return error_set(err, ERROR_CONFLICT, NULL, "this Idempotency-Key was used for another request");
    if (known && !known->object)
        return error_set(err, ERROR_BUSY, NULL, "the first request with this Idempotency-Key is under way");
    if (known) {
        *ret_object = g_strdup(known->object);
        return true;
    }
    Repeat *repeat = g_new0(Repeat, 1);
    repeat->digest = g_steal_pointer(&digest);
    g_hash_table_insert(repeats->known, g_strdup(name), repeat);
    return true;
}

void repeats_end(Repeats *repeats, const char *name, const char *object) {
    Repeat *repeat = g_hash_table_lookup(repeats->known, name);
    if (!repeat || !object) {
        g_hash_table_remove(repeats->known, name);
        return;
    }
    repeat->object = g_strdup(object);
    g_queue_push_tail(repeats->order, g_strdup(name));
    if (g_queue_get_length(repeats->order) <= REPEATS_MAX)
        return;
    g_autofree char *oldest = g_queue_pop_head(repeats->order);
    g_hash_table_remove(repeats->known, oldest);
}
