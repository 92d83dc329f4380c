/* malloc's knobs. */
#include "base/heap.h"
#include <malloc.h>

enum { ARENAS = 2 };

void heap_use_few_arenas(void) {
    mallopt(M_ARENA_MAX, ARENAS);
}

static gboolean trim(void *source) {
    *(guint *)source = 0;
    malloc_trim(0);
    return G_SOURCE_REMOVE;
}

void heap_trim_later(guint *source, guint after_ms) {
    g_clear_handle_id(source, g_source_remove);
    *source = g_timeout_add(after_ms, trim, source);
}
