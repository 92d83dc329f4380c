/* What is special about hosts: taking them, moving them between pools, removing them. */
#include <string.h>
#include "api/api-internal.h"
#include "inventory/pool-status.h"

/* Hosts: into the only pool, under the id that the agent has given itself. */

/* Another address of it, or its image was cloned with its agent's state folder. */
static bool check_is_new(const ApiCall *call, const AgentIdentity *identity, Error *err) {
    const Object *known = inventory_get(call->api->inventory, RESOURCE_HOST, identity->host);
    return !known ||
           error_set(err, ERROR_EXISTS, "/address",
               "the host at this address has the id of %s, which is managed already; if it is a copy of that "
               "machine, remove its agent's state folder and start the agent anew",
               known->name);
}

static void host_owned(const AgentIdentity *identity, const char *key, const Error *err, void *data) {
    ApiCall *call = data;
    g_auto(Error) inner = {0};
    if (err)
        error_copy(&inner, err);
    else if (call->api->is_closed)
        error_set(&inner, ERROR_UNREACHABLE, NULL, "the manager ends");
    else
        check_is_new(call, identity, &inner);
    if (error_is_set(&inner)) {
        call_fail(call, &inner);
    } else {
        host_set_id(call->definition, identity->host);
        if (key)
            host_set_key(call->definition, key);
        if (agent_identity_has(identity, AGENT_IDENTITY_FIELD_DRIVER))
            host_set_driver(call->definition, identity->driver);
        call_store(call);
    }
    call_release(call);
}

void prepare_host(ApiCall *call) {
    g_auto(Error) err = {0};
    Host *host = call->definition;
    const GPtrArray *pools = inventory_list(call->api->inventory, RESOURCE_POOL);
    if (!host_has(host, HOST_FIELD_POOL) && pools->len == 1)
        host_set_pool(host, ((const Object *)g_ptr_array_index(pools, 0))->id);
    if (!host_has(host, HOST_FIELD_ADDRESS))
        host_set_address(host, host->name);
    if (!host_has(host, HOST_FIELD_POOL)) {
        error_set(&err, ERROR_INVALID, "/pool", "pool: there is not exactly one, name it");
        call_fail(call, &err);
        return;
    }
    const ApiOptions *options = &call->api->options;
    if (!options->own_host) {
        call_store(call);
        return;
    }
    g_auto(HostAdd) asked = {0};
    if (!host_add_decode(call->parameters, MODEL_STORED, &asked, &err)) {
        call_fail(call, &err);
        return;
    }
    host_add_set_pool(&asked, host->pool);
    call_hold(call);
    options->own_host(&asked, NULL, host_owned, call, options->hook_data);
}

/* ---- one host: also what its processor is beside the others ---- */

void handle_host_get(ApiCall *call) {
    g_auto(Error) err = {0};
    g_auto(HostStatus) status = {0};
    const Object *object = call_object(call, &err);
    if (!object) {
        call_fail(call, &err);
        return;
    }
    const Host *host = object->data;
    if (host_has(host, HOST_FIELD_STATUS)) {
        host_status_copy(&status, &host->status);
        pool_compare_cpu(call->api->inventory, host, &status);
        call->extra = json_pack("{so}", "status", host_status_encode(&status, MODEL_ENCODE_PUBLIC));
    }
    call_reply_object(call, 200, object);
}

/* ---- found and believed again ---- */

static void host_renewed(
    const AgentIdentity *identity G_GNUC_UNUSED, const char *key, const Error *err, void *data) {
    ApiCall *call = data;
    g_auto(Error) inner = {0};
    const Object *host = err ? NULL : call_object(call, &inner);
    if (err)
        error_copy(&inner, err);
    else if (call->api->is_closed)
        error_set(&inner, ERROR_UNREACHABLE, NULL, "the manager ends");
    if (error_is_set(&inner)) {
        call_fail(call, &inner);
        call_release(call);
        return;
    }
    Host *renewed = g_new0(Host, 1);
    const char *address = json_text_at(call->parameters, "address");
    host_copy(renewed, host->data);
    host_set_key(renewed, key);
    if (address)
        host_set_address(renewed, address);
    call->definition = renewed;
    call_store(call);
    call_release(call);
}

void handle_host_renew(ApiCall *call) {
    g_auto(Error) err = {0};
    g_auto(HostAdd) asked = {0};
    const Object *object = call_object(call, &err);
    if (!object || !call_check_match(call, object, &err) || !call_decode_parameters(call, &err)) {
        call_fail(call, &err);
        return;
    }
    const Host *host = object->data;
    const char *address = json_text_at(call->parameters, "address");
    host_add_set_address(&asked, address ? address : host->address);
    host_add_set_enrol_code(&asked, json_text_at(call->parameters, "enrol_code"));
    host_add_set_pool(&asked, host->pool);
    const ApiOptions *options = &call->api->options;
    call_hold(call);
    options->own_host(&asked, host->id, host_renewed, call, options->hook_data);
}

bool check_host_delete(ApiCall *call, const Object *host, Error *err) {
    const ApiOptions *options = &call->api->options;
    const char *job = options->job_on_host ? options->job_on_host(host->id, options->hook_data) : NULL;
    if (job)
        return error_set(err, ERROR_IN_USE, NULL,
            "job %.8s works on the host %s or waits for it; cancel it or break it first", job, host->name);
    return call_check_unused(call, host, err);
}

/* ---- into another pool: with what lies on it ---- */

static bool check_host_move(ApiCall *call, const Object *host, const char *pool_id, Error *err) {
    const ApiOptions *options = &call->api->options;
    const char *job = options->job_on_host ? options->job_on_host(host->id, options->hook_data) : NULL;
    guint n_vms = inventory_vms_on(call->api->inventory, host->id)->len;
    if (g_strcmp0(((const Host *)host->data)->pool, pool_id) == 0)
        return error_set(err, ERROR_EXISTS, "/pool", "pool: %s is in it already", host->name);
    if (job)
        return error_set(
            err, ERROR_IN_USE, NULL, "job %.8s works on the host %s or waits for it", job, host->name);
    return n_vms == 0 || error_set(err, ERROR_IN_USE, NULL,
                             "%s has %u VMs, whose networks are those of its pool; move or delete them first",
                             host->name, n_vms);
}

/* Its own repositories go with it. */
void also_move_repositories(ApiCall *call, InventoryChange *change) {
    const Host *host = call->definition;
    const GPtrArray *all = inventory_list(call->api->inventory, RESOURCE_REPOSITORY);
    for (guint i = 0; i < all->len; i++) {
        const Repository *repository = ((const Object *)all->pdata[i])->data;
        if (g_strcmp0(repository->host, host->id) != 0)
            continue;
        g_auto(Repository) moved = {0};
        repository_copy(&moved, repository);
        repository_set_pool(&moved, host->pool);
        inventory_change_put(change, RESOURCE_REPOSITORY, &moved);
    }
}

static void add_step(json_t *steps, const char *name, const char *description) {
    json_array_append_new(steps, json_pack("{ss ss}", "name", name, "description", description));
}

/* What guests get in common there may be less from then on. */
static void reply_move_plan(ApiCall *call, const Host *host, const char *pool_id) {
    Inventory *inventory = call->api->inventory;
    g_autofree char *target = g_strdup_printf("host/%s", host->id);
    g_autofree char *warning = pool_cpu_warning(inventory, host, pool_id);
    g_autofree char *move = g_strdup_printf("Move %s with its own repositories", host->name);
    g_autofree char *lowers = pool_cpu_loss(inventory, host, pool_id);
    json_t *steps = json_array();
    add_step(steps, "store", move);
    if (lowers)
        add_step(steps, "processor", lowers);
    if (warning)
        add_step(steps, "stay", warning);
    g_autoptr(json_t) body = json_pack("{ss ss sO so}", "target", target, "target_name", host->name,
        "parameters", call->parameters, "steps", steps);
    call_reply_json(call, 200, body, NULL, 0);
}

void handle_host_move(ApiCall *call) {
    g_auto(Error) err = {0};
    const Object *host = call_object(call, &err);
    bool is_good = host && call_check_match(call, host, &err) && call_decode_parameters(call, &err);
    const char *pool_id = is_good ? json_text_at(call->parameters, "pool") : NULL;
    if (!is_good || !check_host_move(call, host, pool_id, &err)) {
        call_fail(call, &err);
        return;
    }
    if (call->is_dry_run) {
        reply_move_plan(call, host->data, pool_id);
        return;
    }
    Host *moved = g_new0(Host, 1);
    host_copy(moved, host->data);
    host_set_pool(moved, pool_id);
    call->definition = moved;
    call_store(call);
}
