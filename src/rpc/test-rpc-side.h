/*
 * For the tests of this folder: one end of a connection that notes down what happens to it, and waiting with
 * a limit.
 */
#pragma once
#include <jansson.h>
#include "rpc/rpc-connection.h"

typedef struct Side {
    RpcConnection *connection;
    GString *log; /* "event tick 1;" … in the order of happening */
    int ready, closed, streams;
    Error why;           /* of on_closed */
    GPtrArray *requests; /* kept by the handler "hold" */
    RpcOptions options;  /* to be changed before side_start */
} Side;

static inline void side_on_ready(RpcConnection *connection G_GNUC_UNUSED, void *data) {
    ((Side *)data)->ready++;
}

static inline void side_on_event(
    RpcConnection *connection G_GNUC_UNUSED, const char *event, const json_t *value, void *data) {
    Side *side = data;
    g_string_append_printf(side->log, "event %s %d;", event, (int)json_integer_value(value));
}

static inline void side_on_closed(RpcConnection *connection G_GNUC_UNUSED, const Error *why, void *data) {
    Side *side = data;
    side->closed++;
    error_clear(&side->why);
    error_copy(&side->why, why);
}

static inline void side_on_stream(RpcConnection *connection G_GNUC_UNUSED, void *data) {
    ((Side *)data)->streams++;
}

static inline void side_echo(RpcRequest *take_request, void *data G_GNUC_UNUSED) {
    rpc_reply(take_request, json_deep_copy(rpc_request_parameters(take_request)));
    rpc_request_unref(take_request);
}

static inline void side_refuse(RpcRequest *take_request, void *data G_GNUC_UNUSED) {
    g_auto(Error) err = {0};
    error_set(&err, ERROR_NO_CAPACITY, "/memory", "no memory left");
    rpc_fail(take_request, &err);
    rpc_request_unref(take_request);
}

static inline void side_forget(RpcRequest *take_request, void *data G_GNUC_UNUSED) {
    rpc_request_unref(take_request);
}

static inline void side_hold(RpcRequest *take_request, void *data) {
    g_ptr_array_add(((Side *)data)->requests, take_request);
}

static inline RpcHandler side_lookup(const char *method, void *data G_GNUC_UNUSED) {
    static const struct {
        const char *method;
        RpcHandler handler;
    } table[] = {{"echo", side_echo}, {"refuse", side_refuse}, {"forget", side_forget}, {"hold", side_hold}};
    for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
        if (g_str_equal(table[i].method, method))
            return table[i].handler;
    return NULL;
}

static inline void side_init(Side *side, const char *software) {
    *side = (Side){
        .log = g_string_new(NULL),
        .requests = g_ptr_array_new_with_free_func((GDestroyNotify)rpc_request_unref),
        .options =
            {
                .lookup = side_lookup,
                .on_ready = side_on_ready,
                .on_event = side_on_event,
                .on_closed = side_on_closed,
                .on_stream = side_on_stream,
                .data = side,
                .software = software,
                .lowest_version = 1,
                .highest_version = 1,
            },
    };
}

static inline void side_start(Side *side, RpcStream *take_stream, RpcRole role) {
    side->connection = rpc_connection_new(take_stream, role, &side->options);
}

static inline void side_clear(Side *side) {
    g_clear_pointer(&side->connection, rpc_connection_free);
    g_ptr_array_unref(side->requests);
    g_string_free(side->log, TRUE);
    error_clear(&side->why);
}

static inline gboolean side_give_up(void *data) {
    *(bool *)data = true;
    return G_SOURCE_CONTINUE;
}

/* Turns the main loop until `condition` holds; aborts after 20 s. */
#define WAIT_FOR(condition)                                              \
    do {                                                                 \
        bool gave_up = false;                                            \
        guint timer = g_timeout_add_seconds(20, side_give_up, &gave_up); \
        while (!(condition) && !gave_up)                                 \
            g_main_context_iteration(NULL, TRUE);                        \
        g_source_remove(timer);                                          \
        g_assert_true(condition);                                        \
    } while (0)

/* Everything that can happen now happens. */
static inline void settle(void) {
    for (int quiet = 0; quiet < 3;)
        quiet = g_main_context_iteration(NULL, FALSE) ? 0 : quiet + 1;
}

/* How a call ended. */
typedef struct Outcome {
    int replies;
    json_t *result;
    Error error;
    GString *log; /* NULL, or where progress and the end are noted */
} Outcome;

static inline void outcome_reply(const json_t *result, const Error *error, void *data) {
    Outcome *outcome = data;
    g_assert_true(!result != !error);
    outcome->replies++;
    json_decref(outcome->result);
    outcome->result = result ? json_deep_copy(result) : NULL;
    error_clear(&outcome->error);
    if (error)
        error_copy(&outcome->error, error);
    if (outcome->log)
        g_string_append(outcome->log, error ? error_info(error->code)->name : "result");
}

static inline void outcome_progress(const json_t *progress, void *data) {
    Outcome *outcome = data;
    if (outcome->log)
        g_string_append_printf(outcome->log, "progress %d;", (int)json_integer_value(progress));
}

static inline void outcome_clear(Outcome *outcome) {
    json_decref(outcome->result);
    error_clear(&outcome->error);
    if (outcome->log)
        g_string_free(outcome->log, TRUE);
    *outcome = (Outcome){0};
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Outcome, outcome_clear)
