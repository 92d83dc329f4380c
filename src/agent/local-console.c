/* A VM's serial line in this terminal: a ticket from the agent, and a stream of bytes for it. */
#include <errno.h>
#include <glib-unix.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "agent/local-call.h"
#include "base/file.h"
#include "base/terminal.h"
#include "model/method.h"
#include "rpc/rpc-ticket.h"

enum { CONTROL_RIGHT_BRACKET = 0x1d, BLOCK_BYTES = 4096, OPEN_MS = 10000, ASK_S = 60 };

typedef struct LocalConsole {
    GMainLoop *loop;
    RpcStream *stream;
    char pending[BLOCK_BYTES]; /* typed, and not sent yet */
    size_t n_pending;
    guint input_source;
    bool has_left, is_over;
    Error err;
} LocalConsole;

static void end(LocalConsole *console) {
    console->is_over = true;
    g_main_loop_quit(console->loop);
}

static void opened(RpcStream *take_stream, const Error *error, void *data) {
    LocalConsole *console = data;
    console->stream = take_stream;
    if (error)
        error_copy(&console->err, error);
    g_main_loop_quit(console->loop);
}

/* ---- both directions ---- */

static void watch(LocalConsole *console);
static gboolean on_input(int fd, GIOCondition ready, void *data);

static void send_pending(LocalConsole *console) {
    size_t n = 0;
    if (console->n_pending > 0) {
        RpcIo io = rpc_stream_write(console->stream, console->pending, console->n_pending, &n, &console->err);
        if (io == RPC_IO_DONE) {
            memmove(console->pending, console->pending + n, console->n_pending - n);
            console->n_pending -= n;
        } else if (io != RPC_IO_AGAIN) {
            end(console);
            return;
        }
    }
    if (console->n_pending == 0 && console->has_left)
        end(console);
    else if (console->n_pending == 0 && !console->input_source)
        console->input_source = g_unix_fd_add(STDIN_FILENO, G_IO_IN | G_IO_HUP | G_IO_ERR, on_input, console);
}

/* What was typed before goes out first. */
static gboolean on_input(int fd, GIOCondition ready G_GNUC_UNUSED, void *data) {
    LocalConsole *console = data;
    ssize_t n = read(fd, console->pending, sizeof console->pending);
    if (n < 0 && errno == EINTR)
        return G_SOURCE_CONTINUE;
    console->input_source = 0;
    if (n <= 0) /* the end of a pipe does not leave */
        return G_SOURCE_REMOVE;
    const char *leave = memchr(console->pending, CONTROL_RIGHT_BRACKET, (size_t)n);
    console->n_pending = leave ? (size_t)(leave - console->pending) : (size_t)n;
    console->has_left = leave != NULL;
    send_pending(console);
    if (!console->is_over)
        watch(console);
    return G_SOURCE_REMOVE;
}

static void receive(LocalConsole *console) {
    char block[BLOCK_BYTES];
    size_t n = 0;
    RpcIo io = rpc_stream_read(console->stream, block, sizeof block, &n, &console->err);
    if (io == RPC_IO_AGAIN)
        return;
    if (io != RPC_IO_DONE || !fd_write_all(STDOUT_FILENO, block, n, &console->err))
        end(console);
}

static void on_ready(GIOCondition ready, void *data) {
    LocalConsole *console = data;
    if (ready & (G_IO_IN | G_IO_HUP))
        receive(console);
    if (!console->is_over && (ready & G_IO_OUT))
        send_pending(console);
    if (!console->is_over)
        watch(console);
}

static void watch(LocalConsole *console) {
    GIOCondition wanted = console->n_pending > 0 ? G_IO_IN | G_IO_OUT : G_IO_IN;
    rpc_stream_watch(console->stream, wanted, on_ready, console);
}

/* ---- the terminal ---- */

static void shuttle(LocalConsole *console) {
    struct termios before;
    bool is_raw = terminal_make_raw(&before);
    if (is_raw)
        fprintf(stderr, "ctrl-] leaves.\r\n");
    send_pending(console); /* begins to listen to the keys */
    watch(console);
    g_main_loop_run(console->loop);
    g_clear_handle_id(&console->input_source, g_source_remove);
    if (is_raw) {
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
        fprintf(stderr, "\n");
    }
}

static bool open_stream(LocalConsole *console, const char *socket, const char *vm_id, Error *err) {
    g_autoptr(json_t) answer =
        local_ask(socket, AGENT_METHOD_LOCAL_CONSOLE, json_pack("{ss}", "id", vm_id), ASK_S, err);
    if (!answer)
        return false;
    const char *ticket = json_text_at(answer, "ticket");
    if (!ticket)
        return error_set(err, ERROR_PROTOCOL, NULL, "the agent gave no ticket");
    RpcStream *stream = rpc_stream_connect_unix(socket, err);
    if (!stream)
        return false;
    rpc_stream_open(stream, ticket, OPEN_MS, opened, console);
    g_main_loop_run(console->loop);
    error_move(err, &console->err);
    return console->stream != NULL;
}

bool local_console(const char *socket, const char *vm_id, Error *err) {
    LocalConsole console = {.loop = g_main_loop_new(NULL, FALSE)};
    bool is_open = open_stream(&console, socket, vm_id, err);
    if (is_open) {
        shuttle(&console);
        rpc_stream_free(console.stream);
    }
    g_main_loop_unref(console.loop);
    if (!error_is_set(&console.err))
        return is_open;
    error_move(err, &console.err);
    return false;
}
