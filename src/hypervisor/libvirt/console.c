/*
 * Serial consoles: a stream of libvirt's on one side, a socket on the other. Everything after the opening
 * happens in libvirt's event loop thread, under the console's lock.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/file.h"
#include "hypervisor/libvirt/session.h"

enum { BUFFER_SIZE = 16 * 1024 };

typedef struct Buffer {
    char bytes[BUFFER_SIZE];
    size_t n;
} Buffer;

typedef struct SerialConsole {
    GMutex lock;
    int references; /* atomic */
    virStreamPtr stream;
    int fd, watch;
    bool has_ended;
    Buffer to_guest, to_client;
} SerialConsole;

static void console_unref(void *data) {
    SerialConsole *console = data;
    if (!g_atomic_int_dec_and_test(&console->references))
        return;
    virStreamFree(console->stream);
    fd_close(&console->fd);
    g_mutex_clear(&console->lock);
    g_free(console);
}

static void buffer_drop(Buffer *buffer, size_t n) {
    buffer->n -= n;
    memmove(buffer->bytes, buffer->bytes + n, buffer->n);
}

/* Asks both sides only for what there is room for, or something to send. */
static void watch_what_matters(SerialConsole *console) {
    int stream_events = (console->to_client.n < BUFFER_SIZE ? VIR_STREAM_EVENT_READABLE : 0) |
                        (console->to_guest.n ? VIR_STREAM_EVENT_WRITABLE : 0);
    int socket_events = (console->to_guest.n < BUFFER_SIZE ? VIR_EVENT_HANDLE_READABLE : 0) |
                        (console->to_client.n ? VIR_EVENT_HANDLE_WRITABLE : 0);
    virStreamEventUpdateCallback(console->stream, stream_events);
    virEventUpdateHandle(console->watch, socket_events);
}

static void console_end(SerialConsole *console) {
    if (console->has_ended)
        return;
    console->has_ended = true;
    shutdown(console->fd, SHUT_RDWR);
    virStreamEventRemoveCallback(console->stream);
    virStreamAbort(console->stream);
    virEventRemoveHandle(console->watch);
}

/* Moves what can be moved; false at the end of either side. */
static bool move_from_guest(SerialConsole *console) {
    Buffer *buffer = &console->to_client;
    if (buffer->n == BUFFER_SIZE)
        return true;
    int got = virStreamRecv(console->stream, buffer->bytes + buffer->n, BUFFER_SIZE - buffer->n);
    if (got > 0)
        buffer->n += (size_t)got;
    return got > 0 || got == -2;
}

static bool move_to_guest(SerialConsole *console) {
    Buffer *buffer = &console->to_guest;
    if (!buffer->n)
        return true;
    int sent = virStreamSend(console->stream, buffer->bytes, buffer->n);
    if (sent > 0)
        buffer_drop(buffer, (size_t)sent);
    return sent >= 0 || sent == -2;
}

static bool move_from_client(SerialConsole *console) {
    Buffer *buffer = &console->to_guest;
    if (buffer->n == BUFFER_SIZE)
        return true;
    ssize_t got = read(console->fd, buffer->bytes + buffer->n, BUFFER_SIZE - buffer->n);
    if (got > 0)
        buffer->n += (size_t)got;
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

static bool move_to_client(SerialConsole *console) {
    Buffer *buffer = &console->to_client;
    if (!buffer->n)
        return true;
    ssize_t sent = send(console->fd, buffer->bytes, buffer->n, MSG_NOSIGNAL);
    if (sent > 0)
        buffer_drop(buffer, (size_t)sent);
    return sent >= 0 || errno == EAGAIN || errno == EINTR;
}

static void stream_ready(virStreamPtr stream, int events, void *data) {
    (void)stream;
    SerialConsole *console = data;
    g_mutex_lock(&console->lock);
    bool goes_on = !console->has_ended && !(events & (VIR_STREAM_EVENT_ERROR | VIR_STREAM_EVENT_HANGUP));
    if (goes_on && events & VIR_STREAM_EVENT_READABLE)
        goes_on = move_from_guest(console) && move_to_client(console);
    if (goes_on && events & VIR_STREAM_EVENT_WRITABLE)
        goes_on = move_to_guest(console);
    if (goes_on)
        watch_what_matters(console);
    else
        console_end(console);
    g_mutex_unlock(&console->lock);
}

static void socket_ready(int watch, int fd, int events, void *data) {
    (void)watch, (void)fd;
    SerialConsole *console = data;
    g_mutex_lock(&console->lock);
    bool goes_on = !console->has_ended;
    if (goes_on && events & (VIR_EVENT_HANDLE_READABLE | VIR_EVENT_HANDLE_HANGUP | VIR_EVENT_HANDLE_ERROR))
        goes_on = move_from_client(console);
    if (goes_on && events & VIR_EVENT_HANDLE_WRITABLE)
        goes_on = move_to_client(console);
    if (goes_on)
        watch_what_matters(console);
    else
        console_end(console);
    g_mutex_unlock(&console->lock);
}

/* ERROR_IN_USE when another session has it. */
static bool attach(virDomain *domain, unsigned flags, virStreamPtr stream, Error *err) {
    if (virDomainOpenConsole(domain, NULL, stream, flags) == 0)
        return true;
    const virError *last = virGetLastError();
    if (last && last->code == VIR_ERR_OPERATION_FAILED)
        return error_set(err, ERROR_IN_USE, NULL, "the console is taken by another session");
    return connection_error(err, "the console cannot be opened");
}

static bool open_stream(
    virDomain *domain, const LibvirtDialect *dialect, virStreamPtr *ret_stream, Error *err) {
    virStreamPtr stream = virStreamNew(virDomainGetConnect(domain), VIR_STREAM_NONBLOCK);
    if (!stream)
        return connection_error(err, "the console cannot be opened");
    bool is_open = attach(domain, dialect->console_flags, stream, err);
    if (is_open && (!dialect->owns_console || dialect->owns_console(domain, err))) {
        *ret_stream = stream;
        return true;
    }
    if (is_open)
        virStreamAbort(stream);
    virStreamFree(stream);
    return false;
}

/* The stream's callback holds no reference: libvirt 9 never calls its free function. It is not needed either,
 * for the callback is removed in the event loop's own thread, before the loop drops the reference of the
 * socket's watch. */
static bool console_begin(virStreamPtr take_stream, int take_fd) {
    SerialConsole *console = g_new0(SerialConsole, 1);
    g_mutex_init(&console->lock);
    console->stream = take_stream;
    console->fd = take_fd;
    console->references = 2; /* the watch's and this function's */
    g_mutex_lock(&console->lock);
    console->watch =
        virEventAddHandle(take_fd, VIR_EVENT_HANDLE_READABLE, socket_ready, console, console_unref);
    bool is_begun = console->watch >= 0 && virStreamEventAddCallback(take_stream, VIR_STREAM_EVENT_READABLE,
                                               stream_ready, console, NULL) == 0;
    if (!is_begun) {
        console->has_ended = true;
        virStreamAbort(take_stream);
        if (console->watch >= 0)
            virEventRemoveHandle(console->watch);
        else
            console_unref(console);
    }
    g_mutex_unlock(&console->lock);
    console_unref(console);
    return is_begun;
}

bool session_console(HypervisorSession *session, const char *vm_id, int *ret_fd, Error *err) {
    g_autoptr(virDomain) domain = NULL;
    virStreamPtr stream = NULL;
    int ends[2];
    if (!session_find(session, vm_id, &domain, err))
        return false;
    if (!domain)
        return error_set(err, ERROR_WRONG_STATE, NULL, "the VM does not run");
    if (!open_stream(domain, session->dialect, &stream, err))
        return false;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
        int errnum = errno;
        virStreamAbort(stream);
        virStreamFree(stream);
        return error_set_errno(err, errnum, "socketpair");
    }
    if (!console_begin(stream, ends[0])) {
        close(ends[1]);
        return error_set(err, ERROR_HYPERVISOR, NULL, "the console cannot be watched");
    }
    *ret_fd = ends[1];
    return true;
}
