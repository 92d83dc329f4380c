/* Proves who may connect to a UNIX socket, and that a socket in use is never taken away. */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"
#include "rpc/rpc-listener.h"
#include "rpc/test-rpc-side.h"

typedef struct Place {
    char *folder, *path;
    RpcListener *listener;
    GPtrArray *streams;
    RpcPeer last_peer;
    bool refuse_all;
} Place;

static bool is_welcome(const RpcPeer *peer, void *data) {
    Place *place = data;
    place->last_peer = *peer;
    return !place->refuse_all;
}

static void on_stream(RpcStream *take_stream, const RpcPeer *peer G_GNUC_UNUSED, void *data) {
    g_ptr_array_add(((Place *)data)->streams, take_stream);
}

static void place_init(Place *place) {
    *place = (Place){.folder = g_dir_make_tmp("lodge-rpc-XXXXXX", NULL)};
    place->path = g_build_filename(place->folder, "socket", NULL);
    place->streams = g_ptr_array_new_with_free_func((GDestroyNotify)rpc_stream_free);
}

static void place_clear(Place *place) {
    rpc_listener_free(place->listener);
    g_ptr_array_unref(place->streams);
    tree_remove(place->folder, NULL);
    g_free(place->folder);
    g_free(place->path);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Place, place_clear)

static bool place_listen(Place *place, int max_connections, Error *err) {
    const RpcListenerOptions options = {
        .path = place->path,
        .mode = 0660,
        .gid = (gid_t)-1,
        .max_connections = max_connections,
        .is_welcome = is_welcome,
        .on_stream = on_stream,
        .data = place,
    };
    RpcListener *listener = rpc_listener_new(&options, err);
    if (listener)
        place->listener = listener;
    return listener != NULL;
}

static void test_peer_is_known_before_it_speaks(void) {
    g_auto(Place) place;
    place_init(&place);
    g_assert_true(place_listen(&place, 0, NULL));
    struct stat status;
    g_assert_cmpint(stat(place.path, &status), ==, 0);
    g_assert_cmpint(status.st_mode & 0777, ==, 0660);
    g_autoptr(RpcStream) client = rpc_stream_connect_unix(place.path, NULL);
    g_assert_nonnull(client);
    WAIT_FOR(place.streams->len == 1);
    g_assert_cmpuint(place.last_peer.uid, ==, getuid());
    g_assert_cmpuint(place.last_peer.gid, ==, getgid());
    g_assert_cmpint(place.last_peer.pid, ==, getpid());
}

static void test_unwelcome_peer_is_closed_unheard(void) {
    g_auto(Place) place;
    place_init(&place);
    place.refuse_all = true;
    g_assert_true(place_listen(&place, 0, NULL));
    g_autoptr(RpcStream) client = rpc_stream_connect_unix(place.path, NULL);
    g_assert_nonnull(client);
    WAIT_FOR(rpc_listener_refused(place.listener) == 1);
    g_assert_cmpuint(place.streams->len, ==, 0);
    char byte;
    size_t n = 0;
    g_assert_cmpint(rpc_stream_read(client, &byte, 1, &n, NULL), ==, RPC_IO_END);
}

static void test_connections_are_limited_and_the_place_comes_back(void) {
    g_auto(Place) place;
    place_init(&place);
    g_assert_true(place_listen(&place, 2, NULL));
    RpcStream *clients[3];
    for (size_t i = 0; i < 3; i++)
        clients[i] = rpc_stream_connect_unix(place.path, NULL);
    WAIT_FOR(rpc_listener_refused(place.listener) == 1);
    g_assert_cmpint(rpc_listener_connections(place.listener), ==, 2);
    g_ptr_array_remove_index(place.streams, 0);
    g_assert_cmpint(rpc_listener_connections(place.listener), ==, 1);
    g_autoptr(RpcStream) another = rpc_stream_connect_unix(place.path, NULL);
    g_assert_nonnull(another);
    WAIT_FOR(rpc_listener_connections(place.listener) == 2);
    for (size_t i = 0; i < 3; i++)
        rpc_stream_free(clients[i]);
}

static void test_socket_in_use_is_left_alone(void) {
    g_auto(Place) place;
    place_init(&place);
    g_assert_true(place_listen(&place, 0, NULL));
    g_auto(Error) err = {0};
    g_assert_false(place_listen(&place, 0, &err));
    g_assert_cmpint(err.code, ==, ERROR_IN_USE);
    g_autoptr(RpcStream) client = rpc_stream_connect_unix(place.path, NULL);
    g_assert_nonnull(client);
}

static void test_stale_socket_is_replaced(void) {
    g_auto(Place) place;
    place_init(&place);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_strlcpy(address.sun_path, place.path, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fd, (const struct sockaddr *)&address, sizeof address), ==, 0);
    close(fd);
    g_assert_true(place_listen(&place, 0, NULL));
    g_autoptr(RpcStream) client = rpc_stream_connect_unix(place.path, NULL);
    g_assert_nonnull(client);
    WAIT_FOR(place.streams->len == 1);
    g_clear_pointer(&place.listener, rpc_listener_free);
    g_assert_false(g_file_test(place.path, G_FILE_TEST_EXISTS));
}

static void test_other_files_are_never_replaced(void) {
    g_auto(Place) place;
    place_init(&place);
    g_assert_true(file_replace(place.path, "precious", 8, 0600, NULL));
    g_auto(Error) err = {0};
    g_assert_false(place_listen(&place, 0, &err));
    g_assert_cmpint(err.code, ==, ERROR_EXISTS);
    g_assert_true(g_file_test(place.path, G_FILE_TEST_IS_REGULAR));
}

static void test_freeing_does_not_remove_a_successors_socket(void) {
    g_auto(Place) place;
    place_init(&place);
    g_assert_true(place_listen(&place, 0, NULL));
    g_assert_cmpint(unlink(place.path), ==, 0);
    RpcListener *first = g_steal_pointer(&place.listener);
    g_assert_true(place_listen(&place, 0, NULL));
    rpc_listener_free(first);
    g_autoptr(RpcStream) client = rpc_stream_connect_unix(place.path, NULL);
    g_assert_nonnull(client);
}

static void test_nobody_there_is_unreachable(void) {
    g_auto(Place) place;
    place_init(&place);
    g_auto(Error) err = {0};
    g_assert_null(rpc_stream_connect_unix(place.path, &err));
    g_assert_cmpint(err.code, ==, ERROR_UNREACHABLE);
}

static RpcListener *listen_bare(Place *place, const char *host, Error *err) {
    RpcAddress address = {.host = (char *)host}; /* the kernel chooses a port */
    const RpcListenerOptions options = {.address = &address,
        .is_bare = true,
        .tls.clock = clock_system(),
        .on_stream = on_stream,
        .data = place};
    return rpc_listener_new(&options, err);
}

static void test_an_address_of_the_machines_own_is_bare(void) {
    g_auto(Place) place;
    place_init(&place);
    place.listener = listen_bare(&place, "127.70.1.2", NULL);
    g_assert_nonnull(place.listener);
    g_autofree char *text = g_strdup_printf("127.70.1.2:%d", rpc_listener_port(place.listener));
    g_autoptr(RpcStream) client = rpc_stream_connect_own(text, NULL);
    g_assert_nonnull(client);
    WAIT_FOR(place.streams->len == 1);
    size_t n = 0;
    char byte = 0;
    g_assert_cmpint(rpc_stream_write(client, "x", 1, &n, NULL), ==, RPC_IO_DONE);
    WAIT_FOR(byte == 'x' || rpc_stream_read(place.streams->pdata[0], &byte, 1, &n, NULL) == RPC_IO_DONE);
}

static void test_no_other_address_is_ever_bare(void) {
    g_auto(Place) place;
    place_init(&place);
    static const char *const others[] = {"0.0.0.0", "192.0.2.1", "::", "::1"};
    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        g_auto(Error) err = {0};
        g_assert_null(listen_bare(&place, others[i], &err));
        g_assert_cmpint(err.code, ==, ERROR_DENIED);
    }
    static const char *const places[] = {"192.0.2.1:7445", "[::1]:7445", "localhost:7445"};
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        g_auto(Error) err = {0};
        g_assert_null(rpc_stream_connect_own(places[i], &err));
        g_assert_cmpint(err.code, ==, ERROR_DENIED);
    }
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rpc-listener/peer", test_peer_is_known_before_it_speaks);
    g_test_add_func("/rpc-listener/unwelcome", test_unwelcome_peer_is_closed_unheard);
    g_test_add_func("/rpc-listener/limit", test_connections_are_limited_and_the_place_comes_back);
    g_test_add_func("/rpc-listener/in-use", test_socket_in_use_is_left_alone);
    g_test_add_func("/rpc-listener/stale", test_stale_socket_is_replaced);
    g_test_add_func("/rpc-listener/other-file", test_other_files_are_never_replaced);
    g_test_add_func("/rpc-listener/successor", test_freeing_does_not_remove_a_successors_socket);
    g_test_add_func("/rpc-listener/nobody", test_nobody_there_is_unreachable);
    g_test_add_func("/rpc-listener/bare", test_an_address_of_the_machines_own_is_bare);
    g_test_add_func("/rpc-listener/never-bare", test_no_other_address_is_ever_bare);
    return g_test_run();
}
