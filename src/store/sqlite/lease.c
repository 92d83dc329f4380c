/* Leases: who must be revoked, and when. A revocation that fails (disk full) is tried again at the next look.
 */
#include "store/sqlite/lease.h"
#include <inttypes.h>

enum { LOOK_EVERY_MS = 200 };

typedef struct Lease {
    int64_t id, ttl_ns, deadline_ns; /* deadline: monotonic */
    bool is_ending;                  /* a revocation is under way */
} Lease;

struct LeaseTable {
    Writer *writer;
    const Clock *clock;
    GHashTable *leases; /* &Lease.id -> Lease */
    guint timer;
};

typedef struct LeaseCall {
    LeaseTable *table;
    int64_t id;
    StoreDoneFn done;
    void *data;
} LeaseCall;

static Lease *add_lease(LeaseTable *table, int64_t id, int64_t ttl_ns) {
    Lease *lease = g_new0(Lease, 1);
    *lease = (Lease){.id = id, .ttl_ns = ttl_ns, .deadline_ns = clock_monotonic_ns(table->clock) + ttl_ns};
    g_hash_table_replace(table->leases, &lease->id, lease);
    return lease;
}

static void submit(LeaseTable *table, JobKind kind, int64_t id, int64_t ttl_ns, StoreDoneFn finish,
    StoreDoneFn done, void *data) {
    LeaseCall *call = g_new0(LeaseCall, 1);
    *call = (LeaseCall){.table = table, .id = id, .done = done, .data = data};
    const WriterJob job = {.kind = kind, .lease = id, .ttl_ns = ttl_ns, .done = finish, .data = call};
    writer_add(table->writer, &job);
}

/* The grant failed: forget it. */
static void finish_grant(int64_t revision, const Error *err, void *data) {
    LeaseCall *call = data;
    LeaseTable *table = call->table;
    if (err)
        g_hash_table_remove(table->leases, &call->id);
    if (call->done)
        call->done(revision, err, call->data);
    g_free(call);
}

static void finish_revoke(int64_t revision, const Error *err, void *data) {
    LeaseCall *call = data;
    LeaseTable *table = call->table;
    Lease *lease = g_hash_table_lookup(table->leases, &call->id);
    if (lease && err)
        lease->is_ending = false;
    else if (lease)
        g_hash_table_remove(table->leases, &call->id);
    if (call->done)
        call->done(revision, err, call->data);
    g_free(call);
}

static bool is_over(const LeaseTable *table, const Lease *lease) {
    return lease->deadline_ns <= clock_monotonic_ns(table->clock);
}

static gboolean look(void *data) {
    LeaseTable *table = data;
    GHashTableIter iter;
    void *value = NULL;
    g_hash_table_iter_init(&iter, table->leases);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Lease *lease = value;
        if (lease->is_ending || !is_over(table, lease))
            continue;
        lease->is_ending = true;
        submit(table, JOB_LEASE_REVOKE, lease->id, 0, finish_revoke, NULL, NULL);
    }
    if (g_hash_table_size(table->leases) > 0)
        return G_SOURCE_CONTINUE;
    table->timer = 0;
    return G_SOURCE_REMOVE;
}

static void start_timer(LeaseTable *table) {
    if (table->timer == 0 && g_hash_table_size(table->leases) > 0)
        table->timer = g_timeout_add(LOOK_EVERY_MS, look, table);
}

LeaseTable *lease_table_new(SqliteConnection *connection, Writer *writer, const Clock *clock, Error *err) {
    LeaseTable *table = g_new0(LeaseTable, 1);
    *table = (LeaseTable){.writer = writer, .clock = clock};
    table->leases = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    sqlite3_stmt *statement = connection_statement(connection, STATEMENT_LEASES, err);
    bool has_row = statement != NULL, is_read = has_row;
    while (has_row) {
        is_read = connection_step(connection, statement, &has_row, err);
        if (has_row)
            add_lease(table, sqlite3_column_int64(statement, 0), sqlite3_column_int64(statement, 1));
    }
    if (is_read) {
        start_timer(table);
        return table;
    }
    lease_table_free(table);
    return NULL;
}

void lease_table_free(LeaseTable *table) {
    if (!table)
        return;
    g_clear_handle_id(&table->timer, g_source_remove);
    g_hash_table_unref(table->leases);
    g_free(table);
}

int64_t lease_table_grant(LeaseTable *table, int64_t ttl_ns, StoreDoneFn done, void *data) {
    int64_t id = 0;
    while (id == 0 || g_hash_table_contains(table->leases, &id))
        id = (int64_t)g_random_int() << 16 | (int64_t)(g_random_int() & 0xffff); /* positive, below 2^53 */
    add_lease(table, id, ttl_ns);
    start_timer(table);
    submit(table, JOB_LEASE_GRANT, id, ttl_ns, finish_grant, done, data);
    return id;
}

bool lease_table_keep_alive(LeaseTable *table, int64_t id, Error *err) {
    Lease *lease = g_hash_table_lookup(table->leases, &id);
    if (!lease || lease->is_ending || is_over(table, lease))
        return error_set(err, ERROR_NOT_FOUND, NULL, "the lease %" PRId64 " has ended", id);
    lease->deadline_ns = clock_monotonic_ns(table->clock) + lease->ttl_ns;
    return true;
}

void lease_table_revoke(LeaseTable *table, int64_t id, StoreDoneFn done, void *data) {
    Lease *lease = g_hash_table_lookup(table->leases, &id);
    if (lease)
        lease->is_ending = true;
    submit(table, JOB_LEASE_REVOKE, id, 0, finish_revoke, done, data);
}

uint64_t lease_table_length(const LeaseTable *table) {
    return g_hash_table_size(table->leases);
}
