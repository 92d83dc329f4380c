/* libvirt notes a transient network in its state folder last when it makes it, and forgets it first when it
 * removes it. */
#include "hypervisor/libvirt/network-remains.h"
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"

enum { LINE_LIMIT = 4096, ARGUMENTS_LIMIT = 64 * 1024, MAC_BYTES = 6, IP_TIMEOUT_MS = 20000 };
/* What dnsmasq gets to end by itself. */
enum { POLITE_MS = 2000, KILLED_MS = 2000 };

char *network_bridge_mac(const char *network_id) {
    /* 02: locally administered, not multicast (IEEE 802). */
    uint8_t mac[MAC_BYTES] = {0x02};
    uint8_t digest[32];
    size_t length = sizeof digest;
    g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
    g_checksum_update(checksum, (const guchar *)network_id, -1);
    g_checksum_get_digest(checksum, digest, &length);
    memcpy(mac + 1, digest, MAC_BYTES - 1);
    return g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

/* libvirt starts "dnsmasq --conf-file=FOLDER/NAME.conf …". */
static bool serves_network(const char *pid, const char *name) {
    g_autofree char *path = g_strdup_printf("/proc/%s/cmdline", pid);
    g_autofree char *end = g_strdup_printf("/dnsmasq/%s.conf", name);
    g_autofree char *words = NULL;
    size_t length = 0;
    if (!file_read(path, ARGUMENTS_LIMIT, &words, &length, NULL))
        return false;
    const char *word = words;
    bool is_dnsmasq = g_str_has_suffix(word, "dnsmasq");
    while (is_dnsmasq && word < words + length) {
        if (g_str_has_prefix(word, "--conf-file=") && g_str_has_suffix(word, end))
            return true;
        word += strlen(word) + 1;
    }
    return false;
}

static bool ends_within(int pidfd, int timeout_ms) {
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    return poll(&ended, 1, timeout_ms) > 0;
}

/* The descriptor is opened before the process is looked at: its number cannot be another's meanwhile. */
static void end_server(const char *pid_text, const char *name) {
    fd_auto int pidfd = pidfd_open((pid_t)g_ascii_strtoll(pid_text, NULL, 10), 0);
    if (pidfd < 0 || !serves_network(pid_text, name))
        return;
    log_warning("network %s: ending the DHCP server %s that a killed libvirt left", name, pid_text);
    if (pidfd_send_signal(pidfd, SIGTERM, NULL, 0) == 0 && !ends_within(pidfd, POLITE_MS) &&
        pidfd_send_signal(pidfd, SIGKILL, NULL, 0) == 0)
        ends_within(pidfd, KILLED_MS);
}

static void end_servers(const char *name) {
    g_autoptr(GDir) processes = g_dir_open("/proc", 0, NULL);
    const char *entry;
    while (processes && (entry = g_dir_read_name(processes)))
        if (g_ascii_isdigit(*entry))
            end_server(entry, name);
}

static bool is_our_bridge(const char *bridge, const char *mac) {
    g_autofree char *kind = g_strdup_printf("/sys/class/net/%s/bridge", bridge);
    g_autofree char *path = g_strdup_printf("/sys/class/net/%s/address", bridge);
    g_autofree char *address = NULL;
    return g_file_test(kind, G_FILE_TEST_IS_DIR) && file_read(path, LINE_LIMIT, &address, NULL, NULL) &&
           strcmp(g_strchomp(address), mac) == 0;
}

static bool has_members(const char *bridge) {
    g_autofree char *path = g_strdup_printf("/sys/class/net/%s/brif", bridge);
    g_autoptr(GDir) members = g_dir_open(path, 0, NULL);
    return members && g_dir_read_name(members);
}

bool network_remains_remove(const char *name, const char *bridge, const char *mac, Error *err) {
    end_servers(name);
    if (strchr(bridge, '/') || !is_our_bridge(bridge, mac))
        return true;
    if (has_members(bridge))
        return error_set(err, ERROR_IN_USE, "/bridge",
            "guests are plugged into the bridge %s, which libvirt has lost", bridge);
    log_warning("network %s: removing the bridge %s that a killed libvirt left", name, bridge);
    const char *const argv[] = {"ip", "link", "delete", "dev", bridge, "type", "bridge", NULL};
    const ProcessSpec spec = {.argv = argv, .timeout_ms = IP_TIMEOUT_MS};
    return process_run(&spec, NULL, err) ||
           error_wrap(err, ERROR_NONE, "the bridge %s of a lost network stays", bridge);
}
