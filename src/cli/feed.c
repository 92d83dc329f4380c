/* One request whose answer has a JSON object in each line. */
#include "cli/feed.h"
#include <stdio.h>
#include <string.h>
#include "cli/output.h"
#include "cli/table.h"
#include "cli/value.h"

enum { STALL_TIMEOUT_MS = 60000, GAP = 2 };

/* On a terminal lines cannot be laid out together: nobody knows what is still to come. */
static const int widths[] = {21, 13, 14};

typedef struct Feed {
    const MethodDescriptor *method;
    bool fills_table, has_titles;
    json_t *rows, *counts;
    Error err;
} Feed;

static void append_cell(GString *line, const char *text, size_t column) {
    int width = column < G_N_ELEMENTS(widths) ? widths[column] : 0;
    g_string_append(line, text);
    g_string_append_printf(line, "%*s", MAX(width - text_width(text), 0) + GAP, "");
}

/* On a terminal a row is one line. */
static void print_line(GString *line) {
    int width = terminal_width(stdout), used = 0;
    const char *at = g_strchomp(line->str);
    bool is_too_long = width > 0 && text_width(at) > width;
    while (is_too_long && *at && used < width - 1) {
        g_autofree char *character = g_strndup(at, (size_t)(g_utf8_next_char(at) - at));
        used += text_width(character);
        at = g_utf8_next_char(at);
    }
    printf("%.*s%s\n", is_too_long ? (int)(at - line->str) : (int)strlen(line->str), line->str,
        is_too_long ? "…" : "");
    fflush(stdout);
}

static void print_titles(Feed *feed) {
    const ResourceDescriptor *resource = &resources[feed->method->rows];
    g_autoptr(GString) line = g_string_new(NULL);
    for (size_t i = 0; resource->columns[i].title; i++) {
        g_autofree char *title = g_ascii_strup(resource->columns[i].title, -1);
        append_cell(line, title, i);
    }
    feed->has_titles = true;
    print_line(line);
}

static void print_row(Feed *feed, const json_t *row) {
    const ResourceDescriptor *resource = &resources[feed->method->rows];
    g_autoptr(GString) line = g_string_new(NULL);
    if (!feed->has_titles)
        print_titles(feed);
    for (size_t i = 0; resource->columns[i].title; i++) {
        const json_t *value = json_at(row, resource->columns[i].path);
        g_autofree char *text = value ? value_to_text(NULL, value) : g_strdup("-");
        append_cell(line, text, i);
    }
    print_line(line);
}

static void count(Feed *feed, const json_t *row) {
    const char *state = json_text_at(row, "state");
    if (state)
        json_object_set_new(
            feed->counts, state, json_integer(json_integer_value(json_object_get(feed->counts, state)) + 1));
}

static bool on_line(const char *text, void *user) {
    Feed *feed = user;
    g_autoptr(json_t) row = *text ? json_parse(text, strlen(text), NULL) : NULL;
    const json_t *problem = row ? json_object_get(row, "error") : NULL;
    if (problem) {
        error_clear(&feed->err);
        error_from_json(problem, &feed->err);
    } else if (row && feed->fills_table) {
        count(feed, row);
        print_row(feed, row);
    } else if (row) {
        json_array_append(feed->rows, row);
    }
    return true;
}

/* "3 new, 1 ours" */
static void say_counts(const Feed *feed) {
    const char *state;
    json_t *n;
    g_autoptr(GString) text = g_string_new(NULL);
    json_object_foreach (feed->counts, state, n)
        g_string_append_printf(text, "%s%d %s", text->len ? ", " : "", (int)json_integer_value(n), state);
    fprintf(stderr, "%s\n", text->len ? text->str : "nothing was found");
}

static bool show_all(const Feed *feed, const Arguments *arguments, Error *err) {
    if (!feed->fills_table)
        return output_list(&arguments->options, feed->method->rows, feed->rows, err);
    say_counts(feed);
    return true;
}

bool feed_run(Session *session, const Arguments *arguments, const MethodDescriptor *method, Error *err) {
    Feed feed = {.method = method,
        .fills_table = output_is_human(&arguments->options) && !output_has_choice(&arguments->options),
        .rows = json_array(),
        .counts = json_object()};
    g_autofree char *body = json_to_text(arguments->parameters);
    const char *const headers[] = {"Accept: application/x-ndjson", "Content-Type: application/json", NULL};
    const HttpClientRequest request = {.method = method->http,
        .path = method->path,
        .headers = headers,
        .body = body,
        .body_length = strlen(body),
        .stall_timeout_ms = STALL_TIMEOUT_MS,
        .on_line = on_line,
        .user = &feed};
    g_auto(HttpResponse) response = {0};
    bool is_good = http_client_perform(session_client(session), &request, &response, err);
    if (is_good && response.status / 100 != 2) {
        session_answer_error(&response, err);
        is_good = false;
    }
    is_good = is_good && show_all(&feed, arguments, err);
    if (is_good && error_is_set(&feed.err)) {
        error_move(err, &feed.err);
        is_good = false;
    }
    error_clear(&feed.err);
    json_decref(feed.rows);
    json_decref(feed.counts);
    return is_good;
}
