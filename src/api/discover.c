/*
 * Searches for hosts: rows as they are found, one JSON object a line, as the answer to the request. Who hangs
 * up ends the search. A line that begins an error ends the answer: its status was sent long before.
 */
#include <string.h>
#include "api/api-internal.h"

enum { BUFFER_BYTES = 32 << 20, MOST_SEARCHES = 4, ALIVE_S = 15 };

typedef struct Search {
    ApiCall *call; /* held */
    void *discovery;
    guint alive;
} Search;

static int n_searches; /* of this process: each has a thread and many sockets */

static void search_free(Search *search) {
    n_searches--;
    g_clear_handle_id(&search->alive, g_source_remove);
    http_request_on_gone(search->call->request, NULL, NULL);
    call_release(search->call);
    g_free(search);
}

static void write_line(Search *search, const json_t *row) {
    g_autofree char *text = json_to_text(row);
    g_autofree char *line = g_strconcat(text, "\n", NULL);
    http_stream_write(search->call->request, line, strlen(line)); /* one that reads nothing misses rows */
}

static void found(const FoundHost *row, void *data) {
    g_autoptr(json_t) json = found_host_encode(row, MODEL_ENCODE_PUBLIC);
    write_line(data, json);
}

static void ended(const Error *err, void *data) {
    Search *search = data;
    if (err) {
        g_autoptr(json_t) problem = error_to_json(err);
        g_autoptr(json_t) line = json_pack("{sO}", "error", problem);
        write_line(search, line);
    }
    call_audit(search->call, err ? error_info(err->code)->name : "ok", err ? err->message : NULL);
    http_stream_end(search->call->request);
    search_free(search);
}

static void client_gone(HttpRequest *request G_GNUC_UNUSED, void *data) {
    Search *search = data;
    search->call->api->options.end_discovery(search->discovery);
    search_free(search);
}

/* So that a client can tell a long search from a dead connection. */
static gboolean still_alive(void *data) {
    http_stream_write(((Search *)data)->call->request, "\n", 1);
    return G_SOURCE_CONTINUE;
}

void handle_host_discover(ApiCall *call) {
    const ApiOptions *options = &call->api->options;
    g_auto(Error) err = {0};
    g_auto(HostDiscover) asked = {0};
    Search *search = g_new0(Search, 1);
    search->call = call;
    if (!options->begin_discovery)
        error_set(&err, ERROR_UNSUPPORTED, NULL, "this manager looks for no hosts");
    else if (n_searches >= MOST_SEARCHES)
        error_set(
            &err, ERROR_BUSY, NULL, "%d searches are under way; try again when one has ended", MOST_SEARCHES);
    else if (call_decode_parameters(call, &err) &&
             host_discover_decode(call->parameters, MODEL_STORED, &asked, &err))
        search->discovery = options->begin_discovery(&asked, found, ended, search, options->hook_data, &err);
    if (!search->discovery) {
        g_free(search);
        call_fail(call, &err);
        return;
    }
    HttpHeader headers[] = {{"Content-Type", "application/x-ndjson"}, {"Cache-Control", "no-store"},
        {"X-Accel-Buffering", "no"}, call_request_id_header(call)};
    n_searches++;
    call_hold(call);
    http_stream_begin(call->request, 200, headers, G_N_ELEMENTS(headers), BUFFER_BYTES);
    search->alive = g_timeout_add_seconds(ALIVE_S, still_alive, search);
    http_request_on_gone(call->request, client_gone, search);
}
