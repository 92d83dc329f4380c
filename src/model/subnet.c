#include "model/subnet.h"
#include <arpa/inet.h>
#include <glib.h>

enum { SHORTEST_PREFIX = 8, LONGEST_PREFIX = 29 };

bool subnet_from_text(const char *text, Subnet *ret) {
    g_auto(GStrv) parts = g_strsplit(text, "/", 3);
    struct in_addr address;
    guint64 length = 0;
    if (g_strv_length(parts) != 2 || inet_pton(AF_INET, parts[0], &address) != 1 ||
        !g_ascii_string_to_unsigned(parts[1], 10, SHORTEST_PREFIX, LONGEST_PREFIX, &length, NULL))
        return false;
    ret->prefix_length = (int)length;
    ret->mask = UINT32_MAX << (32 - length);
    ret->first = ntohl(address.s_addr) & ret->mask;
    return true;
}

bool subnet_overlaps(const Subnet *a, const Subnet *b) {
    uint32_t mask = a->mask & b->mask;
    return (a->first & mask) == (b->first & mask);
}

bool subnet_is_private(const Subnet *subnet) {
    static const char *const ranges[] = {
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15"};
    for (size_t i = 0; i < G_N_ELEMENTS(ranges); i++) {
        Subnet range;
        g_assert(subnet_from_text(ranges[i], &range));
        if (subnet->prefix_length >= range.prefix_length && subnet_overlaps(subnet, &range))
            return true;
    }
    return false;
}

char *subnet_address_text(uint32_t address) {
    return g_strdup_printf(
        "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
}
