/* Proves what the agent remembers and what it forgets, on a real store. */
#include "agent/journal.h"
#include "base/file.h"

#define MANAGER "11111111-1111-4111-8111-111111111111"

typedef struct Lab {
    char *folder, *path;
    Journal *journal;
    int n_done;
} Lab;

static void set_up(Lab *lab, const void *data G_GNUC_UNUSED) {
    lab->folder = g_dir_make_tmp("lodge-journal-XXXXXX", NULL);
    lab->path = g_build_filename(lab->folder, "journal.sqlite", NULL);
    lab->journal = journal_open(lab->path, NULL);
    journal_own(lab->journal, MANAGER, 1, NULL, NULL);
}

static void tear_down(Lab *lab, const void *data G_GNUC_UNUSED) {
    journal_close(lab->journal);
    tree_remove(lab->folder, NULL);
    g_free(lab->folder);
    g_free(lab->path);
}

static void done(int64_t revision G_GNUC_UNUSED, const Error *err, void *data) {
    g_assert_null(err);
    ((Lab *)data)->n_done++;
}

static void claim(Lab *lab, int64_t number) {
    g_autofree char *id = g_strdup_printf("operation-%" G_GINT64_FORMAT, number);
    g_autofree char *object = g_strdup_printf("vm/%" G_GINT64_FORMAT, number);
    Operation *operation = operation_new(id, AGENT_METHOD_VM_START);
    journal_begin(lab->journal, operation, &(JournalClaim){object, number}, 1, done, lab);
    operation->state = OPERATION_STATE_DONE;
    operation->result = json_object();
    journal_end(lab->journal, operation, done, lab);
    journal_forget(lab->journal, id);
    operation_unref(operation);
    while (number % 1000 == 0 && lab->n_done < 2 * number)
        g_main_context_iteration(NULL, TRUE);
}

static void open_again(Lab *lab) {
    journal_close(lab->journal);
    lab->journal = journal_open(lab->path, NULL);
    g_assert_nonnull(lab->journal);
}

static void test_old_claims_are_forgotten_but_stay_refused(Lab *lab, const void *data G_GNUC_UNUSED) {
    for (int64_t number = 1; number <= JOURNAL_CLAIMS_LIMIT; number++)
        claim(lab, number);
    g_assert_cmpint(journal_claim(lab->journal, "vm/1"), ==, 1);
    g_assert_cmpint(journal_claim(lab->journal, "vm/unknown"), ==, 0);
    claim(lab, JOURNAL_CLAIMS_LIMIT + 1);
    for (int i = 0; i < 2; i++) {
        int64_t floor = journal_claim(lab->journal, "vm/1");
        g_assert_cmpint(floor, >=, JOURNAL_CLAIMS_LIMIT / 2);
        g_assert_cmpint(journal_claim(lab->journal, "vm/unknown"), ==, floor);
        g_assert_cmpint(journal_claim(lab->journal, "vm/20000"), ==, 20000);
        open_again(lab); /* and after a restart */
    }
}

static void test_a_new_epoch_begins_without_claims(Lab *lab, const void *data G_GNUC_UNUSED) {
    claim(lab, 1);
    claim(lab, 2);
    journal_own(lab->journal, MANAGER, 1, NULL, NULL);
    g_assert_cmpint(journal_claim(lab->journal, "vm/2"), ==, 2);
    journal_own(lab->journal, MANAGER, 2, NULL, NULL);
    g_assert_cmpint(journal_claim(lab->journal, "vm/2"), ==, 0);
    open_again(lab);
    g_assert_cmpint(journal_epoch(lab->journal), ==, 2);
    g_assert_cmpint(journal_claim(lab->journal, "vm/2"), ==, 0);
}

static void test_a_released_host_remembers_what_it_holds_only(Lab *lab, const void *data G_GNUC_UNUSED) {
    g_auto(Network) network = {0};
    g_auto(AgentHoldings) holdings = {0};
    claim(lab, 7);
    network_set_id(&network, "22222222-2222-4222-8222-222222222222");
    network_set_name(&network, "office");
    journal_network_put(lab->journal, &network);
    lab->n_done = 0;
    journal_release(lab->journal, done, lab);
    g_assert_null(journal_owner(lab->journal)); /* obeyed no more, at once */
    while (lab->n_done < 3)                     /* the claim's two, and this */
        g_main_context_iteration(NULL, TRUE);
    for (int i = 0; i < 2; i++) {
        g_assert_null(journal_owner(lab->journal));
        g_assert_cmpint(journal_epoch(lab->journal), ==, 0);
        g_assert_cmpint(journal_claim(lab->journal, "vm/7"), ==, 0);
        open_again(lab);
    }
    g_assert_true(journal_holdings(lab->journal, &holdings, NULL));
    g_assert_cmpuint(holdings.networks.n, ==, 1);
    g_assert_cmpstr(holdings.networks.items[0].name, ==, "office");
}

/* The next owner may be there before that is on the disk. */
static void test_who_owns_it_at_once_keeps_it(Lab *lab, const void *data G_GNUC_UNUSED) {
    lab->n_done = 0;
    journal_release(lab->journal, done, lab);
    journal_own(lab->journal, "33333333-3333-4333-8333-333333333333", 3, done, lab);
    while (lab->n_done < 2)
        g_main_context_iteration(NULL, TRUE);
    for (int i = 0; i < 2; i++) {
        g_assert_cmpstr(journal_owner(lab->journal), ==, "33333333-3333-4333-8333-333333333333");
        g_assert_cmpint(journal_epoch(lab->journal), ==, 3);
        open_again(lab);
    }
}

/* ---- what was done without the manager ---- */

static int64_t begin_action(Lab *lab, const char *name, const char *outcome) {
    g_auto(AgentLocalAction) action = {0};
    agent_local_action_set_time(&action, 1);
    agent_local_action_set_uid(&action, 0);
    agent_local_action_set_method(&action, "vm.start");
    agent_local_action_set_vm(&action, "22222222-2222-4222-8222-222222222222");
    lab->n_done = 0;
    journal_action_begin(lab->journal, &action, done, lab);
    while (lab->n_done < 1)
        g_main_context_iteration(NULL, TRUE);
    agent_local_action_set_name(&action, name);
    if (outcome) {
        agent_local_action_set_outcome(&action, outcome);
        journal_action_end(lab->journal, &action);
    }
    return action.sequence;
}

/* As "NAME outcome, …". */
static void expect_actions(const Lab *lab, const char *expected) {
    g_auto(AgentLocalActions) actions = {0};
    g_autoptr(GString) text = g_string_new(NULL);
    journal_actions(lab->journal, &actions);
    for (size_t i = 0; i < actions.actions.n; i++)
        g_string_append_printf(text, "%s%s %s", i ? ", " : "",
            actions.actions.items[i].name ? actions.actions.items[i].name : "-",
            actions.actions.items[i].outcome);
    g_assert_cmpstr(text->str, ==, expected);
}

static void test_actions_wait_until_they_are_taken(Lab *lab, const void *data G_GNUC_UNUSED) {
    int64_t first = begin_action(lab, "a", "ok");
    begin_action(lab, "b", NULL);
    int64_t third = begin_action(lab, "c", "denied");
    expect_actions(lab, "a ok"); /* one that works stands before the last */
    journal_actions_forget(lab->journal, third);
    expect_actions(lab, "");
    open_again(lab);
    expect_actions(lab, "- lost, c denied");
    journal_actions_forget(lab->journal, third);
    open_again(lab);
    expect_actions(lab, "");
    g_assert_cmpint(begin_action(lab, "d", "ok"), ==, first + 3); /* numbers are never used again */
}

static void test_actions_are_bounded(Lab *lab, const void *data G_GNUC_UNUSED) {
    g_auto(AgentLocalAction) action = {0};
    agent_local_action_set_method(&action, "vm.start");
    agent_local_action_set_vm(&action, "22222222-2222-4222-8222-222222222222");
    agent_local_action_set_outcome(&action, "ok");
    for (int i = 0; i < JOURNAL_ACTIONS_LIMIT + 6; i++)
        journal_action_begin(lab->journal, &action, NULL, NULL);
    int64_t last = begin_action(lab, "a", "ok");
    for (int i = 0; i < 2; i++) {
        g_auto(AgentLocalActions) actions = {0};
        journal_actions(lab->journal, &actions);
        g_assert_cmpuint(actions.actions.n, ==, JOURNAL_ACTIONS_PAGE);
        g_assert_cmpint(actions.actions.items[0].sequence, ==, last - JOURNAL_ACTIONS_LIMIT + 1);
        open_again(lab);
    }
}

static void run_until(Lab *lab, int n_done) {
    while (lab->n_done < n_done)
        g_main_context_iteration(NULL, TRUE);
}

static void test_what_is_kept_outlives_owner_and_agent(Lab *lab, const void *data G_GNUC_UNUSED) {
    g_assert_null(journal_kept(lab->journal));
    journal_keep(lab->journal, json_pack("{si}", "revision", 1), done, lab);
    journal_keep(lab->journal, json_pack("{si}", "revision", 2), done, lab);
    journal_keep(lab->journal, json_pack("{si}", "revision", 2), done, lab); /* not written again */
    journal_release(lab->journal, done, lab);
    run_until(lab, 4);
    journal_close(lab->journal);
    lab->journal = journal_open(lab->path, NULL);
    g_assert_null(journal_owner(lab->journal));
    g_assert_cmpint(json_integer_value(json_object_get(journal_kept(lab->journal), "revision")), ==, 2);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function) g_test_add(name, Lab, NULL, set_up, function, tear_down)
    ADD("/journal/kept", test_what_is_kept_outlives_owner_and_agent);
    ADD("/journal/claims-are-bounded", test_old_claims_are_forgotten_but_stay_refused);
    ADD("/journal/new-epoch", test_a_new_epoch_begins_without_claims);
    ADD("/journal/released", test_a_released_host_remembers_what_it_holds_only);
    ADD("/journal/owned-at-once", test_who_owns_it_at_once_keeps_it);
    ADD("/journal/actions", test_actions_wait_until_they_are_taken);
    ADD("/journal/actions-are-bounded", test_actions_are_bounded);
    return g_test_run();
}
