/* One call on a connection of its own. */
#include "agent/local-call.h"
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include "model/method.h"
#include "rpc/rpc-connection.h"

enum { SPARE_S = 60 };   /* beyond the time that is asked for */
enum { CHANGE_S = 600 }; /* what works on the VM already comes first */

typedef struct LocalCall {
    GMainLoop *loop;
    json_t *result;
    Error err;
} LocalCall;

static void replied(const json_t *result, const Error *error, void *data) {
    LocalCall *call = data;
    if (error)
        error_copy(&call->err, error);
    else
        call->result = json_deep_copy(result);
    g_main_loop_quit(call->loop);
}

static void progressed(const json_t *progress, void *data G_GNUC_UNUSED) {
    const char *phase = json_string_value(json_object_get(progress, "phase"));
    if (phase)
        g_print("%s\n", phase);
}

json_t *local_ask(
    const char *socket, AgentMethodId method, json_t *take_parameters, int64_t timeout_s, Error *err) {
    g_autoptr(json_t) owned = take_parameters;
    RpcStream *stream = rpc_stream_connect_unix(socket, err);
    if (!stream)
        return NULL;
    const RpcOptions options = {
        .software = "lodge-agent " LODGE_VERSION, .lowest_version = 1, .highest_version = 1};
    LocalCall call = {.loop = g_main_loop_new(NULL, FALSE)};
    RpcConnection *connection = rpc_connection_new(stream, RPC_INITIATOR, &options);
    rpc_call(connection, agent_methods[method].name, g_steal_pointer(&owned), NULL, timeout_s * 1000, replied,
        progressed, &call);
    g_main_loop_run(call.loop);
    rpc_connection_free(connection);
    g_main_loop_unref(call.loop);
    if (error_is_set(&call.err))
        error_move(err, &call.err);
    return call.result;
}

bool local_end_guests(const char *socket, int timeout_s, Error *err) {
    g_auto(AgentHostEnd) request = {0};
    g_auto(AgentHostEnded) ended = {0};
    if (timeout_s < 1 || timeout_s > 3600)
        return error_set(err, ERROR_INVALID, "--end-guests", "the time is 1 to 3600 seconds");
    agent_host_end_set_timeout_s(&request, timeout_s);
    g_print("stopping all VMs; the plug is pulled after %d s\n", timeout_s);
    g_autoptr(json_t) result = local_ask(socket, AGENT_METHOD_HOST_END,
        agent_host_end_encode(&request, MODEL_ENCODE_ALL), timeout_s + SPARE_S, err);
    if (!result || !agent_host_ended_decode(result, MODEL_STORED, &ended, err))
        return false;
    g_print("%d VMs stopped, %d were killed\n", (int)ended.stopped, (int)ended.killed);
    return ended.remaining == 0 ||
           error_set(err, ERROR_TIMED_OUT, NULL, "%d VMs could not be ended", (int)ended.remaining);
}

bool local_pass_on(const char *socket, const char *what, const char *parameters, Error *err) {
    g_autofree char *name = g_strconcat("local.", what, NULL);
    AgentMethodId method = agent_method_find(name);
    g_autoptr(json_t) asked =
        json_parse(parameters ? parameters : "{}", parameters ? strlen(parameters) : 2, err);
    g_auto(Error) failure = {0};
    if (!asked)
        return false;
    if (method == AGENT_METHOD_MAX || !agent_methods[method].is_root)
        return error_set(err, ERROR_INVALID, NULL, "the agent has no %s", name);
    int64_t timeout_s = json_integer_value(json_object_get(asked, "timeout_s"));
    timeout_s += method == AGENT_METHOD_LOCAL_LIST ? SPARE_S : CHANGE_S;
    json_t *result = local_ask(socket, method, json_incref(asked), timeout_s, &failure);
    g_autoptr(json_t) answer =
        result ? json_pack("{so}", "result", result) : json_pack("{so}", "error", error_to_json(&failure));
    g_autofree char *text = json_to_text(answer);
    puts(text); /* UTF-8, whatever the locale */
    return true;
}

bool local_allow_guests(const char *socket, Error *err) {
    g_autoptr(json_t) result = local_ask(socket, AGENT_METHOD_HOST_BEGIN, NULL, SPARE_S, err);
    return result != NULL;
}

bool local_release(const char *socket, const char *manager, Error *err) {
    g_autoptr(json_t) result =
        local_ask(socket, AGENT_METHOD_ENROL_RELEASE, json_pack("{ss}", "manager", manager), SPARE_S, err);
    if (!result)
        return false;
    g_print("This host is free; its VMs run on. `lodge-agent enrol` shows a code for its next manager.\n");
    return true;
}

/* Where the manager reaches it: all addresses are none that can be named. */
static void print_command(const AgentCode *code) {
    bool is_any = g_str_has_prefix(code->address, "[::]:") || g_str_has_prefix(code->address, "0.0.0.0:");
    const char *port = strrchr(code->address, ':') + 1;
    g_autofree char *address =
        is_any ? g_strdup_printf("%s:%s", g_get_host_name(), port) : g_strdup(code->address);
    g_print("On the manager:\n  lodge host add %s --address %s --code %s\n", g_get_host_name(), address,
        code->code);
}

bool local_show_code(const char *socket, Error *err) {
    g_auto(AgentCode) code = {0};
    g_autoptr(json_t) result = local_ask(socket, AGENT_METHOD_ENROL_CODE, NULL, SPARE_S, err);
    if (!result || !agent_code_decode(result, MODEL_STORED, &code, err))
        return false;
    if (!code.address)
        return error_set(err, ERROR_WRONG_STATE, NULL,
            "the agent does not listen on the network: start it with --listen, for example --listen "
            "[::]:7444");
    if (code.owner)
        g_print("This host belongs to the manager %s: the code is worth something to that one only.\n",
            code.owner);
    g_print("Code: %s (once, within %d minutes)\nKey:  %s\n", code.code, (int)code.seconds / 60, code.key);
    print_command(&code);
    return true;
}
