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
bool call_check_unused(ApiCall *call, const Object *object, Error *err) {
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

static const ApiRule rules[METHOD_MAX] = {
    [METHOD_HOST_CREATE] = {.prepare = prepare_host},
    [METHOD_HOST_GET] = {.handle = handle_host_get},
    [METHOD_HOST_UPDATE] = {.prepare = prepare_host_update},
    [METHOD_VM_MODES] = {.handle = handle_vm_modes},
    [METHOD_HOST_RENEW] = {.handle = handle_host_renew},
    [METHOD_HOST_MOVE] = {.handle = handle_host_move, .also_store = also_move_repositories},
    [METHOD_HOST_DISCOVER] = {.handle = handle_host_discover},
    [METHOD_MATCH_LIST] = {.handle = handle_match_list},
    [METHOD_HOST_VMS] = {.handle = handle_host_vms},
    [METHOD_VM_ADOPT] = {.handle = handle_vm_adopt},
    [METHOD_HOST_MODULES] = {.handle = handle_host_modules},
    [METHOD_HOST_DELETE] = {.check_delete = check_host_delete},
    [METHOD_POOL_DELETE] = {.check_delete = call_check_unused},
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
    [METHOD_SYSTEM_RECOVERY_KIT] = {.handle = handle_recovery_kit},
    [METHOD_SYSTEM_REBUILD] = {.handle = handle_rebuild},
    [METHOD_SYSTEM_LOGIN] = {.handle = handle_login},
    [METHOD_VM_STATISTICS] = {.handle = handle_vm_statistics},
    [METHOD_VM_CONSOLE] = {.handle = handle_console},
};

const ApiRule *rule_find(MethodId method) {
    return &rules[method];
}
