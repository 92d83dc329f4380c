/* The table of methods that work in threads, and the small ones: inventory, repositories, networks. */
#include <string.h>
#include "agent/agent-private.h"
#include "rpc/rpc-frame.h"
#include "storage/repository-kind.h"

enum { PAGE_BYTES = RPC_MAX_FRAME / 2 }; /* of VMs in one message; the envelope needs some too */

static bool handle_inventory(AgentCall *call, Error *err) {
    return ((const AgentInventoryAsk *)call->parameters)->after ||
           agent_collect(call->agent, call->result, err);
}

static bool finish_inventory(AgentCall *call, Error *err G_GNUC_UNUSED) {
    const char *after = ((const AgentInventoryAsk *)call->parameters)->after;
    if (!after)
        reporter_know(call->agent->reporter, call->result);
    agent_inventory_clear(call->result);
    reporter_page(call->agent->reporter, after, call->result);
    return true;
}

/* ---- repositories ---- */

static bool handle_repository_open(AgentCall *call, Error *err) {
    const AgentRepository *request = call->parameters;
    AgentRepository *opened = call->result;
    const RepositoryKindOps *kind = repository_kind_of(&request->repository, err);
    repository_copy(agent_repository_put_repository(opened), &request->repository);
    return kind && kind->open(&opened->repository, err);
}

static bool handle_repository_join(AgentCall *call, Error *err) {
    const AgentRepository *request = call->parameters;
    AgentRepository *joined = call->result;
    const RepositoryKindOps *kind = repository_kind_of(&request->repository, err);
    repository_copy(agent_repository_put_repository(joined), &request->repository);
    if (!kind || !kind->check(&joined->repository, err))
        return false;
    kind->probe(&joined->repository);
    return true;
}

static bool finish_repository_open(AgentCall *call, Error *err G_GNUC_UNUSED) {
    journal_repository_put(call->agent->journal, &((AgentRepository *)call->result)->repository);
    return true;
}

static bool handle_repository_probe(AgentCall *call, Error *err) {
    const AgentRepository *request = call->parameters;
    AgentRepository *probed = call->result;
    const RepositoryKindOps *kind = repository_kind_of(&request->repository, err);
    if (!kind)
        return false;
    repository_copy(agent_repository_put_repository(probed), &request->repository);
    kind->probe(&probed->repository);
    return true;
}

static int compare_vms(const void *a, const void *b) {
    return g_strcmp0(((const Vm *)a)->id, ((const Vm *)b)->id);
}

static size_t encoded_bytes(json_t *take_json) {
    size_t bytes = json_dumpb(take_json, NULL, 0, JSON_COMPACT) + 1;
    json_decref(take_json);
    return bytes;
}

/* All of them are in the first page. */
static bool fill_others(
    const AgentRepositoryContent *content, AgentRepositoryContent *ret_page, size_t *bytes, Error *err) {
    for (size_t i = 0; i < content->templates.n; i++) {
        *bytes += encoded_bytes(template_encode(&content->templates.items[i], MODEL_ENCODE_DEFINITION));
        template_copy(agent_repository_content_add_templates(ret_page), &content->templates.items[i]);
    }
    for (size_t i = 0; i < content->isos.n; i++) {
        *bytes += encoded_bytes(iso_encode(&content->isos.items[i], MODEL_ENCODE_DEFINITION));
        iso_copy(agent_repository_content_add_isos(ret_page), &content->isos.items[i]);
    }
    return *bytes <= PAGE_BYTES ||
           error_set(err, ERROR_TOO_LARGE, NULL, "%zu templates and %zu ISOs do not fit into one answer",
               content->templates.n, content->isos.n);
}

/* The VMs of `content` that fit into one message, from the first behind `after`. */
static bool fill_page(
    AgentRepositoryContent *content, const char *after, AgentRepositoryContent *ret_page, Error *err) {
    size_t bytes = 0;
    const Vm *last = NULL;
    if (content->vms.n > 0)
        qsort(content->vms.items, content->vms.n, sizeof(Vm), compare_vms);
    repository_copy(agent_repository_content_put_repository(ret_page), &content->repository);
    if (!after && !fill_others(content, ret_page, &bytes, err))
        return false;
    for (size_t i = 0; i < content->vms.n; i++) {
        const Vm *vm = &content->vms.items[i];
        if (!vm->id || (after && strcmp(vm->id, after) <= 0))
            continue;
        bytes += encoded_bytes(vm_encode(vm, MODEL_ENCODE_DEFINITION));
        if (last && bytes > PAGE_BYTES) {
            agent_repository_content_set_next(ret_page, last->id);
            return true;
        }
        vm_copy(agent_repository_content_add_vms(ret_page), vm);
        last = vm;
    }
    return true;
}

/* All of it is read for each page: that happens after a restore only, and a folder keeps no order. */
static bool handle_repository_scan(AgentCall *call, Error *err) {
    const AgentRepositoryScan *request = call->parameters;
    const RepositoryKindOps *kind = repository_kind_of(&request->repository, err);
    g_auto(AgentRepositoryContent) content = {0};
    if (!kind || !kind->scan(&request->repository, &content, err))
        return false;
    return fill_page(&content, request->after, call->result, err);
}

static bool handle_repository_close(AgentCall *call G_GNUC_UNUSED, Error *err G_GNUC_UNUSED) {
    return true; /* nothing is mounted for a folder */
}

static bool finish_repository_close(AgentCall *call, Error *err G_GNUC_UNUSED) {
    journal_repository_delete(call->agent->journal, ((AgentRepository *)call->parameters)->repository.id);
    return true;
}

/* ---- networks ---- */

static bool handle_network_open(AgentCall *call, Error *err) {
    const AgentNetwork *request = call->parameters;
    AgentNetwork *opened = call->result;
    network_copy(agent_network_put_network(opened), &request->network);
    return call->agent->driver->network_open(call->agent->session, &opened->network, err);
}

static bool finish_network_open(AgentCall *call, Error *err G_GNUC_UNUSED) {
    journal_network_put(call->agent->journal, &((AgentNetwork *)call->result)->network);
    return true;
}

static bool finish_network_close(AgentCall *call, Error *err G_GNUC_UNUSED) {
    journal_network_delete(call->agent->journal, ((AgentNetwork *)call->parameters)->network.id);
    return true;
}

/* Those of other hosts are made when a VM needs them: without the manager, too. */
void agent_note_networks(Agent *agent, const Network *networks, size_t n) {
    for (size_t i = 0; i < n; i++)
        journal_network_put(agent->journal, &networks[i]);
}

static bool finish_vm(AgentCall *call, Error *err G_GNUC_UNUSED) {
    const AgentVm *request = call->parameters;
    agent_note_networks(call->agent, request->networks.items, request->networks.n);
    return true;
}

static bool finish_vm_update(AgentCall *call, Error *err G_GNUC_UNUSED) {
    const AgentVmChange *request = call->parameters;
    agent_note_networks(call->agent, request->networks.items, request->networks.n);
    return true;
}

static bool handle_network_close(AgentCall *call, Error *err) {
    const AgentNetwork *request = call->parameters;
    return call->agent->driver->network_close(call->agent->session, &request->network, err);
}

/* Says what is to be: whoever asks again asks for the same. */
static bool handle_network_apply(AgentCall *call, Error *err) {
    const AgentNetworkWish *wish = call->parameters;
    AgentNetwork *applied = call->result;
    const Hypervisor *driver = call->agent->driver;
    network_copy(agent_network_put_network(applied), &wish->network);
    return wish->gone ? driver->network_close(call->agent->session, &wish->network, err)
                      : driver->network_open(call->agent->session, &applied->network, err);
}

static bool finish_network_apply(AgentCall *call, Error *err G_GNUC_UNUSED) {
    const AgentNetworkWish *wish = call->parameters;
    if (wish->gone)
        journal_network_delete(call->agent->journal, wish->network.id);
    else
        journal_network_put(call->agent->journal, &((AgentNetwork *)call->result)->network);
    return true;
}

/* ---- objects that calls work on: the key of their queue and of their claim ---- */

static const char *key_of_repository(const void *parameters) {
    return ((const AgentRepository *)parameters)->repository.id;
}
static const char *key_of_network(const void *parameters) {
    return ((const AgentNetwork *)parameters)->network.id;
}
static const char *key_of_network_wish(const void *parameters) {
    return ((const AgentNetworkWish *)parameters)->network.id;
}
static const char *key_of_vm(const void *parameters) {
    return ((const AgentVm *)parameters)->vm.id;
}
static const char *key_of_vm_ref(const void *parameters) {
    return ((const AgentVmRef *)parameters)->id;
}
static const char *key_of_vm_change(const void *parameters) {
    return ((const AgentVmChange *)parameters)->vm.id;
}
static const char *key_of_template_build(const void *parameters) {
    return ((const AgentTemplateBuild *)parameters)->template.id;
}
static const char *key_of_template(const void *parameters) {
    return ((const AgentTemplate *)parameters)->template.id;
}
static const char *key_of_template_from_vm(const void *parameters) {
    return ((const AgentTemplateFromVm *)parameters)->template.id;
}
static const char *key_of_import(const void *parameters) {
    const AgentImport *import = parameters;
    return agent_import_has(import, AGENT_IMPORT_FIELD_ISO) ? import->iso.id : import->template.id;
}
static const char *key_of_iso(const void *parameters) {
    return ((const AgentIso *)parameters)->iso.id;
}

/* Asked for, or perhaps nothing else is possible. */
static bool is_long_copy(const void *parameters) {
    const AgentVm *request = parameters;
    bool is_elsewhere = agent_vm_has(request, AGENT_VM_FIELD_TEMPLATE_REPOSITORY) &&
                        g_strcmp0(request->template_repository.id, request->repository.id) != 0;
    return request->clone == CLONE_METHOD_FULL || is_elsewhere ||
           agent_vm_has(request, AGENT_VM_FIELD_SOURCE);
}

const AgentHandler agent_handlers[AGENT_METHOD_MAX] = {
    [AGENT_METHOD_INVENTORY] = {LANE_PROBE, handle_inventory, finish_inventory, NULL},
    [AGENT_METHOD_CERTIFICATE_APPLY] = {LANE_HOST, handle_certificate_apply, finish_certificate_apply,
        key_of_certificate},
    [AGENT_METHOD_REPOSITORY_OPEN] = {LANE_HOST, handle_repository_open, finish_repository_open,
        key_of_repository},
    [AGENT_METHOD_REPOSITORY_JOIN] = {LANE_HOST, handle_repository_join, finish_repository_open,
        key_of_repository},
    [AGENT_METHOD_REPOSITORY_LEAVE] = {LANE_HOST, handle_repository_close, finish_repository_close,
        key_of_repository},
    [AGENT_METHOD_REPOSITORY_PROBE] = {LANE_PROBE, handle_repository_probe, NULL, NULL},
    [AGENT_METHOD_REPOSITORY_SCAN] = {LANE_HOST, handle_repository_scan, NULL, NULL},
    [AGENT_METHOD_REPOSITORY_CLOSE] = {LANE_HOST, handle_repository_close, finish_repository_close,
        key_of_repository},
    [AGENT_METHOD_NETWORK_OPEN] = {LANE_HOST, handle_network_open, finish_network_open, key_of_network},
    [AGENT_METHOD_NETWORK_CLOSE] = {LANE_HOST, handle_network_close, finish_network_close, key_of_network},
    [AGENT_METHOD_NETWORK_APPLY] = {LANE_HOST, handle_network_apply, finish_network_apply,
        key_of_network_wish},
    [AGENT_METHOD_VM_CREATE] = {LANE_MAKE, handle_vm_create, finish_vm, key_of_vm, is_long_copy},
    [AGENT_METHOD_VM_FOREIGN] = {LANE_HOST, handle_vm_foreign, NULL, NULL},
    [AGENT_METHOD_VM_ADOPT] = {LANE_VM, handle_vm_adopt, finish_vm, key_of_vm, .is_certain = true},
    [AGENT_METHOD_VM_START] = {LANE_START, handle_vm_start, finish_vm, key_of_vm},
    [AGENT_METHOD_VM_STOP] = {LANE_STOP, handle_vm_stop, NULL, key_of_vm_ref},
    [AGENT_METHOD_VM_KILL] = {LANE_KILL, handle_vm_kill, NULL, key_of_vm_ref},
    [AGENT_METHOD_VM_RESET] = {LANE_VM, handle_vm_reset, NULL, key_of_vm_ref},
    [AGENT_METHOD_VM_PAUSE] = {LANE_VM, handle_vm_pause, NULL, key_of_vm_ref},
    [AGENT_METHOD_VM_RESUME] = {LANE_VM, handle_vm_resume, NULL, key_of_vm_ref},
    [AGENT_METHOD_VM_SAVE] = {LANE_COPY, handle_vm_save, NULL, key_of_vm_ref},
    [AGENT_METHOD_VM_UPDATE] = {LANE_VM, handle_vm_update, finish_vm_update, key_of_vm_change},
    [AGENT_METHOD_VM_DELETE] = {LANE_VM, handle_vm_delete, NULL, key_of_vm_ref},
    [AGENT_METHOD_VM_LEAVE] = {LANE_VM, handle_vm_leave, finish_vm_leave, key_of_vm_ref},
    [AGENT_METHOD_MIGRATION_EXPECT] = {LANE_START, handle_migration_expect, finish_migration_expect,
        key_of_migration},
    [AGENT_METHOD_MIGRATION_MOVE] = {LANE_MOVE, handle_migration_move, NULL, key_of_migration,
        .is_certain = true},
    [AGENT_METHOD_MIGRATION_CARRY] = {LANE_MOVE, handle_migration_carry, NULL, key_of_migration},
    [AGENT_METHOD_MIGRATION_LOOK] = {LANE_VM, handle_migration_look, NULL, key_of_migration_ref},
    [AGENT_METHOD_MIGRATION_ACT] = {LANE_VM, handle_migration_act, NULL, key_of_migration_step},
    [AGENT_METHOD_MIGRATION_END] = {LANE_VM, handle_migration_end, finish_migration_end,
        key_of_migration_end},
    [AGENT_METHOD_VM_CONSOLE] = {LANE_PROBE, handle_vm_console, finish_vm_console, NULL},
    [AGENT_METHOD_LOCAL_CONSOLE] = {LANE_PROBE, handle_vm_console, finish_vm_console, NULL},
    [AGENT_METHOD_CONTROL_APPLY] = {LANE_HOST, handle_control_apply, NULL, key_of_control},
    [AGENT_METHOD_VM_STATISTICS] = {LANE_COUNT, handle_vm_statistics, NULL, NULL},
    [AGENT_METHOD_MODULES_APPLY] = {LANE_HOST, handle_modules_apply, NULL, key_of_modules},
    [AGENT_METHOD_MODULES_CHECK] = {LANE_HOST, handle_modules_check, NULL, NULL},
    [AGENT_METHOD_MODULES_LIST] = {LANE_HOST, handle_modules_list, NULL, NULL},
    [AGENT_METHOD_RECIPE_LIST] = {LANE_PROBE, handle_recipe_list, NULL, NULL},
    [AGENT_METHOD_TEMPLATE_BUILD] = {LANE_BUILD, handle_template_build, NULL, key_of_template_build},
    [AGENT_METHOD_TEMPLATE_WRITE] = {LANE_HOST, handle_template_write, NULL, key_of_template},
    [AGENT_METHOD_TEMPLATE_DELETE] = {LANE_HOST, handle_template_delete, NULL, key_of_template},
    [AGENT_METHOD_TEMPLATE_CREATE] = {LANE_BUILD, handle_template_create, NULL, key_of_template_from_vm},
    [AGENT_METHOD_TEMPLATE_IMPORT] = {LANE_BUILD, handle_template_import, NULL, key_of_import,
        .abandon = abandon_import},
    [AGENT_METHOD_ISO_IMPORT] = {LANE_BUILD, handle_iso_import, NULL, key_of_import,
        .abandon = abandon_import},
    [AGENT_METHOD_UPLOAD_STATUS] = {LANE_PROBE, handle_upload_status, NULL, NULL},
    [AGENT_METHOD_UPLOAD_DISCARD] = {LANE_HOST, handle_upload_discard, NULL, NULL},
    [AGENT_METHOD_UPLOAD_OPEN] = {LANE_HOST, handle_upload_open, finish_upload_open, NULL},
    [AGENT_METHOD_ISO_DELETE] = {LANE_HOST, handle_iso_delete, NULL, key_of_iso},
};
