/* For each object the jobs that hold it or wait for it, in the order in which they asked. */
#include "jobs/claims.h"

typedef struct Entry {
    char *job_id;
    bool is_shared, is_held;
} Entry;

struct Claims {
    GHashTable *objects; /* "vm/<id>" -> GPtrArray of Entry */
};

static void entry_free(void *data) {
    Entry *entry = data;
    g_free(entry->job_id);
    g_free(entry);
}

Claims *claims_new(void) {
    Claims *claims = g_new0(Claims, 1);
    claims->objects =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
    return claims;
}

void claims_free(Claims *claims) {
    if (!claims)
        return;
    g_hash_table_unref(claims->objects);
    g_free(claims);
}

static bool is_parents(const GPtrArray *entries, const Job *job) {
    for (guint i = 0; entries && i < entries->len; i++) {
        const Entry *entry = entries->pdata[i];
        if (g_strcmp0(entry->job_id, job->parent) == 0)
            return entry->is_held;
    }
    return false;
}

static bool is_free_for(
    const GPtrArray *entries, const Job *job, const Claim *claim, ClaimConflict *ret_conflict) {
    bool has_asked = false; /* who asked later matters only if it holds, as a child that did not wait */
    int64_t n_sharing = 0;
    if (claim->shared && is_parents(entries, job))
        return true;
    for (guint i = 0; entries && i < entries->len; i++) {
        const Entry *entry = entries->pdata[i];
        bool is_own = g_str_equal(entry->job_id, job->id);
        has_asked = has_asked || is_own;
        if (is_own || (has_asked && !entry->is_held))
            continue;
        bool may_share = entry->is_shared && claim->shared;
        bool counts = claim_has(claim, CLAIM_FIELD_LIMIT) && entry->is_held; /* who waits takes no turn */
        if (may_share && (!counts || ++n_sharing < claim->limit))
            continue;
        if (ret_conflict)
            *ret_conflict = (ClaimConflict){claim->object, entry->job_id};
        return false;
    }
    return true;
}

bool claims_are_free(const Claims *claims, const Job *job, ClaimConflict *ret_conflict) {
    for (size_t i = 0; i < job->claims.n; i++)
        if (!is_free_for(g_hash_table_lookup(claims->objects, job->claims.items[i].object), job,
                &job->claims.items[i], ret_conflict))
            return false;
    return true;
}

static Entry *entry_of(Claims *claims, const Claim *claim, const char *job_id) {
    GPtrArray *entries = g_hash_table_lookup(claims->objects, claim->object);
    if (!entries) {
        entries = g_ptr_array_new_with_free_func(entry_free);
        g_hash_table_insert(claims->objects, g_strdup(claim->object), entries);
    }
    for (guint i = 0; i < entries->len; i++)
        if (g_str_equal(((Entry *)entries->pdata[i])->job_id, job_id))
            return entries->pdata[i];
    Entry *entry = g_new0(Entry, 1);
    *entry = (Entry){.job_id = g_strdup(job_id), .is_shared = claim->shared};
    g_ptr_array_add(entries, entry);
    return entry;
}

void claims_wait(Claims *claims, const Job *job) {
    for (size_t i = 0; i < job->claims.n; i++)
        entry_of(claims, &job->claims.items[i], job->id);
}

void claims_hold(Claims *claims, const Job *job) {
    for (size_t i = 0; i < job->claims.n; i++)
        entry_of(claims, &job->claims.items[i], job->id)->is_held = true;
}

void claims_release(Claims *claims, const char *job_id) {
    GHashTableIter iter;
    GPtrArray *entries;
    g_hash_table_iter_init(&iter, claims->objects);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&entries)) {
        for (guint i = entries->len; i-- > 0;)
            if (g_str_equal(((Entry *)entries->pdata[i])->job_id, job_id))
                g_ptr_array_remove_index(entries, i);
        if (entries->len == 0)
            g_hash_table_iter_remove(&iter);
    }
}
