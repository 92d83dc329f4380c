/*
 * Events as they happen, as server-sent events: id "EPOCH:SEQUENCE", event = the event's kind, data = the
 * event. A stream goes on behind Last-Event-ID, or ERROR_TOO_OLD asks to list again. Who reads too slowly, or
 * whose token ends, is dropped: he comes back and replays.
 */
#include "api/api-internal.h"
#include <string.h>

enum { HEARTBEAT_S = 15, BUFFER_BYTES = 1 << 20, MAX_STREAMS = 500 };

struct EventStreams {
    Api *api;
    GPtrArray *streams; /* of Stream */
    int subscription;
    guint heartbeat;
};

typedef struct Stream {
    EventStreams *owner;
    ApiCall *call; /* held */
    bool is_broken;
} Stream;

static void stream_drop(Stream *stream) {
    http_request_on_gone(stream->call->request, NULL, NULL);
    if (!http_request_is_gone(stream->call->request))
        http_stream_abort(stream->call->request);
    call_release(stream->call);
    g_free(stream);
}

static void remove_broken(EventStreams *self) {
    for (guint i = self->streams->len; i-- > 0;) {
        Stream *stream = g_ptr_array_index(self->streams, i);
        if (!stream->is_broken)
            continue;
        g_ptr_array_remove_index_fast(self->streams, i);
        stream_drop(stream);
    }
}

static char *event_text(const Event *event) {
    g_autoptr(json_t) json = event_encode(event, MODEL_ENCODE_PUBLIC);
    g_autofree char *data = json_to_text(json);
    return g_strdup_printf("id: %s:%" G_GINT64_FORMAT "\nevent: %s\ndata: %s\n\n", event->epoch,
        event->sequence, event->kind, data);
}

static void stream_write(Stream *stream, const char *text) {
    if (!stream->is_broken && !http_stream_write(stream->call->request, text, strlen(text)))
        stream->is_broken = true;
}

static void send_to_all(const Event *event, void *data) {
    EventStreams *self = data;
    if (!self->streams->len)
        return;
    g_autofree char *text = event_text(event);
    for (guint i = 0; i < self->streams->len; i++) {
        Stream *stream = g_ptr_array_index(self->streams, i);
        if (access_may_see(self->api->inventory, &stream->call->who, event))
            stream_write(stream, text);
    }
    remove_broken(self);
}

static gboolean beat(void *data) {
    EventStreams *self = data;
    for (guint i = 0; i < self->streams->len; i++) {
        Stream *stream = g_ptr_array_index(self->streams, i);
        if (!access_is_valid(self->api->inventory, self->api->clock, &stream->call->who))
            stream->is_broken = true;
        stream_write(stream, ":\n\n");
    }
    remove_broken(self);
    return G_SOURCE_CONTINUE;
}

EventStreams *event_streams_new(Api *api) {
    EventStreams *self = g_new0(EventStreams, 1);
    self->api = api;
    self->streams = g_ptr_array_new();
    self->subscription = inventory_subscribe(api->inventory, send_to_all, self);
    self->heartbeat = g_timeout_add_seconds(HEARTBEAT_S, beat, self);
    return self;
}

void event_streams_free(EventStreams *streams) {
    for (guint i = 0; i < streams->streams->len; i++)
        ((Stream *)g_ptr_array_index(streams->streams, i))->is_broken = true;
    remove_broken(streams);
    inventory_unsubscribe(streams->api->inventory, streams->subscription);
    g_source_remove(streams->heartbeat);
    g_ptr_array_unref(streams->streams);
    g_free(streams);
}

static void stream_gone(HttpRequest *request G_GNUC_UNUSED, void *data) {
    Stream *stream = data;
    g_ptr_array_remove_fast(stream->owner->streams, stream);
    call_release(stream->call);
    g_free(stream);
}

/* The answer begins only when it is known that nothing is missing: what is replayed is gathered first. */
typedef struct Replay {
    ApiCall *call;
    GString *text;
} Replay;

static void gather(const Event *event, void *data) {
    Replay *replay = data;
    if (!access_may_see(replay->call->api->inventory, &replay->call->who, event))
        return;
    g_autofree char *text = event_text(event);
    g_string_append(replay->text, text);
}

static bool replay(ApiCall *call, const char *last, GString *text, Error *err) {
    Inventory *inventory = call->api->inventory;
    const char *colon = strrchr(last, ':');
    gint64 sequence = 0;
    if (!colon || !g_ascii_string_to_signed(colon + 1, 10, 0, INT64_MAX, &sequence, NULL))
        return error_set(err, ERROR_INVALID, NULL, "Last-Event-ID: %s is no EPOCH:SEQUENCE", last);
    g_autofree char *epoch = g_strndup(last, (size_t)(colon - last));
    if (!g_str_equal(epoch, inventory_epoch(inventory)))
        return error_set(err, ERROR_TOO_OLD, NULL, "the manager was started anew since");
    return inventory_replay(inventory, sequence, gather, &(Replay){call, text}, err);
}

void handle_event_watch(ApiCall *call) {
    EventStreams *self = call->api->streams;
    g_auto(Error) err = {0};
    const char *last = http_request_header(call->request, "Last-Event-ID");
    g_autoptr(GString) text = g_string_new("retry: 2000\n: events\n\n");
    bool ok = self->streams->len < MAX_STREAMS ||
              error_set(&err, ERROR_BUSY, NULL, "too many event streams are open");
    if (!ok || (last && !replay(call, last, text, &err))) {
        call_fail(call, &err);
        return;
    }
    HttpHeader headers[] = {{"Content-Type", "text/event-stream"}, {"Cache-Control", "no-store"},
        {"X-Accel-Buffering", "no"}, call_request_id_header(call)};
    http_stream_begin(call->request, 200, headers, G_N_ELEMENTS(headers), BUFFER_BYTES + text->len);
    Stream *stream = g_new0(Stream, 1);
    stream->owner = self;
    stream->call = call;
    call_hold(call);
    g_ptr_array_add(self->streams, stream);
    http_request_on_gone(call->request, stream_gone, stream);
    stream_write(stream, text->str);
    remove_broken(self);
}
