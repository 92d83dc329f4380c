/* Jobs on repositories and templates. */
#include <string.h>
#include "manager/job-kinds.h"
#include "manager/repository-hosts.h"
#include "model/format.h"

/* ---- repository.create: the host opens it first, then the definition is stored ---- */

static const char *planned_text(JobRun *run, const char *path) {
    return json_text_at(job_data(run), path);
}

/* The first to use a shared repository: any one that can be reached. */
static const Object *any_host(Inventory *inventory, const Object *pool, Error *err) {
    const GPtrArray *hosts = inventory_list(inventory, RESOURCE_HOST);
    for (guint i = 0; i < hosts->len; i++) {
        const Host *host = ((const Object *)hosts->pdata[i])->data;
        if (g_strcmp0(host->pool, pool->id) == 0 && host_has(host, HOST_FIELD_STATUS) &&
            host->status.state == HOST_STATE_CONNECTED)
            return hosts->pdata[i];
    }
    error_set(err, ERROR_UNREACHABLE, "/pool", "the pool %s has no host that can be reached", pool->name);
    return NULL;
}

static bool find_shared_place(
    Inventory *inventory, const json_t *asked, const Object **ret_pool, const Object **ret_host, Error *err) {
    if (json_text_at(asked, "host"))
        return error_set(err, ERROR_INVALID, "/host",
            "host: a shared repository is on all hosts of its pool; name the pool");
    *ret_pool = the_object(inventory, RESOURCE_POOL, json_text_at(asked, "pool"), "pool", err);
    *ret_host = *ret_pool ? any_host(inventory, *ret_pool, err) : NULL;
    return *ret_host != NULL;
}

/* Each may be named; the host decides the pool. */
static bool find_place(
    Inventory *inventory, const json_t *asked, const Object **ret_pool, const Object **ret_host, Error *err) {
    const char *pool_id = json_text_at(asked, "pool"), *host_id = json_text_at(asked, "host");
    const Object *host = host_id ? inventory_find(inventory, RESOURCE_HOST, host_id, err) : NULL;
    if (host_id && !host)
        return false;
    const Object *pool = the_object(
        inventory, RESOURCE_POOL, pool_id || !host ? pool_id : ((const Host *)host->data)->pool, "pool", err);
    if (!pool || (!host && !(host = the_object(inventory, RESOURCE_HOST, NULL, "host", err))))
        return false;
    if (g_strcmp0(((const Host *)host->data)->pool, pool->id) != 0)
        return error_set(err, ERROR_CONFLICT, "/pool", "the host %s does not belong to the pool %s",
            host->name, pool->name);
    *ret_pool = pool;
    *ret_host = host;
    return true;
}

static bool is_kind_shared(const json_t *repository) {
    return g_strcmp0(json_text_at(repository, "kind"),
               model_enum_name(&repository_kind_enum, REPOSITORY_KIND_SHARED)) == 0;
}

/* Puts the planned definition, with id, pool and host settled, into the job's data. */
static bool plan_repository(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    const char *name = json_text_at(asked->parameters, "name");
    if (inventory_has_name(inventory, RESOURCE_REPOSITORY, name))
        return error_set(err, ERROR_EXISTS, "/name", "there is a repository %s already", name);
    const Object *pool = NULL, *host = NULL;
    bool is_shared = is_kind_shared(asked->parameters);
    if (!(is_shared ? find_shared_place : find_place)(inventory, asked->parameters, &pool, &host, err))
        return false;
    g_autofree char *id = uuid_new();
    json_t *plan = json_deep_copy(asked->parameters);
    json_object_set_new(plan, "id", json_string(id));
    json_object_set_new(plan, "pool", json_string(pool->id));
    if (!is_shared)
        json_object_set_new(plan, "host", json_string(host->id));
    job_take_data(job, json_pack("{so ss}", "plan", plan, "host", host->id));
    job_set_target_name(job, name);
    g_autofree char *target = g_strconcat("repository/", id, NULL);
    job_set_target(job, target);
    job_claim_add(job, RESOURCE_REPOSITORY, id, false, "it is made");
    return true;
}

/* What the agent gives back is the definition as it is, with its state beside it. */
static void repository_opened(JobRun *run, const json_t *result) {
    const json_t *opened = json_object_get(result, "repository");
    g_auto(Repository) repository = {0};
    g_auto(Error) err = {0};
    if (!repository_decode(opened, MODEL_STORED, &repository, &err)) {
        job_step_failed(run, &err);
        return;
    }
    job_result(run, json_pack("{sO}", "repository", opened));
    InventoryChange *change = inventory_change_new(job_inventory(run));
    inventory_change_put(change, RESOURCE_REPOSITORY, &repository);
    commit_and_go_on(run, change);
}

static bool lies_below(const char *path, const char *folder) {
    size_t length = strlen(folder);
    return g_str_has_prefix(path, folder) && (path[length] == '/' || path[length] == '\0');
}

/* Whether a host could have both. */
static bool may_meet(const Repository *repository, const Repository *other) {
    bool is_shared = repository_is_shared(repository) || repository_is_shared(other);
    return is_shared ? g_strcmp0(repository->pool, other->pool) == 0
                     : g_strcmp0(repository->host, other->host) == 0;
}

/* One folder belongs to one repository. */
static bool check_path(Inventory *inventory, const Job *job, Error *err) {
    const GPtrArray *all = inventory_list(inventory, RESOURCE_REPOSITORY);
    const char *path = json_text_at(job->data, "plan.path");
    g_auto(Repository) planned = {0};
    if (!repository_decode(json_object_get(job->data, "plan"), MODEL_STORED, &planned, err))
        return false;
    for (guint i = 0; i < all->len; i++) {
        const Repository *other = ((const Object *)all->pdata[i])->data;
        if (may_meet(&planned, other) && (lies_below(path, other->path) || lies_below(other->path, path)))
            return error_set(err, ERROR_IN_USE, "/path", "path: %s belongs to the repository %s", other->path,
                other->name);
    }
    return true;
}

static bool prepare_repository(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    return plan_repository(inventory, asked, job, err) && check_path(inventory, job, err);
}

static void repository_open(JobRun *run) {
    fleet_call(run, planned_text(run, "host"), AGENT_METHOD_REPOSITORY_OPEN,
        json_pack("{sO}", "repository", json_object_get(job_data(run), "plan")), RESOURCE_REPOSITORY,
        planned_text(run, "plan.id"), repository_opened);
}

static void others_know(void *run) {
    job_step_done(run);
}

/* Those that have it not mounted are told of in its status; it is used on the others. */
static void repository_spread(JobRun *run) {
    const Object *object =
        inventory_get(job_inventory(run), RESOURCE_REPOSITORY, planned_text(run, "plan.id"));
    if (object && repository_is_shared(object->data))
        repository_tell_hosts(job_host(run), job_inventory(run), object->data, false, others_know, run);
    else
        job_step_done(run);
}

static const JobStepKind repository_steps[] = {
    {"open", "Makes or takes over the folder", repository_open, NULL, .has_no_way_back = true},
    {"spread", "Looks for it on the other hosts of the pool", repository_spread, NULL}};
static const JobKind repository_create = {
    "repository.create", repository_steps, G_N_ELEMENTS(repository_steps), prepare_repository};

/* ---- template.build ---- */

static bool prepare_build(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    const Template *template = asked->target->data;
    if (!template->recipe)
        return error_set(err, ERROR_UNSUPPORTED, NULL, "%s was imported: it has no recipe", template->name);
    if (template->state == TEMPLATE_STATE_READY &&
        !json_is_true(json_object_get(asked->parameters, "rebuild")))
        return error_set(
            err, ERROR_WRONG_STATE, NULL, "%s is built; ask for a rebuild to build it anew", template->name);
    const char *wanted = json_text_at(asked->parameters, "repository");
    const Object *repository =
        the_object(inventory, RESOURCE_REPOSITORY, wanted ? wanted : template->repository, "repository", err);
    if (!repository)
        return false;
    job_take_data(job, json_pack("{ss ss*}", "repository", repository->id, "host",
                           repository_worker(inventory, repository->data)));
    /* The job that needs the template holds a shared claim on it and waits for this one: no claim on the
     * template then, but one on its building, which is what must not happen twice. */
    g_autofree char *building = g_strconcat("build-", template->id, NULL);
    job_claim_add(job, RESOURCE_TEMPLATE, building, false, "it is built");
    job_claim_add(job, RESOURCE_REPOSITORY, repository->id, true, "a template is built in it");
    return true;
}

static const Object *target_template(JobRun *run) {
    return inventory_get(
        job_inventory(run), RESOURCE_TEMPLATE, job_definition(run)->target + strlen("template/"));
}

static void set_template_state(JobRun *run, TemplateState state) {
    const Object *object = target_template(run);
    if (!object) {
        step_failed(run, ERROR_NOT_FOUND, NULL, "the template is gone");
        return;
    }
    g_auto(Template) template = {0};
    template_copy(&template, object->data);
    template_set_state(&template, state);
    InventoryChange *change = inventory_change_new(job_inventory(run));
    inventory_change_put(change, RESOURCE_TEMPLATE, &template);
    commit_and_go_on(run, change);
}

static void build_mark(JobRun *run) {
    const Object *object = target_template(run);
    const Template *template = object ? object->data : NULL;
    if (template && template->state == TEMPLATE_STATE_READY &&
        !json_is_true(json_object_get(job_parameters(run), "rebuild")))
        job_step_done(run); /* built while this job waited */
    else
        set_template_state(run, TEMPLATE_STATE_BUILDING);
}

static void build_unmark(JobRun *run) {
    set_template_state(run, TEMPLATE_STATE_FAILED);
}

static void template_arrived(JobRun *run, const json_t *result) {
    g_auto(Template) template = {0};
    g_auto(Error) err = {0};
    if (!template_decode(json_object_get(result, "template"), MODEL_STORED, &template, &err)) {
        job_step_failed(run, &err);
        return;
    }
    template_set_state(&template, TEMPLATE_STATE_READY);
    template_set_repository(&template, planned_text(run, "repository"));
    InventoryChange *change = inventory_change_new(job_inventory(run));
    inventory_change_put(change, RESOURCE_TEMPLATE, &template);
    commit_and_go_on(run, change);
}

static void build_run(JobRun *run) {
    const Object *object = target_template(run);
    const Object *repository =
        inventory_get(job_inventory(run), RESOURCE_REPOSITORY, planned_text(run, "repository"));
    if (!object || !repository) {
        step_failed(run, ERROR_NOT_FOUND, NULL, "the template or its repository is gone");
        return;
    }
    if (((const Template *)object->data)->state == TEMPLATE_STATE_READY) {
        job_step_done(run);
        return;
    }
    json_t *message = json_pack("{so so}", "template", template_encode(object->data, MODEL_ENCODE_DEFINITION),
        "repository", repository_encode(repository->data, MODEL_ENCODE_DEFINITION));
    g_autofree char *building = g_strconcat("build-", object->id, NULL);
    fleet_call(run, planned_text(run, "host"), AGENT_METHOD_TEMPLATE_BUILD, message, RESOURCE_TEMPLATE,
        building, template_arrived);
}

static const JobStepKind build_steps[] = {
    {"mark", "Shows that it is being built", build_mark, build_unmark},
    {"build", "Builds it from packages in a jail", build_run, NULL},
};
static const JobKind template_build = {
    "template.build", build_steps, G_N_ELEMENTS(build_steps), prepare_build};

const JobKind *const infrastructure_job_kinds[] = {&repository_create, &template_build};
const size_t n_infrastructure_job_kinds = G_N_ELEMENTS(infrastructure_job_kinds);
