/*
 * A VM that goes to another host while it runs: files are made there, the target lets the source's host in,
 * the source moves it, and only when it is there for certain the definition says so. Until then all is
 * undone; from then on the source's files are of no use to anybody. Where both hosts have the repository in
 * which it lies, no file is made or removed; one that does not run is only said to be the other host's then.
 */
#include <string.h>
#include "manager/job-kinds.h"
#include "manager/reconcile.h"
#include "manager/network-hosts.h"
#include "manager/repository-hosts.h"
#include "manager/vm-cpu.h"
#include "manager/vm-migrate.h"
#include "manager/vm-place.h"

static const Vm *moved_vm(JobRun *run) {
    const Object *object =
        inventory_get(job_inventory(run), RESOURCE_VM, job_definition(run)->target + strlen("vm/"));
    return object ? object->data : NULL;
}

static const char *note(JobRun *run, const char *name) {
    return json_text_at(job_data(run), name);
}

static const Host *host_of(JobRun *run, const char *name) {
    const Object *object = inventory_get(job_inventory(run), RESOURCE_HOST, note(run, name));
    return object ? object->data : NULL;
}

/* ---- may it be? ---- */

static bool host_is_connected(const Host *host) {
    return host_has(host, HOST_FIELD_STATUS) && host->status.state == HOST_STATE_CONNECTED;
}

static bool check_host(const Host *host, const char *role, Error *err) {
    if (!host->key)
        return error_set(err, ERROR_UNSUPPORTED, "/to_host",
            "%s is reached on a socket of the manager's machine; what a VM has is carried between hosts that "
            "listen on the network only (lodge-agent --listen), and it is the %s",
            host->name, role);
    return host_is_connected(host) ||
           error_set(err, ERROR_UNREACHABLE, "/to_host", "%s is not connected", host->name);
}

/* That in which it runs; NULL: the host has not told of it. */
static const HostMode *mode_of(const Host *host, const Vm *vm) {
    for (size_t i = 0; i < host->status.modes.n; i++)
        if (host->status.modes.items[i].mode == vm->status.mode)
            return &host->status.modes.items[i];
    return NULL;
}

/* In the mode in which it runs; what a host has not told of is not refused here. */
static bool check_mode(const Host *host, const Vm *vm, Error *err) {
    const HostMode *mode = mode_of(host, vm);
    return !mode || mode->migrate_live ||
           error_set(err, ERROR_UNSUPPORTED, NULL,
               "%s runs in the mode %s, which cannot be moved while it runs on %s", vm->name,
               model_enum_name(&vm_mode_enum, (int)mode->mode), host->name);
}

/* Agents of the version before this one say nothing of it, and could. */
static bool check_copies(const Host *source, const Vm *vm, const Repository *there, Error *err) {
    const HostMode *mode = mode_of(source, vm);
    bool can_copy = !mode || !host_mode_has(mode, HOST_MODE_FIELD_MIGRATE_COPY) || mode->migrate_copy;
    return can_copy || g_strcmp0(there->id, vm->repository) == 0 ||
           error_set(err, ERROR_UNSUPPORTED, "/repository",
               "%s runs on %s, which copies no disks of running VMs: it moves only where its disks are seen, "
               "in a shared repository",
               vm->name, source->name);
}

static const Host *host_of_vm(Inventory *inventory, const Vm *vm, Error *err) {
    const Object *object = vm->host ? inventory_get(inventory, RESOURCE_HOST, vm->host) : NULL;
    if (!object)
        error_set(err, ERROR_NOT_FOUND, NULL, "the host of %s is gone", vm->name);
    return object ? object->data : NULL;
}

static bool is_stopped(const Vm *vm) {
    return vm_has(vm, VM_FIELD_STATUS) &&
           (vm->status.state == VM_STATE_STOPPED || vm->status.state == VM_STATE_CRASHED);
}

bool vm_may_leave(Inventory *inventory, const Vm *vm, Error *err) {
    const Host *host = host_of_vm(inventory, vm, err);
    if (!host)
        return false;
    if (!vm_has(vm, VM_FIELD_STATUS) || vm->status.state != VM_STATE_RUNNING)
        return error_set(err, ERROR_WRONG_STATE, NULL, "%s does not run", vm->name);
    if (vm->status.adopted)
        return error_set(err, ERROR_WRONG_STATE, NULL,
            "%s still runs as the tool that made it has defined it: stop it and start it once", vm->name);
    return check_host(host, "source", err) && check_mode(host, vm, err);
}

static const Repository *repository_of(Inventory *inventory, const char *id) {
    const Object *object = id ? inventory_get(inventory, RESOURCE_REPOSITORY, id) : NULL;
    return object ? object->data : NULL;
}

/* Disks are copied; what a drive holds, and what is not attached, is not. */
static bool check_devices(
    Inventory *inventory, const Vm *vm, const Host *target, const Repository *there, Error *err) {
    for (size_t i = 0; i < vm->disks.n; i++) {
        const Disk *disk = &vm->disks.items[i];
        const Object *iso = disk->image ? inventory_get(inventory, RESOURCE_ISO, disk->image) : NULL;
        const Repository *home = iso ? repository_of(inventory, ((const Iso *)iso->data)->repository) : NULL;
        if (disk->image && home != there)
            return error_set(err, ERROR_UNSUPPORTED, "/disks",
                "%s has an ISO in a drive, which %s does not have; eject it", vm->name, target->name);
        if (disk->path && is_stopped(vm)) /* what lies below it is not known */
            return error_set(err, ERROR_UNSUPPORTED, "/disks",
                "the disk %s of %s lies outside of the repository (%s): start the VM, then it is copied",
                disk->name, vm->name, disk->path);
        if (disk->path && g_strcmp0(there->id, vm->repository) == 0)
            return error_set(err, ERROR_UNSUPPORTED, "/disks",
                "the disk %s of %s lies outside of the repository (%s), where %s does not see it; name a "
                "repository to copy it into",
                disk->name, vm->name, disk->path, target->name);
        if (disk->detached && !is_stopped(vm) && g_strcmp0(there->id, vm->repository) != 0)
            return error_set(err, ERROR_UNSUPPORTED, "/disks",
                "%s has the detached disk %s, whose content would not come along; attach or delete it, or "
                "stop "
                "the VM",
                vm->name, disk->name);
    }
    return true;
}

/* That in which it lies, where the host has it; else the only one of that host, or the one that was named. */
static const Repository *repository_there(
    Inventory *inventory, const Vm *vm, const Host *host, const char *named, Error *err) {
    const GPtrArray *all = inventory_list(inventory, RESOURCE_REPOSITORY);
    const Repository *here = repository_of(inventory, vm->repository), *found = NULL;
    if (here && repository_is_of(here, host) && (!named || strcmp(here->id, named) == 0))
        return here;
    for (guint i = 0; i < all->len; i++) {
        const Repository *repository = ((const Object *)all->pdata[i])->data;
        bool is_meant = named ? strcmp(repository->id, named) == 0 : !repository_is_shared(repository);
        if (!is_meant || !repository_is_of(repository, host))
            continue;
        if (found) {
            error_set(err, ERROR_INVALID, "/repository", "%s has several repositories; name one", host->name);
            return NULL;
        }
        found = repository;
    }
    if (!found)
        error_set(err, ERROR_INVALID, "/repository",
            named ? "that repository is not on %s" : "%s has no repository of its own; name a shared one",
            host->name);
    return found;
}

bool vm_may_go(Inventory *inventory, const Vm *vm, const Host *target, const char *named,
    const Repository **ret_repository, Error *err) {
    const Host *source = host_of_vm(inventory, vm, err);
    if (!source)
        return false;
    if (source == target)
        return error_set(err, ERROR_WRONG_STATE, "/to_host", "%s is on %s already", vm->name, target->name);
    if (source->driver != target->driver && !is_stopped(vm))
        return error_set(err, ERROR_UNSUPPORTED, "/to_host", "%s and %s have different hypervisors",
            source->name, target->name);
    if (g_strcmp0(source->pool, target->pool) != 0)
        return error_set(
            err, ERROR_INVALID, "/to_host", "%s and %s are in different pools", source->name, target->name);
    if (!is_stopped(vm) && (!check_host(target, "target", err) || !check_mode(target, vm, err) ||
                               !vm_cpu_is_on(inventory, vm, target, err)))
        return false;
    if (!vm_networks_are_on(inventory, vm, target, err))
        return false;
    const Repository *repository = repository_there(inventory, vm, target, named, err);
    if (!repository || (!is_stopped(vm) && !check_copies(source, vm, repository, err)) ||
        !repository_check_on(repository, target, err) ||
        !check_devices(inventory, vm, target, repository, err))
        return false;
    if (ret_repository)
        *ret_repository = repository;
    return true;
}

/* Of one that does not run: what its new host does not see is carried there by both hosts. */
static bool is_carried(const Vm *vm, const Repository *there) {
    return g_strcmp0(there->id, vm->repository) != 0 || vm->firmware == FIRMWARE_UEFI;
}

/* Neither host must be in the middle of something. */
static bool may_change_hosts(
    Inventory *inventory, const Vm *vm, const Host *target, const Repository *repository, Error *err) {
    const Host *source = host_of_vm(inventory, vm, err);
    if (!source)
        return false;
    if (is_carried(vm, repository) &&
        (!check_host(source, "source", err) || !check_host(target, "target", err)))
        return false;
    if (!host_is_connected(source) || !host_is_connected(target))
        return error_set(err, ERROR_UNREACHABLE, "/to_host",
            "%s is not connected: both hosts must be, to be certain that %s runs on neither",
            host_is_connected(source) ? target->name : source->name, vm->name);
    return true;
}

/* It takes its place there as one that starts. */
static bool may_start_there(
    Inventory *inventory, const Vm *vm, const char *host, const char *repository, Error *err) {
    g_auto(Vm) there = {0};
    vm_copy(&there, vm);
    vm_set_host(&there, host);
    vm_set_repository(&there, repository);
    vm_status_set_state(&there.status, VM_STATE_STOPPED);
    return vm_may_start(inventory, &there, err);
}

/* `ret_repository` (may be NULL): where its disks are then. */
static bool may_migrate(Inventory *inventory, const Vm *vm, const Host *target, const char *named,
    const Repository **ret_repository, Error *err) {
    const Repository *repository = NULL;
    if (!reconcile_check(inventory, vm->repository, err) ||
        (!is_stopped(vm) && !vm_may_leave(inventory, vm, err)) ||
        !vm_may_go(inventory, vm, target, named, &repository, err))
        return false;
    if (ret_repository)
        *ret_repository = repository;
    return is_stopped(vm) ? may_change_hosts(inventory, vm, target, repository, err)
                          : may_start_there(inventory, vm, target->id, repository->id, err);
}

static void claim_turn_of(Job *job, ResourceId kind, const char *id, int64_t limit) {
    g_autofree char *moves = g_strconcat("moves-", id, NULL);
    job_claim_one_of(job, kind, moves, limit, "VMs move there a few at a time");
}

/* Guests share the wires with what moves. */
static void claim_turn(Inventory *inventory, Job *job, const Vm *vm, const Host *target) {
    const Object *object = target->pool ? inventory_get(inventory, RESOURCE_POOL, target->pool) : NULL;
    if (!object)
        return;
    g_auto(Pool) pool = {0};
    pool_copy(&pool, object->data);
    model_apply_defaults(&pool_type, &pool); /* it may have been stored by an earlier version */
    claim_turn_of(job, RESOURCE_HOST, vm->host, pool.migrations_per_host);
    claim_turn_of(job, RESOURCE_HOST, target->id, pool.migrations_per_host);
    claim_turn_of(job, RESOURCE_POOL, pool.id, pool.migrations);
}

/* Its only files are neither made nor removed; one that does not run is only said to be the other host's. */
static void leave_steps_out(Job *job, bool is_shared, bool is_stopped, bool is_carried) {
    static const char *const with_files[] = {"make", "remove"};
    static const char *const with_memory[] = {"move", "end"};
    static const char *const of_stopped[] = {"carry", "arrive", "part"};
    static const char *const of_carried[] = {"expect", "carry", "leave"};
    for (size_t i = 0; is_shared && i < G_N_ELEMENTS(with_files); i++)
        job_leave_out(job, with_files[i]);
    for (size_t i = 0; is_stopped && i < G_N_ELEMENTS(with_memory); i++)
        job_leave_out(job, with_memory[i]);
    for (size_t i = 0; is_stopped && !is_carried && i < G_N_ELEMENTS(of_carried); i++)
        job_leave_out(job, of_carried[i]);
    if (!is_shared)
        job_leave_out(job, "leave");
    for (size_t i = 0; !is_stopped && i < G_N_ELEMENTS(of_stopped); i++)
        job_leave_out(job, of_stopped[i]);
}

static bool prepare_migrate(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    const Vm *vm = asked->target->data;
    const Repository *repository = NULL;
    g_auto(VmMigrate) request = {0};
    if (!vm_migrate_decode(asked->parameters, MODEL_STORED, &request, err))
        return false;
    const Object *to = inventory_get(inventory, RESOURCE_HOST, request.to_host);
    if (!to)
        return error_set(err, ERROR_NOT_FOUND, "/to_host", "the host is gone");
    const Host *target = to->data;
    if (!may_migrate(inventory, vm, target, request.repository, &repository, err))
        return false;
    job_set_target_name(job, vm->name);
    job_claim_add(job, RESOURCE_VM, vm->id, false, "it moves");
    job_claim_add(job, RESOURCE_HOST, target->id, true, "the VM goes there");
    job_claim_add(job, RESOURCE_REPOSITORY, repository->id, true, "its disks are there");
    claim_needs(job, vm);
    bool is_brought = is_stopped(vm) && is_carried(vm, repository);
    job_take_data(job,
        json_pack("{ss ss ss ss sb sb}", "from", vm->host, "to", target->id, "repository", repository->id,
            "from_repository", vm->repository, "is_stopped", is_stopped(vm), "is_carried", is_brought));
    if (!is_stopped(vm) || is_brought)
        claim_turn(inventory, job, vm, target);
    leave_steps_out(job, g_strcmp0(repository->id, vm->repository) == 0, is_stopped(vm), is_brought);
    return true;
}

/* Both hosts have the repository in which it lies. */
static bool is_shared_move(JobRun *run) {
    return g_strcmp0(note(run, "repository"), note(run, "from_repository")) == 0;
}

/* Without memory: files at most. */
static bool is_of_stopped(JobRun *run) {
    return json_is_true(json_object_get(job_data(run), "is_stopped"));
}

/* ---- messages ---- */

static void place_there(JobRun *run, const Vm *vm, Vm *ret_there) {
    vm_copy(ret_there, vm);
    vm_set_host(ret_there, note(run, "to"));
    vm_set_repository(ret_there, note(run, "repository"));
    if (is_shared_move(run))
        return;
    vm_set_template(ret_there, NULL); /* its disks are whole there */
    for (size_t i = 0; i < ret_there->disks.n; i++)
        disk_set_path(&ret_there->disks.items[i], NULL); /* and in the repository */
}

/* As it is to be there. NULL with the step failed. */
static json_t *message_there(JobRun *run) {
    const Vm *vm = moved_vm(run);
    g_auto(Vm) there = {0};
    g_auto(Error) err = {0};
    if (!vm) {
        step_failed(run, ERROR_NOT_FOUND, NULL, "the VM is gone");
        return NULL;
    }
    place_there(run, vm, &there);
    json_t *message = agent_vm_message(job_inventory(run), &there, NULL, &err);
    if (!message)
        job_step_failed(run, &err);
    return message;
}

/* As it is now. */
static json_t *message_here(JobRun *run) {
    const Vm *vm = moved_vm(run);
    return vm ? agent_vm_message(job_inventory(run), vm, NULL, NULL) : NULL;
}

static json_t *migration_message(JobRun *run, const Host *peer, json_t *take_here) {
    json_t *there = message_there(run);
    if (!there) {
        json_decref(take_here);
        return NULL;
    }
    const json_t *bandwidth = json_object_get(job_parameters(run), "bandwidth");
    return json_pack("{ss so ss ss ss sb sb sO* so* ss*}", "migration", job_definition(run)->id, "vm", there,
        "peer", peer->id, "key", peer->key, "address", peer->address, "copies_disks", !is_shared_move(run),
        "files", is_of_stopped(run), "bandwidth", bandwidth, "here", take_here, "state_folder",
        note(run, "state_folder"));
}

static void call_there(JobRun *run, AgentMethodId method, json_t *take_message, FleetDoneFn done) {
    fleet_call(run, note(run, "to"), method, take_message, RESOURCE_VM,
        job_definition(run)->target + strlen("vm/"), done);
}

static void call_here(JobRun *run, AgentMethodId method, json_t *take_message, FleetDoneFn done) {
    fleet_call(run, note(run, "from"), method, take_message, RESOURCE_VM,
        job_definition(run)->target + strlen("vm/"), done);
}

static json_t *files_message(JobRun *run, const char *repository) {
    const Object *object = inventory_get(job_inventory(run), RESOURCE_REPOSITORY, note(run, repository));
    json_t *definition =
        object ? model_encode(&repository_type, object->data, MODEL_ENCODE_DEFINITION) : NULL;
    return json_pack("{ss so*}", "id", job_definition(run)->target + strlen("vm/"), "repository", definition);
}

/* `how`: of agent_migration_end; NULL: the files of the migration only. */
static json_t *end_message(JobRun *run, const char *how) {
    json_t *message = json_pack(
        "{ss ss}", "migration", job_definition(run)->id, "vm", job_definition(run)->target + strlen("vm/"));
    if (how)
        json_object_set_new(message, how, json_true());
    return message;
}

/* ---- steps ---- */

/* Again, when it is its turn: others were promised the same memory meanwhile. */
static void begin(JobRun *run) {
    const Vm *vm = moved_vm(run);
    const Host *target = host_of(run, "to");
    g_auto(Error) err = {0};
    if (!vm || !target) {
        step_failed(run, ERROR_NOT_FOUND, NULL, "the VM or its new host is gone");
    } else if (g_strcmp0(vm->host, note(run, "from")) != 0 ||
               g_strcmp0(vm->repository, note(run, "from_repository")) != 0) {
        step_failed(run, ERROR_WRONG_STATE, NULL, "the VM has moved meanwhile; ask again");
    } else if (is_stopped(vm) != is_of_stopped(run)) {
        step_failed(run, ERROR_WRONG_STATE, NULL, "the VM was started or stopped meanwhile; ask again");
    } else if (!may_migrate(job_inventory(run), vm, target, note(run, "repository"), NULL, &err)) {
        job_step_failed(run, &err);
    } else {
        job_remember(run, "cpu_from", vm_cpu_origin(vm));
        job_step_done(run);
    }
}

static void end_at_source(JobRun *run) {
    call_here(run, AGENT_METHOD_MIGRATION_END, end_message(run, NULL), NULL);
}

/* Until it is there, its definition there names the host where it still is: nobody starts it there without
 * the manager. The step `write` tells the truth. */
static void make_there(JobRun *run) {
    json_t *message = message_there(run);
    if (!message)
        return;
    json_object_set_new(json_object_get(message, "vm"), "host", json_string(note(run, "from")));
    call_there(run, AGENT_METHOD_VM_CREATE, message, NULL);
}

static void remove_there(JobRun *run) {
    json_t *message = files_message(run, "repository");
    json_object_set_new(message, "purge", json_true());
    json_object_set_new(message, "of", json_string(note(run, "from")));
    call_there(run, AGENT_METHOD_VM_DELETE, message, NULL);
}

static void is_ready(JobRun *run, const json_t *result) {
    job_remember(run, "state_folder", json_string(json_text_at(result, "state_folder")));
    job_step_done(run);
}

static void expect_there(JobRun *run) {
    const Host *source = host_of(run, "from");
    json_t *message = source ? migration_message(run, source, NULL) : NULL;
    if (message)
        call_there(run, AGENT_METHOD_MIGRATION_EXPECT, message, is_ready);
    else if (!source)
        step_failed(run, ERROR_NOT_FOUND, NULL, "its host is gone");
}

static void end_at_target(JobRun *run) {
    call_there(
        run, AGENT_METHOD_MIGRATION_END, end_message(run, job_is_undoing(run) ? "drop" : "settle"), NULL);
}

static void send_it(JobRun *run, AgentMethodId method) {
    const Host *target = host_of(run, "to");
    json_t *message = target ? migration_message(run, target, message_here(run)) : NULL;
    if (message)
        call_here(run, method, message, NULL);
    else if (!target)
        step_failed(run, ERROR_NOT_FOUND, "/to_host", "the host is gone");
}

static void move_it(JobRun *run) {
    send_it(run, AGENT_METHOD_MIGRATION_MOVE);
}

static void carry_it(JobRun *run) {
    send_it(run, AGENT_METHOD_MIGRATION_CARRY);
}

static void define_there(JobRun *run) {
    const Vm *vm = moved_vm(run);
    g_auto(Vm) there = {0};
    if (!vm) {
        step_failed(run, ERROR_NOT_FOUND, NULL, "the VM is gone");
        return;
    }
    place_there(run, vm, &there);
    if (!is_of_stopped(run))
        vm_cpu_take_along(&there, json_object_get(job_data(run), "cpu_from"));
    InventoryChange *change = inventory_change_new(job_inventory(run));
    inventory_change_put(change, RESOURCE_VM, &there);
    commit_and_go_on(run, change);
}

/* Its file there says so too. */
static void write_there(JobRun *run) {
    const Vm *vm = moved_vm(run);
    g_auto(Error) err = {0};
    json_t *message = vm ? agent_vm_message(job_inventory(run), vm, NULL, &err) : NULL;
    fleet_look_again(job_host(run), note(run, "to"));
    if (message)
        call_there(run, AGENT_METHOD_VM_UPDATE, message, NULL);
    else if (vm)
        job_step_failed(run, &err);
    else
        step_failed(run, ERROR_NOT_FOUND, NULL, "the VM is gone");
}

static void arrive_there(JobRun *run) {
    call_there(run, AGENT_METHOD_MIGRATION_END, end_message(run, "arrives"), NULL);
}

static json_t *leaving_message(JobRun *run, const char *repository) {
    json_t *message = files_message(run, repository);
    const Host *target = host_of(run, "to");
    json_object_set_new(message, "to", json_string(note(run, "to")));
    json_object_set_new(message, "migration", json_string(job_definition(run)->id));
    if (target)
        json_object_set_new(message, "address", json_string(target->address));
    return message;
}

static void remove_here(JobRun *run) {
    call_here(run, AGENT_METHOD_VM_DELETE, leaving_message(run, "from_repository"), NULL);
}

/* Its files stay until its definition says where it is. */
static void part_here(JobRun *run) {
    json_t *message = leaving_message(run, "from_repository");
    if (json_is_true(json_object_get(job_data(run), "is_carried")))
        json_object_set_new(message, "keep", json_true());
    call_here(run, AGENT_METHOD_VM_LEAVE, message, NULL);
}

static void leave_here(JobRun *run) {
    call_here(run, AGENT_METHOD_VM_LEAVE, leaving_message(run, "repository"), NULL);
}

static const JobStepKind migrate_steps[] = {
    {"begin", "Looks whether it can be", begin, end_at_source},
    {"make", "Makes its disks there", make_there, remove_there},
    {"expect", "Makes the target ready", expect_there, end_at_target},
    {"move", "Moves it while it runs", move_it, NULL, .has_no_way_back = true},
    {"carry", "Copies its files there", carry_it, NULL},
    {"arrive", "Tells its new host", arrive_there, NULL},
    {"part", "Makes certain that its old host does not run it, nor will", part_here, end_at_source},
    {"define", "Says that it is there", define_there, NULL, .has_no_way_back = true},
    {"write", "Writes its definition there", write_there, NULL},
    {"end", "Closes the way between the hosts", end_at_target, NULL},
    {"remove", "Moves the old disks to the trash", remove_here, NULL},
    {"leave", "Lets its old host forget it", leave_here, NULL},
    /* As long as its definition lies there, its old host remembers that it has gone. */
    {"forget", "Ends the migration at its old host", end_at_source, NULL},
};
static const JobKind vm_migrate = {"vm.migrate", migrate_steps, G_N_ELEMENTS(migrate_steps), prepare_migrate};

const JobKind *const migrate_job_kinds[] = {&vm_migrate};
const size_t n_migrate_job_kinds = G_N_ELEMENTS(migrate_job_kinds);
