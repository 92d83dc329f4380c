/*
 * Jobs that bring content in: imports of disk images and ISOs, templates made from VMs. A template takes its
 * name first and is shown as being built; an ISO is listed when it is there.
 */
#include <string.h>
#include "manager/job-kinds.h"
#include "manager/reconcile.h"
#include "manager/repository-hosts.h"
#include "model/format.h"

enum { SHA256_DIGITS = 64 };

static const char *planned_text(JobRun *run, const char *path) {
    return json_text_at(job_data(run), path);
}

static ResourceId planned_kind(JobRun *run) {
    return g_str_has_prefix(job_definition(run)->target, "iso/") ? RESOURCE_ISO : RESOURCE_TEMPLATE;
}

/* ---- what all have in common ---- */

/* Puts the planned definition, which gets an id and its repository here, into the job's data. `host` works on
 * it; NULL: any that has the repository. */
static bool plan_content(Inventory *inventory, ResourceId kind, json_t *plan, const Object *repository,
    const char *host, Job *job, Error *err) {
    const char *name = json_text_at(plan, "name");
    if (inventory_has_name(inventory, kind, name))
        return error_set(err, ERROR_EXISTS, "/name", "there is a %s %s already", resources[kind].name, name);
    g_autofree char *id = uuid_new();
    g_autofree char *target = g_strdup_printf("%s/%s", resources[kind].name, id);
    json_object_set_new(plan, "id", json_string(id));
    json_object_set_new(plan, "repository", json_string(repository->id));
    job_take_data(job, json_pack("{sO ss*}", "plan", plan, "host",
                           host ? host : repository_worker(inventory, repository->data)));
    job_set_target(job, target);
    job_set_target_name(job, name);
    job_claim_add(job, kind, id, false, "it is made");
    job_claim_add(job, RESOURCE_REPOSITORY, repository->id, true, "something is put into it");
    return true;
}

/* A definition in the store, made from JSON. */
static bool put_definition(InventoryChange *change, ResourceId kind, const json_t *json, Error *err) {
    const TypeDescriptor *type = resources[kind].type;
    void *definition = g_malloc0(type->size);
    bool ok = model_decode(type, json, MODEL_STORED, definition, err);
    if (ok)
        inventory_change_put(change, kind, definition);
    model_free(type, definition);
    return ok;
}

static void commit_definition(JobRun *run, const json_t *json) {
    g_auto(Error) err = {0};
    InventoryChange *change = inventory_change_new(job_inventory(run));
    if (put_definition(change, planned_kind(run), json, &err)) {
        commit_and_go_on(run, change);
        return;
    }
    inventory_change_free(change);
    job_step_failed(run, &err);
}

static void undefine(JobRun *run) {
    ResourceId kind = planned_kind(run);
    const char *id = planned_text(run, "plan.id");
    if (!inventory_get(job_inventory(run), kind, id)) {
        job_step_done(run);
        return;
    }
    InventoryChange *change = inventory_change_new(job_inventory(run));
    inventory_change_delete(change, kind, id);
    commit_and_go_on(run, change);
}

/* {"template" or "iso": plan, "repository": …}; NULL, and the step has failed, when the repository is gone.
 */
static json_t *message_about(JobRun *run) {
    const Object *repository =
        inventory_get(job_inventory(run), RESOURCE_REPOSITORY, planned_text(run, "plan.repository"));
    if (!repository) {
        step_failed(run, ERROR_NOT_FOUND, NULL, "the repository is gone");
        return NULL;
    }
    return json_pack("{sO so}", resources[planned_kind(run)].name, json_object_get(job_data(run), "plan"),
        "repository", repository_encode(repository->data, MODEL_ENCODE_DEFINITION));
}

static void call_about(JobRun *run, AgentMethodId method, json_t *take_message, FleetDoneFn done) {
    if (take_message)
        fleet_call(run, planned_text(run, "host"), method, take_message, planned_kind(run),
            planned_text(run, "plan.id"), done);
}

static void remove_files(JobRun *run) {
    AgentMethodId method =
        planned_kind(run) == RESOURCE_ISO ? AGENT_METHOD_ISO_DELETE : AGENT_METHOD_TEMPLATE_DELETE;
    call_about(run, method, message_about(run), NULL);
}

/* ---- templates: named first, ready last ---- */

static void template_define(JobRun *run) {
    const json_t *plan = json_object_get(job_data(run), "plan");
    if (inventory_get(job_inventory(run), RESOURCE_TEMPLATE, json_text_at(plan, "id"))) /* before a crash */
        job_step_done(run);
    else if (inventory_has_name(job_inventory(run), RESOURCE_TEMPLATE, json_text_at(plan, "name")))
        step_failed(run, ERROR_EXISTS, "/name", "the name was taken meanwhile");
    else
        commit_definition(run, plan);
}

static void template_arrived(JobRun *run, const json_t *result) {
    g_autoptr(json_t) template = json_deep_copy(json_object_get(result, "template"));
    if (!json_is_object(template)) {
        step_failed(run, ERROR_PROTOCOL, NULL, "the agent's answer is not understood");
        return;
    }
    json_object_set_new(template, "state", json_string("ready"));
    if (json_object_get(result, "clone"))
        job_result(run, json_pack("{sO}", "clone", json_object_get(result, "clone")));
    commit_definition(run, template);
}

/* ---- template.import, iso.import ---- */

static bool is_hexadecimal(const char *text) {
    size_t length = strlen(text);
    return length == SHA256_DIGITS && strspn(text, "0123456789abcdefABCDEF") == length;
}

static bool check_source(const json_t *parameters, Error *err) {
    const char *url = json_text_at(parameters, "source"), *sha256 = json_text_at(parameters, "sha256");
    if (!url && !json_text_at(parameters, "upload"))
        return error_set(err, ERROR_INVALID, "/source", "source: a URL or an uploaded file is needed");
    if (url && g_ascii_strncasecmp(url, "http://", 7) != 0 && g_ascii_strncasecmp(url, "https://", 8) != 0)
        return error_set(
            err, ERROR_INVALID, "/source", "source: only http:// and https:// addresses can be fetched");
    if (sha256 && !is_hexadecimal(sha256))
        return error_set(
            err, ERROR_INVALID, "/sha256", "sha256: must be %d hexadecimal digits", SHA256_DIGITS);
    return true;
}

static const Object *wanted_repository(Inventory *inventory, const json_t *parameters, Error *err) {
    return the_object(
        inventory, RESOURCE_REPOSITORY, json_text_at(parameters, "repository"), "repository", err);
}

static void plan_import(const TemplateImport *request, Template *template) {
    template_set_name(template, request->name);
    template_set_description(template, request->description);
    template_set_guest_os(template, request->guest_os);
    template_set_has_cloud_init(template, request->has_cloud_init);
    template_set_state(template, TEMPLATE_STATE_BUILDING);
    for (size_t i = 0; i < request->tags.n; i++)
        template_add_tags(template, request->tags.items[i]);
    for (size_t i = 0; i < request->firmware.n; i++)
        *template_add_firmware(template) = request->firmware.items[i];
    if (request->firmware.n == 0)
        *template_add_firmware(template) = FIRMWARE_BIOS;
    if (template_import_has(request, TEMPLATE_IMPORT_FIELD_VCPUS))
        template_set_vcpus(template, request->vcpus);
    if (template_import_has(request, TEMPLATE_IMPORT_FIELD_MEMORY))
        template_set_memory(template, request->memory);
    model_apply_defaults(&template_type, template);
}

static bool prepare_template_import(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    g_auto(TemplateImport) request = {0};
    g_auto(Template) template = {0};
    if (!template_import_decode(asked->parameters, MODEL_STORED, &request, err) ||
        !check_source(asked->parameters, err))
        return false;
    const Object *repository = wanted_repository(inventory, asked->parameters, err);
    if (!repository)
        return false;
    plan_import(&request, &template);
    g_autoptr(json_t) plan = template_encode(&template, MODEL_ENCODE_DEFINITION);
    return plan_content(inventory, RESOURCE_TEMPLATE, plan, repository, NULL, job, err);
}

static bool prepare_iso_import(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    if (!check_source(asked->parameters, err))
        return false;
    const Object *repository = wanted_repository(inventory, asked->parameters, err);
    if (!repository)
        return false;
    g_autoptr(json_t) plan = json_pack("{ss ss*}", "name", json_text_at(asked->parameters, "name"),
        "description", json_text_at(asked->parameters, "description"));
    return plan_content(inventory, RESOURCE_ISO, plan, repository, NULL, job, err);
}

/* What is fetched gathers under the job's id, so that it goes on after a crash. */
static json_t *import_message(JobRun *run) {
    static const char *const passed_on[] = {"format", "sha256"};
    const json_t *asked = job_parameters(run);
    const char *url = json_text_at(asked, "source");
    json_t *message = message_about(run);
    if (!message)
        return NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(passed_on); i++)
        if (json_object_get(asked, passed_on[i]))
            json_object_set(message, passed_on[i], json_object_get(asked, passed_on[i]));
    if (url)
        json_object_set_new(message, "url", json_string(url));
    json_object_set_new(
        message, "upload", json_string(url ? job_definition(run)->id : json_text_at(asked, "upload")));
    return message;
}

static void template_import(JobRun *run) {
    call_about(run, AGENT_METHOD_TEMPLATE_IMPORT, import_message(run), template_arrived);
}

static const JobStepKind template_import_steps[] = {
    {"define", "Takes the name", template_define, undefine},
    {"import", "Checks and converts the image", template_import, remove_files},
};
static const JobKind template_import_kind = {
    "template.import", template_import_steps, G_N_ELEMENTS(template_import_steps), prepare_template_import};

static void iso_arrived(JobRun *run, const json_t *result) {
    const json_t *iso = json_object_get(result, "iso");
    if (!json_is_object(iso)) {
        step_failed(run, ERROR_PROTOCOL, NULL, "the agent's answer is not understood");
        return;
    }
    job_remember(run, "made", json_deep_copy(iso));
    job_step_done(run);
}

static void iso_import(JobRun *run) {
    call_about(run, AGENT_METHOD_ISO_IMPORT, import_message(run), iso_arrived);
}

static void iso_define(JobRun *run) {
    const json_t *made = json_object_get(job_data(run), "made");
    if (inventory_get(job_inventory(run), RESOURCE_ISO, json_text_at(made, "id"))) /* before a crash */
        job_step_done(run);
    else if (inventory_has_name(job_inventory(run), RESOURCE_ISO, json_text_at(made, "name")))
        step_failed(run, ERROR_EXISTS, "/name", "the name was taken meanwhile");
    else
        commit_definition(run, made);
}

static const JobStepKind iso_import_steps[] = {
    {"import", "Checks the image and takes it in", iso_import, remove_files},
    {"define", "Lists it", iso_define, undefine},
};
static const JobKind iso_import_kind = {
    "iso.import", iso_import_steps, G_N_ELEMENTS(iso_import_steps), prepare_iso_import};

/* ---- template.create: from a stopped VM ---- */

static void plan_copy(Inventory *inventory, const TemplateCreate *request, const Vm *vm, Template *template) {
    const Object *origin = inventory_get(inventory, RESOURCE_TEMPLATE, vm->template);
    const Template *known = origin ? origin->data : NULL;
    template_set_name(template, request->name);
    template_set_description(template, request->description);
    for (size_t i = 0; i < request->tags.n; i++)
        template_add_tags(template, request->tags.items[i]);
    template_set_state(template, TEMPLATE_STATE_BUILDING);
    template_set_guest_os(template, vm->guest_os);
    template_set_vcpus(template, vm->vcpus);
    template_set_memory(template, vm->memory);
    template_set_source_vm(template, vm->id);
    template_set_graphics(template, vm->console.graphics);
    /* What its own template boots with holds for it too. */
    if (known && known->firmware.n > 0)
        for (size_t i = 0; i < known->firmware.n; i++)
            *template_add_firmware(template) = known->firmware.items[i];
    else
        *template_add_firmware(template) = vm->firmware;
    template_set_has_cloud_init(template, vm_has(vm, VM_FIELD_CLOUD_INIT));
    if (known)
        template_set_has_guest_agent(template, known->has_guest_agent);
    if (known && template_has(known, TEMPLATE_FIELD_MEMORY_MINIMUM))
        template_set_memory_minimum(template, known->memory_minimum);
    model_apply_defaults(&template_type, template);
}

static bool prepare_template_create(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    g_auto(TemplateCreate) request = {0};
    g_auto(Template) template = {0};
    if (!template_create_decode(asked->parameters, MODEL_STORED, &request, err))
        return false;
    const Object *source = inventory_find(inventory, RESOURCE_VM, request.from_vm, err);
    if (!source)
        return false;
    const Vm *vm = source->data;
    if (!vm_has(vm, VM_FIELD_STATUS) || vm->status.state != VM_STATE_STOPPED)
        return error_set(err, ERROR_WRONG_STATE, "/from_vm", "%s is not stopped", vm->name);
    const Object *repository = the_object(inventory, RESOURCE_REPOSITORY, vm->repository, "repository", err);
    if (!repository || !reconcile_check(inventory, vm->repository, err))
        return false;
    plan_copy(inventory, &request, vm, &template);
    g_autoptr(json_t) plan = template_encode(&template, MODEL_ENCODE_DEFINITION);
    if (!plan_content(inventory, RESOURCE_TEMPLATE, plan, repository, vm->host, job, err))
        return false;
    job_claim_add(job, RESOURCE_VM, vm->id, false, "it is copied");
    if (vm->template) /* a copy of an overlay lies on the template's disk too */
        job_claim_add(job, RESOURCE_TEMPLATE, vm->template, true, "a VM that was made from it is copied");
    return true;
}

static void template_copy_vm(JobRun *run) {
    Inventory *inventory = job_inventory(run);
    const Object *source = inventory_get(inventory, RESOURCE_VM, planned_text(run, "plan.source_vm"));
    bool is_here = source && g_strcmp0(((const Vm *)source->data)->host, planned_text(run, "host")) == 0;
    json_t *message = is_here ? message_about(run) : NULL;
    if (!source)
        step_failed(run, ERROR_NOT_FOUND, "/from_vm", "the VM is gone");
    else if (!is_here)
        step_failed(
            run, ERROR_WRONG_STATE, "/from_vm", "the VM has moved to another host meanwhile; ask again");
    if (!message)
        return;
    const Vm *vm = source->data;
    json_object_set_new(message, "vm", vm_encode(vm, MODEL_ENCODE_DEFINITION));
    const Object *origin = inventory_get(inventory, RESOURCE_TEMPLATE, vm->template);
    const Object *home =
        origin ? inventory_get(inventory, RESOURCE_REPOSITORY, ((const Template *)origin->data)->repository)
               : NULL;
    if (home)
        json_object_set_new(
            message, "source_repository", repository_encode(home->data, MODEL_ENCODE_DEFINITION));
    call_about(run, AGENT_METHOD_TEMPLATE_CREATE, message, template_arrived);
}

static const JobStepKind template_create_steps[] = {
    {"define", "Takes the name", template_define, undefine},
    {"copy", "Copies the VM's disks", template_copy_vm, remove_files},
};
static const JobKind template_create_kind = {
    "template.create", template_create_steps, G_N_ELEMENTS(template_create_steps), prepare_template_create};

const JobKind *const content_job_kinds[] = {&template_import_kind, &iso_import_kind, &template_create_kind};
const size_t n_content_job_kinds = G_N_ELEMENTS(content_job_kinds);
