/* Proves the life of a job on a real store: steps, undo, claims, cancel, a crash between steps, idempotency.
 */
#include "jobs/jobs.h"
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include "base/file.h"
#include "base/log.h"
#include "jobs/claims.h"
#include "model/format.h"

typedef struct World {
    char *folder, *path;
    Store *store;
    Inventory *inventory;
    Jobs *jobs;
    GString *trace;
    JobRun *held;  /* a run whose step waits for the test */
    char *last_id; /* of the last submission */
    ErrorCode refusal;
} World;

static bool fails_in_second, fails_in_undo;

static void trace(JobRun *run, const char *text) {
    World *world = job_host(run);
    g_string_append_printf(world->trace, "%s ", text);
}

static void first_run(JobRun *run) {
    trace(run, "first");
    job_remember(run, "seen", json_true());
    job_step_done(run);
}

static void first_undo(JobRun *run) {
    trace(run, "undo-first");
    g_auto(Error) err = {0};
    if (!fails_in_undo) {
        job_step_done(run);
        return;
    }
    error_set(&err, ERROR_IO, NULL, "disk is gone");
    job_step_failed(run, &err);
}

static void second_run(JobRun *run) {
    trace(run, "second");
    g_auto(Error) err = {0};
    if (!fails_in_second) {
        job_step_done(run);
        return;
    }
    error_set(&err, ERROR_NO_SPACE, NULL, "full");
    job_step_failed(run, &err);
}

static json_t *much(void) {
    g_autofree char *text = g_strnfill(STORE_MAX_BYTES, 'x');
    return json_string(text);
}

static void remember_much(JobRun *run) {
    trace(run, "much");
    job_remember(run, "much", much());
    job_step_done(run);
}

static void give_much(JobRun *run) {
    job_result(run, much());
    job_step_done(run);
}

static void hold_run(JobRun *run) {
    trace(run, "hold");
    ((World *)job_host(run))->held = run;
}

static void child_ended(JobRun *run, const Job *child, void *data G_GNUC_UNUSED) {
    trace(run, child->state == JOB_STATE_SUCCEEDED ? "good-child" : "bad-child");
    if (g_str_has_suffix(((World *)job_host(run))->trace->str, "bad-child bad-child "))
        job_step_done(run);
    else /* more work, as when many VMs are made */
        job_child(run, "next", "test.two", &(JobRequest){.principal = "tester"}, child_ended, NULL);
}

static void parent_run(JobRun *run) {
    job_child(run, "held", "test.hold", &(JobRequest){.principal = "tester"}, child_ended, NULL);
}

static bool prepare_claim(
    Inventory *inventory G_GNUC_UNUSED, const JobRequest *request, Job *job, Error *err) {
    if (json_object_get(request->parameters, "refuse"))
        return error_set(err, ERROR_INVALID, "/refuse", "refused");
    job_claim_add(job, RESOURCE_VM, "one", false, "test");
    return true;
}

static bool prepare_share(Inventory *inventory G_GNUC_UNUSED, const JobRequest *request G_GNUC_UNUSED,
    Job *job, Error *err G_GNUC_UNUSED) {
    job_claim_add(job, RESOURCE_VM, "one", true, "test");
    return true;
}

static bool prepare_shorter(Inventory *inventory G_GNUC_UNUSED, const JobRequest *request G_GNUC_UNUSED,
    Job *job, Error *err G_GNUC_UNUSED) {
    job_leave_out(job, "zeroth");
    job_leave_out(job, "second");
    job_leave_out(job, "unheard-of");
    return true;
}

static bool prepare_turn(Inventory *inventory G_GNUC_UNUSED, const JobRequest *request G_GNUC_UNUSED,
    Job *job, Error *err G_GNUC_UNUSED) {
    job_claim_one_of(job, RESOURCE_HOST, "turns", 2, "test");
    return true;
}

static void sharing_child_ended(JobRun *run, const Job *child, void *data G_GNUC_UNUSED) {
    g_assert_cmpint(child->state, ==, JOB_STATE_SUCCEEDED);
    job_step_done(run);
}

static void sharing_child_run(JobRun *run) {
    job_child(run, "sharing", "test.share", &(JobRequest){.principal = "tester"}, sharing_child_ended, NULL);
}

static const JobStepKind two_steps[] = {
    {"first", "First", first_run, first_undo}, {"second", "Second", second_run, NULL}};
static const JobKind two = {"test.two", two_steps, 2, prepare_claim};
static const JobStepKind hold_steps[] = {
    {"first", "First", first_run, first_undo}, {"hold", "Hold", hold_run, NULL}};
static const JobKind hold = {"test.hold", hold_steps, 2, prepare_claim};
static const JobStepKind three_steps[] = {{"zeroth", "Zeroth", first_run, first_undo},
    {"first", "First", first_run, first_undo}, {"second", "Second", second_run, NULL}};
static const JobKind three = {"test.three", three_steps, 3, prepare_claim};
static const JobKind turn = {"test.turn", hold_steps, 2, prepare_turn};
static const JobKind shorter = {"test.shorter", three_steps, 3, prepare_shorter};
static const JobStepKind parent_steps[] = {{"children", "Children", parent_run, NULL}};
static const JobKind parent = {"test.parent", parent_steps, 1, NULL};
static const JobStepKind away_steps[] = {{"first", "First", first_run, first_undo},
    {"hold", "Hold", hold_run, NULL, .has_no_way_back = true}, {"rest", "Rest", hold_run, NULL}};
static const JobKind away = {"test.away", away_steps, 3, prepare_claim};
static const JobStepKind back_steps[] = {
    {"first", "First", first_run, hold_run}, {"hold", "Hold", hold_run, NULL}};
static const JobKind back = {"test.back", back_steps, 2, prepare_claim};
static const JobStepKind lone_steps[] = {{"hold", "Hold", hold_run, NULL}};
static const JobKind lone = {"test.lone", lone_steps, 1, prepare_claim};
static const JobStepKind forgetful_steps[] = {
    {"much", "Much", remember_much, NULL}, {"second", "Second", second_run, NULL}};
static const JobKind remembers_much = {"test.remembers-much", forgetful_steps, 2, prepare_claim};
static const JobStepKind generous_steps[] = {{"much", "Much", give_much, NULL}};
static const JobKind gives_much = {"test.gives-much", generous_steps, 1, prepare_claim};
static const JobKind share = {"test.share", two_steps, 2, prepare_share};
static const JobStepKind sharing_steps[] = {
    {"hold", "Hold", hold_run, NULL}, {"child", "Child", sharing_child_run, NULL}};
static const JobKind sharing_parent = {"test.sharing-parent", sharing_steps, 2, prepare_share};
static const JobKind *const kinds[] = {&two, &hold, &three, &shorter, &turn, &parent, &away, &back, &lone,
    &remembers_much, &gives_much, &share, &sharing_parent};

/* Another version of Lodge: its kind test.hold has two steps more, test.lone has others, test.away is gone.
 */
static const JobStepKind later_hold_steps[] = {{"zeroth", "Zeroth", second_run, NULL},
    {"first", "First", first_run, first_undo}, {"between", "Between", second_run, NULL},
    {"hold", "Hold", hold_run, NULL}};
static const JobKind later_hold = {"test.hold", later_hold_steps, 4, prepare_claim};
static const JobKind later_lone = {"test.lone", two_steps, 2, prepare_claim};
static const JobKind *const later_kinds[] = {&later_hold, &later_lone, &two};

static void open_world_with(World *world, const JobKind *const *known, size_t n_known) {
    g_auto(Error) err = {0};
    world->store = store_open_sqlite(world->path, NULL, clock_system(), &err);
    g_assert_nonnull(world->store);
    world->inventory = inventory_new(world->store, clock_system());
    g_assert_true(inventory_load(world->inventory, &err));
    world->jobs = jobs_new(world->inventory, known, n_known, world, NULL);
}

static void open_world(World *world) {
    open_world_with(world, kinds, G_N_ELEMENTS(kinds));
}

static void close_world(World *world) {
    jobs_free(world->jobs, world->store);
    inventory_free(world->inventory);
}

static void set_up(World *world, const void *data G_GNUC_UNUSED) {
    fails_in_second = fails_in_undo = false;
    world->folder = g_dir_make_tmp("lodge-jobs-XXXXXX", NULL);
    world->path = g_build_filename(world->folder, "store.db", NULL);
    world->trace = g_string_new(NULL);
    open_world(world);
}

static void tear_down(World *world, const void *data G_GNUC_UNUSED) {
    close_world(world);
    tree_remove(world->folder, NULL);
    g_string_free(world->trace, TRUE);
    g_free(world->path);
    g_free(world->folder);
    g_free(world->last_id);
}

static void on_submitted(const char *job_id, const Error *err, void *data) {
    World *world = data;
    g_free(world->last_id);
    world->last_id = g_strdup(job_id);
    world->refusal = err ? err->code : ERROR_NONE;
}

static const char *submit(World *world, const char *kind, const char *parameters, const char *key) {
    g_autoptr(json_t) json = json_parse(parameters, strlen(parameters), NULL);
    const JobRequest request = {.target_kind = RESOURCE_VM, .parameters = json, .principal = "tester"};
    g_clear_pointer(&world->last_id, g_free);
    world->refusal = ERROR_NONE;
    job_submit(world->jobs, kind, &request, key, on_submitted, world);
    g_assert_null(world->last_id); /* never before it returns */
    while (!world->last_id && world->refusal == ERROR_NONE)
        g_main_context_iteration(NULL, TRUE);
    return world->last_id;
}

static const Job *job_of(World *world, const char *id) {
    const Object *object = inventory_get(world->inventory, RESOURCE_JOB, id);
    g_assert_nonnull(object);
    return object->data;
}

static void wait_for_state(World *world, const char *id, JobState state) {
    while (job_of(world, id)->state != state)
        g_main_context_iteration(NULL, TRUE);
}

static void wait_until_held(World *world) {
    while (!world->held)
        g_main_context_iteration(NULL, TRUE);
}

static JobRun *take_held(World *world) {
    wait_until_held(world);
    return g_steal_pointer(&world->held);
}

static void test_steps_run_in_order_and_result_is_stored(World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *id = g_strdup(submit(world, "test.two", "{}", NULL));
    wait_for_state(world, id, JOB_STATE_SUCCEEDED);
    g_assert_cmpstr(world->trace->str, ==, "first second ");
    g_assert_cmpint(job_of(world, id)->claims.items[0].revision, >, 0);
}

static void test_steps_are_left_out(World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *id = g_strdup(submit(world, "test.shorter", "{}", NULL));
    wait_for_state(world, id, JOB_STATE_SUCCEEDED);
    g_assert_cmpstr(world->trace->str, ==, "first ");
    g_assert_cmpuint(job_of(world, id)->steps.n, ==, 1);
}

static void test_a_failed_step_undoes_what_was_done(World *world, const void *data G_GNUC_UNUSED) {
    fails_in_second = true;
    g_autofree char *id = g_strdup(submit(world, "test.two", "{}", NULL));
    wait_for_state(world, id, JOB_STATE_FAILED);
    g_assert_cmpstr(world->trace->str, ==, "first second undo-first ");
    g_assert_cmpstr(job_of(world, id)->error.code, ==, "no-space");
}

static void test_a_stuck_undo_takes_nothing_more_away(World *world, const void *data G_GNUC_UNUSED) {
    fails_in_second = fails_in_undo = true;
    g_autofree char *id = g_strdup(submit(world, "test.three", "{}", NULL));
    wait_for_state(world, id, JOB_STATE_FAILED);
    g_assert_cmpstr(world->trace->str, ==, "first first second undo-first ");
    g_assert_nonnull(strstr(job_of(world, id)->error.detail, "full"));
    g_assert_nonnull(strstr(job_of(world, id)->error.detail, "disk is gone"));
}

static void test_a_refusal_leaves_no_job(World *world, const void *data G_GNUC_UNUSED) {
    submit(world, "test.two", "{\"refuse\":1}", NULL);
    g_assert_cmpint(world->refusal, ==, ERROR_INVALID);
    g_assert_cmpint((int)inventory_list(world->inventory, RESOURCE_JOB)->len, ==, 0);
}

static void test_the_same_key_is_the_same_job(World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *id = g_strdup(submit(world, "test.two", "{}", "k1"));
    g_assert_cmpstr(submit(world, "test.two", "{}", "k1"), ==, id);
    g_assert_cmpstr(submit(world, "test.two", "{}", "k2"), !=, id);
}

static void test_a_second_claimant_waits_and_says_for_what(World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *holder = g_strdup(submit(world, "test.hold", "{}", NULL));
    JobRun *run = take_held(world);
    g_autofree char *second = g_strdup(submit(world, "test.two", "{}", NULL));
    while (!job_of(world, second)->waits_for)
        g_main_context_iteration(NULL, TRUE);
    g_assert_nonnull(strstr(job_of(world, second)->waits_for, "vm/one"));
    g_assert_cmpint(job_of(world, second)->state, ==, JOB_STATE_QUEUED);
    job_step_done(run);
    wait_for_state(world, second, JOB_STATE_SUCCEEDED);
    g_assert_cmpint(
        job_of(world, holder)->claims.items[0].revision, <, job_of(world, second)->claims.items[0].revision);
}

static void test_the_third_waits_for_its_turn(World *world, const void *data G_GNUC_UNUSED) {
    char *ids[3];
    JobRun *runs[2];
    for (size_t i = 0; i < 2; i++) {
        ids[i] = g_strdup(submit(world, "test.turn", "{}", NULL));
        runs[i] = take_held(world);
    }
    ids[2] = g_strdup(submit(world, "test.turn", "{}", NULL));
    while (!job_of(world, ids[2])->waits_for)
        g_main_context_iteration(NULL, TRUE);
    g_assert_nonnull(strstr(job_of(world, ids[2])->waits_for, "host/turns"));
    job_step_done(runs[1]);
    wait_for_state(world, ids[1], JOB_STATE_SUCCEEDED);
    JobRun *third = take_held(world);
    job_step_done(runs[0]);
    job_step_done(third);
    wait_for_state(world, ids[0], JOB_STATE_SUCCEEDED);
    wait_for_state(world, ids[2], JOB_STATE_SUCCEEDED);
    for (size_t i = 0; i < G_N_ELEMENTS(ids); i++)
        g_free(ids[i]);
}

static void test_a_child_does_not_wait_for_who_waits_for_its_parent(
    World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *id = g_strdup(submit(world, "test.sharing-parent", "{}", NULL));
    JobRun *run = take_held(world);
    g_autofree char *waiting = g_strdup(submit(world, "test.two", "{}", NULL)); /* wants it alone */
    job_step_done(run);
    wait_for_state(world, id, JOB_STATE_SUCCEEDED);
    wait_for_state(world, waiting, JOB_STATE_SUCCEEDED);
}

static void fill_claimant(Job *job, const char *id, const char *parent_id, bool is_shared) {
    job_set_id(job, id);
    job_set_parent(job, parent_id);
    job_claim_add(job, RESOURCE_VM, "one", is_shared, "test");
}

static void test_who_asked_first_waits_for_a_child_that_did_not_wait(void) {
    Claims *claims = claims_new();
    g_auto(Job) big = {0}, small = {0}, waiting = {0};
    fill_claimant(&big, "big", NULL, true);
    fill_claimant(&small, "small", "big", true);
    fill_claimant(&waiting, "waiting", NULL, false);
    claims_hold(claims, &big);
    claims_wait(claims, &waiting);
    g_assert_true(claims_are_free(claims, &small, NULL));
    claims_hold(claims, &small);
    claims_release(claims, "big"); /* broken */
    g_assert_false(claims_are_free(claims, &waiting, NULL));
    claims_release(claims, "small");
    g_assert_true(claims_are_free(claims, &waiting, NULL));
    claims_free(claims);
}

static void test_cancel_undoes_at_the_next_step(World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *id = g_strdup(submit(world, "test.hold", "{}", NULL));
    JobRun *run = take_held(world);
    g_assert_true(job_cancel(world->jobs, id, NULL));
    job_step_done(run);
    wait_for_state(world, id, JOB_STATE_CANCELLED);
    g_assert_cmpstr(world->trace->str, ==, "first hold undo-first ");
}

static void test_a_cancel_comes_too_late_when_there_is_no_way_back(
    World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *id = g_strdup(submit(world, "test.away", "{}", NULL));
    JobRun *run = take_held(world);
    g_assert_true(job_cancel(world->jobs, id, NULL));
    job_step_done(run); /* it was done all the same */
    run = take_held(world);
    g_auto(Error) err = {0};
    g_assert_false(job_is_cancelled(run));
    g_assert_false(job_cancel(world->jobs, id, &err));
    g_assert_cmpint(err.code, ==, ERROR_WRONG_STATE);
    job_step_done(run);
    wait_for_state(world, id, JOB_STATE_SUCCEEDED);
    g_assert_cmpstr(world->trace->str, ==, "first hold hold ");
}

static void test_a_cancel_before_there_is_no_way_back_goes_back(
    World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *id = g_strdup(submit(world, "test.away", "{}", NULL));
    JobRun *run = take_held(world);
    g_assert_true(job_cancel(world->jobs, id, NULL));
    g_auto(Error) err = {0};
    error_set(&err, ERROR_CANCELLED, NULL, "nothing was done yet");
    job_step_failed(run, &err);
    wait_for_state(world, id, JOB_STATE_CANCELLED);
    g_assert_cmpstr(world->trace->str, ==, "first hold undo-first ");
}

static void never_called(JobRun *run G_GNUC_UNUSED, void *data G_GNUC_UNUSED) {
    g_assert_not_reached();
}

static void test_a_cancel_does_not_interrupt_what_goes_back(World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *id = g_strdup(submit(world, "test.back", "{}", NULL));
    g_auto(Error) err = {0};
    error_set(&err, ERROR_NO_SPACE, NULL, "full");
    job_step_failed(take_held(world), &err);
    JobRun *run = take_held(world); /* it undoes, and waits for a host */
    job_on_cancel(run, never_called, NULL);
    g_assert_true(job_cancel(world->jobs, id, NULL));
    job_step_done(run);
    wait_for_state(world, id, JOB_STATE_FAILED);
    g_assert_cmpstr(world->trace->str, ==, "first hold hold ");
}

static void test_a_failure_behind_no_way_back_undoes_nothing(World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *id = g_strdup(submit(world, "test.away", "{}", NULL));
    job_step_done(take_held(world));
    g_auto(Error) err = {0};
    error_set(&err, ERROR_NO_SPACE, NULL, "full");
    job_step_failed(take_held(world), &err);
    wait_for_state(world, id, JOB_STATE_FAILED);
    g_assert_cmpstr(world->trace->str, ==, "first hold hold ");
    g_assert_cmpstr(job_of(world, id)->error.code, ==, "no-space");
}

static void test_what_is_done_and_stays_is_not_called_cancelled(
    World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *id = g_strdup(submit(world, "test.lone", "{}", NULL));
    JobRun *run = take_held(world);
    g_assert_true(job_cancel(world->jobs, id, NULL));
    job_step_done(run);
    wait_for_state(world, id, JOB_STATE_SUCCEEDED);
}

static void test_a_queued_job_is_cancelled_without_a_step(World *world, const void *data G_GNUC_UNUSED) {
    submit(world, "test.hold", "{}", NULL);
    JobRun *run = take_held(world);
    g_autofree char *id = g_strdup(submit(world, "test.two", "{}", NULL));
    g_assert_true(job_cancel(world->jobs, id, NULL));
    wait_for_state(world, id, JOB_STATE_CANCELLED);
    g_assert_cmpstr(world->trace->str, ==, "first hold ");
    job_step_done(run);
}

static void test_broken_claims_are_free_at_once(World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *id = g_strdup(submit(world, "test.hold", "{}", NULL));
    JobRun *run = take_held(world);
    g_assert_true(job_break(world->jobs, id, "host is gone", NULL));
    wait_for_state(world, id, JOB_STATE_FAILED);
    g_assert_cmpstr(job_of(world, id)->error.code, ==, "stale-claim");
    g_autofree char *next = g_strdup(submit(world, "test.two", "{}", NULL));
    wait_for_state(world, next, JOB_STATE_SUCCEEDED);
    job_step_done(run); /* late: nothing happens */
    g_assert_cmpint(job_of(world, id)->state, ==, JOB_STATE_FAILED);
}

static void test_a_queued_job_whose_cancel_is_not_durable_yet_does_not_start(
    World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *holder = g_strdup(submit(world, "test.hold", "{}", NULL));
    JobRun *run = take_held(world);
    g_autofree char *id = g_strdup(submit(world, "test.two", "{}", NULL));
    job_step_done(run);
    wait_for_state(world, holder, JOB_STATE_SUCCEEDED);
    g_assert_true(job_cancel(world->jobs, id, NULL)); /* its claims are free, its start is due */
    wait_for_state(world, id, JOB_STATE_CANCELLED);
    g_assert_cmpstr(world->trace->str, ==, "first hold ");
}

static void test_claims_broken_before_a_step_keep_it_from_running(
    World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *id = g_strdup(submit(world, "test.two", "{}", NULL));
    while (!job_break(world->jobs, id, "changed my mind", NULL))
        g_main_context_iteration(NULL, TRUE);
    wait_for_state(world, id, JOB_STATE_FAILED);
    g_autofree char *next = g_strdup(submit(world, "test.hold", "{}", NULL));
    job_step_done(take_held(world));
    wait_for_state(world, next, JOB_STATE_SUCCEEDED);
    g_assert_cmpstr(world->trace->str, ==, "first hold ");
}

static void limit_file_size(rlim_t size) {
    const struct rlimit limit = {size, RLIM_INFINITY};
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
}

static void test_a_full_disk_holds_a_job_until_there_is_room(World *world, const void *data G_GNUC_UNUSED) {
    signal(SIGXFSZ, SIG_IGN);
    g_autofree char *id = g_strdup(submit(world, "test.hold", "{}", NULL));
    JobRun *run = take_held(world);
    limit_file_size(1024);
    job_step_done(run);
    gint64 end = g_get_monotonic_time() + G_TIME_SPAN_SECOND / 2;
    while (g_get_monotonic_time() < end) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(10000);
    }
    g_assert_cmpint(job_of(world, id)->state, ==, JOB_STATE_RUNNING);
    limit_file_size(RLIM_INFINITY);
    wait_for_state(world, id, JOB_STATE_SUCCEEDED);
}

static void test_a_record_that_outgrows_the_store_ends_the_job(World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *id = g_strdup(submit(world, "test.remembers-much", "{}", NULL));
    wait_for_state(world, id, JOB_STATE_FAILED);
    g_assert_cmpstr(job_of(world, id)->error.code, ==, "too-large");
    g_assert_cmpstr(world->trace->str, ==, "much ");
    g_autofree char *next = g_strdup(submit(world, "test.two", "{}", NULL));
    wait_for_state(world, next, JOB_STATE_SUCCEEDED); /* its claims are free */
}

/* What steps wait for is taken away when all is stopped, and says so. */
static void test_what_fails_while_all_is_stopped_is_done_again(World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *id = g_strdup(submit(world, "test.hold", "{}", NULL));
    JobRun *run = take_held(world);
    g_auto(Error) err = {0};
    error_set(&err, ERROR_UNREACHABLE, NULL, "the host cannot be reached");
    jobs_stop(world->jobs);
    job_step_failed(run, &err);
    close_world(world);
    open_world(world);
    g_assert_cmpint(job_of(world, id)->state, ==, JOB_STATE_RUNNING);
    jobs_resume(world->jobs);
    job_step_done(take_held(world));
    wait_for_state(world, id, JOB_STATE_SUCCEEDED);
    g_assert_cmpstr(world->trace->str, ==, "first hold hold ");
}

static void test_a_result_that_outgrows_the_store_is_dropped(World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *id = g_strdup(submit(world, "test.gives-much", "{}", NULL));
    wait_for_state(world, id, JOB_STATE_SUCCEEDED);
    g_assert_false(job_has(job_of(world, id), JOB_FIELD_RESULT));
}

static void test_a_full_disk_is_said_at_the_start(World *world, const void *data G_GNUC_UNUSED) {
    g_auto(Error) err = {0};
    signal(SIGXFSZ, SIG_IGN);
    jobs_free(world->jobs, NULL);
    limit_file_size(1024);
    world->jobs = jobs_new(world->inventory, kinds, G_N_ELEMENTS(kinds), world, &err);
    limit_file_size(RLIM_INFINITY);
    g_assert_null(world->jobs);
    g_assert_true(err.code == ERROR_NO_SPACE || err.code == ERROR_IO);
    world->jobs = jobs_new(world->inventory, kinds, G_N_ELEMENTS(kinds), world, NULL);
    g_assert_nonnull(world->jobs);
}

static void test_breaking_a_parent_cancels_its_children_and_makes_no_more(
    World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *id = g_strdup(submit(world, "test.parent", "{}", NULL));
    JobRun *run = take_held(world);
    g_autofree char *child = g_strdup(job_definition(run)->id);
    g_assert_true(job_break(world->jobs, id, "enough", NULL));
    g_assert_false(job_break(world->jobs, id, "twice", NULL));
    wait_for_state(world, id, JOB_STATE_FAILED);
    job_step_done(run);
    wait_for_state(world, child, JOB_STATE_CANCELLED);
    while (!g_str_has_suffix(world->trace->str, "bad-child bad-child "))
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmpstr(world->trace->str, ==, "first hold undo-first bad-child bad-child ");
    g_assert_cmpint((int)inventory_list(world->inventory, RESOURCE_JOB)->len, ==, 2);
}

static void test_after_a_restore_open_jobs_are_lost_and_hold_nothing(
    World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *id = g_strdup(submit(world, "test.hold", "{}", NULL));
    wait_until_held(world);
    world->held = NULL;
    close_world(world);
    g_autofree char *backup = g_strconcat(world->path, ".backup", NULL);
    g_assert_cmpint(rename(world->path, backup), ==, 0);
    g_assert_true(store_restore_file(backup, world->path, clock_system(), NULL));
    open_world(world);
    g_assert_cmpint(store_epoch(world->store), ==, 2);
    jobs_resume(world->jobs);
    wait_for_state(world, id, JOB_STATE_LOST);
    g_assert_cmpstr(job_of(world, id)->error.code, ==, "lost");
    g_autofree char *next = g_strdup(submit(world, "test.two", "{}", NULL));
    wait_for_state(world, next, JOB_STATE_SUCCEEDED);
    close_world(world);
    open_world(world);
    jobs_resume(world->jobs); /* of the new epoch: nothing is lost again */
    g_assert_cmpint(job_of(world, next)->state, ==, JOB_STATE_SUCCEEDED);
}

static void test_after_a_restart_the_open_step_runs_again_with_its_operation(
    World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *id = g_strdup(submit(world, "test.hold", "{}", NULL));
    wait_until_held(world);
    g_autofree char *operation = g_strdup(job_operation(g_steal_pointer(&world->held)));
    close_world(world);
    open_world(world);
    jobs_resume(world->jobs);
    JobRun *run = take_held(world);
    g_assert_cmpstr(job_operation(run), ==, operation);
    g_assert_true(json_is_true(json_object_get(job_data(run), "seen")));
    g_assert_cmpstr(world->trace->str, ==, "first hold hold ");
    job_step_done(run);
    wait_for_state(world, id, JOB_STATE_SUCCEEDED);
}

static void test_after_an_upgrade_a_job_keeps_its_own_steps(World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *id = g_strdup(submit(world, "test.hold", "{}", NULL));
    g_autofree char *queued = g_strdup(submit(world, "test.hold", "{}", NULL));
    wait_until_held(world);
    world->held = NULL;
    close_world(world);
    open_world_with(world, later_kinds, G_N_ELEMENTS(later_kinds));
    jobs_resume(world->jobs);
    job_step_done(take_held(world));
    wait_for_state(world, id, JOB_STATE_SUCCEEDED);
    job_step_done(take_held(world));
    wait_for_state(world, queued, JOB_STATE_SUCCEEDED);
    g_assert_cmpstr(world->trace->str, ==, "first hold hold first hold ");
}

static void assert_foreign(World *world, const char *id) {
    wait_for_state(world, id, JOB_STATE_FAILED);
    g_assert_cmpstr(job_of(world, id)->error.code, ==, "unsupported");
}

/* Under way or queued, with a step or a whole kind that is gone: it ends, and what it held is free. */
static void test_after_an_upgrade_a_job_that_is_not_known_ends(World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *id = g_strdup(submit(world, "test.lone", "{}", NULL));
    g_autofree char *step = g_strdup(submit(world, "test.lone", "{}", NULL));
    g_autofree char *kind = g_strdup(submit(world, "test.away", "{}", NULL));
    wait_until_held(world);
    world->held = NULL;
    close_world(world);
    open_world_with(world, later_kinds, G_N_ELEMENTS(later_kinds));
    jobs_resume(world->jobs);
    assert_foreign(world, id);
    assert_foreign(world, step);
    assert_foreign(world, kind);
    g_autofree char *next = g_strdup(submit(world, "test.two", "{}", NULL));
    wait_for_state(world, next, JOB_STATE_SUCCEEDED);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function) g_test_add(name, World, NULL, set_up, function, tear_down)
    ADD("/jobs/steps", test_steps_run_in_order_and_result_is_stored);
    ADD("/jobs/turns", test_the_third_waits_for_its_turn);
    ADD("/jobs/stopped", test_what_fails_while_all_is_stopped_is_done_again);
    ADD("/jobs/left-out", test_steps_are_left_out);
    ADD("/jobs/undo", test_a_failed_step_undoes_what_was_done);
    ADD("/jobs/stuck-undo", test_a_stuck_undo_takes_nothing_more_away);
    ADD("/jobs/refusal", test_a_refusal_leaves_no_job);
    ADD("/jobs/idempotency", test_the_same_key_is_the_same_job);
    ADD("/jobs/claims", test_a_second_claimant_waits_and_says_for_what);
    ADD("/jobs/claims-of-children", test_a_child_does_not_wait_for_who_waits_for_its_parent);
    g_test_add_func("/jobs/claims-of-broken", test_who_asked_first_waits_for_a_child_that_did_not_wait);
    ADD("/jobs/cancel", test_cancel_undoes_at_the_next_step);
    ADD("/jobs/cancel-no-way-back", test_a_cancel_comes_too_late_when_there_is_no_way_back);
    ADD("/jobs/failure-behind-no-way-back", test_a_failure_behind_no_way_back_undoes_nothing);
    ADD("/jobs/cancel-way-back", test_a_cancel_before_there_is_no_way_back_goes_back);
    ADD("/jobs/cancel-back", test_a_cancel_does_not_interrupt_what_goes_back);
    ADD("/jobs/cancel-done", test_what_is_done_and_stays_is_not_called_cancelled);
    ADD("/jobs/cancel-queued", test_a_queued_job_is_cancelled_without_a_step);
    ADD("/jobs/break", test_broken_claims_are_free_at_once);
    ADD("/jobs/cancel-late", test_a_queued_job_whose_cancel_is_not_durable_yet_does_not_start);
    ADD("/jobs/break-early", test_claims_broken_before_a_step_keep_it_from_running);
    ADD("/jobs/full-disk", test_a_full_disk_holds_a_job_until_there_is_room);
    ADD("/jobs/full-disk-at-start", test_a_full_disk_is_said_at_the_start);
    ADD("/jobs/outgrown-record", test_a_record_that_outgrows_the_store_ends_the_job);
    ADD("/jobs/outgrown-result", test_a_result_that_outgrows_the_store_is_dropped);
    ADD("/jobs/break-parent", test_breaking_a_parent_cancels_its_children_and_makes_no_more);
    ADD("/jobs/restore", test_after_a_restore_open_jobs_are_lost_and_hold_nothing);
    ADD("/jobs/restart", test_after_a_restart_the_open_step_runs_again_with_its_operation);
    ADD("/jobs/upgrade", test_after_an_upgrade_a_job_keeps_its_own_steps);
    ADD("/jobs/upgrade-unknown", test_after_an_upgrade_a_job_that_is_not_known_ends);
    return g_test_run();
}
