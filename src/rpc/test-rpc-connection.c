/* Proves two connected ends over a socket pair: calls, progress, cancel, loss, limits, time. */
#include <string.h>
#include "rpc/rpc-frame.h"
#include "rpc/test-rpc-side.h"

typedef struct Pair {
    Side caller, server;
    FakeClock clock;
} Pair;

static void pair_prepare(Pair *pair) {
    side_init(&pair->caller, "caller 1");
    side_init(&pair->server, "server 2");
    fake_clock_init(&pair->clock, 0);
    pair->caller.options.clock = pair->server.options.clock = &pair->clock.clock;
}

static void pair_start(Pair *pair) {
    RpcStream *a = NULL, *b = NULL;
    g_assert_true(rpc_stream_pair(&a, &b, NULL));
    side_start(&pair->caller, a, RPC_INITIATOR);
    side_start(&pair->server, b, RPC_ACCEPTOR);
}

static void pair_init(Pair *pair) {
    pair_prepare(pair);
    pair_start(pair);
    WAIT_FOR(pair->caller.ready && pair->server.ready);
}

static void pair_clear(Pair *pair) {
    side_clear(&pair->caller);
    side_clear(&pair->server);
    settle();
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Pair, pair_clear)

static int64_t call(Pair *pair, const char *method, json_t *take_parameters, Outcome *outcome) {
    return rpc_call(
        pair->caller.connection, method, take_parameters, NULL, 0, outcome_reply, outcome_progress, outcome);
}

static RpcRequest *held(const Pair *pair, guint index) {
    return g_ptr_array_index(pair->server.requests, index);
}

/* ---- hello ---- */

static void test_hello_agrees_on_version_and_features(void) {
    g_auto(Pair) pair = {0};
    pair_prepare(&pair);
    pair.caller.options.highest_version = 3;
    pair.server.options.highest_version = 2;
    pair.server.options.features = (const char *const[]){"tickets", NULL};
    pair_start(&pair);
    WAIT_FOR(pair.caller.ready && pair.server.ready);
    g_assert_cmpint(rpc_connection_version(pair.caller.connection), ==, 2);
    g_assert_cmpint(rpc_connection_version(pair.server.connection), ==, 2);
    g_assert_cmpstr(rpc_connection_peer_software(pair.caller.connection), ==, "server 2");
    g_assert_true(rpc_connection_peer_has(pair.caller.connection, "tickets"));
    g_assert_false(rpc_connection_peer_has(pair.server.connection, "tickets"));
}

static void test_version_mismatch_names_both_sides_to_both_sides(void) {
    g_auto(Pair) pair = {0};
    pair_prepare(&pair);
    pair.server.options.lowest_version = 2;
    pair.server.options.highest_version = 4;
    pair_start(&pair);
    g_auto(Outcome) outcome = {0};
    call(&pair, "echo", NULL, &outcome);
    WAIT_FOR(pair.caller.closed && pair.server.closed);
    g_autofree char *why = error_text(&pair.caller.why);
    g_assert_nonnull(strstr(why, "server 2 speaks protocol versions 2 to 4, caller 1 1 to 1"));
    g_assert_cmpint(pair.server.why.code, ==, ERROR_PROTOCOL);
    g_assert_cmpint(pair.caller.ready + pair.server.ready, ==, 0);
    g_assert_cmpint(outcome.replies, ==, 1);
    g_assert_cmpint(outcome.error.code, ==, ERROR_UNREACHABLE);
}

static void test_what_the_acceptor_sends_early_waits_for_its_hello(void) {
    g_auto(Pair) pair = {0};
    pair_prepare(&pair);
    pair_start(&pair);
    g_auto(Outcome) outcome = {0};
    rpc_call(pair.server.connection, "echo", NULL, NULL, 0, outcome_reply, NULL, &outcome);
    g_assert_true(rpc_event(pair.server.connection, "early", json_integer(1), NULL));
    WAIT_FOR(outcome.replies == 1);
    g_assert_false(error_is_set(&outcome.error));
    g_assert_cmpstr(pair.caller.log->str, ==, "event early 1;");
}

static void test_silent_stranger_is_dropped(void) {
    g_auto(Pair) pair = {0};
    pair_prepare(&pair);
    RpcStream *a = NULL, *b = NULL;
    g_assert_true(rpc_stream_pair(&a, &b, NULL));
    side_start(&pair.server, b, RPC_ACCEPTOR);
    fake_clock_advance(&pair.clock, 9999 * NS_PER_MS);
    rpc_connection_check_time(pair.server.connection);
    g_assert_cmpint(pair.server.closed, ==, 0);
    fake_clock_advance(&pair.clock, NS_PER_MS);
    rpc_connection_check_time(pair.server.connection);
    g_assert_cmpint(pair.server.closed, ==, 1);
    g_assert_nonnull(strstr(pair.server.why.message, "no hello"));
    rpc_stream_free(a);
}

/* ---- calls ---- */

static void test_call_returns_the_result(void) {
    g_auto(Pair) pair = {0};
    pair_init(&pair);
    g_auto(Outcome) outcome = {0};
    call(&pair, "echo", json_pack("{s:i}", "a", 7), &outcome);
    g_assert_cmpint(outcome.replies, ==, 0);
    WAIT_FOR(outcome.replies == 1);
    g_assert_cmpint(json_integer_value(json_object_get(outcome.result, "a")), ==, 7);
}

static void test_both_sides_may_call(void) {
    g_auto(Pair) pair = {0};
    pair_init(&pair);
    g_auto(Outcome) there = {0};
    g_auto(Outcome) back = {0};
    call(&pair, "echo", NULL, &there);
    rpc_call(pair.server.connection, "echo", NULL, NULL, 0, outcome_reply, NULL, &back);
    WAIT_FOR(there.replies == 1 && back.replies == 1);
    g_assert_nonnull(there.result);
    g_assert_nonnull(back.result);
}

static void test_failures_keep_code_and_field(void) {
    static const struct {
        const char *method;
        ErrorCode code;
    } cases[] = {{"refuse", ERROR_NO_CAPACITY}, {"forget", ERROR_INTERNAL}, {"none.such", ERROR_NOT_FOUND}};
    g_auto(Pair) pair = {0};
    pair_init(&pair);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Outcome) outcome = {0};
        call(&pair, cases[i].method, NULL, &outcome);
        WAIT_FOR(outcome.replies == 1);
        g_assert_cmpint(outcome.error.code, ==, cases[i].code);
        if (cases[i].code == ERROR_NO_CAPACITY)
            g_assert_cmpstr(outcome.error.field, ==, "/memory");
    }
}

static void test_context_arrives_whole(void) {
    g_auto(Pair) pair = {0};
    pair_init(&pair);
    const RpcClaim claims[] = {{"vm-1", 4}, {"disk-2", INT64_C(1) << 52}};
    const RpcContext sent = {.owner = "m1", .epoch = 3, .operation = "op", .claims = claims, .n_claims = 2};
    g_auto(Outcome) outcome = {0};
    rpc_call(pair.caller.connection, "hold", NULL, &sent, 5000, outcome_reply, NULL, &outcome);
    WAIT_FOR(pair.server.requests->len == 1);
    const RpcContext *got = rpc_request_context(held(&pair, 0));
    g_assert_cmpstr(got->owner, ==, "m1");
    g_assert_cmpint(got->epoch, ==, 3);
    g_assert_cmpstr(got->operation, ==, "op");
    g_assert_cmpuint(got->n_claims, ==, 2);
    g_assert_cmpstr(got->claims[1].object, ==, "disk-2");
    g_assert_cmpint(got->claims[1].revision, ==, INT64_C(1) << 52);
    g_assert_cmpint(rpc_request_deadline_ns(held(&pair, 0)), ==, 5 * NS_PER_S);
    rpc_reply(held(&pair, 0), NULL);
    WAIT_FOR(outcome.replies == 1);
}

static void test_progress_comes_in_order_before_the_reply(void) {
    g_auto(Pair) pair = {0};
    pair_init(&pair);
    g_auto(Outcome) outcome = {.log = g_string_new(NULL)};
    call(&pair, "hold", NULL, &outcome);
    WAIT_FOR(pair.server.requests->len == 1);
    for (int i = 1; i <= 3; i++)
        rpc_progress(held(&pair, 0), json_integer(i));
    rpc_reply(held(&pair, 0), NULL);
    rpc_progress(held(&pair, 0), json_integer(4)); /* too late: goes nowhere */
    WAIT_FOR(outcome.replies == 1);
    settle();
    g_assert_cmpstr(outcome.log->str, ==, "progress 1;progress 2;progress 3;result");
}

static void count_cancel(void *data) {
    ++*(int *)data;
}

static void test_cancel_reaches_the_handler_once_and_it_has_the_last_word(void) {
    g_auto(Pair) pair = {0};
    pair_init(&pair);
    g_auto(Outcome) outcome = {0};
    int cancels = 0;
    int64_t id = call(&pair, "hold", NULL, &outcome);
    WAIT_FOR(pair.server.requests->len == 1);
    RpcRequest *request = held(&pair, 0);
    rpc_request_on_cancel(request, count_cancel, &cancels);
    rpc_cancel(pair.caller.connection, id);
    rpc_cancel(pair.caller.connection, id);
    WAIT_FOR(cancels > 0);
    settle();
    g_assert_cmpint(cancels, ==, 1);
    g_assert_true(rpc_request_is_cancelled(request));
    g_assert_cmpint(outcome.replies, ==, 0);
    rpc_reply(request, NULL);
    WAIT_FOR(outcome.replies == 1);
    g_assert_false(error_is_set(&outcome.error));
    rpc_cancel(pair.caller.connection, id);
    settle();
    g_assert_cmpint(pair.server.closed, ==, 0);
}

static void test_cancel_before_registering_is_not_missed(void) {
    g_auto(Pair) pair = {0};
    pair_init(&pair);
    g_auto(Outcome) outcome = {0};
    int cancels = 0;
    rpc_cancel(pair.caller.connection, call(&pair, "hold", NULL, &outcome));
    WAIT_FOR(pair.server.requests->len == 1 && rpc_request_is_cancelled(held(&pair, 0)));
    rpc_request_on_cancel(held(&pair, 0), count_cancel, &cancels);
    g_assert_cmpint(cancels, ==, 1);
    rpc_reply(held(&pair, 0), NULL);
    WAIT_FOR(outcome.replies == 1);
}

static void test_deadline_ends_the_call_and_cancels_it(void) {
    g_auto(Pair) pair = {0};
    pair_init(&pair);
    g_auto(Outcome) outcome = {0};
    rpc_call(pair.caller.connection, "hold", NULL, NULL, 100, outcome_reply, NULL, &outcome);
    WAIT_FOR(pair.server.requests->len == 1);
    fake_clock_advance(&pair.clock, 99 * NS_PER_MS);
    rpc_connection_check_time(pair.caller.connection);
    g_assert_cmpint(outcome.replies, ==, 0);
    fake_clock_advance(&pair.clock, NS_PER_MS);
    rpc_connection_check_time(pair.caller.connection);
    g_assert_cmpint(outcome.error.code, ==, ERROR_TIMED_OUT);
    WAIT_FOR(rpc_request_is_cancelled(held(&pair, 0)));
    rpc_reply(held(&pair, 0), NULL); /* the late answer is dropped */
    settle();
    g_assert_cmpint(outcome.replies, ==, 1);
    g_assert_true(rpc_connection_is_open(pair.caller.connection));
}

static void test_deadline_fires_by_itself_on_the_system_clock(void) {
    g_auto(Pair) pair = {0};
    pair_prepare(&pair);
    pair.caller.options.clock = NULL;
    pair_start(&pair);
    g_auto(Outcome) outcome = {0};
    rpc_call(pair.caller.connection, "hold", NULL, NULL, 20, outcome_reply, NULL, &outcome);
    WAIT_FOR(outcome.replies == 1);
    g_assert_cmpint(outcome.error.code, ==, ERROR_TIMED_OUT);
}

static void test_oversize_parameters_and_results_fail_alone(void) {
    g_auto(Pair) pair = {0};
    pair_init(&pair);
    g_autofree char *text = g_strnfill(RPC_MAX_FRAME, 'a');
    g_auto(Outcome) outgoing = {0};
    call(&pair, "echo", json_pack("{s:s}", "a", text), &outgoing);
    g_assert_cmpint(outgoing.replies, ==, 0);
    WAIT_FOR(outgoing.replies == 1);
    g_assert_cmpint(outgoing.error.code, ==, ERROR_TOO_LARGE);
    g_auto(Outcome) incoming = {0};
    call(&pair, "hold", NULL, &incoming);
    WAIT_FOR(pair.server.requests->len == 1);
    rpc_reply(held(&pair, 0), json_pack("{s:s}", "a", text));
    WAIT_FOR(incoming.replies == 1);
    g_assert_cmpint(incoming.error.code, ==, ERROR_TOO_LARGE);
    g_assert_true(rpc_connection_is_open(pair.caller.connection));
}

static void test_too_many_calls_at_once_are_busy(void) {
    g_auto(Pair) pair = {0};
    pair_prepare(&pair);
    pair.server.options.max_requests = 2;
    pair_start(&pair);
    g_auto(Outcome) first = {0};
    g_auto(Outcome) second = {0};
    g_auto(Outcome) third = {0};
    call(&pair, "hold", NULL, &first);
    call(&pair, "hold", NULL, &second);
    call(&pair, "hold", NULL, &third);
    WAIT_FOR(third.replies == 1);
    g_assert_cmpint(third.error.code, ==, ERROR_BUSY);
    rpc_reply(held(&pair, 0), NULL);
    g_auto(Outcome) fourth = {0};
    call(&pair, "echo", NULL, &fourth);
    WAIT_FOR(fourth.replies == 1);
    g_assert_nonnull(fourth.result);
    rpc_reply(held(&pair, 1), NULL);
    WAIT_FOR(second.replies == 1);
}

/* ---- loss ---- */

static void test_lost_connection_ends_every_call_exactly_once(void) {
    g_auto(Pair) pair = {0};
    pair_init(&pair);
    Outcome outcomes[50] = {0};
    for (size_t i = 0; i < G_N_ELEMENTS(outcomes); i++)
        call(&pair, "hold", NULL, &outcomes[i]);
    WAIT_FOR(pair.server.requests->len == G_N_ELEMENTS(outcomes));
    rpc_reply(held(&pair, 0), NULL);
    WAIT_FOR(outcomes[0].replies == 1);
    g_clear_pointer(&pair.server.connection, rpc_connection_free);
    WAIT_FOR(pair.caller.closed);
    g_assert_null(rpc_request_connection(held(&pair, 1)));
    rpc_progress(held(&pair, 1), json_integer(1));
    rpc_reply(held(&pair, 1), NULL); /* harmless */
    settle();
    g_assert_false(error_is_set(&outcomes[0].error));
    for (size_t i = 0; i < G_N_ELEMENTS(outcomes); i++) {
        g_assert_cmpint(outcomes[i].replies, ==, 1);
        g_assert_cmpint(outcomes[i].error.code, ==, i == 0 ? ERROR_NONE : ERROR_UNREACHABLE);
        outcome_clear(&outcomes[i]);
    }
    g_assert_cmpint(pair.caller.closed, ==, 1);
}

static void test_call_on_a_closed_connection_fails_later(void) {
    g_auto(Pair) pair = {0};
    pair_init(&pair);
    g_clear_pointer(&pair.server.connection, rpc_connection_free);
    WAIT_FOR(pair.caller.closed);
    g_auto(Outcome) outcome = {0};
    call(&pair, "echo", NULL, &outcome);
    g_assert_cmpint(outcome.replies, ==, 0);
    WAIT_FOR(outcome.replies == 1);
    g_assert_cmpint(outcome.error.code, ==, ERROR_UNREACHABLE);
    g_auto(Outcome) freed = {0};
    call(&pair, "echo", NULL, &freed);
    g_clear_pointer(&pair.caller.connection, rpc_connection_free);
    g_assert_cmpint(freed.replies, ==, 1);
}

static void free_in_reply(const json_t *result G_GNUC_UNUSED, const Error *error, void *data) {
    Side *side = data;
    g_string_append(side->log, error ? "failed;" : "replied;");
    g_clear_pointer(&side->connection, rpc_connection_free);
}

static void test_connection_may_be_freed_inside_a_reply(void) {
    g_auto(Pair) pair = {0};
    pair_init(&pair);
    rpc_call(pair.caller.connection, "echo", NULL, NULL, 0, free_in_reply, NULL, &pair.caller);
    rpc_call(pair.caller.connection, "echo", NULL, NULL, 0, free_in_reply, NULL, &pair.caller);
    WAIT_FOR(!pair.caller.connection);
    settle();
    g_assert_cmpstr(pair.caller.log->str, ==, "replied;failed;");
}

static void test_connection_may_be_freed_inside_a_reply_of_its_own_end(void) {
    g_auto(Pair) pair = {0};
    pair_init(&pair);
    rpc_call(pair.caller.connection, "hold", NULL, NULL, 0, free_in_reply, NULL, &pair.caller);
    WAIT_FOR(pair.server.requests->len == 1);
    g_clear_pointer(&pair.server.connection, rpc_connection_free);
    WAIT_FOR(!pair.caller.connection);
    settle();
    g_assert_cmpstr(pair.caller.log->str, ==, "failed;");
    g_assert_cmpint(pair.caller.closed, ==, 0);
}

/* ---- limits and time ---- */

static void test_slow_reader_is_dropped(void) {
    g_auto(Pair) pair = {0};
    pair_prepare(&pair);
    pair.server.options.max_queued_bytes = 1024 * 1024;
    RpcStream *stranger = NULL, *b = NULL;
    g_assert_true(rpc_stream_pair(&stranger, &b, NULL));
    side_start(&pair.server, b, RPC_ACCEPTOR);
    g_autofree char *text = g_strnfill(100000, 'a');
    for (int i = 0; i < 100 && !pair.server.closed; i++) {
        g_assert_true(rpc_connection_queued_bytes(pair.server.connection) < 1024 * 1024 + 101000);
        rpc_event(pair.server.connection, "big", json_string(text), NULL);
        settle();
    }
    g_assert_cmpint(pair.server.closed, ==, 1);
    g_assert_nonnull(strstr(pair.server.why.message, "does not read"));
    rpc_stream_free(stranger);
}

static void test_slow_reader_gets_only_the_newest_progress(void) {
    g_auto(Pair) pair = {0};
    pair_init(&pair);
    g_auto(Outcome) outcome = {.log = g_string_new(NULL)};
    call(&pair, "hold", NULL, &outcome);
    WAIT_FOR(pair.server.requests->len == 1);
    g_autofree char *text = g_strnfill(900000, 'a');
    rpc_event(pair.server.connection, "big", json_string(text), NULL);
    for (int i = 1; i <= 1000; i++)
        rpc_progress(held(&pair, 0), json_integer(i));
    WAIT_FOR(outcome.log->len > 0);
    settle();
    g_assert_cmpstr(outcome.log->str, ==, "progress 1000;");
    rpc_reply(held(&pair, 0), NULL);
    WAIT_FOR(outcome.replies == 1);
}

static void test_reply_overtakes_the_progress_that_was_held_back(void) {
    g_auto(Pair) pair = {0};
    pair_init(&pair);
    g_auto(Outcome) outcome = {.log = g_string_new(NULL)};
    call(&pair, "hold", NULL, &outcome);
    WAIT_FOR(pair.server.requests->len == 1);
    g_autofree char *text = g_strnfill(900000, 'a');
    rpc_event(pair.server.connection, "big", json_string(text), NULL);
    rpc_progress(held(&pair, 0), json_integer(1));
    rpc_reply(held(&pair, 0), NULL);
    g_ptr_array_set_size(pair.server.requests, 0);
    WAIT_FOR(outcome.replies == 1);
    settle();
    g_assert_cmpstr(outcome.log->str, ==, "result");
    g_assert_cmpint(pair.caller.closed, ==, 0);
}

static void test_ping_keeps_a_quiet_connection(void) {
    g_auto(Pair) pair = {0};
    pair_init(&pair);
    for (int i = 0; i < 20; i++) {
        fake_clock_advance(&pair.clock, 10 * NS_PER_S);
        rpc_connection_check_time(pair.caller.connection);
        settle();
        rpc_connection_check_time(pair.server.connection);
        settle();
    }
    g_assert_cmpint(pair.caller.closed + pair.server.closed, ==, 0);
}

static void test_silence_ends_the_connection(void) {
    g_auto(Pair) pair = {0};
    pair_init(&pair);
    g_auto(Outcome) outcome = {0};
    call(&pair, "hold", NULL, &outcome);
    settle();
    fake_clock_advance(&pair.clock, 30 * NS_PER_S - 1);
    rpc_connection_check_time(pair.caller.connection);
    g_assert_cmpint(pair.caller.closed, ==, 0);
    fake_clock_advance(&pair.clock, 1);
    rpc_connection_check_time(pair.caller.connection);
    g_assert_cmpint(pair.caller.closed, ==, 1);
    g_assert_nonnull(strstr(pair.caller.why.message, "silent"));
    g_assert_cmpint(outcome.error.code, ==, ERROR_UNREACHABLE);
}

/* ---- what strangers send ---- */

typedef struct Raw {
    Side server;
    RpcStream *stream;
} Raw;

static void raw_init(Raw *raw) {
    RpcStream *b = NULL;
    side_init(&raw->server, "server 2");
    g_assert_true(rpc_stream_pair(&raw->stream, &b, NULL));
    side_start(&raw->server, b, RPC_ACCEPTOR);
}

static void raw_clear(Raw *raw) {
    g_clear_pointer(&raw->stream, rpc_stream_free);
    settle();
    side_clear(&raw->server);
    settle();
}

static void raw_send(Raw *raw, const void *data, size_t length) {
    size_t n = 0;
    rpc_stream_write(raw->stream, data, length, &n, NULL);
}

static void append_text_frame(GByteArray *bytes, const char *text) {
    size_t length = strlen(text);
    const uint8_t header[RPC_FRAME_HEADER] = {
        0, (uint8_t)(length >> 16), (uint8_t)(length >> 8), (uint8_t)length};
    g_byte_array_append(bytes, header, sizeof header);
    g_byte_array_append(bytes, (const guint8 *)text, (guint)length);
}

static const char *const hello_text =
    "{\"type\":\"hello\",\"protocol\":{\"lowest\":1,\"highest\":1},\"software\":\"x 1\",\"features\":[]}";

static GByteArray *valid_conversation(void) {
    static const char *const texts[] = {
        "{\"type\":\"call\",\"id\":1,\"method\":\"echo\",\"parameters\":{\"a\":[1,2,{\"b\":null}]},"
        "\"deadline_ms\":10,"
        "\"context\":{\"owner\":\"o\",\"epoch\":1,\"operation\":\"x\",\"claims\":[{\"object\":\"v\","
        "\"revision\":2}]}}",
        "{\"type\":\"call\",\"id\":2,\"method\":\"hold\"}",
        "{\"type\":\"cancel\",\"id\":2}",
        "{\"type\":\"event\",\"event\":\"e\",\"data\":{}}",
        "{\"type\":\"ping\"}",
        "{\"type\":\"pong\"}",
        "{\"type\":\"reply\",\"id\":1,\"error\":{\"code\":\"io\",\"detail\":\"m\",\"cause\":{\"code\":"
        "\"io\","
        "\"detail\":\"n\"}}}",
        "{\"type\":\"progress\",\"id\":1,\"progress\":{\"percent\":4}}",
    };
    GByteArray *bytes = g_byte_array_new();
    append_text_frame(bytes, hello_text);
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
        append_text_frame(bytes, texts[i]);
    return bytes;
}

static void test_conversation_survives_single_bytes(void) {
    g_autoptr(GByteArray) bytes = valid_conversation();
    Raw raw;
    raw_init(&raw);
    rpc_call(raw.server.connection, "m", NULL, NULL, 0, NULL, NULL,
        NULL); /* so that the reply above has its call */
    for (guint i = 0; i < bytes->len; i++) {
        raw_send(&raw, bytes->data + i, 1);
        settle();
    }
    g_assert_cmpint(raw.server.closed, ==, 0);
    g_assert_cmpint(raw.server.requests->len, ==, 1);
    g_assert_true(rpc_request_is_cancelled(g_ptr_array_index(raw.server.requests, 0)));
    g_assert_cmpstr(raw.server.log->str, ==, "event e 0;");
    raw_clear(&raw);
}

static void test_protocol_errors_close_with_a_reason(void) {
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"{\"type\":\"hello\"}", "unknown type"},
        {"{\"type\":\"dance\"}", "unknown type"},
        {"{\"kind\":1}", "no type"},
        {"{\"type\":\"call\",\"id\":0,\"method\":\"echo\"}", "call id"},
        {"{\"type\":\"call\",\"id\":1}", "no method"},
        {"{\"type\":\"reply\",\"id\":9,\"result\":{}}", "never made"},
        {"{\"type\":\"reply\",\"id\":1}", "never made"},
        {"{\"type\":\"event\"}", "no name"},
        {"[]", "not a JSON object"},
        {"{", "not JSON"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        Raw raw;
        raw_init(&raw);
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        append_text_frame(bytes, hello_text);
        append_text_frame(bytes, cases[i].text);
        raw_send(&raw, bytes->data, bytes->len);
        WAIT_FOR(raw.server.closed);
        g_assert_cmpint(raw.server.why.code, ==, ERROR_PROTOCOL);
        g_assert_nonnull(strstr(raw.server.why.message, cases[i].why));
        raw_clear(&raw);
    }
}

static void test_bad_context_fails_the_call_only(void) {
    g_auto(Pair) pair = {0};
    pair_init(&pair);
    const RpcClaim claims[] = {{"v", 1}, {"", 2}};
    const RpcContext context = {.claims = claims, .n_claims = 2};
    g_auto(Outcome) outcome = {0};
    rpc_call(pair.caller.connection, "echo", NULL, &context, 0, outcome_reply, NULL, &outcome);
    WAIT_FOR(outcome.replies == 1);
    g_assert_cmpint(outcome.error.code, ==, ERROR_INVALID);
    g_assert_cmpstr(outcome.error.field, ==, "/context/claims/1");
    g_assert_cmpint(pair.server.closed, ==, 0);
}

static void test_mutated_conversations_never_crash(void) {
    g_autoptr(GByteArray) valid = valid_conversation();
    const uint32_t seed = 20260501;
    g_autoptr(GRand) random = g_rand_new_with_seed(seed);
    int refused = 0;
    for (int round = 0; round < 5000; round++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        g_byte_array_append(bytes, valid->data, valid->len);
        for (int n = g_rand_int_range(random, 1, 6); n > 0; n--)
            bytes->data[g_rand_int_range(random, 0, (int)bytes->len)] = (uint8_t)g_rand_int(random);
        if (g_rand_boolean(random))
            g_byte_array_set_size(bytes, (guint)g_rand_int_range(random, 0, (int)bytes->len));
        Raw raw;
        raw_init(&raw);
        raw_send(&raw, bytes->data, bytes->len);
        settle();
        refused += raw.server.closed;
        raw_clear(&raw);
    }
    g_test_message("seed %u: %d of 5000 refused", seed, refused);
    g_assert_cmpint(refused, >, 1000);
}

/* ---- how fast ---- */

static void count_reply(const json_t *result, const Error *error G_GNUC_UNUSED, void *data) {
    g_assert_nonnull(result);
    ++*(int *)data;
}

static void test_ten_thousand_calls(void) {
    g_auto(Pair) pair = {0};
    pair_init(&pair);
    int replies = 0;
    int64_t start_us = g_get_monotonic_time();
    for (int sent = 0; replies < 10000;) {
        for (; sent < 10000 && sent - replies < 64; sent++)
            rpc_call(pair.caller.connection, "echo", json_pack("{s:i}", "n", sent), NULL, 60000, count_reply,
                NULL, &replies);
        g_main_context_iteration(NULL, TRUE);
    }
    double seconds = (double)(g_get_monotonic_time() - start_us) / 1e6;
    g_test_message("10000 calls, 64 at once, both ends in one thread: %.0f calls/s", 10000 / seconds);
    replies = 0;
    start_us = g_get_monotonic_time();
    for (int i = 1; i <= 1000; i++) {
        rpc_call(pair.caller.connection, "echo", NULL, NULL, 0, count_reply, NULL, &replies);
        WAIT_FOR(replies == i);
    }
    g_test_message("1000 calls one by one: %.0f us each", (double)(g_get_monotonic_time() - start_us) / 1000);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    static const struct {
        const char *path;
        void (*run)(void);
    } tests[] = {
        {"hello/agrees", test_hello_agrees_on_version_and_features},
        {"hello/mismatch", test_version_mismatch_names_both_sides_to_both_sides},
        {"hello/early", test_what_the_acceptor_sends_early_waits_for_its_hello},
        {"hello/silent-stranger", test_silent_stranger_is_dropped},
        {"call/result", test_call_returns_the_result},
        {"call/both-ways", test_both_sides_may_call},
        {"call/failures", test_failures_keep_code_and_field},
        {"call/context", test_context_arrives_whole},
        {"call/bad-context", test_bad_context_fails_the_call_only},
        {"call/progress", test_progress_comes_in_order_before_the_reply},
        {"call/cancel", test_cancel_reaches_the_handler_once_and_it_has_the_last_word},
        {"call/early-cancel", test_cancel_before_registering_is_not_missed},
        {"call/deadline", test_deadline_ends_the_call_and_cancels_it},
        {"call/deadline-timer", test_deadline_fires_by_itself_on_the_system_clock},
        {"call/oversize", test_oversize_parameters_and_results_fail_alone},
        {"call/busy", test_too_many_calls_at_once_are_busy},
        {"loss/all-calls-end", test_lost_connection_ends_every_call_exactly_once},
        {"loss/call-when-closed", test_call_on_a_closed_connection_fails_later},
        {"loss/freed-in-reply", test_connection_may_be_freed_inside_a_reply},
        {"loss/freed-in-end", test_connection_may_be_freed_inside_a_reply_of_its_own_end},
        {"limit/slow-reader", test_slow_reader_is_dropped},
        {"limit/slow-progress", test_slow_reader_gets_only_the_newest_progress},
        {"limit/reply-before-progress", test_reply_overtakes_the_progress_that_was_held_back},
        {"time/ping", test_ping_keeps_a_quiet_connection},
        {"time/silence", test_silence_ends_the_connection},
        {"bytes/single", test_conversation_survives_single_bytes},
        {"bytes/protocol-errors", test_protocol_errors_close_with_a_reason},
        {"bytes/mutations", test_mutated_conversations_never_crash},
        {"speed", test_ten_thousand_calls},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strconcat("/rpc-connection/", tests[i].path, NULL);
        g_test_add_func(path, tests[i].run);
    }
    return g_test_run();
}
