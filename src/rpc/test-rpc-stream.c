/* When the owner of a stream is called: for bytes that epoll cannot see, for room, and for others' floods. */
#include "rpc/rpc-stream.h"
#include <string.h>
#include "rpc/test-rpc-side.h"

enum { BLOCK = 65536, CROWD = 200 };

typedef struct End {
    RpcStream *stream;
    struct End *other; /* freed by whom is called first, in one test */
    int calls;
    GIOCondition ready; /* of the newest call */
    size_t bytes_a_call, read;
} End;

static void end_clear(End *end) {
    g_clear_pointer(&end->stream, rpc_stream_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(End, end_clear)

static void end_pair(End *one, End *two) {
    *one = *two = (End){0};
    g_assert_true(rpc_stream_pair(&one->stream, &two->stream, NULL));
}

static void end_say(End *end, const char *text) {
    size_t n = 0;
    g_assert_cmpint(rpc_stream_write(end->stream, text, strlen(text), &n, NULL), ==, RPC_IO_DONE);
    g_assert_cmpuint(n, ==, strlen(text));
}

static void on_ready(GIOCondition ready, void *data) {
    End *end = data;
    uint8_t bytes[BLOCK];
    size_t n = 0;
    end->calls++;
    end->ready = ready;
    if ((ready & G_IO_IN) && end->bytes_a_call > 0 &&
        rpc_stream_read(end->stream, bytes, end->bytes_a_call, &n, NULL) == RPC_IO_DONE)
        end->read += n;
}

static void watch(End *end, GIOCondition wanted) {
    rpc_stream_watch(end->stream, wanted, on_ready, end);
}

static void turn(int turns) {
    while (turns-- > 0)
        g_main_context_iteration(NULL, FALSE);
}

/* ---- bytes ---- */

static void test_bytes_that_were_put_back_are_told_of(void) {
    g_auto(End) one, two;
    end_pair(&one, &two);
    two.bytes_a_call = 2;
    watch(&two, G_IO_IN);
    rpc_stream_unread(two.stream, "hello", 5);
    settle();
    g_assert_cmpuint(two.read, ==, 5);
    g_assert_cmpint(two.calls, ==, 3);
    watch(&two, 0);
    rpc_stream_unread(two.stream, "hello", 5);
    settle();
    g_assert_cmpint(two.calls, ==, 3);
    watch(&two, G_IO_IN);
    settle();
    g_assert_cmpuint(two.read, ==, 10);
}

static void test_an_end_is_told_of_until_it_is_taken(void) {
    g_auto(End) one, two;
    end_pair(&one, &two);
    watch(&two, G_IO_IN);
    end_clear(&one);
    turn(3);
    g_assert_cmpint(two.calls, ==, 3);
    g_assert_cmpint(two.ready, ==, G_IO_IN);
    watch(&two, G_IO_HUP);
    turn(1);
    g_assert_cmpint(two.ready, ==, G_IO_HUP);
}

/* ---- room ---- */

static void test_room_is_told_of_when_there_is_some(void) {
    static const uint8_t bytes[BLOCK] = {0};
    g_auto(End) one, two;
    size_t n = 0;
    end_pair(&one, &two);
    watch(&one, G_IO_OUT);
    turn(3);
    g_assert_cmpint(one.calls, ==, 3);
    g_assert_cmpint(one.ready, ==, G_IO_OUT);
    while (rpc_stream_write(one.stream, bytes, sizeof bytes, &n, NULL) == RPC_IO_DONE)
        ;
    settle();
    one.calls = 0;
    watch(&one, G_IO_OUT | G_IO_IN);
    turn(3);
    g_assert_cmpint(one.calls, ==, 0);
    end_say(&two, "x");
    turn(1);
    g_assert_cmpint(one.ready, ==, G_IO_IN);
    watch(&one, G_IO_OUT);
    two.bytes_a_call = BLOCK;
    watch(&two, G_IO_IN);
    one.calls = 0;
    WAIT_FOR(one.calls > 0);
    g_assert_cmpint(one.ready, ==, G_IO_OUT);
}

static void test_who_waits_for_room_learns_that_nobody_reads_any_more(void) {
    static const uint8_t bytes[BLOCK] = {0};
    g_auto(End) one, two;
    size_t n = 0;
    end_pair(&one, &two);
    while (rpc_stream_write(one.stream, bytes, sizeof bytes, &n, NULL) == RPC_IO_DONE)
        ;
    watch(&one, G_IO_OUT);
    turn(3);
    g_assert_cmpint(one.calls, ==, 0);
    end_clear(&two);
    turn(1);
    g_assert_cmpint(one.ready, ==, G_IO_OUT);
    g_auto(Error) err = {0};
    g_assert_cmpint(rpc_stream_write(one.stream, bytes, sizeof bytes, &n, &err), ==, RPC_IO_FAILED);
}

/* ---- others ---- */

static void free_both(GIOCondition ready G_GNUC_UNUSED, void *data) {
    End *end = data;
    end->calls++;
    end_clear(end->other);
    end_clear(end);
}

static void test_a_callback_may_free_its_stream_and_another(void) {
    g_auto(End) one, two, three, four;
    end_pair(&one, &two);
    end_pair(&three, &four);
    two.other = &four;
    four.other = &two;
    rpc_stream_watch(two.stream, G_IO_IN, free_both, &two);
    rpc_stream_watch(four.stream, G_IO_IN, free_both, &four);
    end_say(&one, "x");
    end_say(&three, "x");
    settle();
    g_assert_cmpint(two.calls + four.calls, ==, 1);
}

static gboolean count(void *data) {
    ++*(int *)data;
    return G_SOURCE_CONTINUE;
}

/* A crowd that is called in every turn, and one that says a word now and then. */
static void test_a_crowd_leaves_room_for_others(void) {
    End crowd[CROWD], peers[CROWD];
    g_auto(End) one, two;
    int idle = 0;
    for (int i = 0; i < CROWD; i++) {
        end_pair(&crowd[i], &peers[i]);
        end_say(&peers[i], "x");
        watch(&crowd[i], G_IO_IN | G_IO_OUT);
    }
    end_pair(&one, &two);
    two.bytes_a_call = 1;
    watch(&two, G_IO_IN);
    guint source = g_idle_add_full(G_PRIORITY_DEFAULT, count, &idle, NULL);
    for (int i = 0; i < 10; i++) {
        end_say(&one, "x");
        turn(6);
        g_assert_cmpint(two.calls, ==, i + 1);
    }
    g_assert_cmpint(idle, ==, 60);
    g_source_remove(source);
    for (int i = 0; i < CROWD; i++) {
        g_assert_cmpint(crowd[i].calls, >, 10);
        end_clear(&crowd[i]);
        end_clear(&peers[i]);
    }
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rpc-stream/unread", test_bytes_that_were_put_back_are_told_of);
    g_test_add_func("/rpc-stream/end", test_an_end_is_told_of_until_it_is_taken);
    g_test_add_func("/rpc-stream/room", test_room_is_told_of_when_there_is_some);
    g_test_add_func("/rpc-stream/nobody-reads", test_who_waits_for_room_learns_that_nobody_reads_any_more);
    g_test_add_func("/rpc-stream/freed", test_a_callback_may_free_its_stream_and_another);
    g_test_add_func("/rpc-stream/crowd", test_a_crowd_leaves_room_for_others);
    return g_test_run();
}
