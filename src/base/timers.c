/* A balanced tree of timers behind the ready time of one GSource. */
#include "base/timers.h"

enum { CALLS_PER_TURN = 128, NS_PER_US = 1000 };
static const int64_t NEVER_US = INT64_MAX;

struct Timers {
    GSource *source;
    GSequence *waiting; /* Timer, the earliest first */
    int64_t ready_us;   /* of the source: not later than the earliest is due */
};

struct Timer {
    Timers *timers;
    GSequenceIter *place; /* NULL while it is not set */
    int64_t due_us;
    void (*on_due)(void *data);
    void *data;
};

typedef struct TimersSource {
    GSource source;
    Timers *timers;
} TimersSource;

static int compare(const void *a, const void *b, void *data G_GNUC_UNUSED) {
    int64_t left = ((const Timer *)a)->due_us, right = ((const Timer *)b)->due_us;
    return (left > right) - (left < right);
}

static Timer *earliest(const Timers *self) {
    GSequenceIter *first = g_sequence_get_begin_iter(self->waiting);
    return g_sequence_iter_is_end(first) ? NULL : g_sequence_get(first);
}

static void wake_at(Timers *self, int64_t ready_us) {
    self->ready_us = ready_us;
    g_source_set_ready_time(self->source, ready_us == NEVER_US ? -1 : ready_us);
}

static gboolean dispatch(GSource *source, GSourceFunc unused G_GNUC_UNUSED, void *data G_GNUC_UNUSED) {
    Timers *self = ((TimersSource *)source)->timers;
    int64_t now_us = g_get_monotonic_time();
    Timer *first = NULL;
    for (int left = CALLS_PER_TURN; left > 0; left--) {
        first = earliest(self);
        if (!first || first->due_us > now_us)
            break;
        timer_stop(first);
        first->on_due(first->data);
    }
    first = earliest(self);
    wake_at(self, first ? first->due_us : NEVER_US);
    return G_SOURCE_CONTINUE;
}

/* prepare and check are GLib's: the time decides. */
static GSourceFuncs functions = {.dispatch = dispatch};

Timers *timers_new(void) {
    Timers *self = g_new0(Timers, 1);
    self->waiting = g_sequence_new(NULL);
    self->source = g_source_new(&functions, sizeof(TimersSource));
    ((TimersSource *)self->source)->timers = self;
    g_source_set_name(self->source, "timers");
    wake_at(self, NEVER_US);
    g_source_attach(self->source, NULL);
    return self;
}

void timers_free(Timers *timers) {
    if (!timers)
        return;
    g_assert(!earliest(timers));
    g_source_destroy(timers->source);
    g_source_unref(timers->source);
    g_sequence_free(timers->waiting);
    g_free(timers);
}

Timer *timer_new(Timers *timers, void (*on_due)(void *data), void *data) {
    Timer *timer = g_new0(Timer, 1);
    *timer = (Timer){.timers = timers, .on_due = on_due, .data = data};
    return timer;
}

void timer_free(Timer *timer) {
    if (!timer)
        return;
    timer_stop(timer);
    g_free(timer);
}

/* Moving a timer back leaves the source as it is: it looks once in vain, which costs less than each change.
 */
void timer_set(Timer *timer, int64_t after_ns) {
    Timers *timers = timer->timers;
    timer_stop(timer);
    timer->due_us = g_get_monotonic_time() + MAX(after_ns, 0) / NS_PER_US + 1;
    timer->place = g_sequence_insert_sorted(timers->waiting, timer, compare, NULL);
    if (timer->due_us < timers->ready_us)
        wake_at(timers, timer->due_us);
}

void timer_stop(Timer *timer) {
    if (timer->place)
        g_sequence_remove(timer->place);
    timer->place = NULL;
}

bool timer_is_set(const Timer *timer) {
    return timer->place != NULL;
}
