/* Files to and from the server. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "cli/output.h"
#include "cli/transfer.h"

enum { STALL_TIMEOUT_MS = 120000, SHOW_INTERVAL_US = 200000 };

typedef struct Transfer {
    int fd;
    int64_t total, shown_us;
    bool has_terminal;
    Error failure;
} Transfer;

static void show_sent(int64_t sent, int64_t received, void *user) {
    Transfer *transfer = user;
    int64_t now_us = g_get_monotonic_time();
    (void)received;
    if (!transfer->has_terminal || transfer->total <= 0 || now_us - transfer->shown_us < SHOW_INTERVAL_US)
        return;
    transfer->shown_us = now_us;
    fprintf(stderr, "\r\033[Ksending: %d%%", (int)(sent * 100 / transfer->total));
    fflush(stderr);
}

bool transfer_upload(Session *session, const MethodDescriptor *method, const char *path, const char *file,
    json_t **ret_answer, Error *err) {
    bool is_stdin = g_str_equal(file, "-");
    fd_auto int fd = is_stdin ? dup(STDIN_FILENO) : open(file, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0)
        return error_set_errno(err, errno, "cannot open %s", file);
    if (!is_stdin && !S_ISREG(status.st_mode))
        return error_set(err, ERROR_INVALID, NULL, "%s is no regular file", file);
    Transfer transfer = {
        .total = S_ISREG(status.st_mode) ? status.st_size : -1, .has_terminal = isatty(STDERR_FILENO)};
    static const char *const headers[] = {"Content-Type: application/octet-stream", NULL};
    const HttpClientRequest request = {.method = method->http,
        .path = path,
        .headers = headers,
        .upload_fd = fd,
        .has_upload = true,
        .upload_length = transfer.total,
        .stall_timeout_ms = STALL_TIMEOUT_MS,
        .on_progress = show_sent,
        .user = &transfer};
    g_auto(HttpResponse) response = {0};
    bool is_sent = http_client_perform(session_client(session), &request, &response, err);
    if (transfer.shown_us)
        fprintf(stderr, "\r\033[K");
    if (!is_sent)
        return false;
    if (response.status / 100 != 2) {
        session_answer_error(&response, err);
        return false;
    }
    *ret_answer = json_parse((const char *)response.body->data, response.body->len, err);
    return *ret_answer != NULL;
}

static bool keep_data(const void *data, size_t length, void *user) {
    Transfer *transfer = user;
    return fd_write_all(transfer->fd, data, length, &transfer->failure);
}

static bool receive(Session *session, const char *path, int fd, Error *err) {
    Transfer transfer = {.fd = fd};
    const HttpClientRequest request = {.method = "GET",
        .path = path,
        .stall_timeout_ms = STALL_TIMEOUT_MS,
        .on_data = keep_data,
        .user = &transfer};
    g_auto(HttpResponse) response = {0};
    bool is_received = http_client_perform(session_client(session), &request, &response, err);
    if (error_is_set(&transfer.failure)) {
        if (is_received)
            error_move(err, &transfer.failure);
        error_clear(&transfer.failure);
        return false;
    }
    if (is_received && response.status / 100 != 2) {
        session_answer_error(&response, err);
        return false;
    }
    return is_received;
}

bool transfer_download(Session *session, const char *path, const char *file, Error *err) {
    if (g_str_equal(file, "-"))
        return receive(session, path, STDOUT_FILENO, err);
    if (g_file_test(file, G_FILE_TEST_EXISTS))
        return error_set(err, ERROR_EXISTS, NULL, "%s exists", file);
    g_autofree char *partial = g_strconcat(file, ".part", NULL);
    fd_auto int fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, errno, "cannot write %s", partial);
    bool is_kept = receive(session, path, fd, err);
    if (is_kept && (fsync(fd) < 0 || link(partial, file) < 0))
        is_kept = error_set_errno(err, errno, "cannot write %s", file);
    unlink(partial);
    return is_kept;
}
