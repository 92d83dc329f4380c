/* Proves one-time tickets over a real listener-like pair, and the pump between two streams. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "rpc/rpc-frame.h"
#include "rpc/rpc-splice.h"
#include "rpc/test-rpc-side.h"

typedef struct Desk {
    FakeClock clock;
    RpcTickets *tickets;
    Side server;
    RpcStream *at_server; /* what the consumer got */
    GString *got;         /* "console vm-1;" for each hand-over */
    int data_freed;
    /* What the client got. */
    RpcStream *at_client;
    Error error;
    int opened;
} Desk;

static void desk_init(Desk *desk) {
    *desk = (Desk){.got = g_string_new(NULL)};
    fake_clock_init(&desk->clock, 0);
    desk->tickets = rpc_tickets_new(&desk->clock.clock, 2);
    side_init(&desk->server, "server 2");
    desk->server.options.tickets = desk->tickets;
}

static void desk_clear(Desk *desk) {
    side_clear(&desk->server);
    rpc_stream_free(desk->at_server);
    rpc_stream_free(desk->at_client);
    rpc_tickets_free(desk->tickets);
    g_string_free(desk->got, TRUE);
    error_clear(&desk->error);
    settle();
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Desk, desk_clear)

static void consume(RpcStream *take_stream, const char *purpose, const char *object, void *data) {
    Desk *desk = data;
    desk->at_server = take_stream;
    g_string_append_printf(desk->got, "%s %s;", purpose, object);
}

static void on_data_free(void *data) {
    ((Desk *)data)->data_freed++;
}

static void on_opened(RpcStream *take_stream, const Error *error, void *data) {
    Desk *desk = data;
    g_assert_true(!take_stream != !error);
    desk->opened++;
    desk->at_client = take_stream;
    error_clear(&desk->error);
    if (error)
        error_copy(&desk->error, error);
}

static char *issue(Desk *desk, Error *err) {
    return rpc_ticket_issue(desk->tickets, "console", "vm-1", 1000, consume, desk, on_data_free, err);
}

/* One more connection to the server that presents the ticket. */
static void present(Desk *desk, const char *ticket) {
    RpcStream *a = NULL, *b = NULL;
    g_assert_true(rpc_stream_pair(&a, &b, NULL));
    g_clear_pointer(&desk->server.connection, rpc_connection_free);
    side_start(&desk->server, b, RPC_ACCEPTOR);
    int before = desk->opened;
    rpc_stream_open(a, ticket, 5000, on_opened, desk);
    g_assert_cmpint(desk->opened, ==, before);
    WAIT_FOR(desk->opened == before + 1);
}

static void test_ticket_opens_a_stream_that_carries_bytes_both_ways(void) {
    g_auto(Desk) desk;
    desk_init(&desk);
    g_autofree char *ticket = issue(&desk, NULL);
    g_assert_cmpuint(strlen(ticket), ==, RPC_TICKET_LENGTH);
    present(&desk, ticket);
    g_assert_cmpstr(desk.got->str, ==, "console vm-1;");
    g_assert_cmpint(desk.data_freed, ==, 1);
    g_assert_cmpint(desk.server.streams, ==, 1);
    g_assert_cmpint(desk.server.closed, ==, 0);
    char byte = 0;
    size_t n = 0;
    g_assert_cmpint(rpc_stream_write(desk.at_client, "x", 1, &n, NULL), ==, RPC_IO_DONE);
    g_assert_cmpint(rpc_stream_read(desk.at_server, &byte, 1, &n, NULL), ==, RPC_IO_DONE);
    g_assert_cmpint(byte, ==, 'x');
    g_assert_cmpint(rpc_stream_write(desk.at_server, "y", 1, &n, NULL), ==, RPC_IO_DONE);
    g_assert_cmpint(rpc_stream_read(desk.at_client, &byte, 1, &n, NULL), ==, RPC_IO_DONE);
    g_assert_cmpint(byte, ==, 'y');
}

static void test_bytes_behind_the_ticket_are_not_lost(void) {
    g_auto(Desk) desk;
    desk_init(&desk);
    g_autofree char *ticket = issue(&desk, NULL);
    RpcStream *a = NULL, *b = NULL;
    g_assert_true(rpc_stream_pair(&a, &b, NULL));
    side_start(&desk.server, b, RPC_ACCEPTOR);
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    json_t *message = json_pack("{s:s, s:s}", "type", "stream", "ticket", ticket);
    g_assert_true(rpc_frame_append(bytes, message, NULL));
    json_decref(message);
    g_byte_array_append(bytes, (const guint8 *)"early", 5);
    size_t n = 0;
    g_assert_cmpint(rpc_stream_write(a, bytes->data, bytes->len, &n, NULL), ==, RPC_IO_DONE);
    WAIT_FOR(desk.at_server);
    char text[6] = "";
    g_assert_cmpint(rpc_stream_read(desk.at_server, text, 2, &n, NULL), ==, RPC_IO_DONE);
    g_assert_cmpint(rpc_stream_read(desk.at_server, text + n, 3, &n, NULL), ==, RPC_IO_DONE);
    g_assert_cmpstr(text, ==, "early");
    rpc_stream_free(a);
}

static void test_second_use_is_denied(void) {
    g_auto(Desk) desk;
    desk_init(&desk);
    g_autofree char *ticket = issue(&desk, NULL);
    present(&desk, ticket);
    g_clear_pointer(&desk.at_client, rpc_stream_free);
    present(&desk, ticket);
    g_assert_null(desk.at_client);
    g_assert_cmpint(desk.error.code, ==, ERROR_DENIED);
    g_assert_cmpstr(desk.got->str, ==, "console vm-1;");
}

static void test_expired_and_invented_tickets_are_denied_alike(void) {
    g_auto(Desk) desk;
    desk_init(&desk);
    g_autofree char *ticket = issue(&desk, NULL);
    fake_clock_advance(&desk.clock, 1000 * NS_PER_MS);
    present(&desk, ticket);
    g_assert_cmpint(desk.error.code, ==, ERROR_DENIED);
    g_autofree char *expired = error_text(&desk.error);
    g_assert_cmpint(desk.data_freed, ==, 1);
    g_autofree char *invented = g_strnfill(RPC_TICKET_LENGTH, '0');
    present(&desk, invented);
    g_autofree char *unknown = error_text(&desk.error);
    g_assert_cmpstr(expired, ==, unknown);
    present(&desk, "short");
    g_assert_cmpint(desk.error.code, ==, ERROR_DENIED);
    g_assert_cmpuint(desk.got->len, ==, 0);
}

static void test_almost_right_ticket_is_denied_and_leaves_the_right_one(void) {
    g_auto(Desk) desk;
    desk_init(&desk);
    g_autofree char *ticket = issue(&desk, NULL);
    g_autofree char *wrong = g_strdup(ticket);
    wrong[RPC_TICKET_LENGTH - 1] = wrong[RPC_TICKET_LENGTH - 1] == '0' ? '1' : '0';
    present(&desk, wrong);
    g_assert_cmpint(desk.error.code, ==, ERROR_DENIED);
    present(&desk, ticket);
    g_assert_nonnull(desk.at_client);
}

static void test_open_tickets_are_limited_until_they_expire(void) {
    g_auto(Desk) desk;
    desk_init(&desk);
    g_autofree char *first = issue(&desk, NULL);
    g_autofree char *second = issue(&desk, NULL);
    g_assert_cmpstr(first, !=, second);
    g_auto(Error) err = {0};
    g_assert_null(issue(&desk, &err));
    g_assert_cmpint(err.code, ==, ERROR_BUSY);
    g_assert_cmpint(desk.data_freed, ==, 0);
    fake_clock_advance(&desk.clock, NS_PER_S);
    WAIT_FOR(desk.data_freed == 2); /* by itself */
    g_autofree char *third = issue(&desk, NULL);
    g_assert_nonnull(third);
}

static void test_silent_server_times_out(void) {
    g_auto(Desk) desk;
    desk_init(&desk);
    RpcStream *a = NULL, *b = NULL;
    g_assert_true(rpc_stream_pair(&a, &b, NULL));
    rpc_stream_open(a, "whatever", 20, on_opened, &desk);
    WAIT_FOR(desk.opened == 1);
    g_assert_cmpint(desk.error.code, ==, ERROR_TIMED_OUT);
    rpc_stream_free(b);
}

/* ---- the pump ---- */

static const uint64_t splice_bytes = UINT64_C(64) * 1024 * 1024;

/* One outer end: writes a known sequence, reads and checks the other's. */
typedef struct End {
    RpcStream *stream;
    uint64_t written, read, to_write;
    uint32_t write_seed, read_seed; /* of the two sequences */
    bool is_shut, is_at_end;
    bool waits_for_end; /* writes only when the other side has ended */
} End;

static uint8_t byte_at(uint64_t position, uint32_t seed) {
    return (uint8_t)((position * 2654435761u + seed) >> 13);
}

static void end_write(End *end) {
    if (end->waits_for_end && !end->is_at_end)
        return;
    uint8_t block[40000];
    size_t length = (size_t)MIN(sizeof block, end->to_write - end->written);
    for (size_t i = 0; i < length; i++)
        block[i] = byte_at(end->written + i, end->write_seed);
    size_t n = 0;
    if (length > 0 && rpc_stream_write(end->stream, block, length, &n, NULL) == RPC_IO_DONE)
        end->written += n;
    if (end->written == end->to_write && !end->is_shut) {
        end->is_shut = true;
        rpc_stream_shut_write(end->stream);
    }
}

static void end_read(End *end) {
    uint8_t block[40000];
    size_t n = 0;
    switch (rpc_stream_read(end->stream, block, sizeof block, &n, NULL)) {
    case RPC_IO_DONE:
        for (size_t i = 0; i < n; i++)
            g_assert_cmpuint(block[i], ==, byte_at(end->read + i, end->read_seed));
        end->read += n;
        break;
    case RPC_IO_END:
        end->is_at_end = true;
        break;
    case RPC_IO_AGAIN:
        break;
    case RPC_IO_FAILED:
        g_assert_not_reached();
    }
}

static void on_end_ready(GIOCondition ready, void *data) {
    End *end = data;
    if (ready & G_IO_OUT)
        end_write(end);
    if (ready & G_IO_IN)
        end_read(end);
    bool may_write = !end->is_shut && (!end->waits_for_end || end->is_at_end);
    GIOCondition wanted = (may_write ? G_IO_OUT : 0) | (end->is_at_end ? 0 : G_IO_IN);
    rpc_stream_watch(end->stream, wanted, on_end_ready, end);
}

typedef struct Done {
    int times;
    uint64_t forth, back;
    bool failed;
} Done;

static void on_spliced(uint64_t forth, uint64_t back, const Error *error, void *data) {
    Done *done = data;
    *done = (Done){.times = done->times + 1, .forth = forth, .back = back, .failed = error != NULL};
}

static void run_splice(uint64_t forth, uint64_t back, bool back_waits, Done *done) {
    RpcStream *inner_a = NULL, *inner_b = NULL;
    End a = {.to_write = forth, .write_seed = 1, .read_seed = 2};
    End b = {.to_write = back, .waits_for_end = back_waits, .write_seed = 2, .read_seed = 1};
    g_assert_true(rpc_stream_pair(&a.stream, &inner_a, NULL));
    g_assert_true(rpc_stream_pair(&b.stream, &inner_b, NULL));
    rpc_stream_watch(a.stream, G_IO_IN | G_IO_OUT, on_end_ready, &a);
    rpc_stream_watch(b.stream, G_IO_IN | G_IO_OUT, on_end_ready, &b);
    rpc_splice(inner_a, inner_b, on_spliced, done);
    WAIT_FOR(done->times == 1 && a.is_at_end && b.is_at_end);
    g_assert_cmpuint(b.read, ==, forth);
    g_assert_cmpuint(a.read, ==, back);
    rpc_stream_free(a.stream);
    rpc_stream_free(b.stream);
}

static void test_splice_carries_64_mib_both_ways(void) {
    Done done = {0};
    run_splice(splice_bytes, splice_bytes, false, &done);
    g_assert_false(done.failed);
    g_assert_cmpuint(done.forth, ==, splice_bytes);
    g_assert_cmpuint(done.back, ==, splice_bytes);
}

static void test_splice_goes_on_after_one_side_has_ended(void) {
    Done done = {0};
    run_splice(1000, 5000000, true, &done);
    g_assert_false(done.failed);
    g_assert_cmpuint(done.forth, ==, 1000);
    g_assert_cmpuint(done.back, ==, 5000000);
}

static void test_splice_ends_when_a_reader_vanishes(void) {
    RpcStream *a = NULL, *inner_a = NULL, *b = NULL, *inner_b = NULL;
    g_assert_true(rpc_stream_pair(&a, &inner_a, NULL));
    g_assert_true(rpc_stream_pair(&b, &inner_b, NULL));
    Done done = {0};
    rpc_splice(inner_a, inner_b, on_spliced, &done);
    rpc_stream_free(b);
    size_t n = 0;
    g_assert_cmpint(rpc_stream_write(a, "x", 1, &n, NULL), ==, RPC_IO_DONE);
    WAIT_FOR(done.times == 1);
    g_assert_true(done.failed);
    rpc_stream_free(a);
}

static void test_splice_ends_when_one_side_is_gone_and_the_other_is_quiet(void) {
    RpcStream *a = NULL, *inner_a = NULL, *b = NULL, *inner_b = NULL;
    g_assert_true(rpc_stream_pair(&a, &inner_a, NULL));
    g_assert_true(rpc_stream_pair(&b, &inner_b, NULL));
    Done done = {0};
    rpc_splice(inner_a, inner_b, on_spliced, &done);
    rpc_stream_free(b);
    WAIT_FOR(done.times == 1);
    g_assert_true(done.failed);
    rpc_stream_free(a);
}

static void test_splice_carries_a_terminal_and_ends_with_it(void) {
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    g_assert_cmpint(master, >=, 0);
    g_assert_cmpint(unlockpt(master), ==, 0);
    char name[64];
    g_assert_cmpint(ptsname_r(master, name, sizeof name), ==, 0);
    int terminal = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    g_assert_cmpint(terminal, >=, 0);
    RpcStream *client = NULL, *inner = NULL;
    g_assert_true(rpc_stream_pair(&client, &inner, NULL));
    Done done = {0};
    rpc_splice(inner, rpc_stream_new_fd(terminal), on_spliced, &done);
    size_t n = 0;
    g_assert_cmpint(rpc_stream_write(client, "login", 5, &n, NULL), ==, RPC_IO_DONE);
    settle();
    char text[6] = "";
    g_assert_cmpint(read(master, text, 5), ==, 5);
    g_assert_cmpstr(text, ==, "login");
    close(master);
    WAIT_FOR(done.times == 1);
    g_assert_cmpuint(done.forth, ==, 5);
    rpc_stream_free(client);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rpc-ticket/both-ways", test_ticket_opens_a_stream_that_carries_bytes_both_ways);
    g_test_add_func("/rpc-ticket/early-bytes", test_bytes_behind_the_ticket_are_not_lost);
    g_test_add_func("/rpc-ticket/second-use", test_second_use_is_denied);
    g_test_add_func("/rpc-ticket/expired", test_expired_and_invented_tickets_are_denied_alike);
    g_test_add_func("/rpc-ticket/almost", test_almost_right_ticket_is_denied_and_leaves_the_right_one);
    g_test_add_func("/rpc-ticket/limit", test_open_tickets_are_limited_until_they_expire);
    g_test_add_func("/rpc-ticket/silent-server", test_silent_server_times_out);
    g_test_add_func("/rpc-splice/64-mib", test_splice_carries_64_mib_both_ways);
    g_test_add_func("/rpc-splice/half-close", test_splice_goes_on_after_one_side_has_ended);
    g_test_add_func("/rpc-splice/vanished", test_splice_ends_when_a_reader_vanishes);
    g_test_add_func(
        "/rpc-splice/gone-and-quiet", test_splice_ends_when_one_side_is_gone_and_the_other_is_quiet);
    g_test_add_func("/rpc-splice/terminal", test_splice_carries_a_terminal_and_ends_with_it);
    return g_test_run();
}
