/*
 * Frames of the agent protocol: 4 bytes of length (big-endian, 1 to 1 MiB), then one JSON object in UTF-8.
 * Duplicate keys, more than RPC_MAX_NESTING levels and anything behind the object are refused. Memory grows
 * with the bytes that came, never with the length that a peer announces. One owner, any thread.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/error.h"

typedef struct json_t json_t;

#define RPC_FRAME_HEADER 4
#define RPC_MAX_FRAME (1024 * 1024) /* bytes behind the header */
#define RPC_MAX_NESTING 64

typedef struct RpcFrameReader RpcFrameReader;
RpcFrameReader *rpc_frame_reader_new(void);
void rpc_frame_reader_free(RpcFrameReader *reader); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RpcFrameReader, rpc_frame_reader_free)

void rpc_frame_reader_add(RpcFrameReader *reader, const void *data, size_t length);
/* The next complete message (owned by the caller), NULL when more bytes are needed. False with ERROR_PROTOCOL
 * when what came is no frame: then the reader is of no further use. */
bool rpc_frame_reader_next(RpcFrameReader *reader, json_t **ret_message, Error *err);
/* What came behind the last message; valid until the next call. */
const void *rpc_frame_reader_rest(const RpcFrameReader *reader, size_t *ret_length);

/* Appends one frame to `output`. ERROR_TOO_LARGE beyond the limits, then nothing is appended. */
bool rpc_frame_append(GByteArray *output, const json_t *message, Error *err);
