/*
 * Target: streams that the source's agent asks for, each to a socket of this machine's hypervisor. They end
 * with their migration.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/migration.h"
#include "base/file.h"
#include "base/log.h"
#include "rpc/rpc-splice.h"

enum { TICKET_MS = 30 * 1000 };

typedef struct TargetStream {
    Agent *agent;
    char *id, *channel; /* of the migration */
    RpcSplice *splice;
} TargetStream;

static void stream_free(void *data) {
    TargetStream *stream = data;
    rpc_splice_free(stream->splice);
    g_free(stream->id);
    g_free(stream->channel);
    g_free(stream);
}

static void spliced(uint64_t forth G_GNUC_UNUSED, uint64_t back G_GNUC_UNUSED, const Error *err, void *data) {
    TargetStream *stream = data;
    if (err)
        log_info("migration %s: the stream for %s ended: %s", stream->id, stream->channel, err->message);
    stream->splice = NULL;
    g_ptr_array_remove_fast(stream->agent->migration_streams, stream);
}

/* The folder belongs to QEMU's user: what lies there may be a link to a socket that listens to root. */
static RpcStream *connect_to(const char *path, Error *err) {
    struct stat status;
    if (migration_is_address(path))
        return rpc_stream_connect_own(path, err);
    fd_auto int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0) {
        error_set_errno(err, errno, "%s", path);
        return NULL;
    }
    if (!S_ISSOCK(status.st_mode)) {
        error_set(err, ERROR_DENIED, NULL, "%s is no socket", path);
        return NULL;
    }
    g_autofree char *same = g_strdup_printf("/proc/self/fd/%d", fd);
    return rpc_stream_connect_unix(same, err);
}

void migration_stream_add(
    Agent *agent, const char *id, const char *channel, RpcStream *take_stream, RpcStream *take_local) {
    TargetStream *stream = g_new0(TargetStream, 1);
    *stream = (TargetStream){agent, g_strdup(id), g_strdup(channel), NULL};
    g_ptr_array_add(agent->migration_streams, stream);
    stream->splice = rpc_splice(take_stream, take_local, spliced, stream);
}

/* `object`: "MIGRATION PATH". */
static void claimed(RpcStream *take_stream, const char *channel, const char *object, void *data) {
    Agent *agent = data;
    g_auto(Error) err = {0};
    const char *path = strchr(object, ' ') + 1;
    RpcStream *local = agent->is_stopping ? NULL : connect_to(path, &err);
    if (!local) {
        log_info("a stream of a migration (%s) leads nowhere: %s", channel,
            err.message ? err.message : "the agent ends");
        rpc_stream_free(take_stream);
        return;
    }
    g_autofree char *id = g_strndup(object, (gsize)(path - object - 1));
    migration_stream_add(agent, id, channel, take_stream, local);
}

void serve_migration_stream(AgentClient *client, const void *parameters, RpcRequest *request) {
    const AgentMigrationStream *wanted = parameters;
    const char *channel = model_enum_name(&migration_channel_enum, (int)wanted->channel);
    g_auto(Error) err = {0};
    g_auto(AgentTicket) answer = {0};
    g_autofree char *path = migration_path_for_peer(client, wanted->migration, wanted->vm, channel, &err);
    g_autofree char *object = g_strdup_printf("%s %s", wanted->migration, path ? path : "");
    g_autofree char *ticket = path ? rpc_ticket_issue(client->agent->tickets, channel, object, TICKET_MS,
                                         claimed, client->agent, NULL, &err)
                                   : NULL;
    if (!ticket) {
        rpc_fail(request, &err);
        return;
    }
    agent_ticket_set_ticket(&answer, ticket);
    rpc_reply(request, agent_ticket_encode(&answer, MODEL_ENCODE_ALL));
}

GPtrArray *migration_streams_new(void) {
    return g_ptr_array_new_with_free_func(stream_free);
}

void migration_streams_end(Agent *agent, const char *id) {
    for (guint i = agent->migration_streams->len; i > 0; i--)
        if (g_str_equal(((const TargetStream *)agent->migration_streams->pdata[i - 1])->id, id))
            g_ptr_array_remove_index_fast(agent->migration_streams, i - 1);
}
