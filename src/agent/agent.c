/* The agent's life: journal, driver, pools, socket, connections; and its end. */
#include "agent/agent-private.h"
#include "agent/host-end.h"
#include "agent/migration.h"
#include "agent/saved-watch.h"
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "image/jail.h"
#include "rpc/rpc-splice.h"

enum { SHARED_UNFINISHED_S = 24 * 3600 };
enum { TICKETS_LIMIT = 256, QUEUE_LIMIT = 4096, HELD_S = 10, HELD_END_MS = 5000 };
enum { MOST_REMOTE = 512, MOST_STRANGERS = 32 };
/* In place of a number of threads: twice as many as there are processors, and at least 4. More at once only
 * get into each other's way: 128 guests on 2 cores started 8 % later with sixteen at once than with four. */
enum { BY_PROCESSORS = 0, LEAST_BY_PROCESSORS = 4 };

static const struct {
    const char *name;
    int threads;
} lanes[LANE_MAX] = {[LANE_VM] = {"vm", 8},
    [LANE_START] = {"start", BY_PROCESSORS},
    [LANE_MAKE] = {"make", BY_PROCESSORS},
    [LANE_COPY] = {"copy", 4},
    [LANE_MOVE] = {"move", 16},
    [LANE_STOP] = {"stop", 128},
    [LANE_KILL] = {"kill", 4},
    [LANE_PROBE] = {"probe", 4},
    [LANE_COUNT] = {"count", 4},
    [LANE_GUEST] = {"guest", 4},
    [LANE_HOST] = {"host", 4},
    [LANE_BUILD] = {"build", 2}};

void agent_identity_fill(const Agent *agent, AgentIdentity *identity) {
    agent_identity_set_host(identity, journal_host(agent->journal));
    agent_identity_set_owner(identity, journal_owner(agent->journal));
    agent_identity_set_name(identity, g_get_host_name());
    agent_identity_set_version(identity, LODGE_VERSION);
    int driver = model_enum_value(&hypervisor_driver_enum, agent->driver->name);
    if (driver >= 0)
        agent_identity_set_driver(identity, (HypervisorDriver)driver);
}

/* ---- connections ---- */

static void client_free(void *data) {
    AgentClient *client = data;
    rpc_connection_free(client->connection);
    g_free(client->proved_for);
    g_free(client);
}

AgentAccess client_access(const AgentClient *client) {
    if (!client->is_remote)
        return ACCESS_LOCAL;
    const Agent *agent = client->agent;
    const char *owner = journal_owner(agent->journal);
    const RpcStream *stream = client->connection ? rpc_connection_stream(client->connection) : NULL;
    bool has_proved = owner && client->proved_for && strcmp(client->proved_for, owner) == 0;
    const TlsShown *shown = stream ? rpc_stream_shown(stream) : NULL;
    if (has_proved || remote_is_owner(agent->remote, shown))
        return ACCESS_OWNER;
    return remote_peer(agent->remote, shown) ? ACCESS_PEER : ACCESS_STRANGER;
}

bool client_is_believed(const AgentClient *client) {
    AgentAccess access = client_access(client);
    return access == ACCESS_LOCAL || access == ACCESS_OWNER;
}

bool client_is_root(const AgentClient *client) {
    RpcPeer peer;
    return !client->is_remote && client->connection && rpc_connection_peer(client->connection, &peer, NULL) &&
           (peer.uid == 0 || peer.uid == geteuid());
}

/* The oldest of too many makes room: nobody keeps the owner out by knocking. */
static void limit_strangers(Agent *agent) {
    AgentClient *oldest = NULL;
    int n = 0;
    for (guint i = 0; i < agent->clients->len; i++) {
        AgentClient *client = g_ptr_array_index(agent->clients, i);
        if (client_access(client) != ACCESS_STRANGER)
            continue;
        n++;
        if (!oldest)
            oldest = client;
    }
    if (n >= MOST_STRANGERS)
        g_ptr_array_remove(agent->clients, oldest);
}

bool agent_take_credentials(Agent *agent, Error *err) {
    if (!remote_reload(agent->remote, err))
        return false;
    if (agent->remote_listener)
        rpc_listener_set_credentials(agent->remote_listener, remote_credentials(agent->remote));
    return true;
}

bool agent_reload_remote(Agent *agent, const AgentClient *keep, Error *err) {
    if (!agent_take_credentials(agent, err))
        return false;
    for (guint i = agent->clients->len; i > 0; i--) {
        AgentClient *client = g_ptr_array_index(agent->clients, i - 1);
        if (client->is_remote && client != keep)
            g_ptr_array_remove_index(agent->clients, i - 1);
    }
    return true;
}

static void on_closed(RpcConnection *connection G_GNUC_UNUSED, const Error *why G_GNUC_UNUSED, void *data) {
    AgentClient *client = data;
    g_ptr_array_remove(client->agent->clients, client);
}

/* Without `peer` it came over the network. */
static void on_stream(RpcStream *take_stream, const RpcPeer *peer, void *data) {
    Agent *agent = data;
    if (!peer)
        limit_strangers(agent);
    AgentClient *client = g_new0(AgentClient, 1);
    client->agent = agent;
    client->is_remote = !peer;
    const RpcOptions options = {
        .lookup = agent_lookup,
        .on_closed = on_closed,
        .data = client,
        .software = "lodge-agent " LODGE_VERSION,
        .lowest_version = AGENT_PROTOCOL_VERSION,
        .highest_version = AGENT_PROTOCOL_VERSION,
        .tickets = agent->tickets,
        .max_requests = peer ? 1024 : 256,
    };
    client->connection = rpc_connection_new(take_stream, RPC_ACCEPTOR, &options);
    g_ptr_array_add(agent->clients, client);
}

static bool is_welcome(const RpcPeer *peer, void *data) {
    const Agent *agent = data;
    return peer->uid == 0 || (agent->has_allowed_user && peer->uid == agent->allowed_uid);
}

static bool listen_on(Agent *agent, const AgentOptions *options, Error *err) {
    const RpcListenerOptions listening = {
        .path = options->socket,
        .mode = options->has_allowed_user ? 0660 : 0600,
        .gid = options->has_allowed_user ? options->allowed_gid : (gid_t)-1,
        .max_connections = 256,
        .is_welcome = is_welcome,
        .on_stream = on_stream,
        .data = agent,
    };
    agent->listener = rpc_listener_new(&listening, err);
    return agent->listener != NULL;
}

static bool listen_to_network(Agent *agent, const AgentOptions *options, Error *err) {
    g_auto(RpcAddress) address = {0};
    if (!options->listen)
        return true;
    if (!rpc_address_parse(options->listen, &address, err))
        return error_wrap(err, ERROR_NONE, "--listen");
    const RpcListenerOptions listening = {
        .address = &address,
        .tls = {.credentials = remote_credentials(agent->remote),
            .check = remote_check,
            .data = agent->remote},
        .max_connections = MOST_REMOTE,
        .on_stream = on_stream,
        .data = agent,
    };
    agent->address = rpc_address_text(&address);
    agent->remote_listener = rpc_listener_new(&listening, err);
    return agent->remote_listener != NULL;
}

static bool open_remote(Agent *agent, const char *secret_path, Error *err) {
    agent->remote = remote_new(&(RemoteOptions){.state_folder = agent->state,
                                   .secret_path = secret_path,
                                   .journal = agent->journal,
                                   .clock = clock_system()},
        err);
    return agent->remote != NULL;
}

/* ---- start ---- */

/* In a shared repository other hosts work too: only what nobody has touched for so long is nobody's. */
static int64_t unfinished_age_s(const Repository *repository) {
    return repository->kind == REPOSITORY_KIND_SHARED ? SHARED_UNFINISHED_S : 0;
}

/* What operations of an agent that died left; nothing of this one works there yet. A repository out of reach
 * is left alone. */
static void sweep(const Repository *repository) {
    g_autofree char *work = g_build_filename(repository->path, "work", NULL);
    g_auto(Error) err = {0};
    GDir *folder = g_dir_open(work, 0, NULL);
    if (!folder)
        return;
    for (const char *name; (name = g_dir_read_name(folder)) && !error_is_set(&err);) {
        g_autofree char *path = g_build_filename(work, name, NULL);
        if (folder_is_touched_within(path, unfinished_age_s(repository)))
            continue;
        if (jail_folders_sweep(path, &err))
            tree_remove(path, &err);
    }
    g_dir_close(folder);
    if (error_is_set(&err))
        log_warning("%s cannot be cleaned up: %s", work, err.message);
}

/* In the folders of docs/repository-format.md that hold files which are replaced. */
static void sweep_unfinished(const Repository *repository) {
    static const char *const folders[] = {"disks", "isos", "templates", "vms", "secrets"};
    for (size_t i = 0; i < G_N_ELEMENTS(folders); i++) {
        g_autofree char *folder = g_build_filename(repository->path, folders[i], NULL);
        file_replace_sweep(folder, unfinished_age_s(repository));
    }
}

static bool sweep_all(Agent *agent, Error *err) {
    g_autoptr(GPtrArray) repositories = NULL;
    if (!journal_repositories(agent->journal, &repositories, err))
        return false;
    for (guint i = 0; i < repositories->len; i++) {
        sweep(g_ptr_array_index(repositories, i));
        sweep_unfinished(g_ptr_array_index(repositories, i));
    }
    return true;
}

static bool open_journal(Agent *agent, Error *err) {
    g_autofree char *path = g_build_filename(agent->state, "journal.sqlite", NULL);
    agent->journal = journal_open(path, err);
    agent->host_id = agent->journal ? g_strdup(journal_host(agent->journal)) : NULL;
    return agent->journal != NULL;
}

static bool open_driver(Agent *agent, Error *err) {
    const HypervisorOptions options = {.instance = agent->instance,
        .state_folder = agent->state,
        .acceleration = agent->acceleration,
        .helpers = agent->helpers,
        .on_change = reporter_changed,
        .on_change_data = agent->reporter};
    agent->session = agent->driver->open(&options, err);
    return agent->session != NULL;
}

static void open_lanes(Agent *agent) {
    int by_processors = MAX((int)g_get_num_processors() * 2, LEAST_BY_PROCESSORS);
    for (AgentLane lane = 0; lane < LANE_MAX; lane++) {
        int threads = lanes[lane].threads == BY_PROCESSORS ? by_processors : lanes[lane].threads;
        agent->pools[lane] = work_pool_new_beside(agent->pools[0], lanes[lane].name, threads, QUEUE_LIMIT);
    }
}

/* ---- VMs that were held when the agent died, or could not go on when they should ---- */

static void let_held_go(void *data) {
    held_resume_all(((Agent *)data)->held);
}

static gboolean held_look(void *data);

/* The next look begins behind the end of this one: a hypervisor may hang. */
static void held_looked(void *data) {
    Agent *agent = data;
    if (!agent->is_stopping)
        agent->held_source = g_timeout_add_seconds(HELD_S, held_look, agent);
}

static gboolean held_look(void *data) {
    Agent *agent = data;
    agent->held_source = 0;
    if (!work_pool_add(agent->pools[LANE_VM], let_held_go, held_looked, agent, NULL))
        held_looked(agent);
    return G_SOURCE_REMOVE;
}

Agent *agent_new(const AgentOptions *options, Error *err) {
    Agent *agent = g_new0(Agent, 1);
    agent->instance = g_strdup(options->instance);
    agent->state = g_strdup(options->state);
    agent->driver = options->driver;
    agent->acceleration = options->acceleration;
    agent->helpers = g_strdup(options->helpers);
    agent->fetch_helper = g_build_filename(options->helpers, "lodge-fetch", NULL);
    agent->fetches_from_itself = options->fetches_from_itself;
    agent->has_allowed_user = options->has_allowed_user;
    agent->allowed_uid = options->allowed_uid;
    agent->clients = g_ptr_array_new_with_free_func(client_free);
    agent->splices = g_hash_table_new(g_direct_hash, g_direct_equal);
    agent->migration_streams = migration_streams_new();
    agent->local_changes = g_ptr_array_new();
    agent->uploads = g_hash_table_new(g_str_hash, g_str_equal);
    agent->tickets = rpc_tickets_new(NULL, TICKETS_LIMIT);
    agent->connector = rpc_connector_new();
    open_lanes(agent);
    agent->held = held_new(agent->driver, &agent->session, agent->state);
    agent->system_root = g_strdup(options->system_root);
    g_mutex_init(&agent->control_lock);
    agent->modules = module_keeper_new(&(ModuleKeeperOptions){.root = options->system_root,
        .instance = options->instance,
        .state_folder = options->state,
        .always = options->driver->modules});
    agent->reporter = reporter_new(agent);
    agent->guests = guest_watch_new(&(GuestWatchOptions){.driver = agent->driver,
        .session = &agent->session,
        .pool = agent->pools[LANE_GUEST],
        .on_news = reporter_changed,
        .data = agent->reporter});
    if (open_journal(agent, err) && sweep_all(agent, err) && open_driver(agent, err) &&
        open_remote(agent, options->enrol_secret, err) && listen_on(agent, options, err) &&
        listen_to_network(agent, options, err)) {
        trash_start(agent);
        migrations_resume(agent);
        agent->saved_watch = saved_watch_new(agent);
        held_look(agent);
        modules_resume(agent);
        return agent;
    }
    agent_free(agent);
    return NULL;
}

/* ---- end ---- */

void agent_stop(Agent *agent) {
    agent->is_stopping = true;
    g_clear_handle_id(&agent->trash_source, g_source_remove);
    g_clear_handle_id(&agent->held_source, g_source_remove);
    g_clear_handle_id(&agent->release_source, g_source_remove);
    g_clear_pointer(&agent->listener, rpc_listener_free);
    g_clear_pointer(&agent->remote_listener, rpc_listener_free);
    host_end_stop(agent);
    if (agent->saved_watch)
        saved_watch_stop(agent->saved_watch);
    reporter_stop(agent->reporter);
    guest_watch_stop(agent->guests);
    uploads_stop(agent);
    g_ptr_array_set_size(agent->migration_streams, 0); /* threads read from them */
}

int agent_running(const Agent *agent) {
    return agent->n_running;
}

static void splices_free(Agent *agent) {
    GHashTableIter each;
    void *splice, *console;
    g_hash_table_iter_init(&each, agent->splices);
    while (g_hash_table_iter_next(&each, &splice, &console)) {
        rpc_splice_free(splice);
        g_free(console);
    }
    g_hash_table_unref(agent->splices);
}

void agent_free(Agent *agent) {
    if (!agent)
        return;
    agent_stop(agent);
    for (AgentLane lane = 0; lane < LANE_MAX; lane++)
        work_pool_free(agent->pools[lane]);
    journal_close(agent->journal); /* calls what still waits for it */
    splices_free(agent);
    g_ptr_array_unref(agent->migration_streams);
    g_hash_table_unref(agent->uploads);
    g_ptr_array_unref(agent->local_changes);
    g_ptr_array_unref(agent->clients);
    remote_free(agent->remote);
    g_free(agent->address);
    rpc_tickets_free(agent->tickets);
    rpc_connector_free(agent->connector);
    g_clear_handle_id(&agent->trim_source, g_source_remove);
    if (agent->session)
        agent->driver->close(agent->session);
    reporter_free(agent->reporter);
    guest_watch_free(agent->guests);
    module_keeper_free(agent->modules);
    held_free(agent->held);
    saved_watch_free(agent->saved_watch);
    g_mutex_clear(&agent->control_lock);
    g_free(agent->control_error);
    g_free(agent->system_root);
    g_free(agent->instance);
    g_free(agent->host_id);
    g_free(agent->state);
    g_free(agent->fetch_helper);
    g_free(agent->helpers);
    g_free(agent);
}

/* VMs do not stay held because nobody is there to let them go. The journal hears nothing of it: these
 * operations count as interrupted and are done again. */
static void end_copies(Agent *agent) {
    GList *operations = journal_operations(agent->journal);
    for (GList *item = operations; item; item = item->next)
        if (((Operation *)item->data)->method == AGENT_METHOD_VM_CREATE)
            cancel_trigger(((Operation *)item->data)->cancel);
    g_list_free(operations);
    held_wait_for_none(agent->held, HELD_END_MS);
}

void agent_abandon(Agent *agent) {
    agent_stop(agent);
    end_copies(agent);
    journal_close(agent->journal);
}
