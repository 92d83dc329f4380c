/* IPv4 blocks from RFC 6890, IPv6 classes from RFC 4291; NAT64 (RFC 6052) and 6to4 (RFC 3056) hide IPv4. */
#include "fetch/address.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

typedef enum Class { CLASS_ORDINARY, CLASS_OWN, CLASS_LINK_LOCAL, CLASS_MANY } Class;

static const struct {
    uint32_t network, mask;
    Class class;
} blocks[] = {
    {0x00000000, 0xff000000, CLASS_OWN},        /* 0.0.0.0/8 */
    {0x7f000000, 0xff000000, CLASS_OWN},        /* 127.0.0.0/8 */
    {0xa9fe0000, 0xffff0000, CLASS_LINK_LOCAL}, /* 169.254.0.0/16 */
    {0xe0000000, 0xe0000000, CLASS_MANY},       /* 224.0.0.0/3: multicast, reserved, broadcast */
};

static Class class_of_v4(uint32_t address) {
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if ((address & blocks[i].mask) == blocks[i].network)
            return blocks[i].class;
    return CLASS_ORDINARY;
}

/* Where an IPv6 address holds an IPv4 one; -1 when it holds none. */
static int hidden_v4(const struct in6_addr *address) {
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    if (IN6_IS_ADDR_V4MAPPED(address) || IN6_IS_ADDR_V4COMPAT(address) ||
        memcmp(address->s6_addr, nat64, sizeof nat64) == 0)
        return 12;
    return address->s6_addr[0] == 0x20 && address->s6_addr[1] == 0x02 ? 2 : -1;
}

static uint32_t v4_at(const struct in6_addr *address, int offset) {
    uint32_t value;
    memcpy(&value, address->s6_addr + offset, sizeof value);
    return ntohl(value);
}

static Class class_of_v6(const struct in6_addr *address) {
    if (IN6_IS_ADDR_LOOPBACK(address) || IN6_IS_ADDR_UNSPECIFIED(address))
        return CLASS_OWN;
    if (IN6_IS_ADDR_LINKLOCAL(address))
        return CLASS_LINK_LOCAL;
    if (IN6_IS_ADDR_MULTICAST(address))
        return CLASS_MANY;
    int offset = hidden_v4(address);
    return offset < 0 ? CLASS_ORDINARY : class_of_v4(v4_at(address, offset));
}

static bool is_same(const struct sockaddr *a, const struct sockaddr *b) {
    if (!b || a->sa_family != b->sa_family)
        return false;
    if (a->sa_family == AF_INET)
        return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)b)->sin_addr.s_addr;
    return IN6_ARE_ADDR_EQUAL(
        &((const struct sockaddr_in6 *)a)->sin6_addr, &((const struct sockaddr_in6 *)b)->sin6_addr);
}

static bool is_own(const struct sockaddr *address, const struct ifaddrs *own) {
    struct sockaddr_in plain = {.sin_family = AF_INET};
    if (address->sa_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)address)->sin6_addr;
        int offset = hidden_v4(v6);
        if (offset >= 0)
            plain.sin_addr.s_addr = htonl(v4_at(v6, offset));
    }
    for (; own; own = own->ifa_next)
        if (is_same(address, own->ifa_addr) ||
            (plain.sin_addr.s_addr && is_same((const struct sockaddr *)&plain, own->ifa_addr)))
            return true;
    return false;
}

const char *address_refusal(const struct sockaddr *address, const struct ifaddrs *own, bool allows_own) {
    Class class = CLASS_MANY;
    if (address->sa_family == AF_INET)
        class = class_of_v4(ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr));
    else if (address->sa_family == AF_INET6)
        class = class_of_v6(&((const struct sockaddr_in6 *)address)->sin6_addr);
    if (class == CLASS_ORDINARY && is_own(address, own))
        class = CLASS_OWN;
    if (class == CLASS_OWN)
        return allows_own ? NULL : "the address is this host itself";
    if (class == CLASS_LINK_LOCAL)
        return "the address is link-local";
    return class == CLASS_MANY ? "the address is not one machine's" : NULL;
}
