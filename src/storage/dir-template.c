/*
 * Templates and ISOs in a folder. A template's disk never changes once it has its name: overlays may lean on
 * it. A rebuild brings new disks and a new kernel; the old ones go unless a VM needs them.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"
#include "storage/definition.h"
#include "storage/dir.h"
#include "storage/disk-file.h"
#include "storage/outside-disk.h"

enum { BOOT_FILE_LIMIT = 512 << 20 }; /* bytes of a kernel or an initial RAM disk */

static char *template_file(const Repository *repository, const char *id, const char *name) {
    return repository_template_file_path(repository, id, name);
}

/* Readable for every hypervisor: what is copied by all holds no secrets. ERROR_NOT_FOUND when it is not
 * there. */
static bool move_in(const char *work_folder, const char *name, const char *destination,
    uint64_t *occupied_bytes, Error *err) {
    g_autofree char *source = g_build_filename(work_folder, name, NULL);
    struct stat status;
    if (lstat(source, &status) < 0 || !S_ISREG(status.st_mode))
        return error_set(err, ERROR_NOT_FOUND, NULL, "there is no file %s", source);
    if (chmod(source, 0644) < 0 || rename(source, destination) < 0)
        return error_set_errno(err, errno, "moving %s into the repository", name);
    *occupied_bytes += (uint64_t)status.st_blocks * 512;
    g_autofree char *folder = g_path_get_dirname(destination);
    return folder_sync(folder, err);
}

static bool has_file(const char *folder, const char *name) {
    g_autofree char *path = g_build_filename(folder, name, NULL);
    return access(path, F_OK) == 0;
}

static bool disk_store(const Repository *repository, Template *definition, const char *work_folder,
    uint64_t *occupied_bytes, Error *err) {
    g_autofree char *source = g_build_filename(work_folder, "disk", NULL);
    struct stat status;
    if (stat(source, &status) < 0)
        return error_set_errno(err, errno, "reading %s", source);
    TemplateDisk *disk =
        definition->disks.n > 0 ? &definition->disks.items[0] : template_add_disks(definition);
    if (!template_disk_has(disk, TEMPLATE_DISK_FIELD_FORMAT))
        template_disk_set_format(disk, DISK_FORMAT_RAW);
    if (!template_disk_has(disk, TEMPLATE_DISK_FIELD_SIZE))
        template_disk_set_size(disk, (uint64_t)status.st_size);
    g_autofree char *id = g_uuid_string_random();
    template_disk_set_id(disk, id);
    const DiskNote note = {.template = definition->id};
    g_autofree char *path = repository_template_disk_path(repository, disk);
    return disk_note_write(repository, id, &note, err) &&
           move_in(work_folder, "disk", path, occupied_bytes, err);
}

/* Each build has files of its own: VMs keep the kernel that their definition names. */
static bool boot_files_store(const Repository *repository, Template *definition, const char *work_folder,
    uint64_t *occupied_bytes, Error *err) {
    DirectBoot *boot = template_put_direct_boot(definition);
    g_autofree char *build = g_uuid_string_random();
    g_autofree char *kernel = g_strdup_printf("kernel-%.8s", build);
    g_autofree char *initrd = g_strdup_printf("initrd-%.8s", build);
    g_autofree char *kernel_path = template_file(repository, definition->id, kernel);
    g_autofree char *initrd_path = template_file(repository, definition->id, initrd);
    bool has_initrd = has_file(work_folder, "initrd");
    direct_boot_set_template(boot, definition->id);
    direct_boot_set_kernel(boot, kernel);
    direct_boot_set_initrd(boot, has_initrd ? initrd : NULL);
    return move_in(work_folder, "kernel", kernel_path, occupied_bytes, err) &&
           (!has_initrd || move_in(work_folder, "initrd", initrd_path, occupied_bytes, err));
}

static bool is_backing(GHashTable *notes, const char *disk_id) {
    GHashTableIter each;
    void *note;
    g_hash_table_iter_init(&each, notes);
    while (g_hash_table_iter_next(&each, NULL, &note))
        if (g_strcmp0(((DiskNote *)note)->backing, disk_id) == 0)
            return true;
    return false;
}

static void disk_remove(const Repository *repository, const TemplateDisk *disk) {
    g_autofree char *path = repository_template_disk_path(repository, disk);
    g_autofree char *note = g_strdup_printf("%s/disks/%s.json", repository->path, disk->id);
    unlink(path);
    unlink(note);
}

static bool old_disks_remove(const Repository *repository, const Template *old, Error *err) {
    g_autoptr(GHashTable) notes = NULL;
    if (old->disks.n == 0)
        return true;
    if (!disk_notes_read(repository, NULL, &notes, err))
        return false;
    for (size_t i = 0; i < old->disks.n; i++)
        if (old->disks.items[i].id && !is_backing(notes, old->disks.items[i].id))
            disk_remove(repository, &old->disks.items[i]);
    return true;
}

static bool template_folder_make(const Repository *repository, const char *id, Error *err) {
    g_autofree char *folder = g_build_filename(repository->path, "templates", id, NULL);
    if (!folder_make(folder, 0711, err))
        return false;
    if (chmod(folder, 0711) < 0)
        return error_set_errno(err, errno, "opening %s for the hypervisor", folder);
    return true;
}

bool dir_template_read(
    const Repository *repository, const char *template_id, Template *ret_template, Error *err) {
    g_autofree char *path = template_file(repository, template_id, "template.json");
    return dir_check(repository, err) && definition_read(path, &template_type, ret_template, err);
}

static bool has_disk(const Template *definition, const char *disk_id) {
    for (size_t i = 0; i < definition->disks.n; i++)
        if (g_strcmp0(definition->disks.items[i].id, disk_id) == 0)
            return true;
    return false;
}

/* Disks that an earlier try took in before it was interrupted: the definition does not name them. */
static bool stray_disks_remove(
    const Repository *repository, const char *template_id, const Template *stored, Error *err) {
    g_autoptr(GHashTable) notes = NULL;
    GHashTableIter each;
    void *disk_id, *note;
    if (!disk_notes_read(repository, NULL, &notes, err))
        return false;
    g_hash_table_iter_init(&each, notes);
    while (g_hash_table_iter_next(&each, &disk_id, &note)) {
        if (g_strcmp0(((DiskNote *)note)->template, template_id) != 0 || has_disk(stored, disk_id) ||
            is_backing(notes, disk_id))
            continue;
        for (DiskFormat format = 0; format < DISK_FORMAT_MAX; format++) {
            const TemplateDisk disk = {.id = disk_id, .format = format};
            disk_remove(repository, &disk);
        }
    }
    return true;
}

static bool template_check(const Repository *repository, const Template *definition, Error *err) {
    if (!template_has(definition, TEMPLATE_FIELD_ID))
        return error_set(err, ERROR_INVALID, "/template/id", "a template needs an id");
    return dir_check(repository, err);
}

/* The definition is written last: it makes the template exist. */
static bool template_finish(
    const Repository *repository, Template *definition, uint64_t occupied_bytes, Error *err) {
    g_autofree char *path = template_file(repository, definition->id, "template.json");
    template_set_size(definition, occupied_bytes);
    template_set_built(definition, clock_realtime_ns(clock_system()));
    template_set_state(definition, TEMPLATE_STATE_READY);
    return definition_write(path, &template_type, definition, err);
}

static void add_boot_files(GHashTable *names, const DirectBoot *boot, const char *template_id) {
    if (g_strcmp0(boot->template, template_id) != 0)
        return;
    g_hash_table_add(names, g_strdup(boot->kernel ? boot->kernel : ""));
    g_hash_table_add(names, g_strdup(boot->initrd ? boot->initrd : ""));
}

/* Names of kernels and initial RAM disks in the template's folder. */
static bool boot_files_list(const Repository *repository, const char *id, GPtrArray **ret_names, Error *err) {
    g_autofree char *folder = g_build_filename(repository->path, "templates", id, NULL);
    g_autoptr(GPtrArray) files = NULL;
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    if (!folder_list(folder, &files, err))
        return false;
    for (guint i = 0; i < files->len; i++)
        if (g_str_has_prefix(files->pdata[i], "kernel") || g_str_has_prefix(files->pdata[i], "initrd"))
            g_ptr_array_add(names, g_strdup(files->pdata[i]));
    *ret_names = g_steal_pointer(&names);
    return true;
}

static bool add_boot_files_of_vms(
    const Repository *repository, const char *template_id, GHashTable *names, Error *err) {
    static const char *const definitions[] = {"vm.json", "draft.json"};
    g_autofree char *vms = g_build_filename(repository->path, "vms", NULL);
    g_autoptr(GPtrArray) folders = NULL;
    if (!folder_list(vms, &folders, err))
        return false;
    for (guint i = 0; i < folders->len * G_N_ELEMENTS(definitions); i++) {
        const char *folder = folders->pdata[i / G_N_ELEMENTS(definitions)];
        g_autofree char *path =
            g_build_filename(vms, folder, definitions[i % G_N_ELEMENTS(definitions)], NULL);
        g_auto(Vm) vm = {0};
        if (!definition_read_any(path, &vm_type, &vm, err))
            return false;
        add_boot_files(names, &vm.direct_boot, template_id);
    }
    return true;
}

/* Asked before anything changes: a definition that cannot be read would stop old_boot_files_remove. */
static bool check_boot_files_known(const Repository *repository, const char *template_id, Error *err) {
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GPtrArray) files = NULL;
    return boot_files_list(repository, template_id, &files, err) &&
           (files->len == 0 || add_boot_files_of_vms(repository, template_id, names, err));
}

/* Kernels of earlier builds that no VM of this repository boots go to the trash: one elsewhere may. */
static bool old_boot_files_remove(const Repository *repository, const Template *definition, Error *err) {
    g_autoptr(GHashTable) needed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GPtrArray) files = NULL;
    g_autofree char *trash = NULL;
    add_boot_files(needed, &definition->direct_boot, definition->id);
    if (!boot_files_list(repository, definition->id, &files, err))
        return false;
    if (files->len > 0 && !add_boot_files_of_vms(repository, definition->id, needed, err))
        return false;
    for (guint i = 0; i < files->len; i++) {
        if (g_hash_table_contains(needed, files->pdata[i]))
            continue;
        g_autofree char *path = template_file(repository, definition->id, files->pdata[i]);
        if ((!trash && !dir_trash_make(repository, definition->id, &trash, err)) ||
            !dir_move_to_trash(path, trash, err))
            return false;
    }
    return true;
}

bool dir_boot_files_leave(
    const Repository *repository, const char *template_id, const char *trash, Error *err) {
    g_autofree char *folder = g_build_filename(repository->path, "templates", template_id, NULL),
                    *definition = template_file(repository, template_id, "template.json");
    g_autoptr(GHashTable) needed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GPtrArray) files = NULL;
    if (access(definition, F_OK) == 0 || access(folder, F_OK) < 0)
        return true;
    if (!add_boot_files_of_vms(repository, template_id, needed, err) || !folder_list(folder, &files, err))
        return false;
    for (guint i = 0; i < files->len; i++) {
        g_autofree char *path = template_file(repository, template_id, files->pdata[i]);
        if (!g_hash_table_contains(needed, files->pdata[i]) && !dir_move_to_trash(path, trash, err))
            return false;
    }
    if (rmdir(folder) < 0 && errno != ENOTEMPTY && errno != ENOENT)
        return error_set_errno(err, errno, "removing %s", folder);
    return true;
}

bool dir_template_store(
    const Repository *repository, Template *definition, const char *work_folder, Error *err) {
    if (!template_check(repository, definition, err) ||
        !template_folder_make(repository, definition->id, err))
        return false;
    g_auto(Template) old = {0};
    g_auto(Error) missing = {0};
    if (!dir_template_read(repository, definition->id, &old, &missing) && missing.code != ERROR_NOT_FOUND &&
        missing.code != ERROR_CORRUPT) {
        error_move(err, &missing);
        return false;
    }
    if (!stray_disks_remove(repository, definition->id, &old, err) ||
        !check_boot_files_known(repository, definition->id, err))
        return false;
    uint64_t occupied_bytes = 0;
    if (has_file(work_folder, "disk") &&
        !disk_store(repository, definition, work_folder, &occupied_bytes, err))
        return false;
    if (has_file(work_folder, "kernel") &&
        !boot_files_store(repository, definition, work_folder, &occupied_bytes, err))
        return false;
    return template_finish(repository, definition, occupied_bytes, err) &&
           old_disks_remove(repository, &old, err) && old_boot_files_remove(repository, definition, err);
}

/* ---- from a VM ---- */

static bool disk_capture(const Repository *repository, const Disk *source, Template *definition,
    const Cancel *cancel, CloneMethod *ret_method, Error *err) {
    g_auto(DiskNote) old = {0};
    g_autofree char *id = g_uuid_string_random();
    g_autofree char *from = repository_disk_path(repository, source);
    g_autofree char *stem = g_strdup_printf("%s/disks/%s", repository->path, id);
    const DiskSource origin = {.path = from, .format = source->format, .size_bytes = source->size};
    DiskFormat format;
    if (source->path ? !outside_disk_check_copy(source->path, source->format, err)
                     : !disk_note_read(repository, source->id, &old, err))
        return false;
    const DiskNote note = {.template = definition->id, .backing = old.backing};
    if (!disk_note_write(repository, id, &note, err) ||
        !disk_file_clone(
            &origin, stem, source->size, CLONE_METHOD_AUTO, NULL, cancel, &format, ret_method, err))
        return false;
    TemplateDisk *disk = template_add_disks(definition);
    template_disk_set_id(disk, id);
    template_disk_set_format(disk, format);
    template_disk_set_size(disk, source->size);
    g_autofree char *path = repository_template_disk_path(repository, disk);
    if (chmod(path, 0644) < 0)
        return error_set_errno(err, errno, "opening %s for clones", path);
    return true;
}

static bool boot_file_capture(const Repository *home, const Repository *repository, const char *from_id,
    const char *id, const char *name, Error *err) {
    g_autofree char *from = template_file(home, from_id, name), *to = template_file(repository, id, name);
    g_autofree char *data = NULL;
    size_t length = 0;
    return repository_check_file_name(name, "/vm/direct_boot", err) &&
           file_read(from, BOOT_FILE_LIMIT, &data, &length, err) && file_replace(to, data, length, 0644, err);
}

static bool boot_capture(const AgentTemplateFromVm *request, Template *definition, Error *err) {
    const Vm *vm = &request->vm;
    bool has_home = agent_template_from_vm_has(request, AGENT_TEMPLATE_FROM_VM_FIELD_SOURCE_REPOSITORY);
    const Repository *home = has_home ? &request->source_repository : &request->repository;
    if (!vm_has(vm, VM_FIELD_DIRECT_BOOT))
        return true;
    if (has_home && !dir_check(home, err))
        return false;
    direct_boot_copy(template_put_direct_boot(definition), &vm->direct_boot);
    direct_boot_set_template(&definition->direct_boot, definition->id);
    const char *const names[] = {vm->direct_boot.kernel, vm->direct_boot.initrd};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (names[i] && !boot_file_capture(home, &request->repository, vm->direct_boot.template,
                            definition->id, names[i], err))
            return false;
    return true;
}

static bool capture_all(const AgentTemplateFromVm *request, Template *definition, const Cancel *cancel,
    CloneMethod *ret_method, Error *err) {
    const Repository *repository = &request->repository;
    uint64_t occupied_bytes = 0;
    bool is_first = true;
    for (size_t i = 0; i < request->vm.disks.n; i++) {
        const Disk *disk = &request->vm.disks.items[i];
        CloneMethod method = CLONE_METHOD_AUTO;
        if (disk_has(disk, DISK_FIELD_KIND) && disk->kind == DISK_KIND_CD)
            continue;
        if (!disk_capture(repository, disk, definition, cancel, &method, err))
            return false;
        *ret_method = is_first ? method : *ret_method;
        is_first = false;
    }
    for (size_t i = 0; i < definition->disks.n; i++) {
        g_autofree char *path = repository_template_disk_path(repository, &definition->disks.items[i]);
        struct stat status;
        occupied_bytes += stat(path, &status) == 0 ? (uint64_t)status.st_blocks * 512 : 0;
    }
    return boot_capture(request, definition, err) &&
           template_finish(repository, definition, occupied_bytes, err);
}

bool dir_template_from_vm(const AgentTemplateFromVm *request, Template *definition, const Cancel *cancel,
    CloneMethod *ret_method, Error *err) {
    const Repository *repository = &request->repository;
    const Template nothing = {0};
    if (!template_check(repository, definition, err) ||
        !stray_disks_remove(repository, definition->id, &nothing, err) ||
        !template_folder_make(repository, definition->id, err))
        return false;
    if (capture_all(request, definition, cancel, ret_method, err))
        return true;
    g_autofree char *folder = g_build_filename(repository->path, "templates", definition->id, NULL);
    stray_disks_remove(repository, definition->id, &nothing, NULL);
    tree_remove(folder, NULL);
    return false;
}

bool dir_template_write(const Repository *repository, const Template *definition, Error *err) {
    g_auto(Template) old = {0};
    if (!template_check(repository, definition, err) ||
        !dir_template_read(repository, definition->id, &old, err))
        return false;
    if (definition_is_newer(old.epoch, old.revision, definition->epoch, definition->revision))
        return error_set(err, ERROR_CONFLICT, "/template/revision",
            "the repository holds revision %" PRId64 " of this template, which is newer than %" PRId64,
            old.revision, definition->revision);
    g_autofree char *path = template_file(repository, definition->id, "template.json");
    return definition_write(path, &template_type, definition, err);
}

/* A VM that boots the template's kernel, or has that ISO in a drive. */
static bool vm_needs(const Vm *vm, const char *template_id, const Iso *iso) {
    if (template_id && vm_has(vm, VM_FIELD_DIRECT_BOOT) &&
        g_strcmp0(vm->direct_boot.template, template_id) == 0)
        return true;
    for (size_t i = 0; iso && i < vm->disks.n; i++) {
        const char *image = vm->disks.items[i].image;
        if (image && (g_strcmp0(image, iso->id) == 0 || g_strcmp0(image, iso->name) == 0))
            return true;
    }
    return false;
}

static bool check_no_vm_needs(
    const Repository *repository, const char *template_id, const Iso *iso, Error *err) {
    g_autofree char *folder = g_build_filename(repository->path, "vms", NULL);
    g_autoptr(GPtrArray) names = NULL;
    if (!folder_list(folder, &names, err))
        return false;
    for (guint i = 0; i < names->len; i++) {
        g_autofree char *path = g_build_filename(folder, g_ptr_array_index(names, i), "vm.json", NULL);
        g_auto(Vm) vm = {0};
        if (!definition_read_any(path, &vm_type, &vm, err))
            return false;
        if (vm_needs(&vm, template_id, iso))
            return error_set(err, ERROR_IN_USE, NULL, "the VM %s needs it", vm.name ? vm.name : vm.id);
    }
    return true;
}

static bool check_no_overlay(const Repository *repository, const Template *definition, Error *err) {
    g_autoptr(GHashTable) notes = NULL;
    if (!disk_notes_read(repository, NULL, &notes, err))
        return false;
    for (size_t i = 0; i < definition->disks.n; i++)
        if (definition->disks.items[i].id && is_backing(notes, definition->disks.items[i].id))
            return error_set(err, ERROR_IN_USE, NULL, "disks of VMs are overlays of this template's disk");
    return true;
}

bool dir_template_delete(const Repository *repository, const Template *definition, Error *err) {
    if (!template_check(repository, definition, err))
        return false;
    g_auto(Template) stored = {0};
    g_auto(Error) missing = {0};
    if (!dir_template_read(repository, definition->id, &stored, &missing) &&
        missing.code != ERROR_NOT_FOUND) {
        error_move(err, &missing);
        return false;
    }
    if (!stray_disks_remove(repository, definition->id, &stored, err) ||
        !check_no_overlay(repository, &stored, err) ||
        !check_no_vm_needs(repository, definition->id, NULL, err))
        return false;
    for (size_t i = 0; i < stored.disks.n; i++)
        if (stored.disks.items[i].id)
            disk_remove(repository, &stored.disks.items[i]);
    g_autofree char *folder = g_build_filename(repository->path, "templates", definition->id, NULL);
    g_autofree char *disks = g_build_filename(repository->path, "disks", NULL);
    return folder_sync(disks, err) && tree_remove(folder, err) && dir_sync_parent(folder, err);
}

static char *iso_note_path(const Repository *repository, const Iso *iso) {
    return g_strdup_printf("%s/isos/%s.json", repository->path, iso->id);
}

static bool iso_check(const Repository *repository, const Iso *iso, Error *err) {
    if (!iso_has(iso, ISO_FIELD_ID))
        return error_set(err, ERROR_INVALID, "/iso/id", "an ISO needs an id");
    return dir_check(repository, err);
}

bool dir_iso_store(const Repository *repository, Iso *iso, const char *work_folder, Error *err) {
    uint64_t occupied_bytes = 0;
    struct stat status;
    if (!iso_check(repository, iso, err))
        return false;
    g_autofree char *path = repository_iso_path(repository, iso->id);
    if (!move_in(work_folder, "iso", path, &occupied_bytes, err))
        return false;
    if (stat(path, &status) < 0)
        return error_set_errno(err, errno, "reading %s", path);
    iso_set_size(iso, (uint64_t)status.st_size);
    g_autofree char *note = iso_note_path(repository, iso);
    return definition_write(note, &iso_type, iso, err);
}

bool dir_iso_read(const Repository *repository, const char *iso_id, Iso *ret_iso, Error *err) {
    const Iso iso = {.id = (char *)iso_id};
    g_autofree char *note = iso_note_path(repository, &iso);
    return dir_check(repository, err) && definition_read(note, &iso_type, ret_iso, err);
}

bool dir_iso_delete(const Repository *repository, const Iso *iso, Error *err) {
    if (!iso_check(repository, iso, err) || !check_no_vm_needs(repository, NULL, iso, err))
        return false;
    g_autofree char *note = iso_note_path(repository, iso);
    g_autofree char *path = repository_iso_path(repository, iso->id);
    if ((unlink(path) < 0 && errno != ENOENT) || (unlink(note) < 0 && errno != ENOENT))
        return error_set_errno(err, errno, "removing %s", path);
    return dir_sync_parent(path, err);
}
