/*
 * A host that another manager has released: taken by its code, then all that lies on it. A host that was
 * taken and whose things could not all be taken over stays: `host adopt` goes on with it.
 */
#include <string.h>
#include "manager/enrol.h"
#include "manager/job-kinds.h"

static const char *address_of(const json_t *parameters) {
    const char *address = json_text_at(parameters, "address");
    return address ? address : json_text_at(parameters, "name");
}

static bool prepare_take(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    const char *name = json_text_at(asked->parameters, "name");
    const Object *pool =
        the_object(inventory, RESOURCE_POOL, json_text_at(asked->parameters, "pool"), "pool", err);
    g_auto(RpcAddress) address = {0};
    if (!pool)
        return false;
    if (!rpc_address_parse(address_of(asked->parameters), &address, err))
        return error_prefix_field(err, "/address");
    if (inventory_has_name(inventory, RESOURCE_HOST, name))
        return error_set(err, ERROR_EXISTS, "/name", "name: there is a host %s already", name);
    job_set_target_name(job, name);
    job_take_data(job, json_pack("{ss}", "pool", pool->id));
    job_claim_add(job, RESOURCE_POOL, pool->id, true, "the host joins it");
    return true;
}

static void stored(const Error *err, void *data) {
    JobRun *run = data;
    if (err)
        job_step_failed(run, err);
    else
        job_step_done(run);
}

static void store_host(JobRun *run, const AgentIdentity *identity, const char *key) {
    const json_t *asked = job_parameters(run);
    g_auto(Host) host = {0};
    host_set_id(&host, identity->host);
    host_set_name(&host, json_text_at(asked, "name"));
    host_set_address(&host, address_of(asked));
    host_set_pool(&host, json_text_at(job_data(run), "pool"));
    if (key)
        host_set_key(&host, key);
    if (agent_identity_has(identity, AGENT_IDENTITY_FIELD_DRIVER))
        host_set_driver(&host, identity->driver);
    model_apply_defaults(&host_type, &host);
    InventoryChange *change = inventory_change_new(job_inventory(run));
    inventory_change_by(change, job_definition(run)->principal, job_definition(run)->id);
    inventory_change_put(change, RESOURCE_HOST, &host);
    inventory_commit(job_inventory(run), change, stored, run);
}

static void owned(const AgentIdentity *identity, const char *key, const Error *err, void *data) {
    JobRun *run = data;
    const Object *known = err ? NULL : inventory_get(job_inventory(run), RESOURCE_HOST, identity->host);
    const Host *host = known ? known->data : NULL;
    g_auto(Error) fault = {0};
    if (err) {
        job_step_failed(run, err);
        return;
    }
    job_remember(run, "host", json_string(identity->host));
    if (!host) {
        store_host(run, identity, key);
    } else if (g_strcmp0(host->name, job_definition(run)->target_name) ==
               0) { /* by this job, before a crash */
        job_step_done(run);
    } else {
        error_set(&fault, ERROR_EXISTS, "/address",
            "the host at this address is %s, which is managed already", host->name);
        job_step_failed(run, &fault);
    }
}

static void take(JobRun *run) {
    const EnrolRequest request = {.store = inventory_store(job_inventory(run)),
        .network = fleet_network(job_host(run)),
        .address = address_of(job_parameters(run)),
        .code = json_text_at(job_parameters(run), "enrol_code")};
    enrol_host(&request, owned, run);
}

static void adopted(JobRun *run, const Job *child, void *data G_GNUC_UNUSED) {
    g_auto(Error) err = {0};
    json_t *result = child->result ? json_deep_copy(child->result) : json_object();
    json_object_set_new(result, "hosts",
        json_pack("[{ss ss}]", "id", json_text_at(job_data(run), "host"), "name",
            job_definition(run)->target_name));
    job_result(run, result);
    if (child->state == JOB_STATE_SUCCEEDED) {
        job_step_done(run);
        return;
    }
    error_set(&err, ERROR_CONFLICT, NULL,
        "the host was taken, but not all that lies on it: %s; go on with `host adopt`",
        child->error.detail ? child->error.detail : "it was cancelled");
    job_step_failed(run, &err);
}

static void adopt(JobRun *run) {
    const Object *host =
        inventory_get(job_inventory(run), RESOURCE_HOST, json_text_at(job_data(run), "host"));
    if (!host) {
        step_failed(run, ERROR_NOT_FOUND, NULL, "the host was removed meanwhile");
        return;
    }
    g_autoptr(json_t) nothing = json_object();
    const JobRequest request = {.target_kind = RESOURCE_HOST,
        .target = host,
        .parameters = nothing,
        .principal = job_definition(run)->principal};
    job_child(run, "adopt", "host.adopt", &request, adopted, NULL);
}

static const JobStepKind take_steps[] = {
    {"take", "Proves the code and takes the host", take, NULL, .has_no_way_back = true},
    {"adopt", "Takes over what lies on it", adopt, NULL},
};
static const JobKind host_take = {"host.take", take_steps, G_N_ELEMENTS(take_steps), prepare_take};

const JobKind *const take_job_kinds[] = {&host_take};
const size_t n_take_job_kinds = G_N_ELEMENTS(take_job_kinds);
