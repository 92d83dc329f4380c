/* IPv4 subnets: "192.168.77.0/24". Pure; any thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef struct Subnet {
    uint32_t first, mask; /* host byte order */
    int prefix_length;
} Subnet;

/* False unless it is an address, a slash and a prefix length of 8 to 29; bits behind the prefix are dropped.
 */
bool subnet_from_text(const char *text, Subnet *ret);
bool subnet_overlaps(const Subnet *a, const Subnet *b);
/* Whether all of it is for private use: RFC 1918, RFC 6598, RFC 2544. */
bool subnet_is_private(const Subnet *subnet);
/* "192.168.77.1", newly allocated. */
char *subnet_address_text(uint32_t address);
