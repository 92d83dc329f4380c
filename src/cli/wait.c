/* Waiting for a job by polling. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "base/file.h"
#include "cli/output.h"
#include "cli/wait.h"

enum { FIRST_POLL_MS = 20, LONGEST_POLL_MS = 250, POLL_TIMEOUT_MS = 10000, BAR_WIDTH = 24, PATIENCE_S = 30 };

typedef struct Wait {
    Session *session;
    char *path, *last_phase;
    int signal_fd, terminal_columns;
    int64_t end_us;               /* 0: none */
    int64_t unreachable_since_us; /* 0: it answers */
} Wait;

static void clear_line(const Wait *wait) {
    if (wait->terminal_columns)
        fprintf(stderr, "\r\033[K");
}

static void show_bar(const Wait *wait, int percent, const char *what) {
    int full = percent * BAR_WIDTH / 100, room = wait->terminal_columns - BAR_WIDTH - 10;
    fprintf(stderr, "\r\033[K[");
    for (int i = 0; i < BAR_WIDTH; i++)
        fputc(i < full ? '#' : '.', stderr);
    fprintf(stderr, "] %3d%% ", percent);
    for (const char *at = what; *at && room > 0; at = g_utf8_next_char(at), room--)
        if (!g_unichar_iscntrl(g_utf8_get_char(at)))
            fwrite(at, 1, (size_t)(g_utf8_next_char(at) - at), stderr);
    fflush(stderr);
}

static void show(Wait *wait, const json_t *job) {
    const char *phase = json_text_at(job, "progress.phase"), *state = json_text_at(job, "state");
    const char *waits_for = json_text_at(job, "waits_for");
    int percent = (int)CLAMP(json_integer_value(json_at(job, "progress.percent")), 0, 100);
    const char *what = phase ? phase : waits_for ? waits_for : state ? state : "";
    if (wait->terminal_columns) {
        show_bar(wait, percent, what);
    } else if (what != state && g_strcmp0(what, wait->last_phase) != 0) {
        g_free(wait->last_phase);
        wait->last_phase = g_strdup(what);
        fprintf(stderr, "%s\n", what);
    }
}

char *wait_advice(const json_t *job) {
    const char *id = json_text_at(job, "id");
    return g_strdup_printf(
        "the job goes on: `lodge job show %.8s` shows it, `lodge job cancel %.8s` stops it", id, id);
}

bool wait_has_ended(const json_t *job) {
    static const char *const ended[] = {"succeeded", "failed", "cancelled", "lost", NULL};
    const char *state = json_text_at(job, "state");
    return state && g_strv_contains(ended, state);
}

/* Sleeps; false when the user interrupted. */
static bool pause_or_interrupt(const Wait *wait, int ms, const json_t *job, Error *err) {
    struct pollfd poll_fd = {.fd = wait->signal_fd, .events = POLLIN};
    struct signalfd_siginfo info;
    if (poll(&poll_fd, 1, ms) <= 0 || read(wait->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return true;
    clear_line(wait);
    g_autofree char *advice = wait_advice(job);
    return error_set(err, ERROR_CANCELLED, NULL, "no longer waiting; %s", advice);
}

/* A manager that restarts is waited for. False only for what waiting does not cure. */
static bool poll_job(Wait *wait, json_t **job, Error *err) {
    g_auto(Error) failure = {0};
    json_t *answer = NULL;
    const SessionRequest request = {.method = "GET", .path = wait->path, .timeout_ms = POLL_TIMEOUT_MS};
    if (session_request(wait->session, &request, &answer, &failure)) {
        json_decref(*job);
        *job = answer;
        wait->unreachable_since_us = 0;
        return true;
    }
    int64_t now_us = g_get_monotonic_time();
    if (!wait->unreachable_since_us)
        wait->unreachable_since_us = now_us;
    bool is_curable = failure.code == ERROR_UNREACHABLE || failure.code == ERROR_TIMED_OUT ||
                      failure.code == ERROR_PROTOCOL || failure.code == ERROR_BUSY;
    if (is_curable && now_us - wait->unreachable_since_us < PATIENCE_S * G_USEC_PER_SEC)
        return true;
    error_move(err, &failure);
    return false;
}

static bool give_up(const json_t *job, Error *err) {
    g_autofree char *advice = wait_advice(job);
    return error_set(err, ERROR_TIMED_OUT, NULL, "%s", advice);
}

static bool wait_until_end(Wait *wait, json_t **job, Error *err) {
    int delay_ms = FIRST_POLL_MS;
    while (!wait_has_ended(*job)) {
        show(wait, *job);
        if (wait->end_us && g_get_monotonic_time() >= wait->end_us)
            return give_up(*job, err);
        if (!pause_or_interrupt(wait, delay_ms, *job, err) || !poll_job(wait, job, err))
            return false;
        delay_ms = MIN(delay_ms * 5 / 4, LONGEST_POLL_MS);
    }
    return true;
}

static bool outcome(const json_t *job, Error *err) {
    const char *state = json_text_at(job, "state"), *kind = json_text_at(job, "kind"),
               *name = json_text_at(job, "target_name");
    g_autofree char *what =
        g_strdup_printf("the job %s%s%s", kind ? kind : "", name ? " of " : "", name ? name : "");
    const json_t *fault = json_object_get(job, "error");
    if (g_str_equal(state, "succeeded"))
        return true;
    if (json_is_object(fault))
        error_from_json(fault, err);
    else if (g_str_equal(state, "cancelled"))
        error_set(err, ERROR_CANCELLED, NULL, "%s was cancelled", what);
    else
        error_set(err, g_str_equal(state, "lost") ? ERROR_LOST : ERROR_INTERNAL, NULL, "%s ended as %s", what,
            state);
    return false;
}

bool wait_for_job(Session *session, const json_t *job, int64_t timeout_s, json_t **ret_job, Error *err) {
    const char *id = json_text_at(job, "id");
    if (!id)
        return error_set(err, ERROR_PROTOCOL, NULL, "the server's answer is no job");
    sigset_t interrupt, before;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, &before);
    fd_auto int signal_fd = signalfd(-1, &interrupt, SFD_CLOEXEC | SFD_NONBLOCK);
    Wait wait = {.session = session,
        .path = session_path("/v1/jobs/{id}", id),
        .signal_fd = signal_fd,
        .terminal_columns = terminal_width(stderr),
        .end_us = timeout_s ? g_get_monotonic_time() + timeout_s * G_USEC_PER_SEC : 0};
    *ret_job = json_incref((json_t *)job);
    bool is_ended = wait_until_end(&wait, ret_job, err);
    clear_line(&wait);
    sigprocmask(SIG_SETMASK, &before, NULL);
    g_free(wait.path);
    g_free(wait.last_phase);
    return is_ended && outcome(*ret_job, err);
}
