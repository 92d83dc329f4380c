/* Counting, under a lock. */
#include "agent/gate.h"

enum { LEAST_PLACES = 4 };

void gate_init(Gate *gate) {
    g_mutex_init(&gate->lock);
    g_cond_init(&gate->changed);
    gate->places = MAX((int)g_get_num_processors() * 2, LEAST_PLACES);
}

void gate_clear(Gate *gate) {
    g_mutex_clear(&gate->lock);
    g_cond_clear(&gate->changed);
}

void gate_enter(Gate *gate) {
    g_mutex_lock(&gate->lock);
    while (gate->places == 0)
        g_cond_wait(&gate->changed, &gate->lock);
    gate->places--;
    g_mutex_unlock(&gate->lock);
}

void gate_leave(Gate *gate) {
    g_mutex_lock(&gate->lock);
    gate->places++;
    g_cond_signal(&gate->changed);
    g_mutex_unlock(&gate->lock);
}
