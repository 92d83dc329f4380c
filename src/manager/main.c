/* lodged, the manager: options, then every part in the order in which it depends on the others. */
#include <errno.h>
#include <glib-unix.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include "api/api.h"
#include "base/file.h"
#include "base/heap.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/work.h"
#include "tls/tls-identity.h"
#include "manager/console-bridge.h"
#include "manager/discovery.h"
#include "manager/enrol.h"
#include "manager/host-settings.h"
#include "manager/job-kinds.h"
#include "manager/keeping.h"
#include "manager/local-actions.h"
#include "manager/network-hosts.h"
#include "manager/rebuild.h"
#include "manager/reconcile.h"
#include "manager/repository-hosts.h"
#include "manager/boot-policy.h"
#include "manager/upload-bridge.h"
#include "manager/vm-cpu.h"
#include "model/format.h"

enum { STOP_DEADLINE_MS = 5000, ANSWER_MS = 200, STATISTICS_MS = 10000, RENEWAL_S = 24 * 60 * 60 };
enum { SOCKET_MODE = 0666, STATE_MODE = 0700 };
#define DEFAULT_LISTEN "127.0.0.1:7443"

typedef struct Manager {
    char *instance, *state_folder, *socket_path, *listen;
    gboolean is_verbose, shows_version;
    bool is_ending, is_to_restart;
    int subscription;
    GMainLoop *loop;
    Store *store;
    Inventory *inventory;
    Jobs *jobs;
    HostAuthority *authority;
    RpcConnector *connector;
    WorkPool *proofs; /* of codes that hosts show: a few tenths of a second each */
    guint renewal_source;
    Fleet *fleet;
    NetworkHosts *networks;
    Keeping *keeping;
    Reconciler *reconciler;
    LocalActions *local_actions;
    BootPolicy *policy;
    Api *api;
    HttpServer *server;
    HttpListener *web; /* NULL: none */
    FleetNetwork network;
    DiscoveryMeans discovery_means;
    WorkPool *searches; /* for hosts: a thread each */
    RebuildMeans rebuild_means;
    char *fingerprint, *chain, *key; /* of the authority; PEM */
} Manager;

static bool parse_options(Manager *manager, int argc, char **argv, Error *err) {
    const GOptionEntry entries[] = {
        {"instance", 0, 0, G_OPTION_ARG_STRING, &manager->instance, "Name of the instance (default: lodge)",
            "NAME"},
        {"state", 0, 0, G_OPTION_ARG_FILENAME, &manager->state_folder,
            "Folder of the store and the certificates", "FOLDER"},
        {"socket", 0, 0, G_OPTION_ARG_FILENAME, &manager->socket_path, "UNIX socket to listen on", "PATH"},
        {"listen", 0, 0, G_OPTION_ARG_STRING, &manager->listen,
            "Address for HTTPS, or `none` (default: 127.0.0.1:7443)", "ADDRESS:PORT"},
        {"verbose", 'v', 0, G_OPTION_ARG_NONE, &manager->is_verbose, "Log more", NULL},
        {"version", 0, 0, G_OPTION_ARG_NONE, &manager->shows_version, "Show the version and exit", NULL},
        {0},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("- the manager of Lodge");
    g_option_context_add_main_entries(context, entries, NULL);
    g_autoptr(GError) error = NULL;
    if (!g_option_context_parse(context, &argc, &argv, &error))
        return error_set(err, ERROR_INVALID, NULL, "%s", error->message);
    if (argc > 1)
        return error_set(err, ERROR_INVALID, NULL, "%s is not an option; see --help", argv[1]);
    if (!manager->instance)
        manager->instance = g_strdup("lodge");
    if (!is_object_name(manager->instance) || strlen(manager->instance) > 32)
        return error_set(err, ERROR_INVALID, NULL, "the instance's name must be a short host name");
    if (!manager->state_folder)
        manager->state_folder = g_strdup_printf("/var/lib/%s/manager", manager->instance);
    if (!manager->socket_path)
        manager->socket_path = g_strdup_printf("/run/%s/lodged.sock", manager->instance);
    return true;
}

/* ---- certificates ---- */

static bool load_or_make_authority(Manager *manager, TlsIdentity *ret_authority, Error *err) {
    g_auto(Error) missing = {0};
    if (tls_identity_load(manager->state_folder, "ca", ret_authority, &missing))
        return true;
    if (missing.code != ERROR_NOT_FOUND) {
        error_move(err, &missing);
        return false;
    }
    g_autofree char *name = g_strdup_printf("Lodge CA %s", store_uuid(manager->store));
    return tls_authority_make(name, clock_system(), ret_authority, err) &&
           tls_identity_save(ret_authority, manager->state_folder, "ca", err);
}

static bool load_or_make_certificate(
    Manager *manager, const TlsIdentity *authority, TlsIdentity *ret_server, Error *err) {
    const char *const names[] = {g_get_host_name(), NULL};
    bool is_due = true;
    if (tls_identity_load(manager->state_folder, "server", ret_server, NULL) &&
        tls_certificate_is_due(
            ret_server->certificate_pem, authority->certificate_pem, names, clock_system(), &is_due, NULL) &&
        !is_due)
        return true;
    tls_identity_clear(ret_server);
    return tls_certificate_make(
               authority, g_get_host_name(), names, TLS_ROLE_SERVER, clock_system(), ret_server, err) &&
           tls_identity_save(ret_server, manager->state_folder, "server", err);
}

/* ---- hooks of the API ---- */

static bool open_console(HttpRequest *request, const Object *vm, void *data, Error *err) {
    return console_bridge_open(((Manager *)data)->fleet, request, vm->data, err);
}

static void ask_upload(const ApiUpload *upload, ApiUploadFn done, void *done_data, void *data) {
    Manager *manager = data;
    upload_bridge_ask(manager->fleet, manager->inventory, upload, done, done_data);
}

static void *begin_upload(
    HttpRequest *request, const ApiUpload *upload, ApiUploadFn done, void *done_data, void *data) {
    Manager *manager = data;
    return upload_bridge_begin(manager->fleet, manager->inventory, request, upload, done, done_data);
}

static void end_upload(void *receiver, void *data G_GNUC_UNUSED) {
    upload_bridge_end(receiver);
}

static void own_host(const HostAdd *host, const char *host_id, ApiHostFn done, void *done_data, void *data) {
    const Manager *manager = data;
    const Object *pool = host->pool ? inventory_get(manager->inventory, RESOURCE_POOL, host->pool) : NULL;
    const EnrolRequest request = {.store = manager->store,
        .network = &manager->network,
        .address = host->address ? host->address : host->name,
        .code = host->enrol_code,
        .secret = pool ? ((const Pool *)pool->data)->enrol_secret : NULL,
        .host_id = host_id};
    enrol_host(&request, done, done_data);
}

static void *begin_discovery(
    const HostDiscover *asked, ApiRowFn on_row, ApiEndFn on_end, void *user_data, void *data, Error *err) {
    return discovery_begin(&((Manager *)data)->discovery_means, asked, on_row, on_end, user_data, err);
}

static void end_discovery(void *discovery) {
    discovery_end(discovery);
}

static void list_modules(const char *host_id, ApiAnswerFn done, void *done_data, void *data) {
    host_modules_list(((Manager *)data)->fleet, host_id, done, done_data);
}

static void list_foreign(const char *host_id, ApiAnswerFn done, void *done_data, void *data) {
    host_foreign_list(((Manager *)data)->fleet, host_id, done, done_data);
}

static void check_modules(const Host *host, ApiAnswerFn done, void *done_data, void *data) {
    host_modules_check(((Manager *)data)->fleet, host, done, done_data);
}

/* A guest may hang in the hypervisor: who asks for its counters is not kept waiting for it. */
static void read_statistics(const Vm *vm, ApiAnswerFn done, void *done_data, void *data) {
    fleet_ask_within(((Manager *)data)->fleet, STATISTICS_MS, vm->host, AGENT_METHOD_VM_STATISTICS,
        json_pack("{ss}", "id", vm->id), done, done_data);
}

static const char *job_on_host(const char *host_id, void *data) {
    return fleet_job_on(((Manager *)data)->fleet, host_id);
}

static void make_kit(const char *passphrase, ApiAnswerFn done, void *done_data, void *data) {
    const Manager *manager = data;
    recovery_make(manager->inventory, manager->authority, manager->proofs, passphrase, done, done_data);
}

static void fill_kit_state(RecoveryState *ret_state, void *data) {
    const Manager *manager = data;
    recovery_fill_state(manager->inventory, manager->authority, ret_state);
}

static void prepare_rebuild(
    const json_t *parameters, bool is_dry, ApiAnswerFn done, void *done_data, void *data) {
    Manager *manager = data;
    manager->rebuild_means = (RebuildMeans){
        manager->inventory, manager->jobs, manager->authority, manager->connector, manager->proofs};
    rebuild_prepare(&manager->rebuild_means, parameters, is_dry, done, done_data);
}

/* What a host can build appears as templates; during a rebuild afterwards, because what was built has the
 * same name. */
static void recipes_arrived(const json_t *result, const Error *err, void *data) {
    Manager *manager = data;
    g_auto(AgentRecipeList) list = {0};
    if (err || rebuild_is_open(manager->inventory) ||
        !agent_recipe_list_decode(result, MODEL_STORED, &list, NULL))
        return;
    for (size_t i = 0; i < list.recipes.n; i++) {
        Template *template = &list.recipes.items[i];
        if (inventory_has_name(manager->inventory, RESOURCE_TEMPLATE, template->name))
            continue;
        g_autofree char *id = uuid_new();
        template_set_id(template, id);
        template_set_state(template, TEMPLATE_STATE_BUILDABLE);
        InventoryChange *change = inventory_change_new(manager->inventory);
        inventory_change_put(change, RESOURCE_TEMPLATE, template);
        inventory_commit(manager->inventory, change, NULL, NULL);
    }
}

/* A machine may have been started as another kind of host: under a hypervisor, or without it. */
static void note_driver(Manager *manager, const char *host_id) {
    const Object *object = inventory_get(manager->inventory, RESOURCE_HOST, host_id);
    const Host *host = object ? object->data : NULL;
    if (!host || !host_has(host, HOST_FIELD_STATUS) ||
        !host_status_has(&host->status, HOST_STATUS_FIELD_DRIVER) || host->driver == host->status.driver)
        return;
    log_info("the host %s runs another hypervisor now: %s", host->name,
        model_enum_name(&hypervisor_driver_enum, (int)host->status.driver));
    g_auto(Host) changed = {0};
    host_copy(&changed, host);
    host_set_driver(&changed, host->status.driver);
    InventoryChange *change = inventory_change_new(manager->inventory);
    inventory_change_put(change, RESOURCE_HOST, &changed);
    inventory_commit(manager->inventory, change, NULL, NULL);
}

/* Until it is back, what its guests have, and what others may have to move to it, is known by that. */
static void note_cpu(Manager *manager, const char *host_id) {
    InventoryChange *change = host_cpu_remember(manager->inventory, host_id);
    if (change)
        inventory_commit(manager->inventory, change, NULL, NULL);
}

static void local_done(const char *host_id, void *data) {
    local_actions_take(((Manager *)data)->local_actions, host_id);
}

static void host_connected(const char *host_id, void *data) {
    Manager *manager = data;
    note_driver(manager, host_id);
    note_cpu(manager, host_id);
    local_actions_take(manager->local_actions, host_id);
    host_settings_send(manager->fleet, manager->inventory, host_id);
    network_hosts_connected(manager->networks, host_id);
    keeping_connected(manager->keeping, host_id);
    fleet_ask(manager->fleet, host_id, AGENT_METHOD_RECIPE_LIST, NULL, recipes_arrived, manager);
    /* Which tells how it is, too. */
    bool is_read = reconcile_is_needed(manager->inventory) && !rebuild_is_open(manager->inventory);
    repositories_look(manager->fleet, manager->inventory, host_id, is_read);
    const Object *host = inventory_get(manager->inventory, RESOURCE_HOST, host_id);
    const GPtrArray *repositories = inventory_list(manager->inventory, RESOURCE_REPOSITORY);
    for (guint i = 0; host && is_read && i < repositories->len; i++) {
        const Repository *repository = ((const Object *)repositories->pdata[i])->data;
        /* What several hosts see one of them has read. */
        bool is_done = repository_is_shared(repository) &&
                       repository_has(repository, REPOSITORY_FIELD_STATUS) &&
                       repository->status.state == REPOSITORY_STATE_READY &&
                       reconcile_check(manager->inventory, repository->id, NULL);
        if (!is_done && repository_is_of(repository, host->data))
            reconcile_repository(manager->reconciler, repository, host_id);
    }
}

/* What was put off while it was open. */
static void rebuild_ended(Manager *manager) {
    const GPtrArray *hosts = inventory_list(manager->inventory, RESOURCE_HOST);
    const GPtrArray *repositories = inventory_list(manager->inventory, RESOURCE_REPOSITORY);
    for (guint i = 0; i < hosts->len; i++)
        fleet_ask(manager->fleet, ((const Object *)hosts->pdata[i])->id, AGENT_METHOD_RECIPE_LIST, NULL,
            recipes_arrived, manager);
    for (guint i = 0; i < repositories->len; i++) {
        const Repository *repository = ((const Object *)repositories->pdata[i])->data;
        reconcile_repository(
            manager->reconciler, repository, repository_worker(manager->inventory, repository));
    }
}

static void job_changed(Manager *manager, const char *job_id) {
    const Object *object = inventory_get(manager->inventory, RESOURCE_JOB, job_id);
    const Job *job = object ? object->data : NULL;
    if (job && g_strcmp0(job->kind, REBUILD_JOB) == 0 && job_has(job, JOB_FIELD_ENDED))
        rebuild_ended(manager);
}

static void host_changed(Manager *manager, const char *host_id) {
    host_settings_send(manager->fleet, manager->inventory, host_id);
    repositories_look(manager->fleet, manager->inventory, host_id, true); /* its pool may be another one */
}

/* A repository that comes after a restore is read too; a host learns of its new definition. */
static void on_inventory_event(const Event *event, void *data) {
    Manager *manager = data;
    if (event->object && g_str_has_prefix(event->object, "job/") && g_str_equal(event->kind, "changed"))
        job_changed(manager, event->object + strlen("job/"));
    if (event->object && g_str_has_prefix(event->object, "host/") && g_str_equal(event->kind, "changed"))
        host_changed(manager, event->object + strlen("host/"));
    if (event->object && g_str_has_prefix(event->object, "host/") && g_str_equal(event->kind, "deleted"))
        repositories_forget_view(manager->inventory, event->object + strlen("host/"));
    if (!event->object || !g_str_has_prefix(event->object, "repository/") ||
        !g_str_equal(event->kind, "created"))
        return;
    const Object *object =
        inventory_get(manager->inventory, RESOURCE_REPOSITORY, event->object + strlen("repository/"));
    if (object && repository_is_shared(object->data)) /* it may have come with one host */
        repository_tell_hosts(manager->fleet, manager->inventory, object->data, false, NULL, NULL);
    if (object && reconcile_is_needed(manager->inventory) && !rebuild_is_open(manager->inventory))
        reconcile_repository(
            manager->reconciler, object->data, repository_worker(manager->inventory, object->data));
}

/* ---- start and end ---- */

/* A backup that was checked when it came. Should it be refused all the same, the old store goes on. */
static void take_up_backup(const Manager *manager, const char *path) {
    g_autofree char *pending = g_build_filename(manager->state_folder, RESTORE_PENDING, NULL);
    g_autofree char *refused = g_build_filename(manager->state_folder, "restore.refused", NULL);
    g_auto(Error) err = {0};
    if (access(pending, F_OK) < 0)
        return;
    if (store_restore_file(pending, path, clock_system(), &err)) {
        log_info("a backup was restored");
        unlink(pending);
        return;
    }
    g_autofree char *text = error_text(&err);
    log_error("%s; the store is the old one, the backup is now %s", text, refused);
    if (rename(pending, refused) < 0)
        unlink(pending);
}

static bool open_state(Manager *manager, Error *err) {
    g_autofree char *path = g_build_filename(manager->state_folder, "lodge.db", NULL);
    if (!folder_make(manager->state_folder, STATE_MODE, err))
        return false;
    take_up_backup(manager, path);
    manager->store = store_open_sqlite(path, NULL, clock_system(), err);
    if (!manager->store)
        return false;
    manager->inventory = inventory_new(manager->store, clock_system());
    return inventory_load(manager->inventory, err);
}

static bool load_certificates(Manager *manager, Error *err) {
    g_auto(TlsIdentity) authority = {0}, server = {0};
    if (!load_or_make_authority(manager, &authority, err) ||
        !load_or_make_certificate(manager, &authority, &server, err))
        return false;
    if (!manager->fingerprint && !tls_fingerprint(authority.certificate_pem, &manager->fingerprint, err))
        return false;
    g_free(manager->chain);
    g_free(manager->key);
    /* the leaf, then the authority, so that a first log-in can pin it */
    manager->chain = g_strconcat(server.certificate_pem, authority.certificate_pem, NULL);
    manager->key = g_steal_pointer(&server.key_pem);
    return true;
}

/* Of the web address; connections that are open go on. */
static bool renew_web(Manager *manager, Error *err) {
    g_autofree char *before = g_strdup(manager->chain);
    if (!load_certificates(manager, err))
        return false;
    if (!manager->web || g_str_equal(before, manager->chain))
        return true;
    log_info("the web address shows another certificate now");
    return http_listener_reload(manager->web, manager->chain, manager->key, err);
}

/* Each day, and when somebody asks by SIGHUP. */
static gboolean renew(void *data) {
    Manager *manager = data;
    g_auto(Error) err = {0}, web_err = {0};
    if (!host_authority_renew(manager->authority, &err))
        log_warning("the certificate that is shown to hosts cannot be renewed: %s", err.message);
    if (!renew_web(manager, &web_err))
        log_warning("the certificate of the web address cannot be renewed: %s", web_err.message);
    return G_SOURCE_CONTINUE;
}

static bool prepare_network(Manager *manager, Error *err) {
    manager->authority =
        host_authority_new(manager->state_folder, store_uuid(manager->store), clock_system(), err);
    manager->renewal_source = g_timeout_add_seconds(RENEWAL_S, renew, manager);
    manager->connector = rpc_connector_new();
    manager->proofs = work_pool_new("proofs", 2, 1024);
    manager->searches = work_pool_new("searches", 4, 4);
    manager->discovery_means =
        (DiscoveryMeans){manager->inventory, manager->authority, manager->connector, manager->searches};
    manager->network = (FleetNetwork){manager->authority, manager->connector, manager->proofs};
    return manager->authority != NULL;
}

static bool listen_tls(Manager *manager, Error *err) {
    const char *text = manager->listen ? manager->listen : DEFAULT_LISTEN;
    if (g_str_equal(text, "none"))
        return true;
    const char *colon = strrchr(text, ':');
    guint64 port = 0;
    if (!colon || !g_ascii_string_to_unsigned(colon + 1, 10, 0, UINT16_MAX, &port, NULL))
        return error_set(err, ERROR_INVALID, NULL, "--listen: %s is not ADDRESS:PORT", text);
    g_autofree char *address = g_strndup(text, (gsize)(colon - text));
    return http_server_listen_tls(
        manager->server, address, (uint16_t)port, manager->chain, manager->key, NULL, &manager->web, err);
}

/* Never to the log: into a file that only root and this daemon's user can read; quickstart shows and removes
 * it. */
static void first_administrator(const char *password, const Error *err, void *data) {
    Manager *manager = data;
    g_auto(Error) fault = {0};
    if (err)
        log_error("the first administrator could not be made: %s", err->message);
    if (!password)
        return;
    g_autofree char *path = g_build_filename(manager->state_folder, "first-password", NULL);
    g_autofree char *text = g_strdup_printf("%s\n", password);
    if (file_replace(path, text, strlen(text), 0600, &fault))
        log_info(
            "the first administrator is `admin`; its password is in %s: read it and remove the file", path);
    else
        log_error("the first administrator's password could not be saved: %s", fault.message);
}

static gboolean end(void *data);

static void restored(void *data) {
    Manager *manager = data;
    log_info("starting again with the restored backup");
    manager->is_to_restart = true;
    g_timeout_add(ANSWER_MS, end, manager);
}

/* JobKind; the array is owned. */
static GPtrArray *all_job_kinds(void) {
    const struct {
        const JobKind *const *kinds;
        size_t n;
    } lists[] = {
        {vm_job_kinds, n_vm_job_kinds},
        {vm_change_job_kinds, n_vm_change_job_kinds},
        {infrastructure_job_kinds, n_infrastructure_job_kinds},
        {network_job_kinds, n_network_job_kinds},
        {content_job_kinds, n_content_job_kinds},
        {host_job_kinds, n_host_job_kinds},
        {take_job_kinds, n_take_job_kinds},
        {adopt_job_kinds, n_adopt_job_kinds},
        {foreign_job_kinds, n_foreign_job_kinds},
        {migrate_job_kinds, n_migrate_job_kinds},
        {balance_job_kinds, n_balance_job_kinds},
        {rebuild_job_kinds, n_rebuild_job_kinds},
        {removal_job_kinds, n_removal_job_kinds},
    };
    GPtrArray *kinds = g_ptr_array_new();
    for (size_t list = 0; list < G_N_ELEMENTS(lists); list++)
        for (size_t i = 0; i < lists[list].n; i++)
            g_ptr_array_add(kinds, (void *)lists[list].kinds[i]);
    return kinds;
}

static bool start(Manager *manager, Error *err) {
    if (!open_state(manager, err) || !load_certificates(manager, err) || !prepare_network(manager, err))
        return false;
    g_autoptr(GPtrArray) kinds = all_job_kinds();
    manager->fleet = fleet_new(manager->inventory, clock_system(), &manager->network);
    manager->jobs =
        jobs_new(manager->inventory, (const JobKind *const *)kinds->pdata, kinds->len, manager->fleet, err);
    if (!manager->jobs)
        return false;
    jobs_on_settled(manager->jobs, fleet_settled, manager->fleet);
    manager->policy = boot_policy_new(manager->inventory, manager->jobs, err);
    if (!manager->policy)
        return false;
    ApiOptions options = {.inventory = manager->inventory,
        .jobs = manager->jobs,
        .clock = clock_system(),
        .instance = manager->instance,
        .ca_fingerprint = manager->fingerprint,
        .backup_folder = manager->state_folder,
        .hook_data = manager,
        .open_console = open_console,
        .ask_upload = ask_upload,
        .begin_upload = begin_upload,
        .end_upload = end_upload,
        .restored = restored,
        .own_host = own_host,
        .begin_discovery = begin_discovery,
        .end_discovery = end_discovery,
        .list_modules = list_modules,
        .check_modules = check_modules,
        .list_foreign = list_foreign,
        .read_statistics = read_statistics,
        .make_kit = make_kit,
        .fill_kit_state = fill_kit_state,
        .prepare_rebuild = prepare_rebuild,
        .job_on_host = job_on_host};
    manager->api = api_new(&options);
    manager->server = http_server_new(&api_http_handler, manager->api, &http_limits_default);
    if (!listen_tls(manager, err) ||
        !http_server_listen_unix(manager->server, manager->socket_path, SOCKET_MODE, (gid_t)-1, err))
        return false;
    manager->reconciler = reconciler_new(manager->inventory, manager->fleet);
    manager->subscription = inventory_subscribe(manager->inventory, on_inventory_event, manager);
    manager->networks = network_hosts_new(manager->inventory, manager->fleet);
    manager->keeping = keeping_new(manager->inventory, manager->fleet);
    manager->local_actions = local_actions_new(manager->inventory, manager->fleet);
    fleet_set_hooks(manager->fleet, &(FleetHooks){host_connected, local_done, manager});
    fleet_start(manager->fleet);
    jobs_resume(manager->jobs);
    api_first_administrator(manager->api, first_administrator, manager);
    return true;
}

static void stop(Manager *manager) {
    http_server_free(manager->server);
    api_free(manager->api);
    boot_policy_free(manager->policy);
    jobs_on_settled(manager->jobs, NULL, NULL);
    inventory_unsubscribe(manager->inventory, manager->subscription);
    local_actions_stop(manager->local_actions);
    jobs_stop(manager->jobs);
    fleet_free(manager->fleet); /* calls of jobs stay in the store */
    network_hosts_free(manager->networks);
    keeping_free(manager->keeping);
    g_clear_handle_id(&manager->renewal_source, g_source_remove);
    rpc_connector_free(manager->connector);
    work_pool_free(manager->proofs);
    work_pool_free(manager->searches);
    host_authority_free(manager->authority);
    reconciler_free(manager->reconciler);
    jobs_free(manager->jobs, manager->store);
    local_actions_free(manager->local_actions);
    inventory_free(manager->inventory);
}

static void stopped(void *data) {
    g_main_loop_quit(((Manager *)data)->loop);
}

static gboolean end(void *data) {
    Manager *manager = data;
    if (manager->is_ending)
        return G_SOURCE_REMOVE;
    manager->is_ending = true;
    /* VMs that stop from now on may stop because the host does: what ran stays remembered. */
    boot_policy_free(g_steal_pointer(&manager->policy));
    manager->web = NULL;
    http_server_stop(manager->server, STOP_DEADLINE_MS, stopped, manager);
    return G_SOURCE_REMOVE;
}

static gboolean on_signal(void *data) {
    log_info("stopping");
    service_notify("STOPPING=1");
    ((Manager *)data)->is_to_restart = false;
    return end(data);
}

/* A connection for each host and each client: the usual soft limit of 1,024 would end that at a thousand
 * hosts. */
static void allow_many_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_warning("more than the usual number of open files is not allowed: %s", g_strerror(errno));
}

/* A signal that nobody would take any more between here and the new start must end the process. */
static void leave_signals(void) {
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    while (g_main_context_iteration(NULL, FALSE))
        ; /* what came before counts: on_signal() */
}

int main(int argc, char **argv) {
    Manager manager = {0};
    g_auto(Error) err = {0};
    g_auto(GStrv) own_arguments = g_strdupv(argv);
    setlocale(LC_ALL, "C.UTF-8");
    heap_use_few_arenas();
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_NAME, "lodged"); /* after a restart of its own it would be "exe" */
    if (!parse_options(&manager, argc, argv, &err)) {
        g_printerr("lodged: %s\n", err.message);
        return 2;
    }
    if (manager.shows_version) {
        g_print("lodged %s\n", LODGE_VERSION);
        return 0;
    }
    log_init("lodged", manager.is_verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    allow_many_files();
    manager.loop = g_main_loop_new(NULL, FALSE);
    if (!start(&manager, &err)) {
        g_autofree char *text = error_text(&err);
        log_error("cannot start: %s", text);
        return 1;
    }
    g_unix_signal_add(SIGHUP, renew, &manager);
    g_unix_signal_add(SIGTERM, on_signal, &manager);
    g_unix_signal_add(SIGINT, on_signal, &manager);
    log_info("version %s, instance %s, socket %s", LODGE_VERSION, manager.instance, manager.socket_path);
    service_notify("READY=1");
    g_main_loop_run(manager.loop);
    if (manager.is_to_restart)
        leave_signals();
    stop(&manager);
    if (manager.is_to_restart) {
        execv("/proc/self/exe", own_arguments);
        log_error("cannot start again: %s", g_strerror(errno));
        return 1;
    }
    return 0;
}
