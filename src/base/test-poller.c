/* One epoll descriptor for many: who is called, with what, and that nobody is called for what is gone. */
#include "base/poller.h"
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/file.h"

enum { MOST_ENDS = 3 };

typedef struct End {
    Poller *poller;
    int fd, peer; /* -1: closed */
    PollerWatch *watch;
    int calls;
    uint32_t events; /* of the newest call */
    void (*act)(struct End *end);
    struct End *other; /* on whom `act` acts */
} End;

typedef struct Fixture {
    Poller *poller;
    End ends[MOST_ENDS];
} Fixture;

static void on_events(uint32_t events, void *data) {
    End *end = data;
    end->calls++;
    end->events = events;
    if (end->act)
        end->act(end);
}

static void end_watch(End *end) {
    end->watch = poller_watch_new(end->poller, end->fd, on_events, end);
    poller_watch_want(end->watch, EPOLLIN);
}

static void end_open(End *end, Poller *poller) {
    int fds[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), ==, 0);
    *end = (End){.poller = poller, .fd = fds[0], .peer = fds[1]};
    end_watch(end);
}

static void end_free_watch(End *end) {
    g_clear_pointer(&end->watch, poller_watch_free);
}

static void end_close(End *end) {
    end_free_watch(end);
    fd_close(&end->fd);
    fd_close(&end->peer);
}

static void end_say(const End *end) {
    g_assert_cmpint(write(end->peer, "x", 1), ==, 1);
}

static void end_hear(End *end) {
    char bytes[16];
    g_assert_cmpint(read(end->fd, bytes, sizeof bytes), >, 0);
}

static void set_up(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    fixture->poller = poller_new(NULL, NULL);
    for (int i = 0; i < MOST_ENDS; i++)
        end_open(&fixture->ends[i], fixture->poller);
}

static void tear_down(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    for (int i = 0; i < MOST_ENDS; i++)
        end_close(&fixture->ends[i]);
    poller_free(fixture->poller);
}

/* A number of turns of the main loop; how many of them found something to do. */
static int turn(int turns) {
    int busy = 0;
    for (int i = 0; i < turns; i++)
        busy += g_main_context_iteration(NULL, FALSE);
    return busy;
}

/* ---- who is called ---- */

static void test_only_who_is_ready_is_called(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    End *one = &fixture->ends[0], *two = &fixture->ends[1];
    one->act = end_hear;
    end_say(one);
    g_assert_cmpint(turn(4), ==, 1);
    g_assert_cmpint(one->calls, ==, 1);
    g_assert_cmpuint(one->events, ==, EPOLLIN);
    g_assert_cmpint(two->calls, ==, 0);
}

static void test_what_is_not_taken_is_told_of_again(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    End *one = &fixture->ends[0];
    end_say(one);
    turn(3);
    g_assert_cmpint(one->calls, ==, 3);
    poller_watch_want(one->watch, EPOLLIN | EPOLLET);
    turn(3);
    g_assert_cmpint(one->calls, ==, 4);
}

static void test_nothing_is_told_of_while_nothing_is_wanted(
    Fixture *fixture, const void *data G_GNUC_UNUSED) {
    End *one = &fixture->ends[0];
    end_say(one);
    poller_watch_want(one->watch, 0);
    fd_close(&one->peer); /* not even that */
    g_assert_cmpint(turn(3), ==, 0);
    g_assert_cmpint(one->calls, ==, 0);
    poller_watch_want(one->watch, EPOLLIN);
    turn(1);
    g_assert_cmpuint(one->events, ==, EPOLLIN | EPOLLHUP);
}

static void test_a_hang_up_is_told_of_unasked(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    End *one = &fixture->ends[0];
    poller_watch_want(one->watch, EPOLLHUP);
    end_say(one);
    g_assert_cmpint(shutdown(one->peer, SHUT_WR), ==, 0);
    turn(2);
    g_assert_cmpint(one->calls, ==, 0);
    one->act = end_free_watch;
    fd_close(&one->peer);
    turn(3);
    g_assert_cmpint(one->calls, ==, 1);
    g_assert_cmpuint(one->events, ==, EPOLLHUP);
}

static void test_an_error_is_told_of_unasked(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    End pipe_end = {.peer = -1, .act = end_free_watch};
    int fds[2];
    g_assert_cmpint(pipe2(fds, O_CLOEXEC | O_NONBLOCK), ==, 0);
    pipe_end.fd = fds[1];
    pipe_end.watch = poller_watch_new(fixture->poller, pipe_end.fd, on_events, &pipe_end);
    poller_watch_want(pipe_end.watch, EPOLLIN);
    close(fds[0]); /* nobody reads any more */
    turn(3);
    g_assert_cmpint(pipe_end.calls, ==, 1);
    g_assert_cmpuint(pipe_end.events, ==, EPOLLERR);
    end_close(&pipe_end);
}

static void test_a_woken_one_is_called_once(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    End *one = &fixture->ends[0];
    poller_watch_wake(one->watch);
    poller_watch_wake(one->watch);
    g_assert_cmpint(one->calls, ==, 0);
    g_assert_cmpint(turn(3), ==, 1);
    g_assert_cmpint(one->calls, ==, 1);
    g_assert_cmpuint(one->events, ==, 0);
}

static void test_what_epoll_refuses_is_always_ready(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    End file = {.fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), .peer = -1};
    g_assert_cmpint(file.fd, >=, 0);
    file.watch = poller_watch_new(fixture->poller, file.fd, on_events, &file);
    g_assert_cmpint(turn(3), ==, 0);
    poller_watch_want(file.watch, EPOLLIN);
    turn(3);
    g_assert_cmpint(file.calls, ==, 3);
    g_assert_cmpuint(file.events, ==, EPOLLIN);
    poller_watch_want(file.watch, 0);
    turn(3);
    g_assert_cmpint(file.calls, ==, 3);
    end_close(&file);
}

/* ---- callbacks that change others ---- */

/* Whichever of two ready ones comes first acts on the other, which must not be called any more. */
static void check_only_one_is_called(Fixture *fixture, void (*act)(End *end)) {
    End *one = &fixture->ends[0], *two = &fixture->ends[1];
    one->act = two->act = act;
    one->other = two;
    two->other = one;
    end_say(one);
    end_say(two);
    turn(1);
    g_assert_cmpint(one->calls + two->calls, ==, 1);
}

static void free_other(End *end) {
    end_free_watch(end->other);
}

static void test_a_callback_may_free_another(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    check_only_one_is_called(fixture, free_other);
}

static void free_both(End *end) {
    end_close(end);
    end_close(end->other);
}

static void test_a_callback_may_free_itself_and_another(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    check_only_one_is_called(fixture, free_both);
    g_assert_cmpint(turn(3), ==, 0);
}

static void want_nothing_of_other(End *end) {
    poller_watch_want(end->other->watch, 0);
}

static void test_a_callback_may_stop_another(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    check_only_one_is_called(fixture, want_nothing_of_other);
}

static void test_a_callback_may_stop_another_whose_peer_is_gone(
    Fixture *fixture, const void *data G_GNUC_UNUSED) {
    End *one = &fixture->ends[0], *two = &fixture->ends[1];
    one->act = two->act = want_nothing_of_other;
    one->other = two;
    two->other = one;
    fd_close(&one->peer);
    fd_close(&two->peer);
    turn(1);
    g_assert_cmpint(one->calls + two->calls, ==, 1);
}

static void want_room_of_other(End *end) {
    poller_watch_want(end->other->watch, EPOLLOUT);
    end->act = end->other->act = NULL;
}

static void test_a_callback_may_change_what_another_wants(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    check_only_one_is_called(fixture, want_room_of_other);
    End *changed = fixture->ends[0].calls ? &fixture->ends[1] : &fixture->ends[0];
    turn(1);
    g_assert_cmpuint(changed->events, ==, EPOLLOUT);
}

static void hear_and_want_nothing(End *end) {
    end_hear(end);
    poller_watch_want(end->watch, 0);
}

static void test_a_callback_may_stop_itself(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    End *one = &fixture->ends[0];
    one->act = hear_and_want_nothing;
    end_say(one);
    turn(1);
    end_say(one);
    g_assert_cmpint(turn(3), ==, 0);
    g_assert_cmpint(one->calls, ==, 1);
}

static void turn_loop(End *end) {
    int calls = end->other->calls;
    end->act = NULL;
    turn(3);
    g_assert_cmpint(end->calls, ==, 1);
    g_assert_cmpint(end->other->calls, ==, calls);
}

static void test_a_callback_runs_alone_whatever_it_turns(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    End *one = &fixture->ends[0], *two = &fixture->ends[1];
    one->act = turn_loop;
    one->other = two;
    end_say(one);
    end_say(two);
    for (int i = 0; i < 3 && !(one->calls && two->calls); i++)
        turn(1);
    g_assert_cmpint(one->calls, >, 0);
    g_assert_cmpint(two->calls, >, 0);
}

/* ---- numbers that are used again ---- */

/* Another file under the number that `end` has, which is closed if its owner did not do that. */
static void end_reopen(End *end, const End *old) {
    int fds[2], fd = old->fd;
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), ==, 0);
    g_assert_cmpint(dup3(fds[0], fd, O_CLOEXEC), ==, fd);
    close(fds[0]);
    *end = (End){.poller = old->poller, .fd = fd, .peer = fds[1]};
    end_watch(end);
}

static void reopen_other(End *end) {
    End *other = end->other, old = *other;
    end->act = NULL;
    end_free_watch(other);
    end_reopen(other, &old);
    fd_close(&old.peer);
}

static void test_a_number_used_again_in_the_same_turn(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    check_only_one_is_called(fixture, reopen_other);
    End *new = fixture->ends[0].calls ? &fixture->ends[1] : &fixture->ends[0];
    turn(3);
    g_assert_cmpint(new->calls, ==, 0);
    end_say(new);
    turn(1);
    g_assert_cmpint(new->calls, ==, 1);
}

static void test_a_number_used_again_belongs_to_the_newest(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    End *old = &fixture->ends[0], new;
    end_reopen(&new, old);
    old->fd = -1; /* closed behind its watch's back */
    end_say(&new);
    turn(1);
    g_assert_cmpint(new.calls, ==, 1);
    poller_watch_wake(old->watch);
    poller_watch_want(old->watch, 0);
    end_free_watch(old);
    turn(1);
    g_assert_cmpint(new.calls, ==, 2);
    g_assert_cmpint(old->calls, ==, 0);
    end_close(&new);
}

/* As when a child between fork and exec has it too. */
static void test_what_was_closed_while_watched_is_left_behind(
    Fixture *fixture, const void *data G_GNUC_UNUSED) {
    End *old = &fixture->ends[0], *two = &fixture->ends[1], new;
    int copy = fcntl(old->fd, F_DUPFD_CLOEXEC, 0);
    g_assert_cmpint(copy, >=, 0);
    end_say(old);
    end_reopen(&new, old);
    old->fd = -1;
    end_free_watch(old);
    g_assert_cmpint(turn(10), <=, 1);
    g_assert_cmpint(old->calls + new.calls + two->calls, ==, 0);
    two->act = new.act = end_hear;
    end_say(two);
    end_say(&new);
    turn(3);
    g_assert_cmpint(two->calls, ==, 1);
    g_assert_cmpint(new.calls, ==, 1);
    end_close(&new);
    close(copy);
}

static void test_a_watch_may_outlive_its_descriptor(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    End *one = &fixture->ends[0];
    end_say(one);
    fd_close(&one->fd);
    g_assert_cmpint(turn(3), ==, 0);
    end_free_watch(one);
    g_assert_cmpint(turn(3), ==, 0);
}

/* ---- fairness ---- */

enum { FLOOD = 300, CALLS_A_TURN = 128 };

typedef struct Flood {
    PollerWatch *watch;
    int calls;
    int *calls_of_turn;
    bool wakes_itself;
} Flood;

static void on_flood(uint32_t events G_GNUC_UNUSED, void *data) {
    Flood *flood = data;
    flood->calls++;
    ++*flood->calls_of_turn;
    if (flood->wakes_itself)
        poller_watch_wake(flood->watch);
}

/* Half of them are always readable, the others wake themselves again and again. */
static void test_a_flood_leaves_room_for_all(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    Flood floods[FLOOD] = {0};
    int fds[FLOOD], calls = 0;
    for (int i = 0; i < FLOOD; i++) {
        fds[i] = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
        g_assert_cmpint(fds[i], >=, 0);
        floods[i] = (Flood){.calls_of_turn = &calls, .wakes_itself = i % 2};
        floods[i].watch = poller_watch_new(fixture->poller, fds[i], on_flood, &floods[i]);
        if (floods[i].wakes_itself)
            poller_watch_wake(floods[i].watch);
        else
            poller_watch_want(floods[i].watch, EPOLLIN);
    }
    for (int i = 0; i < 40; i++) {
        calls = 0;
        g_assert_true(g_main_context_iteration(NULL, FALSE)); /* other sources have theirs between */
        g_assert_cmpint(calls, >, 0);
        g_assert_cmpint(calls, <=, CALLS_A_TURN);
    }
    for (int i = 0; i < FLOOD; i++) {
        g_assert_cmpint(
            floods[i].calls, >=, 8); /* of 40 turns with 128 calls: 17 for each, if all were alike */
        poller_watch_free(floods[i].watch);
        close(fds[i]);
    }
}

/* ---- one more turn ---- */

static bool once_more(void *data) {
    End *end = data;
    return end->calls == 1;
}

static void test_a_turn_may_be_followed_by_another(void) {
    End end;
    Poller *poller = poller_new(once_more, &end);
    end_open(&end, poller);
    end_say(&end);
    turn(1);
    g_assert_cmpint(end.calls, ==, 2);
    turn(1);
    g_assert_cmpint(end.calls, ==, 3);
    end_close(&end);
    poller_free(poller);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
#define TEST(name, function) g_test_add("/poller/" name, Fixture, NULL, set_up, function, tear_down)
    TEST("ready", test_only_who_is_ready_is_called);
    TEST("again", test_what_is_not_taken_is_told_of_again);
    TEST("nothing", test_nothing_is_told_of_while_nothing_is_wanted);
    TEST("hang-up", test_a_hang_up_is_told_of_unasked);
    TEST("error", test_an_error_is_told_of_unasked);
    TEST("woken", test_a_woken_one_is_called_once);
    TEST("file", test_what_epoll_refuses_is_always_ready);
    TEST("frees-another", test_a_callback_may_free_another);
    TEST("frees-both", test_a_callback_may_free_itself_and_another);
    TEST("stops-another", test_a_callback_may_stop_another);
    TEST("stops-gone", test_a_callback_may_stop_another_whose_peer_is_gone);
    TEST("changes-another", test_a_callback_may_change_what_another_wants);
    TEST("stops-itself", test_a_callback_may_stop_itself);
    TEST("alone", test_a_callback_runs_alone_whatever_it_turns);
    TEST("number/same-turn", test_a_number_used_again_in_the_same_turn);
    TEST("number/newest", test_a_number_used_again_belongs_to_the_newest);
    TEST("closed/held", test_what_was_closed_while_watched_is_left_behind);
    TEST("closed/gone", test_a_watch_may_outlive_its_descriptor);
    TEST("flood", test_a_flood_leaves_room_for_all);
    g_test_add_func("/poller/once-more", test_a_turn_may_be_followed_by_another);
    return g_test_run();
}
