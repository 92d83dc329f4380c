/*
 * Where a VM is that was found in a repository while a lost manager is made anew: its definition names one
 * host, and moves that had not ended say where it really is (docs/live-migration.md, "One copy runs"). What
 * cannot be known is left alone. Pure.
 */
#pragma once
#include <stdbool.h>
#include "base/error.h"

/* What the host from which a VM moves remembers of that; NULL `from`: no host remembers a move. */
typedef struct PlaceMove {
    const char *from, *to; /* ids of hosts */
    bool has_left;         /* it is decided that it is at `to` */
    bool is_working;       /* it is under way at this moment */
} PlaceMove;

typedef struct PlaceFound {
    const char *here;  /* the host whose repository was read */
    const char *named; /* the host that the definition names; or NULL */
    bool is_shared;    /* several hosts have that repository */
    PlaceMove move;
} PlaceFound;

/* Whether such a host is known now. */
typedef bool (*PlaceKnownFn)(const char *host_id, void *data);

/* *ret_host: the id of its host, borrowed; NULL when it is found elsewhere, or is a copy that never ran.
 * ERROR_CONFLICT: where it is cannot be known now. */
bool rebuild_place(
    const PlaceFound *found, PlaceKnownFn is_known, void *data, const char **ret_host, Error *err);
