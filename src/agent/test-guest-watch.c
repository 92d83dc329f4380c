/* What guests say reaches the VM's state, and only that of the run in which they said it. */
#include <string.h>
#include "agent/guest-watch.h"
#include "base/clock.h"

#define VM "44444444-4444-4444-8444-444444444444"

enum { WAIT_MS = 10000, LONG_AGO_S = 3600 };

static int n_questions; /* atomic */

static bool answer(HypervisorSession *session, const char *vm_id, VmStatus *ret_status, Error *err) {
    (void)session, (void)err;
    g_assert_cmpstr(vm_id, ==, VM);
    g_atomic_int_inc(&n_questions);
    address_set_address(vm_status_add_addresses(ret_status), "192.0.2.7");
    vm_status_set_vcpus_online(ret_status, 1);
    return true;
}

static const Hypervisor talkative = {.name = "talkative", .guest = answer};

typedef struct Fixture {
    HypervisorSession *session;
    WorkPool *pool;
    GuestWatch *watch;
    int n_news;
} Fixture;

static void count_news(const char *vm_id, void *data) {
    g_assert_cmpstr(vm_id, ==, VM);
    ((Fixture *)data)->n_news++;
}

static void set_up(Fixture *fixture, const void *data) {
    (void)data;
    fixture->pool = work_pool_new("guests", 2, 16);
    const GuestWatchOptions options = {.driver = &talkative,
        .session = &fixture->session,
        .pool = fixture->pool,
        .on_news = count_news,
        .data = fixture};
    fixture->watch = guest_watch_new(&options);
    g_atomic_int_set(&n_questions, 0);
}

static void tear_down(Fixture *fixture, const void *data) {
    (void)data;
    guest_watch_stop(fixture->watch);
    work_pool_free(fixture->pool);
    guest_watch_free(fixture->watch);
}

static int64_t long_ago(void) {
    return clock_realtime_ns(clock_system()) - LONG_AGO_S * NS_PER_S;
}

static void make_state(AgentVmState *state, VmState what, int64_t started_ns, int vcpus) {
    agent_vm_state_clear(state);
    agent_vm_state_set_id(state, VM);
    agent_vm_state_set_managed(state, true);
    vm_status_set_state(agent_vm_state_put_status(state), what);
    vm_status_set_started(&state->status, started_ns);
    vm_status_set_vcpus_online(&state->status, vcpus);
}

static void wait_for_news(Fixture *fixture) {
    gint64 end = g_get_monotonic_time() + WAIT_MS * G_TIME_SPAN_MILLISECOND;
    while (!fixture->n_news && g_get_monotonic_time() < end)
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmpint(fixture->n_news, ==, 1);
}

static void test_what_a_guest_says_is_added(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(AgentVmState) state = {0};
    int64_t started_ns = long_ago();
    make_state(&state, VM_STATE_RUNNING, started_ns, 2);
    guest_watch_note(fixture->watch, &state, false);
    guest_watch_fill(fixture->watch, &state);
    g_assert_cmpuint(state.status.addresses.n, ==, 0); /* not asked yet */
    wait_for_news(fixture);
    guest_watch_fill(fixture->watch, &state);
    g_assert_cmpuint(state.status.addresses.n, ==, 1);
    g_assert_cmpstr(state.status.addresses.items[0].address, ==, "192.0.2.7");
    g_assert_cmpint(state.status.vcpus_online, ==, 1);
    /* More vCPUs than when the guest counted: what it said does not hold any more. */
    make_state(&state, VM_STATE_RUNNING, started_ns, 4);
    guest_watch_note(fixture->watch, &state, false);
    guest_watch_fill(fixture->watch, &state);
    g_assert_cmpint(state.status.vcpus_online, ==, 4);
    /* A VM that was started again is another guest. */
    make_state(&state, VM_STATE_RUNNING, started_ns + NS_PER_S, 2);
    guest_watch_note(fixture->watch, &state, false);
    guest_watch_fill(fixture->watch, &state);
    g_assert_cmpuint(state.status.addresses.n, ==, 0);
}

static void test_a_stopped_vm_is_not_asked(Fixture *fixture, const void *data) {
    (void)data;
    g_auto(AgentVmState) state = {0};
    make_state(&state, VM_STATE_RUNNING, long_ago(), 1);
    guest_watch_note(fixture->watch, &state, false);
    make_state(&state, VM_STATE_STOPPED, 0, 0);
    guest_watch_note(fixture->watch, &state, false);
    gint64 end = g_get_monotonic_time() + 1500 * G_TIME_SPAN_MILLISECOND;
    while (g_get_monotonic_time() < end)
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmpint(g_atomic_int_get(&n_questions), ==, 0);
    guest_watch_fill(fixture->watch, &state);
    g_assert_cmpuint(state.status.addresses.n, ==, 0);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add("/guest-watch/what-a-guest-says-is-added", Fixture, NULL, set_up,
        test_what_a_guest_says_is_added, tear_down);
    g_test_add("/guest-watch/a-stopped-vm-is-not-asked", Fixture, NULL, set_up,
        test_a_stopped_vm_is_not_asked, tear_down);
    return g_test_run();
}
