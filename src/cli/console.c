/* A serial console in the terminal. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/terminal.h"
#include "cli/console.h"

enum { CONTROL_RIGHT_BRACKET = 0x1d, INPUT_BYTES = 4096, GOODBYE_MS = 1000 };

typedef struct Console {
    HttpWebSocket *websocket;
    bool is_over, has_left, input_has_ended;
    uint16_t code;
    Error failure;
} Console;

static void on_message(HttpWebSocket *websocket, bool is_text, const void *data, size_t length, void *user) {
    Console *console = user;
    (void)websocket, (void)is_text;
    if (!error_is_set(&console->failure))
        fd_write_all(STDOUT_FILENO, data, length, &console->failure);
}

static void on_closed(HttpWebSocket *websocket, uint16_t code, void *user) {
    Console *console = user;
    (void)websocket;
    console->is_over = true;
    console->code = code;
}

static void take_input(Console *console) {
    char data[INPUT_BYTES];
    ssize_t n = read(STDIN_FILENO, data, sizeof data);
    if (n <= 0) {
        console->input_has_ended = n == 0 || errno != EINTR;
        return;
    }
    const char *leave = memchr(data, CONTROL_RIGHT_BRACKET, (size_t)n);
    size_t length = leave ? (size_t)(leave - data) : (size_t)n;
    if (length > 0)
        http_websocket_send(console->websocket, false, data, length);
    console->has_left = leave != NULL;
}

/* Takes input only when the last of it is gone, so that nothing of it is refused. After ctrl-] says goodbye
 * behind what was typed (a close would overtake it) and gives the server a moment to do the same. */
static void shuttle(Console *console) {
    int64_t end_us = 0;
    while (http_client_websocket_pump(console->websocket) && !error_is_set(&console->failure)) {
        bool is_sent = http_websocket_queued(console->websocket) == 0;
        bool takes_input = is_sent && !console->input_has_ended && !console->has_left;
        if (is_sent && console->has_left)
            http_websocket_close(console->websocket, HTTP_WEBSOCKET_NORMAL, NULL);
        struct pollfd fds[] = {
            {.fd = http_client_websocket_fd(console->websocket),
                .events = http_client_websocket_interest(console->websocket)},
            {.fd = takes_input ? STDIN_FILENO : -1, .events = POLLIN},
        };
        if (poll(fds, G_N_ELEMENTS(fds), console->has_left ? GOODBYE_MS : -1) < 0 && errno != EINTR)
            return;
        if (fds[1].revents)
            take_input(console);
        if (console->has_left && !end_us)
            end_us = g_get_monotonic_time() + GOODBYE_MS * 1000;
        if (end_us && g_get_monotonic_time() >= end_us)
            return;
    }
}

bool console_run(Session *session, const char *path, const char *name, Error *err) {
    static const HttpWebSocketEvents events = {.on_message = on_message, .on_closed = on_closed};
    const HttpWebSocketOptions options = {0};
    Console console = {0};
    g_auto(HttpResponse) refusal = {0};
    g_auto(Error) failure = {0};
    if (!http_client_websocket(session_client(session), path, &options, &events, &console, &console.websocket,
            &refusal, &failure)) {
        if (refusal.body && refusal.body->len > 0)
            session_answer_error(&refusal, err);
        else
            error_move(err, &failure);
        return false;
    }
    struct termios before;
    bool is_raw = terminal_make_raw(&before);
    if (is_raw)
        fprintf(stderr, "Console of %s; ctrl-] leaves.\r\n", name);
    shuttle(&console);
    if (is_raw) {
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
        fprintf(stderr, "\n");
    }
    uint16_t code = console.code;
    bool is_broken = console.is_over && !console.has_left && code == HTTP_WEBSOCKET_ABNORMAL;
    http_client_websocket_free(console.websocket);
    if (error_is_set(&console.failure)) {
        error_move(err, &console.failure);
        return false;
    }
    return !is_broken || error_set(err, ERROR_UNREACHABLE, NULL, "the connection to the console broke");
}
