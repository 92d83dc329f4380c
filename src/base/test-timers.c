/* Many timers behind one source: when they are due, and that callbacks may change them all. */
#include "base/timers.h"

enum { MS = 1000000, MANY = 5000, CALLS_A_TURN = 128 };

typedef struct Note {
    Timer *timer;
    int64_t least_us, most_us; /* between which it is due */
    int64_t *last_us;          /* the least of the one that was called before */
    int calls;
    void (*act)(struct Note *note);
    struct Note *other;
} Note;

static void on_due(void *data) {
    Note *note = data;
    g_assert_cmpint(g_get_monotonic_time(), >=, note->least_us);
    if (note->last_us) {
        g_assert_cmpint(*note->last_us, <=, note->most_us);
        *note->last_us = note->least_us;
    }
    note->calls++;
    if (note->act)
        note->act(note);
}

static void note_set(Note *note, int64_t after_ns) {
    note->least_us = g_get_monotonic_time() + after_ns / 1000;
    timer_set(note->timer, after_ns);
    note->most_us = g_get_monotonic_time() + after_ns / 1000 + 1;
}

static void note_free(Note *note) {
    g_clear_pointer(&note->timer, timer_free);
}

static void wait_ms(int ms) {
    for (int64_t end_us = g_get_monotonic_time() + ms * 1000; g_get_monotonic_time() < end_us;) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(200);
    }
}

static void test_each_is_due_once_in_its_order(void) {
    g_autoptr(Timers) timers = timers_new();
    static const int after_ms[] = {40, 20, 60};
    int64_t last_us = 0;
    Note notes[3] = {0};
    for (int i = 0; i < 3; i++) {
        notes[i].timer = timer_new(timers, on_due, &notes[i]);
        notes[i].last_us = &last_us;
        note_set(&notes[i], (int64_t)after_ms[i] * MS);
        g_assert_true(timer_is_set(notes[i].timer));
    }
    while (!notes[2].calls)
        g_main_context_iteration(NULL, TRUE);
    wait_ms(10);
    for (int i = 0; i < 3; i++) {
        g_assert_cmpint(notes[i].calls, ==, 1);
        g_assert_false(timer_is_set(notes[i].timer));
        note_free(&notes[i]);
    }
}

static void test_the_newest_time_counts(void) {
    g_autoptr(Timers) timers = timers_new();
    Note later = {.timer = timer_new(timers, on_due, &later)};
    Note sooner = {.timer = timer_new(timers, on_due, &sooner)};
    Note never = {.timer = timer_new(timers, on_due, &never)};
    note_set(&later, 5 * MS);
    note_set(&later, INT64_C(3600000) * MS);
    note_set(&sooner, INT64_C(3600000) * MS);
    note_set(&sooner, 5 * MS);
    note_set(&never, 5 * MS);
    timer_stop(never.timer);
    timer_stop(never.timer);
    wait_ms(30);
    g_assert_cmpint(later.calls, ==, 0);
    g_assert_true(timer_is_set(later.timer));
    g_assert_cmpint(sooner.calls, ==, 1);
    g_assert_cmpint(never.calls, ==, 0);
    Note *all[] = {&later, &sooner, &never};
    for (int i = 0; i < 3; i++)
        note_free(all[i]);
}

static void free_both(Note *note) {
    note_free(note);
    note_free(note->other);
}

static void test_a_callback_may_free_itself_and_another(void) {
    g_autoptr(Timers) timers = timers_new();
    Note one = {.timer = timer_new(timers, on_due, &one), .act = free_both};
    Note two = {.timer = timer_new(timers, on_due, &two), .act = free_both, .other = &one};
    one.other = &two;
    note_set(&one, 0);
    note_set(&two, -MS); /* what is over already is due at once */
    g_assert_cmpint(one.calls + two.calls, ==, 0);
    wait_ms(5);
    g_assert_cmpint(one.calls + two.calls, ==, 1);
}

static void set_again(Note *note) {
    timer_set(note->timer, 0);
}

static void test_one_that_is_due_for_ever_leaves_room(void) {
    g_autoptr(Timers) timers = timers_new();
    Note busy = {.timer = timer_new(timers, on_due, &busy), .act = set_again};
    Note other = {.timer = timer_new(timers, on_due, &other)};
    note_set(&busy, 0);
    note_set(&other, MS);
    while (!other.calls) {
        int calls = busy.calls;
        g_main_context_iteration(NULL, TRUE);
        g_assert_cmpint(busy.calls, <=, calls + CALLS_A_TURN);
    }
    g_assert_cmpint(busy.calls, >, 1);
    note_free(&busy);
    note_free(&other);
}

static void test_many_come_in_order_and_by_and_by(void) {
    g_autoptr(Timers) timers = timers_new();
    g_autofree Note *notes = g_new0(Note, MANY);
    g_autoptr(GRand) random = g_rand_new_with_seed(20261128);
    int64_t last_us = 0;
    int calls = 0;
    for (int i = 0; i < MANY; i++) {
        notes[i].timer = timer_new(timers, on_due, &notes[i]);
        notes[i].last_us = &last_us;
        note_set(&notes[i], (int64_t)g_rand_int_range(random, 0, 100) * MS);
    }
    for (int i = 0; i < MANY; i += 3)
        timer_stop(notes[i].timer);
    g_usleep(120000); /* all are due */
    for (int turns = 0; turns * CALLS_A_TURN < MANY + CALLS_A_TURN; turns++) {
        int before = calls;
        g_main_context_iteration(NULL, FALSE);
        calls = 0;
        for (int i = 0; i < MANY; i++)
            calls += notes[i].calls;
        g_assert_cmpint(calls - before, <=, CALLS_A_TURN);
    }
    for (int i = 0; i < MANY; i++) {
        g_assert_cmpint(notes[i].calls, ==, i % 3 ? 1 : 0);
        note_free(&notes[i]);
    }
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/timers/order", test_each_is_due_once_in_its_order);
    g_test_add_func("/timers/newest", test_the_newest_time_counts);
    g_test_add_func("/timers/freed", test_a_callback_may_free_itself_and_another);
    g_test_add_func("/timers/for-ever", test_one_that_is_due_for_ever_leaves_room);
    g_test_add_func("/timers/many", test_many_come_in_order_and_by_and_by);
    return g_test_run();
}
