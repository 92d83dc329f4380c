/* Which addresses accept, which refuse, which say nothing: on loopback and on a socket whose queue is full.
 */
#include "rpc/rpc-scan.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include "base/clock.h"
#include "base/file.h"

enum { MANY = 2000 };

typedef struct Results {
    int n[RPC_REACH_NO_WAY + 1], told;
    RpcReach *of;         /* by index */
    Cancel *cancel_after; /* the first result */
} Results;

static void note(size_t index, RpcReach reach, void *data) {
    Results *results = data;
    results->n[reach]++;
    results->told++;
    if (results->of)
        results->of[index] = reach;
    if (results->cancel_after)
        cancel_trigger(results->cancel_after);
}

static RpcSocketAddress loopback(int last, uint16_t port) {
    RpcSocketAddress address = {.length = sizeof(struct sockaddr_in)};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&address.storage;
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + (uint32_t)last);
    return address;
}

static int listen_on(int last, int backlog, uint16_t *ret_port) {
    RpcSocketAddress address = loopback(last, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fd, (const struct sockaddr *)&address.storage, address.length), ==, 0);
    g_assert_cmpint(listen(fd, backlog), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&address.storage, &address.length), ==, 0);
    *ret_port = ntohs(((struct sockaddr_in *)&address.storage)->sin_port);
    return fd;
}

static void test_who_listens_is_found(void) {
    uint16_t port = 0;
    fd_auto int listener = listen_on(77, 16, &port);
    g_assert_cmpint(listener, >=, 0);
    RpcSocketAddress addresses[MANY];
    RpcReach of[MANY];
    Results results = {.of = of};
    const RpcScanOptions options = {.on_result = note, .data = &results};
    for (int i = 0; i < MANY; i++)
        addresses[i] = loopback(i, port);
    g_assert_true(rpc_scan(addresses, MANY, &options, NULL));
    g_assert_cmpint(results.told, ==, MANY);
    g_assert_cmpint(results.n[RPC_REACH_OPEN], ==, 1);
    g_assert_cmpint(of[77], ==, RPC_REACH_OPEN);
    g_assert_cmpint(results.n[RPC_REACH_REFUSED], ==, MANY - 1);
}

/* Nobody accepts, and its queue is full: the kernel answers no further connect. */
static void test_who_is_silent_is_given_up(void) {
    uint16_t port = 0;
    int clients[8];
    fd_auto int listener = listen_on(78, 0, &port);
    g_assert_cmpint(listener, >=, 0);
    RpcSocketAddress address = loopback(78, port);
    for (size_t i = 0; i < G_N_ELEMENTS(clients); i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(clients[i], (const struct sockaddr *)&address.storage, address.length);
    }
    Results results = {0};
    const RpcScanOptions options = {.timeout_ms = 300, .on_result = note, .data = &results};
    int64_t begun_ns = clock_monotonic_ns(clock_system());
    g_assert_true(rpc_scan(&address, 1, &options, NULL));
    g_assert_cmpint(results.n[RPC_REACH_SILENT], ==, 1);
    g_assert_cmpint(clock_monotonic_ns(clock_system()) - begun_ns, >=, 300 * NS_PER_MS);
    for (size_t i = 0; i < G_N_ELEMENTS(clients); i++)
        fd_close(&clients[i]);
}

static void test_not_more_than_allowed_begin(void) {
    RpcSocketAddress addresses[40];
    Results results = {0};
    const RpcScanOptions options = {.most_a_second = 100, .on_result = note, .data = &results};
    for (int i = 0; i < 40; i++)
        addresses[i] = loopback(i, 1);
    int64_t begun_ns = clock_monotonic_ns(clock_system());
    g_assert_true(rpc_scan(addresses, 40, &options, NULL));
    g_assert_cmpint(results.told, ==, 40);
    g_assert_cmpint(clock_monotonic_ns(clock_system()) - begun_ns, >=, 380 * NS_PER_MS);
}

static void test_a_cancel_ends_it(void) {
    RpcSocketAddress addresses[40];
    g_autoptr(Cancel) cancel = cancel_new();
    Results results = {.cancel_after = cancel};
    const RpcScanOptions options = {
        .most_a_second = 10, .cancel = cancel, .on_result = note, .data = &results};
    g_auto(Error) err = {0};
    for (int i = 0; i < 40; i++)
        addresses[i] = loopback(i, 1);
    g_assert_false(rpc_scan(addresses, 40, &options, &err));
    g_assert_cmpint(err.code, ==, ERROR_CANCELLED);
    g_assert_cmpint(results.told, <, 40);
}

static void test_nothing_to_do(void) {
    Results results = {0};
    const RpcScanOptions options = {.on_result = note, .data = &results};
    g_assert_true(rpc_scan(NULL, 0, &options, NULL));
    g_assert_cmpint(results.told, ==, 0);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rpc/scan/found", test_who_listens_is_found);
    g_test_add_func("/rpc/scan/silent", test_who_is_silent_is_given_up);
    g_test_add_func("/rpc/scan/rate", test_not_more_than_allowed_begin);
    g_test_add_func("/rpc/scan/cancel", test_a_cancel_ends_it);
    g_test_add_func("/rpc/scan/nothing", test_nothing_to_do);
    return g_test_run();
}
