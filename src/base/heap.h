/*
 * Memory that a burst of work leaves behind in malloc: few arenas, and given back to the system when the
 * burst is over. glibc's malloc keeps what lies below the last block in use, for ever and for each arena.
 */
#pragma once
#include <glib.h>

/* Before the first thread: worker threads share few arenas. */
void heap_use_few_arenas(void);

/* Gives free memory back `after_ms` from now; asked again before that, it waits anew. *source is 0 or the
 * pending source, which the owner removes at its end. Main loop. */
void heap_trim_later(guint *source, guint after_ms);
