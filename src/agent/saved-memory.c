/* Notes of one line, the file's path. */
#include "agent/saved-memory.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "model/format.h"
#include "storage/repository-kind.h"

#define SAVING ".saving"
#define SAVED ".saved"
#define UNFINISHED ".part"

enum { PATH_LIMIT = 4096, SPARE_BYTES = 64 * 1024 * 1024 };

/* ---- notes ---- */

static char *note_path(const Agent *agent, const char *vm_id, const char *ending) {
    return g_strdup_printf("%s/%s%s", agent->state, vm_id, ending);
}

/* The path of the file, newly allocated; NULL when there is no such note. */
static char *note_read(const Agent *agent, const char *vm_id, const char *ending) {
    g_autofree char *path = note_path(agent, vm_id, ending);
    char *text = NULL;
    return file_read(path, PATH_LIMIT, &text, NULL, NULL) ? g_strchomp(text) : NULL;
}

static bool note_write(const Agent *agent, const char *vm_id, const char *image, Error *err) {
    g_autofree char *path = note_path(agent, vm_id, SAVING);
    return file_replace(path, image, strlen(image), 0600, err);
}

static bool exists(const char *path) {
    return access(path, F_OK) == 0;
}

/* Also where it has gone already: who removed it may have died before that was durable. */
static bool remove_durably(const char *path, Error *err) {
    g_autofree char *folder = g_path_get_dirname(path);
    if (unlink(path) < 0 && errno != ENOENT)
        return error_set_errno(err, errno, "%s", path);
    return !exists(folder) || folder_sync(folder, err);
}

static bool note_remove(const Agent *agent, const char *vm_id, const char *ending, Error *err) {
    g_autofree char *path = note_path(agent, vm_id, ending);
    return remove_durably(path, err);
}

static bool rename_durably(const char *from, const char *to, Error *err) {
    g_autofree char *folder = g_path_get_dirname(to);
    return rename(from, to) == 0 ? folder_sync(folder, err) : error_set_errno(err, errno, "%s", to);
}

/* ---- settling ---- */

/* A repository that is away says nothing of its files. */
static bool is_away(const char *image) {
    g_autofree char *folder = g_path_get_dirname(image);
    return !exists(folder);
}

static bool check_is_there(const char *image, Error *err) {
    return !is_away(image) || error_set(err, ERROR_WRONG_STATE, NULL,
                                  "its memory lies in %s, and that folder is not there now", image);
}

static bool sync_file(const char *path, Error *err) {
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
    return (fd >= 0 && fsync(fd) == 0) || error_set_errno(err, errno, "%s", path);
}

/* The VM is gone and its file complete; may be repeated from any point. */
static bool keep(const Agent *agent, const char *vm_id, const char *image, Error *err) {
    g_autofree char *part = g_strconcat(image, UNFINISHED, NULL);
    g_autofree char *saving = note_path(agent, vm_id, SAVING), *saved = note_path(agent, vm_id, SAVED);
    if (!exists(image) && (!sync_file(part, err) || !rename_durably(part, image, err)))
        return false;
    return rename_durably(saving, saved, err);
}

static bool settle_saving(
    const Agent *agent, const char *vm_id, const char *image, const Cancel *cancel, Error *err) {
    g_autofree char *part = g_strconcat(image, UNFINISHED, NULL);
    bool is_saved = exists(image);
    if (!check_is_there(image, err))
        return false;
    if (!is_saved && !agent->driver->save_settle(agent->session, vm_id, part, &is_saved, cancel, err))
        return false;
    return is_saved ? keep(agent, vm_id, image, err)
                    : remove_durably(part, err) && note_remove(agent, vm_id, SAVING, err);
}

static bool is_there(const AgentVmState *state) {
    return state->status.state != VM_STATE_STOPPED && state->status.state != VM_STATE_CRASHED;
}

/* The file decides: while it is there, what was made of it has not run; once it is gone, it may. */
static bool settle_saved(const Agent *agent, const char *vm_id, const char *image, Error *err) {
    g_auto(AgentVmState) state = {0};
    if (!check_is_there(image, err) || !agent->driver->state(agent->session, vm_id, &state, err))
        return false;
    if (exists(image))
        return !is_there(&state) || agent->driver->kill(agent->session, vm_id, err);
    if (!remove_durably(image, err))
        return false;
    if (is_there(&state) && !agent->driver->resume(agent->session, vm_id, err))
        return false;
    return note_remove(agent, vm_id, SAVED, err);
}

bool saved_memory_settle(const Agent *agent, const char *vm_id, const Cancel *cancel, Error *err) {
    g_autofree char *saving = note_read(agent, vm_id, SAVING);
    if (saving && !settle_saving(agent, vm_id, saving, cancel, err))
        return false;
    g_autofree char *saved = note_read(agent, vm_id, SAVED);
    return !saved || settle_saved(agent, vm_id, saved, err);
}

char **saved_memory_unsettled(const Agent *agent) {
    g_autoptr(GDir) names = g_dir_open(agent->state, 0, NULL);
    g_autoptr(GStrvBuilder) ids = g_strv_builder_new();
    for (const char *name = names ? g_dir_read_name(names) : NULL; name; name = g_dir_read_name(names)) {
        if (!g_str_has_suffix(name, SAVING))
            continue;
        g_autofree char *id = g_strndup(name, strlen(name) - strlen(SAVING));
        if (is_uuid(id))
            g_strv_builder_add(ids, id);
    }
    return g_strv_builder_end(ids);
}

bool saved_memory_exists(const Agent *agent, const char *vm_id) {
    g_autofree char *saved = note_read(agent, vm_id, SAVED);
    return saved != NULL;
}

/* ---- saving ---- */

static bool check_space(const char *image, uint64_t memory, Error *err) {
    g_autofree char *folder = g_path_get_dirname(image);
    struct statvfs place;
    if (statvfs(folder, &place) < 0)
        return error_set_errno(err, errno, "%s", folder);
    uint64_t free_bytes = (uint64_t)place.f_bavail * place.f_frsize, needed = memory + SPARE_BYTES;
    g_autofree char *needed_text = g_format_size_full(needed, G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *free_text = g_format_size_full(free_bytes, G_FORMAT_SIZE_IEC_UNITS);
    return free_bytes >= needed ||
           error_set(err, ERROR_NO_SPACE, NULL, "its memory takes up to %s, the repository has %s left",
               needed_text, free_text);
}

static bool check_runs(const Agent *agent, const char *vm_id, const char *image, Error *err) {
    g_auto(AgentVmState) state = {0};
    if (!agent->driver->state(agent->session, vm_id, &state, err))
        return false;
    if (state.status.state != VM_STATE_RUNNING && state.status.state != VM_STATE_PAUSED)
        return error_set(err, ERROR_WRONG_STATE, NULL, "the VM does not run");
    return check_space(image, state.status.memory_actual, err);
}

/* A call that failed may have succeeded: the hypervisor's daemon may have died behind it. */
static bool find_out(AgentCall *call, const char *vm_id, Error *err) {
    g_auto(Error) why = {0};
    error_move(&why, err);
    if (!saved_memory_settle(call->agent, vm_id, NULL, err))
        return false;
    if (saved_memory_exists(call->agent, vm_id))
        return true;
    error_move(err, &why);
    return false;
}

bool saved_memory_save(AgentCall *call, const AgentVmRef *vm, Error *err) {
    const Agent *agent = call->agent;
    if (!agent->driver->save)
        return error_set(err, ERROR_UNSUPPORTED, NULL, "this host cannot save VMs");
    if (!saved_memory_settle(agent, vm->id, call->cancel, err))
        return false;
    if (saved_memory_exists(agent, vm->id))
        return true;
    g_autofree char *image = repository_memory_path(&vm->repository, vm->id);
    g_autofree char *part = g_strconcat(image, UNFINISHED, NULL);
    if (!check_runs(agent, vm->id, image, err) || !cancel_check(call->cancel, err) ||
        !remove_durably(image, err) || !note_write(agent, vm->id, image, err))
        return false;
    g_auto(Error) fault = {0};
    if (agent->driver->save(agent->session, vm->id, part, &call->progress, call->cancel, &fault))
        return keep(agent, vm->id, image, err);
    bool is_saved = find_out(call, vm->id, &fault);
    error_move(err, &fault);
    return is_saved;
}

/* ---- back ---- */

bool saved_memory_restore(AgentCall *call, const HypervisorVm *vm, Error *err) {
    const Agent *agent = call->agent;
    const char *id = vm->vm->id;
    g_autofree char *image = note_read(agent, id, SAVED);
    if (!image)
        return error_set(err, ERROR_INTERNAL, NULL, "the VM is not saved");
    if (!agent->driver->restore(agent->session, vm, image, call->cancel, err)) {
        saved_memory_settle(agent, id, NULL, NULL); /* it may be there all the same, held */
        reporter_changed(id, agent->reporter);
        return error_wrap(err, ERROR_NONE,
            "the VM cannot go on from its saved memory, which is kept; `vm kill` drops that");
    }
    if (!remove_durably(image, err)) {
        agent->driver->kill(agent->session, id, NULL);
        return false;
    }
    return agent->driver->resume(agent->session, id, err) && note_remove(agent, id, SAVED, err);
}

/* Without its note a file is nothing, wherever it is. */
static bool forget_away(const Agent *agent, const char *vm_id, const char *ending, Error *err) {
    g_autofree char *image = note_read(agent, vm_id, ending);
    return !image || !is_away(image) || note_remove(agent, vm_id, ending, err);
}

bool saved_memory_drop(const Agent *agent, const char *vm_id, const Cancel *cancel, Error *err) {
    if (!forget_away(agent, vm_id, SAVING, err) || !forget_away(agent, vm_id, SAVED, err) ||
        !saved_memory_settle(agent, vm_id, cancel, err))
        return false;
    g_autofree char *image = note_read(agent, vm_id, SAVED);
    return !image || (remove_durably(image, err) && note_remove(agent, vm_id, SAVED, err));
}

/* ---- telling ---- */

static void tell_saved(AgentVmState *state, const char *vm_id, VmState what) {
    agent_vm_state_clear(state);
    agent_vm_state_set_id(state, vm_id);
    agent_vm_state_set_managed(state, true);
    vm_status_set_state(agent_vm_state_put_status(state), what);
}

void saved_memory_fill(const Agent *agent, AgentVmState *state) {
    g_autofree char *id = g_strdup(state->id);
    g_autofree char *image = note_read(agent, id, SAVED), *saving = note_read(agent, id, SAVING);
    if (image && (exists(image) || is_away(image)))
        tell_saved(state, id, is_there(state) ? VM_STATE_STARTING : VM_STATE_SAVED);
    else if (saving)
        tell_saved(state, id, VM_STATE_SAVING);
}

static bool is_listed(const AgentInventory *inventory, const char *vm_id) {
    for (size_t i = 0; i < inventory->vms.n; i++)
        if (g_strcmp0(inventory->vms.items[i].id, vm_id) == 0)
            return true;
    return false;
}

void saved_memory_list(const Agent *agent, AgentInventory *inventory) {
    g_autoptr(GDir) names = g_dir_open(agent->state, 0, NULL);
    for (size_t i = 0; i < inventory->vms.n; i++)
        saved_memory_fill(agent, &inventory->vms.items[i]);
    for (const char *name = names ? g_dir_read_name(names) : NULL; name; name = g_dir_read_name(names)) {
        bool is_saved = g_str_has_suffix(name, SAVED);
        if (!is_saved && !g_str_has_suffix(name, SAVING))
            continue;
        g_autofree char *id = g_strndup(name, strlen(name) - strlen(is_saved ? SAVED : SAVING));
        if (is_uuid(id) && !is_listed(inventory, id))
            tell_saved(agent_inventory_add_vms(inventory), id, is_saved ? VM_STATE_SAVED : VM_STATE_SAVING);
    }
}
