/* Files to and from the server. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "cli/output.h"
#include "cli/transfer.h"

enum { STALL_TIMEOUT_MS = 120000, SHOW_INTERVAL_US = 200000, UPLOAD_TRIES = 5, RETRY_PAUSE_US = 1000000 };

#define OCTETS "Content-Type: application/octet-stream"

typedef struct Transfer {
    int fd;
    int64_t total, offset, shown_us; /* offset: what the server has already */
    char *id;                        /* header that names the file to the server; NULL: cannot be resumed */
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
    fprintf(stderr, "\r\033[Ksending: %d%%", (int)((transfer->offset + sent) * 100 / transfer->total));
    fflush(stderr);
}

/* The same command with the same, unchanged file has the same name. */
static char *upload_id(const char *path, const struct stat *status) {
    g_autofree char *text = g_strdup_printf("%s\n%ju.%ju\n%jd\n%jd.%09ld", path, (uintmax_t)status->st_dev,
        (uintmax_t)status->st_ino, (intmax_t)status->st_size, (intmax_t)status->st_mtim.tv_sec,
        status->st_mtim.tv_nsec);
    g_autofree char *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
    return g_strconcat("Upload-Id: ", hash, NULL);
}

static bool judge(const HttpResponse *response, Error *err) {
    if (response->status / 100 == 2)
        return true;
    session_answer_error(response, err);
    return false;
}

/* How much the server has of it: there the file is read on. */
static bool ask_offset(
    Session *session, const MethodDescriptor *method, const char *path, Transfer *transfer, Error *err) {
    if (!transfer->id)
        return true;
    g_autofree char *length = g_strdup_printf("Upload-Length: %" G_GINT64_FORMAT, transfer->total);
    const char *const headers[] = {OCTETS, transfer->id, length, NULL};
    const HttpClientRequest request = {
        .method = method->http, .path = path, .headers = headers, .body = "", .timeout_ms = STALL_TIMEOUT_MS};
    g_auto(HttpResponse) response = {0};
    if (!http_client_perform(session_client(session), &request, &response, err) || !judge(&response, err))
        return false;
    const char *text = http_response_header(&response, "Upload-Offset");
    if (!text || !g_ascii_string_to_signed(text, 10, 0, INT64_MAX, &transfer->offset, NULL))
        return error_set(err, ERROR_PROTOCOL, NULL, "the server does not say how much it has");
    if (transfer->offset > transfer->total)
        transfer->offset = 0;
    if (lseek(transfer->fd, transfer->offset, SEEK_SET) < 0)
        return error_set_errno(err, errno, "reading on in the file");
    if (transfer->offset > 0)
        fprintf(stderr, "going on at %" G_GINT64_FORMAT " of %" G_GINT64_FORMAT " bytes\n", transfer->offset,
            transfer->total);
    return true;
}

static bool send_rest(Session *session, const MethodDescriptor *method, const char *path, Transfer *transfer,
    json_t **ret_answer, Error *err) {
    g_autofree char *length = g_strdup_printf("Upload-Length: %" G_GINT64_FORMAT, transfer->total);
    g_autofree char *offset = g_strdup_printf("Upload-Offset: %" G_GINT64_FORMAT, transfer->offset);
    const char *const headers[] = {OCTETS, transfer->id, length, offset, NULL};
    const char *const one_try[] = {OCTETS, NULL};
    const HttpClientRequest request = {.method = method->http,
        .path = path,
        .headers = transfer->id ? headers : one_try,
        .upload_fd = transfer->fd,
        .has_upload = true,
        .upload_length = transfer->total < 0 ? -1 : transfer->total - transfer->offset,
        .stall_timeout_ms = STALL_TIMEOUT_MS,
        .on_progress = show_sent,
        .user = transfer};
    g_auto(HttpResponse) response = {0};
    bool is_sent = http_client_perform(session_client(session), &request, &response, err);
    if (transfer->shown_us)
        fprintf(stderr, "\r\033[K");
    if (!is_sent)
        return transfer->id ? error_wrap(err, ERROR_NONE,
                                  "the upload broke off; the same command goes on where it stopped")
                            : false;
    if (!judge(&response, err))
        return false;
    *ret_answer = json_parse((const char *)response.body->data, response.body->len, err);
    return *ret_answer != NULL;
}

bool transfer_upload(Session *session, const MethodDescriptor *method, const char *path, const char *file,
    json_t **ret_answer, Error *err) {
    bool is_stdin = g_str_equal(file, "-");
    fd_auto int fd = is_stdin ? dup(STDIN_FILENO) : open(file, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0)
        return error_set(err, ERROR_LOCAL_FILE, NULL, "cannot open %s: %s", file, g_strerror(errno));
    if (!is_stdin && !S_ISREG(status.st_mode))
        return error_set(err, ERROR_LOCAL_FILE, NULL, "%s is no regular file", file);
    if (!is_stdin && status.st_size == 0)
        return error_set(err, ERROR_LOCAL_FILE, NULL, "%s is empty", file);
    bool can_go_on = !is_stdin && method->is_job; /* others are small, and nobody keeps what broke off */
    g_autofree char *id = can_go_on ? upload_id(path, &status) : NULL;
    Transfer transfer = {
        .fd = fd, .total = is_stdin ? -1 : status.st_size, .id = id, .has_terminal = isatty(STDERR_FILENO)};
    bool is_sent = false;
    for (int tries = 0; !is_sent; tries++) {
        error_clear(err);
        is_sent = ask_offset(session, method, path, &transfer, err) &&
                  send_rest(session, method, path, &transfer, ret_answer, err);
        bool may_pass = err->code == ERROR_UNREACHABLE || err->code == ERROR_BUSY;
        if (is_sent || !id || tries == UPLOAD_TRIES - 1 || !may_pass)
            break;
        g_usleep(
            RETRY_PAUSE_US); /* a server that starts again, or one that refused and hung up: it says why */
    }
    return is_sent;
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
    if (error_is_set(&transfer.failure)) { /* the connection only broke off because of it */
        error_clear(err);
        error_move(err, &transfer.failure);
        return error_wrap(err, ERROR_IO, "cannot keep what comes");
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
        return error_set(err, ERROR_LOCAL_FILE, NULL, "cannot write %s: %s", partial, g_strerror(errno));
    bool is_kept = receive(session, path, fd, err);
    if (is_kept && (fsync(fd) < 0 || link(partial, file) < 0))
        is_kept = error_set(err, ERROR_IO, NULL, "cannot write %s: %s", file, g_strerror(errno));
    unlink(partial);
    return is_kept;
}
