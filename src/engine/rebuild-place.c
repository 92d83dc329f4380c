/* Records of moves first: only they know better than a definition. */
#include "engine/rebuild-place.h"
#include <glib.h>

static bool place_at(const char *host, PlaceKnownFn is_known, void *data, const char **ret_host, Error *err) {
    if (!is_known(host, data))
        return error_set(err, ERROR_CONFLICT, NULL,
            "its host %s was not found: repeat the rebuild when that is back", host);
    *ret_host = host;
    return true;
}

static bool is_same(const char *a, const char *b) {
    return g_strcmp0(a, b) == 0;
}

static bool place_moved(
    const PlaceFound *found, PlaceKnownFn is_known, void *data, const char **ret_host, Error *err) {
    const PlaceMove *move = &found->move;
    const char *at = move->has_left ? move->to : move->from;
    if (move->is_working)
        return error_set(err, ERROR_CONFLICT, NULL,
            "it moves to another host at this moment: repeat the rebuild when that has ended");
    if (found->is_shared || is_same(found->here, at))
        return place_at(at, is_known, data, ret_host, err);
    /* What lies here was left behind, or never ran: it counts when what it is a copy of is out of reach. */
    const char *unused = NULL;
    *ret_host = NULL;
    return place_at(at, is_known, data, &unused, err);
}

/* A definition that names a third host was written by a later move: the record of this one was left over. */
static bool is_about_this(const PlaceFound *found) {
    return !found->named || is_same(found->named, found->move.from) || is_same(found->named, found->move.to);
}

bool rebuild_place(
    const PlaceFound *found, PlaceKnownFn is_known, void *data, const char **ret_host, Error *err) {
    if (found->move.from && is_about_this(found))
        return place_moved(found, is_known, data, ret_host, err);
    if (found->is_shared)
        return found->named ? place_at(found->named, is_known, data, ret_host, err)
                            : error_set(err, ERROR_CONFLICT, NULL, "its definition names no host");
    if (!found->named || is_same(found->named, found->here)) {
        *ret_host = found->here;
        return true;
    }
    return error_set(err, ERROR_CONFLICT, NULL,
        "its definition names another host, %s: it was on its way here, or its files were copied here by "
        "hand; where it does not run, `host adopt` takes it over",
        found->named);
}
