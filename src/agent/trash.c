/* Keeps the trash of the repositories in use within bounds: soon after the start, then every hour. */
#include <sys/statvfs.h>
#include "agent/agent-private.h"
#include "base/log.h"
#include "storage/repository-kind.h"

/* docs/repository-format.md. */
enum { TRASH_DAYS = 30, TRASH_PERCENT = 10, FIRST_S = 60, EVERY_S = 3600 };

typedef struct Emptying {
    Repository repository;
} Emptying;

static void run(void *data) {
    const Repository *repository = &((Emptying *)data)->repository;
    const RepositoryKindOps *kind = repository_kind_find(repository->kind);
    g_auto(Error) err = {0};
    struct statvfs info;
    if (!kind || statvfs(repository->path, &info) < 0)
        return;
    uint64_t most_bytes = (uint64_t)info.f_blocks * info.f_frsize / 100 * TRASH_PERCENT;
    if (!kind->trash_bound(repository, TRASH_DAYS * 24 * 3600 * NS_PER_S, most_bytes,
            clock_realtime_ns(clock_system()), &err))
        log_warning("the trash of %s: %s", repository->path, err.message);
}

static void done(void *data) {
    Emptying *emptying = data;
    repository_clear(&emptying->repository);
    g_free(emptying);
}

static gboolean bound_all(void *data) {
    Agent *agent = data;
    g_autoptr(GPtrArray) repositories = NULL;
    agent->trash_source = g_timeout_add_seconds(EVERY_S, bound_all, agent);
    if (!journal_repositories(agent->journal, &repositories, NULL))
        return G_SOURCE_REMOVE;
    for (guint i = 0; i < repositories->len; i++) {
        Emptying *emptying = g_new0(Emptying, 1);
        repository_copy(&emptying->repository, repositories->pdata[i]);
        if (!work_pool_add(agent->pools[LANE_HOST], run, done, emptying, NULL))
            done(emptying);
    }
    return G_SOURCE_REMOVE;
}

void trash_start(Agent *agent) {
    agent->trash_source = g_timeout_add_seconds(FIRST_S, bound_all, agent);
}
