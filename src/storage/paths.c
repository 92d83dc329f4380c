/* Where things lie inside a repository: docs/repository-format.md. */
#include <string.h>
#include <unistd.h>
#include "storage/definition.h"
#include "storage/repository-kind.h"

static char *disk_file_path(const Repository *repository, const char *id, DiskFormat format) {
    return g_strdup_printf(
        "%s/disks/%s.%s", repository->path, id, format == DISK_FORMAT_QCOW2 ? "qcow2" : "raw");
}

bool repository_check_file_name(const char *name, const char *field, Error *err) {
    if (!name || !name[0] || name[0] == '.' || strchr(name, '/'))
        return error_set(err, ERROR_INVALID, field, "a file name without folder is needed");
    return true;
}

char *repository_disk_path(const Repository *repository, const Disk *disk) {
    return disk->path ? g_strdup(disk->path) : disk_file_path(repository, disk->id, disk->format);
}

bool repository_backing(const Repository *repository, const char *disk_id, DiskFormat format,
    RepositoryBacking *ret_backing, Error *err) {
    static const DiskFormat formats[] = {DISK_FORMAT_RAW, DISK_FORMAT_QCOW2};
    g_auto(DiskNote) note = {0};
    *ret_backing = (RepositoryBacking){0};
    if (format != DISK_FORMAT_QCOW2)
        return true;
    if (!disk_note_read_any(repository, disk_id, &note, err))
        return false;
    if (!note.backing)
        return true;
    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        g_autofree char *path = disk_file_path(repository, note.backing, formats[i]);
        if (access(path, F_OK) != 0)
            continue;
        *ret_backing = (RepositoryBacking){g_strdup(note.backing), g_steal_pointer(&path), formats[i]};
        return true;
    }
    return error_set(err, ERROR_NOT_FOUND, NULL, "the disk %s lies on the disk %s, which is not there",
        disk_id, note.backing);
}

void repository_backing_clear(RepositoryBacking *backing) {
    g_clear_pointer(&backing->disk_id, g_free);
    g_clear_pointer(&backing->path, g_free);
}

char *repository_template_disk_path(const Repository *repository, const TemplateDisk *disk) {
    return disk_file_path(repository, disk->id, disk->format);
}

char *repository_template_file_path(const Repository *repository, const char *template_id, const char *file) {
    return g_strdup_printf("%s/templates/%s/%s", repository->path, template_id, file);
}

char *repository_memory_path(const Repository *repository, const char *vm_id) {
    return g_strdup_printf("%s/vms/%s/memory", repository->path, vm_id);
}

char *repository_seed_path(const Repository *repository, const char *vm_id) {
    return g_strdup_printf("%s/vms/%s/seed.iso", repository->path, vm_id);
}

char *repository_iso_path(const Repository *repository, const char *iso_id) {
    return g_strdup_printf("%s/isos/%s.iso", repository->path, iso_id);
}

const RepositoryKindOps *repository_kind_find(RepositoryKind kind) {
    switch (kind) {
    case REPOSITORY_KIND_DIR:
    case REPOSITORY_KIND_SHARED:
        return &repository_dir;
    default:
        return NULL;
    }
}

const RepositoryKindOps *repository_kind_of(const Repository *repository, Error *err) {
    const RepositoryKindOps *kind = repository_kind_find(repository->kind);
    if (!kind)
        error_set(
            err, ERROR_UNSUPPORTED, "/repository/kind", "this agent cannot use that kind of repository");
    return kind;
}
