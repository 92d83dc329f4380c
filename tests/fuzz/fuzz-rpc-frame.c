/*
 * The agent protocol's input: an acceptor gets a hello and then the input. An input that starts with 'R' is
 * raw bytes; of any other one each line becomes a frame of its own, so that mutations reach what stands
 * behind the framing. One that starts with 'S' comes without a hello: it may present a ticket.
 */
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "fuzz.h"
#include "rpc/rpc-connection.h"
#include "rpc/rpc-frame.h"

enum { MAX_SIZE = 65536 };

const char *const fuzz_seeds[] = {
    "{\"type\":\"call\",\"id\":1,\"method\":\"echo\",\"parameters\":{\"a\":[1,2.5,{\"b\":null}]},\"deadline_"
    "ms\":10,"
    "\"context\":{\"owner\":\"o\",\"epoch\":1,\"operation\":\"x\",\"claims\":[{\"object\":\"v\",\"revision\":"
    "2}]}}\n",
    "{\"type\":\"call\",\"id\":2,\"method\":\"forget\"}\n{\"type\":\"cancel\",\"id\":2}\n",
    "{\"type\":\"reply\",\"id\":1,\"result\":{\"a\":\"\\u00e4\"}}\n",
    "{\"type\":\"reply\",\"id\":1,\"error\":{\"code\":\"io\",\"field\":\"/"
    "a\",\"detail\":\"m\",\"cause\":{\"code\":\"x\","
    "\"detail\":\"n\"}}}\n",
    "{\"type\":\"progress\",\"id\":1,\"progress\":{\"percent\":4}}\n{\"type\":\"event\",\"event\":\"e\","
    "\"data\":{}}\n",
    "{\"type\":\"ping\"}\n{\"type\":\"pong\"}\n{\"type\":\"close\",\"error\":{\"code\":\"io\",\"detail\":"
    "\"m\"}}\n",
    "R....{\"type\":\"ping\"}",
    "S{\"type\":\"stream\",\"ticket\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}"
    "\n",
    "S{\"type\":\"stream\",\"ticket\":null}\n{\"type\":\"hello\"}\n",
    NULL,
};

static void echo(RpcRequest *take_request, void *data G_GNUC_UNUSED) {
    rpc_progress(take_request, json_integer(1));
    rpc_reply(take_request, json_deep_copy(rpc_request_parameters(take_request)));
    rpc_request_unref(take_request);
}

static void forget(RpcRequest *take_request, void *data G_GNUC_UNUSED) {
    rpc_request_unref(take_request);
}

static RpcHandler lookup(const char *method, void *data G_GNUC_UNUSED) {
    return g_str_equal(method, "echo") ? echo : g_str_equal(method, "forget") ? forget : NULL;
}

static void take_nothing(RpcStream *take_stream G_GNUC_UNUSED, const char *purpose G_GNUC_UNUSED,
    const char *object G_GNUC_UNUSED, void *data G_GNUC_UNUSED) {
    g_error("a ticket was guessed");
}

static void count_end(const json_t *result, const Error *error, void *data) {
    g_assert_true(!result != !error);
    ++*(int *)data;
}

static void append_frame(GByteArray *bytes, const uint8_t *text, size_t length) {
    const uint8_t header[RPC_FRAME_HEADER] = {
        (uint8_t)(length >> 24), (uint8_t)(length >> 16), (uint8_t)(length >> 8), (uint8_t)length};
    g_byte_array_append(bytes, header, sizeof header);
    g_byte_array_append(bytes, text, (guint)length);
}

static void append_lines(GByteArray *bytes, const uint8_t *data, size_t size) {
    for (size_t start = 0; start < size;) {
        const uint8_t *newline = memchr(data + start, '\n', size - start);
        size_t length = newline ? (size_t)(newline - (data + start)) : size - start;
        append_frame(bytes, data + start, length);
        start += length + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char hello[] = "{\"type\":\"hello\",\"protocol\":{\"lowest\":1,\"highest\":1},\"software\":"
                                "\"fuzz\",\"features\":[]}";
    size = MIN(size, MAX_SIZE);
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    const bool is_stream = size > 0 && data[0] == 'S';
    if (!is_stream)
        append_frame(bytes, (const uint8_t *)hello, sizeof hello - 1);
    if (size > 0 && data[0] == 'R')
        g_byte_array_append(bytes, data + 1, (guint)(size - 1));
    else
        append_lines(bytes, data + is_stream, size - is_stream);

    RpcStream *stranger = NULL, *stream = NULL;
    g_assert_true(rpc_stream_pair(&stranger, &stream, NULL));
    RpcTickets *tickets = rpc_tickets_new(NULL, 1);
    g_free(rpc_ticket_issue(tickets, "console", "vm", 1000, take_nothing, NULL, NULL, NULL));
    const RpcOptions options = {.lookup = lookup,
        .software = "server",
        .lowest_version = 1,
        .highest_version = 1,
        .tickets = tickets};
    RpcConnection *connection = rpc_connection_new(stream, RPC_ACCEPTOR, &options);
    int ends = 0;
    rpc_call(connection, "m", NULL, NULL, 0, count_end, NULL, &ends);
    size_t n = 0;
    rpc_stream_write(stranger, bytes->data, bytes->len, &n, NULL);
    rpc_stream_shut_write(stranger);
    for (int quiet = 0; quiet < 2;)
        quiet = g_main_context_iteration(NULL, FALSE) ? 0 : quiet + 1;
    rpc_connection_free(connection);
    g_assert_cmpint(ends, ==, 1);
    rpc_stream_free(stranger);
    rpc_tickets_free(tickets);
    return 0;
}
