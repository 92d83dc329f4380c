/* A thread asks, the main loop does: each errand is a note that the thread waits for. */
#include "agent/migration.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include "agent/peer.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "rpc/rpc-splice.h"

enum { CONNECT_MS = 10000, CALL_MS = 10000, MOST_CONNECTIONS = 64 };

typedef struct Errand Errand;

struct MigrationRelay {
    int references; /* atomic: the thread's, and one for each record that is on its way to the disk */
    Agent *agent;
    char *id, *vm_id, *folder, *peer, *key, *address;
    bool is_known;
    /* Main loop only: */
    PeerLink *link;
    bool is_linked;
    guint link_source;  /* the time for connecting is over */
    GPtrArray *waiting; /* Errand that want the link */
    RpcListener *listeners[MIGRATION_CHANNEL_MAX];
    GPtrArray *pipes; /* Pipe, owned */
    MigrationTap tap;
    bool is_switching; /* what the tap saw is on its way to the disk */
    Errand *stopping;  /* waits for that; NULL: nobody does */
    Errand *opening;   /* waits for a way for files */
    GMutex lock;
    bool is_switched; /* under the lock; durable */
};

static MigrationRelay *relay_ref(MigrationRelay *relay) {
    g_atomic_int_inc(&relay->references);
    return relay;
}

static void relay_unref(MigrationRelay *relay) {
    if (!g_atomic_int_dec_and_test(&relay->references))
        return;
    g_mutex_clear(&relay->lock);
    g_ptr_array_unref(relay->waiting);
    g_ptr_array_unref(relay->pipes);
    g_free(relay->id);
    g_free(relay->vm_id);
    g_free(relay->folder);
    g_free(relay->peer);
    g_free(relay->key);
    g_free(relay->address);
    g_free(relay);
}
typedef MigrationRelay RelayReference;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RelayReference, relay_unref)

/* ---- errands ---- */

struct Errand {
    MigrationRelay *relay;
    void (*run)(Errand *errand);
    AgentMethodId method;
    json_t *parameters, *result;
    Error err;
    char *ticket;
    int fd;
    bool is_done;
    GMutex lock;
    GCond cond;
};

static void errand_done(Errand *errand) {
    g_mutex_lock(&errand->lock);
    errand->is_done = true;
    g_cond_signal(&errand->cond);
    g_mutex_unlock(&errand->lock);
}

static void errand_failed(Errand *errand, const Error *err) {
    error_copy(&errand->err, err);
    errand_done(errand);
}

static gboolean run_errand(void *data) {
    Errand *errand = data;
    errand->run(errand);
    return G_SOURCE_REMOVE;
}

/* In the thread. */
static bool send_errand(Errand *errand, Error *err) {
    g_mutex_init(&errand->lock);
    g_cond_init(&errand->cond);
    g_idle_add_full(G_PRIORITY_DEFAULT, run_errand, errand, NULL);
    g_mutex_lock(&errand->lock);
    while (!errand->is_done)
        g_cond_wait(&errand->cond, &errand->lock);
    g_mutex_unlock(&errand->lock);
    g_mutex_clear(&errand->lock);
    g_cond_clear(&errand->cond);
    bool is_good = !error_is_set(&errand->err);
    error_move(err, &errand->err);
    return is_good;
}

/* ---- the link ---- */

static void end_opening(MigrationRelay *relay);

static void end_waiting(MigrationRelay *relay, const Error *err) {
    while (relay->waiting->len > 0)
        errand_failed(g_ptr_array_steal_index(relay->waiting, 0), err);
}

/* What is open stays so: streams have connections of their own. */
static void drop_link(MigrationRelay *relay) {
    g_clear_handle_id(&relay->link_source, g_source_remove);
    relay->is_linked = false;
    g_clear_pointer(&relay->link, peer_link_free); /* its open calls end, streams that open are given up */
    end_opening(relay);
    if (relay->opening) {
        g_auto(Error) err = {0};
        error_set(&err, ERROR_LOST, NULL, "the connection with the other host broke");
        errand_failed(g_steal_pointer(&relay->opening), &err);
    }
}

static void replied(const json_t *result, const Error *err, void *data) {
    Errand *errand = data;
    if (err) {
        errand_failed(errand, err);
        return;
    }
    errand->result = json_deep_copy(result);
    errand_done(errand);
}

static void send_call(Errand *errand) {
    rpc_call(peer_link_connection(errand->relay->link), agent_methods[errand->method].name,
        g_steal_pointer(&errand->parameters), NULL, CALL_MS, replied, NULL, errand);
}

static void on_link_ready(PeerLink *link G_GNUC_UNUSED, void *data) {
    MigrationRelay *relay = data;
    g_clear_handle_id(&relay->link_source, g_source_remove);
    relay->is_linked = true;
    while (relay->waiting->len > 0)
        send_call(g_ptr_array_steal_index(relay->waiting, 0));
}

static void on_link_closed(PeerLink *link G_GNUC_UNUSED, const Error *why, void *data) {
    MigrationRelay *relay = data;
    g_auto(Error) err = {0};
    error_copy(&err, why);
    drop_link(relay);
    end_waiting(relay, &err);
}

static gboolean link_is_late(void *data) {
    MigrationRelay *relay = data;
    g_auto(Error) err = {0};
    relay->link_source = 0;
    error_set(&err, ERROR_UNREACHABLE, NULL, "the other host %s does not answer", relay->address);
    drop_link(relay);
    end_waiting(relay, &err);
    return G_SOURCE_REMOVE;
}

static void link_up(MigrationRelay *relay) {
    static const PeerLinkFns fns = {on_link_ready, on_link_closed};
    const PeerPlace place = {relay->address, relay->peer, relay->key};
    g_auto(Error) err = {0};
    if (relay->link)
        return;
    relay->link = peer_link_new(relay->agent, &place, &fns, relay, &err);
    if (relay->link)
        relay->link_source = g_timeout_add(CONNECT_MS, link_is_late, relay);
    else
        end_waiting(relay, &err);
}

static void run_ask(Errand *errand) {
    MigrationRelay *relay = errand->relay;
    if (relay->is_linked) {
        send_call(errand);
        return;
    }
    g_ptr_array_add(relay->waiting, errand);
    link_up(relay);
}

json_t *migration_relay_ask(
    MigrationRelay *relay, AgentMethodId method, json_t *take_parameters, Error *err) {
    Errand errand = {.relay = relay, .run = run_ask, .method = method, .parameters = take_parameters};
    bool is_good = send_errand(&errand, err);
    json_decref(errand.parameters);
    return is_good ? errand.result : NULL;
}

/* ---- the switch ---- */

static json_t *record_of(const MigrationRelay *relay, bool is_switched) {
    return json_pack("{ss ss ss ss ss sb}", "role", "source", "peer", relay->peer, "key", relay->key, "vm",
        relay->vm_id, "address", relay->address, "switched", is_switched);
}

static void switched(int64_t revision G_GNUC_UNUSED, const Error *err, void *data) {
    Errand *errand = data;
    MigrationRelay *relay = errand->relay;
    g_mutex_lock(&relay->lock);
    relay->is_switched |= !err;
    g_mutex_unlock(&relay->lock);
    if (err)
        errand_failed(errand, err);
    else
        errand_done(errand);
}

static void run_switch(Errand *errand) {
    MigrationRelay *relay = errand->relay;
    journal_migration_put(relay->agent->journal, relay->id, record_of(relay, true), switched, errand);
}

bool migration_relay_is_switched(MigrationRelay *relay) {
    g_mutex_lock(&relay->lock);
    bool is_switched = relay->is_switched;
    g_mutex_unlock(&relay->lock);
    return is_switched;
}

bool migration_relay_switch(MigrationRelay *relay, Error *err) {
    Errand errand = {.relay = relay, .run = run_switch};
    return migration_relay_is_switched(relay) || send_errand(&errand, err);
}

/* ---- streams ---- */

/* One connection of the hypervisor's. */
typedef struct Pipe {
    MigrationRelay *relay;
    MigrationChannel channel;
    RpcStream *local; /* until there is */
    RpcSplice *splice;
} Pipe;

static void pipe_free(void *data) {
    Pipe *pipe = data;
    rpc_splice_free(pipe->splice);
    rpc_stream_free(pipe->local);
    g_free(pipe);
}

static void pipe_end(Pipe *pipe) {
    g_ptr_array_remove_fast(pipe->relay->pipes, pipe);
}

static void end_opening(MigrationRelay *relay) {
    for (guint i = relay->pipes->len; i > 0; i--)
        if (!((const Pipe *)g_ptr_array_index(relay->pipes, i - 1))->splice)
            g_ptr_array_remove_index_fast(relay->pipes, i - 1);
}

static void pipe_done(
    uint64_t forth G_GNUC_UNUSED, uint64_t back G_GNUC_UNUSED, const Error *err, void *data) {
    Pipe *pipe = data;
    pipe->splice = NULL;
    if (err)
        log_info("migration %s: %s ended: %s", pipe->relay->id,
            model_enum_name(&migration_channel_enum, (int)pipe->channel), err->message);
    pipe_end(pipe);
}

static void target_started(const json_t *result G_GNUC_UNUSED, const Error *err, void *data) {
    MigrationRelay *relay = data;
    if (err) /* whoever works on it looks, and asks again */
        log_info("migration %s: the target could not be told: %s", relay->id, err->message);
}

static void arrival_is_durable(int64_t revision G_GNUC_UNUSED, const Error *err, void *data) {
    g_autoptr(RelayReference) relay = data;
    relay->is_switching = false;
    g_mutex_lock(&relay->lock);
    relay->is_switched |= !err;
    g_mutex_unlock(&relay->lock);
    if (relay->stopping)
        errand_done(g_steal_pointer(&relay->stopping));
    if (!err && relay->is_linked)
        rpc_call(peer_link_connection(relay->link), agent_methods[AGENT_METHOD_MIGRATION_ACT].name,
            json_pack("{ss ss ss}", "migration", relay->id, "vm", relay->vm_id, "step", "start_target"), NULL,
            CALL_MS, target_started, NULL, relay);
}

/* The shortest way: the guest waits. */
static void tap(const uint8_t *bytes, size_t length, void *data) {
    MigrationRelay *relay = data;
    if (relay->is_switching || !relay->agent->driver->mover->tap(&relay->tap, bytes, length))
        return;
    const HypervisorMover *mover = relay->agent->driver->mover;
    if (mover->arrived) {
        mover->arrived(relay->agent->session, relay->vm_id);
        return;
    }
    relay->is_switching = true;
    journal_migration_put(
        relay->agent->journal, relay->id, record_of(relay, true), arrival_is_durable, relay_ref(relay));
}

static void stream_opened(RpcStream *take_stream, const Error *err, void *data) {
    Pipe *pipe = data;
    if (err) {
        log_info("migration %s: no stream for %s: %s", pipe->relay->id,
            model_enum_name(&migration_channel_enum, (int)pipe->channel), err->message);
        pipe_end(pipe);
        return;
    }
    pipe->splice = rpc_splice(g_steal_pointer(&pipe->local), take_stream, pipe_done, pipe);
    if (pipe->channel == MIGRATION_CHANNEL_CONTROL)
        rpc_splice_tap(pipe->splice, tap, pipe->relay);
}

static void ticket_arrived(const json_t *result, const Error *err, void *data) {
    Pipe *pipe = data;
    const char *ticket = err ? NULL : json_text_at(result, "ticket");
    if (ticket)
        peer_link_stream(pipe->relay->link, ticket, stream_opened, pipe);
    else
        pipe_end(pipe);
}

static void on_connection(MigrationRelay *relay, MigrationChannel channel, RpcStream *take_stream) {
    if (!relay->is_linked || relay->pipes->len >= MOST_CONNECTIONS) {
        rpc_stream_free(take_stream);
        return;
    }
    Pipe *pipe = g_new0(Pipe, 1);
    *pipe = (Pipe){.relay = relay, .channel = channel, .local = take_stream};
    g_ptr_array_add(relay->pipes, pipe);
    rpc_call(peer_link_connection(relay->link), agent_methods[AGENT_METHOD_MIGRATION_STREAM].name,
        json_pack("{ss ss ss}", "migration", relay->id, "vm", relay->vm_id, "channel",
            model_enum_name(&migration_channel_enum, (int)channel)),
        NULL, CALL_MS, ticket_arrived, NULL, pipe);
}

/* ---- a way for files ---- */

static void files_opened(RpcStream *take_stream, const Error *err, void *data) {
    MigrationRelay *relay = data;
    Errand *errand = g_steal_pointer(&relay->opening);
    int ends[2];
    g_auto(Error) fault = {0};
    if (!err && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        rpc_stream_free(take_stream);
        error_set_errno(&fault, errno, "socketpair");
        err = &fault;
    }
    if (err) {
        errand_failed(errand, err);
        return;
    }
    Pipe *pipe = g_new0(Pipe, 1);
    *pipe = (Pipe){.relay = relay, .channel = MIGRATION_CHANNEL_DISKS};
    g_ptr_array_add(relay->pipes, pipe);
    pipe->splice = rpc_splice(rpc_stream_new_fd(ends[0]), take_stream, pipe_done, pipe);
    errand->fd = ends[1];
    errand_done(errand);
}

static void run_files(Errand *errand) {
    MigrationRelay *relay = errand->relay;
    if (!relay->is_linked) {
        error_set(&errand->err, ERROR_LOST, NULL, "the connection with the other host broke");
        errand_done(errand);
        return;
    }
    relay->opening = errand;
    peer_link_stream(relay->link, errand->ticket, files_opened, relay);
}

int migration_relay_files(MigrationRelay *relay, Error *err) {
    g_autoptr(json_t) answer = migration_relay_ask(relay, AGENT_METHOD_MIGRATION_FILES,
        json_pack("{ss ss}", "migration", relay->id, "vm", relay->vm_id), err);
    const char *ticket = answer ? json_text_at(answer, "ticket") : NULL;
    if (!ticket)
        return answer ? (error_set(err, ERROR_PROTOCOL, NULL, "the other host gave no ticket"), -1) : -1;
    g_autofree char *copy = g_strdup(ticket);
    Errand errand = {.relay = relay, .run = run_files, .ticket = copy, .fd = -1};
    return send_errand(&errand, err) ? errand.fd : -1;
}

static void on_control(RpcStream *take_stream, const RpcPeer *peer G_GNUC_UNUSED, void *data) {
    on_connection(data, MIGRATION_CHANNEL_CONTROL, take_stream);
}

static void on_memory(RpcStream *take_stream, const RpcPeer *peer G_GNUC_UNUSED, void *data) {
    on_connection(data, MIGRATION_CHANNEL_MEMORY, take_stream);
}

static void on_disks(RpcStream *take_stream, const RpcPeer *peer G_GNUC_UNUSED, void *data) {
    on_connection(data, MIGRATION_CHANNEL_DISKS, take_stream);
}

static char *entry_of(const MigrationRelay *relay, MigrationChannel channel) {
    const Agent *agent = relay->agent;
    return agent->driver->mover->entry ? agent->driver->mover->entry(agent->session, relay->id, channel)
                                       : migration_socket(relay->folder, channel);
}

static bool listen_on(MigrationRelay *relay, MigrationChannel channel, Error *err) {
    static void (*const on_stream[MIGRATION_CHANNEL_MAX])(RpcStream *, const RpcPeer *, void *) = {
        on_control, on_memory, on_disks};
    g_autofree char *place = entry_of(relay, channel);
    if (!place)
        return true;
    g_auto(RpcAddress) address = {0};
    bool is_address = migration_is_address(place);
    if (is_address && !rpc_address_parse(place, &address, err))
        return false;
    const RpcListenerOptions options = {.path = is_address ? NULL : place,
        .address = is_address ? &address : NULL,
        .is_bare = is_address,
        .tls.clock = clock_system(),
        .mode = 0600,
        .gid = (gid_t)-1,
        .max_connections = MOST_CONNECTIONS,
        .on_stream = on_stream[channel],
        .data = relay};
    relay->listeners[channel] = rpc_listener_new(&options, err);
    return relay->listeners[channel] != NULL;
}

/* ---- life ---- */

static void recorded(int64_t revision G_GNUC_UNUSED, const Error *err, void *data) {
    if (err)
        errand_failed(data, err);
    else
        errand_done(data);
}

static void run_open(Errand *errand) {
    MigrationRelay *relay = errand->relay;
    const json_t *record = journal_migration(relay->agent->journal, relay->id);
    relay->is_known = record != NULL;
    relay->is_switched = json_is_true(json_object_get(record, "switched"));
    if (relay->is_known) { /* nothing is carried any more: it is only brought to its end */
        errand_done(errand);
        return;
    }
    if (relay->folder && !folder_make(relay->folder, 0711, &errand->err)) {
        errand_done(errand);
        return;
    }
    for (MigrationChannel channel = 0; relay->folder && channel < MIGRATION_CHANNEL_MAX; channel++)
        if (!listen_on(relay, channel, &errand->err)) {
            errand_done(errand);
            return;
        }
    journal_migration_put(relay->agent->journal, relay->id, record_of(relay, false), recorded, errand);
}

/* Nothing is carried from here on, so that the tap sees nothing more either. */
static void end_streams(MigrationRelay *relay) {
    for (MigrationChannel channel = 0; channel < MIGRATION_CHANNEL_MAX; channel++)
        g_clear_pointer(&relay->listeners[channel], rpc_listener_free);
    for (guint i = 0; i < relay->pipes->len; i++)
        if (!((const Pipe *)g_ptr_array_index(relay->pipes, i))->splice) {
            drop_link(relay); /* so that what is asked for them ends */
            break;
        }
    g_ptr_array_set_size(relay->pipes, 0);
}

static void run_stop(Errand *errand) {
    MigrationRelay *relay = errand->relay;
    end_streams(relay);
    if (relay->is_switching)
        relay->stopping = errand;
    else
        errand_done(errand);
}

void migration_relay_stop(MigrationRelay *relay) {
    Errand errand = {.relay = relay, .run = run_stop};
    send_errand(&errand, NULL);
}

static void run_close(Errand *errand) {
    end_streams(errand->relay);
    drop_link(errand->relay);
    errand_done(errand);
}

MigrationRelay *migration_relay_new(Agent *agent, const AgentMigration *migration, Error *err) {
    g_autoptr(MigrationRelay) relay = g_new0(MigrationRelay, 1);
    *relay = (MigrationRelay){.references = 1,
        .agent = agent,
        .id = g_strdup(migration->migration),
        .vm_id = g_strdup(migration->vm.vm.id),
        .folder = migration->files ? NULL : migration_folder(agent, migration->migration, false),
        .peer = g_strdup(migration->peer),
        .key = g_strdup(migration->key),
        .address = g_strdup(migration->address),
        .waiting = g_ptr_array_new(),
        .pipes = g_ptr_array_new_with_free_func(pipe_free)};
    g_mutex_init(&relay->lock);
    Errand errand = {.relay = relay, .run = run_open};
    bool is_open = send_errand(&errand, err);
    return is_open ? g_steal_pointer(&relay) : NULL;
}

void migration_relay_free(MigrationRelay *relay) {
    if (!relay)
        return;
    Errand errand = {.relay = relay, .run = run_close};
    send_errand(&errand, NULL);
    relay_unref(relay);
}

static void run_forget(Errand *errand) {
    MigrationRelay *relay = errand->relay;
    journal_migration_delete(relay->agent->journal, relay->id, recorded, errand);
}

bool migration_relay_forget(MigrationRelay *relay, Error *err) {
    Errand errand = {.relay = relay, .run = run_forget};
    return send_errand(&errand, err);
}

bool migration_relay_is_known(const MigrationRelay *relay) {
    return relay->is_known;
}
