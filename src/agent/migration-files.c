/*
 * Kernel and initial RAM disk of a VM that goes to another host: they lie with the template, which stays. The
 * source gives them piece by piece; the target keeps them where the template would, so that further VMs find
 * them.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/migration.h"
#include "base/file.h"

enum { PIECE = 512 * 1024 };

/* ---- the source ---- */

static bool ask_or_give(
    MigrationRelay *relay, const AgentMigrationFile *file, bool *ret_complete, Error *err) {
    g_autoptr(json_t) answer = migration_relay_ask(
        relay, AGENT_METHOD_MIGRATION_GIVE, agent_migration_file_encode(file, MODEL_ENCODE_ALL), err);
    *ret_complete = json_is_true(json_object_get(answer, "complete"));
    return answer != NULL;
}

static bool give_piece(
    MigrationRelay *relay, AgentMigrationFile *file, int fd, uint8_t *block, bool *ret_complete, Error *err) {
    ssize_t n = pread(fd, block, PIECE, (off_t)file->offset);
    if (n < 0)
        return error_set_errno(err, errno, "reading what the VM is started with");
    if (n == 0)
        return error_set(err, ERROR_CONFLICT, NULL, "what the VM is started with changed meanwhile");
    g_autofree char *text = g_base64_encode(block, (gsize)n);
    agent_migration_file_set_data(file, text);
    if (!ask_or_give(relay, file, ret_complete, err))
        return false;
    agent_migration_file_set_offset(file, file->offset + n);
    return true;
}

/* Newly allocated; NULL with the error. */
static char *sum_of(int fd, Error *err) {
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    g_autofree uint8_t *block = g_malloc(PIECE);
    ssize_t n;
    for (off_t at = 0; (n = pread(fd, block, PIECE, at)) != 0; at += n) {
        if (n < 0) {
            error_set_errno(err, errno, "reading what the VM is started with");
            return NULL;
        }
        g_checksum_update(sum, block, n);
    }
    return g_strdup(g_checksum_get_string(sum));
}

static bool give_file(MigrationRelay *relay, const AgentMigration *request, MigrationFile which,
    const char *path, const Cancel *cancel, Error *err) {
    g_auto(AgentMigrationFile) file = {0};
    struct stat status;
    bool is_complete = false;
    if (!path)
        return true;
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &status) < 0)
        return error_set_errno(err, errno, "%s", path);
    g_autofree char *sum = sum_of(fd, err);
    if (!sum)
        return false;
    agent_migration_file_set_sha256(&file, sum);
    agent_migration_file_set_migration(&file, request->migration);
    agent_migration_file_set_vm(&file, request->vm.vm.id);
    agent_migration_file_set_file(&file, which);
    agent_migration_file_set_size(&file, status.st_size);
    if (!ask_or_give(relay, &file, &is_complete, err))
        return error_wrap(err, ERROR_NONE, "the other host does not take what the VM is started with");
    g_autofree uint8_t *block = g_malloc(PIECE);
    agent_migration_file_set_offset(&file, 0);
    while (!is_complete)
        if (!cancel_check(cancel, err) || !give_piece(relay, &file, fd, block, &is_complete, err))
            return false;
    return true;
}

bool migration_give_files(MigrationRelay *relay, const AgentMigration *request, const HypervisorVm *here,
    const Cancel *cancel, Error *err) {
    return give_file(relay, request, MIGRATION_FILE_KERNEL, here->kernel_path, cancel, err) &&
           give_file(relay, request, MIGRATION_FILE_INITRD, here->initrd_path, cancel, err);
}

/* ---- the target ---- */

typedef struct Gift {
    RpcRequest *request;
    AgentMigrationFile file;
    char *path;
    bool is_complete;
    Error err;
} Gift;

static bool is_whole(const Gift *gift, int fd) {
    struct stat status;
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size != gift->file.size)
        return false;
    g_autofree char *sum = sum_of(fd, NULL);
    return sum && g_ascii_strcasecmp(sum, gift->file.sha256) == 0;
}

static bool is_there(const Gift *gift) {
    fd_auto int fd = open(gift->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 && is_whole(gift, fd);
}

static bool write_piece(const Gift *gift, int fd, Error *err) {
    size_t length = 0;
    struct stat status;
    g_autofree guchar *bytes = g_base64_decode(gift->file.data, &length);
    if (fstat(fd, &status) < 0)
        return error_set_errno(err, errno, "%s", gift->path);
    if (status.st_size != gift->file.offset || (gint64)length > gift->file.size - gift->file.offset)
        return error_set(err, ERROR_CONFLICT, "/offset", "this piece does not follow the one before");
    return fd_write_all(fd, bytes, length, err);
}

/* One migration writes to a file of its own, and the whole one takes its place at once. */
static bool take_piece(Gift *gift, Error *err) {
    const AgentMigrationFile *file = &gift->file;
    g_autofree char *folder = g_path_get_dirname(gift->path);
    g_autofree char *part = g_strdup_printf("%s.%s", gift->path, file->migration);
    if (!agent_migration_file_has(file, AGENT_MIGRATION_FILE_FIELD_DATA)) {
        gift->is_complete = is_there(gift);
        return true;
    }
    if (!folder_make(folder, 0711, err))
        return false;
    int fresh = file->offset == 0 ? O_TRUNC : 0;
    fd_auto int fd = open(part, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC | fresh, 0644);
    if (fd < 0)
        return error_set_errno(err, errno, "%s", part);
    if (!write_piece(gift, fd, err))
        return false;
    struct stat status;
    if (fstat(fd, &status) < 0 || status.st_size < file->size)
        return true;
    if (!is_whole(gift, fd))
        return error_set(err, ERROR_CORRUPT, NULL, "%s did not arrive as it was sent", gift->path);
    if (fsync(fd) < 0 || rename(part, gift->path) < 0)
        return error_set_errno(err, errno, "saving %s", gift->path);
    gift->is_complete = true;
    return folder_sync(folder, err);
}

static void run_gift(void *data) {
    Gift *gift = data;
    take_piece(gift, &gift->err);
}

static void gift_ended(void *data) {
    Gift *gift = data;
    g_auto(AgentMigrationFileState) state = {0};
    agent_migration_file_state_set_complete(&state, gift->is_complete);
    if (error_is_set(&gift->err))
        rpc_fail(gift->request, &gift->err);
    else
        rpc_reply(gift->request, agent_migration_file_state_encode(&state, MODEL_ENCODE_ALL));
    rpc_request_unref(gift->request);
    agent_migration_file_clear(&gift->file);
    error_clear(&gift->err);
    g_free(gift->path);
    g_free(gift);
}

void serve_migration_give(AgentClient *client, const void *parameters, RpcRequest *request) {
    const AgentMigrationFile *file = parameters;
    Gift *gift = g_new0(Gift, 1);
    agent_migration_file_copy(&gift->file, file);
    gift->request = rpc_request_ref(request);
    gift->path = migration_path_for_peer(client, file->migration, file->vm,
        model_enum_name(&migration_file_enum, (int)file->file), &gift->err);
    if (!gift->path ||
        !work_pool_add(client->agent->pools[LANE_MAKE], run_gift, gift_ended, gift, &gift->err))
        gift_ended(gift);
}
