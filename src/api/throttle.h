/*
 * Slows down guessing: after a few failures each further attempt with the same key has to wait, twice as long
 * each time. An attempt counts as failed from its start until throttle_success, so that parallel guesses gain
 * nothing. One thread.
 */
#pragma once
#include "base/clock.h"
#include "base/error.h"

enum {
    THROTTLE_FREE_ATTEMPTS = 3,
    THROTTLE_MAX_DELAY_S = 60,
    THROTTLE_FORGET_S = 900, /* without another attempt */
    THROTTLE_MAX_KEYS = 10000,
};

typedef struct Throttle Throttle;
Throttle *throttle_new(const Clock *clock);
void throttle_free(Throttle *throttle); /* accepts NULL */

/* Counts an attempt. ERROR_RATE_LIMITED while the key has to wait (not counted then), or when too many keys
 * wait. */
bool throttle_attempt(Throttle *throttle, const char *key, Error *err);
void throttle_success(Throttle *throttle, const char *key);
