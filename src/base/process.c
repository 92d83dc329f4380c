/* One child, its process group, two pipes and a poll loop. */
#include "base/process.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"

enum { DEFAULT_OUTPUT_LIMIT = 64 * 1024, TAIL_LIMIT = 2048, BLOCK = 8192 };
/* After the child ended, its pipes may be held open by a grandchild: do not wait for that one. */
enum { GRACE_MS = 200 };

typedef struct Running {
    const ProcessSpec *spec;
    pid_t pid;
    int pidfd, out, error, input;
    GString *output, *tail, *out_line, *error_line;
    size_t input_done;
    bool is_over_limit;
} Running;

static void running_clear(Running *running) {
    fd_close(&running->pidfd);
    fd_close(&running->out);
    fd_close(&running->error);
    fd_close(&running->input);
    GString *strings[] = {running->output, running->tail, running->out_line, running->error_line};
    for (size_t i = 0; i < G_N_ELEMENTS(strings); i++)
        if (strings[i])
            g_string_free(strings[i], TRUE);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Running, running_clear)

static void prepare_child(void *data G_GNUC_UNUSED) {
    setpgid(0, 0);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool spawn(Running *running, Error *err) {
    static const char *const minimal[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", NULL};
    const ProcessSpec *spec = running->spec;
    g_autoptr(GError) error = NULL;
    GPid pid = 0;
    bool ok = g_spawn_async_with_pipes_and_fds(spec->folder ? spec->folder : "/", spec->argv,
        spec->environment ? spec->environment : minimal,
        G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_CLOEXEC_PIPES |
            (spec->stdin_data ? 0 : G_SPAWN_STDIN_FROM_DEV_NULL),
        prepare_child, NULL, -1, -1, -1, spec->keep_fds, spec->keep_fds, spec->n_keep_fds, &pid,
        spec->stdin_data ? &running->input : NULL, &running->out, &running->error, &error);
    if (!ok)
        return error_set(err, ERROR_TOOL_FAILED, NULL, "cannot run %s: %s", spec->argv[0], error->message);
    running->pid = pid;
    running->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (running->pidfd < 0) { /* too many open files: its end could not be seen */
        int errnum = errno;
        kill(-pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return error_set_errno(err, errnum, "watching %s", spec->argv[0]);
    }
    int fds[] = {running->out, running->error, running->input};
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        if (fds[i] >= 0)
            fcntl(fds[i], F_SETFL, O_NONBLOCK);
    return true;
}

static void feed_lines(Running *running, GString *line, const char *data, size_t length) {
    for (size_t i = 0; i < length; i++) {
        if (data[i] != '\n' && data[i] != '\r' && line->len < BLOCK) {
            g_string_append_c(line, data[i]);
            continue;
        }
        if (line->len > 0 && running->spec->on_line)
            running->spec->on_line(line->str, running->spec->on_line_data);
        g_string_truncate(line, 0);
    }
}

static void take_output(Running *running, const char *data, size_t length) {
    size_t limit = running->spec->output_limit ? running->spec->output_limit : DEFAULT_OUTPUT_LIMIT;
    size_t room = limit - running->output->len;
    running->is_over_limit |= length > room;
    g_string_append_len(running->output, data, (gssize)MIN(room, length));
    feed_lines(running, running->out_line, data, length);
}

static void take_error(Running *running, const char *data, size_t length) {
    g_string_append_len(running->tail, data, (gssize)length);
    if (running->tail->len > TAIL_LIMIT)
        g_string_erase(running->tail, 0, (gssize)(running->tail->len - TAIL_LIMIT));
    feed_lines(running, running->error_line, data, length);
}

static void drain(Running *running, int *fd, void (*take)(Running *, const char *, size_t)) {
    char block[BLOCK];
    ssize_t n = read(*fd, block, sizeof block);
    if (n > 0)
        take(running, block, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        fd_close(fd);
}

static void feed_input(Running *running) {
    const char *rest = running->spec->stdin_data + running->input_done;
    size_t length = strlen(rest);
    ssize_t n = length > 0 ? write(running->input, rest, length) : 0;
    if (n > 0)
        running->input_done += (size_t)n;
    if (length == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        fd_close(&running->input);
}

/* One round of poll; false once the child has ended and its pipes are drained. */
static bool wait_round(Running *running, int timeout_ms, bool *has_ended) {
    struct pollfd fds[] = {
        {.fd = running->out, .events = POLLIN},
        {.fd = running->error, .events = POLLIN},
        {.fd = running->input, .events = POLLOUT},
        {.fd = *has_ended ? -1 : running->pidfd, .events = POLLIN},
        {.fd = *has_ended ? -1 : cancel_fd(running->spec->cancel), .events = POLLIN},
    };
    int ready = poll(fds, G_N_ELEMENTS(fds), *has_ended ? GRACE_MS : timeout_ms);
    if (fds[0].revents)
        drain(running, &running->out, take_output);
    if (fds[1].revents)
        drain(running, &running->error, take_error);
    if (fds[2].revents)
        feed_input(running);
    if (fds[3].revents)
        *has_ended = true;
    if (!*has_ended)
        return true;
    return ready > 0 && (running->out >= 0 || running->error >= 0);
}

static bool judge(Running *running, int status, Error *err) {
    const char *name = running->spec->argv[0];
    g_strstrip(running->tail->str);
    const char *tail =
        g_utf8_validate(running->tail->str, -1, NULL) ? running->tail->str : "(output is not UTF-8)";
    if (WIFSIGNALED(status))
        return error_set(
            err, ERROR_TOOL_FAILED, NULL, "%s was ended by signal %d: %s", name, WTERMSIG(status), tail);
    if (WEXITSTATUS(status) != 0)
        return error_set(
            err, ERROR_TOOL_FAILED, NULL, "%s ended with status %d: %s", name, WEXITSTATUS(status), tail);
    if (running->is_over_limit)
        return error_set(err, ERROR_TOO_LARGE, NULL, "%s printed more than expected", name);
    return true;
}

bool process_run(const ProcessSpec *spec, char **ret_output, Error *err) {
    if (!cancel_check(spec->cancel, err))
        return false;
    g_auto(Running) running = {.spec = spec,
        .pidfd = -1,
        .out = -1,
        .error = -1,
        .input = -1,
        .output = g_string_new(NULL),
        .tail = g_string_new(NULL),
        .out_line = g_string_new(NULL),
        .error_line = g_string_new(NULL)};
    if (!spawn(&running, err))
        return false;
    const Clock *clock = clock_system();
    int64_t end = spec->timeout_ms ? clock_monotonic_ns(clock) + spec->timeout_ms * NS_PER_MS : INT64_MAX;
    bool has_ended = false, is_late = false, was_cancelled = false;
    for (bool goes_on = true; goes_on;) {
        int64_t left_ms = (end - clock_monotonic_ns(clock)) / NS_PER_MS;
        goes_on = wait_round(&running, (int)CLAMP(left_ms, 0, 1000), &has_ended);
        is_late = !has_ended && clock_monotonic_ns(clock) >= end;
        was_cancelled = !has_ended && is_cancelled(spec->cancel);
        if (is_late || was_cancelled)
            break;
    }
    if (!has_ended)
        kill(-running.pid, SIGKILL);
    int status = 0;
    while (waitpid(running.pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (was_cancelled)
        return error_set(err, ERROR_CANCELLED, NULL, "%s was cancelled", spec->argv[0]);
    if (is_late)
        return error_set(err, ERROR_TIMED_OUT, NULL, "%s did not end within %" G_GINT64_FORMAT " ms",
            spec->argv[0], spec->timeout_ms);
    if (!judge(&running, status, err))
        return false;
    if (ret_output)
        *ret_output = g_string_free(g_steal_pointer(&running.output), FALSE);
    return true;
}
