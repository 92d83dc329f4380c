/* epoll behind one GSource: what happens becomes a queue of watches, and each turn calls the first of them.
 */
#include "base/poller.h"
#include <errno.h>
#include "base/file.h"

enum { EVENTS_PER_TURN = 128, CALLS_PER_TURN = 128 };

struct Poller {
    int fd; /* of epoll */
    GSource *source;
    void *tag;            /* of `fd` in it */
    GHashTable *watches;  /* descriptor -> PollerWatch, the newest with that number */
    uint32_t generation;  /* of the newest watch */
    GQueue ready;         /* PollerWatch, to be called */
    PollerWatch *running; /* its callback is; NULL once that has freed it */
    bool (*after_turn)(void *data);
    void *data;
};

struct PollerWatch {
    Poller *poller;
    int fd;
    uint32_t generation; /* tells it from others that had the same number */
    uint32_t wanted, happened;
    bool is_registered;
    bool is_unpollable; /* wanted, but epoll does not take it */
    bool is_lost;       /* another watch has its number: it was closed */
    bool is_woken;
    bool is_queued;
    GList link; /* in `ready` */
    PollerFn on_events;
    void *data;
};

typedef struct PollerSource {
    GSource source;
    Poller *poller;
} PollerSource;

/* ---- the queue ---- */

static void enqueue(PollerWatch *watch) {
    if (watch->is_queued || watch->is_lost)
        return;
    g_queue_push_tail_link(&watch->poller->ready, &watch->link);
    watch->is_queued = true;
}

static void dequeue(PollerWatch *watch) {
    if (watch->is_queued)
        g_queue_unlink(&watch->poller->ready, &watch->link);
    watch->is_queued = false;
}

/* ---- epoll ---- */

static void open_epoll(Poller *self) {
    self->fd = epoll_create1(EPOLL_CLOEXEC);
    g_assert(self->fd >= 0);
    self->tag = g_source_add_unix_fd(self->source, self->fd, G_IO_IN);
}

static bool control(const PollerWatch *watch, int operation) {
    struct epoll_event event = {
        .events = watch->wanted, .data.u64 = (uint64_t)watch->generation << 32 | (uint32_t)watch->fd};
    return epoll_ctl(watch->poller->fd, operation, watch->fd, &event) == 0;
}

static void apply(PollerWatch *watch) {
    if (watch->wanted == 0) {
        /* Closing alone would not end its events: a child between fork and exec may hold it too. */
        if (watch->is_registered)
            control(watch, EPOLL_CTL_DEL);
        watch->is_registered = watch->is_unpollable = false;
        return;
    }
    if (watch->is_registered)
        watch->is_registered = control(watch, EPOLL_CTL_MOD);
    else /* it is there when a lost watch left it behind */
        watch->is_registered =
            control(watch, EPOLL_CTL_ADD) || (errno == EEXIST && control(watch, EPOLL_CTL_MOD));
    watch->is_unpollable = !watch->is_registered;
    if (watch->is_unpollable)
        enqueue(watch);
}

/* What was closed while it was watched, and is held by somebody else, tells of itself for ever, and without
 * its number it cannot be taken out: epoll(7), question 6. Only leaving it behind helps. */
static void renew_epoll(Poller *self) {
    GHashTableIter iter;
    void *value;
    g_source_remove_unix_fd(self->source, self->tag);
    fd_close(&self->fd);
    open_epoll(self);
    g_hash_table_iter_init(&iter, self->watches);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        PollerWatch *watch = value;
        watch->is_registered = false;
        apply(watch);
    }
}

static PollerWatch *watch_of(const Poller *self, uint64_t token) {
    PollerWatch *watch = g_hash_table_lookup(self->watches, GINT_TO_POINTER((int)(uint32_t)token));
    return watch && watch->generation == token >> 32 ? watch : NULL;
}

static void take_events(Poller *self) {
    struct epoll_event events[EVENTS_PER_TURN];
    bool is_stale = false;
    int n = epoll_wait(self->fd, events, EVENTS_PER_TURN, 0);
    for (int i = 0; i < n; i++) {
        PollerWatch *watch = watch_of(self, events[i].data.u64);
        if (watch) {
            watch->happened |= events[i].events;
            enqueue(watch);
        } else {
            is_stale = true;
        }
    }
    if (is_stale)
        renew_epoll(self);
}

/* ---- turns ---- */

/* What it wanted when it came into the queue does not count. */
static void call(Poller *self, PollerWatch *watch) {
    uint32_t events = watch->wanted ? watch->happened & (watch->wanted | EPOLLHUP | EPOLLERR) : 0;
    if (watch->is_unpollable)
        events |= watch->wanted & (EPOLLIN | EPOLLOUT);
    bool is_due = events || watch->is_woken;
    watch->happened = 0;
    watch->is_woken = false;
    if (!is_due)
        return;
    self->running = watch;
    watch->on_events(events, watch->data);
    if (self->running && watch->is_unpollable)
        enqueue(watch);
    self->running = NULL;
}

static void turn(Poller *self) {
    take_events(self); /* all of them before a callback frees or closes any */
    for (guint left = MIN(g_queue_get_length(&self->ready), CALLS_PER_TURN); left > 0; left--) {
        GList *link = g_queue_pop_head_link(&self->ready);
        if (!link) /* a callback freed others */
            break;
        PollerWatch *watch = link->data;
        watch->is_queued = false;
        call(self, watch);
    }
}

static gboolean prepare(GSource *source, int *timeout_ms) {
    *timeout_ms = -1;
    return !g_queue_is_empty(&((PollerSource *)source)->poller->ready);
}

static gboolean dispatch(GSource *source, GSourceFunc unused G_GNUC_UNUSED, void *data G_GNUC_UNUSED) {
    Poller *self = ((PollerSource *)source)->poller;
    turn(self);
    if (self->after_turn && self->after_turn(self->data))
        turn(self);
    return G_SOURCE_CONTINUE;
}

/* Without `check`, GLib's own looks at the descriptor. */
static GSourceFuncs functions = {.prepare = prepare, .dispatch = dispatch};

/* ---- public ---- */

Poller *poller_new(bool (*after_turn)(void *data), void *data) {
    Poller *self = g_new0(Poller, 1);
    g_queue_init(&self->ready);
    self->watches = g_hash_table_new(NULL, NULL);
    self->after_turn = after_turn;
    self->data = data;
    self->source = g_source_new(&functions, sizeof(PollerSource));
    ((PollerSource *)self->source)->poller = self;
    g_source_set_name(self->source, "poller");
    open_epoll(self);
    g_source_attach(self->source, NULL);
    return self;
}

void poller_free(Poller *poller) {
    if (!poller)
        return;
    g_assert(g_hash_table_size(poller->watches) == 0 && !poller->running);
    g_source_destroy(poller->source);
    g_source_unref(poller->source);
    g_hash_table_unref(poller->watches);
    fd_close(&poller->fd);
    g_free(poller);
}

PollerWatch *poller_watch_new(Poller *poller, int fd, PollerFn on_events, void *data) {
    PollerWatch *lost = g_hash_table_lookup(poller->watches, GINT_TO_POINTER(fd));
    if (lost) {
        dequeue(lost);
        lost->is_lost = true;
    }
    PollerWatch *watch = g_new0(PollerWatch, 1);
    *watch = (PollerWatch){
        .poller = poller, .fd = fd, .generation = ++poller->generation, .on_events = on_events, .data = data};
    watch->link.data = watch;
    g_hash_table_insert(poller->watches, GINT_TO_POINTER(fd), watch);
    return watch;
}

void poller_watch_free(PollerWatch *watch) {
    if (!watch)
        return;
    poller_watch_want(watch, 0);
    dequeue(watch);
    if (!watch->is_lost)
        g_hash_table_remove(watch->poller->watches, GINT_TO_POINTER(watch->fd));
    if (watch->poller->running == watch)
        watch->poller->running = NULL;
    g_free(watch);
}

void poller_watch_want(PollerWatch *watch, uint32_t events) {
    if (watch->is_lost || watch->wanted == events)
        return;
    watch->wanted = events;
    apply(watch);
}

void poller_watch_wake(PollerWatch *watch) {
    watch->is_woken = true;
    enqueue(watch);
}
