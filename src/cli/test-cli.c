/* The real `lodge` against a small server that answers what is written here. */
#include <string.h>
#include <sys/wait.h>
#include "base/file.h"
#include "cli/test-server.h"
#include "model/json.h"

static void test_list_asks_for_all_pages(CliServer *server) {
    server_answer(server, "GET /v1/vms", 200, "{\"items\":[{\"name\":\"a\",\"vcpus\":1}],\"next\":\"more\"}");
    server_answer(server, "GET /v1/vms", 200, "{\"items\":[{\"name\":\"b\",\"vcpus\":2}]}");
    CliResult *result =
        cli_run(server, "vm", "list", "--columns", "name,vcpus", "--filter", "state=running", NULL);
    g_assert_cmpstr(result->err, ==, "");
    g_assert_cmpstr(result->out, ==, "NAME  VCPUS\na     1\nb     2\n");
    g_assert_cmpint(result->status, ==, 0);
    g_assert_cmpstr(server_query(server, 0, "filter"), ==, "status.state=running");
    g_assert_cmpstr(server_query(server, 0, "cursor"), ==, NULL);
    g_assert_cmpstr(server_query(server, 1, "cursor"), ==, "more");
    cli_result_free(result);
}

static void test_titles_filter_and_sort(CliServer *server) {
    server_answer(server, "GET /v1/vms", 200, "{\"items\":[]}");
    CliResult *result = cli_run(server, "vm", "list", "--filter",
        "STATE=running,ip~192.0.2.,mac=52:54:00:00:00:01,pool!=a,guest os=x,colour=red", "--sort",
        "-REPOSITORY,host,vcpus", NULL);
    g_assert_cmpint(result->status, ==, 0);
    g_assert_cmpstr(server_query(server, 0, "filter"), ==,
        "status.state=running,status.addresses.address~192.0.2.,nics.mac=52:54:00:00:00:01,pool!=a,guest_os="
        "x,"
        "colour=red");
    g_assert_cmpstr(server_query(server, 0, "sort"), ==, "-repository_name,host_name,vcpus");
    cli_result_free(result);
}

static void test_what_belongs_to_one_object_is_listed(CliServer *server) {
    server_answer(server, "GET /v1/hosts/one/modules", 200,
        "{\"items\":[{\"id\":\"a\",\"name\":\"a\",\"state\":\"loaded\",\"returns\":false}]}");
    CliResult *result = cli_run(server, "host", "modules", "one", "--columns", "name,next start", "--filter",
        "next start=false,state=loaded", "--sort", "-uses", NULL);
    g_assert_cmpstr(result->err, ==, "");
    g_assert_cmpstr(result->out, ==, "NAME  NEXT START\na     no\n");
    g_assert_cmpstr(server_query(server, 0, "filter"), ==, "returns=false,state=loaded");
    g_assert_cmpstr(server_query(server, 0, "sort"), ==, "-uses");
    cli_result_free(result);
    result = cli_run(server, "host", "modules", NULL);
    g_assert_cmpint(result->status, ==, 2);
    cli_result_free(result);
}

static void test_limit_ends_the_list(CliServer *server) {
    server_answer(server, "GET /v1/vms", 200, "{\"items\":[{\"name\":\"a\"}],\"next\":\"more\"}");
    CliResult *result = cli_run(server, "vm", "list", "--limit", "1", "-o", "name", NULL);
    g_assert_cmpstr(result->out, ==, "a\n");
    g_assert_cmpstr(server_query(server, 0, "limit"), ==, "1");
    g_assert_cmpuint(server->n_requests, ==, 1);
    cli_result_free(result);
}

#define JOB(state, rest) \
    "{\"id\":\"11111111-2222-4333-8444-555555555555\",\"kind\":\"vm.create\",\"state\":\"" state "\"" rest "}"
static const char job_path[] = "GET /v1/jobs/11111111-2222-4333-8444-555555555555";

static void test_create_waits_and_shows_what_was_made(CliServer *server) {
    server_answer(server, "POST /v1/vms", 202, JOB("queued", ""));
    server_answer(
        server, job_path, 200, JOB("running", ",\"progress\":{\"percent\":50,\"phase\":\"cloning\"}"));
    server_answer(
        server, job_path, 200, JOB("succeeded", ",\"result\":{\"vms\":[{\"id\":\"x-1\",\"name\":\"web\"}]}"));
    server_answer(server, "GET /v1/vms/x-1", 200, "{\"id\":\"x-1\",\"name\":\"web\",\"memory\":536870912}");
    CliResult *result =
        cli_run(server, "vm", "create", "web", "--memory", "512M", "--columns", "name,memory", NULL);
    g_assert_cmpstr(result->out, ==, "NAME  MEMORY\nweb   512 MiB\n");
    g_assert_nonnull(strstr(result->err, "cloning\n"));
    g_assert_cmpint(result->status, ==, 0);
    g_assert_cmpstr(server->requests[0].body, ==, "{\"memory\":536870912,\"name\":\"web\"}");
    g_assert_nonnull(server->requests[0].idempotency_key);
    cli_result_free(result);
}

static void test_no_wait_writes_the_job(CliServer *server) {
    server_answer(server, "POST /v1/vms/web/start", 202, JOB("queued", ""));
    CliResult *result = cli_run(server, "vm", "start", "web", "--no-wait", NULL);
    g_assert_cmpstr(result->out, ==, "11111111-2222-4333-8444-555555555555\n");
    g_assert_cmpuint(server->n_requests, ==, 1);
    cli_result_free(result);
}

static void test_failed_job_tells_its_error(CliServer *server) {
    server_answer(server, "POST /v1/vms/web/start", 202, JOB("queued", ""));
    server_answer(server, job_path, 200,
        JOB("failed", ",\"error\":{\"type\":\"urn:lodge:error:no-capacity\",\"code\":\"no-capacity\","
                      "\"detail\":\"512 MiB "
                      "are missing\",\"field\":\"/memory\"}"));
    CliResult *result = cli_run(server, "vm", "start", "web", NULL);
    g_assert_nonnull(strstr(result->err, "lodge: Not enough capacity: 512 MiB are missing (/memory)\n  "));
    g_assert_cmpstr(result->out, ==, "");
    g_assert_cmpint(result->status, ==, 4);
    cli_result_free(result);
}

static void test_interrupt_leaves_the_jobs(CliServer *server) {
    server_answer(server, "POST /v1/vms/web/start", 202, JOB("queued", ""));
    server_answer(server, "POST /v1/vms/db/start", 202, JOB("queued", ""));
    for (int i = 0; i < 3; i++)
        server_answer(server, job_path, 200, JOB("running", ""));
    server->interrupt_line = job_path;
    CliResult *result = cli_run(server, "vm", "start", "web", "db", NULL);
    const char *first = strstr(result->err, "`lodge job cancel 11111111` stops it");
    g_assert_nonnull(first);
    g_assert_nonnull(strstr(first + 1, "`lodge job cancel 11111111` stops it"));
    g_assert_cmpuint(server->n_requests, <=, 4);
    g_assert_cmpint(result->status, ==, 1);
    cli_result_free(result);
}

static void test_partly_failed_create_shows_what_is_there(CliServer *server) {
    server_answer(server, "POST /v1/vms", 202, JOB("queued", ""));
    server_answer(server, job_path, 200,
        JOB("failed", ",\"result\":{\"vms\":[{\"id\":\"x-1\",\"name\":\"web-1\"},{\"id\":\"x-2\",\"name\":"
                      "\"web-2\",\"error\":"
                      "{\"code\":\"no-space\",\"detail\":\"the disk is "
                      "full\"}}]},\"error\":{\"code\":\"internal\",\"detail\":"
                      "\"1 of 2 VMs could not be made\"}"));
    server_answer(server, "GET /v1/vms/x-1", 200, "{\"id\":\"x-1\",\"name\":\"web-1\"}");
    CliResult *result = cli_run(server, "vm", "create", "web", "--count", "2", "-o", "name", NULL);
    g_assert_cmpstr(result->out, ==, "web-1\n");
    g_assert_nonnull(strstr(result->err, "lodge: web-2: the disk is full\n"));
    g_assert_nonnull(strstr(result->err, "1 of 2 VMs could not be made"));
    g_assert_cmpint(result->status, ==, 1);
    cli_result_free(result);
}

static void test_timeout_leaves_the_job(CliServer *server) {
    server_answer(server, "POST /v1/vms/web/start", 202, JOB("queued", ""));
    for (int i = 0; i < 40; i++)
        server_answer(server, job_path, 200, JOB("running", ""));
    CliResult *result = cli_run(server, "vm", "start", "web", "--timeout", "1", NULL);
    g_assert_cmpint(result->status, ==, 7);
    cli_result_free(result);
}

static void test_problem_becomes_exit_status(CliServer *server) {
    server_answer(
        server, "GET /v1/vms/nothing", 404, "{\"code\":\"not-found\",\"detail\":\"there is no vm nothing\"}");
    CliResult *result = cli_run(server, "vm", "show", "nothing", NULL);
    g_assert_nonnull(strstr(result->err, "lodge: Not found: there is no vm nothing\n"));
    g_assert_cmpint(result->status, ==, 3);
    cli_result_free(result);
}

static void test_what_is_done_is_told(CliServer *server) {
    g_autofree char *path = g_build_filename(server->folder, "backup", NULL);
    g_autofree char *backed_up = g_strdup_printf("backup %s: done\n", path);
    server_answer(server, "PATCH /v1/pools/p", 200, "{\"name\":\"p\"}");
    server_answer(server, "DELETE /v1/tokens/ci", 204, "");
    server_answer(server, "POST /v1/jobs/1111/cancel", 200, JOB("running", ""));
    server_answer(server, "GET /v1/system/backup", 200, "the store");
    CliResult *results[] = {cli_run(server, "pool", "update", "p", "--description", "c", NULL),
        cli_run(server, "token", "delete", "ci", NULL), cli_run(server, "job", "cancel", "1111", NULL),
        cli_run(server, "system", "backup", path, NULL)};
    const char *const told[] = {"update p: done\n", "delete ci: done\n", "cancel 1111: done\n", backed_up};
    for (size_t i = 0; i < G_N_ELEMENTS(results); i++) {
        g_assert_cmpstr(results[i]->out, ==, "");
        g_assert_cmpstr(results[i]->err, ==, told[i]);
        g_assert_cmpint(results[i]->status, ==, 0);
        cli_result_free(results[i]);
    }
}

static void test_what_waits_for_the_next_start_is_told(CliServer *server) {
    server_answer(server, "PATCH /v1/vms/web", 202, JOB("queued", ""));
    server_answer(server, job_path, 200,
        JOB("succeeded", ",\"target_name\":\"web\",\"result\":{\"pending\":[\"/memory\",\"/disks/0/bus\"]}"));
    CliResult *result = cli_run(server, "vm", "update", "web", "--memory", "1G", NULL);
    g_assert_cmpstr(result->out, ==, "");
    g_assert_cmpstr(result->err, ==, "update web: done\n  memory, disks.0.bus: at the next start\n");
    cli_result_free(result);
}

static const char token[] =
    "{\"id\":\"t-1\",\"name\":\"ci\",\"secret\":\"lodge_abc\",\"principal_name\":\"eva\"}";

static void test_what_was_made_comes_in_the_columns_asked_for(CliServer *server) {
    server_answer(server, "POST /v1/tokens", 201, token);
    server_answer(server, "POST /v1/pools", 201, "{\"name\":\"p\",\"description\":\"a, b\"}");
    server_answer(server, "PATCH /v1/pools/p", 200, "{\"name\":\"p\",\"description\":\"c\"}");
    CliResult *secret =
        cli_run(server, "token", "create", "ci", "-o", "csv", "--columns", "secret", "--no-headers", NULL);
    g_assert_cmpstr(secret->out, ==, "lodge_abc\n");
    CliResult *made = cli_run(server, "pool", "create", "p", "-o", "csv", NULL);
    g_assert_cmpstr(made->out, ==, "NAME,HOSTS,VMS,DESCRIPTION\np,,,\"a, b\"\n");
    CliResult *changed = cli_run(server, "pool", "update", "p", "--description", "c", "--columns",
        "description", "--no-headers", NULL);
    g_assert_cmpstr(changed->out, ==, "c\n");
    cli_result_free(secret);
    cli_result_free(made);
    cli_result_free(changed);
}

static void test_titles_come_once(CliServer *server) {
    server_answer(server, "GET /v1/pools/a", 200, "{\"name\":\"a\"}");
    server_answer(server, "GET /v1/pools/b", 200, "{\"name\":\"b\"}");
    CliResult *result = cli_run(server, "pool", "show", "a", "b", "--columns", "name", "-o", "csv", NULL);
    g_assert_cmpstr(result->out, ==, "NAME\na\nb\n");
    cli_result_free(result);
}

static void test_a_changed_vm_comes_in_the_columns_asked_for(CliServer *server) {
    server_answer(server, "PATCH /v1/vms/web", 202, JOB("queued", ""));
    server_answer(server, job_path, 200, JOB("succeeded", ",\"target\":\"vm/x-1\""));
    server_answer(server, "GET /v1/vms/x-1", 200, "{\"name\":\"web\",\"vcpus\":2}");
    CliResult *result =
        cli_run(server, "vm", "update", "web", "--vcpus", "2", "--columns", "name,vcpus", "-o", "csv", NULL);
    g_assert_cmpstr(result->out, ==, "NAME,VCPUS\nweb,2\n");
    cli_result_free(result);
}

static void test_wrong_columns_are_known_before_something_is_made(CliServer *server) {
    CliResult *result = cli_run(server, "pool", "create", "p", "--columns", "colour", NULL);
    g_assert_cmpint(result->status, ==, 2);
    g_assert_cmpuint(server->n_requests, ==, 0);
    cli_result_free(result);
}

static void test_a_message_names_the_field_once(CliServer *server) {
    server_answer(server, "POST /v1/pools", 400,
        "{\"code\":\"invalid\",\"detail\":\"name: must be short\",\"field\":\"/name\"}");
    CliResult *result = cli_run(server, "pool", "create", "p", NULL);
    g_assert_nonnull(strstr(result->err, "lodge: Invalid value: name: must be short\n"));
    cli_result_free(result);
}

static void test_delete_needs_yes_and_goes_on(CliServer *server) {
    CliResult *asked = cli_run(server, "principal", "delete", "eva", NULL);
    g_assert_cmpint(asked->status, ==, 2);
    g_assert_nonnull(strstr(asked->err, "--yes"));
    g_assert_cmpuint(server->n_requests, ==, 0);
    cli_result_free(asked);
    server_answer(server, "DELETE /v1/principals/eva", 404, "{\"code\":\"not-found\",\"detail\":\"no eva\"}");
    server_answer(server, "DELETE /v1/principals/max", 204, "");
    CliResult *result = cli_run(server, "principal", "delete", "eva", "max", "--yes", NULL);
    g_assert_cmpint(result->status, ==, 3);
    g_assert_cmpuint(server->n_requests, ==, 2);
    cli_result_free(result);
}

static void test_dry_run_is_told_in_words(CliServer *server) {
    server_answer(server, "POST /v1/vms", 200,
        "{\"target_name\":\"web\",\"parameters\":{\"name\":\"web\",\"memory\":1073741824,\"template\":\"t-"
        "1\"},"
        "\"steps\":[{\"name\":\"make\",\"description\":\"Makes the VMs\"}],\"claims\":[{\"object\":"
        "\"template/"
        "t-1\",\"shared\":true}],\"data\":{\"vms\":[{\"name\":\"web\",\"vcpus\":1,\"template\":\"t-1\","
        "\"memory\":1073741824}],\"placement\":[{\"vm\":\"web\",\"host\":\"two\",\"reason\":\"most free "
        "memory\","
        "\"refused\":[{\"host\":\"one\",\"reason\":\"is in maintenance\"}],\"refused_more\":3}]}}");
    server_answer(server, "GET /v1/templates/t-1", 200, "{\"name\":\"debian\"}");
    server_answer(server, "GET /v1/jobs", 200,
        "{\"items\":[{\"short_id\":\"12345678\",\"kind\":\"template.build\",\"claims\":[{\"object\":"
        "\"template/t-1\",\"shared\":false}]}]}");
    CliResult *result = cli_run(server, "vm", "create", "web", "--dry-run", NULL);
    g_assert_cmpstr(result->out, ==,
        "create web\n  memory: 1 GiB\n  template: debian\nSteps:\n  1. Makes the VMs\nWould be made:\n"
        "NAME  VCPUS  MEMORY  MAC  TEMPLATE  REPOSITORY  HOST\nweb   1      1 GiB   -    debian    -         "
        "  -\n"
        "Would be placed:\n  web on two: most free memory\n    not on one: is in maintenance\n    nor on 3 "
        "more\n"
        "Would hold template debian, together with others.\n"
        "Would wait for job 12345678 (template.build), which has template debian.\nNothing was done.\n");
    g_assert_cmpstr(server_query(server, 0, "dry_run"), ==, "true");
    cli_result_free(result);
}

static void test_dry_run_as_data_is_the_answer(CliServer *server) {
    server_answer(server, "DELETE /v1/vms/web", 200, "{\"target\":\"web\"}");
    CliResult *result = cli_run(server, "vm", "delete", "web", "--dry-run", "-o", "json", NULL);
    g_autoptr(json_t) answer = json_parse(result->out, strlen(result->out), NULL);
    g_assert_cmpstr(json_text_at(answer, "target"), ==, "web");
    g_assert_cmpuint(server->n_requests, ==, 1);
    cli_result_free(result);
    CliResult *refused = cli_run(server, "vm", "stop", "web", "--dry-run", NULL);
    g_assert_nonnull(strstr(refused->err, "vm stop has no dry run"));
    g_assert_cmpint(refused->status, ==, 2);
    cli_result_free(refused);
    CliResult *help = cli_run(server, "help", NULL);
    g_assert_nonnull(strstr(help->out, "host update, host move, host maintenance"));
    cli_result_free(help);
}

static void expect_candidates(
    CliServer *server, size_t n, const char *filter, const char *expected, CliResult *result) {
    g_assert_cmpstr(result->out, ==, expected);
    g_assert_cmpstr(server_query(server, n, "filter"), ==, filter);
    cli_result_free(result);
}

static void test_completion_asks_for_what_fits(CliServer *server) {
    static const char open_jobs[] = "state!=succeeded,state!=failed,state!=cancelled,state!=lost";
    server_answer(server, "GET /v1/vms", 200, "{\"items\":[{\"name\":\"web\"}]}");
    server_answer(server, "GET /v1/jobs", 200, "{\"items\":[{\"id\":\"1234\",\"short_id\":\"12\"}]}");
    server_answer(server, "GET /v1/disks", 200, "{\"items\":[{\"name\":\"data\"}]}");
    server_answer(
        server, "GET /v1/guest-oses", 200, "{\"items\":[{\"id\":\"debian12\",\"name\":\"Debian 12\"}]}");
    expect_candidates(
        server, 0, "state=running", "web\n", cli_run(server, "__complete", "vm", "stop", "w", NULL));
    expect_candidates(server, 1, open_jobs, "12\n", cli_run(server, "__complete", "job", "cancel", "", NULL));
    expect_candidates(
        server, 2, "vm=web", "data\n", cli_run(server, "__complete", "vm", "detach-disk", "web", "", NULL));
    expect_candidates(server, 3, NULL, "debian12\n",
        cli_run(server, "__complete", "vm", "create", "x", "--guest-os", "deb", NULL));
}

static void test_api_sends_what_it_is_given(CliServer *server) {
    server_answer(server, "PATCH /v1/pools/p", 200, "{\"name\":\"p\"}");
    CliResult *result =
        cli_run(server, "api", "patch", "/v1/pools/p", "--data", "{\"description\":null}", NULL);
    g_autoptr(json_t) answer = json_parse(result->out, strlen(result->out), NULL);
    g_assert_cmpstr(json_text_at(answer, "name"), ==, "p");
    g_assert_cmpstr(server->requests[0].body, ==, "{\"description\":null}");
    cli_result_free(result);
}

static void test_a_bare_status_becomes_an_exit_status(CliServer *server) {
    static const struct {
        unsigned status;
        int exit_status;
    } cases[] = {{401, 5}, {403, 5}, {404, 3}, {409, 4}, {502, 1}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        server_answer(server, "GET /nope", cases[i].status, "nothing here");
        CliResult *result = cli_run(server, "api", "GET", "/nope", NULL);
        g_assert_cmpint(result->status, ==, cases[i].exit_status);
        g_assert_true((cases[i].status == 404) == (strstr(result->err, "there is no such path") != NULL));
        cli_result_free(result);
    }
}

static void test_backup_is_whole_or_not_there(CliServer *server) {
    g_autofree char *path = g_build_filename(server->folder, "backup", NULL), *text = NULL;
    server_answer(server, "GET /v1/system/backup", 403, "{\"code\":\"denied\",\"detail\":\"no\"}");
    server_answer(server, "GET /v1/system/backup", 200, "the store");
    CliResult *refused = cli_run(server, "system", "backup", path, NULL);
    g_assert_cmpint(refused->status, ==, 5);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    CliResult *result = cli_run(server, "system", "backup", path, NULL);
    g_assert_cmpint(result->status, ==, 0);
    g_assert_true(file_read(path, 100, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "the store");
    CliResult *again = cli_run(server, "system", "backup", path, NULL);
    g_assert_cmpint(again->status, ==, 4);
    cli_result_free(refused);
    cli_result_free(result);
    cli_result_free(again);
}

static void test_import_uploads_the_file(CliServer *server) {
    g_autofree char *path = g_build_filename(server->folder, "cd.iso", NULL);
    g_assert_true(file_replace(path, "image bytes", 11, 0600, NULL));
    server_answer(server, "POST /v1/isos/import", 202, JOB("queued", ""));
    CliResult *result = cli_run(server, "iso", "import", "cd", path, "--no-wait", NULL);
    g_assert_cmpstr(result->err, ==, "");
    g_assert_cmpstr(server_query(server, 0, "name"), ==, "cd");
    g_assert_cmpstr(server->requests[0].body, ==, "image bytes");
    cli_result_free(result);
}

static void test_import_repeats_the_parameters_of_lists(CliServer *server) {
    g_autofree char *path = g_build_filename(server->folder, "disk.raw", NULL);
    g_assert_true(file_replace(path, "image bytes", 11, 0600, NULL));
    server_answer(server, "POST /v1/templates/import", 202, JOB("queued", ""));
    CliResult *result = cli_run(server, "template", "import", "t", path, "--firmware", "bios", "--firmware",
        "uefi", "--tag", "a", "--no-wait", NULL);
    g_assert_cmpstr(result->err, ==, "");
    g_assert_cmpstr(server_query(server, 0, "firmware"), ==, "bios uefi");
    g_assert_cmpstr(server_query(server, 0, "tags"), ==, "a");
    cli_result_free(result);
}

static void test_upload_goes_on_where_it_stopped(CliServer *server) {
    g_autofree char *path = g_build_filename(server->folder, "cd.iso", NULL);
    g_assert_true(file_replace(path, "image bytes", 11, 0600, NULL));
    server->kept_bytes = "6";
    server_answer(server, "POST /v1/isos/import", 202, JOB("queued", ""));
    CliResult *result = cli_run(server, "iso", "import", "cd", path, "--no-wait", NULL);
    g_assert_cmpstr(result->err, ==, "going on at 6 of 11 bytes\n");
    g_assert_cmpstr(server->requests[0].body, ==, "bytes");
    cli_result_free(result);
}

static void test_console_sends_what_is_typed_before_it_leaves(CliServer *server) {
    CliResult *result = cli_run_with_input(server,
        "hello\x1d"
        "ignored",
        "vm", "console", "web", NULL);
    g_assert_cmpstr(result->err, ==, "");
    g_assert_cmpint(result->status, ==, 0);
    g_assert_cmpstr(server->typed->str, ==, "hello");
    cli_result_free(result);
}

static void test_console_shows_the_last_words_of_the_server(CliServer *server) {
    server->closes_console = true;
    CliResult *result = cli_run(server, "vm", "console", "web", NULL);
    g_assert_cmpstr(result->out, ==, "login: ");
    g_assert_cmpint(result->status, ==, 0);
    cli_result_free(result);
}

static void test_refused_console_says_why(CliServer *server) {
    server_answer(
        server, "GET /v1/vms/off/console", 409, "{\"code\":\"wrong-state\",\"detail\":\"off does not run\"}");
    CliResult *result = cli_run(server, "vm", "console", "off", NULL);
    g_assert_nonnull(strstr(result->err, "off does not run"));
    g_assert_cmpint(result->status, ==, 4);
    cli_result_free(result);
}

static void test_watch_ends_with_the_error(CliServer *server) {
    server_answer(server, "GET /v1/events/watch", 200,
        ": hello\nid: e:7\ndata: {\"kind\":\"created\",\"object\":\"vm/1\",\"name\":\"web\"}\n\n");
    server_answer(server, "GET /v1/events/watch", 410, "{\"code\":\"too-old\",\"detail\":\"gone\"}");
    CliResult *result = cli_run(server, "event", "watch", "-o", "json", NULL);
    g_assert_nonnull(strstr(result->out, "\"created\""));
    g_assert_cmpint(result->status, ==, 1);
    g_assert_cmpstr(server->requests[1].last_event_id, ==, "e:7");
    cli_result_free(result);
}

static void test_watch_tells_people_of_a_gap(CliServer *server) {
    static const char event[] =
        "id: e:7\ndata: {\"kind\":\"created\",\"object\":\"vm/1\",\"name\":\"web\"}\n\n";
    server_answer(server, "GET /v1/events/watch", 200, event);
    server_answer(server, "GET /v1/events/watch", 410, "{\"code\":\"too-old\",\"detail\":\"gone\"}");
    server_answer(server, "GET /v1/events/watch", 200, event);
    server_answer(server, "GET /v1/events/watch", 403, "{\"code\":\"denied\",\"detail\":\"no more\"}");
    CliResult *result = cli_run(server, "event", "watch", NULL);
    g_assert_cmpstr(result->out, ==, "-  created  vm web\n-  created  vm web\n");
    g_assert_nonnull(strstr(result->err, "what happened meanwhile is not shown"));
    g_assert_cmpint(result->status, ==, 5);
    g_assert_null(server->requests[2].last_event_id);
    cli_result_free(result);
}

static void test_unreachable_server(CliServer *server) {
    CliResult *result = cli_run(server, "vm", "list", "--server", "unix:/nonexistent/socket", NULL);
    g_assert_cmpint(result->status, ==, 6);
    cli_result_free(result);
}

static void test_unknown_authority_needs_a_login(CliServer *server) {
    CliResult *result = cli_run(server, "vm", "list", "--server", "https://127.0.0.1:9", NULL);
    g_assert_cmpint(result->status, ==, 5);
    g_assert_nonnull(strstr(result->err, "lodge login https://127.0.0.1:9"));
    cli_result_free(result);
}

static void expect_failure(CliResult *result, int status, const char *part) {
    g_assert_cmpstr(result->out, ==, "");
    if (!strstr(result->err, part))
        g_error("\"%s\" is missing in: %s", part, result->err);
    g_assert_cmpint(result->status, ==, status);
    cli_result_free(result);
}

static void test_local_files_are_the_users(CliServer *server) {
    static const char hint[] = "on the machine where the command runs";
    expect_failure(cli_run(server, "iso", "import", "x", "/nonexistent", NULL), 2, hint);
    expect_failure(cli_run(server, "system", "restore", "/nonexistent", "--yes", NULL), 2, hint);
    expect_failure(cli_run(server, "system", "backup", "/nonexistent/x", NULL), 2, hint);
    expect_failure(cli_run(server, "vm", "create", "x", "--ssh-key", "/nonexistent", NULL), 2, hint);
    expect_failure(cli_run(server, "vm", "list", "--token-file", "/nonexistent", NULL), 2, hint);
    expect_failure(cli_run(server, "api", "POST", "/v1/vms", "-d", "@/nonexistent", NULL), 2, hint);
    expect_failure(
        cli_run(server, "login", "https://127.0.0.1:9", "--ca-file", "/nonexistent", NULL), 2, hint);
    g_assert_cmpuint(server->n_requests, ==, 0);
}

static void test_a_damaged_configuration_is_named(CliServer *server) {
    g_autofree char *folder = g_build_filename(server->folder, "lodge", NULL);
    g_autofree char *path = g_build_filename(folder, "config.json", NULL);
    g_assert_true(folder_make(folder, 0700, NULL) && file_replace(path, "{", 1, 0600, NULL));
    expect_failure(cli_run(server, "vm", "list", NULL), 2, path);
    expect_failure(cli_run(server, "vm", "list", NULL), 2, "File cannot be used");
}

static void test_full_output_is_no_full_repository(CliServer *server) {
    server->output = "/dev/full";
    server_answer(server, "GET /v1/vms", 200, "{\"items\":[]}");
    expect_failure(cli_run(server, "vm", "list", NULL), 1, "cannot write to standard output");
    server_answer(server, "POST /v1/vms/web/start", 202, JOB("queued", ""));
    expect_failure(cli_run(server, "vm", "start", "web", "--no-wait", NULL), 1, "Check the disk");
    server_answer(server, "GET /v1/system/backup", 200, "the store");
    expect_failure(cli_run(server, "system", "backup", "-", NULL), 1, "No space left on device");
}

static void test_refused_login_says_what_to_check(CliServer *server) {
    g_autofree char *url = g_strdup_printf("https://127.0.0.1:%u", server->tls_port);
    expect_failure(cli_run(server, "login", url, "--ca-fingerprint", "00", NULL), 5,
        "`lodge system info` on the server");
    server_answer(server, "POST /v1/system/login", 401, "{\"code\":\"unauthenticated\",\"detail\":\"no\"}");
    expect_failure(cli_run_with_input(server, "word\n", "login", url, "--name", "eva", "--ca-fingerprint",
                       server->fingerprint, NULL),
        5, "Check name and password");
}

static void test_login_pins_and_remembers(CliServer *server) {
    g_autofree char *url = g_strdup_printf("https://127.0.0.1:%u", server->tls_port);
    server_answer(server, "POST /v1/system/login", 201, "{\"name\":\"session\",\"secret\":\"lodge_abc\"}");
    server_answer(server, "GET /v1/vms", 200, "{\"items\":[]}");
    CliResult *wrong =
        cli_run_with_input(server, "word\n", "login", url, "--name", "eva", "--ca-fingerprint", "00", NULL);
    g_assert_cmpint(wrong->status, ==, 5);
    g_assert_cmpuint(server->n_requests, ==, 0);
    CliResult *login = cli_run_with_input(
        server, "word\n", "login", url, "--name", "eva", "--ca-fingerprint", server->fingerprint, NULL);
    g_assert_cmpint(login->status, ==, 0);
    g_assert_cmpstr(server->requests[0].body, ==, "{\"name\":\"eva\",\"password\":\"word\"}");
    CliResult *list = cli_run(server, "vm", "list", "--server", url, NULL);
    g_assert_cmpstr(list->err, ==, "");
    g_assert_cmpint(list->status, ==, 0);
    g_assert_cmpstr(server->requests[1].authorization, ==, "Bearer lodge_abc");
    cli_result_free(wrong);
    cli_result_free(login);
    cli_result_free(list);
}

static const struct {
    const char *path;
    void (*body)(CliServer *server);
} tests[] = {
    {"/cli/list-asks-for-all-pages", test_list_asks_for_all_pages},
    {"/cli/titles-filter-and-sort", test_titles_filter_and_sort},
    {"/cli/what-belongs-to-one-object-is-listed", test_what_belongs_to_one_object_is_listed},
    {"/cli/limit-ends-the-list", test_limit_ends_the_list},
    {"/cli/create-waits-and-shows-what-was-made", test_create_waits_and_shows_what_was_made},
    {"/cli/no-wait-writes-the-job", test_no_wait_writes_the_job},
    {"/cli/failed-job-tells-its-error", test_failed_job_tells_its_error},
    {"/cli/interrupt-leaves-the-jobs", test_interrupt_leaves_the_jobs},
    {"/cli/partly-failed-create-shows-what-is-there", test_partly_failed_create_shows_what_is_there},
    {"/cli/timeout-leaves-the-job", test_timeout_leaves_the_job},
    {"/cli/problem-becomes-exit-status", test_problem_becomes_exit_status},
    {"/cli/what-is-done-is-told", test_what_is_done_is_told},
    {"/cli/what-waits-for-the-next-start-is-told", test_what_waits_for_the_next_start_is_told},
    {"/cli/columns-of-what-was-made", test_what_was_made_comes_in_the_columns_asked_for},
    {"/cli/titles-come-once", test_titles_come_once},
    {"/cli/columns-of-what-was-changed", test_a_changed_vm_comes_in_the_columns_asked_for},
    {"/cli/wrong-columns-are-known-before", test_wrong_columns_are_known_before_something_is_made},
    {"/cli/a-message-names-the-field-once", test_a_message_names_the_field_once},
    {"/cli/delete-needs-yes-and-goes-on", test_delete_needs_yes_and_goes_on},
    {"/cli/dry-run-in-words", test_dry_run_is_told_in_words},
    {"/cli/dry-run-as-data", test_dry_run_as_data_is_the_answer},
    {"/cli/completion-asks-for-what-fits", test_completion_asks_for_what_fits},
    {"/cli/api-sends-what-it-is-given", test_api_sends_what_it_is_given},
    {"/cli/bare-status-becomes-exit-status", test_a_bare_status_becomes_an_exit_status},
    {"/cli/backup-is-whole-or-not-there", test_backup_is_whole_or_not_there},
    {"/cli/import-uploads-the-file", test_import_uploads_the_file},
    {"/cli/import-repeats-the-parameters-of-lists", test_import_repeats_the_parameters_of_lists},
    {"/cli/upload-goes-on-where-it-stopped", test_upload_goes_on_where_it_stopped},
    {"/cli/console-sends-what-is-typed-before-it-leaves", test_console_sends_what_is_typed_before_it_leaves},
    {"/cli/console-shows-the-last-words-of-the-server", test_console_shows_the_last_words_of_the_server},
    {"/cli/refused-console-says-why", test_refused_console_says_why},
    {"/cli/watch-ends-with-the-error", test_watch_ends_with_the_error},
    {"/cli/watch-tells-people-of-a-gap", test_watch_tells_people_of_a_gap},
    {"/cli/unreachable-server", test_unreachable_server},
    {"/cli/unknown-authority-needs-a-login", test_unknown_authority_needs_a_login},
    {"/cli/local-files-are-the-users", test_local_files_are_the_users},
    {"/cli/a-damaged-configuration-is-named", test_a_damaged_configuration_is_named},
    {"/cli/full-output-is-no-full-repository", test_full_output_is_no_full_repository},
    {"/cli/refused-login-says-what-to-check", test_refused_login_says_what_to_check},
    {"/cli/login-pins-and-remembers", test_login_pins_and_remembers},
};

static void run_test(const void *data) {
    CliServer *server = server_new();
    ((void (*)(CliServer *))data)(server);
    server_free(server);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add_data_func(tests[i].path, (const void *)tests[i].body, run_test);
    return g_test_run();
}
