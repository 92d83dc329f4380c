/* VMs of this host without its manager: definitions in the repositories, beside what the hypervisor shows. */
#include <string.h>
#include "agent/host-local.h"
#include "agent/migration.h"
#include "rpc/rpc-frame.h"

enum { PAGE_BYTES = RPC_MAX_FRAME / 2 }; /* of VMs in one message; the envelope needs some too */

/* Belongs to the thread while it works. */
typedef struct Listing {
    Agent *agent;
    RpcRequest *request;
    char *after, *host; /* this one's id */
    AgentHoldings holdings;
    GHashTable *obstacles;
    AgentInventory inventory; /* what the hypervisor shows */
    Error blind;              /* or why it shows nothing */
    GPtrArray *vms;           /* owned Vm */
    AgentLocalVms page;
} Listing;

static void listing_free(Listing *listing) {
    rpc_request_unref(listing->request);
    agent_holdings_clear(&listing->holdings);
    agent_inventory_clear(&listing->inventory);
    agent_local_vms_clear(&listing->page);
    error_clear(&listing->blind);
    g_ptr_array_unref(listing->vms);
    g_hash_table_unref(listing->obstacles);
    g_free(listing->after);
    g_free(listing->host);
    g_free(listing);
}

static void vm_release(void *vm) {
    vm_free(vm);
}

/* ---- in the thread ---- */

static const AgentVmState *state_of(const Listing *listing, const char *vm_id) {
    for (size_t i = 0; i < listing->inventory.vms.n; i++)
        if (g_strcmp0(listing->inventory.vms.items[i].id, vm_id) == 0)
            return &listing->inventory.vms.items[i];
    return NULL;
}

/* Of what does not run here nobody but the manager may know whether it runs elsewhere. */
static void fill_absent(const Listing *listing, const Vm *vm, VmStatus *status) {
    const char *obstacle = g_hash_table_lookup(listing->obstacles, vm->id);
    const char *reason = error_is_set(&listing->blind) ? listing->blind.message : obstacle;
    if (!reason && g_strcmp0(vm->host, listing->host) != 0)
        reason = "its definition names another host";
    vm_status_set_state(status, reason ? VM_STATE_UNKNOWN : VM_STATE_STOPPED);
    if (reason)
        vm_status_set_reason(status, reason);
}

static void add_vm(Listing *listing, const Vm *definition, const Repository *repository) {
    const AgentVmState *state = state_of(listing, definition->id);
    Vm *vm = g_new0(Vm, 1);
    vm_copy(vm, definition);
    vm_set_host_name(vm, g_get_host_name());
    if (repository)
        vm_set_repository_name(vm, repository->name);
    VmStatus *status = vm_put_status(vm);
    if (state)
        vm_status_copy(status, &state->status);
    else
        fill_absent(listing, vm, status);
    g_ptr_array_add(listing->vms, vm);
}

/* In a shared repository those of other hosts lie too. */
static bool is_anothers(const Listing *listing, const Repository *repository, const Vm *vm) {
    return repository->kind == REPOSITORY_KIND_SHARED && vm->host && strcmp(vm->host, listing->host) != 0 &&
           !state_of(listing, vm->id);
}

/* One that cannot be read now is left out: what runs from it is listed all the same. */
static void add_repository(Listing *listing, const Repository *repository, GHashTable *found) {
    const RepositoryKindOps *kind = repository_kind_find(repository->kind);
    g_auto(AgentRepositoryContent) content = {0};
    if (!kind || !kind->scan(repository, &content, NULL))
        return;
    for (size_t i = 0; i < content.vms.n; i++) {
        if (!content.vms.items[i].id || is_anothers(listing, repository, &content.vms.items[i]))
            continue;
        g_hash_table_add(found, g_strdup(content.vms.items[i].id));
        add_vm(listing, &content.vms.items[i], repository);
    }
}

/* What runs without a definition that can be read; others' VMs are not Lodge's to show. */
static void add_rest(Listing *listing, GHashTable *found) {
    for (size_t i = 0; i < listing->inventory.vms.n; i++) {
        const AgentVmState *state = &listing->inventory.vms.items[i];
        if (!state->managed || !state->id || g_hash_table_contains(found, state->id))
            continue;
        g_auto(Vm) vm = {0};
        vm_set_id(&vm, state->id);
        vm_set_name(&vm, state->name ? state->name : state->id);
        vm_set_host(&vm, listing->host);
        add_vm(listing, &vm, NULL);
    }
}

static int compare_ids(const void *a, const void *b) {
    return strcmp((*(const Vm *const *)a)->id, (*(const Vm *const *)b)->id);
}

static size_t encoded_bytes(const Vm *vm) {
    g_autoptr(json_t) json = vm_encode(vm, MODEL_ENCODE_PUBLIC);
    return json_dumpb(json, NULL, 0, JSON_COMPACT) + 1;
}

static void fill_page(Listing *listing) {
    const Vm *last = NULL;
    size_t bytes = 0;
    g_ptr_array_sort(listing->vms, compare_ids);
    for (guint i = 0; i < listing->vms->len; i++) {
        const Vm *vm = listing->vms->pdata[i];
        if (listing->after && strcmp(vm->id, listing->after) <= 0)
            continue;
        bytes += encoded_bytes(vm);
        if (last && bytes > PAGE_BYTES) {
            agent_local_vms_set_next(&listing->page, last->id);
            return;
        }
        vm_copy(agent_local_vms_add_vms(&listing->page), vm);
        last = vm;
    }
}

/* All of it is read for each page: definitions have no order in a folder. */
static void listing_run(void *data) {
    Listing *listing = data;
    g_autoptr(GHashTable) found = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    agent_list_vms(listing->agent, &listing->inventory, &listing->blind);
    for (size_t i = 0; i < listing->holdings.repositories.n; i++)
        add_repository(listing, &listing->holdings.repositories.items[i], found);
    add_rest(listing, found);
    fill_page(listing);
}

/* ---- on the main loop ---- */

static void listing_done(void *data) {
    Listing *listing = data;
    rpc_reply(listing->request, agent_local_vms_encode(&listing->page, MODEL_ENCODE_PUBLIC));
    listing_free(listing);
}

void serve_local_list(AgentClient *client, const void *parameters, RpcRequest *request) {
    Agent *agent = client->agent;
    g_auto(Error) err = {0};
    Listing *listing = g_new0(Listing, 1);
    *listing = (Listing){.agent = agent,
        .request = rpc_request_ref(request),
        .after = g_strdup(((const AgentLocalAsk *)parameters)->after),
        .host = g_strdup(journal_host(agent->journal)),
        .obstacles = migration_obstacles(agent),
        .vms = g_ptr_array_new_with_free_func(vm_release)};
    if (journal_holdings(agent->journal, &listing->holdings, &err) &&
        work_pool_add(agent->pools[LANE_PROBE], listing_run, listing_done, listing, &err))
        return;
    rpc_fail(request, &err);
    listing_free(listing);
}
