/* Networks and ranges, counted up in the bytes of their addresses. */
#include "rpc/rpc-range.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

enum { V4_BYTES = 4, V6_BYTES = 16, MAX_TEXT = 255 };

/* An address of either family; the bytes in network order. */
typedef struct Bytes {
    int family;
    size_t n;
    uint8_t bytes[V6_BYTES];
} Bytes;

static void target_clear(void *data) {
    g_free(((RpcTarget *)data)->host);
}

void rpc_targets_init(RpcTargets *targets) {
    targets->addresses = g_array_new(FALSE, TRUE, sizeof(RpcTarget));
    g_array_set_clear_func(targets->addresses, target_clear);
    targets->seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

void rpc_targets_clear(RpcTargets *targets) {
    g_clear_pointer(&targets->addresses, g_array_unref);
    g_clear_pointer(&targets->seen, g_hash_table_unref);
}

/* ---- one address ---- */

static bool bytes_from(const char *text, Bytes *ret_bytes) {
    *ret_bytes = (Bytes){.family = AF_INET, .n = V4_BYTES};
    if (inet_pton(AF_INET, text, ret_bytes->bytes) == 1)
        return true;
    *ret_bytes = (Bytes){.family = AF_INET6, .n = V6_BYTES};
    return inet_pton(AF_INET6, text, ret_bytes->bytes) == 1;
}

static RpcSocketAddress socket_of(const Bytes *address, uint16_t port) {
    RpcSocketAddress socket = {0};
    if (address->family == AF_INET) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&socket.storage;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        memcpy(&v4->sin_addr, address->bytes, V4_BYTES);
        socket.length = sizeof *v4;
    } else {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&socket.storage;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        memcpy(&v6->sin6_addr, address->bytes, V6_BYTES);
        socket.length = sizeof *v6;
    }
    return socket;
}

static bool take(RpcTargets *targets, RpcTarget target, Error *err) {
    char *key = g_strdup_printf("%s %d", target.host, target.port);
    void *index = NULL;
    if (g_hash_table_lookup_extended(targets->seen, key, NULL, &index)) {
        g_array_index(targets->addresses, RpcTarget, GPOINTER_TO_UINT(index)).is_named |= target.is_named;
        g_free(key);
        g_free(target.host);
        return true;
    }
    if (targets->addresses->len >= RPC_RANGE_MOST) {
        g_free(key);
        g_free(target.host);
        return error_set(err, ERROR_TOO_LARGE, "/addresses",
            "addresses: more than %d; ask for a part of them at a time", RPC_RANGE_MOST);
    }
    g_hash_table_insert(targets->seen, key, GUINT_TO_POINTER(targets->addresses->len));
    g_array_append_val(targets->addresses, target);
    return true;
}

static bool add_bytes(RpcTargets *targets, const Bytes *address, bool is_named, Error *err) {
    char text[INET6_ADDRSTRLEN];
    g_assert(inet_ntop(address->family, address->bytes, text, sizeof text));
    RpcTarget target = {.socket = socket_of(address, RPC_PORT),
        .host = g_strdup(text),
        .port = RPC_PORT,
        .is_named = is_named};
    return take(targets, target, err);
}

/* ---- networks and ranges ---- */

static void count_up(Bytes *address) {
    for (size_t i = address->n; i > 0 && ++address->bytes[i - 1] == 0; i--)
        ;
}

static int compare(const Bytes *a, const Bytes *b) {
    return memcmp(a->bytes, b->bytes, a->n);
}

static bool add_all(RpcTargets *targets, Bytes first, const Bytes *last, Error *err) {
    for (bool goes_on = true; goes_on; count_up(&first)) {
        if (!add_bytes(targets, &first, false, err))
            return false;
        goes_on = compare(&first, last) < 0;
    }
    return true;
}

static bool refuse(const char *text, const char *why, Error *err) {
    return error_set(err, ERROR_INVALID, "/addresses", "addresses: %s: %s", text, why);
}

static bool read_number(const char *text, unsigned most, unsigned *ret_number) {
    guint64 number = 0;
    if (!g_ascii_string_to_unsigned(text, 10, 0, most, &number, NULL))
        return false;
    *ret_number = (unsigned)number;
    return true;
}

static void set_bits_from(Bytes *address, unsigned bit, bool value) {
    for (; bit < address->n * 8; bit++) {
        uint8_t mask = (uint8_t)(0x80 >> (bit % 8));
        address->bytes[bit / 8] =
            (uint8_t)(value ? address->bytes[bit / 8] | mask : address->bytes[bit / 8] & ~mask);
    }
}

static bool add_network(RpcTargets *targets, const char *text, const char *slash, Error *err) {
    g_autofree char *host = g_strndup(text, (size_t)(slash - text));
    Bytes first, last;
    unsigned prefix = 0;
    if (!bytes_from(host, &first))
        return refuse(text, "a network is an address, a slash and a number of bits", err);
    unsigned bits = (unsigned)first.n * 8;
    if (!read_number(slash + 1, bits, &prefix))
        return refuse(text, "that is no number of bits", err);
    if (bits - prefix > 16)
        return refuse(text, "that are more than 65,536 addresses; ask for a part of them at a time", err);
    last = first;
    set_bits_from(&first, prefix, false);
    set_bits_from(&last, prefix, true);
    if (first.family == AF_INET && bits - prefix > 1) { /* itself, and broadcast */
        first.bytes[V4_BYTES - 1]++;
        last.bytes[V4_BYTES - 1]--;
    }
    return add_all(targets, first, &last, err);
}

/* False when that is no range at all: names may have hyphens. */
static bool is_range(const char *text, Bytes *ret_first, const char **ret_last) {
    const char *hyphen = strchr(text, '-');
    g_autofree char *first = hyphen ? g_strndup(text, (size_t)(hyphen - text)) : NULL;
    *ret_last = hyphen ? hyphen + 1 : NULL;
    return first && bytes_from(first, ret_first);
}

static bool add_range(
    RpcTargets *targets, const char *text, const Bytes *first, const char *last_text, Error *err) {
    Bytes last = *first, whole;
    unsigned number = 0;
    if (bytes_from(last_text, &whole) && whole.family == first->family)
        last = whole;
    else if (first->family == AF_INET && read_number(last_text, UINT8_MAX, &number))
        last.bytes[V4_BYTES - 1] = (uint8_t)number;
    else
        return refuse(text, "a range ends with a number or an address, as in 192.0.2.5-40", err);
    if (compare(first, &last) > 0)
        return refuse(text, "a range begins with its lowest address", err);
    return add_all(targets, *first, &last, err);
}

bool rpc_targets_add(RpcTargets *targets, const char *text, Error *err) {
    g_auto(RpcAddress) address = {0};
    Bytes first;
    const char *slash = strchr(text, '/'), *last = NULL;
    if (strlen(text) > MAX_TEXT)
        return error_set(err, ERROR_INVALID, "/addresses", "addresses: one is too long");
    if (slash && !g_str_has_prefix(text, "unix:"))
        return add_network(targets, text, slash, err);
    if (is_range(text, &first, &last))
        return add_range(targets, text, &first, last, err);
    if (bytes_from(text, &first))
        return add_bytes(targets, &first, true, err);
    if (!rpc_address_parse(text, &address, err))
        return false;
    if (address.path)
        return refuse(text, "only hosts can be searched for", err);
    RpcTarget target = {.host = g_strdup(address.host), .port = address.port, .is_named = true};
    if (!rpc_address_is_numeric(&address, &target.socket))
        target.socket.length = 0;
    return take(targets, target, err);
}
