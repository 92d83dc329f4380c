/* Two one-way pumps that share two streams. */
#include "rpc/rpc-splice.h"
#include <string.h>

enum { BUFFER_SIZE = 64 * 1024 };

typedef struct Pump {
    RpcStream *from, *to;
    uint8_t *buffer;
    size_t start, end; /* bytes of the buffer that wait to be written */
    bool is_at_end;    /* `from` sends no more */
    bool is_finished;  /* and all of it was passed on, with the half-close */
    uint64_t bytes;
    void (*tap)(const uint8_t *bytes, size_t length, void *data); /* NULL: none */
    void *tap_data;
} Pump;

struct RpcSplice {
    RpcStream *a, *b;
    Pump forth, back;
    bool has_hung_up;
    RpcSpliceFn on_done;
    void *data;
};

/* Moves what can be moved now: one read, one write. */
static bool pump_fill(Pump *pump, Error *err) {
    if (pump->is_at_end || pump->end > 0)
        return true;
    switch (rpc_stream_read(pump->from, pump->buffer, BUFFER_SIZE, &pump->end, err)) {
    case RPC_IO_DONE:
    case RPC_IO_AGAIN:
        return true;
    case RPC_IO_END:
        pump->is_at_end = true;
        return true;
    case RPC_IO_FAILED:
        break;
    }
    return false;
}

static bool pump_drain(Pump *pump, Error *err) {
    if (pump->end > 0) {
        size_t n = 0;
        RpcIo io = rpc_stream_write(pump->to, pump->buffer + pump->start, pump->end - pump->start, &n, err);
        if (io == RPC_IO_FAILED)
            return false;
        if (pump->tap && n > 0)
            pump->tap(pump->buffer + pump->start, n, pump->tap_data);
        pump->start += n;
        pump->bytes += n;
        if (pump->start == pump->end)
            pump->start = pump->end = 0;
    }
    if (pump->is_at_end && pump->end == 0 && !pump->is_finished) {
        rpc_stream_shut_write(pump->to);
        pump->is_finished = true;
    }
    return true;
}

/* For one stream: `reader` takes from it, `writer` gives to it. */
static GIOCondition conditions(const Pump *reader, const Pump *writer) {
    GIOCondition wanted = 0;
    if (!reader->is_at_end && reader->end == 0)
        wanted |= G_IO_IN;
    if (writer->end > 0)
        wanted |= G_IO_OUT;
    if (reader->is_at_end && !writer->is_finished)
        wanted |= G_IO_HUP;
    return wanted;
}

/* The stream that `writer` gives to is gone for good: without this a quiet other side would keep the splice
 * for ever. */
static void give_up(RpcSplice *splice, Pump *writer) {
    writer->is_at_end = writer->is_finished = true;
    writer->start = writer->end = 0;
    splice->has_hung_up = true;
}

static void finish(RpcSplice *splice, const Error *error) {
    RpcSpliceFn on_done = splice->on_done;
    void *data = splice->data;
    uint64_t forth = splice->forth.bytes, back = splice->back.bytes;
    rpc_splice_free(splice);
    if (on_done)
        on_done(forth, back, error, data);
}

static void watch(RpcSplice *splice);

static void turn(RpcSplice *splice) {
    g_auto(Error) err = {0};
    Pump *pumps[] = {&splice->forth, &splice->back};
    for (size_t i = 0; i < G_N_ELEMENTS(pumps); i++) {
        if (pump_fill(pumps[i], &err) && pump_drain(pumps[i], &err))
            continue;
        finish(splice, &err);
        return;
    }
    if (!splice->forth.is_finished || !splice->back.is_finished) {
        watch(splice);
        return;
    }
    if (splice->has_hung_up)
        error_set(&err, ERROR_UNREACHABLE, NULL, "one side hung up before the other one had ended");
    finish(splice, splice->has_hung_up ? &err : NULL);
}

static void on_a_ready(GIOCondition ready, void *data) {
    RpcSplice *splice = data;
    if (ready & G_IO_HUP)
        give_up(splice, &splice->back);
    turn(splice);
}

static void on_b_ready(GIOCondition ready, void *data) {
    RpcSplice *splice = data;
    if (ready & G_IO_HUP)
        give_up(splice, &splice->forth);
    turn(splice);
}

static void watch(RpcSplice *splice) {
    rpc_stream_watch(splice->a, conditions(&splice->forth, &splice->back), on_a_ready, splice);
    rpc_stream_watch(splice->b, conditions(&splice->back, &splice->forth), on_b_ready, splice);
}

RpcSplice *rpc_splice(RpcStream *take_a, RpcStream *take_b, RpcSpliceFn on_done, void *data) {
    RpcSplice *splice = g_new0(RpcSplice, 1);
    splice->a = take_a;
    splice->b = take_b;
    splice->forth = (Pump){.from = take_a, .to = take_b, .buffer = g_malloc(BUFFER_SIZE)};
    splice->back = (Pump){.from = take_b, .to = take_a, .buffer = g_malloc(BUFFER_SIZE)};
    splice->on_done = on_done;
    splice->data = data;
    watch(splice);
    return splice;
}

void rpc_splice_tap(
    RpcSplice *splice, void (*tap)(const uint8_t *bytes, size_t length, void *data), void *data) {
    splice->back.tap = tap;
    splice->back.tap_data = data;
}

RpcSplice *rpc_splice_fds(int take_a, int take_b, RpcSpliceFn on_done, void *data) {
    return rpc_splice(rpc_stream_new_fd(take_a), rpc_stream_new_fd(take_b), on_done, data);
}

void rpc_splice_free(RpcSplice *splice) {
    if (!splice)
        return;
    rpc_stream_free(splice->a);
    rpc_stream_free(splice->b);
    g_free(splice->forth.buffer);
    g_free(splice->back.buffer);
    g_free(splice);
}
