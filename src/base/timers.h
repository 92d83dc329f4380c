/*
 * Many timers as one source of the default GMainContext: its turns cost the same however many wait, where
 * each time-out of GLib's own is a source that every turn looks at. The thread of that context calls
 * everything here; callbacks come from its main loop. Time is g_get_monotonic_time().
 *
 * A callback may set, stop and free any timer, its own too. A turn calls at most 128 of those that are due,
 * the earliest first; then other sources have theirs.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Timers Timers;
Timers *timers_new(void);
/* Its timers must be gone, and none of its callbacks running. Accepts NULL. */
void timers_free(Timers *timers);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Timers, timers_free)

typedef struct Timer Timer;
/* Not set yet. `on_due` is called once for each time that it was set. */
Timer *timer_new(Timers *timers, void (*on_due)(void *data), void *data);
void timer_free(Timer *timer); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Timer, timer_free)

/* Due that many nanoseconds from now, never earlier; replaces what was set. Never inside of this call. */
void timer_set(Timer *timer, int64_t after_ns);
void timer_stop(Timer *timer);
bool timer_is_set(const Timer *timer);
