/* Views of hosts, put together to one status; and what makes hosts tell them. */
#include "manager/repository-hosts.h"
#include <string.h>
#include "base/log.h"

enum { LONGEST_REASON = 1000 };

bool repository_is_of(const Repository *repository, const Host *host) {
    return repository_is_shared(repository) ? g_strcmp0(repository->pool, host->pool) == 0
                                            : g_strcmp0(repository->host, host->id) == 0;
}

/* ---- what is known ---- */

static const RepositoryView *view_of(const Repository *repository, const char *host_id) {
    for (size_t i = 0; i < repository->status.hosts.n; i++)
        if (g_strcmp0(repository->status.hosts.items[i].host, host_id) == 0)
            return &repository->status.hosts.items[i];
    return NULL;
}

char *repository_unready_text(const Repository *repository, const char *host_id) {
    const RepositoryStatus *status = &repository->status;
    RepositoryState state = status->state;
    const char *reason = status->reason;
    if (!repository_is_shared(repository) && !repository_has(repository, REPOSITORY_FIELD_STATUS))
        return NULL;
    if (repository_is_shared(repository)) {
        const RepositoryView *view = view_of(repository, host_id);
        state = view ? view->state : REPOSITORY_STATE_UNKNOWN;
        reason = view ? view->reason : NULL;
    }
    if (state == REPOSITORY_STATE_READY)
        return NULL;
    const char *text = state == REPOSITORY_STATE_FAILED ? "cannot be used" : "is not known to be ready";
    return reason ? g_strdup_printf("%s: %s", text, reason) : g_strdup(text);
}

bool repository_check_on(const Repository *repository, const Host *host, Error *err) {
    g_autofree char *text = repository_unready_text(repository, host->id);
    return !text || error_set(err, ERROR_WRONG_STATE, "/repository", "the repository %s %s on %s",
                        repository->name, text, host->name);
}

const char *repository_worker(Inventory *inventory, const Repository *repository) {
    const GPtrArray *hosts = inventory_list(inventory, RESOURCE_HOST);
    const Host *best = NULL;
    bool is_best_good = false;
    if (!repository_is_shared(repository))
        return repository->host;
    for (guint i = 0; i < hosts->len; i++) {
        const Host *host = ((const Object *)hosts->pdata[i])->data;
        if (!repository_is_of(repository, host))
            continue;
        const RepositoryView *view = view_of(repository, host->id);
        bool is_good = host_has(host, HOST_FIELD_STATUS) && host->status.state == HOST_STATE_CONNECTED &&
                       view && view->state == REPOSITORY_STATE_READY;
        bool is_better = !best || is_good > is_best_good ||
                         (is_good == is_best_good && strcmp(host->name, best->name) < 0);
        if (is_better) {
            best = host;
            is_best_good = is_good;
        }
    }
    return best ? best->id : NULL;
}

/* ---- what hosts tell ---- */

static RepositoryView *put_view(RepositoryStatus *status, const char *host_id) {
    for (size_t i = 0; i < status->hosts.n; i++)
        if (g_strcmp0(status->hosts.items[i].host, host_id) == 0)
            return &status->hosts.items[i];
    RepositoryView *view = repository_status_add_hosts(status);
    repository_view_set_host(view, host_id);
    return view;
}

static void take_amounts(RepositoryStatus *status, const RepositoryStatus *told) {
    repository_status_set_size(status, told->size);
    repository_status_set_free(status, told->free);
    repository_status_set_reflink(status, told->reflink);
    repository_status_set_file_system(status, told->file_system);
}

/* Good when one host can use it: the others are told of by name. */
static void sum_up(RepositoryStatus *status) {
    const RepositoryView *worst = NULL;
    bool is_ready = false;
    for (size_t i = 0; i < status->hosts.n; i++) {
        const RepositoryView *view = &status->hosts.items[i];
        is_ready |= view->state == REPOSITORY_STATE_READY;
        if (view->state != REPOSITORY_STATE_READY && !worst)
            worst = view;
    }
    g_autofree char *reason = worst ? g_strdup_printf("on %s: %s", worst->name ? worst->name : worst->host,
                                          worst->reason ? worst->reason : "not known")
                                    : NULL;
    if (reason)
        reason[MIN(strlen(reason), LONGEST_REASON)] = '\0';
    repository_status_set_state(status, is_ready ? REPOSITORY_STATE_READY
                                        : worst  ? worst->state
                                                 : REPOSITORY_STATE_UNKNOWN);
    repository_status_set_reason(status, reason);
}

void repository_take_view(Inventory *inventory, const char *repository_id, const char *host_id,
    const RepositoryStatus *told, const char *reason) {
    Repository *repository = inventory_runtime(inventory, RESOURCE_REPOSITORY, repository_id);
    const Object *host = inventory_get(inventory, RESOURCE_HOST, host_id);
    if (!repository || !host)
        return;
    RepositoryStatus *status = repository_put_status(repository);
    if (repository_is_shared(repository)) {
        RepositoryView *view = put_view(status, host_id);
        repository_view_set_name(view, host->name);
        repository_view_set_state(view, told ? told->state : REPOSITORY_STATE_FAILED);
        repository_view_set_reason(view, told ? told->reason : reason);
        if (told && told->state == REPOSITORY_STATE_READY)
            take_amounts(status, told);
        sum_up(status);
    } else if (told) {
        repository_status_clear(status);
        repository_status_copy(status, told);
    }
    inventory_runtime_changed(inventory, RESOURCE_REPOSITORY, repository_id);
}

static void keep_views(Repository *repository, const char *but_host_id) {
    g_auto(RepositoryStatus) before = {0};
    repository_status_copy(&before, &repository->status);
    RepositoryStatus *status = repository_put_status(repository);
    repository_status_clear(status);
    for (size_t i = 0; i < before.hosts.n; i++)
        if (g_strcmp0(before.hosts.items[i].host, but_host_id) != 0)
            repository_view_copy(repository_status_add_hosts(status), &before.hosts.items[i]);
    if (repository_status_has(&before, REPOSITORY_STATUS_FIELD_SIZE))
        take_amounts(status, &before);
    sum_up(status);
}

void repository_begin_anew(Repository *repository) {
    keep_views(repository, NULL);
}

static void forget_view(Inventory *inventory, const char *repository_id, const char *host_id) {
    Repository *repository = inventory_runtime(inventory, RESOURCE_REPOSITORY, repository_id);
    if (!repository || !view_of(repository, host_id))
        return;
    keep_views(repository, host_id);
    inventory_runtime_changed(inventory, RESOURCE_REPOSITORY, repository_id);
}

void repositories_forget_view(Inventory *inventory, const char *host_id) {
    const GPtrArray *all = inventory_list(inventory, RESOURCE_REPOSITORY);
    for (guint i = 0; i < all->len; i++)
        forget_view(inventory, ((const Object *)all->pdata[i])->id, host_id);
}

/* ---- asking them ---- */

/* All hosts that are asked for one reason. */
typedef struct Round {
    Inventory *inventory;
    int n_waiting;
    void (*done)(void *data); /* or NULL */
    void *data;
} Round;

typedef struct Asking {
    Round *round;
    char *repository_id, *host_id;
    bool leave;
} Asking;

static void round_end_one(Round *round) {
    if (--round->n_waiting > 0)
        return;
    if (round->done)
        round->done(round->data);
    g_free(round);
}

static void told(const json_t *result, const Error *err, void *data) {
    Asking *asking = data;
    Inventory *inventory = asking->round->inventory;
    g_auto(AgentRepository) answer = {0};
    g_auto(Error) fault = {0};
    bool is_good = !err && (asking->leave || agent_repository_decode(result, MODEL_STORED, &answer, &fault));
    if (asking->leave && is_good) {
        forget_view(inventory, asking->repository_id, asking->host_id);
    } else if (is_good) {
        repository_take_view(
            inventory, asking->repository_id, asking->host_id, &answer.repository.status, NULL);
    } else if (!asking->leave && err && err->code != ERROR_UNREACHABLE) {
        g_autofree char *text = error_text(err);
        text[MIN(strlen(text), LONGEST_REASON)] = '\0';
        repository_take_view(inventory, asking->repository_id, asking->host_id, NULL, text);
    }
    round_end_one(asking->round);
    g_free(asking->repository_id);
    g_free(asking->host_id);
    g_free(asking);
}

static void ask(
    Fleet *fleet, Round *round, const Repository *repository, const char *host_id, AgentMethodId method) {
    Asking *asking = g_new0(Asking, 1);
    *asking =
        (Asking){round, g_strdup(repository->id), g_strdup(host_id), method == AGENT_METHOD_REPOSITORY_LEAVE};
    round->n_waiting++;
    fleet_ask(fleet, host_id, method,
        json_pack("{so}", "repository", repository_encode(repository, MODEL_ENCODE_DEFINITION)), told,
        asking);
}

/* One is waited for until all are asked: answers may come at once. */
static Round *round_new(Inventory *inventory, void (*done)(void *), void *data) {
    Round *round = g_new0(Round, 1);
    *round = (Round){inventory, 1, done, data};
    return round;
}

void repositories_look(Fleet *fleet, Inventory *inventory, const char *host_id, bool only_shared) {
    const Object *object = inventory_get(inventory, RESOURCE_HOST, host_id);
    const GPtrArray *all = inventory_list(inventory, RESOURCE_REPOSITORY);
    Round *round = round_new(inventory, NULL, NULL);
    for (guint i = 0; object && i < all->len; i++) {
        const Repository *repository = ((const Object *)all->pdata[i])->data;
        bool is_shared = repository_is_shared(repository);
        if (only_shared && !is_shared)
            continue;
        if (repository_is_of(repository, object->data))
            ask(fleet, round, repository, host_id,
                is_shared ? AGENT_METHOD_REPOSITORY_JOIN : AGENT_METHOD_REPOSITORY_PROBE);
        else if (is_shared) /* it may have been of that pool when it was away */
            ask(fleet, round, repository, host_id, AGENT_METHOD_REPOSITORY_LEAVE);
    }
    round_end_one(round);
}

void repositories_leave(
    Fleet *fleet, Inventory *inventory, const char *host_id, void (*done)(void *), void *data) {
    const Object *object = inventory_get(inventory, RESOURCE_HOST, host_id);
    const GPtrArray *all = inventory_list(inventory, RESOURCE_REPOSITORY);
    Round *round = round_new(inventory, done, data);
    for (guint i = 0; object && i < all->len; i++) {
        const Repository *repository = ((const Object *)all->pdata[i])->data;
        if (repository_is_shared(repository) && repository_is_of(repository, object->data))
            ask(fleet, round, repository, host_id, AGENT_METHOD_REPOSITORY_LEAVE);
    }
    round_end_one(round);
}

void repository_tell_hosts(Fleet *fleet, Inventory *inventory, const Repository *repository, bool leave,
    void (*done)(void *), void *data) {
    const GPtrArray *hosts = inventory_list(inventory, RESOURCE_HOST);
    Round *round = round_new(inventory, done, data);
    for (guint i = 0; i < hosts->len; i++) {
        const Host *host = ((const Object *)hosts->pdata[i])->data;
        if (repository_is_of(repository, host))
            ask(fleet, round, repository, host->id,
                leave ? AGENT_METHOD_REPOSITORY_LEAVE : AGENT_METHOD_REPOSITORY_JOIN);
    }
    round_end_one(round);
}
