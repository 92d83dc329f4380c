/*
 * Pumps bytes between two streams in both directions from the main loop, with bounded buffers: who reads
 * slowly slows the other one down. A half-close is passed on and the
 * other direction goes on; a side that is gone altogether ends the splice. Main loop only.
 */
#pragma once
#include <stdint.h>
#include "rpc/rpc-stream.h"

typedef struct RpcSplice RpcSplice;

/* Once, when both directions have ended (`error` NULL) or one of the streams failed. The splice and its
 * streams are gone then. */
typedef void (*RpcSpliceFn)(uint64_t a_to_b_bytes, uint64_t b_to_a_bytes, const Error *error, void *data);

/* on_done (may be NULL) never comes before this returns. */
RpcSplice *rpc_splice(RpcStream *take_a, RpcStream *take_b, RpcSpliceFn on_done, void *data);
/* Ends it early without on_done; closes both streams. Accepts NULL; not after on_done. */
void rpc_splice_free(RpcSplice *splice);
/* `tap` sees each piece of what b sends once it was written to a. It must not free the splice. */
void rpc_splice_tap(
    RpcSplice *splice, void (*tap)(const uint8_t *bytes, size_t length, void *data), void *data);
/* The same with two descriptors (sockets, pipes, terminals). A terminal has no half-close: close it from
 * on_done. */
RpcSplice *rpc_splice_fds(int take_a, int take_b, RpcSpliceFn on_done, void *data);
