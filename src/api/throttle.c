/* A table of keys with the time of their next attempt. */
#include "api/throttle.h"

struct Throttle {
    const Clock *clock;
    GHashTable *keys; /* char * -> Attempts */
};

typedef struct Attempts {
    int failures;
    int64_t next_ns, forget_ns; /* monotonic */
} Attempts;

Throttle *throttle_new(const Clock *clock) {
    Throttle *self = g_new0(Throttle, 1);
    self->clock = clock;
    self->keys = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return self;
}

void throttle_free(Throttle *throttle) {
    if (!throttle)
        return;
    g_hash_table_unref(throttle->keys);
    g_free(throttle);
}

static gboolean is_forgotten(void *key G_GNUC_UNUSED, void *value, void *now_ns) {
    return ((const Attempts *)value)->forget_ns <= *(const int64_t *)now_ns;
}

static int64_t delay_ns(int failures) {
    int doublings = failures - THROTTLE_FREE_ATTEMPTS;
    if (doublings < 0)
        return 0;
    return MIN(INT64_C(1) << MIN(doublings, 30), THROTTLE_MAX_DELAY_S) * NS_PER_S;
}

bool throttle_attempt(Throttle *throttle, const char *key, Error *err) {
    int64_t now_ns = clock_monotonic_ns(throttle->clock);
    Attempts *attempts = g_hash_table_lookup(throttle->keys, key);
    if (attempts && attempts->forget_ns <= now_ns)
        attempts->failures = 0;
    if (attempts && attempts->next_ns > now_ns)
        return error_set(err, ERROR_RATE_LIMITED, NULL, "the next attempt is possible in %d s",
            (int)((attempts->next_ns - now_ns + NS_PER_S - 1) / NS_PER_S));
    if (!attempts) {
        if (g_hash_table_size(throttle->keys) >= THROTTLE_MAX_KEYS)
            g_hash_table_foreach_remove(throttle->keys, is_forgotten, &now_ns);
        if (g_hash_table_size(throttle->keys) >= THROTTLE_MAX_KEYS)
            return error_set(err, ERROR_RATE_LIMITED, NULL, "too many names and addresses have failed");
        attempts = g_new0(Attempts, 1);
        g_hash_table_insert(throttle->keys, g_strdup(key), attempts);
    }
    attempts->failures++;
    attempts->next_ns = now_ns + delay_ns(attempts->failures);
    attempts->forget_ns = now_ns + THROTTLE_FORGET_S * NS_PER_S;
    return true;
}

void throttle_success(Throttle *throttle, const char *key) {
    g_hash_table_remove(throttle->keys, key);
}
