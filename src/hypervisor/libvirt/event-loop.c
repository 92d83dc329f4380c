/* Handles and timers of libvirt as GLib sources. libvirt asks for them from any of its threads. */
#include "hypervisor/libvirt/event-loop.h"
#include <glib.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <stdbool.h>

enum { NO_FD = -1, US_PER_MS = 1000 };

typedef struct Watch {
    GSource source;
    int id, fd;        /* fd: NO_FD for a timer */
    int timeout_ms;    /* timers: < 0 is off; under the loop's lock */
    gpointer poll_tag; /* handles */
    virEventHandleCallback on_handle;
    virEventTimeoutCallback on_timeout;
    void *opaque;
    virFreeCallback release;
} Watch;

/* One for the process, because libvirt hands no pointer to the functions that it is given. */
typedef struct EventLoop {
    GMainContext *context;
    GMutex lock;
    GHashTable *watches; /* id -> Watch, a reference each; under lock */
    int next_id;         /* under lock */
} EventLoop;

static EventLoop loop;

static GIOCondition condition_of(int events) {
    GIOCondition condition = 0;
    if (events & VIR_EVENT_HANDLE_READABLE)
        condition |= G_IO_IN;
    if (events & VIR_EVENT_HANDLE_WRITABLE)
        condition |= G_IO_OUT;
    if (events & VIR_EVENT_HANDLE_ERROR)
        condition |= G_IO_ERR;
    if (events & VIR_EVENT_HANDLE_HANGUP)
        condition |= G_IO_HUP;
    return condition;
}

static int events_of(GIOCondition condition) {
    int events = 0;
    if (condition & G_IO_IN)
        events |= VIR_EVENT_HANDLE_READABLE;
    if (condition & G_IO_OUT)
        events |= VIR_EVENT_HANDLE_WRITABLE;
    if (condition & (G_IO_ERR | G_IO_NVAL))
        events |= VIR_EVENT_HANDLE_ERROR;
    if (condition & G_IO_HUP)
        events |= VIR_EVENT_HANDLE_HANGUP;
    return events;
}

/* With the lock held. */
static void arm(Watch *watch) {
    gint64 ready_us = watch->timeout_ms < 0 ? -1
                      : watch->timeout_ms == 0
                          ? 0
                          : g_get_monotonic_time() + (gint64)watch->timeout_ms * US_PER_MS;
    g_source_set_ready_time(&watch->source, ready_us);
}

static gboolean dispatch(GSource *source, GSourceFunc callback, void *data) {
    (void)callback, (void)data;
    Watch *watch = (Watch *)source;
    if (watch->fd != NO_FD) {
        int events = events_of(g_source_query_unix_fd(source, watch->poll_tag));
        if (events)
            watch->on_handle(watch->id, watch->fd, events, watch->opaque);
        return G_SOURCE_CONTINUE;
    }
    g_mutex_lock(&loop.lock);
    bool is_on = watch->timeout_ms >= 0;
    arm(watch); /* before the callback, which may change or remove it */
    g_mutex_unlock(&loop.lock);
    if (is_on)
        watch->on_timeout(watch->id, watch->opaque);
    return G_SOURCE_CONTINUE;
}

/* prepare and check are GLib's: a descriptor or the time decides. */
static GSourceFuncs functions = {.dispatch = dispatch};

static Watch *watch_new(int fd, void *opaque, virFreeCallback release) {
    Watch *watch = (Watch *)g_source_new(&functions, sizeof(Watch));
    watch->fd = fd;
    watch->opaque = opaque;
    watch->release = release;
    return watch;
}

static int watch_add(Watch *take_watch) {
    g_mutex_lock(&loop.lock);
    int id = take_watch->id = ++loop.next_id;
    g_hash_table_insert(loop.watches, GINT_TO_POINTER(id), take_watch);
    if (take_watch->fd == NO_FD)
        arm(take_watch);
    g_source_attach(&take_watch->source, loop.context);
    g_mutex_unlock(&loop.lock);
    return id;
}

static gboolean release_watch(void *data) {
    Watch *watch = data;
    if (watch->release)
        watch->release(watch->opaque);
    g_source_unref(&watch->source);
    return G_SOURCE_REMOVE;
}

/* libvirt holds locks when it removes something: what it gave is released later, on the loop, where no
 * callback of this watch can be running any more. */
static int watch_remove(int id) {
    void *found = NULL;
    g_mutex_lock(&loop.lock);
    g_hash_table_steal_extended(loop.watches, GINT_TO_POINTER(id), NULL, &found);
    g_mutex_unlock(&loop.lock);
    if (!found)
        return -1;
    g_source_destroy(found);
    GSource *later = g_idle_source_new();
    g_source_set_priority(later, G_PRIORITY_DEFAULT);
    g_source_set_callback(later, release_watch, found, NULL);
    g_source_attach(later, loop.context);
    g_source_unref(later);
    return 0;
}

static int handle_add(
    int fd, int events, virEventHandleCallback callback, void *opaque, virFreeCallback release) {
    Watch *watch = watch_new(fd, opaque, release);
    watch->on_handle = callback;
    watch->poll_tag = g_source_add_unix_fd(&watch->source, fd, condition_of(events));
    return watch_add(watch);
}

static void handle_update(int id, int events) {
    g_mutex_lock(&loop.lock);
    Watch *watch = g_hash_table_lookup(loop.watches, GINT_TO_POINTER(id));
    if (watch)
        g_source_modify_unix_fd(&watch->source, watch->poll_tag, condition_of(events));
    g_mutex_unlock(&loop.lock);
}

static int timeout_add(
    int timeout_ms, virEventTimeoutCallback callback, void *opaque, virFreeCallback release) {
    Watch *watch = watch_new(NO_FD, opaque, release);
    watch->on_timeout = callback;
    watch->timeout_ms = timeout_ms;
    return watch_add(watch);
}

static void timeout_update(int id, int timeout_ms) {
    g_mutex_lock(&loop.lock);
    Watch *watch = g_hash_table_lookup(loop.watches, GINT_TO_POINTER(id));
    if (watch) {
        watch->timeout_ms = timeout_ms;
        arm(watch);
    }
    g_mutex_unlock(&loop.lock);
}

static void *run(void *data) {
    for (;;)
        g_main_context_iteration(loop.context, TRUE);
    return data;
}

static void be_silent(void *data, virErrorPtr error) {
    (void)data, (void)error; /* errors are returned, not printed */
}

void event_loop_start(void) {
    static gsize is_started;
    if (!g_once_init_enter(&is_started))
        return;
    g_mutex_init(&loop.lock);
    loop.context = g_main_context_new();
    loop.watches = g_hash_table_new(NULL, NULL);
    virInitialize();
    virSetErrorFunc(NULL, be_silent);
    virEventRegisterImpl(handle_add, handle_update, watch_remove, timeout_add, timeout_update, watch_remove);
    g_thread_unref(g_thread_new("libvirt-events", run, NULL));
    g_once_init_leave(&is_started, 1);
}
