/*
 * Jobs that take repositories, templates and ISOs away: refused while something uses them, and
 * again when their turn has come, because what was asked for before them may use it by now. What the host has
 * taken away is forgotten next, cancelled or not.
 */
#include <string.h>
#include "manager/job-kinds.h"
#include "manager/repository-hosts.h"

/* The first VM for which `uses` holds; its name, or NULL. */
static const char *used_by(Inventory *inventory, const char *id, bool (*uses)(const Vm *vm, const char *id)) {
    const GPtrArray *vms = inventory_list(inventory, RESOURCE_VM);
    for (guint i = 0; i < vms->len; i++) {
        const Object *object = vms->pdata[i];
        if (uses(object->data, id))
            return object->name;
    }
    return NULL;
}

static bool uses_repository(const Vm *vm, const char *id) {
    return g_strcmp0(vm->repository, id) == 0;
}

static bool uses_overlay_of(const Vm *vm, const char *id) {
    if (g_strcmp0(vm->template, id) != 0)
        return false;
    bool needs_direct_boot = vm_has(vm, VM_FIELD_DIRECT_BOOT);
    for (size_t i = 0; i < vm->disks.n; i++)
        needs_direct_boot |= vm->disks.items[i].clone == CLONE_METHOD_OVERLAY;
    return needs_direct_boot;
}

static const Object *target(JobRun *run, ResourceId kind) {
    const char *text = job_definition(run)->target;
    return inventory_get(job_inventory(run), kind, text + strlen(resources[kind].name) + 1);
}

static void forget(JobRun *run, ResourceId kind) {
    const Object *object = target(run, kind);
    if (!object) { /* before a crash */
        job_step_done(run);
        return;
    }
    InventoryChange *change = inventory_change_new(job_inventory(run));
    inventory_change_delete(change, kind, object->id);
    commit_and_go_on(run, change);
}

/* False, and the step has failed, when something uses the target. */
static bool is_still_unused(
    JobRun *run, ResourceId kind, bool (*check)(Inventory *inventory, const Object *object, Error *err)) {
    const Object *object = target(run, kind);
    g_auto(Error) err = {0};
    if (!object || check(job_inventory(run), object, &err))
        return true;
    job_step_failed(run, &err);
    return false;
}

/* Calls the agent of `host_id` with {"<kind>": definition}; without a definition the step is done already. */
static void call_about(
    JobRun *run, ResourceId kind, const char *host_id, AgentMethodId method, json_t *take_more) {
    const Object *object = target(run, kind);
    if (!object) {
        json_decref(take_more);
        job_step_done(run);
        return;
    }
    json_t *message = take_more ? take_more : json_object();
    json_object_set_new(message, resources[kind].name,
        model_encode(resources[kind].type, object->data, MODEL_ENCODE_DEFINITION));
    fleet_call(run, host_id, method, message, kind, object->id, NULL);
}

/* ---- repository.delete: its files stay ---- */

static bool check_repository(Inventory *inventory, const Object *repository, Error *err) {
    const char *user = used_by(inventory, repository->id, uses_repository);
    return !user || error_set(err, ERROR_IN_USE, NULL, "the VM %s lies in %s", user, repository->name);
}

static bool prepare_repository(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    if (!check_repository(inventory, asked->target, err))
        return false;
    job_claim_add(job, RESOURCE_REPOSITORY, asked->target->id, false, "it is forgotten");
    return true;
}

/* A host that is away goes on to keep its trash small. */
static void all_have_closed(void *run) {
    job_step_done(run);
}

static void repository_close(JobRun *run) {
    if (!is_still_unused(run, RESOURCE_REPOSITORY, check_repository))
        return;
    const Object *object = target(run, RESOURCE_REPOSITORY);
    const Repository *repository = object ? object->data : NULL;
    if (repository && repository_is_shared(repository))
        repository_tell_hosts(job_host(run), job_inventory(run), repository, true, all_have_closed, run);
    else
        call_about(run, RESOURCE_REPOSITORY, repository ? repository->host : NULL,
            AGENT_METHOD_REPOSITORY_CLOSE, NULL);
}

static void repository_forget(JobRun *run) {
    forget(run, RESOURCE_REPOSITORY);
}

static const JobStepKind repository_steps[] = {
    {"close", "Closes it on its host; the files stay", repository_close, NULL, .has_no_way_back = true},
    {"forget", "Removes its definition", repository_forget, NULL},
};
static const JobKind repository_delete = {
    "repository.delete", repository_steps, G_N_ELEMENTS(repository_steps), prepare_repository};

/* ---- template.delete: a buildable one stays listed ---- */

static bool check_template(Inventory *inventory, const Object *template, Error *err) {
    const char *user = used_by(inventory, template->id, uses_overlay_of);
    return !user || error_set(err, ERROR_IN_USE, NULL, "the VM %s needs files of %s", user, template->name);
}

static bool prepare_template(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    const Template *template = asked->target->data;
    if (!check_template(inventory, asked->target, err))
        return false;
    if (template->state != TEMPLATE_STATE_READY && template->recipe)
        return error_set(
            err, ERROR_WRONG_STATE, NULL, "%s is not built: there is nothing to delete", template->name);
    const Object *repository = inventory_get(inventory, RESOURCE_REPOSITORY, template->repository);
    job_take_data(
        job, json_pack("{ss*}", "host", repository ? repository_worker(inventory, repository->data) : NULL));
    job_claim_add(job, RESOURCE_TEMPLATE, template->id, false, "it is deleted");
    return true;
}

static void template_remove_files(JobRun *run) {
    if (!is_still_unused(run, RESOURCE_TEMPLATE, check_template))
        return;
    const Object *object = target(run, RESOURCE_TEMPLATE);
    const Template *template = object ? object->data : NULL;
    const Object *repository =
        template ? inventory_get(job_inventory(run), RESOURCE_REPOSITORY, template->repository) : NULL;
    if (!repository) {
        job_step_done(run);
        return;
    }
    json_t *more =
        json_pack("{so}", "repository", repository_encode(repository->data, MODEL_ENCODE_DEFINITION));
    call_about(
        run, RESOURCE_TEMPLATE, json_text_at(job_data(run), "host"), AGENT_METHOD_TEMPLATE_DELETE, more);
}

static void template_forget(JobRun *run) {
    const Object *object = target(run, RESOURCE_TEMPLATE);
    const Template *known = object ? object->data : NULL;
    if (!known || !known->recipe) {
        forget(run, RESOURCE_TEMPLATE);
        return;
    }
    g_auto(Template) template = {0};
    template_copy(&template, known);
    static const TemplateField built[] = {TEMPLATE_FIELD_DISKS, TEMPLATE_FIELD_DIRECT_BOOT,
        TEMPLATE_FIELD_SIZE, TEMPLATE_FIELD_BUILT, TEMPLATE_FIELD_PACKAGES, TEMPLATE_FIELD_REPOSITORY};
    g_autoptr(json_t) json = template_encode(&template, MODEL_ENCODE_DEFINITION);
    for (size_t i = 0; i < G_N_ELEMENTS(built); i++)
        json_object_del(json, template_type.fields[built[i]].name);
    g_auto(Template) bare = {0};
    bool ok = template_decode(json, MODEL_STORED, &bare, NULL);
    g_assert(ok);
    template_set_state(&bare, TEMPLATE_STATE_BUILDABLE);
    InventoryChange *change = inventory_change_new(job_inventory(run));
    inventory_change_put(change, RESOURCE_TEMPLATE, &bare);
    commit_and_go_on(run, change);
}

static const JobStepKind template_steps[] = {
    {"files", "Removes its files", template_remove_files, NULL, .has_no_way_back = true},
    {"forget", "Removes its definition, or lists it as buildable again", template_forget, NULL},
};
static const JobKind template_delete = {
    "template.delete", template_steps, G_N_ELEMENTS(template_steps), prepare_template};

/* ---- iso.delete ---- */

static bool uses_iso(const Vm *vm, const char *id) {
    for (size_t i = 0; i < vm->disks.n; i++)
        if (g_strcmp0(vm->disks.items[i].image, id) == 0)
            return true;
    return false;
}

static bool check_iso(Inventory *inventory, const Object *iso, Error *err) {
    const char *user = used_by(inventory, iso->id, uses_iso);
    return !user || error_set(err, ERROR_IN_USE, NULL, "a drive of the VM %s holds %s", user, iso->name);
}

static bool prepare_iso(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    const Iso *iso = asked->target->data;
    if (!check_iso(inventory, asked->target, err))
        return false;
    const Object *repository = inventory_get(inventory, RESOURCE_REPOSITORY, iso->repository);
    job_take_data(
        job, json_pack("{ss*}", "host", repository ? repository_worker(inventory, repository->data) : NULL));
    job_claim_add(job, RESOURCE_ISO, iso->id, false, "it is deleted");
    return true;
}

static void iso_remove_file(JobRun *run) {
    if (!is_still_unused(run, RESOURCE_ISO, check_iso))
        return;
    const Object *object = target(run, RESOURCE_ISO);
    const Iso *iso = object ? object->data : NULL;
    const Object *repository =
        iso ? inventory_get(job_inventory(run), RESOURCE_REPOSITORY, iso->repository) : NULL;
    if (!repository) {
        job_step_done(run);
        return;
    }
    json_t *more =
        json_pack("{so}", "repository", repository_encode(repository->data, MODEL_ENCODE_DEFINITION));
    call_about(run, RESOURCE_ISO, json_text_at(job_data(run), "host"), AGENT_METHOD_ISO_DELETE, more);
}

static void iso_forget(JobRun *run) {
    forget(run, RESOURCE_ISO);
}

static const JobStepKind iso_steps[] = {
    {"files", "Removes its file", iso_remove_file, NULL, .has_no_way_back = true},
    {"forget", "Removes its definition", iso_forget, NULL},
};
static const JobKind iso_delete = {"iso.delete", iso_steps, G_N_ELEMENTS(iso_steps), prepare_iso};

const JobKind *const removal_job_kinds[] = {&repository_delete, &template_delete, &iso_delete};
const size_t n_removal_job_kinds = G_N_ELEMENTS(removal_job_kinds);
