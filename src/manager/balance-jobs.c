/*
 * Jobs that move many running VMs: a host that goes into maintenance or comes back, a pool whose hosts are to
 * carry alike. The plan is made when the job is (a dry run shows it), each move is a job of its own, and what
 * cannot be moved is told in the result. Loads are what is promised of memory: nobody measures yet how busy
 * VMs keep their processors.
 */
#include <math.h>
#include <string.h>
#include "engine/power-saving.h"
#include "manager/job-kinds.h"
#include "manager/vm-migrate.h"
#include "manager/vm-place.h"
#include "model/format.h"

enum { MOST_TOLD = 1000, MOST_EVACUATED = 4096, DETAIL_LENGTH = 300 };

/* ---- the pool as the engine sees it ---- */

typedef struct World {
    Inventory *inventory;
    GPtrArray *hosts, *vms; /* Host, Vm; borrowed */
    GArray *host_loads;     /* BalanceHost */
    GArray *vm_loads;       /* BalanceVm */
} World;

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BalancePlan, balance_plan_clear)

static void world_clear(World *world) {
    g_clear_pointer(&world->hosts, g_ptr_array_unref);
    g_clear_pointer(&world->vms, g_ptr_array_unref);
    g_clear_pointer(&world->host_loads, g_array_unref);
    g_clear_pointer(&world->vm_loads, g_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

static void add_vms(World *world, const Host *host, size_t number) {
    const GPtrArray *vms = inventory_vms_on(world->inventory, host->id);
    for (guint i = 0; i < vms->len; i++) {
        const Vm *vm = ((const Object *)vms->pdata[i])->data;
        if (!vm_occupies_memory(vm))
            continue;
        const BalanceVm load = {.name = vm->name,
            .host = number,
            .memory_bytes = vm->memory,
            .may_move = vm_may_leave(world->inventory, vm, NULL)};
        g_ptr_array_add(world->vms, (void *)(uintptr_t)vm);
        g_array_append_val(world->vm_loads, load);
    }
}

/* Hosts of a pool that answer; `leaving` (may be NULL) takes nothing. */
static void world_init(World *world, Inventory *inventory, const char *pool, const char *leaving) {
    const GPtrArray *all = inventory_list(inventory, RESOURCE_HOST);
    *world = (World){inventory, g_ptr_array_new(), g_ptr_array_new(),
        g_array_new(FALSE, FALSE, sizeof(BalanceHost)), g_array_new(FALSE, FALSE, sizeof(BalanceVm))};
    for (guint i = 0; i < all->len; i++) {
        const Host *host = ((const Object *)all->pdata[i])->data;
        if (g_strcmp0(host->pool, pool) != 0 || host->status.state != HOST_STATE_CONNECTED)
            continue;
        uint64_t kept = host->memory_reserve + host->status.control_memory;
        bool takes = !host->maintenance && g_strcmp0(host->id, leaving) != 0;
        const BalanceHost load = {.name = host->name,
            .memory_bytes = host->status.memory > kept ? host->status.memory - kept : 1,
            .cpus = (double)MAX(host->status.cpus, 1),
            .may_give = takes || g_strcmp0(host->id, leaving) == 0,
            .may_take = takes};
        g_ptr_array_add(world->hosts, (void *)(uintptr_t)host);
        g_array_append_val(world->host_loads, load);
        add_vms(world, host, world->hosts->len - 1);
    }
}

static bool may_run(size_t vm, size_t host, const size_t *places, void *data) {
    const World *world = data;
    const Host *from = world->hosts->pdata[places[vm]];
    return from == world->hosts->pdata[host] ||
           vm_may_go(world->inventory, world->vms->pdata[vm], world->hosts->pdata[host], NULL, NULL, NULL);
}

static BalanceWorld engine_world(World *world) {
    return (BalanceWorld){.hosts = (const BalanceHost *)(void *)world->host_loads->data,
        .n_hosts = world->host_loads->len,
        .vms = (const BalanceVm *)(void *)world->vm_loads->data,
        .n_vms = world->vm_loads->len,
        .may_run = may_run,
        .data = world};
}

/* ---- plans ---- */

static json_t *move_of(const Vm *vm, const Host *from, const Host *to, const char *reason) {
    return json_pack("{ss ss ss ss ss ss}", "id", vm->id, "vm", vm->name, "from", from->name, "to", to->name,
        "to_host", to->id, "reason", reason);
}

static int percent(double part) {
    return (int)lround(part * 100);
}

static json_t *moves_of(const World *world, const BalancePlan *plan) {
    json_t *moves = json_array();
    for (size_t i = 0; i < plan->n_moves; i++) {
        const BalanceMove *move = &plan->moves[i];
        const Host *from = world->hosts->pdata[move->from], *to = world->hosts->pdata[move->to];
        g_autofree char *reason = g_strdup_printf("memory promised on %s %d %% → %d %%, on %s %d %% → %d %%",
            from->name, percent(move->from_memory[0]), percent(move->from_memory[1]), to->name,
            percent(move->to_memory[0]), percent(move->to_memory[1]));
        json_array_append_new(moves, move_of(world->vms->pdata[move->vm], from, to, reason));
    }
    return moves;
}

/* Why no host takes a VM: of the one that comes last. */
static char *why_nowhere(const World *world, const Vm *vm, size_t number) {
    g_auto(Error) err = {0};
    if (!vm_may_leave(world->inventory, vm, &err))
        return error_text(&err);
    for (guint i = 0; i < world->hosts->len; i++) {
        error_clear(&err);
        if (i == number || !g_array_index(world->host_loads, BalanceHost, i).may_take)
            continue;
        if (vm_may_go(world->inventory, vm, world->hosts->pdata[i], NULL, NULL, &err))
            return g_strdup("no other host has room for its memory");
    }
    return error_is_set(&err) ? error_text(&err) : g_strdup("the pool has no other host that takes VMs");
}

static json_t *stayers_of(const World *world, const BalancePlan *plan, size_t host) {
    json_t *stay = json_array();
    for (guint vm = 0; vm < world->vms->len && json_array_size(stay) < MOST_TOLD; vm++) {
        bool moves = g_array_index(world->vm_loads, BalanceVm, vm).host != host;
        for (size_t i = 0; i < plan->n_moves && !moves; i++)
            moves = plan->moves[i].vm == vm;
        if (moves)
            continue;
        const Vm *stayer = world->vms->pdata[vm];
        g_autofree char *why = why_nowhere(world, stayer, host);
        json_array_append_new(
            stay, json_pack("{ss ss ss}", "id", stayer->id, "vm", stayer->name, "reason", why));
    }
    return stay;
}

/* ---- the moves ---- */

typedef struct Moving {
    JobRun *run;
    const json_t *moves; /* of the job's data */
    size_t next, ended;
    size_t at_once; /* more would only wait for their turn, and hold up what else is done with their VMs */
    json_t *moved, *failed;
} Moving;

typedef struct MovingOne {
    Moving *all;
    size_t index;
} MovingOne;

static void move_more(Moving *all);

static void finish_moving(Moving *all) {
    JobRun *run = all->run;
    const json_t *stay = json_object_get(job_data(run), "stay");
    size_t n_failed = json_array_size(all->failed);
    g_auto(Error) err = {0};
    if (n_failed > 0 && json_array_size(all->moved) == 0 && !job_is_cancelled(run))
        error_set(&err, ERROR_WRONG_STATE, NULL, "no VM could be moved; %s: %s",
            json_text_at(json_array_get(all->failed, 0), "vm"),
            json_text_at(json_array_get(all->failed, 0), "reason"));
    job_remember(run, "moved", json_incref(all->moved));
    job_result(run, json_pack("{sO sO sO*}", "moved", all->moved, "failed", all->failed, "stay", stay));
    json_decref(all->moved);
    json_decref(all->failed);
    g_free(all);
    if (error_is_set(&err))
        job_step_failed(run, &err);
    else
        job_step_done(run);
}

static void one_moved(JobRun *run, const Job *child, void *data) {
    g_autofree MovingOne *one = data;
    Moving *all = one->all;
    json_t *told = json_deep_copy(json_array_get(all->moves, one->index));
    if (child->state == JOB_STATE_SUCCEEDED) {
        json_array_append_new(all->moved, told);
    } else {
        const char *why = child->error.detail ? child->error.detail : "it was cancelled";
        g_autofree char *text = g_utf8_substring(why, 0, MIN(g_utf8_strlen(why, -1), DETAIL_LENGTH));
        json_object_set_new(told, "reason", json_string(text));
        json_array_append_new(all->failed, told);
    }
    all->ended++;
    size_t n = json_array_size(all->moves);
    g_autofree char *phase = g_strdup_printf("%zu of %zu VMs", all->ended, n);
    job_progress(run, (int)(all->ended * 100 / n), phase);
    move_more(all);
}

/* Ends the step when all have ended: `all` may be gone behind it. */
static void move_more(Moving *all) {
    size_t n = json_array_size(all->moves);
    if (job_is_cancelled(all->run))
        n = all->next;
    if (all->ended == n) {
        finish_moving(all);
        return;
    }
    while (all->next < n && all->next - all->ended < all->at_once) {
        size_t index = all->next++;
        const json_t *move = json_array_get(all->moves, index);
        const Object *vm = inventory_get(job_inventory(all->run), RESOURCE_VM, json_text_at(move, "id"));
        if (!vm) { /* deleted meanwhile */
            all->ended++;
            continue;
        }
        g_autoptr(json_t) parameters = json_pack("{ss}", "to_host", json_text_at(move, "to_host"));
        const JobRequest request = {.target_kind = RESOURCE_VM,
            .target = vm,
            .parameters = parameters,
            .principal = job_definition(all->run)->principal};
        MovingOne *one = g_new0(MovingOne, 1);
        *one = (MovingOne){all, index};
        bool is_last = all->next == n;
        job_child(all->run, json_text_at(move, "id"), "vm.migrate", &request, one_moved, one);
        if (is_last)
            return; /* `all` may be gone */
    }
    if (all->ended == n)
        finish_moving(all);
}

static size_t turns_of(JobRun *run) {
    const char *target = job_definition(run)->target;
    Inventory *inventory = job_inventory(run);
    const char *pool_id = g_str_has_prefix(target, "pool/") ? target + strlen("pool/") : NULL;
    const Object *host = pool_id ? NULL : inventory_get(inventory, RESOURCE_HOST, target + strlen("host/"));
    if (host)
        pool_id = ((const Host *)host->data)->pool;
    const Object *object = pool_id ? inventory_get(inventory, RESOURCE_POOL, pool_id) : NULL;
    g_auto(Pool) pool = {0};
    if (object)
        pool_copy(&pool, object->data);
    model_apply_defaults(&pool_type, &pool);
    return (size_t)pool.migrations_per_host;
}

static void move_all(JobRun *run) {
    Moving *all = g_new0(Moving, 1);
    *all = (Moving){.run = run,
        .at_once = turns_of(run),
        .moves = json_object_get(job_data(run), "moves"),
        .moved = json_array(),
        .failed = json_array()};
    move_more(all);
}

/* ---- pool.balance ---- */

static bool prepare_balance(
    Inventory *inventory, const JobRequest *asked, Job *job, Error *err G_GNUC_UNUSED) {
    const Pool *pool = asked->target->data;
    g_auto(World) world = {0};
    world_init(&world, inventory, pool->id, NULL);
    const BalanceWorld engine = engine_world(&world);
    const BalanceRules rules = {
        .most_moves = (size_t)json_integer_value(json_object_get(asked->parameters, "moves"))};
    g_auto(BalancePlan) plan = balance(&engine, &rules);
    job_set_target_name(job, pool->name);
    job_claim_add(job, RESOURCE_POOL, pool->id, true, "its VMs are moved");
    job_take_data(job, json_pack("{so sf sf}", "moves", moves_of(&world, &plan), "spread_before",
                           plan.spread_before, "spread_after", plan.spread_after));
    return true;
}

static const JobStepKind balance_steps[] = {{"move", "Moves VMs, a few at a time", move_all, NULL}};
static const JobKind pool_balance = {
    "pool.balance", balance_steps, G_N_ELEMENTS(balance_steps), prepare_balance};

/* ---- pool.save-power ---- */

/* They start no more while it is off. */
static size_t n_stopped_on(const World *world, const Host *host) {
    const GPtrArray *vms = inventory_vms_on(world->inventory, host->id);
    size_t n = 0;
    for (guint i = 0; i < vms->len; i++) {
        const Vm *vm = ((const Object *)vms->pdata[i])->data;
        n += !vm_occupies_memory(vm);
    }
    return n;
}

static json_t *saving_of(const World *world, const Saving *saving) {
    const Host *host = world->hosts->pdata[saving->host];
    size_t n_moves = saving->plan.n_moves, n_stopped = n_stopped_on(world, host);
    g_autoptr(GString) reason = g_string_new(n_moves == 0 ? "no VM runs there" : NULL);
    if (n_moves == 1)
        g_string_append(reason, "its VM fits on the others");
    else if (n_moves > 1)
        g_string_append_printf(reason, "its %zu VMs fit on the others", n_moves);
    if (n_moves > 0)
        g_string_append_printf(
            reason, ", which promise %d %% of their memory then at most", percent(saving->load));
    if (n_stopped > 0)
        g_string_append_printf(reason, "; VMs that do not run stay on it: %zu", n_stopped);
    return json_pack("{ss ss ss}", "id", host->id, "host", host->name, "reason", reason->str);
}

static bool prepare_saving(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    const Pool *pool = asked->target->data;
    g_auto(PoolSaving) request = {0};
    g_auto(World) world = {0};
    Saving *savings = NULL;
    if (!pool_saving_decode(asked->parameters, MODEL_STORED, &request, err))
        return false;
    model_apply_defaults(&pool_saving_type, &request);
    world_init(&world, inventory, pool->id, NULL);
    const BalanceWorld engine = engine_world(&world);
    const SavingRules rules = {(size_t)request.hosts, (double)request.load / 100};
    size_t n = power_saving(&engine, &rules, &savings);
    json_t *hosts = json_array(), *moves = json_array();
    for (size_t i = 0; i < n; i++) {
        g_autoptr(json_t) own = moves_of(&world, &savings[i].plan);
        json_array_append_new(hosts, saving_of(&world, &savings[i]));
        json_array_extend(moves, own);
    }
    savings_free(savings, n);
    job_set_target_name(job, pool->name);
    job_claim_add(job, RESOURCE_POOL, pool->id, true, "hosts of it are emptied");
    job_take_data(job, json_pack("{so so}", "hosts", hosts, "moves", moves));
    return true;
}

static void empty_next(JobRun *run);

static void note_ended(JobRun *run, const json_t *host, const char *state, const char *reason) {
    const json_t *before = json_object_get(job_data(run), "ended");
    json_t *ended = before ? json_deep_copy(before) : json_array();
    json_array_append_new(ended,
        json_pack("{ss ss ss*}", "host", json_text_at(host, "host"), "state", state, "reason", reason));
    job_remember(run, "ended", ended);
    empty_next(run);
}

static const json_t *host_to_empty(JobRun *run) {
    size_t n_ended = json_array_size(json_object_get(job_data(run), "ended"));
    return json_array_get(json_object_get(job_data(run), "hosts"), n_ended);
}

/* A maintenance succeeds also when some VMs stay. */
static bool is_empty(Inventory *inventory, const char *host_id) {
    const GPtrArray *vms = inventory_vms_on(inventory, host_id);
    for (guint i = 0; i < vms->len; i++)
        if (vm_occupies_memory(((const Object *)vms->pdata[i])->data))
            return false;
    return true;
}

static void one_emptied(JobRun *run, const Job *child, void *data G_GNUC_UNUSED) {
    bool is_good = child->state == JOB_STATE_SUCCEEDED;
    if (is_good && !is_empty(job_inventory(run), json_text_at(host_to_empty(run), "id"))) {
        note_ended(run, host_to_empty(run), "failed", "VMs still run there: its maintenance tells which");
        return;
    }
    note_ended(run, host_to_empty(run), model_enum_name(&job_state_enum, (int)child->state),
        job_has(child, JOB_FIELD_ERROR) ? child->error.detail : NULL);
}

/* One after the other: each is planned anew by what is so then. */
static void empty_next(JobRun *run) {
    const json_t *host = host_to_empty(run);
    const char *id = json_text_at(host, "id");
    const Object *object = id ? inventory_get(job_inventory(run), RESOURCE_HOST, id) : NULL;
    if (!host || job_is_cancelled(run)) {
        job_result(run, json_pack("{sO*}", "emptied", json_object_get(job_data(run), "ended")));
        job_step_done(run);
        return;
    }
    if (!object) {
        note_ended(run, host, "failed", "the host is gone");
        return;
    }
    g_autoptr(json_t) parameters = json_pack("{sb}", "maintenance", 1);
    const JobRequest request = {.target_kind = RESOURCE_HOST,
        .target = object,
        .parameters = parameters,
        .principal = job_definition(run)->principal};
    job_child(run, id, "host.maintenance", &request, one_emptied, NULL);
}

static const JobStepKind saving_steps[] = {{"empty", "Empties hosts, one after the other", empty_next, NULL}};
static const JobKind pool_save_power = {
    "pool.save-power", saving_steps, G_N_ELEMENTS(saving_steps), prepare_saving};

/* ---- host.maintenance ---- */

static json_t *plan_leaving(Inventory *inventory, const Host *host) {
    g_auto(World) world = {0};
    guint number = 0;
    world_init(&world, inventory, host->pool, host->id);
    const BalanceWorld engine = engine_world(&world);
    if (!g_ptr_array_find(world.hosts, host, &number)) /* it does not answer: nothing can be moved */
        return json_pack("{s[] s[]}", "moves", "stay");
    g_auto(BalancePlan) plan = balance_empty(&engine, number);
    return json_pack("{so so}", "moves", moves_of(&world, &plan), "stay", stayers_of(&world, &plan, number));
}

static json_t *plan_return(Inventory *inventory, const Host *host) {
    json_t *moves = json_array(), *stay = json_array();
    for (size_t i = 0; i < host->evacuated.n; i++) {
        const Object *object = inventory_get(inventory, RESOURCE_VM, host->evacuated.items[i]);
        const Vm *vm = object ? object->data : NULL;
        const Object *place = vm && vm->host ? inventory_get(inventory, RESOURCE_HOST, vm->host) : NULL;
        g_auto(Error) err = {0};
        if (!place || place->data == host)
            continue;
        if (!vm_may_leave(inventory, vm, &err)) {
            json_array_append_new(
                stay, json_pack("{ss ss ss}", "id", vm->id, "vm", vm->name, "reason", err.message));
            continue;
        }
        json_array_append_new(moves, move_of(vm, place->data, host, "it ran there before the maintenance"));
    }
    return json_pack("{so so}", "moves", moves, "stay", stay);
}

static bool asks(const json_t *parameters, const char *name) {
    return json_is_true(json_object_get(parameters, name));
}

static bool prepare_maintenance(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    const Host *host = asked->target->data;
    bool begins = asks(asked->parameters, "maintenance"), keeps = asks(asked->parameters, "keep"),
         brings = asks(asked->parameters, "bring_back");
    if (begins && brings)
        return error_set(err, ERROR_INVALID, "/bring_back", "bring_back: goes with the end of a maintenance");
    if (!begins && keeps)
        return error_set(err, ERROR_INVALID, "/keep", "keep: goes with the beginning of a maintenance");
    json_t *plan = begins && !keeps ? plan_leaving(inventory, host)
                   : brings         ? plan_return(inventory, host)
                                    : json_pack("{s[] s[]}", "moves", "stay");
    job_set_target_name(job, host->name);
    job_claim_add(job, RESOURCE_HOST, host->id, true, "its maintenance begins or ends");
    json_object_set_new(plan, "was", json_boolean(host->maintenance));
    job_take_data(job, plan);
    return true;
}

static const Host *maintained(JobRun *run) {
    const char *id = job_definition(run)->target + strlen("host/");
    const Object *object = inventory_get(job_inventory(run), RESOURCE_HOST, id);
    if (!object)
        step_failed(run, ERROR_NOT_FOUND, NULL, "the host is gone");
    return object ? object->data : NULL;
}

static void commit_host(JobRun *run, const Host *host) {
    InventoryChange *change = inventory_change_new(job_inventory(run));
    inventory_change_by(change, job_definition(run)->principal, job_definition(run)->id);
    inventory_change_put(change, RESOURCE_HOST, host);
    commit_and_go_on(run, change);
}

static void set_flag(JobRun *run, bool is_in_maintenance) {
    const Host *host = maintained(run);
    g_auto(Host) changed = {0};
    if (!host)
        return;
    host_copy(&changed, host);
    host_set_maintenance(&changed, is_in_maintenance);
    commit_host(run, &changed);
}

static void begin_or_end(JobRun *run) {
    set_flag(run, asks(job_parameters(run), "maintenance"));
}

static void as_it_was(JobRun *run) {
    set_flag(run, asks(job_data(run), "was"));
}

/* Those that left are remembered until the maintenance ends. */
static void note_guests(JobRun *run) {
    const Host *host = maintained(run);
    const json_t *moved = json_object_get(job_data(run), "moved");
    bool begins = asks(job_parameters(run), "maintenance");
    g_auto(Host) changed = {0};
    g_auto(Error) err = {0};
    size_t i;
    json_t *move;
    if (!host)
        return;
    g_autoptr(json_t) definition = host_encode(host, MODEL_ENCODE_DEFINITION);
    g_autoptr(json_t) left = NULL;
    if (begins && asks(job_data(run), "was"))
        left = json_deep_copy(json_object_get(definition, "evacuated"));
    if (!left)
        left = json_array();
    json_array_foreach ((json_t *)moved, i, move)
        if (begins && json_array_size(left) < MOST_EVACUATED)
            json_array_append(left, json_object_get(move, "id"));
    json_object_set(definition, "evacuated", left);
    if (host_decode(definition, MODEL_STORED, &changed, &err))
        commit_host(run, &changed);
    else
        job_step_failed(run, &err);
}

static const JobStepKind maintenance_steps[] = {
    {"flag", "Lets VMs start there no more, or again", begin_or_end, as_it_was},
    {"move", "Moves VMs, a few at a time", move_all, NULL},
    {"note", "Remembers who has left", note_guests, NULL},
};
static const JobKind host_maintenance = {
    "host.maintenance", maintenance_steps, G_N_ELEMENTS(maintenance_steps), prepare_maintenance};

const JobKind *const balance_job_kinds[] = {&pool_balance, &pool_save_power, &host_maintenance};
const size_t n_balance_job_kinds = G_N_ELEMENTS(balance_job_kinds);
