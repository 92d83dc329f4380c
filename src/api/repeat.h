/*
 * Idempotency keys of creates that are no job: what each key made, so that a request that is sent again
 * because its answer was lost makes nothing twice. The newest 1,000 are kept, in memory: after a restart the
 * unique name refuses the second object. (Jobs keep their keys themselves, durably.) One thread.
 */
#pragma once
#include "base/error.h"

enum { REPEATS_MAX = 1000 };

typedef struct Repeats Repeats;
Repeats *repeats_new(void);
void repeats_free(Repeats *repeats); /* accepts NULL */

/* `name` is the key and whose it is, `request` what was asked for. True: when the same was done before,
 * *ret_object is what it made (newly allocated), else NULL and repeats_end must follow. ERROR_CONFLICT when
 * the key was used for something else, ERROR_BUSY while the first request is under way. */
bool repeats_begin(Repeats *repeats, const char *name, const char *request, char **ret_object, Error *err);
/* `object` is what was made, NULL when nothing was: then the key is free again. */
void repeats_end(Repeats *repeats, const char *name, const char *object);
