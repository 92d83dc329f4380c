/* Connects in order, ends in any: a ring of slots, each with the time when it is given up. */
#include "rpc/rpc-scan.h"
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"

enum {
    AT_ONCE = 1024,
    TIMEOUT_MS = 1500,
    EVENTS = 256,
    LONGEST_WAIT_MS = 100, /* a cancel is seen by then */
    SPARE_DESCRIPTORS = 128
};

const RpcService rpc_services[RPC_SERVICES] = {{22, "ssh"}, {16509, "libvirt"}, {16514, "libvirt"}};

typedef struct Slot {
    GList link; /* in `order` or `free` */
    int fd;     /* -1: free */
    size_t index;
    int64_t end_ns;
} Slot;

typedef struct Scan {
    const RpcSocketAddress *addresses;
    size_t n, next, n_open;
    RpcScanOptions options;
    int epoll;
    Slot *slots;
    size_t n_slots;
    GQueue order; /* of slots, the oldest first: all have the same time, so that one ends after the other */
    GQueue free;
    int64_t begun_ns;
    int spare; /* a socket whose connect was refused at once: it can connect again; or -1 */
    int spare_family;
} Scan;

static int64_t now_ns(void) {
    return clock_monotonic_ns(clock_system());
}

static RpcReach reach_of(int reason) {
    switch (reason) {
    case 0:
        return RPC_REACH_OPEN;
    case ECONNREFUSED:
    case ECONNRESET:
        return RPC_REACH_REFUSED;
    case ETIMEDOUT:
        return RPC_REACH_SILENT;
    default:
        return RPC_REACH_NO_WAY;
    }
}

static void tell(const Scan *scan, size_t index, RpcReach reach) {
    scan->options.on_result(index, reach, scan->options.data);
}

/* Without lingering in TIME_WAIT: thousands of them would use up the local ports. */
static void hang_up(int *fd) {
    const struct linger at_once = {.l_onoff = 1};
    setsockopt(*fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    fd_close(fd);
}

static void end_slot(Scan *scan, Slot *slot, RpcReach reach) {
    hang_up(&slot->fd);
    scan->n_open--;
    g_queue_push_tail_link(&scan->free, &slot->link);
    tell(scan, slot->index, reach);
}

/* ---- beginning ---- */

/* How many may have begun by now. */
static size_t allowance(const Scan *scan) {
    if (scan->options.most_a_second == 0)
        return scan->n;
    double seconds = (double)(now_ns() - scan->begun_ns) / (double)NS_PER_S;
    return (size_t)(seconds * scan->options.most_a_second) + 1;
}

static int take_socket(Scan *scan, int family) {
    if (scan->spare >= 0 && scan->spare_family == family)
        return fd_steal(&scan->spare);
    return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* EINPROGRESS, or how it ended. On one machine the answer is there before connect() returns, which a second
 * call fetches; it also makes a refused socket good for another try (connect(2): Linux). */
static int try_to_connect(int fd, const RpcSocketAddress *address) {
    const struct sockaddr *place = (const struct sockaddr *)&address->storage;
    if (connect(fd, place, address->length) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return errno;
    if (connect(fd, place, address->length) == 0 || errno == EISCONN)
        return 0;
    return errno == EALREADY ? EINPROGRESS : errno;
}

static void keep_or_hang_up(Scan *scan, int take_fd, int reason, int family) {
    if (reason != ECONNREFUSED || scan->spare >= 0) {
        hang_up(&take_fd);
        return;
    }
    scan->spare = take_fd;
    scan->spare_family = family;
}

static bool watch(Scan *scan, int take_fd, size_t index, Error *err) {
    Slot *slot = g_queue_pop_head_link(&scan->free)->data;
    slot->fd = take_fd;
    slot->index = index;
    slot->end_ns = now_ns() + scan->options.timeout_ms * NS_PER_MS;
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = slot};
    scan->n_open++;
    g_queue_push_tail_link(&scan->order, &slot->link);
    return epoll_ctl(scan->epoll, EPOLL_CTL_ADD, slot->fd, &event) == 0 ||
           error_set_errno(err, errno, "watching a socket");
}

static bool begin_one(Scan *scan, Error *err) {
    const RpcSocketAddress *address = &scan->addresses[scan->next];
    int family = address->storage.ss_family;
    int fd = take_socket(scan, family);
    if (fd < 0)
        return error_set_errno(err, errno, "opening a socket");
    size_t index = scan->next++;
    int reason = try_to_connect(fd, address);
    if (reason == EINPROGRESS)
        return watch(scan, fd, index, err);
    keep_or_hang_up(scan, fd, reason, family);
    tell(scan, index, reach_of(reason));
    return true;
}

static bool begin_some(Scan *scan, Error *err) {
    size_t most = MIN(scan->n, allowance(scan));
    for (int i = 0; i < AT_ONCE && scan->next < most && !g_queue_is_empty(&scan->free); i++)
        if (!begin_one(scan, err))
            return false;
    return true;
}

/* ---- ending ---- */

static void take_event(Scan *scan, Slot *slot) {
    int reason = 0;
    socklen_t length = sizeof reason;
    if (getsockopt(slot->fd, SOL_SOCKET, SO_ERROR, &reason, &length) < 0)
        reason = errno;
    g_queue_unlink(&scan->order, &slot->link);
    end_slot(scan, slot, reach_of(reason));
}

static void give_up_old_ones(Scan *scan) {
    int64_t now = now_ns();
    for (Slot *slot; (slot = g_queue_peek_head(&scan->order)) && slot->end_ns <= now;) {
        g_queue_unlink(&scan->order, &slot->link);
        end_slot(scan, slot, RPC_REACH_SILENT);
    }
}

/* Until something can happen. */
static int wait_ms(const Scan *scan) {
    bool could_begin = scan->next < scan->n && !g_queue_is_empty((GQueue *)&scan->free);
    const Slot *oldest = g_queue_peek_head((GQueue *)&scan->order);
    int64_t wait = LONGEST_WAIT_MS;
    if (could_begin)
        wait = scan->options.most_a_second ? MAX(1, 1000 / scan->options.most_a_second) : 0;
    if (oldest)
        wait = MIN(wait, MAX(0, (oldest->end_ns - now_ns()) / NS_PER_MS + 1));
    return (int)wait;
}

static bool turn(Scan *scan, Error *err) {
    struct epoll_event events[EVENTS];
    if (scan->options.cancel && !cancel_check(scan->options.cancel, err))
        return false;
    if (!begin_some(scan, err))
        return false;
    int n = epoll_wait(scan->epoll, events, EVENTS, wait_ms(scan));
    if (n < 0 && errno != EINTR)
        return error_set_errno(err, errno, "waiting for sockets");
    for (int i = 0; i < n; i++)
        take_event(scan, events[i].data.ptr);
    give_up_old_ones(scan);
    return true;
}

/* ---- all of it ---- */

static size_t descriptors_left(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return AT_ONCE;
    return limit.rlim_cur > 2 * SPARE_DESCRIPTORS ? (size_t)limit.rlim_cur - 2 * SPARE_DESCRIPTORS
                                                  : SPARE_DESCRIPTORS / 2;
}

bool rpc_scan(const RpcSocketAddress *addresses, size_t n, const RpcScanOptions *options, Error *err) {
    Scan scan = {.addresses = addresses, .n = n, .options = *options, .begun_ns = now_ns()};
    if (scan.options.timeout_ms == 0)
        scan.options.timeout_ms = TIMEOUT_MS;
    scan.n_slots = MIN((size_t)(options->most_at_once ? options->most_at_once : AT_ONCE), descriptors_left());
    scan.slots = g_new0(Slot, scan.n_slots);
    for (size_t i = 0; i < scan.n_slots; i++) {
        scan.slots[i].fd = -1;
        scan.slots[i].link.data = &scan.slots[i];
        g_queue_push_tail_link(&scan.free, &scan.slots[i].link);
    }
    scan.spare = -1;
    scan.epoll = epoll_create1(EPOLL_CLOEXEC);
    bool is_good = scan.epoll >= 0 || error_set_errno(err, errno, "opening an epoll descriptor");
    while (is_good && (scan.next < n || scan.n_open > 0))
        is_good = turn(&scan, err);
    for (size_t i = 0; i < scan.n_slots; i++)
        if (scan.slots[i].fd >= 0)
            hang_up(&scan.slots[i].fd);
    fd_close(&scan.spare);
    fd_close(&scan.epoll);
    g_free(scan.slots); /* with the links of both queues */
    return is_good;
}
