/* A real server, store and inventory; each request comes from a client in a thread beside the main loop. */
#include <string.h>
#include <unistd.h>
#include "api/api.h"
#include "api/password.h"
#include "api/throttle.h"
#include "base/file.h"
#include "http/http-client.h"

typedef struct World {
    char *folder, *base, *socket;
    FakeClock clock;
    Store *store;
    Inventory *inventory;
    Jobs *jobs;
    Api *api;
    HttpServer *server;
    GString *received; /* what the pretended host has of uploads */
    ApiUploadFn upload_done;
    void *upload_data;
    bool is_host_away;
    int n_checks; /* of lists of kernel modules */
} World;

typedef struct Ask {
    const World *world;
    const char *method, *path, *body, *token;
    const char *headers[6];
    HttpResponse response;
    Error err;
    gint is_done;
} Ask;

static void finish_job(JobRun *run) {
    job_result(run, json_pack("{ss}", "made", "it"));
    job_step_done(run);
}

static bool prepare_job(
    Inventory *inventory G_GNUC_UNUSED, const JobRequest *request, Job *job G_GNUC_UNUSED, Error *err) {
    const char *name = json_string_value(json_object_get(request->parameters, "name"));
    return g_strcmp0(name, "bad") != 0 || error_set(err, ERROR_NO_CAPACITY, NULL, "no host has room");
}

static const JobStepKind steps[] = {{.name = "make", .description = "Makes it", .run = finish_job}};
static const JobKind vm_create = {.name = "vm.create", .steps = steps, .n_steps = 1, .prepare = prepare_job};
static const JobKind iso_import = {
    .name = "iso.import", .steps = steps, .n_steps = 1, .prepare = prepare_job};
static const JobKind *const kinds[] = {&vm_create, &iso_import};

/* A host that keeps what comes. */

static void ask_upload(const ApiUpload *upload G_GNUC_UNUSED, ApiUploadFn done, void *done_data, void *data) {
    done(((World *)data)->received->len, NULL, done_data);
}

static void take_upload(HttpRequest *request G_GNUC_UNUSED, const void *data, size_t length, void *user) {
    g_string_append_len(((World *)user)->received, data, (gssize)length);
}

static void *begin_upload(
    HttpRequest *request, const ApiUpload *upload, ApiUploadFn done, void *done_data, void *data) {
    World *world = data;
    g_string_truncate(world->received, upload->offset);
    world->upload_done = done;
    world->upload_data = done_data;
    http_request_stream_body(request, take_upload, world);
    return world;
}

static void end_upload(void *receiver, void *data G_GNUC_UNUSED) {
    World *world = receiver;
    world->upload_done(world->received->len, NULL, world->upload_data);
}

/* A host with three modules that uses one of them, and can be away. */

static bool answer_away(ApiAnswerFn done, void *done_data, const World *world) {
    g_auto(Error) err = {0};
    if (!world->is_host_away)
        return false;
    error_set(&err, ERROR_UNREACHABLE, NULL, "the host cannot be reached");
    done(NULL, &err, done_data);
    return true;
}

static void list_modules(const char *host_id G_GNUC_UNUSED, ApiAnswerFn done, void *done_data, void *data) {
    g_autoptr(json_t) rows = json_pack("[{ss ss ss} {ss ss ss} {ss ss ss}]", "id", "b", "name", "b", "state",
        "loaded", "id", "a", "name", "a", "state", "available", "id", "c", "name", "c", "state", "loaded");
    if (!answer_away(done, done_data, data))
        done(rows, NULL, done_data);
}

static void check_modules(const Host *host, ApiAnswerFn done, void *done_data, void *data) {
    g_auto(Error) err = {0};
    g_autoptr(json_t) plan =
        json_pack("{si si s[s] ss}", "blocked", 1, "available", 3, "lost", "c", "file", "/f");
    bool has_used = host->modules.allow.n > 0 && g_str_equal(host->modules.allow.items[0], "b_b");
    ((World *)data)->n_checks++;
    if (answer_away(done, done_data, data))
        return;
    if (!has_used)
        error_set(&err, ERROR_INVALID, "/modules/allow", "b_b is used");
    done(has_used ? plan : NULL, has_used ? NULL : &err, done_data);
}

/* What it says of a VM; one without CPU time it cannot tell in time. */
static void read_statistics(const Vm *vm, ApiAnswerFn done, void *done_data, void *data) {
    g_auto(Error) err = {0};
    g_autoptr(json_t) told = json_pack("{ss ss si s[{ss si}]}", "time", "2027-01-15T08:00:00.500Z", "name",
        "another", "cpu_time_ms", 5, "disks", "name", "disk0", "read_bytes", 512);
    if (answer_away(done, done_data, data))
        return;
    if (g_str_equal(vm->name, "hung"))
        error_set(&err, ERROR_TIMED_OUT, NULL, "vm.statistics was not answered in time");
    done(told, error_is_set(&err) ? &err : NULL, done_data);
}

static World *world_new(void) {
    World *self = g_new0(World, 1);
    fake_clock_init(&self->clock, 1800000000 * NS_PER_S);
    self->folder = g_dir_make_tmp("lodge-api-XXXXXX", NULL);
    self->socket = g_strconcat(self->folder, "/api.sock", NULL);
    self->base = g_strconcat("unix:", self->socket, NULL);
    g_autofree char *path = g_strconcat(self->folder, "/store", NULL);
    self->store = store_open_sqlite(path, NULL, &self->clock.clock, NULL);
    g_assert_nonnull(self->store);
    self->inventory = inventory_new(self->store, &self->clock.clock);
    g_assert_true(inventory_load(self->inventory, NULL));
    self->jobs = jobs_new(self->inventory, kinds, G_N_ELEMENTS(kinds), NULL, NULL);
    ApiOptions options = {.inventory = self->inventory,
        .jobs = self->jobs,
        .clock = &self->clock.clock,
        .instance = "test",
        .backup_folder = self->folder,
        .hook_data = self,
        .ask_upload = ask_upload,
        .begin_upload = begin_upload,
        .end_upload = end_upload,
        .list_modules = list_modules,
        .check_modules = check_modules,
        .read_statistics = read_statistics};
    self->received = g_string_new(NULL);
    self->api = api_new(&options);
    self->server = http_server_new(&api_http_handler, self->api, NULL);
    g_assert_true(http_server_listen_unix(self->server, self->socket, 0600, (gid_t)-1, NULL));
    return self;
}

/* A job that works has writes under way, which want it when they end. */
static bool has_working_job(const World *world) {
    const GPtrArray *jobs = inventory_list(world->inventory, RESOURCE_JOB);
    for (guint i = 0; i < jobs->len; i++)
        if (((const Job *)((const Object *)g_ptr_array_index(jobs, i))->data)->state <= JOB_STATE_UNDOING)
            return true;
    return false;
}

static void world_free(World *self) {
    while (has_working_job(self))
        g_main_context_iteration(NULL, TRUE);
    http_server_free(self->server);
    api_free(self->api);
    jobs_free(self->jobs, self->store);
    inventory_free(self->inventory);
    tree_remove(self->folder, NULL);
    g_free(self->folder);
    g_string_free(self->received, TRUE);
    g_free(self->socket);
    g_free(self->base);
    g_free(self);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(World, world_free)

static void *perform(void *data) {
    Ask *ask = data;
    HttpClientConfig config = {.base = ask->world->base, .token = ask->token};
    g_autoptr(HttpClient) client = NULL;
    HttpClientRequest request = {.method = ask->method,
        .path = ask->path,
        .headers = ask->headers,
        .body = ask->body,
        .body_length = ask->body ? strlen(ask->body) : 0,
        .timeout_ms = 20000};
    if (http_client_new(&config, &client, &ask->err))
        http_client_perform(client, &request, &ask->response, &ask->err);
    g_atomic_int_set(&ask->is_done, 1);
    g_main_context_wakeup(NULL);
    return NULL;
}

static void run_ask(Ask *ask) {
    GThread *thread = g_thread_new("client", perform, ask);
    while (!g_atomic_int_get(&ask->is_done))
        g_main_context_iteration(NULL, TRUE);
    g_thread_join(thread);
    g_assert_cmpstr(ask->err.message, ==, NULL);
}

static json_t *ask_with(World *world, const char *token, const char *header, const char *method,
    const char *path, const char *body, unsigned status) {
    Ask ask = {
        .world = world, .method = method, .path = path, .body = body, .token = token, .headers = {header}};
    run_ask(&ask);
    if (ask.response.status != status)
        g_error("%s %s: %u instead of %u: %s", method, path, ask.response.status, status,
            ask.response.body->data);
    json_t *json = NULL;
    if (ask.response.body->len)
        json = json_parse((const char *)ask.response.body->data, ask.response.body->len, NULL);
    http_response_clear(&ask.response);
    return json;
}

static json_t *ask(World *world, const char *method, const char *path, const char *body, unsigned status) {
    return ask_with(world, NULL, NULL, method, path, body, status);
}

static void tell(World *world, const char *method, const char *path, const char *body, unsigned status) {
    json_decref(ask(world, method, path, body, status));
}

static void assert_problem(json_t *take_json, const char *code, const char *field) {
    g_assert_cmpstr(json_text_at(take_json, "code"), ==, code);
    g_assert_cmpstr(json_text_at(take_json, "field"), ==, field);
    g_assert_nonnull(json_text_at(take_json, "request_id"));
    json_decref(take_json);
}

static void test_a_pool_lives_and_dies(void) {
    g_autoptr(World) world = world_new();
    g_autoptr(json_t) made =
        ask(world, "POST", "/v1/pools", "{\"name\":\"main\",\"description\":\"first\"}", 201);
    g_assert_nonnull(json_text_at(made, "id"));
    g_assert_cmpint(json_integer_value(json_at(made, "revision")), ==, 1);
    assert_problem(ask(world, "POST", "/v1/pools", "{\"name\":\"main\"}", 409), "exists", "/name");
    assert_problem(ask(world, "POST", "/v1/pools", "{\"name\":\"x\",\"id\":\"y\"}", 400), "invalid", "/id");
    assert_problem(ask(world, "POST", "/v1/pools", "{\"colour\":1}", 400), "unknown-field", "/colour");
    g_autoptr(json_t) changed =
        ask(world, "PATCH", "/v1/pools/main", "{\"description\":null,\"mac_range\":\"52:54:00\"}", 200);
    g_assert_null(json_at(changed, "description"));
    g_assert_cmpstr(json_text_at(changed, "mac_range"), ==, "52:54:00");
    g_assert_cmpint(json_integer_value(json_at(changed, "revision")), ==, 2);
    g_autofree char *whole = json_to_text(changed);
    tell(world, "PATCH", "/v1/pools/main", whole, 200);
    assert_problem(ask(world, "PATCH", "/v1/pools/main", "{\"name\":null}", 400), "invalid", "/name");
    tell(world, "DELETE", "/v1/pools/main", NULL, 204);
    assert_problem(ask(world, "GET", "/v1/pools/main", NULL, 404), "not-found", NULL);
}

static void test_a_stale_etag_is_refused(void) {
    g_autoptr(World) world = world_new();
    tell(world, "POST", "/v1/pools", "{\"name\":\"main\"}", 201);
    json_decref(
        ask_with(world, NULL, "If-Match: \"1\"", "PATCH", "/v1/pools/main", "{\"description\":\"a\"}", 200));
    assert_problem(
        ask_with(world, NULL, "If-Match: \"1\"", "PATCH", "/v1/pools/main", "{\"description\":\"b\"}", 412),
        "precondition", NULL);
    assert_problem(ask_with(world, NULL, "If-Match: \"1\"", "DELETE", "/v1/pools/main", NULL, 412),
        "precondition", NULL);
}

static void test_references_are_resolved_and_guard_what_they_name(void) {
    g_autoptr(World) world = world_new();
    tell(world, "POST", "/v1/pools", "{\"name\":\"main\"}", 201);
    assert_problem(
        ask(world, "POST", "/v1/hosts", "{\"name\":\"a\",\"address\":\"unix:/x\",\"pool\":\"other\"}", 404),
        "not-found", "/pool");
    g_autoptr(json_t) host = ask(world, "POST", "/v1/hosts", "{\"name\":\"a\",\"address\":\"unix:/x\"}", 201);
    g_assert_cmpstr(json_text_at(host, "pool_name"), ==, "main");
    assert_problem(ask(world, "DELETE", "/v1/pools/main", NULL, 409), "in-use", NULL);
    tell(world, "DELETE", "/v1/hosts/a", NULL, 204);
    tell(world, "DELETE", "/v1/pools/main", NULL, 204);
}

static void test_a_job_is_submitted_once_for_each_key(void) {
    g_autoptr(World) world = world_new();
    g_autoptr(json_t) first =
        ask_with(world, NULL, "Idempotency-Key: k", "POST", "/v1/vms", "{\"name\":\"web\"}", 202);
    g_autoptr(json_t) second =
        ask_with(world, NULL, "Idempotency-Key: k", "POST", "/v1/vms", "{\"name\":\"web\"}", 202);
    g_assert_cmpstr(json_text_at(first, "kind"), ==, "vm.create");
    g_assert_cmpstr(json_text_at(first, "id"), ==, json_text_at(second, "id"));
    g_assert_cmpint(json_integer_value(json_at(first, "parameters.count")), ==, 1);
    assert_problem(
        ask_with(world, NULL, "Idempotency-Key: k", "POST", "/v1/vms", "{\"name\":\"other\"}", 409),
        "conflict", NULL);
    g_autoptr(json_t) pool =
        ask_with(world, NULL, "Idempotency-Key: p", "POST", "/v1/pools", "{\"name\":\"a\"}", 201);
    g_autoptr(json_t) same =
        ask_with(world, NULL, "Idempotency-Key: p", "POST", "/v1/pools", "{\"name\":\"a\"}", 201);
    g_assert_cmpstr(json_text_at(pool, "id"), ==, json_text_at(same, "id"));
    g_autoptr(json_t) plan = ask(world, "POST", "/v1/vms?dry_run=true", "{\"name\":\"web\"}", 200);
    g_assert_true(json_is_array(json_at(plan, "steps")));
    assert_problem(ask(world, "POST", "/v1/vms", "{\"name\":\"bad\"}", 409), "no-capacity", NULL);
    g_autoptr(json_t) jobs = ask(world, "GET", "/v1/jobs", NULL, 200);
    g_assert_cmpint((int)json_array_size(json_at(jobs, "items")), ==, 1);
}

static void test_jobs_show_no_secrets(void) {
    g_autoptr(World) world = world_new();
    static const char *const body = "{\"name\":\"web\",\"user_data\":\"#cloud-config hush\"}";
    g_autoptr(json_t) job = ask(world, "POST", "/v1/vms", body, 202);
    g_autoptr(json_t) plan = ask(world, "POST", "/v1/vms?dry_run=true", body, 200);
    g_autoptr(json_t) jobs = ask(world, "GET", "/v1/jobs", NULL, 200);
    g_autoptr(json_t) all = json_pack("[OOO]", job, plan, jobs);
    g_autofree char *text = json_to_text(all);
    g_assert_cmpstr(json_text_at(job, "parameters.name"), ==, "web");
    g_assert_null(strstr(text, "hush"));
}

static json_t *log_in(World *world, const char *name, const char *password, unsigned status) {
    g_autofree char *body = g_strdup_printf("{\"name\":\"%s\",\"password\":\"%s\"}", name, password);
    return ask(world, "POST", "/v1/system/login", body, status);
}

static void test_a_viewer_sees_and_changes_nothing(void) {
    g_autoptr(World) world = world_new();
    g_autoptr(json_t) made =
        ask(world, "POST", "/v1/principals", "{\"name\":\"eve\",\"password\":\"long enough\"}", 201);
    g_assert_null(json_at(made, "password"));
    g_assert_null(json_at(made, "password_hash"));
    g_autoptr(json_t) session = log_in(world, "eve", "long enough", 200);
    const char *token = json_text_at(session, "secret");
    g_assert_true(g_str_has_prefix(token, "lodge_"));
    json_decref(ask_with(world, token, NULL, "GET", "/v1/pools", NULL, 200));
    assert_problem(
        ask_with(world, token, NULL, "POST", "/v1/pools", "{\"name\":\"x\"}", 403), "denied", NULL);
    assert_problem(ask_with(world, token, NULL, "POST", "/v1/vms", "{\"name\":\"x\"}", 403), "denied", NULL);
    assert_problem(
        ask_with(world, token, NULL, "PATCH", "/v1/principals/eve", "{\"role\":\"administrator\"}", 403),
        "denied", NULL);
    assert_problem(
        ask_with(world, "lodge_wrong", NULL, "GET", "/v1/pools", NULL, 401), "unauthenticated", NULL);
    fake_clock_advance(&world->clock, 13 * 3600 * NS_PER_S);
    assert_problem(ask_with(world, token, NULL, "GET", "/v1/pools", NULL, 401), "unauthenticated", NULL);
}

static void test_a_grant_counts_for_its_pool_only(void) {
    g_autoptr(World) world = world_new();
    g_autoptr(json_t) pool = ask(world, "POST", "/v1/pools", "{\"name\":\"mine\"}", 201);
    tell(world, "POST", "/v1/pools", "{\"name\":\"other\"}", 201);
    g_autofree char *body =
        g_strdup_printf("{\"name\":\"bob\",\"password\":\"long enough\",\"grants\":[{\"object\":\"pool/%s\","
                        "\"role\":\"administrator\"}]}",
            json_text_at(pool, "id"));
    tell(world, "POST", "/v1/principals", body, 201);
    g_autoptr(json_t) session = log_in(world, "bob", "long enough", 200);
    const char *token = json_text_at(session, "secret");
    json_decref(ask_with(world, token, NULL, "PATCH", "/v1/pools/mine", "{\"description\":\"a\"}", 200));
    assert_problem(ask_with(world, token, NULL, "PATCH", "/v1/pools/other", "{\"description\":\"a\"}", 403),
        "denied", NULL);
    json_decref(ask_with(world, token, NULL, "POST", "/v1/vms", "{\"name\":\"x\",\"pool\":\"mine\"}", 202));
    assert_problem(
        ask_with(world, token, NULL, "POST", "/v1/vms", "{\"name\":\"x\",\"pool\":\"other\"}", 403), "denied",
        NULL);
}

static void test_tokens_are_seen_by_their_owner_only(void) {
    g_autoptr(World) world = world_new();
    tell(world, "POST", "/v1/principals", "{\"name\":\"robot\",\"kind\":\"service\"}", 201);
    tell(world, "POST", "/v1/principals", "{\"name\":\"eve\"}", 201);
    assert_problem(ask(world, "POST", "/v1/tokens", "{\"name\":\"t\"}", 400), "invalid", "/principal");
    g_autoptr(json_t) robot =
        ask(world, "POST", "/v1/tokens", "{\"name\":\"t\",\"principal\":\"robot\"}", 201);
    g_autoptr(json_t) eve = ask(world, "POST", "/v1/tokens", "{\"name\":\"e\",\"principal\":\"eve\"}", 201);
    const char *token = json_text_at(robot, "secret");
    g_autoptr(json_t) list = ask_with(world, token, NULL, "GET", "/v1/tokens", NULL, 200);
    g_assert_cmpint((int)json_array_size(json_at(list, "items")), ==, 1);
    g_assert_null(json_at(list, "items.0.secret"));
    g_assert_null(json_at(list, "items.0.hash"));
    assert_problem(ask_with(world, token, NULL, "DELETE", "/v1/tokens/e", NULL, 404), "not-found", NULL);
    json_decref(ask_with(world, token, NULL, "DELETE", "/v1/tokens/t", NULL, 204));
    assert_problem(ask_with(world, token, NULL, "GET", "/v1/tokens", NULL, 401), "unauthenticated", NULL);
    tell(world, "DELETE", "/v1/principals/eve", NULL, 204);
    assert_problem(ask_with(world, json_text_at(eve, "secret"), NULL, "GET", "/v1/pools", NULL, 401),
        "unauthenticated", NULL);
}

static void test_guessing_a_password_slows_down(void) {
    g_autoptr(World) world = world_new();
    tell(world, "POST", "/v1/principals", "{\"name\":\"eve\",\"password\":\"long enough\"}", 201);
    for (int i = 0; i < THROTTLE_FREE_ATTEMPTS; i++)
        assert_problem(log_in(world, "eve", "wrong", 401), "unauthenticated", NULL);
    assert_problem(log_in(world, "eve", "long enough", 429), "rate-limited", NULL);
    fake_clock_advance(&world->clock, THROTTLE_MAX_DELAY_S * NS_PER_S);
    json_decref(log_in(world, "eve", "long enough", 200));
    assert_problem(log_in(world, "nobody", "long enough", 401), "unauthenticated", NULL);
}

static void test_a_new_password_ends_sessions_and_keeps_tokens(void) {
    g_autoptr(World) world = world_new();
    tell(world, "POST", "/v1/principals", "{\"name\":\"eve\",\"password\":\"long enough\"}", 201);
    g_autoptr(json_t) session = log_in(world, "eve", "long enough", 200);
    g_autoptr(json_t) token = ask(world, "POST", "/v1/tokens", "{\"name\":\"t\",\"principal\":\"eve\"}", 201);
    tell(world, "PATCH", "/v1/principals/eve", "{\"password\":\"short\"}", 400);
    json_decref(ask_with(world, json_text_at(session, "secret"), NULL, "GET", "/v1/pools", NULL, 200));
    tell(world, "PATCH", "/v1/principals/eve", "{\"password\":\"another one\"}", 200);
    json_decref(ask_with(world, json_text_at(session, "secret"), NULL, "GET", "/v1/pools", NULL, 401));
    json_decref(ask_with(world, json_text_at(token, "secret"), NULL, "GET", "/v1/pools", NULL, 200));
    assert_problem(log_in(world, "eve", "long enough", 401), "unauthenticated", NULL);
    json_decref(log_in(world, "eve", "another one", 200));
}

static void test_a_dry_run_never_becomes_real(void) {
    g_autoptr(World) world = world_new();
    assert_problem(
        ask(world, "POST", "/v1/pools?dry_run=true", "{\"name\":\"x\"}", 422), "unsupported", "/dry_run");
    assert_problem(ask(world, "POST", "/v1/vms?dry_run=yes", "{\"name\":\"x\"}", 400), "invalid", "/dry_run");
    assert_problem(ask(world, "POST", "/v1/vms?dryrun=true", "{\"name\":\"x\"}", 400), "unknown-field", NULL);
    g_autoptr(json_t) jobs = ask(world, "GET", "/v1/jobs", NULL, 200);
    g_assert_cmpint((int)json_array_size(json_at(jobs, "items")), ==, 0);
}

static void test_the_last_administrator_stays(void) {
    g_autoptr(World) world = world_new();
    tell(world, "POST", "/v1/principals", "{\"name\":\"boss\",\"role\":\"administrator\"}", 201);
    assert_problem(ask(world, "DELETE", "/v1/principals/boss", NULL, 409), "in-use", NULL);
    assert_problem(ask(world, "PATCH", "/v1/principals/boss", "{\"disabled\":true}", 409), "in-use", NULL);
    tell(world, "POST", "/v1/principals", "{\"name\":\"two\",\"role\":\"administrator\"}", 201);
    tell(world, "DELETE", "/v1/principals/boss", NULL, 204);
}

static void keep_password(const char *password, const Error *err, void *data) {
    g_assert_null(err);
    *(char **)data = g_strdup(password ? password : "");
}

static void test_the_first_administrator_is_made_once(void) {
    g_autoptr(World) world = world_new();
    g_autofree char *password = NULL, *again = NULL;
    api_first_administrator(world->api, keep_password, &password);
    while (!password)
        g_main_context_iteration(NULL, TRUE);
    api_first_administrator(world->api, keep_password, &again);
    while (!again)
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmpstr(again, ==, "");
    json_decref(log_in(world, "admin", password, 200));
}

static void test_every_change_leaves_an_audit_line(void) {
    g_autoptr(World) world = world_new();
    tell(world, "POST", "/v1/pools", "{\"name\":\"main\"}", 201);
    tell(world, "POST", "/v1/pools", "{\"name\":\"main\"}", 409);
    tell(world, "GET", "/v1/pools", NULL, 200);
    g_autoptr(json_t) events = ask(world, "GET", "/v1/events?sort=sequence", NULL, 200);
    g_assert_cmpint((int)json_array_size(json_at(events, "items")), ==, 2);
    g_assert_cmpstr(json_text_at(events, "items.0.outcome"), ==, "ok");
    g_assert_cmpstr(json_text_at(events, "items.0.method"), ==, "pool.create");
    g_assert_cmpstr(json_text_at(events, "items.0.principal"), ==, "root@local");
    g_assert_cmpstr(json_text_at(events, "items.0.name"), ==, "main");
    g_assert_cmpstr(json_text_at(events, "items.1.outcome"), ==, "exists");
    g_autofree char *own = g_strdup_printf("uid %u", getuid());
    g_assert_cmpstr(json_text_at(events, "items.0.source"), ==, own);
}

/* Names of all pages of a list, joined by spaces. */
static char *walk(World *world, const char *list, const char *path_in_item) {
    g_autoptr(GString) all = g_string_new(NULL);
    g_autofree char *cursor = g_strdup("");
    while (cursor) {
        g_autofree char *escaped = g_uri_escape_string(cursor, NULL, FALSE);
        g_autofree char *path = g_strdup_printf("%s%s%s", list, *cursor ? "&cursor=" : "", escaped);
        g_autoptr(json_t) page = ask(world, "GET", path, NULL, 200);
        size_t i;
        json_t *item;
        json_array_foreach (json_object_get(page, "items"), i, item)
            g_string_append_printf(all, "%s ", json_text_at(item, path_in_item));
        g_free(cursor);
        cursor = g_strdup(json_text_at(page, "next"));
    }
    return g_strdup(all->str);
}

static void test_pages_of_the_kept_order_show_every_object_once(void) {
    g_autoptr(World) world = world_new();
    for (int i = 12; i >= 1; i--) {
        g_autofree char *body = g_strdup_printf("{\"name\":\"p-%d\"}", i);
        tell(world, "POST", "/v1/pools", body, 201);
        if (i % 3 == 0)
            fake_clock_advance(&world->clock, NS_PER_S);
    }
    g_autofree char *names = walk(world, "/v1/pools?limit=5", "name");
    g_assert_cmpstr(names, ==, "p-1 p-2 p-3 p-4 p-5 p-6 p-7 p-8 p-9 p-10 p-11 p-12 ");
    g_autofree char *kept = walk(world, "/v1/events?limit=4", "name");
    g_autofree char *sorted = walk(world, "/v1/events?limit=4&filter=kind=audit", "name");
    g_assert_cmpstr(kept, ==, sorted);
    g_auto(GStrv) parts = g_strsplit(kept, " ", -1);
    g_assert_cmpuint(g_strv_length(parts), ==, 13);
}

static void test_the_system_answers(void) {
    g_autoptr(World) world = world_new();
    g_autoptr(json_t) info = ask(world, "GET", "/v1/system", NULL, 200);
    g_assert_cmpstr(json_text_at(info, "instance"), ==, "test");
    g_autoptr(json_t) openapi = ask(world, "GET", "/v1/openapi.json", NULL, 200);
    g_assert_cmpstr(json_text_at(openapi, "openapi"), ==, "3.1.0");
    assert_problem(ask(world, "GET", "/v1/nothing", NULL, 404), "not-found", NULL);
    assert_problem(ask(world, "PUT", "/v1/pools", "{}", 405), "method-not-allowed", NULL);
    assert_problem(ask(world, "POST", "/v1/pools", "{", 400), "malformed", NULL);
    assert_problem(
        ask_with(world, NULL, "Content-Type: application/octet-stream", "POST", "/v1/pools", "x", 422),
        "unsupported", NULL);
    assert_problem(ask(world, "GET", "/v1/pools?limit=x", NULL, 400), "invalid", "/limit");
    tell(world, "GET", "/elsewhere", NULL, 404);
}

#define IMPORT "/v1/isos/import?name="
static const char octets[] = "Content-Type: application/octet-stream";

static json_t *upload(World *world, const char *path, const char *offset, const char *length,
    const char *body, unsigned status) {
    Ask ask = {.world = world,
        .method = "POST",
        .path = path,
        .body = body,
        .headers = {octets, "Upload-Id: mine", offset ? offset : length, offset ? length : NULL}};
    run_ask(&ask);
    g_assert_cmpuint(ask.response.status, ==, status);
    json_t *json = json_parse((const char *)ask.response.body->data, ask.response.body->len, NULL);
    http_response_clear(&ask.response);
    return json;
}

static void test_an_upload_goes_past_the_body_limit_and_becomes_a_job(void) {
    g_autoptr(World) world = world_new();
    g_autofree char *large = g_strnfill(3 << 20, 'x');
    g_autoptr(json_t) job = ask_with(world, NULL, octets, "POST", IMPORT "cd", large, 202);
    g_assert_cmpuint(world->received->len, ==, 3 << 20);
    g_assert_cmpstr(json_text_at(job, "parameters.name"), ==, "cd");
    g_assert_cmpuint(strlen(json_text_at(job, "parameters.upload")), ==, 36);
}

static void test_an_upload_goes_on_where_the_host_says(void) {
    g_autoptr(World) world = world_new();
    g_string_assign(world->received, "hello th");
    Ask question = {.world = world,
        .method = "POST",
        .path = IMPORT "cd",
        .body = "",
        .headers = {octets, "Upload-Id: mine", "Upload-Length: 11"}};
    run_ask(&question);
    g_assert_cmpuint(question.response.status, ==, 204);
    g_assert_cmpstr(http_response_header(&question.response, "Upload-Offset"), ==, "8");
    http_response_clear(&question.response);
    json_decref(upload(world, IMPORT "cd", "Upload-Offset: 8", "Upload-Length: 11", "ere", 202));
    g_assert_cmpstr(world->received->str, ==, "hello there");
}

static void test_a_bad_upload_is_refused_before_its_bytes(void) {
    g_autoptr(World) world = world_new();
    g_autofree char *large = g_strnfill(3 << 20, 'x');
    assert_problem(upload(world, IMPORT "bad", NULL, NULL, large, 409), "no-capacity", NULL);
    assert_problem(upload(world, IMPORT "cd&colour=red", NULL, NULL, large, 400), "unknown-field", "/colour");
    assert_problem(upload(world, IMPORT "cd&source=http://x/", NULL, NULL, large, 400), "invalid", "/source");
    assert_problem(upload(world, IMPORT "cd", "Upload-Offset: -1", NULL, large, 400), "invalid", NULL);
    assert_problem(
        upload(world, IMPORT "cd", "Upload-Offset: 1", "Upload-Length: 5", "hello", 400), "invalid", NULL);
    g_assert_cmpuint(world->received->len, ==, 0);
}

static void test_a_backup_is_a_whole_store(void) {
    g_autoptr(World) world = world_new();
    Ask backup = {.world = world, .method = "GET", .path = "/v1/system/backup"};
    run_ask(&backup);
    g_assert_cmpint((int)backup.response.status, ==, 200);
    g_assert_cmpuint(backup.response.body->len, >, 4096);
    g_assert_cmpstr((const char *)backup.response.body->data, ==, "SQLite format 3");
    http_response_clear(&backup.response);
    g_autoptr(GDir) folder = g_dir_open(world->folder, 0, NULL);
    for (const char *name = g_dir_read_name(folder); name; name = g_dir_read_name(folder))
        g_assert_false(g_str_has_prefix(name, "backup-"));
}

/* Events: a client that reads lines until it has seen the wanted one. */

typedef struct Watch {
    const World *world;
    const char *header;
    gint has_begun, is_done;
    char *last_id, *found;
    unsigned status;
} Watch;

static bool take_line(const char *line, void *user) {
    Watch *watch = user;
    g_atomic_int_set(&watch->has_begun, 1);
    g_main_context_wakeup(NULL);
    if (g_str_has_prefix(line, "id: ")) {
        g_free(watch->last_id);
        watch->last_id = g_strdup(line + 4);
    }
    if (!g_str_has_prefix(line, "data: ") || !strstr(line, "wanted"))
        return true;
    watch->found = g_strdup(line + 6);
    return false;
}

static void *watch_events(void *data) {
    Watch *watch = data;
    HttpClientConfig config = {.base = watch->world->base};
    g_autoptr(HttpClient) client = NULL;
    g_auto(HttpResponse) response = {0};
    const char *headers[] = {watch->header, NULL};
    HttpClientRequest request = {.method = "GET",
        .path = "/v1/events/watch",
        .headers = headers,
        .on_line = take_line,
        .user = watch,
        .timeout_ms = 20000};
    g_assert_true(http_client_new(&config, &client, NULL));
    if (http_client_perform(client, &request, &response, NULL))
        watch->status = response.status;
    g_atomic_int_set(&watch->is_done, 1);
    g_main_context_wakeup(NULL);
    return NULL;
}

static void finish_watch(Watch *watch, GThread *thread) {
    while (!g_atomic_int_get(&watch->is_done))
        g_main_context_iteration(NULL, TRUE);
    g_thread_join(thread);
}

static void test_a_watch_misses_nothing(void) {
    g_autoptr(World) world = world_new();
    g_autoptr(json_t) list = ask(world, "GET", "/v1/pools", NULL, 200);
    g_autofree char *header = g_strconcat("Last-Event-ID: ", json_text_at(list, "position"), NULL);
    Watch live = {.world = world}, late = {.world = world, .header = header};
    GThread *thread = g_thread_new("watch", watch_events, &live);
    while (!g_atomic_int_get(&live.has_begun))
        g_main_context_iteration(NULL, TRUE);
    tell(world, "POST", "/v1/pools", "{\"name\":\"wanted\"}", 201);
    finish_watch(&live, thread);
    finish_watch(&late, g_thread_new("watch", watch_events, &late));
    g_assert_cmpstr(live.found, ==, late.found);
    g_assert_cmpstr(live.last_id, ==, late.last_id);
    Watch old = {.world = world, .header = "Last-Event-ID: other:1"};
    finish_watch(&old, g_thread_new("watch", watch_events, &old));
    g_assert_cmpint((int)old.status, ==, 410);
    g_free(live.found);
    g_free(live.last_id);
    g_free(late.found);
    g_free(late.last_id);
}

#define UPDATE(world, body, status) ask(world, "PATCH", "/v1/hosts/a", body, status)

static void test_a_hosts_modules_are_asked_of_it(void) {
    g_autoptr(World) world = world_new();
    tell(world, "POST", "/v1/pools", "{\"name\":\"main\"}", 201);
    tell(world, "POST", "/v1/hosts", "{\"name\":\"a\",\"address\":\"unix:/x\"}", 201);
    g_autoptr(json_t) page =
        ask(world, "GET", "/v1/hosts/a/modules?filter=state%3Dloaded&sort=-name&limit=1", NULL, 200);
    g_assert_cmpuint(json_array_size(json_object_get(page, "items")), ==, 1);
    g_assert_cmpstr(json_text_at(page, "items.0.name"), ==, "c");
    g_assert_nonnull(json_text_at(page, "next"));
    g_assert_cmpint(json_integer_value(json_at(page, "totals.loaded")), ==, 2);
    assert_problem(
        ask(world, "GET", "/v1/hosts/a/modules?filter=memory%3D1", NULL, 400), "unknown-field", "/filter");
    assert_problem(ask(world, "GET", "/v1/hosts/z/modules", NULL, 404), "not-found", NULL);
    world->is_host_away = true;
    assert_problem(ask(world, "GET", "/v1/hosts/a/modules", NULL, 503), "unreachable", NULL);
}

static void test_a_list_of_modules_is_shown_to_the_host_first(void) {
    static const char good[] = "{\"modules\":{\"policy\":\"allow_list\",\"allow\":[\"b-b\"]}}";
    g_autoptr(World) world = world_new();
    tell(world, "POST", "/v1/pools", "{\"name\":\"main\"}", 201);
    tell(world, "POST", "/v1/hosts", "{\"name\":\"a\",\"address\":\"unix:/x\"}", 201);
    assert_problem(
        UPDATE(world, "{\"modules\":{\"policy\":\"allow_list\"}}", 400), "invalid", "/modules/allow");
    assert_problem(UPDATE(world, "{\"modules\":{\"allow\":[\"a b\"]}}", 400), "invalid", "/modules/allow/0");
    g_autoptr(json_t) plan = ask(world, "PATCH", "/v1/hosts/a?dry_run=true", good, 200);
    g_assert_cmpstr(json_text_at(plan, "steps.1.name"), ==, "block");
    g_assert_cmpstr(
        json_text_at(plan, "steps.2.description"), ==, "Loaded now, and not after the next start: c");
    g_autoptr(json_t) before = ask(world, "GET", "/v1/hosts/a", NULL, 200);
    g_assert_null(json_at(before, "modules"));
    g_autoptr(json_t) after = UPDATE(world, good, 200);
    g_assert_cmpstr(json_text_at(after, "modules.allow.0"), ==, "b_b");
    world->is_host_away = true;
    int n_checks = world->n_checks;
    json_decref(UPDATE(world, "{\"description\":\"unchanged\"}", 200));
    json_decref(UPDATE(world, "{\"modules\":{\"policy\":\"open\"}}", 200));
    g_assert_cmpint(world->n_checks, ==, n_checks);
    assert_problem(UPDATE(world, "{\"modules\":{\"policy\":\"allow_list\"}}", 503), "unreachable", NULL);
}

static void put_vm(World *world, const char *id, const char *name, const char *host) {
    g_auto(Vm) vm = {0};
    vm_set_id(&vm, id);
    vm_set_name(&vm, name);
    vm_set_host(&vm, host);
    InventoryChange *change = inventory_change_new(world->inventory);
    inventory_change_put(change, RESOURCE_VM, &vm);
    inventory_commit(world->inventory, change, NULL, NULL);
    while (!inventory_get(world->inventory, RESOURCE_VM, id))
        g_main_context_iteration(NULL, TRUE);
}

static void test_what_a_vm_uses_is_asked_of_its_host(void) {
    static const char host[] = "0b2c4d6e-0000-4222-8333-444455556666",
                      id[] = "0b2c4d6e-1111-4222-8333-444455556666";
    g_autoptr(World) world = world_new();
    put_vm(world, id, "web", host);
    put_vm(world, "0b2c4d6e-2222-4222-8333-444455556666", "hung", host);
    put_vm(world, "0b2c4d6e-3333-4222-8333-444455556666", "new", NULL);
    g_autoptr(json_t) told = ask(world, "GET", "/v1/vms/web/statistics", NULL, 200);
    g_assert_cmpstr(json_text_at(told, "id"), ==, id);
    g_assert_cmpstr(json_text_at(told, "name"), ==, "web");
    g_assert_cmpstr(json_text_at(told, "time"), ==, "2027-01-15T08:00:00.500Z");
    g_assert_cmpint(json_integer_value(json_at(told, "disks.0.read_bytes")), ==, 512);
    assert_problem(ask(world, "GET", "/v1/vms/hung/statistics", NULL, 504), "timed-out", NULL);
    assert_problem(ask(world, "GET", "/v1/vms/new/statistics", NULL, 409), "wrong-state", NULL);
    assert_problem(ask(world, "GET", "/v1/vms/none/statistics", NULL, 404), "not-found", NULL);
    assert_problem(ask(world, "POST", "/v1/vms/web/statistics", NULL, 405), "method-not-allowed", NULL);
    world->is_host_away = true;
    assert_problem(ask(world, "GET", "/v1/vms/web/statistics", NULL, 503), "unreachable", NULL);
}

#define ADD(name) g_test_add_func("/api/" #name, test_##name)
int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    ADD(a_pool_lives_and_dies);
    ADD(a_stale_etag_is_refused);
    ADD(references_are_resolved_and_guard_what_they_name);
    ADD(a_job_is_submitted_once_for_each_key);
    ADD(jobs_show_no_secrets);
    ADD(a_viewer_sees_and_changes_nothing);
    ADD(a_grant_counts_for_its_pool_only);
    ADD(tokens_are_seen_by_their_owner_only);
    ADD(guessing_a_password_slows_down);
    ADD(a_new_password_ends_sessions_and_keeps_tokens);
    ADD(a_dry_run_never_becomes_real);
    ADD(the_last_administrator_stays);
    ADD(the_first_administrator_is_made_once);
    ADD(every_change_leaves_an_audit_line);
    ADD(pages_of_the_kept_order_show_every_object_once);
    ADD(the_system_answers);
    ADD(an_upload_goes_past_the_body_limit_and_becomes_a_job);
    ADD(an_upload_goes_on_where_the_host_says);
    ADD(a_bad_upload_is_refused_before_its_bytes);
    ADD(a_backup_is_a_whole_store);
    ADD(a_hosts_modules_are_asked_of_it);
    ADD(a_list_of_modules_is_shown_to_the_host_first);
    ADD(what_a_vm_uses_is_asked_of_its_host);
    ADD(a_watch_misses_nothing);
    return g_test_run();
}
