/*
 * Taking many hosts at once, by the secret of their pool. Each host stands for itself: those that cannot be
 * taken are told of in the end, those that were taken stay.
 */
#include <string.h>
#include "base/log.h"
#include "manager/enrol.h"
#include "manager/job-kinds.h"
#include "model/format.h"

enum { AT_ONCE = 4, LONGEST_NAME = 50, LONGEST_FAULT = 1500, MOST_NAMES = 1024 };

/* ---- what is asked for ---- */

static bool check_addresses(const json_t *addresses, Error *err) {
    size_t i;
    const json_t *text;
    json_array_foreach ((json_t *)addresses, i, text) {
        g_auto(RpcAddress) address = {0};
        if (!rpc_address_parse(json_string_value(text), &address, err))
            return error_prefix_field(err, "/addresses");
        if (address.path)
            return error_set(err, ERROR_INVALID, "/addresses",
                "addresses: %s: a host with a UNIX socket is added by `host add`", json_string_value(text));
    }
    return json_array_size(addresses) > 0 ||
           error_set(err, ERROR_INVALID, "/addresses", "addresses: none is given");
}

static bool prepare_enrol(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    const Object *pool =
        the_object(inventory, RESOURCE_POOL, json_text_at(asked->parameters, "pool"), "pool", err);
    if (!pool || !check_addresses(json_object_get(asked->parameters, "addresses"), err))
        return false;
    if (!((const Pool *)pool->data)->enrol_secret)
        return error_set(err, ERROR_INVALID, "/pool",
            "pool: %s has no secret that its hosts share; set one, or add hosts one by one with their codes",
            pool->name);
    job_set_target_name(job, pool->name);
    job_take_data(job, json_pack("{ss}", "pool", pool->id));
    job_claim_add(job, RESOURCE_POOL, pool->id, true, "hosts join it");
    return true;
}

/* ---- one host after the other ---- */

typedef struct Enrolling {
    JobRun *run;
    size_t next, under_way, n;
    json_t *added, *failed; /* arrays: {address, name, id}, {address, error} */
} Enrolling;

typedef struct One {
    Enrolling *all;
    char *address, *hostname;
    Host host;
    int n_names; /* that were taken meanwhile */
} One;

static void go_on(Enrolling *all);

static void one_end(One *one, const Error *err) {
    Enrolling *all = one->all;
    if (err) {
        g_autofree char *text = error_text(err);
        json_array_append_new(all->failed, json_pack("{ss ss}", "address", one->address, "error", text));
    } else {
        json_array_append_new(all->added,
            json_pack("{ss ss ss}", "address", one->address, "name", one->host.name, "id", one->host.id));
    }
    host_clear(&one->host);
    g_free(one->address);
    g_free(one->hostname);
    g_free(one);
    all->under_way--;
    go_on(all);
}

static void store_one(One *one);

/* Two that call themselves alike may be stored at the same moment. */
static void stored(const Error *err, void *data) {
    One *one = data;
    if (err && err->code == ERROR_EXISTS && one->n_names++ < MOST_NAMES)
        store_one(one);
    else
        one_end(one, err);
}

/* "node-7" of "Node-7.example.org", or "node-7-2" when there is one of that name. */
static char *free_name(Inventory *inventory, const char *hostname, int n_taken) {
    g_autofree char *label = g_ascii_strdown(hostname, (gssize)MIN(strcspn(hostname, "."), LONGEST_NAME));
    const char *base = is_object_name(label) ? label : "host";
    char *name = g_strdup(base);
    for (int i = 2; n_taken > 0 || inventory_has_name(inventory, RESOURCE_HOST, name); i++, n_taken--) {
        g_free(name);
        name = g_strdup_printf("%s-%d", base, i);
    }
    return name;
}

static void store_one(One *one) {
    Inventory *inventory = job_inventory(one->all->run);
    const Job *job = job_definition(one->all->run);
    g_autofree char *name = free_name(inventory, one->hostname, one->n_names);
    host_set_name(&one->host, name);
    InventoryChange *change = inventory_change_new(inventory);
    inventory_change_by(change, job->principal, job->id);
    inventory_change_put(change, RESOURCE_HOST, &one->host);
    inventory_commit(inventory, change, stored, one);
}

static void enrolled(const AgentIdentity *identity, const char *key, const Error *err, void *data) {
    One *one = data;
    Inventory *inventory = job_inventory(one->all->run);
    const Object *known = err ? NULL : inventory_get(inventory, RESOURCE_HOST, identity->host);
    if (err) {
        one_end(one, err);
        return;
    }
    if (known && g_strcmp0(((const Host *)known->data)->key, key) == 0) { /* before a crash, or long ago */
        host_copy(&one->host, known->data);
        one_end(one, NULL);
        return;
    }
    if (known) {
        g_auto(Error) fault = {0};
        error_set(&fault, ERROR_EXISTS, NULL, "the host %s has the same id and another key", known->name);
        one_end(one, &fault);
        return;
    }
    one->hostname = g_strdup(identity->name);
    host_set_id(&one->host, identity->host);
    host_set_address(&one->host, one->address);
    host_set_key(&one->host, key);
    host_set_pool(&one->host, json_text_at(job_data(one->all->run), "pool"));
    if (agent_identity_has(identity, AGENT_IDENTITY_FIELD_DRIVER))
        host_set_driver(&one->host, identity->driver);
    model_apply_defaults(&host_type, &one->host);
    store_one(one);
}

/* A host that was taken over the network at that address: by this job before a crash, or long ago. */
static const Host *host_at(Inventory *inventory, const char *text) {
    const GPtrArray *hosts = inventory_list(inventory, RESOURCE_HOST);
    g_auto(RpcAddress) wanted = {0};
    if (!rpc_address_parse(text, &wanted, NULL))
        return NULL;
    for (guint i = 0; i < hosts->len; i++) {
        const Host *host = ((const Object *)hosts->pdata[i])->data;
        g_auto(RpcAddress) address = {0};
        if (host->key && rpc_address_parse(host->address, &address, NULL) &&
            g_strcmp0(address.host, wanted.host) == 0 && address.port == wanted.port)
            return host;
    }
    return NULL;
}

static void begin_one(Enrolling *all, const char *address, const char *secret) {
    const FleetNetwork *network = fleet_network(job_host(all->run));
    const Host *known = host_at(job_inventory(all->run), address);
    if (known) {
        json_array_append_new(
            all->added, json_pack("{ss ss ss}", "address", address, "name", known->name, "id", known->id));
        return;
    }
    One *one = g_new0(One, 1);
    *one = (One){.all = all, .address = g_strdup(address)};
    const EnrolRequest request = {.store = inventory_store(job_inventory(all->run)),
        .network = network,
        .address = address,
        .secret = secret};
    all->under_way++;
    enrol_host(&request, enrolled, one);
}

/* ---- the end ---- */

static void fill_fault(const Enrolling *all, Error *err) {
    g_autoptr(GString) text = g_string_new(NULL);
    size_t i;
    const json_t *failure;
    json_array_foreach (all->failed, i, failure)
        if (text->len < LONGEST_FAULT)
            g_string_append_printf(text, "%s%s: %s", i ? "; " : "", json_text_at(failure, "address"),
                json_text_at(failure, "error"));
    error_set(err, ERROR_UNREACHABLE, NULL, "%zu of %zu hosts were not added: %s",
        json_array_size(all->failed), all->n, text->str);
}

static void end(Enrolling *all) {
    JobRun *run = all->run;
    g_auto(Error) err = {0};
    job_result(run, json_pack("{sO sO}", "added", all->added, "failed", all->failed));
    if (job_is_cancelled(run))
        error_set(&err, ERROR_CANCELLED, NULL, "%zu hosts were added before", json_array_size(all->added));
    else if (json_array_size(all->failed) > 0)
        fill_fault(all, &err);
    json_decref(all->added);
    json_decref(all->failed);
    g_free(all);
    if (error_is_set(&err))
        job_step_failed(run, &err);
    else
        job_step_done(run);
}

static void go_on(Enrolling *all) {
    const json_t *addresses = json_object_get(job_parameters(all->run), "addresses");
    const Object *pool =
        inventory_get(job_inventory(all->run), RESOURCE_POOL, json_text_at(job_data(all->run), "pool"));
    const char *secret = pool ? ((const Pool *)pool->data)->enrol_secret : NULL;
    size_t n_done = json_array_size(all->added) + json_array_size(all->failed);
    g_autofree char *phase = g_strdup_printf("%zu of %zu hosts", n_done, all->n);
    job_progress(all->run, (int)(n_done * 100 / all->n), phase);
    bool goes_on = secret && !job_is_cancelled(all->run) && !job_is_abandoned(all->run);
    while (goes_on && all->next < all->n && all->under_way < AT_ONCE)
        begin_one(all, json_string_value(json_array_get(addresses, all->next++)), secret);
    if (all->under_way == 0)
        end(all);
}

static void enrol_run(JobRun *run) {
    Enrolling *all = g_new0(Enrolling, 1);
    *all = (Enrolling){.run = run,
        .n = json_array_size(json_object_get(job_parameters(run), "addresses")),
        .added = json_array(),
        .failed = json_array()};
    go_on(all);
}

static const JobStepKind enrol_steps[] = {
    {"enrol", "Takes them one after the other", enrol_run, NULL, .has_no_way_back = true}};
static const JobKind host_enrol = {"host.enrol", enrol_steps, G_N_ELEMENTS(enrol_steps), prepare_enrol};

const JobKind *const host_job_kinds[] = {&host_enrol};
const size_t n_host_job_kinds = G_N_ELEMENTS(host_job_kinds);
