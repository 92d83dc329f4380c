/*
 * Many descriptors as one: a Poller is one epoll descriptor and one source of the default GMainContext, and a
 * turn of the main loop costs what is ready, not what is watched. The thread of that context calls everything
 * here; callbacks come from its main loop.
 *
 * A callback may change, wake and free any watch of its Poller, its own too, and close their descriptors
 * then: a watch is called only with what is still wanted at that moment, and never once it is freed. A turn
 * calls each watch about once and at most 128 of them, first come first served; then other sources have
 * theirs. While a callback runs, no other one does, not even in a main loop that it turns itself.
 *
 * Free a watch before its descriptor is closed. Who does not is never told what happens to another file under
 * the same number; what it waited for it must miss in another way. Not to be used across fork() without
 * exec().
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

typedef struct Poller Poller;
typedef struct PollerWatch PollerWatch;

/* `after_turn` (may be NULL) is called behind the callbacks of a turn; true asks for another one at once. */
Poller *poller_new(bool (*after_turn)(void *data), void *data);
/* Its watches must be gone, and none of its callbacks running. Accepts NULL. */
void poller_free(Poller *poller);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Poller, poller_free)

/* `events`: those of epoll_ctl(2) that have happened; none when it was only woken. */
typedef void (*PollerFn)(uint32_t events, void *data);
/* Borrows `fd`, which has one watch at a time; nothing is wanted yet. */
PollerWatch *poller_watch_new(Poller *poller, int fd, PollerFn on_events, void *data);
void poller_watch_free(PollerWatch *watch); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PollerWatch, poller_watch_free)

/* What to be called for from now on: events of epoll_ctl(2), level-triggered unless EPOLLET is among them.
 * EPOLLHUP and EPOLLERR come without being asked for; with 0 nothing comes. What epoll does not take (a file
 * on a disk) counts as always ready, as with poll(2). */
void poller_watch_want(PollerWatch *watch, uint32_t events);
/* Calls it in the next turn, whatever its descriptor does: for what cannot be seen there. */
void poller_watch_wake(PollerWatch *watch);
