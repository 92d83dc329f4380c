/*
 * Deadlines of the leases, in memory; the leases themselves are rows that the writer makes and deletes. Main
 * loop's thread.
 */
#pragma once
#include "store/sqlite/writer.h"

typedef struct LeaseTable LeaseTable;

/* Reads the leases that the file holds; each gets its full time. `writer` stays the caller's. */
LeaseTable *lease_table_new(SqliteConnection *connection, Writer *writer, const Clock *clock, Error *err);
void lease_table_free(LeaseTable *table); /* accepts NULL; after the writer has stopped: its jobs call back */

int64_t lease_table_grant(LeaseTable *table, int64_t ttl_ns, StoreDoneFn done, void *data);
bool lease_table_keep_alive(LeaseTable *table, int64_t lease, Error *err);
void lease_table_revoke(LeaseTable *table, int64_t lease, StoreDoneFn done, void *data);
uint64_t lease_table_length(const LeaseTable *table);
