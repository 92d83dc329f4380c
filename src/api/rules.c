/* What single methods do differently from their kind, as one table. */
#include "api/api-internal.h"

static bool is_used_by(Inventory *inventory, ResourceId user, const char *field, const char *id) {
    const GPtrArray *objects = inventory_list(inventory, user);
    for (guint i = 0; i < objects->len; i++) {
        const Object *object = g_ptr_array_index(objects, i);
        if (g_strcmp0(definition_text(user, object->data, field), id) == 0)
            return true;
    }
    return false;
}

/* Every kind whose descriptor has a reference of that name. */
static bool check_unused(ApiCall *call, const Object *object, Error *err) {
    const char *kind = resources[object->kind].name;
    for (ResourceId user = 0; user < RESOURCE_MAX; user++) {
        const FieldDescriptor *field = model_field(resources[user].type, kind);
        if (!field || g_strcmp0(field->reference, kind) != 0)
            continue;
        if (is_used_by(call->api->inventory, user, kind, object->id))
            return error_set(
                err, ERROR_IN_USE, NULL, "%s %s still has %s", kind, object->name, resources[user].plural);
    }
    return true;
}

/* Hosts: into the only pool, under the id that the agent has given itself. */

static void host_owned(const AgentIdentity *identity, const char *key, const Error *err, void *data) {
    ApiCall *call = data;
    g_auto(Error) inner = {0};
    if (err)
        error_copy(&inner, err);
    else if (call->api->is_closed)
        error_set(&inner, ERROR_UNREACHABLE, NULL, "the manager ends");
    else if (inventory_get(call->api->inventory, RESOURCE_HOST, identity->host))
        error_set(&inner, ERROR_EXISTS, "/address", "the host at this address is managed already");
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

static void prepare_host(ApiCall *call) {
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
    options->own_host(&asked, host_owned, call, options->hook_data);
}

static bool check_host_delete(ApiCall *call, const Object *host, Error *err) {
    const ApiOptions *options = &call->api->options;
    const char *job = options->job_on_host ? options->job_on_host(host->id, options->hook_data) : NULL;
    if (job)
        return error_set(err, ERROR_IN_USE, NULL,
            "job %.8s works on the host %s or waits for it; cancel it or break it first", job, host->name);
    return check_unused(call, host, err);
}

static const ApiRule rules[METHOD_MAX] = {
    [METHOD_HOST_CREATE] = {.prepare = prepare_host},
    [METHOD_HOST_UPDATE] = {.prepare = prepare_host_update},
    [METHOD_VM_MODES] = {.handle = handle_vm_modes},
    [METHOD_HOST_DISCOVER] = {.handle = handle_host_discover},
    [METHOD_HOST_MODULES] = {.handle = handle_host_modules},
    [METHOD_HOST_DELETE] = {.check_delete = check_host_delete},
    [METHOD_POOL_DELETE] = {.check_delete = check_unused},
    [METHOD_PRINCIPAL_CREATE] = {.prepare = prepare_principal},
    [METHOD_PRINCIPAL_UPDATE] = {.prepare = prepare_principal_update, .also_store = also_end_sessions},
    [METHOD_PRINCIPAL_DELETE] = {.check_delete = check_principal_delete, .also_delete = also_delete_tokens},
    [METHOD_TOKEN_LIST] = {.is_visible = is_token_visible},
    [METHOD_TOKEN_CREATE] = {.prepare = prepare_token},
    [METHOD_TOKEN_DELETE] = {.check_delete = check_token_delete},
    [METHOD_DISK_LIST] = {.handle = handle_parts},
    [METHOD_NIC_LIST] = {.handle = handle_parts},
    [METHOD_JOB_CANCEL] = {.handle = handle_job_cancel},
    [METHOD_JOB_BREAK] = {.handle = handle_job_break},
    [METHOD_EVENT_WATCH] = {.handle = handle_event_watch},
    [METHOD_SYSTEM_INFO] = {.handle = handle_system_info},
    [METHOD_SYSTEM_BACKUP] = {.handle = handle_backup},
    [METHOD_SYSTEM_RESTORE] = {.handle = handle_restore},
    [METHOD_SYSTEM_LOGIN] = {.handle = handle_login},
    [METHOD_VM_STATISTICS] = {.handle = handle_vm_statistics},
    [METHOD_VM_CONSOLE] = {.handle = handle_console},
};

const ApiRule *rule_find(MethodId method) {
    return &rules[method];
}
