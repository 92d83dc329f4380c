/*
 * A VM that does not run goes to another host with what belongs to it: its disks, whole ones where they lay
 * on a template's, its UEFI variables, the kernel that it is started with. The source decides nothing: it is
 * the manager that says where the VM is, once all is durable at the target and the source will not start it.
 */
#include <sys/socket.h>
#include <unistd.h>
#include "agent/carry.h"
#include "agent/migration.h"
#include "agent/vm-plan.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "rpc/rpc-splice.h"

enum { TICKET_MS = 30 * 1000, PATIENCE_S = 60, AGAIN_MS = 1000 };

#define VARIABLES "nvram"

static char *disk_name(const Disk *disk) {
    return g_strconcat("disk ", disk->id, NULL);
}

static bool has_file(const Disk *disk) {
    return disk->kind == DISK_KIND_DISK && disk->id;
}

/* Where a driver keeps them: hypervisor.h. */
static char *variables_path(const Agent *agent, const char *vm_id) {
    return g_strdup_printf("%s/%s.nvram", agent->state, vm_id);
}

/* ---- the target ---- */

void migration_note_files(const Agent *agent, const AgentMigration *request, json_t *record) {
    json_t *files = json_object();
    const AgentVm *there = &request->vm;
    for (size_t i = 0; request->copies_disks && i < there->vm.disks.n; i++) {
        if (!has_file(&there->vm.disks.items[i]))
            continue;
        g_autofree char *name = disk_name(&there->vm.disks.items[i]);
        g_autofree char *path = repository_disk_path(&there->repository, &there->vm.disks.items[i]);
        json_object_set_new(files, name, json_string(path));
    }
    g_autofree char *variables = variables_path(agent, there->vm.id);
    if (there->vm.firmware == FIRMWARE_UEFI)
        json_object_set_new(files, VARIABLES, json_string(variables));
    json_object_set_new(record, "files", files);
}

typedef struct Receiving {
    Agent *agent;
    char *id;
    json_t *files; /* name -> path */
    int fd;
    Error err;
} Receiving;

static char *path_of(const char *name, void *data) {
    const Receiving *receiving = data;
    return g_strdup(json_string_value(json_object_get(receiving->files, name)));
}

static void receive(void *data) {
    Receiving *receiving = data;
    carry_receive(receiving->fd, path_of, receiving, &receiving->err);
    fd_close(&receiving->fd);
}

static void received(void *data) {
    Receiving *receiving = data;
    if (error_is_set(&receiving->err))
        log_info("migration %s: files did not come: %s", receiving->id, receiving->err.message);
    fd_close(&receiving->fd);
    json_decref(receiving->files);
    error_clear(&receiving->err);
    g_free(receiving->id);
    g_free(receiving);
}

/* One after the other: what an earlier stream brought is overwritten by the next one, never the other way
 * round. */
static void files_claimed(
    RpcStream *take_stream, const char *purpose G_GNUC_UNUSED, const char *id, void *data) {
    Agent *agent = data;
    const json_t *record = agent->is_stopping ? NULL : journal_migration(agent->journal, id);
    int ends[2];
    if (!record || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        rpc_stream_free(take_stream);
        return;
    }
    migration_streams_end(agent, id);
    Receiving *receiving = g_new0(Receiving, 1);
    *receiving =
        (Receiving){agent, g_strdup(id), json_deep_copy(json_object_get(record, "files")), ends[1], {0}};
    g_autofree char *key = g_strconcat("files ", id, NULL);
    migration_stream_add(agent, id, "files", take_stream, rpc_stream_new_fd(ends[0]));
    if (!work_pool_add_keyed(agent->pools[LANE_COPY], key, receive, received, receiving, &receiving->err))
        received(receiving);
}

void serve_migration_files(AgentClient *client, const void *parameters, RpcRequest *request) {
    const AgentMigrationRef *wanted = parameters;
    g_auto(Error) err = {0};
    g_auto(AgentTicket) answer = {0};
    g_autofree char *ticket = NULL;
    const json_t *record = journal_migration(client->agent->journal, wanted->migration);
    if (!json_is_object(json_object_get(record, "files")))
        error_set(&err, ERROR_UNSUPPORTED, NULL, "no files are expected here");
    else
        ticket = rpc_ticket_issue(client->agent->tickets, "files", wanted->migration, TICKET_MS,
            files_claimed, client->agent, NULL, &err);
    if (!ticket) {
        rpc_fail(request, &err);
        return;
    }
    agent_ticket_set_ticket(&answer, ticket);
    rpc_reply(request, agent_ticket_encode(&answer, MODEL_ENCODE_ALL));
}

/* ---- the source ---- */

typedef struct Load {
    char *name, *path;
} Load;

static void load_clear(void *data) {
    Load *load = data;
    g_free(load->name);
    g_free(load->path);
}

static void add_load(GArray *loads, char *take_name, char *take_path) {
    const Load load = {take_name, take_path};
    g_array_append_val(loads, load);
}

/* Of one that lies on others a whole copy is made first, beside it. */
static bool add_disk(
    AgentCall *call, const AgentVm *here, const Disk *disk, const char *work, GArray *loads, Error *err) {
    g_auto(RepositoryBacking) below = {0};
    if (!repository_backing(&here->repository, disk->id, disk->format, &below, err))
        return false;
    g_autofree char *path =
        below.path ? g_strdup_printf("%s/%s", work, disk->id) : repository_disk_path(&here->repository, disk);
    if (below.path) {
        progress_report(&call->progress, 0, "Making whole disks");
        if (!repository_flatten(&here->repository, disk, path, call->cancel, err))
            return error_wrap(err, ERROR_NONE, "the disk %s cannot be made whole", disk->name);
    }
    add_load(loads, disk_name(disk), g_steal_pointer(&path));
    return true;
}

static bool collect(AgentCall *call, const char *work, GArray *loads, Error *err) {
    const AgentMigration *request = call->parameters;
    const AgentVm *here = &request->here;
    for (size_t i = 0; request->copies_disks && i < here->vm.disks.n; i++)
        if (has_file(&here->vm.disks.items[i]) &&
            !add_disk(call, here, &here->vm.disks.items[i], work, loads, err))
            return false;
    g_autofree char *variables = variables_path(call->agent, here->vm.id);
    if (here->vm.firmware == FIRMWARE_UEFI && access(variables, F_OK) == 0) /* else it has never run */
        add_load(loads, g_strdup(VARIABLES), g_steal_pointer(&variables));
    return true;
}

static bool is_of_the_way(const Error *err) {
    return err->code == ERROR_LOST || err->code == ERROR_UNREACHABLE || err->code == ERROR_TIMED_OUT ||
           err->code == ERROR_BUSY;
}

/* From the first file that is not there: *done counts those that are. */
static bool send_loads(
    MigrationRelay *relay, Carrying *carrying, const GArray *loads, guint *done, Error *err) {
    carrying->fd = migration_relay_files(relay, err);
    carrying->began_ns = 0;
    carrying->paced = 0;
    bool is_good = carrying->fd >= 0;
    while (is_good && *done < loads->len) {
        const Load *load = &g_array_index(loads, Load, *done);
        uint64_t before = carrying->carried;
        is_good = carry_send(carrying, load->name, load->path, err);
        *done += is_good;
        if (!is_good)
            carrying->carried = before;
    }
    fd_close(&carrying->fd);
    return is_good;
}

/* A target that starts anew expects it still: the file that was under way is carried again. */
static bool send_patiently(
    AgentCall *call, MigrationRelay *relay, const GArray *loads, Carrying *carrying, Error *err) {
    int64_t since_ns = clock_monotonic_ns(clock_system());
    for (guint done = 0, before = 0;;) {
        g_auto(Error) why = {0};
        if (send_loads(relay, carrying, loads, &done, &why))
            return true;
        int64_t now_ns = clock_monotonic_ns(clock_system());
        since_ns = done > before ? now_ns : since_ns;
        before = done;
        if (!is_of_the_way(&why) || now_ns - since_ns > PATIENCE_S * NS_PER_S) {
            if (why.code == ERROR_UNREACHABLE || why.code == ERROR_BUSY)
                why.code = ERROR_LOST; /* the others would be this host's */
            error_move(err, &why);
            return false;
        }
        log_info("carrying files to another host goes on: %s", why.message);
        if (!cancel_check(call->cancel, err))
            return false;
        g_usleep(AGAIN_MS * 1000);
    }
}

static bool give_kernel(AgentCall *call, MigrationRelay *relay, Error *err) {
    const AgentMigration *request = call->parameters;
    g_auto(VmPlan) plan = {0};
    g_auto(Error) why = {0};
    if (!vm_has(&request->here.vm, VM_FIELD_DIRECT_BOOT))
        return true;
    if (migration_plan(call, &request->here, &plan, &why) &&
        migration_give_files(relay, request, &plan.vm, call->cancel, &why))
        return true;
    if (why.code == ERROR_UNREACHABLE)
        why.code = ERROR_LOST;
    error_move(err, &why);
    return false;
}

static bool carry(AgentCall *call, MigrationRelay *relay, const char *work, Error *err) {
    const AgentMigration *request = call->parameters;
    g_autoptr(GArray) loads = g_array_new(FALSE, FALSE, sizeof(Load));
    g_array_set_clear_func(loads, load_clear);
    Carrying carrying = {.fd = -1,
        .cancel = call->cancel,
        .progress = &call->progress,
        .bandwidth = (uint64_t)request->bandwidth};
    if (!give_kernel(call, relay, err) || !collect(call, work, loads, err))
        return false;
    for (guint i = 0; i < loads->len; i++)
        carrying.total += carry_weight(g_array_index(loads, Load, i).path);
    return send_patiently(call, relay, loads, &carrying, err);
}

/* From here on it is not started on this host without the manager: the relay's record says that it is on its
 * way. */
bool handle_migration_carry(AgentCall *call, Error *err) {
    AgentMigration *request = call->parameters;
    const RepositoryKindOps *kind = repository_kind_of(&request->here.repository, err);
    g_autofree char *work = NULL, *name = g_strconcat("carry-", request->migration, NULL);
    if (!kind)
        return false;
    if (!request->address || !agent_migration_has(request, AGENT_MIGRATION_FIELD_HERE))
        return error_set(err, ERROR_INVALID, "/address", "where is the target, and what is here?");
    agent_migration_set_files(request, true);
    g_autoptr(MigrationRelay) relay = migration_relay_new(call->agent, request, err);
    if (!relay || !agent_check_vm_stands(call, &request->here.vm, err) ||
        !kind->work_folder(&request->here.repository, name, &work, err))
        return false;
    bool is_there = carry(call, relay, work, err);
    tree_remove(work, NULL);
    return is_there;
}
