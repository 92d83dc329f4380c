/*
 * Uploads: the bytes of a disk image or an ISO arrive on a stream of their own, opened with a ticket, and go
 * into an assembly of the repository. In the order in which it happens: status (how much is kept), open (a
 * ticket), claimed, received block by block, the last words, the end. What arrived stays when the sender
 * breaks off: the next one goes on there. The main loop reads the stream, a thread writes the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "agent/agent-private.h"
#include "base/file.h"

enum { UPLOAD_TICKET_MS = 30 * 1000, BLOCK = 256 * 1024, ASSEMBLY_AGE_S = 24 * 60 * 60 };
/* Of one upload, whatever it says of itself. */
#define UPLOAD_LIMIT (UINT64_C(8) << 40)

typedef struct Upload {
    Agent *agent;
    char *id, *path;
    uint64_t offset, limit; /* bytes in the file; how many there may be */
    RpcStream *stream;
    int fd;
    uint8_t *block;
    size_t length;
    bool is_at_end, is_busy;
    Error err;
} Upload;

static void upload_free(void *data) {
    Upload *upload = data;
    rpc_stream_free(upload->stream);
    fd_close(&upload->fd);
    error_clear(&upload->err);
    g_free(upload->block);
    g_free(upload->id);
    g_free(upload->path);
    g_free(upload);
}

void upload_remove(const RepositoryKindOps *kind, const Repository *repository, const char *upload_id) {
    g_autofree char *folder = NULL;
    if (kind->assembly_folder(repository, upload_id, &folder, NULL))
        tree_remove(folder, NULL);
}

/* ---- 1. asked for ---- */

static bool find_kept(const AgentUpload *request, char **ret_path, uint64_t *ret_kept, Error *err) {
    const RepositoryKindOps *kind = repository_kind_of(&request->repository, err);
    g_autofree char *folder = NULL;
    struct stat status;
    if (!kind || !kind->assembly_folder(&request->repository, request->upload, &folder, err))
        return false;
    *ret_path = g_build_filename(folder, ASSEMBLY_FILE, NULL);
    *ret_kept = stat(*ret_path, &status) == 0 ? (uint64_t)status.st_size : 0;
    return true;
}

bool handle_upload_status(AgentCall *call, Error *err) {
    g_autofree char *path = NULL;
    uint64_t kept = 0;
    if (!find_kept(call->parameters, &path, &kept, err))
        return false;
    agent_upload_state_set_offset(call->result, kept);
    return true;
}

bool handle_upload_discard(AgentCall *call, Error *err) {
    const AgentUpload *request = call->parameters;
    const RepositoryKindOps *kind = repository_kind_of(&request->repository, err);
    if (!kind)
        return false;
    upload_remove(kind, &request->repository, request->upload);
    return true;
}

static bool check_space(const AgentUpload *request, uint64_t offset, Error *err) {
    struct statvfs info;
    if (!agent_upload_has(request, AGENT_UPLOAD_FIELD_SIZE) || request->size < offset)
        return true;
    if (request->size > UPLOAD_LIMIT)
        return error_set(
            err, ERROR_TOO_LARGE, "/source", "an upload may have at most %" PRIu64 " bytes", UPLOAD_LIMIT);
    if (statvfs(request->repository.path, &info) < 0)
        return error_set_errno(err, errno, "asking for the free space of %s", request->repository.path);
    uint64_t free_bytes = (uint64_t)info.f_bavail * info.f_frsize, needed = request->size - offset;
    if (free_bytes < needed)
        return error_set(err, ERROR_NO_SPACE, "/repository",
            "%s has %" PRIu64 " bytes free, the upload needs %" PRIu64, request->repository.path, free_bytes,
            needed);
    return true;
}

bool handle_upload_open(AgentCall *call, Error *err) {
    const AgentUpload *request = call->parameters;
    const RepositoryKindOps *kind = repository_kind_of(&request->repository, err);
    g_autofree char *path = NULL;
    uint64_t kept = 0;
    if (!kind || !kind->assemblies_sweep(&request->repository, ASSEMBLY_AGE_S, err) ||
        !find_kept(request, &path, &kept, err))
        return false;
    if (request->offset > kept)
        return error_set(err, ERROR_CONFLICT, NULL,
            "only %" PRIu64 " bytes are kept of this upload: it cannot go on at %" PRIu64, kept,
            request->offset);
    return check_space(request, request->offset, err);
}

static void claimed(RpcStream *take_stream, const char *purpose, const char *id, void *data);

bool finish_upload_open(AgentCall *call, Error *err) {
    const AgentUpload *request = call->parameters;
    Agent *agent = call->agent;
    if (g_hash_table_contains(agent->uploads, request->upload))
        return error_set(err, ERROR_BUSY, NULL, "this upload is still being received");
    Upload *upload = g_new0(Upload, 1);
    *upload = (Upload){.agent = agent,
        .fd = -1,
        .id = g_strdup(request->upload),
        .offset = request->offset,
        .limit = agent_upload_has(request, AGENT_UPLOAD_FIELD_SIZE) ? request->size : UPLOAD_LIMIT,
        .path =
            g_strdup_printf("%s/assemblies/%s/" ASSEMBLY_FILE, request->repository.path, request->upload)};
    g_autofree char *ticket = rpc_ticket_issue(
        agent->tickets, "upload", upload->id, UPLOAD_TICKET_MS, claimed, upload, upload_free, err);
    if (!ticket) {
        upload_free(upload);
        return false;
    }
    agent_ticket_set_ticket(call->result, ticket);
    return true;
}

/* ---- 2. claimed ---- */

static void receive(GIOCondition ready, void *data);
static void last_words(Upload *upload);

/* The file is written by one thread at a time: an upload that has a step in a thread is left alone. */
static void step(Upload *upload, WorkFn run, WorkFn done) {
    upload->is_busy = true;
    rpc_stream_watch(upload->stream, 0, NULL, NULL);
    if (work_pool_add(upload->agent->pools[LANE_HOST], run, done, upload, &upload->err))
        return;
    upload->is_busy = false;
    last_words(upload);
}

static void end(Upload *upload) {
    g_hash_table_remove(upload->agent->uploads, upload->id);
    upload_free(upload);
}

/* Back on the main loop; false when there is nothing more to do for it. */
static bool come_back(Upload *upload) {
    upload->is_busy = false;
    if (upload->agent->is_stopping) {
        end(upload);
        return false;
    }
    if (!error_is_set(&upload->err))
        return true;
    last_words(upload);
    return false;
}

static void open_file(void *data) {
    Upload *upload = data;
    struct stat status;
    g_autofree char *folder = g_path_get_dirname(upload->path);
    if (!folder_make(folder, 0700, &upload->err))
        return;
    upload->fd = open(upload->path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (upload->fd < 0 || fstat(upload->fd, &status) < 0)
        error_set_errno(&upload->err, errno, "opening %s", upload->path);
    else if ((uint64_t)status.st_size < upload->offset)
        error_set(&upload->err, ERROR_CONFLICT, NULL, "less is kept of this upload than a moment ago");
    else if (ftruncate(upload->fd, (off_t)upload->offset) < 0 ||
             lseek(upload->fd, (off_t)upload->offset, SEEK_SET) < 0)
        error_set_errno(&upload->err, errno, "preparing %s", upload->path);
}

static void file_opened(void *data) {
    Upload *upload = data;
    if (come_back(upload))
        rpc_stream_watch(upload->stream, G_IO_IN, receive, upload);
}

static void claimed(
    RpcStream *take_stream, const char *purpose G_GNUC_UNUSED, const char *id G_GNUC_UNUSED, void *data) {
    Upload *planned = data;
    Agent *agent = planned->agent;
    if (agent->is_stopping || g_hash_table_contains(agent->uploads, planned->id)) {
        rpc_stream_free(take_stream);
        return;
    }
    Upload *upload = g_memdup2(planned, sizeof *planned);
    *planned = (Upload){.fd = -1}; /* the ticket frees it */
    upload->stream = take_stream;
    upload->block = g_malloc(BLOCK);
    g_hash_table_insert(agent->uploads, upload->id, upload);
    step(upload, open_file, file_opened);
}

/* ---- 3. received, block by block ---- */

static void write_block(void *data) {
    Upload *upload = data;
    if (upload->length > upload->limit - upload->offset)
        error_set(&upload->err, ERROR_TOO_LARGE, "/source", "more than the announced %" PRIu64 " bytes came",
            upload->limit);
    else if (fd_write_all(upload->fd, upload->block, upload->length, &upload->err))
        upload->offset += upload->length;
    if (error_is_set(&upload->err) || (upload->is_at_end && fsync(upload->fd) == 0))
        return;
    if (upload->is_at_end)
        error_set_errno(&upload->err, errno, "saving the upload");
}

static void remove_file(Upload *upload) {
    g_autofree char *folder = g_path_get_dirname(upload->path);
    tree_remove(folder, NULL);
    upload->offset = 0;
}

/* A full disk stays full as long as the upload is kept. */
static void write_or_remove(void *data) {
    Upload *upload = data;
    write_block(upload);
    upload->length = 0;
    if (upload->err.code == ERROR_NO_SPACE || upload->err.code == ERROR_TOO_LARGE)
        remove_file(upload);
    if (upload->err.code == ERROR_NO_SPACE)
        error_wrap(&upload->err, ERROR_NONE, "there is no space for the upload in the repository");
}

static void block_written(void *data) {
    Upload *upload = data;
    if (!come_back(upload))
        return;
    if (upload->is_at_end)
        last_words(upload);
    else
        rpc_stream_watch(upload->stream, G_IO_IN, receive, upload);
}

/* Fills the block as far as it goes without waiting. */
static void receive(GIOCondition ready G_GNUC_UNUSED, void *data) {
    Upload *upload = data;
    RpcIo io = RPC_IO_DONE;
    while (io == RPC_IO_DONE && upload->length < BLOCK) {
        size_t n = 0;
        io =
            rpc_stream_read(upload->stream, upload->block + upload->length, BLOCK - upload->length, &n, NULL);
        upload->length += io == RPC_IO_DONE ? n : 0;
    }
    upload->is_at_end = io == RPC_IO_END || io == RPC_IO_FAILED;
    if (upload->is_at_end || upload->length > 0)
        step(upload, write_or_remove, block_written);
}

/* ---- 4. the last words, and what the sender still sends ---- */

static void drain(GIOCondition ready G_GNUC_UNUSED, void *data) {
    Upload *upload = data;
    size_t n = 0;
    RpcIo io = rpc_stream_read(upload->stream, upload->block, BLOCK, &n, NULL);
    if (io == RPC_IO_END || io == RPC_IO_FAILED)
        end(upload);
}

/* They fit into the socket's buffer: nothing else is ever sent in this direction. */
static void last_words(Upload *upload) {
    g_auto(AgentUploadState) state = {0};
    agent_upload_state_set_offset(&state, upload->offset);
    if (error_is_set(&upload->err)) {
        g_autoptr(json_t) fault = error_to_json(&upload->err);
        fault_decode(fault, MODEL_STORED, agent_upload_state_put_error(&state), NULL);
    }
    g_autoptr(json_t) json = agent_upload_state_encode(&state, MODEL_ENCODE_ALL);
    g_autofree char *text = json_to_text(json);
    size_t n = 0;
    rpc_stream_write(upload->stream, text, strlen(text), &n, NULL);
    rpc_stream_shut_write(upload->stream);
    if (upload->is_at_end)
        end(upload);
    else
        rpc_stream_watch(upload->stream, G_IO_IN, drain, upload);
}

void uploads_stop(Agent *agent) {
    g_autoptr(GList) uploads = g_hash_table_get_values(agent->uploads);
    for (GList *item = uploads; item; item = item->next)
        if (!((Upload *)item->data)->is_busy)
            end(item->data);
}
