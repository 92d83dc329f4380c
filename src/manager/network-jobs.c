/*
 * Jobs on networks. A network belongs to its pool: it is made, or its bridge looked for, on each host of the
 * pool that answers. A host where that fails does not stop the others; its row in the network's status tells
 * why (network-hosts.h). Hosts that are away are told when they are back.
 */
#include <string.h>
#include "manager/job-kinds.h"
#include "manager/network-hosts.h"
#include "model/format.h"
#include "model/subnet.h"

enum { TOLD_HOSTS = 5, KEPT_HOSTS = 100 };

static const char *network_id(const JobRun *run) {
    return job_definition(run)->target + strlen("network/");
}

static const Network *target_network(JobRun *run) {
    const Object *object = inventory_get(job_inventory(run), RESOURCE_NETWORK, network_id(run));
    return object ? object->data : NULL;
}

static const Object *first_host(Inventory *inventory, const char *pool_id) {
    const GPtrArray *all = inventory_list(inventory, RESOURCE_HOST);
    for (guint i = 0; i < all->len; i++)
        if (g_strcmp0(((const Host *)((const Object *)all->pdata[i])->data)->pool, pool_id) == 0)
            return all->pdata[i];
    return NULL;
}

/* ---- what hosts answer ---- */

/* Why it did not work on some. */
typedef struct Faults {
    GString *text;
    size_t n, n_away;
    Error first;
} Faults;

static void faults_clear(Faults *faults) {
    if (faults->text)
        g_string_free(g_steal_pointer(&faults->text), TRUE);
    error_clear(&faults->first);
}

static void note_fault(Faults *faults, Inventory *inventory, const char *host_id, const Error *err) {
    const Object *host = inventory_get(inventory, RESOURCE_HOST, host_id);
    g_autofree char *why = error_text(err);
    if (err->code == ERROR_UNREACHABLE) {
        faults->n_away++;
        return;
    }
    if (!faults->text)
        faults->text = g_string_new(NULL);
    if (faults->n++ == 0)
        error_copy(&faults->first, err);
    if (faults->n <= TOLD_HOSTS)
        g_string_append_printf(
            faults->text, "%s%s: %s", faults->n > 1 ? "; " : "", host ? host->name : host_id, why);
}

static void fail_with_faults(JobRun *run, const Faults *faults, const char *what) {
    g_auto(Error) err = {0};
    if (faults->n == 1)
        error_copy(&err, &faults->first);
    else
        error_set(&err, faults->first.code, faults->first.field, "%s: %s", what, faults->text->str);
    job_step_failed(run, &err);
}

/* The same question to many hosts at once. */
typedef struct Asking {
    JobRun *run;
    size_t n_open, n_good;
    Faults faults;
    void (*done)(struct Asking *asking); /* must end the step, or ask anew */
} Asking;

/* Not from within the answers: when the manager ends all of them come at once, and the step is to be done
 * again after its next start. */
static gboolean asking_end(void *data) {
    Asking *asking = data;
    if (job_is_abandoned(asking->run))
        job_step_done(asking->run);
    else
        asking->done(asking);
    faults_clear(&asking->faults);
    g_free(asking);
    return G_SOURCE_REMOVE;
}

static void one_is_done(Asking *asking) {
    if (--asking->n_open == 0)
        g_idle_add(asking_end, asking);
}

static void one_answered(
    const char *host_id, const Network *opened G_GNUC_UNUSED, const Error *err, void *data) {
    Asking *asking = data;
    if (err)
        note_fault(&asking->faults, job_inventory(asking->run), host_id, err);
    else
        asking->n_good++;
    one_is_done(asking);
}

/* `pool` NULL: all that answer. */
static void ask_hosts(
    JobRun *run, const Network *network, const char *pool, NetworkWish wish, void (*done)(Asking *asking)) {
    g_autoptr(GPtrArray) hosts = network_hosts_of(job_inventory(run), pool);
    Asking *asking = g_new0(Asking, 1);
    *asking = (Asking){.run = run, .n_open = hosts->len + 1, .done = done};
    for (guint i = 0; i < hosts->len; i++)
        network_apply(
            job_host(run), job_inventory(run), network, hosts->pdata[i], wish, one_answered, asking);
    one_is_done(asking);
}

/* ---- what is asked for ---- */

/* What the host has beside Lodge's networks the driver finds out. */
static bool check_subnet(Inventory *inventory, const Network *network, Error *err) {
    Subnet subnet, other_subnet;
    if (!network->subnet || !subnet_from_text(network->subnet, &subnet))
        return true;
    const GPtrArray *all = inventory_list(inventory, RESOURCE_NETWORK);
    for (guint i = 0; i < all->len; i++) {
        const Network *other = ((const Object *)all->pdata[i])->data;
        if (other->subnet && subnet_from_text(other->subnet, &other_subnet) &&
            subnet_overlaps(&subnet, &other_subnet))
            return error_set(err, ERROR_IN_USE, "/subnet", "subnet: %s overlaps that of the network %s, %s",
                network->subnet, other->name, other->subnet);
    }
    return true;
}

static bool check_bridges(Inventory *inventory, const Network *network, Error *err) {
    if (network->bridges.n > 0 && network->kind != NETWORK_KIND_BRIDGE)
        return error_set(err, ERROR_INVALID, "/bridges", "bridges: only allowed when kind is bridge");
    for (size_t i = 0; i < network->bridges.n; i++) {
        const char *id = network->bridges.items[i].host;
        const Object *host = inventory_get(inventory, RESOURCE_HOST, id);
        g_autofree char *field = g_strdup_printf("/bridges/%zu/host", i);
        if (!host || g_strcmp0(((const Host *)host->data)->pool, network->pool) != 0)
            return error_set(err, ERROR_INVALID, field,
                "bridges: the host %s does not belong to the pool of the network", host ? host->name : id);
        for (size_t k = 0; k < i; k++)
            if (g_strcmp0(network->bridges.items[k].host, id) == 0)
                return error_set(
                    err, ERROR_INVALID, field, "bridges: the host %s is there twice", host->name);
    }
    return true;
}

static bool check_name(Inventory *inventory, const Network *now, const Network *wanted, Error *err) {
    bool is_kept = now && g_strcmp0(now->name, wanted->name) == 0;
    return is_kept || !inventory_has_name(inventory, RESOURCE_NETWORK, wanted->name) ||
           error_set(err, ERROR_EXISTS, "/name", "there is a network %s already", wanted->name);
}

/* ---- network.create: one host settles what is open, then it is listed, then the others are told ---- */

static bool prepare_create(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    g_auto(Network) network = {0};
    g_autofree char *id = uuid_new();
    if (!network_decode(asked->parameters, MODEL_STORED, &network, err))
        return false;
    if (network.kind == NETWORK_KIND_BRIDGE && !network.bridge)
        return error_set(err, ERROR_INVALID, "/bridge", "bridge: is required for a network of kind bridge");
    const Object *pool = the_object(inventory, RESOURCE_POOL, network.pool, "pool", err);
    if (!pool)
        return false;
    if (!first_host(inventory, pool->id))
        return error_set(
            err, ERROR_CONFLICT, "/pool", "pool: %s has no host yet on which it could be", pool->name);
    network_set_id(&network, id);
    network_set_pool(&network, pool->id);
    if (!check_name(inventory, NULL, &network, err) || !check_subnet(inventory, &network, err) ||
        !check_bridges(inventory, &network, err))
        return false;
    job_take_data(job, json_pack("{so}", "plan", network_encode(&network, MODEL_ENCODE_DEFINITION)));
    job_set_target_name(job, network.name);
    g_autofree char *target = g_strconcat("network/", id, NULL);
    job_set_target(job, target);
    job_claim_add(job, RESOURCE_NETWORK, id, false, "it is made");
    return true;
}

static bool planned_network(JobRun *run, Network *ret_network) {
    g_auto(Error) err = {0};
    if (network_decode(json_object_get(job_data(run), "plan"), MODEL_STORED, ret_network, &err))
        return true;
    job_step_failed(run, &err);
    return false;
}

/* A bridge has its own name on each host, and is there; what a NAT network is, all hosts are told alike. */
static void settle(Network *network, const Network *opened) {
    if (network->kind != NETWORK_KIND_NAT)
        return;
    network_set_bridge(network, opened->bridge);
    network_set_subnet(network, opened->subnet);
}

static void list_it(JobRun *run, const Network *network) {
    InventoryChange *change = inventory_change_new(job_inventory(run));
    job_remember(run, "plan", network_encode(network, MODEL_ENCODE_DEFINITION));
    inventory_change_put(change, RESOURCE_NETWORK, network);
    commit_and_go_on(run, change);
}

/* No host of its pool answers: the job waits for the first one. */
static void opened_late(JobRun *run, const json_t *result) {
    g_auto(Network) network = {0};
    g_auto(AgentNetwork) answer = {0};
    g_auto(Error) err = {0};
    if (!planned_network(run, &network))
        return;
    if (!agent_network_decode(result, MODEL_STORED, &answer, &err)) {
        job_step_failed(run, &err);
        return;
    }
    settle(&network, &answer.network);
    list_it(run, &network);
}

static void open_late(JobRun *run, const Network *network) {
    const Object *host = first_host(job_inventory(run), network->pool);
    if (host)
        fleet_call(run, host->id, AGENT_METHOD_NETWORK_OPEN,
            json_pack("{so}", "network", network_definition(network, host->id)), RESOURCE_NETWORK,
            network->id, opened_late);
    else
        step_failed(run, ERROR_NOT_FOUND, "/pool", "the pool has no host any more");
}

/* One host after the other, until it is there on one. */
typedef struct Opening {
    JobRun *run;
    Network network;
    GPtrArray *host_ids;
    guint next;
    bool is_open;
    Faults faults;
} Opening;

static void opening_free(Opening *opening) {
    network_clear(&opening->network);
    g_ptr_array_unref(opening->host_ids);
    faults_clear(&opening->faults);
    g_free(opening);
}

static gboolean open_next(void *data);

static void tried(const char *host_id, const Network *opened, const Error *err, void *data) {
    Opening *opening = data;
    if (err)
        note_fault(&opening->faults, job_inventory(opening->run), host_id, err);
    else
        settle(&opening->network, opened);
    opening->is_open = !err;
    g_idle_add(open_next, opening); /* as asking_end */
}

static gboolean open_next(void *data) {
    Opening *opening = data;
    JobRun *run = opening->run;
    bool has_more = opening->next < opening->host_ids->len;
    if (job_is_abandoned(run)) {
        job_step_done(run);
    } else if (opening->is_open) {
        list_it(run, &opening->network);
    } else if (job_is_cancelled(run)) {
        step_failed(run, ERROR_CANCELLED, NULL, "cancelled before a host had it");
    } else if (has_more) {
        network_apply(job_host(run), job_inventory(run), &opening->network,
            opening->host_ids->pdata[opening->next++], NETWORK_HERE, tried, opening);
        return G_SOURCE_REMOVE;
    } else if (opening->faults.n > 0) {
        fail_with_faults(run, &opening->faults, "no host of its pool can use it");
    } else {
        open_late(run, &opening->network);
    }
    opening_free(opening);
    return G_SOURCE_REMOVE;
}

static void network_open(JobRun *run) {
    Opening *opening = g_new0(Opening, 1);
    opening->run = run;
    opening->host_ids = g_ptr_array_new_with_free_func(g_free);
    if (!planned_network(run, &opening->network)) {
        opening_free(opening);
        return;
    }
    g_autoptr(GPtrArray) hosts = network_hosts_of(job_inventory(run), opening->network.pool);
    for (guint i = 0; i < hosts->len; i++)
        g_ptr_array_add(opening->host_ids, g_strdup(hosts->pdata[i]));
    open_next(opening);
}

static void unopened(Asking *asking) {
    if (asking->faults.n > 0)
        fail_with_faults(asking->run, &asking->faults, "it could not be removed everywhere");
    else
        job_step_done(asking->run);
}

static void unlisted(const Error *err, void *data) {
    JobRun *run = data;
    g_auto(Network) network = {0};
    if (err)
        job_step_failed(run, err);
    else if (planned_network(run, &network))
        ask_hosts(run, &network, network.pool, NETWORK_GONE, unopened);
}

static void network_unopen(JobRun *run) {
    if (!target_network(run)) {
        unlisted(NULL, run);
        return;
    }
    InventoryChange *change = inventory_change_new(job_inventory(run));
    inventory_change_delete(change, RESOURCE_NETWORK, network_id(run));
    inventory_commit(job_inventory(run), change, unlisted, run);
}

/* ---- both: all hosts are told ---- */

static json_t *failed_hosts(const Network *network) {
    json_t *failed = json_array();
    for (size_t i = 0; i < network->status.hosts.n && json_array_size(failed) < KEPT_HOSTS; i++) {
        const NetworkHost *row = &network->status.hosts.items[i];
        if (row->state == NETWORK_STATE_FAILED)
            json_array_append_new(failed, json_pack("{ss ss*}", "host", row->host, "reason", row->reason));
    }
    return failed;
}

static void spread(Asking *asking) {
    const Network *network = target_network(asking->run);
    if (network)
        job_result(
            asking->run, json_pack("{so so}", "network", network_encode(network, MODEL_ENCODE_DEFINITION),
                             "failed", failed_hosts(network)));
    job_step_done(asking->run);
}

static void network_spread(JobRun *run) {
    const Network *network = target_network(run);
    if (network)
        ask_hosts(run, network, network->pool, NETWORK_HERE, spread);
    else
        step_failed(run, ERROR_NOT_FOUND, NULL, "the network is gone");
}

static const JobStepKind create_steps[] = {
    {"open", "Makes it on a host of the pool", network_open, network_unopen},
    {"spread", "Makes it on the others", network_spread, NULL},
};
static const JobKind network_create = {
    "network.create", create_steps, G_N_ELEMENTS(create_steps), prepare_create};

/* ---- network.update ---- */

static bool apply_patch(const Network *now, const json_t *patch, Network *ret_changed, Error *err) {
    g_autoptr(json_t) before = network_encode(now, MODEL_ENCODE_DEFINITION);
    g_autoptr(json_t) after = json_merge_patch(before, patch);
    return network_decode(after, MODEL_STORED, ret_changed, err);
}

static bool prepare_update(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    const Network *now = asked->target->data;
    g_auto(Network) changed = {0};
    if (!apply_patch(now, asked->parameters, &changed, err) || !check_name(inventory, now, &changed, err) ||
        !check_bridges(inventory, &changed, err))
        return false;
    job_set_target_name(job, now->name);
    job_claim_add(job, RESOURCE_NETWORK, now->id, false, "it is changed");
    return true;
}

static void network_define(JobRun *run) {
    const Network *now = target_network(run);
    g_auto(Network) changed = {0};
    g_auto(Error) err = {0};
    if (!now) {
        step_failed(run, ERROR_NOT_FOUND, NULL, "the network is gone");
    } else if (!apply_patch(now, job_parameters(run), &changed, &err)) {
        job_step_failed(run, &err);
    } else {
        InventoryChange *next = inventory_change_new(job_inventory(run));
        inventory_change_put(next, RESOURCE_NETWORK, &changed);
        commit_and_go_on(run, next);
    }
}

static const JobStepKind update_steps[] = {
    {"define", "Stores the new definition", network_define, NULL, .has_no_way_back = true},
    {"spread", "Tells the hosts of the pool", network_spread, NULL},
};
static const JobKind network_update = {
    "network.update", update_steps, G_N_ELEMENTS(update_steps), prepare_update};

/* ---- network.delete ---- */

static bool is_plugged_into(const Vm *vm, const char *id) {
    for (size_t i = 0; i < vm->nics.n; i++)
        if (g_strcmp0(vm->nics.items[i].network, id) == 0)
            return true;
    return false;
}

static bool check_unused(Inventory *inventory, const Network *network, Error *err) {
    const GPtrArray *vms = inventory_list(inventory, RESOURCE_VM);
    for (guint i = 0; i < vms->len; i++) {
        const Object *vm = vms->pdata[i];
        if (is_plugged_into(vm->data, network->id))
            return error_set(
                err, ERROR_IN_USE, NULL, "a NIC of the VM %s is plugged into %s", vm->name, network->name);
    }
    return true;
}

static bool prepare_delete(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    job_claim_add(job, RESOURCE_NETWORK, asked->target->id, false, "it is removed");
    return check_unused(inventory, asked->target->data, err);
}

static void network_close(JobRun *run);

static void closed(Asking *asking) {
    JobRun *run = asking->run;
    if (asking->faults.n > 0)
        fail_with_faults(run, &asking->faults, "it could not be removed everywhere");
    else if (asking->n_good == 0 && asking->faults.n_away > 0)
        network_close(run); /* all were lost meanwhile */
    else
        job_step_done(run);
}

/* NAT networks may be on hosts of other pools too. Of those that are away at least one is waited for; on the
 * others it ends with their next start. */
static void network_close(JobRun *run) {
    const Network *network = target_network(run);
    g_auto(Error) err = {0};
    if (!network) { /* before a crash */
        job_step_done(run);
        return;
    }
    if (!check_unused(job_inventory(run), network, &err)) {
        job_step_failed(run, &err);
        return;
    }
    g_autoptr(GPtrArray) hosts = network_hosts_of(job_inventory(run), NULL);
    const Object *host = hosts->len == 0 ? first_host(job_inventory(run), network->pool) : NULL;
    if (host)
        fleet_call(run, host->id, AGENT_METHOD_NETWORK_CLOSE,
            json_pack("{so}", "network", network_definition(network, host->id)), RESOURCE_NETWORK,
            network->id, NULL);
    else
        ask_hosts(run, network, NULL, NETWORK_GONE, closed);
}

static void network_forget(JobRun *run) {
    if (!target_network(run)) { /* before a crash */
        job_step_done(run);
        return;
    }
    InventoryChange *gone = inventory_change_new(job_inventory(run));
    inventory_change_delete(gone, RESOURCE_NETWORK, network_id(run));
    commit_and_go_on(run, gone);
}

static const JobStepKind delete_steps[] = {
    {"close", "Removes what was made for it on the hosts", network_close, NULL, .has_no_way_back = true},
    {"forget", "Removes its definition", network_forget, NULL},
};
static const JobKind network_delete = {
    "network.delete", delete_steps, G_N_ELEMENTS(delete_steps), prepare_delete};

const JobKind *const network_job_kinds[] = {&network_create, &network_update, &network_delete};
const size_t n_network_job_kinds = G_N_ELEMENTS(network_job_kinds);
