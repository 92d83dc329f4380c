/* Addresses as people write them. */
#include "rpc/rpc-address.h"
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#define UNIX_PREFIX "unix:"
enum { MOST_ADDRESSES = 16, MAX_HOST = 253, MAX_PORT = 65535 };

void rpc_address_clear(RpcAddress *address) {
    g_clear_pointer(&address->path, g_free);
    g_clear_pointer(&address->host, g_free);
}

/* ---- reading ---- */

static bool refuse(const char *text, Error *err) {
    return error_set(err, ERROR_INVALID, "/address",
        "address: %s is neither unix:PATH nor a host with or without a port, such as node-7, 192.0.2.7:%d or "
        "[2001:db8::7]:%d",
        text, RPC_PORT, RPC_PORT);
}

static bool is_host(const char *host) {
    size_t length = strlen(host);
    bool is_v6 = strchr(host, ':') != NULL;
    const char *allowed = is_v6 ? "0123456789abcdefABCDEF:.%"
                                : "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.";
    if (is_v6 && strchr(host, '%')) /* a zone is the name of an interface */
        return length <= MAX_HOST;
    return length > 0 && length <= MAX_HOST && strspn(host, allowed) == length && host[0] != '-' &&
           host[0] != '.';
}

static bool read_port(const char *text, uint16_t *ret_port) {
    size_t length = strlen(text);
    if (length < 1 || length > 5 || strspn(text, "0123456789") != length)
        return false;
    guint64 port = g_ascii_strtoull(text, NULL, 10);
    *ret_port = (uint16_t)port;
    return port >= 1 && port <= MAX_PORT;
}

/* An IPv6 address has more than one colon; a port behind it needs brackets around it. */
static char *split(const char *text, const char **ret_port) {
    const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
    *ret_port = NULL;
    if (text[0] == '[') {
        if (!bracket || (bracket[1] != ':' && bracket[1] != '\0'))
            return NULL;
        *ret_port = bracket[1] ? bracket + 2 : NULL;
        return g_strndup(text + 1, (size_t)(bracket - text - 1));
    }
    if (colon && strchr(text, ':') == colon) {
        *ret_port = colon + 1;
        return g_strndup(text, (size_t)(colon - text));
    }
    return g_strdup(text);
}

bool rpc_address_parse(const char *text, RpcAddress *ret_address, Error *err) {
    g_auto(RpcAddress) address = {.port = RPC_PORT};
    const char *port = NULL;
    if (g_str_has_prefix(text, UNIX_PREFIX)) {
        address.path = g_strdup(text + strlen(UNIX_PREFIX));
        if (address.path[0] != '/')
            return error_set(
                err, ERROR_INVALID, "/address", "address: the path behind unix: must begin with /");
    } else {
        g_autofree char *host = split(text, &port);
        if (!host || !is_host(host) || (port && !read_port(port, &address.port)))
            return refuse(text, err);
        address.host = g_ascii_strdown(host, -1);
    }
    *ret_address = address;
    address = (RpcAddress){0};
    return true;
}

char *rpc_address_text(const RpcAddress *address) {
    if (address->path)
        return g_strconcat(UNIX_PREFIX, address->path, NULL);
    return strchr(address->host, ':') ? g_strdup_printf("[%s]:%d", address->host, address->port)
                                      : g_strdup_printf("%s:%d", address->host, address->port);
}

/* ---- asking ---- */

static struct addrinfo *ask(const RpcAddress *address, int flags, int *ret_code) {
    struct addrinfo *found = NULL;
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    g_autofree char *port = g_strdup_printf("%d", address->port);
    *ret_code = getaddrinfo(address->host, port, &hints, &found);
    return *ret_code == 0 ? found : NULL;
}

static RpcSocketAddress socket_address_of(const struct addrinfo *found) {
    RpcSocketAddress address = {.length = found->ai_addrlen};
    memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
    return address;
}

bool rpc_address_is_numeric(const RpcAddress *address, RpcSocketAddress *ret_address) {
    int code = 0;
    struct addrinfo *found = address->host ? ask(address, AI_NUMERICHOST, &code) : NULL;
    if (!found)
        return false;
    *ret_address = socket_address_of(found);
    freeaddrinfo(found);
    return true;
}

bool rpc_address_is_own(const RpcSocketAddress *address) {
    const struct sockaddr_in *place = (const struct sockaddr_in *)&address->storage;
    return place->sin_family == AF_INET && ntohl(place->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

bool rpc_address_resolve(const RpcAddress *address, GArray **ret_addresses, Error *err) {
    int code = 0;
    struct addrinfo *found = ask(address, AI_ADDRCONFIG, &code);
    if (!found &&
        code == EAI_NONAME) /* AI_ADDRCONFIG finds nothing on a machine that has only its loopback */
        found = ask(address, 0, &code);
    if (!found)
        return error_set(err, ERROR_UNREACHABLE, "/address", "%s cannot be resolved: %s", address->host,
            gai_strerror(code));
    *ret_addresses = g_array_new(FALSE, FALSE, sizeof(RpcSocketAddress));
    for (const struct addrinfo *each = found; each && (*ret_addresses)->len < MOST_ADDRESSES;
         each = each->ai_next) {
        RpcSocketAddress one = socket_address_of(each);
        g_array_append_val(*ret_addresses, one);
    }
    freeaddrinfo(found);
    return true;
}
