/* Proves the agent as a manager meets it: the real daemon on the fake hypervisor, killed and started again in
 * between. */
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "model/method.h"
#include "rpc/rpc-connection.h"

#define MANAGER "11111111-1111-4111-8111-111111111111"
#define STRANGER "22222222-2222-4222-8222-222222222222"
#define REPOSITORY "33333333-3333-4333-8333-333333333333"
#define VM "44444444-4444-4444-8444-444444444444"
#define OTHER_VM "66666666-6666-4666-8666-666666666666"
#define THIRD_VM "77777777-7777-4777-8777-777777777777"
#define OTHER_DISK "88888888-8888-4888-8888-888888888888"
#define THIRD_DISK "99999999-9999-4999-8999-999999999999"
#define DISK "55555555-5555-4555-8555-555555555555"
#define CLAIM "vm/" VM

static const char *agent_program;

typedef struct Lab {
    char *folder, *socket, *state, *repository;
    pid_t pid;
    RpcConnection *connection;
    /* Of the last call: */
    bool is_answered;
    json_t *result;
    Error err;
    int n_running_events, n_stopped_events;
    int64_t epoch, claim;
    const char *claim_object;
} Lab;

static void on_event(
    RpcConnection *connection G_GNUC_UNUSED, const char *event, const json_t *data, void *user) {
    Lab *lab = user;
    g_auto(AgentStateReport) report = {0};
    g_assert_cmpstr(event, ==, "state");
    g_assert_true(agent_state_report_decode(data, MODEL_STORED, &report, NULL));
    for (size_t i = 0; i < report.vms.n; i++) {
        lab->n_running_events += report.vms.items[i].status.state == VM_STATE_RUNNING;
        lab->n_stopped_events += report.vms.items[i].status.state == VM_STATE_STOPPED;
    }
}

static void lab_connect(Lab *lab) {
    const RpcOptions options = {
        .on_event = on_event, .data = lab, .software = "test", .lowest_version = 1, .highest_version = 1};
    RpcStream *stream = NULL;
    for (int i = 0; i < 200 && !stream; i++) {
        stream = rpc_stream_connect_unix(lab->socket, NULL);
        if (!stream)
            g_usleep(20000);
    }
    g_assert_nonnull(stream);
    rpc_connection_free(lab->connection);
    lab->connection = rpc_connection_new(stream, RPC_INITIATOR, &options);
}

static void lab_start(Lab *lab) {
    lab->pid = fork();
    g_assert_cmpint(lab->pid, >=, 0);
    if (lab->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when an assertion ends this test */
        execl(agent_program, agent_program, "--driver", "fake", "--socket", lab->socket, "--state",
            lab->state, NULL);
        _exit(127);
    }
    lab_connect(lab);
}

static int lab_end(Lab *lab, int signal_number) {
    int status = 0;
    kill(lab->pid, signal_number);
    g_assert_cmpint(waitpid(lab->pid, &status, 0), ==, lab->pid);
    lab->pid = 0;
    return status;
}

static void lab_init(Lab *lab) {
    *lab = (Lab){
        .folder = g_dir_make_tmp("lodge-agent-XXXXXX", NULL), .claim = 1, .epoch = 1, .claim_object = CLAIM};
    lab->socket = g_build_filename(lab->folder, "socket", NULL);
    lab->state = g_build_filename(lab->folder, "state", NULL);
    lab->repository = g_build_filename(lab->folder, "repository", NULL);
    lab_start(lab);
}

static void lab_clear(Lab *lab) {
    rpc_connection_free(lab->connection);
    if (lab->pid)
        lab_end(lab, SIGKILL);
    json_decref(lab->result);
    error_clear(&lab->err);
    tree_remove(lab->folder, NULL);
    g_free(lab->folder);
    g_free(lab->socket);
    g_free(lab->state);
    g_free(lab->repository);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Lab, lab_clear)

static void on_reply(const json_t *result, const Error *error, void *data) {
    Lab *lab = data;
    lab->is_answered = true;
    if (error)
        error_copy(&lab->err, error);
    else
        lab->result = json_deep_copy(result);
}

static void send_call(Lab *lab, const char *method, const char *operation, json_t *take_parameters) {
    const RpcClaim claim = {lab->claim_object, lab->claim};
    const RpcContext context = {
        .owner = MANAGER, .epoch = lab->epoch, .operation = operation, .claims = &claim, .n_claims = 1};
    g_clear_pointer(&lab->result, json_decref);
    error_clear(&lab->err);
    lab->is_answered = false;
    rpc_call(lab->connection, method, take_parameters, &context, 20000, on_reply, NULL, lab);
}

static void call(Lab *lab, const char *method, const char *operation, json_t *take_parameters) {
    send_call(lab, method, operation, take_parameters);
    while (!lab->is_answered)
        g_main_context_iteration(NULL, TRUE);
}

static void call_good(Lab *lab, const char *method, const char *operation, json_t *take_parameters) {
    call(lab, method, operation, take_parameters);
    if (!lab->result)
        g_error("%s: %s", method, lab->err.message);
}

static json_t *repository_json(const Lab *lab) {
    return json_pack("{ss ss ss}", "id", REPOSITORY, "name", "first", "path", lab->repository);
}

static json_t *vm_json(const Lab *lab) {
    return json_pack("{s{ss ss si s[{ss si}]} so}", "vm", "id", VM, "name", "web", "revision", 1, "disks",
        "id", DISK, "size", 1 << 20, "repository", repository_json(lab));
}

static json_t *ref_json(const Lab *lab) {
    return json_pack("{ss so}", "id", VM, "repository", repository_json(lab));
}

static void own(Lab *lab) {
    call_good(lab, "own", "own", json_pack("{ss sI}", "manager", MANAGER, "epoch", (json_int_t)lab->epoch));
}

static void make_vm(Lab *lab) {
    own(lab);
    call_good(lab, "repository.open", "open", json_pack("{so}", "repository", repository_json(lab)));
    call_good(lab, "vm.create", "create", vm_json(lab));
}

static void test_free_agent_answers_only_hello_and_own(void) {
    g_auto(Lab) lab;
    lab_init(&lab);
    call_good(&lab, "hello", NULL, json_pack("{ss si}", "manager", MANAGER, "epoch", 1));
    g_assert_null(json_object_get(lab.result, "owner"));
    call(&lab, "inventory", NULL, NULL);
    g_assert_cmpint(lab.err.code, ==, ERROR_NOT_OWNER);
    own(&lab);
    call_good(&lab, "inventory", NULL, NULL);
    g_assert_cmpstr(json_text_at(lab.result, "host.state"), ==, "connected");
    call(&lab, "own", "own2", json_pack("{ss si}", "manager", STRANGER, "epoch", 9));
    g_assert_cmpint(lab.err.code, ==, ERROR_NOT_OWNER);
}

static void test_host_keeps_its_id_and_owner(void) {
    g_auto(Lab) lab;
    lab_init(&lab);
    own(&lab);
    g_autofree char *host = g_strdup(json_text_at(lab.result, "host"));
    lab_end(&lab, SIGKILL);
    lab_start(&lab);
    call_good(&lab, "hello", NULL, json_pack("{ss si}", "manager", MANAGER, "epoch", 1));
    g_assert_cmpstr(json_text_at(lab.result, "host"), ==, host);
    g_assert_cmpstr(json_text_at(lab.result, "owner"), ==, MANAGER);
}

static void test_vm_lives_through_the_agents_death(void) {
    g_auto(Lab) lab;
    lab_init(&lab);
    make_vm(&lab);
    call_good(&lab, "vm.start", "start", vm_json(&lab));
    g_assert_cmpstr(json_text_at(lab.result, "status.state"), ==, "running");
    lab_end(&lab, SIGKILL);
    lab_start(&lab);
    call_good(&lab, "vm.start", "start", vm_json(&lab)); /* the answer of before */
    g_assert_cmpstr(json_text_at(lab.result, "status.state"), ==, "running");
    call_good(&lab, "inventory", NULL, NULL);
    g_assert_cmpstr(json_text_at(lab.result, "vms.0.status.state"), ==, "running");
    call(&lab, "vm.delete", "delete", ref_json(&lab));
    g_assert_cmpint(lab.err.code, ==, ERROR_WRONG_STATE);
    call_good(&lab, "vm.kill", "kill", ref_json(&lab));
    call_good(&lab, "vm.delete", "delete2", ref_json(&lab));
    g_autofree char *folder = g_build_filename(lab.repository, "vms", VM, NULL);
    g_assert_cmpint(access(folder, F_OK), !=, 0);
}

/* The hypervisor would read a kernel from wherever the call says. */
static void test_kernel_comes_only_from_a_repository(void) {
    g_auto(Lab) lab;
    lab_init(&lab);
    make_vm(&lab);
    json_t *request = vm_json(&lab);
    json_object_set_new(request, "template_repository",
        json_pack("{ss ss ss}", "id", REPOSITORY, "name", "first", "path", lab.folder));
    call(&lab, "vm.start", "start", request);
    g_assert_nonnull(lab.err.message);
    g_assert_nonnull(strstr(lab.err.message, "is no usable repository"));
    call_good(&lab, "vm.start", "start2", vm_json(&lab));
}

static void test_a_deleted_vm_leaves_no_log(void) {
    static const char *const names[] = {VM ".log", VM ".log.0", VM ".nvram", OTHER_VM ".log"};
    g_auto(Lab) lab;
    lab_init(&lab);
    make_vm(&lab);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(lab.state, "fake", names[i], NULL);
        g_assert_true(file_replace(path, "login: secret", 13, 0600, NULL));
    }
    call_good(&lab, "vm.delete", "delete", ref_json(&lab));
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(lab.state, "fake", names[i], NULL);
        g_assert_cmpint(access(path, F_OK) == 0, ==, g_str_has_prefix(names[i], OTHER_VM));
    }
}

static void test_statistics_need_no_claim_and_tell_their_time(void) {
    g_auto(Lab) lab;
    g_auto(VmStatistics) statistics = {0};
    lab_init(&lab);
    make_vm(&lab);
    call(&lab, "vm.statistics", NULL, json_pack("{ss}", "id", VM));
    g_assert_cmpint(lab.err.code, ==, ERROR_WRONG_STATE);
    call_good(&lab, "vm.start", "start", vm_json(&lab));
    lab.claim_object = "vm/" OTHER_VM;
    call_good(&lab, "vm.statistics", NULL, json_pack("{ss}", "id", VM));
    g_assert_true(vm_statistics_decode(lab.result, MODEL_STORED, &statistics, NULL));
    g_assert_cmpstr(statistics.id, ==, VM);
    g_assert_cmpint(statistics.time, >=, statistics.started);
    g_assert_cmpint(statistics.started, >, 0);
}

static void test_running_vm_is_copied_only_where_that_is_allowed(void) {
    g_auto(Lab) lab;
    lab_init(&lab);
    make_vm(&lab);
    call_good(&lab, "vm.start", "start", vm_json(&lab));
    lab.claim_object = "vm/" OTHER_VM;
    json_t *copy = vm_json(&lab);
    json_object_set(copy, "source", json_object_get(copy, "vm"));
    json_object_set_new(copy, "vm",
        json_pack(
            "{ss ss si s[{ss}]}", "id", OTHER_VM, "name", "copy", "revision", 1, "disks", "id", OTHER_DISK));
    json_object_set_new(copy, "clone", json_string("full"));
    call(&lab, "vm.create", "copy", json_incref(copy));
    g_assert_cmpint(lab.err.code, ==, ERROR_WRONG_STATE);
    json_object_set_new(copy, "hold", json_true());
    call_good(&lab, "vm.create", "copy2", json_incref(copy));
    call_good(&lab, "inventory", NULL, NULL);
    g_assert_cmpstr(json_text_at(lab.result, "vms.0.status.state"), ==, "running");
    lab.claim_object = CLAIM;
    call_good(&lab, "vm.kill", "kill", ref_json(&lab));
    lab.claim_object = "vm/" THIRD_VM;
    json_object_del(copy, "hold");
    json_object_set_new(copy, "vm",
        json_pack(
            "{ss ss si s[{ss}]}", "id", THIRD_VM, "name", "copy2", "revision", 1, "disks", "id", THIRD_DISK));
    call_good(&lab, "vm.create", "copy3", copy);
}

static void test_operation_is_done_once_until_it_is_forgotten(void) {
    g_auto(Lab) lab;
    lab_init(&lab);
    make_vm(&lab);
    call(&lab, "vm.kill", "create", ref_json(&lab));
    g_assert_cmpint(lab.err.code, ==, ERROR_CONFLICT); /* the id is another method's */
    call_good(&lab, "vm.delete", "gone", ref_json(&lab));
    call_good(&lab, "vm.create", "create", vm_json(&lab)); /* answered, not done again */
    g_autofree char *folder = g_build_filename(lab.repository, "vms", VM, NULL);
    g_assert_cmpint(access(folder, F_OK), !=, 0);
    call_good(&lab, "operation.attach", NULL, json_pack("{s[s]}", "operations", "create"));
    g_assert_cmpstr(json_text_at(lab.result, "state"), ==, "done");
    call_good(&lab, "operation.forget", NULL, json_pack("{s[s]}", "operations", "create"));
    call_good(&lab, "operation.attach", NULL, json_pack("{s[s]}", "operations", "create"));
    g_assert_cmpstr(json_text_at(lab.result, "state"), ==, "unknown");
    call_good(&lab, "vm.create", "create", vm_json(&lab));
    g_assert_cmpint(access(folder, F_OK), ==, 0);
}

static void test_killed_in_the_middle_can_be_repeated(void) {
    g_auto(Lab) lab;
    lab_init(&lab);
    make_vm(&lab);
    g_autofree char *control = g_build_filename(lab.state, "fake", "control", NULL);
    g_assert_true(file_replace(control, "delay_ms=3000\n", 14, 0600, NULL));
    send_call(&lab, "vm.start", "start", vm_json(&lab));
    for (int i = 0; i < 50; i++) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(10000);
    }
    g_assert_false(lab.is_answered);
    lab_end(&lab, SIGKILL);
    g_assert_cmpint(unlink(control), ==, 0);
    while (!lab.is_answered)
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmpint(lab.err.code, ==, ERROR_UNREACHABLE);
    lab_start(&lab);
    call_good(&lab, "operation.attach", NULL, json_pack("{s[s]}", "operations", "start"));
    g_assert_cmpstr(json_text_at(lab.result, "state"), ==, "interrupted");
    call_good(&lab, "vm.start", "start", vm_json(&lab));
    g_assert_cmpstr(json_text_at(lab.result, "status.state"), ==, "running");
}

static void test_late_calls_are_refused(void) {
    g_auto(Lab) lab;
    lab_init(&lab);
    lab.claim = 5;
    make_vm(&lab);
    lab.claim = 4;
    call(&lab, "vm.start", "late", vm_json(&lab));
    g_assert_cmpint(lab.err.code, ==, ERROR_STALE_CLAIM);
    lab_end(&lab, SIGKILL);
    lab_start(&lab);
    call(&lab, "vm.start", "late", vm_json(&lab));
    g_assert_cmpint(lab.err.code, ==, ERROR_STALE_CLAIM);
    lab.epoch = 2; /* a restored manager counts claims from the backup's on */
    call_good(&lab, "vm.start", "after the restore", vm_json(&lab));
    lab.epoch = 1;
    lab.claim = 9;
    call(&lab, "inventory", NULL, NULL);
    g_assert_cmpint(lab.err.code, ==, ERROR_STALE_EPOCH);
    lab_end(&lab, SIGKILL);
    lab_start(&lab);
    call(&lab, "vm.start", "of the old epoch", vm_json(&lab));
    g_assert_cmpint(lab.err.code, ==, ERROR_STALE_EPOCH);
}

static void test_state_changes_are_reported(void) {
    g_auto(Lab) lab;
    lab_init(&lab);
    make_vm(&lab);
    call_good(&lab, "vm.start", "start", vm_json(&lab));
    while (lab.n_running_events == 0)
        g_main_context_iteration(NULL, TRUE);
    call_good(&lab, "vm.kill", "kill", ref_json(&lab));
    while (lab.n_stopped_events == 0)
        g_main_context_iteration(NULL, TRUE);
}

static void test_orderly_end_leaves_vms_alone(void) {
    g_auto(Lab) lab;
    lab_init(&lab);
    make_vm(&lab);
    call_good(&lab, "vm.start", "start", vm_json(&lab));
    g_assert_cmpint(lab_end(&lab, SIGTERM), ==, 0);
    lab_start(&lab);
    call_good(&lab, "inventory", NULL, NULL);
    g_assert_cmpstr(json_text_at(lab.result, "vms.0.status.state"), ==, "running");
}

typedef struct Sending {
    RpcStream *stream;
    GString *words;
    bool is_over;
} Sending;

static void stream_opened(RpcStream *take_stream, const Error *error, void *data) {
    g_assert_null(error);
    ((Sending *)data)->stream = take_stream;
}

static void take_words(GIOCondition ready G_GNUC_UNUSED, void *data) {
    Sending *sending = data;
    char block[256];
    size_t n = 0;
    RpcIo io = rpc_stream_read(sending->stream, block, sizeof block, &n, NULL);
    sending->is_over = io == RPC_IO_END;
    g_string_append_len(sending->words, block, io == RPC_IO_DONE ? (gssize)n : 0);
}

/* Sends the text at an offset; the agent's last words are the lab's result. */
static void upload(Lab *lab, int size, int offset, const char *text) {
    Sending sending = {.words = g_string_new(NULL)};
    size_t n = 0;
    call_good(lab, "upload.open", NULL,
        json_pack("{ss so si si}", "upload", OTHER_VM, "repository", repository_json(lab), "size", size,
            "offset", offset));
    rpc_stream_open(rpc_stream_connect_unix(lab->socket, NULL), json_text_at(lab->result, "ticket"), 5000,
        stream_opened, &sending);
    while (!sending.stream)
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmpint(rpc_stream_write(sending.stream, text, strlen(text), &n, NULL), ==, RPC_IO_DONE);
    rpc_stream_shut_write(sending.stream);
    rpc_stream_watch(sending.stream, G_IO_IN, take_words, &sending);
    while (!sending.is_over)
        g_main_context_iteration(NULL, TRUE);
    json_decref(lab->result);
    lab->result = json_parse(sending.words->str, sending.words->len, NULL);
    g_assert_nonnull(lab->result);
    rpc_stream_free(sending.stream);
    g_string_free(sending.words, TRUE);
}

static void test_upload_goes_on_where_it_broke_off(void) {
    g_auto(Lab) lab;
    lab_init(&lab);
    own(&lab);
    call_good(&lab, "repository.open", "open", json_pack("{so}", "repository", repository_json(&lab)));
    upload(&lab, 10, 0, "hello");
    g_assert_cmpint(json_integer_value(json_object_get(lab.result, "offset")), ==, 5);
    lab_end(&lab, SIGKILL);
    lab_start(&lab);
    call(&lab, "upload.open", NULL,
        json_pack("{ss so si}", "upload", OTHER_VM, "repository", repository_json(&lab), "offset", 6));
    g_assert_cmpint(lab.err.code, ==, ERROR_CONFLICT);
    call_good(&lab, "upload.status", NULL,
        json_pack("{ss so}", "upload", OTHER_VM, "repository", repository_json(&lab)));
    g_assert_cmpint(json_integer_value(json_object_get(lab.result, "offset")), ==, 5);
    upload(&lab, 10, 3, "p he");
    g_autofree char *path = g_strdup_printf("%s/assemblies/%s/data", lab.repository, OTHER_VM), *data = NULL;
    g_assert_true(file_read(path, 100, &data, NULL, NULL));
    g_assert_cmpstr(data, ==, "help he");
    upload(&lab, 10, 7, "more than was announced");
    g_assert_cmpstr(json_text_at(lab.result, "error.code"), ==, "too-large");
    g_assert_cmpint(access(path, F_OK), !=, 0);
}

/* As the fake hypervisor keeps running VMs. */
static void write_running_vm(const Lab *lab, int number) {
    g_autofree char *path = g_strdup_printf("%s/fake/66666666-6666-4666-8666-%012d.json", lab->state, number);
    g_autofree char *text = g_strdup_printf("{\"id\":\"66666666-6666-4666-8666-%012d\",\"name\":\"vm-%d\","
                                            "\"status\":{\"state\":\"running\",\"reason\":\"%0200d\"}}",
        number, number, number);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void test_inventory_of_10000_vms_comes_in_pages(void) {
    enum { VMS = 10000 };
    g_auto(Lab) lab;
    lab_init(&lab);
    own(&lab);
    for (int i = 0; i < VMS; i++)
        write_running_vm(&lab, i);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autofree char *after = NULL;
    int pages = 0;
    do {
        call_good(&lab, "inventory", NULL, after ? json_pack("{ss}", "after", after) : NULL);
        size_t i;
        json_t *vm;
        json_array_foreach (json_object_get(lab.result, "vms"), i, vm)
            g_assert_true(g_hash_table_add(seen, g_strdup(json_text_at(vm, "id"))));
        g_assert_cmpstr(json_text_at(lab.result, "host.hypervisor"), ==, "fake");
        g_free(after);
        after = g_strdup(json_text_at(lab.result, "next"));
        pages++;
    } while (after);
    g_assert_cmpuint(g_hash_table_size(seen), ==, VMS);
    g_assert_cmpint(pages, >, 1);
}

static void test_recipes_are_buildable_templates(void) {
    g_auto(Lab) lab;
    lab_init(&lab);
    own(&lab);
    call_good(&lab, "recipe.list", NULL, NULL);
    g_assert_cmpstr(json_text_at(lab.result, "recipes.0.name"), ==, "tiny");
    g_assert_cmpstr(json_text_at(lab.result, "recipes.0.state"), ==, "buildable");
}

/* ---- two managers that want the same host ---- */

enum { FIGHT_ROUNDS = 1000, FIGHT_KILLS_EACH = 100, FIGHT_CALLS = 10 };

typedef struct Rival {
    const char *manager;
    RpcConnection *connection;
    int n_won, n_open; /* calls of this round that succeeded; that are not answered */
    ErrorCode last;
} Rival;

static void on_fought(const json_t *result G_GNUC_UNUSED, const Error *error, void *data) {
    Rival *rival = data;
    rival->n_open--;
    rival->n_won += !error;
    rival->last = error ? error->code : ERROR_NONE;
}

static void rival_send(Rival *rival, const char *method, int64_t epoch, json_t *take_parameters) {
    static int number;
    g_autofree char *operation = g_strdup_printf("fight-%d", ++number);
    const RpcClaim claim = {CLAIM, number};
    const RpcContext context = {
        .owner = rival->manager, .epoch = epoch, .operation = operation, .claims = &claim, .n_claims = 1};
    rival->n_open++;
    rpc_call(rival->connection, method, take_parameters, &context, 20000, on_fought, NULL, rival);
}

static void rival_own(Rival *rival, int64_t epoch) {
    rival_send(
        rival, "own", epoch, json_pack("{ss sI}", "manager", rival->manager, "epoch", (json_int_t)epoch));
}

static void rivals_wait(Rival rivals[2]) {
    while (rivals[0].n_open + rivals[1].n_open > 0)
        g_main_context_iteration(NULL, TRUE);
}

static void rivals_connect(Lab *lab, Rival rivals[2]) {
    for (int i = 0; i < 2; i++) {
        lab_connect(lab); /* waits for an agent that has just been started */
        g_clear_pointer(&rivals[i].connection, rpc_connection_free);
        rivals[i].connection = g_steal_pointer(&lab->connection);
    }
}

/* The one whose host it is now, by what the agent says; -1: nobody's. */
static int rivals_owner(Lab *lab, const Rival rivals[2]) {
    lab_connect(lab);
    call_good(lab, "hello", NULL, json_pack("{ss si}", "manager", STRANGER, "epoch", 1));
    const char *owner = json_text_at(lab->result, "owner");
    return !owner ? -1 : strcmp(owner, rivals[1].manager) == 0;
}

/* Both ask for the host and command it, in any order, not waiting for answers. */
static void rivals_fight(Lab *lab, Rival rivals[2], int64_t epoch) {
    for (int i = 0; i < FIGHT_CALLS; i++) {
        Rival *rival = &rivals[g_test_rand_int_range(0, 2)];
        switch (g_test_rand_int_range(0, 4)) {
        case 0:
            rival_own(rival, epoch);
            break;
        case 1:
            rival_send(rival, "inventory", epoch, NULL);
            break;
        default:
            rival_send(rival, "vm.kill", epoch, ref_json(lab));
        }
        for (int n = g_test_rand_int_range(0, 4); n > 0; n--)
            g_main_context_iteration(NULL, FALSE);
    }
}

/* Both release it, the owner while changes of its own are under way, until it is free. */
static void rivals_part(Lab *lab, Rival rivals[2], int owner, int64_t epoch) {
    Rival *other = &rivals[!owner];
    while (rivals_owner(lab, rivals) == owner) {
        other->n_won = 0;
        if (g_test_rand_int_range(0, 2)) /* then it may be refused: something works on the host */
            rival_send(&rivals[owner], "vm.kill", epoch, ref_json(lab));
        rival_send(other, "host.release", epoch, NULL);
        rival_send(&rivals[owner], "host.release", epoch, NULL);
        rival_send(other, "vm.kill", epoch, ref_json(lab));
        rivals_wait(rivals);
        g_assert_cmpint(other->n_won, ==, 0);
    }
    g_assert_cmpint(rivals_owner(lab, rivals), ==, -1);
    for (int i = 0; i < 2; i++) {
        rivals[i].n_won = 0;
        rival_send(&rivals[i], "vm.kill", epoch, ref_json(lab));
    }
    rivals_wait(rivals);
    g_assert_cmpint(rivals[0].n_won + rivals[1].n_won, ==, 0);
}

static void test_of_two_managers_one_commands(void) {
    g_auto(Lab) lab;
    lab_init(&lab);
    Rival rivals[2] = {{.manager = MANAGER}, {.manager = OTHER_VM}};
    rivals_connect(&lab, rivals);
    for (int round = 1; round <= FIGHT_ROUNDS; round++) {
        int64_t epoch = g_test_rand_int_range(1, 1000);
        rivals[0].n_won = rivals[1].n_won = 0;
        rivals_fight(&lab, rivals, epoch);
        if (round % FIGHT_KILLS_EACH == 0) {
            lab_end(&lab, SIGKILL);
            rivals_wait(rivals); /* who is not answered may have won, or not */
            lab_start(&lab);
            rivals_connect(&lab, rivals);
        }
        rivals_wait(rivals);
        int owner = rivals_owner(&lab, rivals);
        g_assert_false(rivals[0].n_won > 0 && rivals[1].n_won > 0);
        g_assert_true(owner >= 0 ? rivals[!owner].n_won == 0 : rivals[0].n_won + rivals[1].n_won == 0);
        if (owner < 0)
            continue;
        rival_own(&rivals[owner], epoch + 1); /* restored from a backup: its former self goes on commanding */
        rivals_wait(rivals);
        rival_send(&rivals[owner], "vm.kill", epoch, ref_json(&lab));
        rivals_wait(rivals);
        g_assert_cmpint(rivals[owner].last, ==, ERROR_STALE_EPOCH);
        rivals_part(&lab, rivals, owner, epoch + 1);
    }
    for (int i = 0; i < 2; i++)
        rpc_connection_free(rivals[i].connection);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    agent_program = g_getenv("LODGE_AGENT");
    g_assert_nonnull(agent_program);
    log_init("test-agent", LOG_LEVEL_WARNING);
    g_test_add_func("/agent/free-agent", test_free_agent_answers_only_hello_and_own);
    g_test_add_func("/agent/host-keeps-its-id-and-owner", test_host_keeps_its_id_and_owner);
    g_test_add_func("/agent/vm-lives-through-the-agents-death", test_vm_lives_through_the_agents_death);
    g_test_add_func("/agent/statistics", test_statistics_need_no_claim_and_tell_their_time);
    g_test_add_func(
        "/agent/running-vm-is-copied-where-allowed", test_running_vm_is_copied_only_where_that_is_allowed);
    g_test_add_func("/agent/operation-is-done-once", test_operation_is_done_once_until_it_is_forgotten);
    g_test_add_func("/agent/killed-in-the-middle", test_killed_in_the_middle_can_be_repeated);
    g_test_add_func(
        "/agent/inventory-of-10000-vms-comes-in-pages", test_inventory_of_10000_vms_comes_in_pages);
    g_test_add_func("/agent/late-calls-are-refused", test_late_calls_are_refused);
    g_test_add_func("/agent/state-changes-are-reported", test_state_changes_are_reported);
    g_test_add_func("/agent/orderly-end-leaves-vms-alone", test_orderly_end_leaves_vms_alone);
    g_test_add_func("/agent/upload-goes-on", test_upload_goes_on_where_it_broke_off);
    g_test_add_func("/agent/recipes-are-buildable-templates", test_recipes_are_buildable_templates);
    g_test_add_func("/agent/kernel-only-from-a-repository", test_kernel_comes_only_from_a_repository);
    g_test_add_func("/agent/deleted-vm-leaves-no-log", test_a_deleted_vm_leaves_no_log);
    g_test_add_func("/agent/of-two-managers-one-commands", test_of_two_managers_one_commands);
    return g_test_run();
}
