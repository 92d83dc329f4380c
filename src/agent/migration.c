/* Both ends: what the manager asks, and what the source's agent asks of the target's. */
#include "agent/migration.h"
#include "agent/vm-plan.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

enum {
    PEER_S = 7 * 24 * 3600,
    LOOK_AGAIN_MS = 200,
    PATIENCE_S = 30 /* with a target that does not answer while the guest is suspended */
};

char *migration_folder(const Agent *agent, const char *id, bool is_target) {
    return agent->driver->mover->folder(agent->session, id, is_target);
}

const char *key_of_migration_ref(const void *parameters) {
    return ((const AgentMigrationRef *)parameters)->vm;
}

const char *key_of_migration_end(const void *parameters) {
    return ((const AgentMigrationEnd *)parameters)->vm;
}

const char *key_of_migration_step(const void *parameters) {
    return ((const AgentMigrationStep *)parameters)->vm;
}

const char *key_of_migration(const void *parameters) {
    return ((const AgentMigration *)parameters)->vm.vm.id;
}

static bool can_move(const AgentCall *call, Error *err) {
    return call->agent->driver->mover ||
           error_set(err, ERROR_UNSUPPORTED, NULL, "the hypervisor of this host moves no running VMs");
}

static bool look(const Agent *agent, const char *vm_id, MigrationHere *ret_here, Error *err) {
    return agent->driver->mover->look(agent->session, vm_id, ret_here, err);
}

bool migration_plan(const AgentCall *call, const AgentVm *vm, VmPlan *plan, Error *err) {
    bool has_home = agent_vm_has(vm, AGENT_VM_FIELD_TEMPLATE_REPOSITORY);
    const VmPlanSource source = {.vm = &vm->vm,
        .repository = &vm->repository,
        .template_repository = has_home ? &vm->template_repository : NULL,
        .networks = vm->networks.items,
        .n_networks = vm->networks.n,
        .isos = vm->isos.items,
        .n_isos = vm->isos.n,
        .acceleration =
            agent_vm_has(vm, AGENT_VM_FIELD_ACCELERATION) ? vm->acceleration : call->agent->acceleration};
    return vm_plan_make(&source, plan, err);
}

/* `plan_here` may be NULL. */
static HypervisorMigration migration_of(
    const AgentMigration *request, const VmPlan *plan, const VmPlan *plan_here, const char *folder) {
    return (HypervisorMigration){.vm = &plan->vm,
        .vm_here = plan_here ? &plan_here->vm : NULL,
        .state_folder_there = request->state_folder,
        .folder = folder,
        .copies_disks = request->copies_disks,
        .bandwidth = request->bandwidth};
}

/* ---- the target ---- */

/* A copy of an earlier try, which has never run. */
static bool clear_earlier(const AgentCall *call, const char *vm_id, Error *err) {
    MigrationHere here = MIGRATION_UNKNOWN;
    const HypervisorMover *mover = call->agent->driver->mover;
    if (!look(call->agent, vm_id, &here, err))
        return false;
    if (here == MIGRATION_ARRIVING || here == MIGRATION_ARRIVED)
        return mover->act(call->agent->session, vm_id, MIGRATION_DROP_TARGET, err);
    return here == MIGRATION_NOTHING || here == MIGRATION_ENDED ||
           error_set(
               err, ERROR_WRONG_STATE, NULL, "the VM is on this host already: %s", migration_here_name(here));
}

bool handle_migration_expect(AgentCall *call, Error *err) {
    const AgentMigration *request = call->parameters;
    g_auto(VmPlan) plan = {0};
    if (request->files)
        return true; /* nothing comes to the hypervisor */
    if (!can_move(call, err))
        return false;
    g_autofree char *folder = migration_folder(call->agent, request->migration, true);
    if (!migration_plan(call, &request->vm, &plan, err) || !clear_earlier(call, request->vm.vm.id, err) ||
        !folder_make(folder, 0711, err))
        return false;
    const HypervisorMigration migration = migration_of(request, &plan, NULL, folder);
    agent_migration_ready_set_state_folder(call->result, call->agent->state);
    return call->agent->driver->mover->expect(call->agent->session, &migration, err);
}

/* Where streams of each kind lead to. */
static void note_paths(const AgentCall *call, json_t *record) {
    const AgentMigration *request = call->parameters;
    g_auto(VmPlan) plan = {0};
    g_autofree char *folder = request->files ? NULL : migration_folder(call->agent, request->migration, true);
    if (request->files)
        migration_note_files(call->agent, request, record);
    if (!migration_plan(call, &request->vm, &plan, NULL))
        return;
    const HypervisorMigration migration = migration_of(request, &plan, NULL, folder);
    for (MigrationChannel channel = 0; !request->files && channel < MIGRATION_CHANNEL_MAX; channel++) {
        g_autofree char *path = call->agent->driver->mover->path(call->agent->session, &migration, channel);
        if (path)
            json_object_set_new(
                record, model_enum_name(&migration_channel_enum, (int)channel), json_string(path));
    }
    const char *files[] = {plan.vm.kernel_path, plan.vm.initrd_path};
    for (MigrationFile file = 0; file < G_N_ELEMENTS(files); file++)
        if (files[file])
            json_object_set_new(
                record, model_enum_name(&migration_file_enum, (int)file), json_string(files[file]));
}

bool finish_migration_expect(AgentCall *call, Error *err) {
    const AgentMigration *request = call->parameters;
    Agent *agent = call->agent;
    json_t *record = json_pack("{ss ss ss ss}", "role", "target", "peer", request->peer, "key", request->key,
        "vm", request->vm.vm.id);
    note_paths(call, record);
    agent_note_networks(agent, request->vm.networks.items, request->vm.networks.n);
    journal_migration_put(agent->journal, request->migration, record, NULL, NULL);
    return remote_expect(agent->remote, request->peer, request->key, PEER_S, err);
}

void migrations_resume(Agent *agent) {
    GHashTableIter each;
    void *id, *record;
    g_hash_table_iter_init(&each, journal_migrations(agent->journal));
    while (g_hash_table_iter_next(&each, &id, &record))
        if (g_strcmp0(json_text_at(record, "role"), "target") == 0)
            remote_expect(
                agent->remote, json_text_at(record, "peer"), json_text_at(record, "key"), PEER_S, NULL);
}

/* NULL with the error. */
static const json_t *record_for_peer(
    const AgentClient *client, const char *id, const char *vm_id, Error *err) {
    const json_t *record = id ? journal_migration(client->agent->journal, id) : NULL;
    const RpcStream *stream = rpc_connection_stream(client->connection);
    const char *peer = stream ? remote_peer(client->agent->remote, rpc_stream_shown(stream)) : NULL;
    if (record && peer && g_strcmp0(json_text_at(record, "vm"), vm_id) == 0 &&
        g_strcmp0(json_text_at(record, "peer"), peer) == 0 &&
        g_strcmp0(json_text_at(record, "role"), "target") == 0)
        return record;
    error_set(err, ERROR_NOT_FOUND, "/migration", "this host does not expect that migration");
    return NULL;
}

/* Of a VM that is leaving this host, or has left it; NULL: none. */
static const json_t *source_record(const Agent *agent, const char *vm_id, const char **ret_id) {
    GHashTableIter each;
    void *id, *record;
    g_hash_table_iter_init(&each, journal_migrations(agent->journal));
    while (vm_id && g_hash_table_iter_next(&each, &id, &record))
        if (g_strcmp0(json_text_at(record, "role"), "source") == 0 &&
            g_strcmp0(json_text_at(record, "vm"), vm_id) == 0) {
            *ret_id = id;
            return record;
        }
    return NULL;
}

static bool check_here(const Agent *agent, const char *vm_id, const char *to, Error *err) {
    const char *id = NULL;
    const json_t *record = source_record(agent, vm_id, &id);
    bool has_left = json_is_true(json_object_get(record, "switched"));
    if (!record || (has_left && to && g_strcmp0(json_text_at(record, "peer"), to) == 0))
        return true;
    return error_set(err, ERROR_WRONG_STATE, NULL,
        has_left ? "the VM has moved to the host at %s: `vm migrate` it there, or adopt what lies there"
                 : "the VM is on its way to the host at %s",
        json_text_at(record, "address"));
}

static bool is_shared(const Repository *repository) {
    return repository->kind == REPOSITORY_KIND_SHARED;
}

/* What must not be done here with a VM that runs on another host: start it, and, where that host has the same
 * files, touch these. */
bool migration_check_method(const Agent *agent, AgentMethodId method, const void *parameters, Error *err) {
    const AgentVmRef *ref = parameters;
    const AgentVmChange *change = parameters;
    const AgentVm *made = parameters;
    const AgentTemplateFromVm *template = parameters;
    switch (method) {
    case AGENT_METHOD_VM_START:
    case AGENT_METHOD_VM_RESUME:
        return check_here(agent, agent_handlers[method].key(parameters), NULL, err);
    case AGENT_METHOD_VM_DELETE:
    case AGENT_METHOD_VM_LEAVE:
        return !is_shared(&ref->repository) || check_here(agent, ref->id, ref->to, err);
    case AGENT_METHOD_VM_UPDATE:
        return !is_shared(&change->repository) || check_here(agent, change->vm.id, NULL, err);
    case AGENT_METHOD_VM_CREATE:
        return !is_shared(&made->repository) || check_here(agent, made->source.id, NULL, err);
    case AGENT_METHOD_TEMPLATE_CREATE:
        return !is_shared(&template->repository) || check_here(agent, template->vm.id, NULL, err);
    default:
        return true;
    }
}

static char *obstacle_of(const json_t *record) {
    const char *address = json_text_at(record, "address");
    if (g_strcmp0(json_text_at(record, "role"), "source") != 0)
        return g_strdup("the VM is on its way to this host; its move ends when the manager is back");
    return json_is_true(json_object_get(record, "switched"))
               ? g_strdup_printf("the VM has moved to the host at %s", address ? address : "?")
               : g_strdup_printf("the VM is on its way to the host at %s", address ? address : "?");
}

GHashTable *migration_obstacles(const Agent *agent) {
    GHashTable *obstacles = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    GHashTableIter each;
    void *record;
    g_hash_table_iter_init(&each, journal_migrations(agent->journal));
    while (g_hash_table_iter_next(&each, NULL, &record)) {
        const char *vm_id = json_text_at(record, "vm");
        if (vm_id)
            g_hash_table_replace(obstacles, g_strdup(vm_id), obstacle_of(record));
    }
    return obstacles;
}

bool migration_check_peer(const AgentClient *client, const json_t *parameters, Error *err) {
    return record_for_peer(
               client, json_text_at(parameters, "migration"), json_text_at(parameters, "vm"), err) != NULL;
}

char *migration_path_for_peer(
    const AgentClient *client, const char *id, const char *vm_id, const char *what, Error *err) {
    const json_t *record = record_for_peer(client, id, vm_id, err);
    const char *path = record ? json_text_at(record, what) : NULL;
    if (record && !path)
        error_set(err, ERROR_UNSUPPORTED, NULL, "nothing is expected here for %s", what);
    return g_strdup(path);
}

static bool show(AgentCall *call, const char *vm_id, Error *err) {
    AgentMigrationView *view = call->result;
    MigrationHere here = MIGRATION_UNKNOWN;
    if (!look(call->agent, vm_id, &here, err))
        return false;
    agent_migration_view_set_here(view, migration_here_name(here));
    return here == MIGRATION_NOTHING ||
           agent_vm_state(call->agent, vm_id, agent_migration_view_put_state(view), err);
}

bool handle_migration_look(AgentCall *call, Error *err) {
    return show(call, ((const AgentMigrationRef *)call->parameters)->vm, err);
}

bool handle_migration_act(AgentCall *call, Error *err) {
    const AgentMigrationStep *wanted = call->parameters;
    MigrationStep step =
        wanted->step == MIGRATION_ACT_START_TARGET ? MIGRATION_START_TARGET : MIGRATION_DROP_TARGET;
    return call->agent->driver->mover->act(call->agent->session, wanted->vm, step, err) &&
           show(call, wanted->vm, err);
}

/* ---- the source ---- */

typedef struct Course {
    AgentCall *call;
    const char *vm_id;
    MigrationRelay *relay;
    int64_t settling_since_ns;
    json_t *state; /* of the VM at the target, as it was told last */
} Course;

static int64_t now_ns(void) {
    return clock_monotonic_ns(clock_system());
}

static MigrationHere here_of(const char *name) {
    for (MigrationHere here = 0; here <= MIGRATION_UNKNOWN; here++)
        if (g_strcmp0(name, migration_here_name(here)) == 0)
            return here;
    return MIGRATION_UNKNOWN;
}

static MigrationHere take_view(Course *course, json_t *take_view) {
    g_autoptr(json_t) view = take_view;
    json_t *state = json_object_get(view, "state");
    if (state) {
        json_decref(course->state);
        course->state = json_incref(state);
    }
    return here_of(json_text_at(view, "here"));
}

static const char *id_of(const Course *course) {
    return ((const AgentMigration *)course->call->parameters)->migration;
}

static MigrationHere look_at_target(Course *course) {
    json_t *view = migration_relay_ask(course->relay, AGENT_METHOD_MIGRATION_LOOK,
        json_pack("{ss ss}", "migration", id_of(course), "vm", course->vm_id), NULL);
    return take_view(course, view);
}

static MigrationStep decide(Course *course) {
    MigrationView view = {
        .source = MIGRATION_UNKNOWN, .is_switched = migration_relay_is_switched(course->relay)};
    if (!look(course->call->agent, course->vm_id, &view.source, NULL))
        return MIGRATION_WAIT;
    view.target = look_at_target(course);
    view.is_out_of_patience = now_ns() - course->settling_since_ns > PATIENCE_S * NS_PER_S;
    MigrationStep step = migration_next(&view);
    log_info("migration %s: here %s, there %s, %s: %s", id_of(course), migration_here_name(view.source),
        migration_here_name(view.target), view.is_switched ? "switched" : "not switched",
        migration_step_name(step));
    return step;
}

static bool act_there(Course *course, const char *step, Error *err) {
    json_t *view = migration_relay_ask(course->relay, AGENT_METHOD_MIGRATION_ACT,
        json_pack("{ss ss ss}", "migration", id_of(course), "vm", course->vm_id, "step", step), err);
    bool is_done = view != NULL;
    take_view(course, view);
    return is_done;
}

static bool act(Course *course, MigrationStep step, Error *err) {
    const Agent *agent = course->call->agent;
    switch (step) {
    case MIGRATION_SWITCH:
        return migration_relay_switch(course->relay, err);
    case MIGRATION_START_TARGET:
        return act_there(course, "start_target", err);
    case MIGRATION_DROP_TARGET:
        return act_there(course, "drop_target", err);
    case MIGRATION_RESUME_SOURCE:
    case MIGRATION_DROP_SOURCE:
        return agent->driver->mover->act(agent->session, course->vm_id, step, err);
    default:
        g_usleep(LOOK_AGAIN_MS * 1000);
        return true;
    }
}

/* Until it is known where the VM is, and it is nowhere else. */
static bool settle(Course *course, const Error *why, Error *err) {
    migration_relay_stop(course->relay);
    course->settling_since_ns = now_ns();
    for (;;) {
        g_auto(Error) fault = {0};
        MigrationStep step = decide(course);
        if (step == MIGRATION_MOVED)
            return true;
        if (step == MIGRATION_FAULT)
            return error_set(err, ERROR_CORRUPT, NULL,
                "the VM runs on both hosts, or has been changed there by others: stop one");
        if (step == MIGRATION_STAYED) {
            error_copy(err, why);
            return error_is_set(err)
                       ? false
                       : error_set(err, ERROR_LOST, NULL, "the move was interrupted; the VM is where it was");
        }
        if (!act(course, step, &fault)) {
            log_warning(
                "migration %s: %s failed: %s", id_of(course), migration_step_name(step), fault.message);
            g_usleep(LOOK_AGAIN_MS * 1000);
        }
    }
}

/* Until the hypervisor has done with it, in whichever way. */
static bool begin(Course *course, Error *err) {
    AgentCall *call = course->call;
    const AgentMigration *request = call->parameters;
    g_auto(VmPlan) plan = {0}, plan_here = {0};
    g_autofree char *folder = migration_folder(call->agent, request->migration, false);
    bool has_here = agent_migration_has(request, AGENT_MIGRATION_FIELD_HERE);
    if (!cancel_check(call->cancel, err) || !migration_plan(call, &request->vm, &plan, err) ||
        (has_here && !migration_plan(call, &request->here, &plan_here, err)))
        return false;
    if (look_at_target(course) == MIGRATION_UNKNOWN) /* the link must be there when the hypervisor connects */
        return error_set(
            err, ERROR_HYPERVISOR, NULL, "this host cannot reach the other one at %s", request->address);
    if (has_here && plan_here.vm.seed_path) /* it is made there as it was made here */
        plan.vm.seed_path = vm_plan_seed_path(&plan, &request->vm.repository);
    const HypervisorMigration migration = migration_of(request, &plan, has_here ? &plan_here : NULL, folder);
    if (has_here && !migration_give_files(course->relay, request, &plan_here.vm, call->cancel, err))
        return false;
    return call->agent->driver->mover->move(
        call->agent->session, &migration, &call->progress, call->cancel, err);
}

/* After an interruption it is only brought to an end. */
static bool move(Course *course, Error *err) {
    g_auto(Error) why = {0};
    bool is_first = !migration_relay_is_known(course->relay);
    if (is_first && !begin(course, &why) && why.code == ERROR_UNREACHABLE)
        why.code = ERROR_HYPERVISOR; /* which would be tried again */
    if (settle(course, &why, err))
        return true;
    if (err->code != ERROR_CORRUPT)
        migration_relay_forget(course->relay, NULL);
    return false;
}

bool handle_migration_move(AgentCall *call, Error *err) {
    const AgentMigration *request = call->parameters;
    if (!can_move(call, err))
        return false;
    if (!request->address)
        return error_set(err, ERROR_INVALID, "/address", "where is the target?");
    const HypervisorMover *mover = call->agent->driver->mover;
    if (mover->guard && !mover->guard(call->agent->session, err))
        return false;
    Course course = {
        .call = call, .vm_id = request->vm.vm.id, .relay = migration_relay_new(call->agent, request, err)};
    if (!course.relay)
        return false;
    bool has_moved = move(&course, err);
    migration_relay_free(course.relay);
    if (has_moved && course.state)
        has_moved = agent_vm_state_decode(course.state, MODEL_STORED, call->result, err);
    json_decref(course.state);
    return has_moved;
}

/* ---- the end, on both ---- */

static bool remove_folder(const Agent *agent, const char *id, bool is_target, Error *err) {
    g_autofree char *folder = migration_folder(agent, id, is_target);
    return tree_remove(folder, err);
}

/* What is left of a copy is ended only where the manager knows that it is none: a VM that somebody pauses in
 * its first moments here looks like one. */
static bool end_here(AgentCall *call, const AgentMigrationEnd *request, Error *err) {
    const Agent *agent = call->agent;
    MigrationHere here = MIGRATION_UNKNOWN;
    if (!look(agent, request->vm, &here, err))
        return false;
    call->has_come = request->settle && here == MIGRATION_RUNS;
    MigrationStep step = request->drop ? MIGRATION_DROP_TARGET : MIGRATION_START_TARGET;
    bool is_meant = request->drop ? migration_may(step, here) : call->has_come;
    return !is_meant || agent->driver->mover->act(agent->session, request->vm, step, err);
}

bool handle_migration_end(AgentCall *call, Error *err) {
    const AgentMigrationEnd *request = call->parameters;
    return !call->agent->driver->mover ||
           (end_here(call, request, err) && remove_folder(call->agent, request->migration, true, err) &&
               remove_folder(call->agent, request->migration, false, err));
}

/* It left once, and nobody came to say that this was over; now it is here. */
static void forget_departures(Agent *agent, const char *vm_id) {
    g_autoptr(GPtrArray) ended = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter each;
    void *id, *record;
    g_hash_table_iter_init(&each, journal_migrations(agent->journal));
    while (g_hash_table_iter_next(&each, &id, &record))
        if (g_strcmp0(json_text_at(record, "role"), "source") == 0 &&
            g_strcmp0(json_text_at(record, "vm"), vm_id) == 0 &&
            json_is_true(json_object_get(record, "switched")))
            g_ptr_array_add(ended, g_strdup(id));
    for (guint i = 0; i < ended->len; i++)
        journal_migration_delete(agent->journal, ended->pdata[i], NULL, NULL);
}

/* From now on nobody starts it here, whatever its definition says until the manager has written it. */
bool finish_vm_leave(AgentCall *call, Error *err G_GNUC_UNUSED) {
    const AgentVmRef *ref = call->parameters;
    forget_departures(call->agent, ref->id);
    if (ref->migration && ref->to)
        journal_migration_put(call->agent->journal, ref->migration,
            json_pack("{ss ss ss ss* sb}", "role", "source", "peer", ref->to, "vm", ref->id, "address",
                ref->address, "switched", 1),
            NULL, NULL);
    return true;
}

bool finish_migration_end(AgentCall *call, Error *err G_GNUC_UNUSED) {
    const AgentMigrationEnd *request = call->parameters;
    if (call->has_come || request->arrives)
        forget_departures(call->agent, request->vm);
    migration_streams_end(call->agent, request->migration);
    journal_migration_delete(call->agent->journal, request->migration, NULL, NULL);
    return true;
}
