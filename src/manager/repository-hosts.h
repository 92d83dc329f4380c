/*
 * Which hosts a repository is on: its own one, or, where it is shared, all of its pool, each of which may
 * have it mounted or not. Main loop only.
 */
#pragma once
#include "manager/fleet.h"

static inline bool repository_is_shared(const Repository *repository) {
    return repository->kind == REPOSITORY_KIND_SHARED;
}

/* The id of the one in which a template or ISO lies; NULL: in none. Borrowed. */
static inline const char *repository_of_content(ResourceId kind, const void *data) {
    return kind == RESOURCE_TEMPLATE ? ((const Template *)data)->repository : ((const Iso *)data)->repository;
}

/* Whether it belongs there. Whether it can be used there is another question. */
bool repository_is_of(const Repository *repository, const Host *host);
/* Why that host cannot use it now ("cannot be used: …"); NULL when it can, and when that is not known of a
 * repository that is not shared. Newly allocated. */
char *repository_unready_text(const Repository *repository, const char *host_id);
/* ERROR_WRONG_STATE at /repository with that text. */
bool repository_check_on(const Repository *repository, const Host *host, Error *err);
/* The host that works on what belongs to no VM: templates, ISOs, uploads. Of a shared one the first by name
 * that is connected and can use it, else the first of the pool. NULL: the pool has no host. Borrowed. */
const char *repository_worker(Inventory *inventory, const Repository *repository);

/* On a host that has connected, or come into another pool, shared repositories of its pool are used from now
 * on, those of another pool no more; of its own ones it is asked how they are, unless `only_shared`. */
void repositories_look(Fleet *fleet, Inventory *inventory, const char *host_id, bool only_shared);
/* That host uses no shared repository any more; `done` as below. */
void repositories_leave(
    Fleet *fleet, Inventory *inventory, const char *host_id, void (*done)(void *), void *data);
/* All connected hosts of the pool use a shared repository from now on, or (`leave`) no more. `done` comes
 * when all have answered, whatever they said; perhaps at once. */
void repository_tell_hosts(Fleet *fleet, Inventory *inventory, const Repository *repository, bool leave,
    void (*done)(void *), void *data);
/* How it is, as that host says; `told` NULL: it cannot use it, because of `reason`. */
void repository_take_view(Inventory *inventory, const char *repository_id, const char *host_id,
    const RepositoryStatus *told, const char *reason);
/* Nothing is said of it any more but what hosts see of a shared one. */
void repository_begin_anew(Repository *repository);
/* A host that keeps no repository any more. */
void repositories_forget_view(Inventory *inventory, const char *host_id);
