/*
 * The job that makes a lost manager anew: finds hosts and takes them (rebuild-find.c, rebuild-take.c), waits
 * until they are connected, lists what lies in their repositories by a job for each (adopt-jobs.c), and tells
 * what came of it. Nothing is started, stopped or deleted on hosts.
 */
#include <string.h>
#include "manager/job-kinds.h"
#include "manager/rebuild-steps.h"
#include "manager/rebuild.h"
#include "manager/repository-hosts.h"

enum { LOOK_MS = 250, CONNECT_MS = 60 * 1000, ADOPTIONS_AT_ONCE = 16, MOST_TOLD = 500, LONGEST_TEXT = 1500 };

static bool prepare_rebuild(Inventory *inventory, const JobRequest *asked, Job *job, Error *err) {
    if (rebuild_is_open(inventory))
        return error_set(err, ERROR_BUSY, NULL, "a rebuild is under way; it can be repeated afterwards");
    if (!rebuild_check_empty(inventory, err))
        return false;
    bool has_some = json_array_size(json_object_get(asked->parameters, "hosts")) > 0 ||
                    json_array_size(json_object_get(asked->parameters, "kit_hosts")) > 0;
    job_set_target_name(job, "manager");
    return has_some || error_set(err, ERROR_INVALID, "/hosts", "hosts: the kit knows none; name some");
}

/* ---- connected ---- */

typedef struct Connecting {
    JobRun *run;
    gint64 end_us;
} Connecting;

static bool is_connected(Inventory *inventory, const char *id) {
    const Object *object = inventory_get(inventory, RESOURCE_HOST, id);
    const Host *host = object ? object->data : NULL;
    return host && host_has(host, HOST_FIELD_STATUS) &&
           (host->status.state == HOST_STATE_CONNECTED || host->status.state == HOST_STATE_DEGRADED);
}

static json_t *taken_hosts(JobRun *run) {
    return json_object_get(job_data(run), "taken");
}

static gboolean look(void *data) {
    Connecting *self = data;
    JobRun *run = self->run;
    size_t i, n_there = 0, n = json_array_size(taken_hosts(run));
    json_t *host;
    json_array_foreach (taken_hosts(run), i, host)
        n_there += is_connected(job_inventory(run), json_text_at(host, "id"));
    g_autofree char *phase = g_strdup_printf("%zu of %zu hosts are connected", n_there, n);
    job_progress(run, n ? (int)(n_there * 100 / n) : 100, phase);
    bool is_over = n_there == n || g_get_monotonic_time() > self->end_us || job_is_cancelled(run) ||
                   job_is_abandoned(run);
    if (!is_over)
        return G_SOURCE_CONTINUE;
    g_free(self);
    job_step_done(run);
    return G_SOURCE_REMOVE;
}

static void connect_run(JobRun *run) {
    Connecting *self = g_new0(Connecting, 1);
    *self = (Connecting){run, g_get_monotonic_time() + CONNECT_MS * 1000};
    g_timeout_add(LOOK_MS, look, self);
}

/* ---- what lies in their repositories ---- */

typedef struct Adopting {
    JobRun *run;
    size_t next, n_open, n_ended;
    json_t *undecided; /* [{host, kind, name, id?, reason}] */
    json_int_t n_undecided;
} Adopting;

typedef struct Adoption {
    Adopting *all;
    const char *name; /* of the host; in the job's data */
} Adoption;

static void go_on(Adopting *self);

static void tell_undecided(Adopting *self, const char *host, const json_t *row, const char *reason) {
    self->n_undecided++;
    if (json_array_size(self->undecided) < MOST_TOLD)
        json_array_append_new(self->undecided,
            json_pack("{ss ss* ss* ss* ss*}", "host", host, "kind", json_text_at(row, "kind"), "name",
                json_text_at(row, "name"), "id", json_text_at(row, "id"), "reason", reason));
}

static void adopted(JobRun *run G_GNUC_UNUSED, const Job *child, void *data) {
    Adoption *one = data;
    Adopting *self = one->all;
    const json_t *refused = json_object_get(child->result, "refused");
    size_t i;
    json_t *row;
    json_array_foreach ((json_t *)refused, i, row)
        tell_undecided(self, one->name, row, json_text_at(row, "reason"));
    if (child->state != JOB_STATE_SUCCEEDED && json_array_size(refused) == 0) {
        g_autofree char *reason =
            g_strdup_printf("not all that lies there was listed: %s; `lodge host adopt %s` goes on",
                child->error.detail ? child->error.detail : "it was cancelled", one->name);
        tell_undecided(self, one->name, NULL, reason);
    }
    g_free(one);
    self->n_open--;
    self->n_ended++;
    go_on(self);
}

/* Shared repositories that this host reads for all: the first that sees them. */
static json_t *shared_of(Inventory *inventory, const char *host_id) {
    const GPtrArray *all = inventory_list(inventory, RESOURCE_REPOSITORY);
    json_t *shared = json_array();
    for (guint i = 0; i < all->len; i++) {
        const Repository *repository = ((const Object *)all->pdata[i])->data;
        if (repository_is_shared(repository) &&
            g_strcmp0(repository_worker(inventory, repository), host_id) == 0)
            json_array_append_new(shared, json_string(repository->id));
    }
    return shared;
}

static void begin_one(Adopting *self, const json_t *row) {
    JobRun *run = self->run;
    const char *id = json_text_at(row, "id"), *name = json_text_at(row, "name");
    const Object *host = inventory_get(job_inventory(run), RESOURCE_HOST, id);
    if (!host || !is_connected(job_inventory(run), id)) {
        tell_undecided(self, name, NULL,
            "it answered and went away: `lodge host adopt` lists what lies on it when it is back");
        self->n_ended++;
        return;
    }
    g_autoptr(json_t) parameters = json_pack("{s{so sO*}}", "rebuild", "shared",
        shared_of(job_inventory(run), id), "moves", json_object_get(job_data(run), "moves"));
    const JobRequest request = {.target_kind = RESOURCE_HOST,
        .target = host,
        .parameters = parameters,
        .principal = job_definition(run)->principal};
    g_autofree char *child = g_strconcat("adopt/", id, NULL);
    Adoption *one = g_new0(Adoption, 1);
    *one = (Adoption){self, name};
    self->n_open++;
    job_child(run, child, "host.adopt", &request, adopted, one);
}

/* What lies in a shared repository was listed by the job of another host. */
static void look_again(JobRun *run) {
    size_t i;
    json_t *host;
    json_array_foreach (taken_hosts(run), i, host)
        fleet_look_again(job_host(run), json_text_at(host, "id"));
}

static void adopt_end(Adopting *self) {
    JobRun *run = self->run;
    look_again(run);
    job_remember(run, "undecided", self->undecided);
    job_remember(run, "n_undecided", json_integer(self->n_undecided));
    g_free(self);
    job_step_done(run);
}

/* Each of a batch that is begun at once may end at once. */
static void go_on(Adopting *self) {
    JobRun *run = self->run;
    size_t n = json_array_size(taken_hosts(run));
    g_autofree char *phase = g_strdup_printf("What lies on %zu of %zu hosts is listed", self->n_ended, n);
    job_progress(run, n ? (int)(self->n_ended * 100 / n) : 100, phase);
    bool is_wanted = !job_is_cancelled(run) && !job_is_abandoned(run);
    if (is_wanted && self->next < n && self->n_open < ADOPTIONS_AT_ONCE) {
        begin_one(self, json_array_get(taken_hosts(run), self->next++));
        go_on(self);
        return;
    }
    if (self->n_open == 0 && (!is_wanted || self->next == n))
        adopt_end(self);
}

static void adopt_run(JobRun *run) {
    Adopting *self = g_new0(Adopting, 1);
    *self = (Adopting){.run = run, .undecided = json_array()};
    go_on(self);
}

/* ---- what came of it ---- */

/* What lies on no host, and what to do about it. */
static json_t *unrecovered(JobRun *run) {
    static const struct {
        const char *what, *advice;
    } lost[] = {
        {"tokens and sessions", "log in, and make tokens anew (`lodge token create`)"},
        {"passwords and other secrets in cloud-init",
            "set them again where a VM is to be made anew from its definition"},
        {"jobs and the audit",
            "what was under way at a host has ended there or was refused; look at what it was about"},
        {"which VMs with the run policy `last` ran", "it counts again from the next start on"},
        {"the certificate of the web address", "clients that pinned it log in again"},
    };
    json_t *rows = json_array();
    if (!json_object_get(job_parameters(run), "kit_hosts"))
        json_array_append_new(
            rows, json_pack("{ss ss}", "what", "principals, their roles and grants", "advice",
                      "make them anew (`lodge principal create`); a recovery kit holds them"));
    for (size_t i = 0; i < G_N_ELEMENTS(lost); i++)
        json_array_append_new(rows, json_pack("{ss ss}", "what", lost[i].what, "advice", lost[i].advice));
    return rows;
}

static json_t *listed(Inventory *inventory) {
    static const ResourceId counted[] = {RESOURCE_POOL, RESOURCE_HOST, RESOURCE_NETWORK, RESOURCE_REPOSITORY,
        RESOURCE_VM, RESOURCE_TEMPLATE, RESOURCE_ISO};
    json_t *counts = json_object();
    for (size_t i = 0; i < G_N_ELEMENTS(counted); i++)
        json_object_set_new(counts, resources[counted[i]].plural,
            json_integer((json_int_t)inventory_list(inventory, counted[i])->len));
    return counts;
}

static void fill_fault(const json_t *lost, json_int_t n_undecided, Error *err) {
    g_autoptr(GString) text = g_string_new(NULL);
    size_t i;
    json_t *row;
    json_array_foreach ((json_t *)lost, i, row) {
        const char *name = json_text_at(row, "name"), *address = json_text_at(row, "address");
        if (text->len < LONGEST_TEXT)
            g_string_append_printf(text, "%s%s: %s", i ? "; " : "",
                name      ? name
                : address ? address
                          : "?",
                json_text_at(row, "reason"));
    }
    if (i > 0)
        error_set(err, ERROR_CONFLICT, NULL, "%zu addresses or hosts were not taken, all else was: %s", i,
            text->str);
    else if (n_undecided > 0)
        error_set(err, ERROR_CONFLICT, NULL,
            "%" JSON_INTEGER_FORMAT
            " objects could not be listed, all else was; `undecided` in the result names them",
            n_undecided);
}

static json_t *first_of(const json_t *list) {
    json_t *some = json_array(), *row;
    size_t i;
    json_array_foreach ((json_t *)list, i, row)
        if (i < MOST_TOLD)
            json_array_append(some, row);
    return some;
}

static void tell_run(JobRun *run) {
    const json_t *data = job_data(run);
    g_autoptr(json_t) note = rebuild_note(job_inventory(run));
    const json_t *lost = json_object_get(data, "not_found");
    json_int_t n_undecided = json_integer_value(json_object_get(data, "n_undecided"));
    g_auto(Error) err = {0};
    job_result(
        run, json_pack("{so so so so sI so sO* sO*}", "listed", listed(job_inventory(run)), "rebuilt",
                 first_of(taken_hosts(run)), "not_taken", first_of(lost), "undecided",
                 first_of(json_object_get(data, "undecided")), "n_undecided", n_undecided, "unrecovered",
                 unrecovered(run), "n_principals", json_object_get(note, "n_principals"), "principals_left",
                 json_object_get(note, "left")));
    fill_fault(lost, n_undecided, &err);
    static const char *const kept[] = {"found", "not_found", "moves", "taken", "undecided", "n_undecided"};
    for (size_t i = 0; i < G_N_ELEMENTS(kept); i++)
        job_forget(run, kept[i]);
    if (error_is_set(&err))
        job_step_failed(run, &err);
    else
        job_step_done(run);
}

static const JobStepKind rebuild_steps[] = {
    {"find", "Finds the hosts, and an epoch that none of them has seen", rebuild_find, NULL},
    {"take", "Takes them with their pools, networks and repositories", rebuild_take, NULL,
        .has_no_way_back = true},
    {"connect", "Waits until they are connected", connect_run, NULL, .has_no_way_back = true},
    {"adopt", "Lists what lies in their repositories", adopt_run, NULL, .has_no_way_back = true},
    {"tell", "Tells what came of it", tell_run, NULL, .has_no_way_back = true},
};
static const JobKind system_rebuild = {
    REBUILD_JOB, rebuild_steps, G_N_ELEMENTS(rebuild_steps), prepare_rebuild};

const JobKind *const rebuild_job_kinds[] = {&system_rebuild};
const size_t n_rebuild_job_kinds = G_N_ELEMENTS(rebuild_job_kinds);
