/* The source, the target, and before them frames; the order in which a file travels: what it is called and
 * how long it is, its pieces, a checksum of both, the target's answer. */
#include "agent/carry.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"

enum {
    BLOCK = 256 * 1024,
    HEADER = 16,
    STALL_MS = 60 * 1000,
    DURABLE_MS = 10 * 60 * 1000, /* a slow disk with much in its host's memory */
    SLICE_MS = 200,
    MOST_TEXT = 4096
};

typedef enum FrameKind {
    FRAME_FILE = 'F',   /* its name; the offset is its size */
    FRAME_DATA = 'D',   /* a piece */
    FRAME_END = 'E',    /* the checksum */
    FRAME_DONE = 'A',   /* back: it is durable */
    FRAME_FAILED = 'X', /* back: JSON of an error */
} FrameKind;

typedef struct Frame {
    FrameKind kind;
    uint32_t length;
    uint64_t offset;
} Frame;

/* ---- frames ---- */

static void encode(const Frame *frame, uint8_t *header) {
    uint32_t length = GUINT32_TO_BE(frame->length);
    uint64_t offset = GUINT64_TO_BE(frame->offset);
    memset(header, 0, HEADER);
    header[0] = (uint8_t)frame->kind;
    memcpy(header + 4, &length, sizeof length);
    memcpy(header + 8, &offset, sizeof offset);
}

static bool lost(Error *err, const char *why) {
    return error_set(err, ERROR_LOST, NULL, "the way to the other host broke: %s", why);
}

/* `timeout_ms` -1: for ever. */
static bool wait_for(int fd, short events, int timeout_ms, const Cancel *cancel, Error *err) {
    struct pollfd polls[] = {{.fd = fd, .events = events}, {.fd = cancel_fd(cancel), .events = POLLIN}};
    int n = poll(polls, cancel ? 2 : 1, timeout_ms);
    if (n < 0 && errno != EINTR)
        return error_set_errno(err, errno, "poll");
    return cancel_check(cancel, err) && (n != 0 || lost(err, "nothing moves"));
}

static bool send_bytes(int fd, const void *bytes, size_t length, const Cancel *cancel, Error *err) {
    const char *rest = bytes;
    while (length > 0) {
        ssize_t n = send(fd, rest, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            rest += n;
            length -= (size_t)n;
        } else if (errno == EAGAIN) {
            if (!wait_for(fd, POLLOUT, STALL_MS, cancel, err))
                return false;
        } else if (errno != EINTR) {
            return lost(err, g_strerror(errno));
        }
    }
    return true;
}

static bool send_frame(
    int fd, const Frame *frame, const void *bytes, GChecksum *sum, const Cancel *cancel, Error *err) {
    uint8_t header[HEADER];
    encode(frame, header);
    if (sum) {
        g_checksum_update(sum, header, HEADER);
        g_checksum_update(sum, bytes, frame->length);
    }
    return send_bytes(fd, header, HEADER, cancel, err) && send_bytes(fd, bytes, frame->length, cancel, err);
}

/* *ret_is_end (may be NULL): the other side ended it before the first byte. */
static bool receive_bytes(
    int fd, void *bytes, size_t length, int timeout_ms, const Cancel *cancel, bool *ret_is_end, Error *err) {
    size_t have = 0;
    while (have < length) {
        ssize_t n = recv(fd, (char *)bytes + have, length - have, MSG_DONTWAIT);
        if (n > 0) {
            have += (size_t)n;
        } else if (n == 0 && have == 0 && ret_is_end) {
            *ret_is_end = true;
            return true;
        } else if (n == 0) {
            return lost(err, "it was ended");
        } else if (errno == EAGAIN) {
            if (!wait_for(fd, POLLIN, timeout_ms, cancel, err))
                return false;
        } else if (errno != EINTR) {
            return lost(err, g_strerror(errno));
        }
    }
    return true;
}

/* What follows it is for the caller to receive. */
static bool receive_header(int fd, uint8_t *header, Frame *ret_frame, int timeout_ms, const Cancel *cancel,
    bool *ret_is_end, Error *err) {
    uint32_t length;
    uint64_t offset;
    if (!receive_bytes(fd, header, HEADER, timeout_ms, cancel, ret_is_end, err))
        return false;
    if (ret_is_end && *ret_is_end)
        return true;
    memcpy(&length, header + 4, sizeof length);
    memcpy(&offset, header + 8, sizeof offset);
    *ret_frame = (Frame){(FrameKind)header[0], GUINT32_FROM_BE(length), GUINT64_FROM_BE(offset)};
    return ret_frame->length <= (ret_frame->kind == FRAME_DATA ? BLOCK : MOST_TEXT) ||
           error_set(
               err, ERROR_PROTOCOL, NULL, "the other host sends a piece of %u bytes", ret_frame->length);
}

/* ---- the source ---- */

uint64_t carry_weight(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 ? (uint64_t)status.st_blocks * 512 : 0;
}

static bool is_zero(const char *bytes, size_t length) {
    return length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

static bool keep_pace(Carrying *carrying, size_t length, Error *err) {
    carrying->paced += length;
    while (carrying->bandwidth) {
        int64_t gone_ns = clock_monotonic_ns(clock_system()) - carrying->began_ns;
        double due_ns = (double)carrying->paced * NS_PER_S / (double)carrying->bandwidth;
        if ((double)gone_ns >= due_ns)
            return true;
        double left_ms = MIN((due_ns - (double)gone_ns) / NS_PER_MS + 1, SLICE_MS);
        if (!cancel_check(carrying->cancel, err))
            return false;
        g_usleep((gulong)(left_ms * 1000));
    }
    return true;
}

static void tell(Carrying *carrying, size_t length) {
    carrying->carried += length;
    uint64_t percent = carrying->total ? carrying->carried * 100 / carrying->total : 100;
    progress_report(carrying->progress, (int)MIN(percent, 100), "Copying its files");
}

static bool send_piece(Carrying *carrying, int from, char *block, off_t at, off_t end, GChecksum *sum,
    size_t *ret_length, Error *err) {
    ssize_t n = pread(from, block, (size_t)MIN(end - at, BLOCK), at);
    if (n < 0)
        return error_set_errno(err, errno, "reading what is copied");
    if (n == 0)
        return error_set(err, ERROR_IO, NULL, "a file that is copied became shorter");
    *ret_length = (size_t)n;
    const Frame frame = {FRAME_DATA, (uint32_t)n, (uint64_t)at};
    if (!is_zero(block, (size_t)n) && (!send_frame(carrying->fd, &frame, block, sum, carrying->cancel, err) ||
                                          !keep_pace(carrying, (size_t)n, err)))
        return false;
    tell(carrying, (size_t)n);
    return true;
}

static bool send_pieces(Carrying *carrying, int from, GChecksum *sum, Error *err) {
    g_autofree char *block = g_malloc(BLOCK);
    for (off_t position = 0;;) {
        off_t at = lseek(from, position, SEEK_DATA);
        if (at < 0 && errno == ENXIO)
            return true;
        off_t end = at < 0 ? -1 : lseek(from, at, SEEK_HOLE);
        if (end < 0)
            return error_set_errno(err, errno, "reading what is copied");
        size_t length = 0;
        for (; at < end; at += (off_t)length)
            if (!cancel_check(carrying->cancel, err) ||
                !send_piece(carrying, from, block, at, end, sum, &length, err))
                return false;
        position = end;
    }
}

static bool receive_answer(Carrying *carrying, int timeout_ms, Error *err) {
    uint8_t header[HEADER];
    Frame frame = {0};
    g_autofree char *text = NULL;
    if (!receive_header(carrying->fd, header, &frame, timeout_ms, carrying->cancel, NULL, err))
        return false;
    text = g_malloc0(frame.length + 1);
    if (!receive_bytes(carrying->fd, text, frame.length, STALL_MS, carrying->cancel, NULL, err))
        return false;
    if (frame.kind == FRAME_DONE)
        return true;
    g_autoptr(json_t) json = frame.kind == FRAME_FAILED ? json_parse(text, frame.length, NULL) : NULL;
    if (!json)
        return error_set(err, ERROR_PROTOCOL, NULL, "the other host's answer is not understood");
    error_clear(err);
    error_from_json(json, err);
    return error_wrap(err, ERROR_NONE, "the other host cannot take it");
}

static bool send_all(Carrying *carrying, const char *name, int from, uint64_t size, Error *err) {
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    const Frame begin = {FRAME_FILE, (uint32_t)strlen(name), size};
    if (!send_frame(carrying->fd, &begin, name, sum, carrying->cancel, err) ||
        !send_pieces(carrying, from, sum, err))
        return false;
    const char *digits = g_checksum_get_string(sum);
    const Frame end = {FRAME_END, (uint32_t)strlen(digits), 0};
    return send_frame(carrying->fd, &end, digits, NULL, carrying->cancel, err);
}

/* Why the way broke, the target may have said before. */
bool carry_send(Carrying *carrying, const char *name, const char *path, Error *err) {
    struct stat status;
    g_auto(Error) broken = {0};
    fd_auto int from = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (from < 0 || fstat(from, &status) < 0)
        return error_set_errno(err, errno, "%s", path);
    if (carrying->began_ns == 0)
        carrying->began_ns = clock_monotonic_ns(clock_system());
    bool is_sent = send_all(carrying, name, from, (uint64_t)status.st_size, &broken);
    if (is_sent)
        return receive_answer(carrying, DURABLE_MS, err);
    if (broken.code == ERROR_LOST) {
        g_auto(Error) told = {0};
        bool is_told = !receive_answer(carrying, SLICE_MS, &told) && told.code != ERROR_LOST;
        error_move(err, is_told ? &told : &broken);
        return false;
    }
    error_move(err, &broken);
    return false;
}

/* ---- the target ---- */

typedef struct Arrival {
    int fd, to;
    uint64_t size;
    char *path;
    GChecksum *sum;
    char *block;
} Arrival;

static void arrival_reset(Arrival *arrival) {
    fd_close(&arrival->to);
    g_clear_pointer(&arrival->path, g_free);
    g_clear_pointer(&arrival->sum, g_checksum_free);
}

static bool begin_file(Arrival *arrival, const Frame *frame, CarryPathFn path_of, void *data, Error *err) {
    struct stat status;
    arrival_reset(arrival);
    arrival->path = path_of(arrival->block, data);
    if (!arrival->path)
        return error_set(err, ERROR_NOT_FOUND, NULL, "no file %s is expected here", arrival->block);
    arrival->to = open(arrival->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (arrival->to < 0 || fstat(arrival->to, &status) < 0)
        return error_set_errno(err, errno, "%s", arrival->path);
    if (!S_ISREG(status.st_mode) || frame->offset > INT64_MAX)
        return error_set(err, ERROR_INVALID, NULL, "%s is no file, or too long", arrival->path);
    if (ftruncate(arrival->to, 0) < 0 || ftruncate(arrival->to, (off_t)frame->offset) < 0)
        return error_set_errno(err, errno, "sizing %s", arrival->path);
    arrival->size = frame->offset;
    arrival->sum = g_checksum_new(G_CHECKSUM_SHA256);
    return true;
}

static bool write_piece(const Arrival *arrival, const Frame *frame, Error *err) {
    if (frame->kind != FRAME_DATA || arrival->to < 0 || frame->offset > arrival->size ||
        frame->length > arrival->size - frame->offset)
        return error_set(err, ERROR_PROTOCOL, NULL, "the other host sends what belongs to no file");
    for (size_t done = 0; done < frame->length;) {
        ssize_t n =
            pwrite(arrival->to, arrival->block + done, frame->length - done, (off_t)(frame->offset + done));
        if (n < 0 && errno != EINTR)
            return error_set_errno(err, errno, "writing %s", arrival->path);
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static bool end_file(Arrival *arrival, Error *err) {
    if (arrival->to < 0)
        return error_set(err, ERROR_PROTOCOL, NULL, "the other host ends a file that it has not begun");
    if (g_strcmp0(arrival->block, g_checksum_get_string(arrival->sum)) != 0)
        return error_set(err, ERROR_CORRUPT, NULL, "%s did not arrive as it was sent", arrival->path);
    g_autofree char *folder = g_path_get_dirname(arrival->path);
    if (fsync(arrival->to) < 0)
        return error_set_errno(err, errno, "saving %s", arrival->path);
    static const Frame done = {FRAME_DONE, 0, 0};
    bool is_done = folder_sync(folder, err) && send_frame(arrival->fd, &done, "", NULL, NULL, err);
    arrival_reset(arrival); /* nothing is added to what is whole */
    return is_done;
}

static bool take_frame(Arrival *arrival, const Frame *frame, const uint8_t *header, CarryPathFn path_of,
    void *data, Error *err) {
    arrival->block[frame->length] = '\0';
    if (frame->kind == FRAME_END)
        return end_file(arrival, err);
    if (frame->kind == FRAME_FILE ? !begin_file(arrival, frame, path_of, data, err)
                                  : !write_piece(arrival, frame, err))
        return false;
    g_checksum_update(arrival->sum, header, HEADER);
    g_checksum_update(arrival->sum, (const guchar *)arrival->block, frame->length);
    return true;
}

static bool receive_all(Arrival *arrival, CarryPathFn path_of, void *data, Error *err) {
    for (;;) {
        uint8_t header[HEADER];
        Frame frame = {0};
        bool is_end = false;
        if (!receive_header(arrival->fd, header, &frame, -1, NULL, &is_end, err))
            return false;
        if (is_end)
            return true;
        if (!receive_bytes(arrival->fd, arrival->block, frame.length, -1, NULL, NULL, err) ||
            !take_frame(arrival, &frame, header, path_of, data, err))
            return false;
    }
}

/* What is on its way is read, so that the answer is not lost with the connection. */
static void refuse(int fd, const Error *why, char *block) {
    g_autoptr(json_t) json = error_to_json(why);
    g_autofree char *text = json_to_text(json);
    const Frame frame = {FRAME_FAILED, (uint32_t)MIN(strlen(text), MOST_TEXT), 0};
    if (!send_frame(fd, &frame, text, NULL, NULL, NULL))
        return;
    shutdown(fd, SHUT_WR);
    while (wait_for(fd, POLLIN, STALL_MS, NULL, NULL) && recv(fd, block, BLOCK, MSG_DONTWAIT) > 0)
        ;
}

bool carry_receive(int fd, CarryPathFn path_of, void *data, Error *err) {
    Arrival arrival = {.fd = fd, .to = -1, .block = g_malloc(BLOCK + 1)};
    g_auto(Error) why = {0};
    bool is_good = receive_all(&arrival, path_of, data, &why);
    if (!is_good && why.code != ERROR_LOST)
        refuse(fd, &why, arrival.block);
    error_move(err, &why);
    arrival_reset(&arrival);
    g_free(arrival.block);
    return is_good;
}
