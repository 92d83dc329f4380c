/* Shows server-sent events, resuming after the last one. */
#include <stdio.h>
#include <string.h>
#include "cli/output.h"
#include "cli/value.h"
#include "cli/watch.h"

enum { RECONNECT_MS = 1000, PATIENCE = 30, STALL_TIMEOUT_MS = 60000 };

typedef struct Watch {
    const MethodDescriptor *method;
    bool is_human, has_ended;
    char *last_id;
    GString *data;
    int failures; /* connections in a row that gave no event */
} Watch;

static void add_word(GString *out, const char *before, const json_t *event, const char *path) {
    const json_t *value = json_at(event, path);
    g_autofree char *text = value && !json_is_null(value) ? value_to_text(NULL, value) : NULL;
    if (text)
        g_string_append_printf(out, "%s%s", before, text);
}

/* "TIME  changed  vm web  running", "TIME  audit  vm.start web  ok  by eve": what is not known is left out.
 */
static char *event_line(const Watch *watch, const json_t *event) {
    const TypeDescriptor *type = resources[watch->method->resource].type;
    const char *object = json_text_at(event, "object"), *kind = json_text_at(event, "kind");
    bool is_audit = g_strcmp0(kind, "audit") == 0;
    g_autofree char *time = value_to_text(model_field(type, "time"), json_at(event, "time"));
    g_autofree char *noun = object ? g_strndup(object, strcspn(object, "/")) : g_strdup("");
    GString *out = g_string_new(time);
    add_word(out, "  ", event, "kind");
    if (is_audit)
        add_word(out, "  ", event, "method");
    else
        g_string_append_printf(out, "  %s", noun);
    add_word(out, " ", event, "name");
    add_word(out, "  ", event, is_audit ? "outcome" : "data.status.state");
    if (!is_audit && g_str_equal(noun, "job")) {
        add_word(out, "  ", event, "data.kind");
        add_word(out, " ", event, "data.target_name");
        add_word(out, "  ", event, "data.state");
        add_word(out, "  ", event, "data.progress.phase");
    }
    add_word(out, "  by ", event, "principal");
    add_word(out, "  ", event, "text");
    return g_string_free(out, FALSE);
}

static void show_event(Watch *watch) {
    g_autoptr(json_t) event = json_parse(watch->data->str, watch->data->len, NULL);
    watch->failures = 0;
    if (!watch->is_human) {
        printf("%s\n", watch->data->str);
    } else if (event) {
        g_autofree char *line = event_line(watch, event);
        printf("%s\n", line);
    }
    watch->has_ended = fflush(stdout) != 0;
}

static bool on_line(const char *line, void *user) {
    Watch *watch = user;
    if (g_str_has_prefix(line, "data:")) {
        g_string_append_printf(
            watch->data, "%s%s", watch->data->len ? "\n" : "", line + 5 + (line[5] == ' '));
    } else if (g_str_has_prefix(line, "id:")) {
        g_free(watch->last_id);
        watch->last_id = g_strstrip(g_strdup(line + 3));
    } else if (!*line && watch->data->len > 0) {
        show_event(watch);
        g_string_truncate(watch->data, 0);
    }
    return !watch->has_ended;
}

/* People are told of a gap and see what follows; a program must list again, so it gets the error. */
static bool skip_gap(Watch *watch, Error *failure, Error *err) {
    if (!watch->is_human || !watch->last_id || failure->code != ERROR_TOO_OLD) {
        error_move(err, failure);
        return false;
    }
    fprintf(stderr, "lodge: %s; what happened meanwhile is not shown\n", failure->message);
    g_clear_pointer(&watch->last_id, g_free);
    return true;
}

/* One connection; false when going on is no use. */
static bool watch_once(Session *session, Watch *watch, Error *err) {
    g_autofree char *last = watch->last_id ? g_strconcat("Last-Event-ID: ", watch->last_id, NULL) : NULL;
    const char *const headers[] = {"Accept: text/event-stream", last, NULL};
    const HttpClientRequest request = {.method = watch->method->http,
        .path = watch->method->path,
        .headers = headers,
        .stall_timeout_ms = STALL_TIMEOUT_MS,
        .on_line = on_line,
        .user = watch};
    g_auto(HttpResponse) response = {0};
    g_auto(Error) failure = {0};
    g_string_truncate(watch->data, 0);
    bool is_answered = http_client_perform(session_client(session), &request, &response, &failure);
    if (is_answered && response.status / 100 != 2) {
        session_answer_error(&response, &failure);
        return skip_gap(watch, &failure, err);
    }
    if (is_answered || failure.code == ERROR_PROTOCOL || (watch->last_id && ++watch->failures < PATIENCE))
        return true;
    error_move(err, &failure);
    return false;
}

bool watch_events(Session *session, const CliOptions *options, const MethodDescriptor *method, Error *err) {
    Watch watch = {.method = method, .is_human = output_is_human(options), .data = g_string_new(NULL)};
    bool goes_on = true;
    while (goes_on && !watch.has_ended) {
        goes_on = watch_once(session, &watch, err);
        if (goes_on && !watch.has_ended)
            g_usleep(RECONNECT_MS * 1000);
    }
    g_free(watch.last_id);
    g_string_free(watch.data, TRUE);
    return goes_on;
}
