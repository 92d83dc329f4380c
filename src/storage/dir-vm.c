/*
 * VMs in a folder. In the order of their making: the draft (the definition before anything exists, so that
 * debris can be told from foreign files), the disks with their notes, the seed, and last vm.json, which makes
 * the VM exist.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "image/seed.h"
#include "model/format.h"
#include "storage/definition.h"
#include "storage/dir.h"
#include "storage/disk-file.h"
#include "storage/outside-disk.h"

static char *vm_folder(const Repository *repository, const char *vm_id) {
    return g_build_filename(repository->path, "vms", vm_id, NULL);
}

static char *vm_file(const Repository *repository, const char *vm_id, const char *name) {
    return g_build_filename(repository->path, "vms", vm_id, name, NULL);
}

static void disk_source_clear(DiskSource *source) {
    g_clear_pointer(&source->path, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DiskSource, disk_source_clear)

/* What making one disk needs. */
typedef struct DiskWork {
    const AgentVm *request;
    const Vm *vm;
    Disk *disk;
    size_t number;     /* among the VM's disks, CDs not counted */
    char *backing;     /* id of the template disk behind a source VM's disk, or NULL */
    char *deeper;      /* id of the template disk behind a source template's disk, or NULL */
    DiskSource source; /* path NULL: an empty disk */
} DiskWork;

static void disk_work_clear(DiskWork *work) {
    g_clear_pointer(&work->backing, g_free);
    g_clear_pointer(&work->deeper, g_free);
    disk_source_clear(&work->source);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DiskWork, disk_work_clear)

static bool is_cd(const Disk *disk) {
    return disk_has(disk, DISK_FIELD_KIND) && disk->kind == DISK_KIND_CD;
}

static const Disk *nth_disk(const Vm *vm, size_t number) {
    for (size_t i = 0; i < vm->disks.n; i++)
        if (!is_cd(&vm->disks.items[i]) && number-- == 0)
            return &vm->disks.items[i];
    return NULL;
}

static bool find_source_in_vm(DiskWork *work, Error *err) {
    const Disk *disk = nth_disk(&work->request->source, work->number);
    if (!disk)
        return true;
    const Repository *repository = &work->request->repository;
    g_auto(DiskNote) note = {0};
    if (disk->path ? !outside_disk_check_copy(disk->path, disk->format, err)
                   : !disk_note_read(repository, disk->id, &note, err))
        return false;
    work->source = (DiskSource){
        .path = repository_disk_path(repository, disk), .format = disk->format, .size_bytes = disk->size};
    work->backing = g_steal_pointer(&note.backing); /* a copy of an overlay leans on the same template */
    return true;
}

static bool find_source_in_template(DiskWork *work, Error *err) {
    const AgentVm *request = work->request;
    const Repository *home = agent_vm_has(request, AGENT_VM_FIELD_TEMPLATE_REPOSITORY)
                                 ? &request->template_repository
                                 : &request->repository;
    if (work->number >= request->template.disks.n)
        return true;
    const TemplateDisk *disk = &request->template.disks.items[work->number];
    work->source = (DiskSource){.path = repository_template_disk_path(home, disk),
        .format = disk->format,
        .size_bytes = disk->size,
        .can_back = strcmp(home->path, request->repository.path) == 0};
    /* A template made from a VM may itself lean on another one's disk, by a name beside it. */
    g_auto(DiskNote) note = {0};
    if (!disk_note_read_any(home, disk->id, &note, err))
        return false;
    work->deeper = g_steal_pointer(&note.backing);
    if (work->deeper && !work->source.can_back)
        return error_set(err, ERROR_UNSUPPORTED, "/repository",
            "the template's disk is an overlay: clones of it must lie in the template's repository");
    return true;
}

static bool check_size(const DiskWork *work, Error *err) {
    Disk *disk = work->disk;
    if (!disk_has(disk, DISK_FIELD_SIZE) && work->source.path)
        disk_set_size(disk, work->source.size_bytes);
    if (!disk_has(disk, DISK_FIELD_SIZE))
        return error_set(err, ERROR_INVALID, "/size", "an empty disk needs a size");
    if (disk->size < work->source.size_bytes)
        return error_set(err, ERROR_INVALID, "/size",
            "the disk cannot be smaller than what it is made from (%" PRIu64 " bytes)",
            work->source.size_bytes);
    return true;
}

/* A disk's file belongs to the VM that its note names, for ever. */
static bool note_take(
    const Repository *repository, const Vm *vm, const Disk *disk, const char *backing, Error *err) {
    g_auto(DiskNote) old = {0};
    g_auto(Error) missing = {0};
    if (disk_note_read(repository, disk->id, &old, &missing) ? g_strcmp0(old.vm, vm->id) != 0
                                                             : missing.code != ERROR_NOT_FOUND)
        return error_set(err, ERROR_EXISTS, "/id", "the disk %s belongs to something else", disk->id);
    const DiskNote note = {.vm = vm->id, .backing = (char *)backing};
    return disk_note_write(repository, disk->id, &note, err);
}

static bool empty_disk_make(
    const Repository *repository, const Vm *vm, Disk *disk, const Cancel *cancel, Error *err) {
    if (!disk_has(disk, DISK_FIELD_FORMAT))
        disk_set_format(disk, DISK_FORMAT_RAW);
    g_autofree char *path = repository_disk_path(repository, disk);
    return note_take(repository, vm, disk, NULL, err) &&
           disk_file_make_empty(path, disk->format, disk->size, cancel, err);
}

static bool clone_make(DiskWork *work, const Cancel *cancel, Error *err) {
    const AgentVm *request = work->request;
    Disk *disk = work->disk;
    CloneMethod method = agent_vm_has(request, AGENT_VM_FIELD_CLONE) ? request->clone : CLONE_METHOD_AUTO;
    g_autofree char *stem = g_strdup_printf("%s/disks/%s", request->repository.path, disk->id);
    /* Named before it exists: a template is never deleted below an overlay that is being made. */
    g_autofree char *template_disk = NULL;
    if (work->source.can_back)
        template_disk = g_strdup(request->template.disks.items[work->number].id);
    if (!note_take(&request->repository, work->vm, disk, template_disk ? template_disk : work->backing, err))
        return false;
    const DiskFormat *wanted = disk_has(disk, DISK_FIELD_FORMAT) ? &disk->format : NULL;
    DiskFormat format;
    CloneMethod used;
    if (!disk_file_clone(&work->source, stem, disk->size, method, wanted, cancel, &format, &used, err))
        return false;
    disk_set_format(disk, format);
    disk_set_clone(disk, work->backing ? CLONE_METHOD_OVERLAY : used);
    if (used == CLONE_METHOD_OVERLAY || !template_disk)
        return true;
    const DiskNote note = {.vm = work->vm->id, .backing = work->deeper};
    return disk_note_write(&request->repository, disk->id, &note, err);
}

static bool disk_make(DiskWork *work, const Cancel *cancel, Error *err) {
    if (!disk_has(work->disk, DISK_FIELD_ID))
        return error_set(err, ERROR_INVALID, "/id", "a disk needs an id");
    disk_set_path(work->disk, NULL); /* what is made lies in the repository */
    if (agent_vm_has(work->request, AGENT_VM_FIELD_SOURCE)) {
        if (!find_source_in_vm(work, err))
            return false;
    } else if (agent_vm_has(work->request, AGENT_VM_FIELD_TEMPLATE)) {
        if (!find_source_in_template(work, err))
            return false;
    }
    if (!check_size(work, err))
        return false;
    return work->source.path ? clone_make(work, cancel, err)
                             : empty_disk_make(&work->request->repository, work->vm, work->disk, cancel, err);
}

static bool disks_make(const AgentVm *request, Vm *vm, const Cancel *cancel, Error *err) {
    size_t number = 0;
    for (size_t i = 0; i < vm->disks.n; i++) {
        if (is_cd(&vm->disks.items[i]))
            continue;
        g_auto(DiskWork)
            work = {.request = request, .vm = vm, .disk = &vm->disks.items[i], .number = number++};
        if (!cancel_check(cancel, err))
            return false;
        if (!disk_make(&work, cancel, err)) {
            g_autofree char *field = g_strdup_printf("/disks/%zu", i);
            return err ? error_prefix_field(err, field) : false;
        }
    }
    return true;
}

static bool seed_make_file(const Repository *repository, const Vm *vm, Error *err) {
    const CloudInit *settings = &vm->cloud_init;
    if (!vm_has(vm, VM_FIELD_CLOUD_INIT) ||
        (cloud_init_has(settings, CLOUD_INIT_FIELD_ENABLED) && !settings->enabled))
        return true;
    g_auto(GStrv) hostname = g_strsplit(settings->hostname ? settings->hostname : vm->name, ".", 2);
    g_autofree const char **keys = g_new0(const char *, settings->ssh_keys.n + 1);
    for (size_t i = 0; i < settings->ssh_keys.n; i++)
        keys[i] = settings->ssh_keys.items[i];
    bool has_data = cloud_init_has(settings, CLOUD_INIT_FIELD_USER_DATA);
    const SeedSpec spec = {.hostname = hostname[0],
        .instance_id = vm->id,
        .user = has_data         ? NULL
                : settings->user ? settings->user
                                 : "lodge",
        .ssh_keys = has_data ? NULL : keys,
        .user_data = has_data ? settings->user_data : NULL,
        .network_config = settings->network_config};
    g_autofree char *path = repository_seed_path(repository, vm->id);
    if (!seed_write(&spec, path, err))
        return err ? error_prefix_field(err, "/cloud_init") : false;
    return true;
}

static bool check_space(const AgentVm *request, Error *err) {
    if (!agent_vm_has(request, AGENT_VM_FIELD_CLONE) || request->clone != CLONE_METHOD_FULL)
        return true;
    uint64_t needed = agent_vm_has(request, AGENT_VM_FIELD_TEMPLATE) ? request->template.size : 0;
    struct statvfs info;
    if (statvfs(request->repository.path, &info) < 0)
        return error_set_errno(err, errno, "asking for the free space of %s", request->repository.path);
    uint64_t free_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    if (free_bytes < needed)
        return error_set(err, ERROR_NO_SPACE, NULL, "%s has %" PRIu64 " bytes free, %" PRIu64 " are needed",
            request->repository.path, free_bytes, needed);
    return true;
}

/* What was begun for a VM that never came to exist; errors leave debris, which a scan shows. */
static void undo_create(const Repository *repository, const Vm *vm) {
    for (size_t i = 0; i < vm->disks.n; i++) {
        const Disk *disk = &vm->disks.items[i];
        g_auto(DiskNote) note = {0};
        if (is_cd(disk) || !disk->id || !disk_note_read(repository, disk->id, &note, NULL) ||
            g_strcmp0(note.vm, vm->id) != 0)
            continue;
        for (DiskFormat format = 0; format < DISK_FORMAT_MAX; format++) {
            Disk other = {.id = disk->id, .format = format};
            g_autofree char *path = repository_disk_path(repository, &other);
            unlink(path);
        }
        g_autofree char *note_file = g_strdup_printf("%s/disks/%s.json", repository->path, disk->id);
        unlink(note_file);
    }
    g_autofree char *disks = g_build_filename(repository->path, "disks", NULL);
    g_autofree char *folder = vm_folder(repository, vm->id);
    /* The draft goes last: it names the disks. */
    if (folder_sync(disks, NULL) && tree_remove(folder, NULL))
        dir_sync_parent(folder, NULL);
}

static bool vm_folder_make(const Repository *repository, const Vm *vm, Error *err) {
    g_autofree char *folder = vm_folder(repository, vm->id);
    if (!folder_make(folder, 0711, err))
        return false;
    if (chmod(folder, 0711) < 0)
        return error_set_errno(err, errno, "opening %s for the hypervisor", folder);
    g_autofree char *draft = vm_file(repository, vm->id, "draft.json");
    return definition_write(draft, &vm_type, vm, err);
}

static bool vm_finish(const Repository *repository, const Vm *vm, Error *err) {
    g_autofree char *path = vm_file(repository, vm->id, "vm.json");
    g_autofree char *draft = vm_file(repository, vm->id, "draft.json");
    if (!definition_write(path, &vm_type, vm, err))
        return false;
    unlink(draft);
    return true;
}

/* Done before, and only the answer was lost. */
static bool is_made_already(const Repository *repository, Vm *vm, Error *err) {
    g_autofree char *path = vm_file(repository, vm->id, "vm.json");
    g_autofree char *draft = vm_file(repository, vm->id, "draft.json");
    g_auto(Vm) old = {0};
    if (!definition_read(path, &vm_type, &old, err))
        return false;
    if (old.host && vm->host && strcmp(old.host, vm->host) != 0)
        return error_set(err, ERROR_EXISTS, "/vm/id", "%s holds that VM already, of another host (%s)",
            repository->path, old.host);
    unlink(draft); /* where it died between the two */
    for (size_t i = 0; i < vm->disks.n && i < old.disks.n; i++) {
        disk_clear(&vm->disks.items[i]);
        disk_copy(&vm->disks.items[i], &old.disks.items[i]);
    }
    return true;
}

bool dir_vm_create(const AgentVm *request, Vm *vm, const Cancel *cancel, Error *err) {
    const Repository *repository = &request->repository;
    if (!vm_has(vm, VM_FIELD_ID))
        return error_set(err, ERROR_INVALID, "/vm/id", "a VM needs an id");
    bool has_home = agent_vm_has(request, AGENT_VM_FIELD_TEMPLATE_REPOSITORY);
    if (!dir_check(repository, err) || (has_home && !dir_check(&request->template_repository, err)))
        return false;
    g_auto(Error) missing = {0};
    if (is_made_already(repository, vm, &missing))
        return true;
    if (missing.code != ERROR_NOT_FOUND) {
        error_move(err, &missing);
        return false;
    }
    if (!check_space(request, err))
        return false;
    if (vm_folder_make(repository, vm, err) && disks_make(request, vm, cancel, err) &&
        seed_make_file(repository, vm, err) && vm_finish(repository, vm, err))
        return true;
    undo_create(repository, vm);
    return false;
}

static const Disk *find_disk(const Vm *vm, const char *id) {
    for (size_t i = 0; i < vm->disks.n; i++)
        if (g_strcmp0(vm->disks.items[i].id, id) == 0)
            return &vm->disks.items[i];
    return NULL;
}

/* Nothing but its size ever changes; a device is as large as it is. */
static bool check_outside(const Disk *before, const Disk *disk, bool *ret_is_device, Error *err) {
    OutsideDisk now;
    *ret_is_device = false;
    if (!before->path || disk->size == before->size)
        return true;
    if (!outside_disk_look(before->path, before->format, &now, err))
        return false;
    if (now.is_device && now.size_bytes < disk->size)
        return error_set(err, ERROR_UNSUPPORTED, "/size",
            "%s is a block device outside of the repository: make it larger first", before->path);
    *ret_is_device = now.is_device;
    return now.is_whole ||
           error_set(err, ERROR_UNSUPPORTED, "/size",
               "%s lies outside of the repository and on another file: it cannot grow here", before->path);
}

static bool disk_bring_to(
    const Repository *repository, const Vm *old, const Vm *vm, Disk *disk, bool may_grow, Error *err) {
    const Disk *before = find_disk(old, disk->id);
    if (!before) {
        if (!disk_has(disk, DISK_FIELD_SIZE))
            return error_set(err, ERROR_INVALID, "/size", "an empty disk needs a size");
        disk_set_path(disk, NULL);
        return empty_disk_make(repository, vm, disk, NULL, err);
    }
    disk_set_path(disk, before->path);
    disk_set_format(disk, before->format);
    if (disk_has(before, DISK_FIELD_CLONE))
        disk_set_clone(disk, before->clone);
    if (!disk_has(disk, DISK_FIELD_SIZE))
        disk_set_size(disk, before->size);
    if (disk->size < before->size)
        return error_set(err, ERROR_INVALID, "/size", "a disk only grows");
    bool is_device = false;
    if (!check_outside(before, disk, &is_device, err))
        return false;
    g_autofree char *path = repository_disk_path(repository, disk);
    if (access(path, F_OK) < 0)
        return error_set_errno(err, errno, "the file of the disk %s", disk->id);
    return !may_grow || is_device || disk->size == before->size ||
           disk_file_grow(path, disk->format, disk->size, NULL, err);
}

static bool disks_bring_to(const Repository *repository, const Vm *old, Vm *vm, bool may_grow, Error *err) {
    for (size_t i = 0; i < vm->disks.n; i++) {
        Disk *disk = &vm->disks.items[i];
        if (is_cd(disk))
            continue;
        if (!disk_has(disk, DISK_FIELD_ID))
            return error_set(err, ERROR_INVALID, "/disks", "a disk needs an id");
        if (!disk_bring_to(repository, old, vm, disk, may_grow, err)) {
            g_autofree char *field = g_strdup_printf("/disks/%zu", i);
            return err ? error_prefix_field(err, field) : false;
        }
    }
    return true;
}

static bool disk_to_trash(const Repository *repository, const Disk *disk, const char *trash, Error *err) {
    g_autofree char *path = repository_disk_path(repository, disk);
    g_autofree char *note = g_strdup_printf("%s/disks/%s.json", repository->path, disk->id);
    return dir_move_to_trash(path, trash, err) && dir_move_to_trash(note, trash, err);
}

static bool has_files(const Repository *repository, const Disk *disk) {
    g_autofree char *path = repository_disk_path(repository, disk);
    g_autofree char *note = g_strdup_printf("%s/disks/%s.json", repository->path, disk->id);
    return access(path, F_OK) == 0 || access(note, F_OK) == 0;
}

static bool removed_disks_to_trash(const Repository *repository, const Vm *old, const Vm *vm, Error *err) {
    g_autofree char *trash = NULL;
    for (size_t i = 0; i < old->disks.n; i++) {
        const Disk *disk = &old->disks.items[i];
        if (is_cd(disk) || disk->path || find_disk(vm, disk->id) || !has_files(repository, disk))
            continue;
        if (!trash && !dir_trash_make(repository, vm->id, &trash, err))
            return false;
        if (!disk_to_trash(repository, disk, trash, err))
            return false;
    }
    return true;
}

static bool domain_write(
    const Repository *repository, const char *vm_id, const char *definition, Error *err) {
    g_autofree char *path = vm_file(repository, vm_id, "domain.xml");
    return !definition || file_replace(path, definition, strlen(definition), 0600, err);
}

static bool seed_update(const Repository *repository, const Vm *old, const Vm *vm, Error *err) {
    bool is_same = model_equal(&cloud_init_type, &old->cloud_init, &vm->cloud_init) &&
                   g_strcmp0(old->name, vm->name) == 0;
    return (is_same && old->present == vm->present) || seed_make_file(repository, vm, err);
}

static bool read_older(const Repository *repository, const Vm *vm, Vm *ret_old, Error *err) {
    if (!vm_has(vm, VM_FIELD_ID))
        return error_set(err, ERROR_INVALID, "/vm/id", "a VM needs an id");
    if (!dir_vm_read(repository, vm->id, ret_old, err))
        return false;
    return !definition_is_newer(ret_old->epoch, ret_old->revision, vm->epoch, vm->revision) ||
           error_set(err, ERROR_CONFLICT, "/vm/revision",
               "the repository holds revision %" PRId64 " of epoch %" PRId64
               " of this VM, which is newer than revision %" PRId64 " of epoch %" PRId64,
               ret_old->revision, ret_old->epoch, vm->revision, vm->epoch);
}

/* The new definition with the disks that it does not name any more: their files are still there. */
static void unite(const Vm *old, const Vm *vm, bool is_running, Vm *ret_both) {
    vm_copy(ret_both, vm);
    for (size_t i = 0; i < old->disks.n; i++) {
        const Disk *before = &old->disks.items[i];
        Disk *disk = (Disk *)find_disk(ret_both, before->id);
        if (disk && is_running && disk_has(before, DISK_FIELD_SIZE))
            disk_set_size(disk, before->size); /* it grows later */
        if (disk || is_cd(before))
            continue;
        disk = vm_add_disks(ret_both);
        disk_copy(disk, before);
        disk_set_detached(disk, true);
    }
}

/* Takes back what a change that failed has made: vm.json names all that was there before. */
static void new_disks_undo(const Repository *repository, const Vm *vm) {
    g_auto(Vm) stored = {0};
    if (!dir_vm_read(repository, vm->id, &stored, NULL))
        return;
    for (size_t i = 0; i < vm->disks.n; i++) {
        const Disk *disk = &vm->disks.items[i];
        if (!is_cd(disk) && disk->id && !find_disk(&stored, disk->id))
            dir_disk_discard(repository, vm->id, disk->id, NULL);
    }
}

static bool names_all_disks(const Vm *stored, const Vm *vm) {
    for (size_t i = 0; i < vm->disks.n; i++)
        if (!is_cd(&vm->disks.items[i]) && !find_disk(stored, vm->disks.items[i].id))
            return false;
    return true;
}

static bool write_both(const Repository *repository, const Vm *old, const Vm *vm, int flags, Error *err) {
    g_auto(Vm) both = {0};
    g_auto(Error) failure = {0};
    g_autofree char *path = vm_file(repository, vm->id, "vm.json");
    unite(old, vm, flags & VM_CHANGE_WHILE_IT_RUNS, &both);
    if (seed_update(repository, old, vm, &failure) && definition_write(path, &vm_type, &both, &failure))
        return true;
    /* The discarded disks make the space that the second half needs. */
    if (failure.code == ERROR_NO_SPACE && (flags & VM_CHANGE_DISCARDS) && names_all_disks(old, vm))
        return true;
    error_move(err, &failure);
    return false;
}

bool dir_vm_prepare(const Repository *repository, Vm *vm, int flags, Error *err) {
    g_auto(Vm) old = {0};
    bool may_grow = !(flags & VM_CHANGE_WHILE_IT_RUNS);
    if (!read_older(repository, vm, &old, err))
        return false;
    if (disks_bring_to(repository, &old, vm, may_grow, err) && write_both(repository, &old, vm, flags, err))
        return true;
    new_disks_undo(repository, vm);
    return false;
}

/* The files go before the definition that does not name them any more: interrupted, it can be done again. */
static bool write_one(
    const Repository *repository, const Vm *old, Vm *vm, const char *definition, Error *err) {
    g_autofree char *path = vm_file(repository, vm->id, "vm.json");
    return disks_bring_to(repository, old, vm, true, err) && seed_update(repository, old, vm, err) &&
           removed_disks_to_trash(repository, old, vm, err) && definition_write(path, &vm_type, vm, err) &&
           domain_write(repository, vm->id, definition, err);
}

bool dir_vm_write(const Repository *repository, Vm *vm, const char *definition, Error *err) {
    g_auto(Vm) old = {0};
    if (!read_older(repository, vm, &old, err))
        return false;
    if (write_one(repository, &old, vm, definition, err))
        return true;
    new_disks_undo(repository, vm);
    return false;
}

/* A disk may exist without vm.json naming it, when making it was interrupted: its note says whose it is. */
bool dir_disk_discard(const Repository *repository, const char *vm_id, const char *disk_id, Error *err) {
    g_auto(DiskNote) note = {0};
    g_auto(Error) missing = {0};
    if (!is_uuid(disk_id))
        return error_set(err, ERROR_INVALID, "/discard", "is no id of a disk");
    if (!dir_check(repository, err))
        return false;
    g_autofree char *note_file = g_strdup_printf("%s/disks/%s.json", repository->path, disk_id);
    if (!disk_note_read(repository, disk_id, &note, &missing))
        return missing.code == ERROR_NOT_FOUND ? dir_sync_parent(note_file, err)
                                               : error_set(err, missing.code, NULL, "%s", missing.message);
    if (g_strcmp0(note.vm, vm_id) != 0)
        return error_set(err, ERROR_IN_USE, "/discard", "the disk %s belongs to something else", disk_id);
    for (DiskFormat format = 0; format < DISK_FORMAT_MAX; format++) {
        Disk disk = {.id = (char *)disk_id, .format = format};
        g_autofree char *path = repository_disk_path(repository, &disk);
        if (unlink(path) < 0 && errno != ENOENT)
            return error_set_errno(err, errno, "deleting %s", path);
    }
    if (unlink(note_file) < 0)
        return error_set_errno(err, errno, "deleting %s", note_file);
    return dir_sync_parent(note_file, err);
}

bool dir_vm_read(const Repository *repository, const char *vm_id, Vm *ret_vm, Error *err) {
    g_autofree char *path = vm_file(repository, vm_id, "vm.json");
    return dir_check(repository, err) && definition_read(path, &vm_type, ret_vm, err);
}

/* What an adoption that failed left behind names other ones. */
static bool has_same_disks(const Vm *old, const Vm *vm) {
    bool is_same = old->disks.n == vm->disks.n;
    for (size_t i = 0; is_same && i < vm->disks.n; i++)
        is_same = g_strcmp0(old->disks.items[i].id, vm->disks.items[i].id) == 0 &&
                  g_strcmp0(old->disks.items[i].path, vm->disks.items[i].path) == 0;
    return is_same;
}

bool dir_vm_adopt(const Repository *repository, const Vm *vm, const char *original, Error *err) {
    g_autofree char *folder = vm_folder(repository, vm->id);
    g_autofree char *path = vm_file(repository, vm->id, "vm.json");
    g_autofree char *beside = vm_file(repository, vm->id, "adopted.xml");
    g_auto(Vm) old = {0};
    if (!dir_check(repository, err) || !definition_read_any(path, &vm_type, &old, err))
        return false;
    if (old.host && g_strcmp0(old.host, vm->host) != 0)
        return error_set(err, ERROR_EXISTS, "/vm/id", "%s holds that VM already, of another host (%s)",
            repository->path, old.host);
    if (old.id && has_same_disks(&old, vm))
        return true; /* before a crash */
    if (!folder_make(folder, 0711, err))
        return false;
    if (chmod(folder, 0711) < 0)
        return error_set_errno(err, errno, "opening %s for the hypervisor", folder);
    bool is_kept = !original || (!old.id && access(beside, F_OK) == 0) ||
                   file_replace(beside, original, strlen(original), 0600, err);
    return is_kept && definition_write(path, &vm_type, vm, err) && dir_sync_parent(folder, err);
}

/* The disks first, the folder that names them last: an interrupted delete is found and done again. */
static bool vm_to_trash(
    const Repository *repository, const Vm *vm, const char *folder, const char *trash, Error *err) {
    for (size_t i = 0; i < vm->disks.n; i++) {
        const Disk *disk = &vm->disks.items[i];
        g_auto(DiskNote) note = {0};
        if (is_cd(disk) || !disk->id || disk->path)
            continue;
        if (!disk_note_read_any(repository, disk->id, &note, err))
            return false;
        if (g_strcmp0(note.vm, vm->id) == 0 && !disk_to_trash(repository, disk, trash, err))
            return false;
    }
    return dir_move_to_trash(folder, trash, err);
}

bool dir_vm_delete(const Repository *repository, const char *vm_id, bool purge, Error *err) {
    if (!dir_check(repository, err))
        return false;
    g_autofree char *folder = vm_folder(repository, vm_id);
    if (access(folder, F_OK) < 0 && errno == ENOENT)
        return dir_sync_parent(folder, err); /* perhaps removed by a call that was interrupted */
    g_autofree char *path = vm_file(repository, vm_id, "vm.json");
    g_autofree char *draft = vm_file(repository, vm_id, "draft.json");
    g_auto(Vm) vm = {0};
    g_auto(Error) damage = {0};
    if (!definition_read(path, &vm_type, &vm, &damage) && damage.code != ERROR_NOT_FOUND) {
        error_move(err, &damage);
        return false;
    }
    if (error_is_set(&damage)) { /* it never came to exist */
        if (definition_read(draft, &vm_type, &vm, NULL))
            undo_create(repository, &vm);
        return tree_remove(folder, err) && dir_sync_parent(folder, err);
    }
    g_autofree char *trash = NULL;
    if (!dir_trash_make(repository, vm_id, &trash, err) || !vm_to_trash(repository, &vm, folder, trash, err))
        return false;
    g_auto(Error) left = {0};
    if (vm.direct_boot.template && !dir_boot_files_leave(repository, vm.direct_boot.template, trash, &left))
        log_warning("files that the VM %s was started with stay: %s", vm_id, left.message);
    return !purge || (tree_remove(trash, err) && dir_sync_parent(trash, err));
}
