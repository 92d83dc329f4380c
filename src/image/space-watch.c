/* A thread that polls statvfs(3). */
#include "image/space-watch.h"
#include <poll.h>
#include <stdint.h>
#include <sys/statvfs.h>

/* A fast disk takes some 300 MB in LOOK_MS: the reserve outlasts several looks. */
enum { LOOK_MS = 50, RESERVE_PERCENT = 10 };
#define RESERVE_LIMIT_BYTES (UINT64_C(1) << 30)

struct SpaceWatch {
    char *folder;
    const Cancel *asked; /* the caller's */
    Cancel *stop;        /* for what writes */
    Cancel *end;         /* for the thread */
    GThread *thread;     /* NULL: ended */
    int is_touched;      /* atomic */
};

static void look(SpaceWatch *watch) {
    struct statvfs info;
    if (statvfs(watch->folder, &info) < 0)
        return;
    uint64_t size = (uint64_t)info.f_blocks * info.f_frsize, left = (uint64_t)info.f_bavail * info.f_frsize;
    if (left >= MIN(size / 100 * RESERVE_PERCENT, RESERVE_LIMIT_BYTES))
        return;
    g_atomic_int_set(&watch->is_touched, 1);
    cancel_trigger(watch->stop);
}

static void *run(void *data) {
    SpaceWatch *watch = data;
    while (!is_cancelled(watch->end) && !is_cancelled(watch->stop)) {
        struct pollfd fds[] = {{.fd = cancel_fd(watch->asked), .events = POLLIN},
            {.fd = cancel_fd(watch->end), .events = POLLIN}};
        poll(fds, G_N_ELEMENTS(fds), LOOK_MS);
        if (is_cancelled(watch->asked))
            cancel_trigger(watch->stop);
        look(watch);
    }
    return NULL;
}

SpaceWatch *space_watch_new(const char *folder, const Cancel *cancel) {
    SpaceWatch *watch = g_new0(SpaceWatch, 1);
    *watch =
        (SpaceWatch){.folder = g_strdup(folder), .asked = cancel, .stop = cancel_new(), .end = cancel_new()};
    look(watch);
    watch->thread = g_thread_new("space-watch", run, watch);
    return watch;
}

const Cancel *space_watch_cancel(const SpaceWatch *watch) {
    return watch->stop;
}

static void stop_looking(SpaceWatch *watch) {
    cancel_trigger(watch->end);
    if (watch->thread)
        g_thread_join(g_steal_pointer(&watch->thread));
}

bool space_watch_end(SpaceWatch *watch, Error *err) {
    stop_looking(watch);
    look(watch);
    return !g_atomic_int_get(&watch->is_touched) ||
           error_set(err, ERROR_NO_SPACE, NULL,
               "the file system of %s has too little space left: a reserve is kept for running VMs",
               watch->folder);
}

void space_watch_free(SpaceWatch *watch) {
    if (!watch)
        return;
    stop_looking(watch);
    cancel_unref(watch->stop);
    cancel_unref(watch->end);
    g_free(watch->folder);
    g_free(watch);
}
