/* Jobs on VMs. Making N of them is one job with a child each; every other one works on one VM. */
#include <string.h>
#include "engine/vm-plan.h"
#include "manager/job-kinds.h"
#include "manager/reconcile.h"
#include "manager/vm-cpu.h"
#include "manager/vm-place.h"
#include "model/format.h"

enum { CHILDREN_AT_ONCE = 16, RESULT_DETAIL_LENGTH = 250, TOLD_PLACES = 100, MOST_CLAIMS = 100 };

/* ---- vm.create: plan, build the template if need be, a child each ---- */

static bool check_name(Inventory *inventory, const char *name, GHashTable *names, Error *err) {
    if (!is_object_name(name))
        return error_set(err, ERROR_INVALID, "/name", "name: %s is too long or not a name", name);
    if (inventory_has_name(inventory, RESOURCE_VM, name) || !g_hash_table_add(names, g_strdup(name)))
        return error_set(err, ERROR_EXISTS, "/name", "there is a VM %s already", name);
    return true;
}

/* Of the first ones only the reasons are kept: the record of a job has its limit. */
static bool plan_all(
    Inventory *inventory, const VmCreate *request, json_t *plans, json_t *placement, Error *err) {
    g_autoptr(GRand) random = g_rand_new();
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(VmPlaces) places = vm_places_new(inventory, request, err);
    if (!places)
        return false;
    for (int64_t i = 1; i <= request->count; i++) {
        g_auto(Vm) vm = {0};
        g_autoptr(json_t) reasons = NULL;
        const VmPlanWorld *world = NULL;
        if (!vm_places_next(places, i, &world, i <= TOLD_PLACES ? &reasons : NULL, err) ||
            !vm_plan(request, world, i, random, &vm, err) || !check_name(inventory, vm.name, names, err))
            return false;
        json_array_append_new(plans, vm_encode(&vm, MODEL_ENCODE_DEFINITION));
        if (reasons)
            json_array_append(placement, reasons);
    }
    return true;
}

static void note_mode(Inventory *inventory, const Vm *vm, json_t *data) {
    const char *mode = vm_mode_name(inventory, vm);
    if (mode)
        json_object_set_new(data, "mode", json_string(mode));
}

/* They may lie in many; what a job can claim has its limit, and each VM's own job claims its repository
 * again. */
static void claim_repositories(Job *job, const json_t *plans) {
    size_t i;
    json_t *plan;
    json_array_foreach ((json_t *)plans, i, plan)
        if (job->claims.n < MOST_CLAIMS)
            job_claim_add(
                job, RESOURCE_REPOSITORY, json_text_at(plan, "repository"), true, "a VM is to lie in it");
}

/* What the job holds and tells beforehand, by the first one: all need the same. */
static bool take_plans(Inventory *inventory, Job *job, json_t *take_data, Error *err) {
    g_auto(Vm) first = {0};
    g_autoptr(json_t) data = take_data;
    const json_t *plans = json_object_get(data, "vms");
    if (!vm_decode(json_array_get(plans, 0), MODEL_STORED, &first, err))
        return false;
    note_mode(inventory, &first, data);
    claim_needs(job, &first);
    claim_repositories(job, plans);
    job_take_data(job, g_steal_pointer(&data));
    return true;
}

static bool prepare_create(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    g_auto(VmCreate) request = {0};
    if (!vm_create_decode(asked->parameters, MODEL_STORED, &request, err))
        return false;
    model_apply_defaults(&vm_create_type, &request);
    if (request.mac && request.count > 1)
        return error_set(err, ERROR_INVALID, "/mac", "mac: only with a count of 1");
    g_autoptr(json_t) plans = json_array(), placement = json_array();
    if (!plan_all(inventory, &request, plans, placement, err))
        return false;
    job_set_target_name(job, request.name);
    return take_plans(inventory, job, json_pack("{sO sO}", "vms", plans, "placement", placement), err);
}

static void template_built(JobRun *run, const Job *child, void *data G_GNUC_UNUSED) {
    if (child->state == JOB_STATE_SUCCEEDED)
        job_step_done(run);
    else
        step_failed(run, ERROR_TOOL_FAILED, "/template",
            child->error.detail ? child->error.detail : "the template could not be built");
}

static const Object *template_of(JobRun *run) {
    const json_t *vm = json_array_get(json_object_get(job_data(run), "vms"), 0);
    return inventory_get(job_inventory(run), RESOURCE_TEMPLATE, json_text_at(vm, "template"));
}

static void create_template(JobRun *run) {
    const Object *template = template_of(run);
    if (!template || ((const Template *)template->data)->state == TEMPLATE_STATE_READY) {
        job_step_done(run);
        return;
    }
    const json_t *vm = json_array_get(json_object_get(job_data(run), "vms"), 0);
    g_autoptr(json_t) parameters = json_pack("{ss}", "repository", json_text_at(vm, "repository"));
    const JobRequest request = {.target_kind = RESOURCE_TEMPLATE,
        .target = template,
        .parameters = parameters,
        .principal = job_definition(run)->principal};
    job_progress(run, 0, "Building the template");
    job_child(run, "template", "template.build", &request, template_built, NULL);
}

/* Children of a create: a window of them at a time; results in the order of the plans. */
typedef struct Making {
    json_t *plans, *results;
    size_t next, ended, failed;
} Making;

static void make_more(JobRun *run, Making *making);

typedef struct MakingOne {
    Making *making;
    size_t index;
} MakingOne;

/* For the next time somebody makes VMs from it. Not worth failing for: who changes the template meanwhile
 * wins. */
static void remember_settings(JobRun *run) {
    static const char *const personal[] = {"name", "mac", "ssh_keys", "template"};
    const json_t *id = json_object_get(job_parameters(run), "template");
    const Object *object = inventory_get(job_inventory(run), RESOURCE_TEMPLATE, json_string_value(id));
    if (!object)
        return;
    json_t *settings = json_deep_copy(job_parameters(run));
    model_drop_secrets(settings);
    for (size_t i = 0; i < G_N_ELEMENTS(personal); i++)
        json_object_del(settings, personal[i]);
    g_auto(Template) template = {0};
    template_copy(&template, object->data);
    template_take_last_settings(&template, settings);
    if (model_equal(&template_type, &template, object->data))
        return;
    InventoryChange *change = inventory_change_new(job_inventory(run));
    inventory_change_put(change, RESOURCE_TEMPLATE, &template);
    inventory_change_by(change, job_definition(run)->principal, job_definition(run)->id);
    inventory_commit(job_inventory(run), change, NULL, NULL);
}

static bool is_cancellation(const json_t *fault) {
    return g_strcmp0(json_text_at(fault, "code"), error_info(ERROR_CANCELLED)->name) == 0;
}

/* What to tell of many: a real failure rather than that the others were cancelled. */
static const json_t *first_fault(const json_t *results) {
    const json_t *first = NULL;
    for (size_t i = 0; i < json_array_size(results); i++) {
        const json_t *fault = json_object_get(json_array_get(results, i), "error");
        if (fault && (!first || (is_cancellation(first) && !is_cancellation(fault))))
            first = fault;
    }
    return first;
}

static void finish_making(JobRun *run, Making *making) {
    size_t n = json_array_size(making->plans), failed = making->failed;
    job_forget(run, "vms"); /* each is in a child's record: this one needs the room for a thousand results */
    job_result(run, json_pack("{so}", "vms", making->results));
    g_auto(Error) err = {0};
    const json_t *first = first_fault(making->results);
    if (first)
        error_from_json(first, &err);
    if (first && n > 1)
        error_wrap(&err, ERROR_NONE, "%zu of %zu VMs could not be made; the first one", failed, n);
    json_decref(making->plans);
    g_free(making);
    if (failed) {
        job_step_failed(run, &err);
        return;
    }
    remember_settings(run);
    job_step_done(run);
}

/* The child's record has all of it. */
static json_t *short_fault(const Fault *fault) {
    json_t *json = fault_encode(fault, MODEL_ENCODE_PUBLIC);
    if (fault->detail && g_utf8_strlen(fault->detail, -1) > RESULT_DETAIL_LENGTH) {
        g_autofree char *detail = g_utf8_substring(fault->detail, 0, RESULT_DETAIL_LENGTH);
        json_object_set_new(json, "detail", json_string(detail));
    }
    return json;
}

static json_t *why_not(const Job *child) {
    if (child->state != JOB_STATE_CANCELLED)
        return short_fault(&child->error);
    g_auto(Error) err = {0};
    error_set(&err, ERROR_CANCELLED, NULL, "it was cancelled");
    return error_to_json(&err);
}

static void one_made(JobRun *run, const Job *child, void *data) {
    MakingOne *one = data;
    Making *making = one->making;
    json_t *result = json_array_get(making->results, one->index);
    if (child->state != JOB_STATE_SUCCEEDED) {
        making->failed++;
        json_object_set_new(result, "error", why_not(child));
    } else if (child->result) {
        json_object_update((json_t *)result, child->result);
    }
    g_free(one);
    making->ended++;
    size_t n = json_array_size(making->plans);
    g_autofree char *phase = g_strdup_printf("%zu of %zu VMs", making->ended, n);
    job_progress(run, (int)(making->ended * 100 / n), phase);
    if (making->ended == n)
        finish_making(run, making);
    else
        make_more(run, making);
}

static void make_more(JobRun *run, Making *making) {
    const json_t *asked = job_parameters(run);
    while (making->next < json_array_size(making->plans) && making->next - making->ended < CHILDREN_AT_ONCE) {
        size_t index = making->next++;
        json_t *plan = json_array_get(making->plans, index);
        g_autoptr(json_t) parameters =
            json_pack("{sO sb}", "vm", plan, "start", json_is_true(json_object_get(asked, "start")));
        if (json_object_get(asked, "clone"))
            json_object_set(parameters, "clone", json_object_get(asked, "clone"));
        const char *source = json_text_at(job_data(run), "source");
        if (source)
            json_object_set_new(parameters, "source", json_string(source));
        if (json_is_true(json_object_get(job_data(run), "hold")))
            json_object_set_new(parameters, "hold", json_true());
        MakingOne *one = g_new0(MakingOne, 1);
        *one = (MakingOne){making, index};
        const JobRequest request = {.target_kind = RESOURCE_VM,
            .parameters = parameters,
            .principal = job_definition(run)->principal};
        bool is_last = making->next == json_array_size(making->plans);
        job_child(run, json_text_at(plan, "id"), "vm.make", &request, one_made, one);
        if (is_last)
            return; /* `making` may be gone */
    }
}

static void create_all(JobRun *run) {
    Making *making = g_new0(Making, 1);
    making->plans = json_incref(json_object_get(job_data(run), "vms"));
    making->results = json_array();
    size_t i;
    json_t *plan;
    json_array_foreach (making->plans, i, plan)
        json_array_append_new(making->results,
            json_pack("{ss ss}", "id", json_text_at(plan, "id"), "name", json_text_at(plan, "name")));
    make_more(run, making);
}

static const JobStepKind create_steps[] = {
    {"template", "Builds the template if it is not built yet", create_template, NULL},
    {"make", "Makes the VMs", create_all, NULL},
};
static const JobKind vm_create = {"vm.create", create_steps, G_N_ELEMENTS(create_steps), prepare_create};

/* ---- vm.clone: as vm.create, but from a VM ---- */

static bool is_mac_taken(const char *mac, void *inventory) {
    return inventory_has_mac(inventory, mac, NULL);
}

static bool new_identity(Inventory *inventory, const Vm *source, const char *name, Vm *ret_vm, Error *err) {
    g_autoptr(json_t) json = vm_encode(source, MODEL_ENCODE_DEFINITION);
    json_object_del(json, "created");
    json_object_del(json, "updated");
    json_object_del(json, "revision");
    g_auto(Vm) vm = {0};
    if (!vm_decode(json, MODEL_STORED, &vm, err))
        return false;
    g_autofree char *id = uuid_new();
    vm_set_id(&vm, id);
    vm_set_name(&vm, name);
    vm_set_protected(&vm, false);
    for (size_t i = 0; i < vm.disks.n; i++) {
        g_autofree char *disk_id = uuid_new();
        disk_set_id(&vm.disks.items[i], disk_id);
        disk_set_serial(&vm.disks.items[i], NULL);
        disk_set_path(&vm.disks.items[i], NULL); /* the copy lies in the repository */
    }
    const Object *pool = inventory_get(inventory, RESOURCE_POOL, vm.pool);
    g_autoptr(GRand) random = g_rand_new();
    for (size_t i = 0; i < vm.nics.n; i++) {
        g_autofree char *nic_id = uuid_new(), *mac = NULL;
        if (!vm_plan_mac(vm_mac_prefix(pool), is_mac_taken, inventory, random, &mac, err))
            return false;
        nic_set_id(&vm.nics.items[i], nic_id);
        nic_set_mac(&vm.nics.items[i], mac);
    }
    if (vm_has(&vm, VM_FIELD_CLOUD_INIT))
        cloud_init_set_hostname(&vm.cloud_init, NULL);
    *ret_vm = vm;
    memset(&vm, 0, sizeof vm);
    return true;
}

/* What a copy of it has to read. */
static uint64_t disk_bytes(const Vm *vm) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < vm->disks.n; i++)
        if (vm->disks.items[i].kind == DISK_KIND_DISK)
            bytes += vm->disks.items[i].size;
    return bytes;
}

static bool runs(const Vm *vm) {
    VmState state = vm_has(vm, VM_FIELD_STATUS) ? vm->status.state : VM_STATE_UNKNOWN;
    return state == VM_STATE_RUNNING || state == VM_STATE_PAUSED;
}

/* Whether its blocks can be shared: a VM that runs stands still for a moment then. */
static bool can_share(Inventory *inventory, const Vm *source, const VmClone *request) {
    const Object *object = inventory_get(inventory, RESOURCE_REPOSITORY, source->repository);
    return object && ((const Repository *)object->data)->status.reflink &&
           request->clone != CLONE_METHOD_FULL;
}

/* Of a VM that runs every disk's file must be of one moment: it stands still as long as they are copied. The
 * host has the last word; one that is paused may be so for another copy. */
static bool check_source(Inventory *inventory, const Vm *source, const VmClone *request, Error *err) {
    VmState state = vm_has(source, VM_FIELD_STATUS) ? source->status.state : VM_STATE_UNKNOWN;
    if (request->clone == CLONE_METHOD_OVERLAY && disk_bytes(source) > 0)
        return error_set(err, ERROR_UNSUPPORTED, "/clone",
            "an overlay on the disk of a VM would change with it: share blocks or copy (auto)");
    if (state == VM_STATE_STOPPED || state == VM_STATE_CRASHED)
        return true;
    if (!runs(source))
        return error_set(err, ERROR_WRONG_STATE, NULL, "%s is neither stopped nor does it run", source->name);
    if (state == VM_STATE_PAUSED || request->hold || disk_bytes(source) == 0 ||
        can_share(inventory, source, request))
        return true;
    return error_set(err, ERROR_WRONG_STATE, "/hold",
        "%s runs, and its disks cannot be copied in a moment (%s): stop it, or let it be held while they are "
        "copied (hold)",
        source->name,
        request->clone == CLONE_METHOD_FULL ? "a full copy was asked for"
                                            : "its repository cannot share blocks");
}

/* For the dry run. */
static void tell_hold(Inventory *inventory, const Vm *source, const VmClone *request, json_t *data) {
    uint64_t bytes = disk_bytes(source);
    if (!runs(source) || source->status.state == VM_STATE_PAUSED || bytes == 0)
        return;
    bool is_moment = can_share(inventory, source, request);
    json_object_set_new(data, "held_for", json_string(is_moment ? "moment" : "copy"));
    if (!is_moment)
        json_object_set_new(data, "held_bytes", json_integer((json_int_t)bytes * request->count));
}

static bool prepare_clone(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    const Vm *source = asked->target->data;
    g_auto(VmClone) request = {0};
    if (!vm_clone_decode(asked->parameters, MODEL_STORED, &request, err))
        return false;
    model_apply_defaults(&vm_clone_type, &request);
    if (!check_source(inventory, source, &request, err) || !vm_host_takes(inventory, source, err) ||
        !reconcile_check(inventory, source->repository, err))
        return false;
    g_autoptr(json_t) plans = json_array();
    for (int64_t i = 1; i <= request.count; i++) {
        g_autofree char *name = vm_plan_name(request.name, i, request.count);
        g_auto(Vm) vm = {0};
        if (!is_object_name(name))
            return error_set(err, ERROR_INVALID, "/name", "name: %s is too long or not a name", name);
        if (inventory_has_name(inventory, RESOURCE_VM, name))
            return error_set(err, ERROR_EXISTS, "/name", "there is a VM %s already", name);
        if (!new_identity(inventory, source, name, &vm, err) ||
            (request.start && !vm_may_start(inventory, &vm, err)))
            return false;
        json_array_append_new(plans, vm_encode(&vm, MODEL_ENCODE_DEFINITION));
    }
    /* Several copies may be made at once; what would change the source waits for all of them. */
    job_claim_add(job, RESOURCE_VM, source->id, true, "it is copied");
    json_t *data = json_pack("{sO ss sb}", "vms", plans, "source", source->id, "hold", request.hold);
    tell_hold(inventory, source, &request, data);
    return take_plans(inventory, job, data, err);
}

static const JobStepKind clone_steps[] = {{"make", "Makes the copies", create_all, NULL}};
static const JobKind vm_clone = {"vm.clone", clone_steps, G_N_ELEMENTS(clone_steps), prepare_clone};

/* ---- vm.make: one VM ---- */

static bool planned_vm(const JobRun *run, Vm *ret_vm, Error *err) {
    return vm_decode(json_object_get(job_parameters(run), "vm"), MODEL_STORED, ret_vm, err);
}

static bool prepare_make(Inventory *inventory G_GNUC_UNUSED, const JobRequest *asked, Job *job, Error *err) {
    g_auto(Vm) vm = {0};
    if (!vm_decode(json_object_get(asked->parameters, "vm"), MODEL_STORED, &vm, err))
        return false;
    g_autofree char *target = g_strconcat("vm/", vm.id, NULL);
    job_set_target(job, target);
    job_set_target_name(job, vm.name);
    job_claim_add(job, RESOURCE_VM, vm.id, false, "it is made");
    claim_needs(job, &vm); /* its parent's may be broken */
    return true;
}

static void make_define(JobRun *run) {
    g_auto(Vm) vm = {0};
    g_auto(Error) err = {0};
    if (!planned_vm(run, &vm, &err)) {
        job_step_failed(run, &err);
        return;
    }
    if (inventory_get(job_inventory(run), RESOURCE_VM, vm.id)) { /* before a crash */
        job_step_done(run);
        return;
    }
    /* the template was perhaps built since the plan was made: take its direct boot */
    const Object *template = inventory_get(job_inventory(run), RESOURCE_TEMPLATE, vm.template);
    if (!template && vm.template && !json_text_at(job_parameters(run), "source"))
        error_set(&err, ERROR_NOT_FOUND, "/template", "the template is gone");
    if (error_is_set(&err) || !check_needs(job_inventory(run), &vm, &err)) {
        job_step_failed(run, &err);
        return;
    }
    const Template *source = template ? template->data : NULL;
    if (source && template_has(source, TEMPLATE_FIELD_DIRECT_BOOT)) {
        direct_boot_clear(vm_put_direct_boot(&vm));
        direct_boot_copy(&vm.direct_boot, &source->direct_boot);
    }
    for (size_t i = vm.disks.n; source && i < source->disks.n; i++) {
        Disk *disk = vm_add_disks(&vm);
        g_autofree char *id = uuid_new(), *name = g_strdup_printf("disk%zu", i);
        disk_set_id(disk, id);
        disk_set_name(disk, name);
        disk_set_size(disk, source->disks.items[i].size);
        model_apply_defaults(&disk_type, disk);
    }
    vm_status_set_state(vm_put_status(&vm), VM_STATE_CREATING);
    vm_status_set_job(&vm.status, job_definition(run)->id);
    InventoryChange *change = inventory_change_new(job_inventory(run));
    inventory_change_put(change, RESOURCE_VM, &vm);
    commit_and_go_on(run, change);
}

static const char *made_id(JobRun *run) {
    return json_text_at(job_parameters(run), "vm.id");
}

static void make_undefine(JobRun *run) {
    if (!inventory_get(job_inventory(run), RESOURCE_VM, made_id(run))) {
        job_step_done(run);
        return;
    }
    InventoryChange *change = inventory_change_new(job_inventory(run));
    inventory_change_delete(change, RESOURCE_VM, made_id(run));
    commit_and_go_on(run, change);
}

static void made(JobRun *run, const json_t *result) {
    Inventory *inventory = job_inventory(run);
    const Object *object = inventory_get(inventory, RESOURCE_VM, made_id(run));
    g_auto(AgentVmMade) answer = {0};
    g_auto(Error) err = {0};
    if (!object || !agent_vm_made_decode(result, MODEL_STORED, &answer, &err)) {
        step_failed(run, ERROR_PROTOCOL, NULL, "the agent's answer is not understood");
        return;
    }
    g_auto(Vm) vm = {0};
    vm_copy(&vm, object->data);
    for (size_t i = 0; i < vm.disks.n && i < answer.disks.n; i++) {
        disk_clear(&vm.disks.items[i]);
        disk_copy(&vm.disks.items[i], &answer.disks.items[i]);
    }
    show_vm_state(inventory, vm.id, VM_STATE_STOPPED, NULL);
    job_result(run, json_pack("{ss*}", "clone",
                        answer.disks.n && disk_has(&answer.disks.items[0], DISK_FIELD_CLONE)
                            ? model_enum_name(&clone_method_enum, (int)answer.disks.items[0].clone)
                            : NULL));
    InventoryChange *change = inventory_change_new(inventory);
    inventory_change_put(change, RESOURCE_VM, &vm);
    commit_and_go_on(run, change);
}

static void make_provision(JobRun *run) {
    Inventory *inventory = job_inventory(run);
    const Object *object = inventory_get(inventory, RESOURCE_VM, made_id(run));
    const char *source_id = json_text_at(job_parameters(run), "source");
    const Object *source = inventory_get(inventory, RESOURCE_VM, source_id);
    g_auto(Error) err = {0};
    if (!object || (source_id && !source)) {
        step_failed(run, ERROR_NOT_FOUND, NULL, object ? "the VM to copy is gone" : "the VM is gone");
        return;
    }
    const Vm *vm = object->data;
    if (source && g_strcmp0(((const Vm *)source->data)->host, vm->host) != 0) {
        step_failed(
            run, ERROR_WRONG_STATE, NULL, "the VM to copy has moved to another host meanwhile; ask again");
        return;
    }
    json_t *message = agent_vm_message(inventory, vm, json_text_at(job_parameters(run), "clone"), &err);
    if (!message) {
        job_step_failed(run, &err);
        return;
    }
    if (source)
        json_object_set_new(message, "source", vm_encode(source->data, MODEL_ENCODE_DEFINITION));
    if (json_is_true(json_object_get(job_parameters(run), "hold")))
        json_object_set_new(message, "hold", json_true());
    fleet_call(run, vm->host, AGENT_METHOD_VM_CREATE, message, RESOURCE_VM, vm->id, made);
}

static void call_with_id(
    JobRun *run, const Vm *vm, AgentMethodId method, json_t *take_more, FleetDoneFn done) {
    json_t *message = take_more ? take_more : json_object();
    json_object_set_new(message, "id", json_string(vm->id));
    const Object *repository = inventory_get(job_inventory(run), RESOURCE_REPOSITORY, vm->repository);
    if (repository)
        json_object_set_new(
            message, "repository", model_encode(&repository_type, repository->data, MODEL_ENCODE_DEFINITION));
    fleet_call(run, vm->host, method, message, RESOURCE_VM, vm->id, done);
}

static void make_unprovision(JobRun *run) {
    const Object *object = inventory_get(job_inventory(run), RESOURCE_VM, made_id(run));
    if (object)
        call_with_id(
            run, object->data, AGENT_METHOD_VM_DELETE, json_pack("{sb sb}", "force", 1, "purge", 1), NULL);
    else
        job_step_done(run);
}

static void state_arrived(JobRun *run, const json_t *result) {
    take_vm_state(job_inventory(run), result);
    job_step_done(run);
}

/* What it is given of the processor is worked out again if the step is: a start that was done is not
 * repeated. */
static void call_start(JobRun *run, const char *vm_id) {
    Inventory *inventory = job_inventory(run);
    const Object *object = inventory_get(inventory, RESOURCE_VM, vm_id);
    g_auto(CpuLevel) level = {0};
    g_auto(Error) err = {0};
    json_t *message = object ? agent_vm_message(inventory, object->data, NULL, &err) : NULL;
    if (!message) {
        if (!object)
            error_set(&err, ERROR_NOT_FOUND, NULL, "the VM is gone");
        job_step_failed(run, &err);
        return;
    }
    const Vm *vm = object->data;
    if (vm_cpu_level(inventory, vm, &level))
        json_object_set_new(message, "cpu", cpu_level_encode(&level, MODEL_ENCODE_ALL));
    fleet_call(run, vm->host, AGENT_METHOD_VM_START, message, RESOURCE_VM, vm_id, state_arrived);
}

static const char *started_id(JobRun *run) {
    const char *made = made_id(run);
    return made ? made : job_definition(run)->target + strlen("vm/");
}

static void give_cpu(JobRun *run, const char *vm_id);

static void cpu_is_remembered(const Error *err, void *data) {
    JobRun *run = data;
    if (err && err->code != ERROR_PRECONDITION) /* another start was faster, or somebody changed the pool */
        job_step_failed(run, err);
    else
        give_cpu(run, started_id(run));
}

/* The pool knows what it is before a VM has it. */
static void give_cpu(JobRun *run, const char *vm_id) {
    const Object *object = inventory_get(job_inventory(run), RESOURCE_VM, vm_id);
    g_auto(CpuLevel) level = {0};
    InventoryChange *change = object && vm_cpu_level(job_inventory(run), object->data, &level)
                                  ? vm_cpu_remember(job_inventory(run), object->data, &level)
                                  : NULL;
    if (change)
        inventory_commit(job_inventory(run), change, cpu_is_remembered, run);
    else
        call_start(run, vm_id);
}

/* Looked at again: others may have been started since it was asked for. */
static void start_here(JobRun *run, const char *vm_id) {
    const Object *object = inventory_get(job_inventory(run), RESOURCE_VM, vm_id);
    g_auto(Error) err = {0};
    if (object && !vm_may_start(job_inventory(run), object->data, &err)) {
        job_step_failed(run, &err);
        return;
    }
    show_vm_state(job_inventory(run), vm_id, VM_STATE_STARTING, job_definition(run)->id);
    give_cpu(run, vm_id);
}

static void make_start(JobRun *run) {
    if (!json_is_true(json_object_get(job_parameters(run), "start"))) {
        job_step_done(run);
        return;
    }
    start_here(run, made_id(run));
}

static const JobStepKind make_steps[] = {
    {"define", "Takes the name and the MACs", make_define, make_undefine},
    {"provision", "Makes the disks", make_provision, make_unprovision},
    {"start", "Starts it if asked to", make_start, NULL},
};
static const JobKind vm_make = {"vm.make", make_steps, G_N_ELEMENTS(make_steps), prepare_make};

/* ---- one VM that exists ---- */

static bool prepare_vm(Inventory *inventory G_GNUC_UNUSED, const JobRequest *asked, Job *job, Error *err) {
    const Vm *vm = asked->target->data;
    job_claim_add(job, RESOURCE_VM, vm->id, false, job->kind);
    if (!vm->host)
        return error_set(err, ERROR_WRONG_STATE, NULL, "%s has no host", vm->name);
    return true;
}

static bool prepare_start(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    const Vm *vm = asked->target->data;
    if (!prepare_vm(inventory, asked, job, err) || !vm_may_start(inventory, vm, err))
        return false;
    job_take_data(job, json_object());
    note_mode(inventory, vm, job->data);
    return true;
}

static const Vm *target_vm(JobRun *run) {
    const char *target = job_definition(run)->target;
    const Object *object = inventory_get(job_inventory(run), RESOURCE_VM, target + strlen("vm/"));
    return object ? object->data : NULL;
}

static void start_run(JobRun *run) {
    start_here(run, job_definition(run)->target + strlen("vm/"));
}

static void call_by_id(JobRun *run, AgentMethodId method, json_t *take_more, FleetDoneFn done) {
    const Vm *vm = target_vm(run);
    if (vm) {
        call_with_id(run, vm, method, take_more, done);
        return;
    }
    json_decref(take_more);
    step_failed(run, ERROR_NOT_FOUND, NULL, "the VM is gone");
}

static void stop_run(JobRun *run) {
    call_by_id(run, AGENT_METHOD_VM_STOP, json_deep_copy(job_parameters(run)), state_arrived);
}

static void kill_run(JobRun *run) {
    call_by_id(run, AGENT_METHOD_VM_KILL, NULL, state_arrived);
}

static void reset_run(JobRun *run) {
    call_by_id(run, AGENT_METHOD_VM_RESET, NULL, state_arrived);
}

static void pause_run(JobRun *run) {
    call_by_id(run, AGENT_METHOD_VM_PAUSE, NULL, state_arrived);
}

static void resume_run(JobRun *run) {
    call_by_id(run, AGENT_METHOD_VM_RESUME, NULL, state_arrived);
}

static void save_run(JobRun *run) {
    call_by_id(run, AGENT_METHOD_VM_SAVE, NULL, state_arrived);
}

static const JobStepKind start_steps[] = {{"start", "Starts it", start_run, NULL}};
static const JobKind vm_start = {"vm.start", start_steps, G_N_ELEMENTS(start_steps), prepare_start};

#define ONE_STEP(identifier, method, step_name, text, function, displaced)               \
    static const JobStepKind identifier##_steps[] = {{step_name, text, function, NULL}}; \
    static const JobKind identifier = {method, identifier##_steps, 1, prepare_vm, displaced}

ONE_STEP(vm_stop, "vm.stop", "stop", "Asks the guest to stop and waits", stop_run, NULL);
ONE_STEP(vm_kill, "vm.kill", "kill", "Pulls the plug", kill_run, "vm.stop");
ONE_STEP(vm_reset, "vm.reset", "reset", "Resets it", reset_run, NULL);
ONE_STEP(vm_pause, "vm.pause", "pause", "Holds it", pause_run, NULL);
ONE_STEP(vm_resume, "vm.resume", "resume", "Lets it go on", resume_run, NULL);
ONE_STEP(vm_save, "vm.save", "save", "Writes its memory to a file and ends it", save_run, NULL);

/* ---- vm.delete ---- */

static bool check_unprotected(const Vm *vm, Error *err) {
    return !vm->protected ||
           error_set(err, ERROR_IN_USE, "/protected", "%s is protected against deletion", vm->name);
}

/* For the dry run. */
static void tell_what_stays(const Vm *vm, Job *job) {
    json_t *warnings = json_array();
    for (size_t i = 0; i < vm->disks.n; i++)
        if (vm->disks.items[i].path)
            json_array_append_new(
                warnings, json_sprintf("%s lies outside of the repository and stays where it is",
                              vm->disks.items[i].path));
    if (json_array_size(warnings) > 0)
        job_take_data(job, json_pack("{sO}", "warnings", warnings));
    json_decref(warnings);
}

static bool prepare_delete(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    const Vm *vm = asked->target->data;
    if (!check_unprotected(vm, err) || !reconcile_check(inventory, vm->repository, err))
        return false;
    bool runs = vm_has(vm, VM_FIELD_STATUS) &&
                (vm->status.state == VM_STATE_RUNNING || vm->status.state == VM_STATE_PAUSED);
    if (runs && !json_is_true(json_object_get(asked->parameters, "force")))
        return error_set(
            err, ERROR_WRONG_STATE, NULL, "%s runs; stop it first, or delete it with force", vm->name);
    tell_what_stays(vm, job);
    return prepare_vm(inventory, asked, job, err);
}

/* What was asked for earlier may have protected it. */
static void delete_kill(JobRun *run) {
    const Vm *vm = target_vm(run);
    g_auto(Error) err = {0};
    if (vm && !check_unprotected(vm, &err))
        job_step_failed(run, &err);
    else if (json_is_true(json_object_get(job_parameters(run), "force")))
        kill_run(run);
    else
        job_step_done(run);
}

static void delete_files(JobRun *run) {
    const Vm *vm = target_vm(run);
    if (!vm) { /* before a crash */
        job_step_done(run);
        return;
    }
    show_vm_state(job_inventory(run), vm->id, VM_STATE_DELETING, job_definition(run)->id);
    call_with_id(run, vm, AGENT_METHOD_VM_DELETE, json_deep_copy(job_parameters(run)), NULL);
}

static void delete_definition(JobRun *run) {
    const Vm *vm = target_vm(run);
    if (!vm) {
        job_step_done(run);
        return;
    }
    InventoryChange *change = inventory_change_new(job_inventory(run));
    inventory_change_delete(change, RESOURCE_VM, vm->id);
    commit_and_go_on(run, change);
}

static const JobStepKind delete_steps[] = {
    {"kill", "Pulls its plug if forced to", delete_kill, NULL},
    {"files", "Moves its files to the trash", delete_files, NULL, .has_no_way_back = true},
    {"forget", "Removes its definition", delete_definition, NULL},
};
static const JobKind vm_delete = {"vm.delete", delete_steps, G_N_ELEMENTS(delete_steps), prepare_delete};

const JobKind *const vm_job_kinds[] = {&vm_create, &vm_clone, &vm_make, &vm_start, &vm_stop, &vm_kill,
    &vm_reset, &vm_pause, &vm_resume, &vm_save, &vm_delete};
const size_t n_vm_job_kinds = G_N_ELEMENTS(vm_job_kinds);
