/* Proves what becomes of a job's call when its host, its job or its connection goes: on a pretended agent. */
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include "base/file.h"
#include "base/log.h"
#include "manager/fleet.h"
#include "rpc/rpc-connection.h"
#include "rpc/rpc-listener.h"

#define HOST "33333333-3333-4333-8333-333333333333"

typedef struct World {
    char *folder, *socket;
    Store *store;
    Inventory *inventory;
    Jobs *jobs;
    Fleet *fleet;
    char *job_id;
    /* The pretended agent: */
    RpcListener *listener;
    RpcConnection *connection;
    RpcRequest *held; /* it is to be answered by the test */
    GString *log;     /* what it was asked, apart from what each connection begins with */
} World;

static int n_done;   /* call-backs of calls that ended well */
static bool is_slow; /* what they begin takes longer … */
static JobRun *kept; /* … and is ended by the test */

/* ---- the agent ---- */

static void note_cancel(void *data) {
    g_string_append(((World *)data)->log, "cancel ");
}

static void serve(RpcRequest *take_request, void *data) {
    World *world = data;
    const char *method = rpc_request_method(take_request);
    if (g_str_equal(method, "vm.reset")) {
        g_string_append(world->log, "reset ");
        rpc_request_on_cancel(take_request, note_cancel, world);
        rpc_request_unref(world->held);
        world->held = take_request;
        return;
    }
    if (g_str_equal(method, "operation.forget"))
        g_string_append(world->log, "forget ");
    if (g_str_equal(method, "inventory"))
        rpc_reply(take_request, json_pack("{s{ss}}", "host", "state", "connected"));
    else
        rpc_reply(take_request, NULL);
    rpc_request_unref(take_request);
}

static RpcHandler lookup(const char *method G_GNUC_UNUSED, void *data G_GNUC_UNUSED) {
    return serve;
}

static void hang_up(World *world) {
    rpc_connection_free(g_steal_pointer(&world->connection));
    g_clear_pointer(&world->held, rpc_request_unref);
}

static void accept_stream(RpcStream *take_stream, const RpcPeer *peer G_GNUC_UNUSED, void *data) {
    World *world = data;
    const RpcOptions options = {
        .lookup = lookup, .data = world, .software = "test", .lowest_version = 1, .highest_version = 1};
    hang_up(world);
    world->connection = rpc_connection_new(take_stream, RPC_ACCEPTOR, &options);
}

static void agent_listen(World *world) {
    const RpcListenerOptions options = {
        .path = world->socket, .mode = 0600, .gid = (gid_t)-1, .on_stream = accept_stream, .data = world};
    world->listener = rpc_listener_new(&options, NULL);
    g_assert_nonnull(world->listener);
}

static void agent_vanish(World *world) {
    g_clear_pointer(&world->listener, rpc_listener_free);
    hang_up(world);
}

/* ---- the manager ---- */

static void call_done(JobRun *run, const json_t *result G_GNUC_UNUSED) {
    n_done++;
    if (is_slow)
        kept = run;
    else
        job_step_done(run);
}

static void call_run(JobRun *run) {
    fleet_call(run, HOST, AGENT_METHOD_VM_RESET, json_object(), RESOURCE_MAX, NULL, call_done);
}

static const JobStepKind call_steps[] = {{"call", "Calls", call_run, NULL}};
static const JobKind call_kind = {"test.call", call_steps, 1, NULL};
static const JobKind *const kinds[] = {&call_kind};

static bool iterate_until(bool (*is_so)(World *world), World *world) {
    gint64 end = g_get_monotonic_time() + 10 * G_TIME_SPAN_SECOND;
    while (!is_so(world) && g_get_monotonic_time() < end)
        if (!g_main_context_iteration(NULL, FALSE))
            g_usleep(1000);
    return is_so(world);
}

static HostState host_state(World *world) {
    const Object *host = inventory_get(world->inventory, RESOURCE_HOST, HOST);
    return host ? ((const Host *)host->data)->status.state : HOST_STATE_UNREACHABLE;
}

static bool is_connected(World *world) {
    return host_state(world) == HOST_STATE_CONNECTED;
}

static bool is_unreachable(World *world) {
    return host_state(world) == HOST_STATE_UNREACHABLE;
}

static bool is_submitted(World *world) {
    return world->job_id;
}

static bool is_calling(World *world) {
    return fleet_job_on(world->fleet, HOST);
}

static bool is_held(World *world) {
    return world->held;
}

static const Job *job_of(World *world) {
    return inventory_get(world->inventory, RESOURCE_JOB, world->job_id)->data;
}

static bool has_ended(World *world) {
    return job_of(world)->state >= JOB_STATE_SUCCEEDED;
}

static void submitted(const char *job_id, const Error *err, void *data) {
    g_assert_null(err);
    ((World *)data)->job_id = g_strdup(job_id);
}

static void submit(World *world) {
    const JobRequest request = {.principal = "tester"};
    job_submit(world->jobs, "test.call", &request, NULL, submitted, world);
    g_assert_true(iterate_until(is_submitted, world));
}

static void add_host(World *world) {
    g_auto(Host) host = {0};
    g_autofree char *address = g_strconcat("unix:", world->socket, NULL);
    host_set_id(&host, HOST);
    host_set_name(&host, "one");
    host_set_address(&host, address);
    InventoryChange *change = inventory_change_new(world->inventory);
    inventory_change_put(change, RESOURCE_HOST, &host);
    inventory_commit(world->inventory, change, NULL, NULL);
}

static void remove_host(World *world) {
    InventoryChange *change = inventory_change_new(world->inventory);
    inventory_change_delete(change, RESOURCE_HOST, HOST);
    inventory_commit(world->inventory, change, NULL, NULL);
}

static void set_up(World *world, const void *data G_GNUC_UNUSED) {
    n_done = 0;
    is_slow = false;
    world->folder = g_dir_make_tmp("lodge-fleet-XXXXXX", NULL);
    world->socket = g_build_filename(world->folder, "agent.sock", NULL);
    world->log = g_string_new(NULL);
    g_autofree char *path = g_build_filename(world->folder, "store.db", NULL);
    world->store = store_open_sqlite(path, NULL, clock_system(), NULL);
    g_assert_nonnull(world->store);
    world->inventory = inventory_new(world->store, clock_system());
    g_assert_true(inventory_load(world->inventory, NULL));
    world->fleet = fleet_new(world->inventory, clock_system(), NULL);
    world->jobs = jobs_new(world->inventory, kinds, G_N_ELEMENTS(kinds), world->fleet, NULL);
    jobs_on_settled(world->jobs, fleet_settled, world->fleet);
    fleet_start(world->fleet);
    add_host(world);
}

static void tear_down(World *world, const void *data G_GNUC_UNUSED) {
    jobs_on_settled(world->jobs, NULL, NULL);
    fleet_free(world->fleet);
    jobs_free(world->jobs, world->store);
    agent_vanish(world);
    inventory_free(world->inventory);
    tree_remove(world->folder, NULL);
    g_string_free(world->log, TRUE);
    g_free(world->job_id);
    g_free(world->socket);
    g_free(world->folder);
}

static void reply(World *world) {
    rpc_reply(world->held, NULL);
    g_clear_pointer(&world->held, rpc_request_unref);
}

static void iterate_for(gint64 duration_us) {
    for (gint64 end = g_get_monotonic_time() + duration_us; g_get_monotonic_time() < end; g_usleep(1000))
        g_main_context_iteration(NULL, FALSE);
}

/* ---- a host that is removed ---- */

static void test_a_call_that_waits_for_a_removed_host_fails(World *world, const void *data G_GNUC_UNUSED) {
    g_assert_true(iterate_until(is_unreachable, world));
    submit(world);
    g_assert_true(iterate_until(is_calling, world));
    g_assert_cmpstr(fleet_job_on(world->fleet, HOST), ==, world->job_id);
    remove_host(world);
    g_assert_true(iterate_until(has_ended, world));
    g_assert_cmpint(job_of(world)->state, ==, JOB_STATE_FAILED);
    g_assert_cmpstr(job_of(world)->error.code, ==, "not-found");
    g_assert_null(fleet_job_on(world->fleet, HOST));
}

static void test_a_call_under_way_at_a_removed_host_fails(World *world, const void *data G_GNUC_UNUSED) {
    agent_listen(world);
    g_assert_true(iterate_until(is_connected, world));
    submit(world);
    g_assert_true(iterate_until(is_held, world));
    remove_host(world);
    g_assert_true(iterate_until(has_ended, world));
    g_assert_cmpstr(job_of(world)->error.code, ==, "not-found");
}

static void test_a_broken_job_does_not_hold_its_host(World *world, const void *data G_GNUC_UNUSED) {
    agent_listen(world);
    g_assert_true(iterate_until(is_connected, world));
    submit(world);
    g_assert_true(iterate_until(is_held, world));
    agent_vanish(world);
    g_assert_true(iterate_until(is_unreachable, world));
    g_assert_nonnull(fleet_job_on(world->fleet, HOST)); /* it may have happened */
    g_assert_true(job_break(world->jobs, world->job_id, "the host will not come back", NULL));
    g_assert_null(fleet_job_on(world->fleet, HOST));
    remove_host(world);
    g_assert_true(iterate_until(has_ended, world));
    g_assert_cmpstr(job_of(world)->error.code, ==, "stale-claim");
}

/* ---- what comes late ---- */

static void test_an_answer_for_a_broken_job_changes_nothing(World *world, const void *data G_GNUC_UNUSED) {
    agent_listen(world);
    g_assert_true(iterate_until(is_connected, world));
    submit(world);
    g_assert_true(iterate_until(is_held, world));
    g_assert_true(job_break(world->jobs, world->job_id, "it takes too long", NULL));
    g_assert_true(iterate_until(has_ended, world));
    reply(world);
    iterate_for(G_TIME_SPAN_SECOND / 10);
    g_assert_cmpint(n_done, ==, 0);
    g_assert_cmpint(job_of(world)->state, ==, JOB_STATE_FAILED);
}

static bool is_told_to_cancel(World *world) {
    return strstr(world->log->str, "cancel");
}

static void test_a_cancel_reaches_an_agent_that_was_away(World *world, const void *data G_GNUC_UNUSED) {
    agent_listen(world);
    g_assert_true(iterate_until(is_connected, world));
    submit(world);
    g_assert_true(iterate_until(is_held, world));
    agent_vanish(world);
    g_assert_true(iterate_until(is_unreachable, world));
    g_assert_true(job_cancel(world->jobs, world->job_id, NULL));
    g_assert_false(has_ended(world)); /* it may have happened */
    agent_listen(world);
    g_assert_true(iterate_until(is_told_to_cancel, world));
    g_auto(Error) err = {0};
    error_set(&err, ERROR_CANCELLED, NULL, "stopped");
    rpc_fail(world->held, &err);
    g_assert_true(iterate_until(has_ended, world));
    g_assert_cmpint(job_of(world)->state, ==, JOB_STATE_CANCELLED);
}

static bool is_answered(World *world G_GNUC_UNUSED) {
    return n_done > 0;
}

/* While what follows from the answer is being stored: the call itself is over. */
static void test_a_cancel_behind_the_answer_finds_no_call(World *world, const void *data G_GNUC_UNUSED) {
    is_slow = true;
    agent_listen(world);
    g_assert_true(iterate_until(is_connected, world));
    submit(world);
    g_assert_true(iterate_until(is_held, world));
    reply(world);
    g_assert_true(iterate_until(is_answered, world));
    g_assert_true(job_cancel(world->jobs, world->job_id, NULL));
    job_step_done(kept);
    g_assert_true(iterate_until(has_ended, world));
    g_assert_false(is_told_to_cancel(world));
}

/* ---- what the agent remembers ---- */

static void limit_file_size(rlim_t size) {
    const struct rlimit limit = {size, RLIM_INFINITY};
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
}

static bool has_forgotten(World *world) {
    return strstr(world->log->str, "forget");
}

static void test_an_operation_is_forgotten_when_its_outcome_is_stored(
    World *world, const void *data G_GNUC_UNUSED) {
    signal(SIGXFSZ, SIG_IGN);
    agent_listen(world);
    g_assert_true(iterate_until(is_connected, world));
    submit(world);
    g_assert_true(iterate_until(is_held, world));
    limit_file_size(1024); /* a full disk */
    reply(world);
    iterate_for(G_TIME_SPAN_SECOND / 3);
    limit_file_size(RLIM_INFINITY);
    g_assert_cmpint(n_done, ==, 1);
    g_assert_false(has_ended(world));
    g_assert_cmpstr(world->log->str, ==, "reset ");
    g_assert_true(iterate_until(has_ended, world));
    g_assert_true(iterate_until(has_forgotten, world));
}

static void test_an_operation_whose_agent_was_away_is_forgotten_later(
    World *world, const void *data G_GNUC_UNUSED) {
    signal(SIGXFSZ, SIG_IGN);
    agent_listen(world);
    g_assert_true(iterate_until(is_connected, world));
    submit(world);
    g_assert_true(iterate_until(is_held, world));
    limit_file_size(1024);
    reply(world);
    iterate_for(G_TIME_SPAN_SECOND / 10);
    agent_vanish(world);
    limit_file_size(RLIM_INFINITY);
    g_assert_true(iterate_until(has_ended, world));
    agent_listen(world);
    g_assert_true(iterate_until(has_forgotten, world));
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function) g_test_add(name, World, NULL, set_up, function, tear_down)
    ADD("/fleet/removed-waiting", test_a_call_that_waits_for_a_removed_host_fails);
    ADD("/fleet/removed-under-way", test_a_call_under_way_at_a_removed_host_fails);
    ADD("/fleet/removed-broken", test_a_broken_job_does_not_hold_its_host);
    ADD("/fleet/late-answer", test_an_answer_for_a_broken_job_changes_nothing);
    ADD("/fleet/late-cancel", test_a_cancel_reaches_an_agent_that_was_away);
    ADD("/fleet/cancel-behind-answer", test_a_cancel_behind_the_answer_finds_no_call);
    ADD("/fleet/forget", test_an_operation_is_forgotten_when_its_outcome_is_stored);
    ADD("/fleet/forget-later", test_an_operation_whose_agent_was_away_is_forgotten_later);
    return g_test_run();
}
