#include "agent/copy-source.h"
#include <fcntl.h>
#include <unistd.h>
#include "agent/saved-memory.h"
#include "base/file.h"
#include "storage/repository-kind.h"

static bool is_disk(const Disk *disk) {
    return !disk_has(disk, DISK_FIELD_KIND) || disk->kind == DISK_KIND_DISK;
}

/* What the host keeps of the files in memory is written before the VM is held: sharing blocks writes it, and
 * it may be gigabytes. Nothing is lost by a file that cannot be opened: the copy will say so. */
static void write_ahead(const AgentVm *request) {
    for (size_t i = 0; i < request->source.disks.n; i++) {
        const Disk *disk = &request->source.disks.items[i];
        g_autofree char *path = is_disk(disk) ? repository_disk_path(&request->repository, disk) : NULL;
        fd_auto int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
        if (fd >= 0)
            fdatasync(fd);
    }
}

static bool check_not_saved(const AgentCall *call, const Vm *source, Error *err) {
    return saved_memory_settle(call->agent, source->id, call->cancel, err) &&
           (!saved_memory_exists(call->agent, source->id) ||
               error_set(
                   err, ERROR_WRONG_STATE, NULL, "%s is saved; start it, and it goes on", source->name));
}

static bool must_share(const AgentVm *request, HeldBy by) {
    return by == HELD_BY_US && !request->hold;
}

/* No bytes are copied meanwhile. */
static bool narrow(AgentVm *request, Error *err) {
    bool has_method = agent_vm_has(request, AGENT_VM_FIELD_CLONE);
    if (has_method && request->clone == CLONE_METHOD_FULL)
        return error_set(err, ERROR_UNSUPPORTED, "/clone", "a full copy takes longer than a moment");
    if (!has_method || request->clone == CLONE_METHOD_AUTO)
        agent_vm_set_clone(request, CLONE_METHOD_REFLINK);
    return true;
}

bool copy_source_take(const AgentCall *call, AgentVm *request, CopySource *ret_source, Error *err) {
    const Vm *vm = &request->source;
    bool has_disks = false;
    HeldBy by;
    *ret_source = (CopySource){.held = call->agent->held};
    for (size_t i = 0; i < vm->disks.n; i++)
        has_disks = has_disks || is_disk(&vm->disks.items[i]);
    if (!agent_vm_has(request, AGENT_VM_FIELD_SOURCE) || !has_disks)
        return true;
    if (!check_not_saved(call, vm, err))
        return false;
    write_ahead(request);
    if (!held_take(ret_source->held, vm->id, call->cancel, &by, err))
        return false;
    ret_source->vm_id = vm->id;
    ret_source->must_share = must_share(request, by);
    if (!ret_source->must_share || narrow(request, err))
        return true;
    copy_source_release(ret_source, err);
    return false;
}

void copy_source_release(const CopySource *source, Error *err) {
    if (source->vm_id)
        held_release(source->held, source->vm_id);
    if (err && source->must_share && err->code == ERROR_UNSUPPORTED)
        error_wrap(err, ERROR_WRONG_STATE,
            "the VM runs, and its disks cannot be copied in a moment: stop it, or let it be held while they "
            "are copied (hold)");
}
