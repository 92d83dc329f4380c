/* Length-prefixed JSON. */
#include "rpc/rpc-frame.h"
#include <jansson.h>
#include <string.h>

enum { COMPACT_ABOVE = 256 * 1024 };

struct RpcFrameReader {
    GByteArray *bytes;
    size_t consumed; /* of the front of `bytes` */
};

/* jansson's parser recurses up to 2048 levels; this looks first, without recursion. */
static bool is_nested_too_deep(const char *text, size_t length) {
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '{' || c == '['))
            depth++;
        else if (!in_string && (c == '}' || c == ']'))
            depth--;
        if (depth > RPC_MAX_NESTING)
            return true;
    }
    return false;
}

static json_t *parse_object(const char *text, size_t length, Error *err) {
    if (is_nested_too_deep(text, length)) {
        error_set(err, ERROR_PROTOCOL, NULL, "a message nests deeper than %d levels", RPC_MAX_NESTING);
        return NULL;
    }
    json_error_t problem;
    json_t *message = json_loadb(text, length, JSON_REJECT_DUPLICATES, &problem);
    if (!message) {
        error_set(err, ERROR_PROTOCOL, NULL, "a message is not JSON: %s at byte %d", problem.text,
            problem.position);
        return NULL;
    }
    if (!json_is_object(message)) {
        json_decref(message);
        error_set(err, ERROR_PROTOCOL, NULL, "a message is not a JSON object");
        return NULL;
    }
    return message;
}

static size_t read_length(const uint8_t *header) {
    return (size_t)header[0] << 24 | (size_t)header[1] << 16 | (size_t)header[2] << 8 | (size_t)header[3];
}

RpcFrameReader *rpc_frame_reader_new(void) {
    RpcFrameReader *reader = g_new0(RpcFrameReader, 1);
    reader->bytes = g_byte_array_new();
    return reader;
}

void rpc_frame_reader_free(RpcFrameReader *reader) {
    if (!reader)
        return;
    g_byte_array_unref(reader->bytes);
    g_free(reader);
}

void rpc_frame_reader_add(RpcFrameReader *reader, const void *data, size_t length) {
    g_byte_array_append(reader->bytes, data, (guint)length);
}

/* Gives memory back: after a burst the array would otherwise stay as large as the burst was. */
static void compact(RpcFrameReader *reader) {
    size_t rest = reader->bytes->len - reader->consumed;
    if (rest == 0 && reader->consumed > COMPACT_ABOVE) {
        g_byte_array_unref(reader->bytes);
        reader->bytes = g_byte_array_new();
    } else {
        g_byte_array_remove_range(reader->bytes, 0, (guint)reader->consumed);
    }
    reader->consumed = 0;
}

bool rpc_frame_reader_next(RpcFrameReader *reader, json_t **ret_message, Error *err) {
    const uint8_t *front = reader->bytes->data + reader->consumed;
    size_t available = reader->bytes->len - reader->consumed;
    size_t length = available >= RPC_FRAME_HEADER ? read_length(front) : 1;
    if (length == 0 || length > RPC_MAX_FRAME)
        return error_set(err, ERROR_PROTOCOL, NULL, "a frame announces %zu bytes; 1 to %d are allowed",
            length, RPC_MAX_FRAME);
    if (available < RPC_FRAME_HEADER + length) {
        if (reader->consumed > 0)
            compact(reader);
        *ret_message = NULL;
        return true;
    }
    json_t *message = parse_object((const char *)front + RPC_FRAME_HEADER, length, err);
    if (!message)
        return false;
    reader->consumed += RPC_FRAME_HEADER + length;
    *ret_message = message;
    return true;
}

const void *rpc_frame_reader_rest(const RpcFrameReader *reader, size_t *ret_length) {
    *ret_length = reader->bytes->len - reader->consumed;
    return reader->bytes->data + reader->consumed;
}

static int append_text(const char *text, size_t length, void *output) {
    GByteArray *bytes = output;
    g_byte_array_append(bytes, (const guint8 *)text, (guint)length);
    return 0;
}

bool rpc_frame_append(GByteArray *output, const json_t *message, Error *err) {
    static const uint8_t no_length[RPC_FRAME_HEADER] = {0};
    guint start = output->len;
    g_byte_array_append(output, no_length, sizeof no_length);
    int result = json_dump_callback(message, append_text, output, JSON_COMPACT);
    g_assert(result == 0); /* fails only for a value that holds itself */
    size_t length = output->len - start - RPC_FRAME_HEADER;
    uint8_t *header = output->data + start;
    if (length > RPC_MAX_FRAME || is_nested_too_deep((const char *)header + RPC_FRAME_HEADER, length)) {
        g_byte_array_set_size(output, start);
        return error_set(
            err, ERROR_TOO_LARGE, NULL, "a message of %zu bytes exceeds the limits of the protocol", length);
    }
    for (int i = 0; i < RPC_FRAME_HEADER; i++)
        header[i] = (uint8_t)(length >> (8 * (RPC_FRAME_HEADER - 1 - i)));
    return true;
}
