/* Proves the frame reader and the errors on the wire, without any connection. */
#include <jansson.h>
#include <string.h>
#include "rpc/rpc-frame.h"

static void add_frame(GByteArray *bytes, const char *text, size_t length) {
    const uint8_t header[RPC_FRAME_HEADER] = {
        (uint8_t)(length >> 24), (uint8_t)(length >> 16), (uint8_t)(length >> 8), (uint8_t)length};
    g_byte_array_append(bytes, header, sizeof header);
    g_byte_array_append(bytes, (const guint8 *)text, (guint)length);
}

static void assert_refused(const char *text, size_t length, const char *why) {
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    add_frame(bytes, text, length);
    g_autoptr(RpcFrameReader) reader = rpc_frame_reader_new();
    rpc_frame_reader_add(reader, bytes->data, bytes->len);
    g_auto(Error) err = {0};
    json_t *message = NULL;
    g_assert_false(rpc_frame_reader_next(reader, &message, &err));
    g_assert_cmpint(err.code, ==, ERROR_PROTOCOL);
    g_assert_nonnull(strstr(err.message, why));
}

static void test_frames_come_out_of_single_bytes(void) {
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    add_frame(bytes, "{\"n\":1}", 7);
    add_frame(bytes, "{\"n\":2}", 7);
    g_autoptr(RpcFrameReader) reader = rpc_frame_reader_new();
    int found = 0;
    for (guint i = 0; i < bytes->len; i++) {
        rpc_frame_reader_add(reader, bytes->data + i, 1);
        json_t *message = NULL;
        g_assert_true(rpc_frame_reader_next(reader, &message, NULL));
        if (message)
            g_assert_cmpint(json_integer_value(json_object_get(message, "n")), ==, ++found);
        json_decref(message);
    }
    g_assert_cmpint(found, ==, 2);
}

static void test_frames_that_came_together_come_out_one_by_one(void) {
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    for (int i = 0; i < 1000; i++) {
        json_t *message = json_pack("{s:i}", "n", i);
        g_assert_true(rpc_frame_append(bytes, message, NULL));
        json_decref(message);
    }
    g_byte_array_append(bytes, (const guint8 *)"rest", 4);
    g_autoptr(RpcFrameReader) reader = rpc_frame_reader_new();
    rpc_frame_reader_add(reader, bytes->data, bytes->len);
    for (int i = 0; i < 1000; i++) {
        json_t *message = NULL;
        g_assert_true(rpc_frame_reader_next(reader, &message, NULL));
        g_assert_cmpint(json_integer_value(json_object_get(message, "n")), ==, i);
        json_decref(message);
    }
    size_t length = 0;
    const char *rest = rpc_frame_reader_rest(reader, &length);
    g_assert_cmpuint(length, ==, 4);
    g_assert_true(memcmp(rest, "rest", 4) == 0);
}

static void test_length_zero_and_oversize_are_refused_by_the_header_alone(void) {
    const uint8_t headers[][RPC_FRAME_HEADER] = {{0, 0, 0, 0}, {0, 0x10, 0, 1}, {0xff, 0xff, 0xff, 0xff}};
    for (size_t i = 0; i < G_N_ELEMENTS(headers); i++) {
        g_autoptr(RpcFrameReader) reader = rpc_frame_reader_new();
        rpc_frame_reader_add(reader, headers[i], RPC_FRAME_HEADER);
        g_auto(Error) err = {0};
        json_t *message = NULL;
        g_assert_false(rpc_frame_reader_next(reader, &message, &err));
        g_assert_cmpint(err.code, ==, ERROR_PROTOCOL);
    }
}

static void test_what_is_no_single_object_is_refused(void) {
    assert_refused("[1]", 3, "not a JSON object");
    assert_refused("{\"a\":1", 6, "not JSON");
    assert_refused("{\"a\":1}x", 8, "not JSON");
    assert_refused("{\"a\":1,\"a\":2}", 13, "not JSON");
    assert_refused("{\"a\":\"\xff\"}", 9, "not JSON");
    assert_refused("{\"a\":\"\0\"}", 9, "not JSON");
    assert_refused("{\"a\":99999999999999999999}", 26, "not JSON");
}

static void test_nesting_is_bounded_before_the_parser_sees_it(void) {
    g_autoptr(GString) text = g_string_new("{\"a\":");
    for (int i = 0; i < RPC_MAX_NESTING; i++)
        g_string_append_c(text, '[');
    assert_refused(text->str, text->len, "nests deeper");
    /* Brackets inside strings do not count. */
    g_autoptr(GString) quoted = g_string_new("{\"a\":\"\\\"");
    for (int i = 0; i < 200; i++)
        g_string_append_c(quoted, '[');
    g_string_append(quoted, "\"}");
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    add_frame(bytes, quoted->str, quoted->len);
    g_autoptr(RpcFrameReader) reader = rpc_frame_reader_new();
    rpc_frame_reader_add(reader, bytes->data, bytes->len);
    json_t *message = NULL;
    g_assert_true(rpc_frame_reader_next(reader, &message, NULL));
    g_assert_nonnull(message);
    json_decref(message);
}

static void test_appending_too_much_leaves_the_output_as_it_was(void) {
    g_autoptr(GByteArray) output = g_byte_array_new();
    g_byte_array_append(output, (const guint8 *)"x", 1);
    g_autofree char *text = g_malloc(RPC_MAX_FRAME + 1);
    memset(text, 'a', RPC_MAX_FRAME);
    text[RPC_MAX_FRAME] = '\0';
    json_t *message = json_pack("{s:s}", "a", text);
    g_auto(Error) err = {0};
    g_assert_false(rpc_frame_append(output, message, &err));
    g_assert_cmpint(err.code, ==, ERROR_TOO_LARGE);
    g_assert_cmpint(output->len, ==, 1);
    json_decref(message);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rpc-frame/single-bytes", test_frames_come_out_of_single_bytes);
    g_test_add_func("/rpc-frame/coalesced", test_frames_that_came_together_come_out_one_by_one);
    g_test_add_func("/rpc-frame/length", test_length_zero_and_oversize_are_refused_by_the_header_alone);
    g_test_add_func("/rpc-frame/no-object", test_what_is_no_single_object_is_refused);
    g_test_add_func("/rpc-frame/nesting", test_nesting_is_bounded_before_the_parser_sees_it);
    g_test_add_func("/rpc-frame/too-large", test_appending_too_much_leaves_the_output_as_it_was);
    return g_test_run();
}
