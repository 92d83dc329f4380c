/* A bucket for each address; a full one is worth no memory. */
#include "rpc/rpc-knocks.h"
#include <glib.h>
#include <netinet/in.h>
#include <string.h>

enum { MOST_ADDRESSES = 4096, PREFIX_BYTES = 8 };

typedef struct Bucket {
    char place[PREFIX_BYTES]; /* of an address, or an IPv4 address with zeros behind it */
    int64_t full_ns;          /* when it will be full again: the number that is left follows from it */
    GList link;               /* in the order of the last knocks, the newest first */
} Bucket;

struct RpcKnocks {
    int64_t a_token_ns;
    int at_once;
    const Clock *clock;
    GHashTable *buckets;
    GQueue recent;
};

static guint place_hash(const void *data) {
    uint64_t place;
    memcpy(&place, data, sizeof place);
    return g_int64_hash(&(gint64){(gint64)place});
}

static gboolean place_equal(const void *a, const void *b) {
    return memcmp(a, b, PREFIX_BYTES) == 0;
}

/* An IPv4 address is the same whether it comes by a socket of its own kind or by one for both. */
static void place_of(const struct sockaddr_storage *from, char ret_place[PREFIX_BYTES]) {
    memset(ret_place, 0, PREFIX_BYTES);
    if (from->ss_family == AF_INET) {
        memcpy(ret_place, &((const struct sockaddr_in *)from)->sin_addr, sizeof(struct in_addr));
        return;
    }
    const struct in6_addr *address = &((const struct sockaddr_in6 *)from)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(address))
        memcpy(ret_place, &address->s6_addr[12], sizeof(struct in_addr));
    else
        memcpy(ret_place, address->s6_addr, PREFIX_BYTES);
}

RpcKnocks *rpc_knocks_new(int at_once, int a_second, const Clock *clock) {
    g_assert(at_once > 0 && a_second > 0);
    RpcKnocks *knocks = g_new0(RpcKnocks, 1);
    knocks->a_token_ns = NS_PER_S / a_second;
    knocks->at_once = at_once;
    knocks->clock = clock ? clock : clock_system();
    knocks->buckets = g_hash_table_new_full(place_hash, place_equal, NULL, g_free);
    g_queue_init(&knocks->recent);
    return knocks;
}

void rpc_knocks_free(RpcKnocks *knocks) {
    if (!knocks)
        return;
    g_hash_table_unref(knocks->buckets);
    g_free(knocks);
}

static Bucket *bucket_of(RpcKnocks *self, const char place[PREFIX_BYTES]) {
    Bucket *bucket = g_hash_table_lookup(self->buckets, place);
    if (bucket) {
        g_queue_unlink(&self->recent, &bucket->link);
        g_queue_push_head_link(&self->recent, &bucket->link);
        return bucket;
    }
    if (g_hash_table_size(self->buckets) >= MOST_ADDRESSES) {
        Bucket *oldest = g_queue_pop_tail_link(&self->recent)->data;
        g_hash_table_remove(self->buckets, oldest->place);
    }
    bucket = g_new0(Bucket, 1);
    memcpy(bucket->place, place, PREFIX_BYTES);
    bucket->full_ns = INT64_MIN; /* it is full */
    bucket->link.data = bucket;
    g_queue_push_head_link(&self->recent, &bucket->link);
    g_hash_table_insert(self->buckets, bucket->place, bucket);
    return bucket;
}

bool rpc_knocks_take(RpcKnocks *knocks, const struct sockaddr_storage *from) {
    char place[PREFIX_BYTES];
    int64_t now = clock_monotonic_ns(knocks->clock);
    place_of(from, place);
    Bucket *bucket = bucket_of(knocks, place);
    int64_t full = MAX(bucket->full_ns, now) + knocks->a_token_ns;
    if (full - now > knocks->a_token_ns * knocks->at_once)
        return false;
    bucket->full_ns = full;
    return true;
}
