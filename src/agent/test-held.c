/* Proves who lets a VM go, whoever dies or fails meanwhile; the hypervisor is one struct in memory. */
#include "agent/held.h"
#include <glib/gstdio.h>
#include <string.h>
#include "base/file.h"

#define VM "44444444-4444-4444-8444-444444444444"

enum { THREADS = 8, ROUNDS = 200 };

struct HypervisorSession {
    GMutex lock;
    VmState state;
    bool fails_quiesce, fails_resume;
    bool pauses_first; /* and only then fails */
    int n_quiesced, n_resumed;
};

static bool ask_state(
    HypervisorSession *session, const char *vm_id, AgentVmState *ret_state, Error *err G_GNUC_UNUSED) {
    g_mutex_lock(&session->lock);
    agent_vm_state_set_id(ret_state, vm_id);
    vm_status_set_state(agent_vm_state_put_status(ret_state), session->state);
    g_mutex_unlock(&session->lock);
    return true;
}

static bool quiesce(HypervisorSession *session, const char *vm_id G_GNUC_UNUSED,
    const Cancel *cancel G_GNUC_UNUSED, Error *err) {
    g_mutex_lock(&session->lock);
    bool is_bad = session->fails_quiesce;
    session->n_quiesced++;
    if (!is_bad || session->pauses_first)
        session->state = VM_STATE_PAUSED;
    g_mutex_unlock(&session->lock);
    return !is_bad || error_set(err, ERROR_HYPERVISOR, NULL, "told to fail");
}

static bool resume(HypervisorSession *session, const char *vm_id G_GNUC_UNUSED, Error *err) {
    g_mutex_lock(&session->lock);
    bool is_bad = session->fails_resume;
    session->n_resumed++;
    if (!is_bad)
        session->state = VM_STATE_RUNNING;
    g_mutex_unlock(&session->lock);
    return !is_bad || error_set(err, ERROR_UNREACHABLE, NULL, "told to fail");
}

static const Hypervisor driver = {.name = "test", .state = ask_state, .quiesce = quiesce, .resume = resume};

typedef struct Fixture {
    HypervisorSession hypervisor, *session;
    char *folder, *note;
    Held *held;
} Fixture;

static void set_up(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    fixture->session = &fixture->hypervisor;
    fixture->hypervisor.state = VM_STATE_RUNNING;
    g_mutex_init(&fixture->hypervisor.lock);
    fixture->folder = g_dir_make_tmp("lodge-held-XXXXXX", NULL);
    fixture->note = g_strdup_printf("%s/" VM ".held", fixture->folder);
    fixture->held = held_new(&driver, &fixture->session, fixture->folder);
}

static void tear_down(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    held_free(fixture->held);
    g_assert_true(tree_remove(fixture->folder, NULL));
    g_free(fixture->folder);
    g_free(fixture->note);
    g_mutex_clear(&fixture->hypervisor.lock);
}

/* Another agent over the same folder. */
static void die(Fixture *fixture) {
    held_free(fixture->held);
    fixture->held = held_new(&driver, &fixture->session, fixture->folder);
}

static void take(Fixture *fixture, HeldBy wanted) {
    g_auto(Error) err = {0};
    HeldBy by;
    bool ok = held_take(fixture->held, VM, NULL, &by, &err);
    g_assert_cmpstr(err.message, ==, NULL);
    g_assert_true(ok);
    g_assert_cmpint(by, ==, wanted);
}

static void take_fails(Fixture *fixture) {
    g_auto(Error) err = {0};
    HeldBy by;
    g_assert_false(held_take(fixture->held, VM, NULL, &by, &err));
    g_assert_true(error_is_set(&err));
}

static void expect(const Fixture *fixture, VmState state, bool has_note) {
    g_assert_cmpint(fixture->hypervisor.state, ==, state);
    g_assert_cmpint(g_file_test(fixture->note, G_FILE_TEST_EXISTS), ==, has_note);
}

static void test_a_copy_holds_and_lets_go(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    take(fixture, HELD_BY_US);
    expect(fixture, VM_STATE_PAUSED, true);
    held_release(fixture->held, VM);
    expect(fixture, VM_STATE_RUNNING, false);
}

static void test_the_last_of_two_copies_lets_go(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    take(fixture, HELD_BY_US);
    take(fixture, HELD_BY_US);
    held_release(fixture->held, VM);
    expect(fixture, VM_STATE_PAUSED, true);
    held_release(fixture->held, VM);
    expect(fixture, VM_STATE_RUNNING, false);
    g_assert_cmpint(fixture->hypervisor.n_quiesced, ==, 1);
}

static void test_what_a_user_holds_stays_held(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    fixture->hypervisor.state = VM_STATE_PAUSED;
    take(fixture, HELD_BY_USER);
    g_assert_cmpint(fixture->hypervisor.n_quiesced, ==, 1); /* its back ends may still write */
    expect(fixture, VM_STATE_PAUSED, false);
    held_release(fixture->held, VM);
    die(fixture);
    g_assert_true(held_resume_all(fixture->held));
    expect(fixture, VM_STATE_PAUSED, false);
    g_assert_cmpint(fixture->hypervisor.n_resumed, ==, 0);
}

static void test_a_stopped_vm_is_not_touched(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    fixture->hypervisor.state = VM_STATE_STOPPED;
    take(fixture, HELD_BY_NOBODY);
    g_auto(Error) err = {0};
    g_assert_false(held_check_free(fixture->held, VM, &err));
    g_assert_cmpint(err.code, ==, ERROR_BUSY);
    held_release(fixture->held, VM);
    g_assert_true(held_check_free(fixture->held, VM, NULL));
    g_assert_cmpint(fixture->hypervisor.n_quiesced + fixture->hypervisor.n_resumed, ==, 0);
    expect(fixture, VM_STATE_STOPPED, false);
}

static void test_an_agent_that_died_is_made_up_for(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    take(fixture, HELD_BY_US);
    die(fixture);
    expect(fixture, VM_STATE_PAUSED, true);
    g_assert_true(held_resume_all(fixture->held));
    expect(fixture, VM_STATE_RUNNING, false);
}

/* The copy is asked for again before anything was let go: it must not take the VM for a user's. */
static void test_a_hold_that_was_left_is_taken_over(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    take(fixture, HELD_BY_US);
    die(fixture);
    take(fixture, HELD_BY_US);
    g_assert_true(held_resume_all(fixture->held)); /* not while a copy relies on it */
    expect(fixture, VM_STATE_PAUSED, true);
    g_assert_cmpint(fixture->hypervisor.n_quiesced, ==, 2);
    held_release(fixture->held, VM);
    expect(fixture, VM_STATE_RUNNING, false);
}

static void test_a_failed_hold_is_undone(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    fixture->hypervisor.fails_quiesce = true;
    take_fails(fixture);
    expect(fixture, VM_STATE_RUNNING, false);
    fixture->hypervisor.pauses_first = true;
    take_fails(fixture);
    expect(fixture, VM_STATE_RUNNING, false);
    g_assert_true(held_check_free(fixture->held, VM, NULL));
}

static void test_a_hypervisor_that_is_away_is_asked_again(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    take(fixture, HELD_BY_US);
    fixture->hypervisor.fails_resume = true;
    held_release(fixture->held, VM);
    expect(fixture, VM_STATE_PAUSED, true);
    g_assert_false(held_resume_all(fixture->held));
    fixture->hypervisor.fails_resume = false;
    g_assert_true(held_resume_all(fixture->held));
    expect(fixture, VM_STATE_RUNNING, false);
    fixture->hypervisor.fails_resume = fixture->hypervisor.fails_quiesce = true;
    fixture->hypervisor.pauses_first = true;
    take_fails(fixture);
    expect(fixture, VM_STATE_PAUSED, true);
    fixture->hypervisor.fails_resume = false;
    g_assert_true(held_resume_all(fixture->held));
    expect(fixture, VM_STATE_RUNNING, false);
}

static void test_a_user_who_pauses_takes_it_over(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    take(fixture, HELD_BY_US);
    held_forget(fixture->held, VM); /* not while a copy relies on it */
    expect(fixture, VM_STATE_PAUSED, true);
    fixture->hypervisor.fails_resume = true;
    held_release(fixture->held, VM);
    fixture->hypervisor.fails_resume = false;
    held_forget(fixture->held, VM);
    g_assert_true(held_resume_all(fixture->held));
    expect(fixture, VM_STATE_PAUSED, false);
}

static void test_one_that_ended_meanwhile_needs_nothing(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    take(fixture, HELD_BY_US);
    fixture->hypervisor.state = VM_STATE_STOPPED;
    held_release(fixture->held, VM);
    expect(fixture, VM_STATE_STOPPED, false);
    g_assert_cmpint(fixture->hypervisor.n_resumed, ==, 0);
}

static void *copy_often(void *data) {
    Fixture *fixture = data;
    for (int i = 0; i < ROUNDS; i++) {
        take(fixture, HELD_BY_US);
        g_assert_cmpint(fixture->hypervisor.state, ==, VM_STATE_PAUSED);
        g_thread_yield();
        g_assert_cmpint(fixture->hypervisor.state, ==, VM_STATE_PAUSED);
        held_release(fixture->held, VM);
        held_resume_all(fixture->held);
    }
    return NULL;
}

static void test_many_copies_at_once(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    GThread *threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        threads[i] = g_thread_new("copy", copy_often, fixture);
    for (int i = 0; i < THREADS; i++)
        g_thread_join(threads[i]);
    g_assert_true(held_wait_for_none(fixture->held, 0));
    expect(fixture, VM_STATE_RUNNING, false);
}

static void test_waiting_ends(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    take(fixture, HELD_BY_US);
    g_assert_false(held_wait_for_none(fixture->held, 50));
    held_release(fixture->held, VM);
    g_assert_true(held_wait_for_none(fixture->held, 50));
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
#define TEST(path, function) g_test_add("/held/" path, Fixture, NULL, set_up, function, tear_down)
    TEST("one", test_a_copy_holds_and_lets_go);
    TEST("two", test_the_last_of_two_copies_lets_go);
    TEST("users", test_what_a_user_holds_stays_held);
    TEST("stopped", test_a_stopped_vm_is_not_touched);
    TEST("dead-agent", test_an_agent_that_died_is_made_up_for);
    TEST("taken-over", test_a_hold_that_was_left_is_taken_over);
    TEST("failed", test_a_failed_hold_is_undone);
    TEST("away", test_a_hypervisor_that_is_away_is_asked_again);
    TEST("user-pauses", test_a_user_who_pauses_takes_it_over);
    TEST("ended", test_one_that_ended_meanwhile_needs_nothing);
    TEST("many", test_many_copies_at_once);
    TEST("waiting", test_waiting_ends);
    return g_test_run();
}
