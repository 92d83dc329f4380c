/* The repository kinds `dir`, a folder on any file system of one host, and `shared`, one that several see. */
#include "storage/dir.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"
#include "storage/definition.h"
#include "storage/dir-trust.h"
#include "storage/disk-file.h"

#define DESCRIPTION_FILE "lodge-repository.json"

/* The hypervisor's user walks through these to the disks, but cannot list them. */
static const struct {
    const char *name;
    mode_t mode;
} folders[] = {{"vms", 0711}, {"templates", 0711}, {"disks", 0711}, {"isos", 0711}, {"trash", 0700},
    {"secrets", 0700}, {"work", 0700}, {"assemblies", 0700}};

static char *description_path(const Repository *repository) {
    return g_build_filename(repository->path, DESCRIPTION_FILE, NULL);
}

static bool check_id(const Repository *repository, const Repository *found, Error *err) {
    if (!repository->id || g_strcmp0(found->id, repository->id) != 0)
        return error_set(err, ERROR_NOT_OWNER, "/repository/path", "%s is another repository (%s, id %s)",
            repository->path, found->name ? found->name : "no name", found->id ? found->id : "none");
    return true;
}

static bool check_trust(const Repository *repository, Error *err) {
    fd_auto int fd = -1;
    if (!trusted_folder_open(repository->path, false, &fd, err))
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(folders); i++) {
        fd_auto int inner = -1; /* one that a newer version added may be missing */
        if (!trusted_subfolder_open(fd, repository->path, folders[i].name, &inner, err))
            return false;
    }
    return true;
}

bool dir_check(const Repository *repository, Error *err) {
    g_autofree char *path = description_path(repository);
    g_auto(Repository) found = {0};
    if (!check_trust(repository, err) || !definition_read(path, &repository_type, &found, err))
        return error_wrap(err, ERROR_NONE, "%s is no usable repository", repository->path);
    return check_id(repository, &found, err);
}

/* What an interrupted write of the description left, and what mkfs makes, may lie there. */
static bool check_empty(const char *path, Error *err) {
    g_autoptr(GPtrArray) names = NULL;
    if (!folder_list(path, &names, err))
        return false;
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        if (strcmp(name, "lost+found") != 0 && !g_str_has_prefix(name, DESCRIPTION_FILE ".tmp-"))
            return error_set(err, ERROR_EXISTS, "/repository/path",
                "%s is neither empty nor a repository (it holds %s)", path, name);
    }
    return true;
}

static bool describe(const Repository *repository, Error *err) {
    g_autofree char *path = description_path(repository);
    g_auto(Repository) found = {0};
    g_auto(Error) missing = {0};
    if (definition_read(path, &repository_type, &found, &missing))
        return check_id(repository, &found, err);
    if (missing.code != ERROR_NOT_FOUND) {
        error_move(err, &missing);
        return false;
    }
    return check_empty(repository->path, err) && definition_write(path, &repository_type, repository, err);
}

static bool make_folders(const Repository *repository, int fd, Error *err) {
    for (size_t i = 0; i < G_N_ELEMENTS(folders); i++) {
        const char *name = folders[i].name;
        fd_auto int inner = -1;
        if (mkdirat(fd, name, folders[i].mode) < 0 && errno != EEXIST)
            return error_set_errno(err, errno, "making the folder %s/%s", repository->path, name);
        if (!trusted_subfolder_open(fd, repository->path, name, &inner, err))
            return false;
        if (fchmodat(fd, name, folders[i].mode, 0) < 0)
            return error_set_errno(err, errno, "opening %s/%s for the hypervisor", repository->path, name);
    }
    return true;
}

static const char *file_system_name(const struct statfs *info) {
    static const struct {
        unsigned long magic;
        const char *name;
    } names[] = {{EXT4_SUPER_MAGIC, "ext4"}, {XFS_SUPER_MAGIC, "xfs"}, {BTRFS_SUPER_MAGIC, "btrfs"},
        {TMPFS_MAGIC, "tmpfs"}, {OVERLAYFS_SUPER_MAGIC, "overlay"}, {NFS_SUPER_MAGIC, "nfs"},
        {OCFS2_SUPER_MAGIC, "ocfs2"}};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (names[i].magic == (unsigned long)info->f_type)
            return names[i].name;
    return NULL;
}

static void dir_probe(Repository *repository) {
    RepositoryStatus *status = repository_put_status(repository);
    repository_status_clear(status);
    g_auto(Error) err = {0};
    struct statfs info;
    bool is_usable = dir_check(repository, &err);
    if (is_usable && statfs(repository->path, &info) < 0)
        is_usable = error_set_errno(&err, errno, "asking for the free space of %s", repository->path);
    repository_status_set_state(status, is_usable ? REPOSITORY_STATE_READY : REPOSITORY_STATE_FAILED);
    if (!is_usable) {
        g_autofree char *reason = error_text(&err);
        repository_status_set_reason(status, reason);
        return;
    }
    repository_status_set_size(status, (uint64_t)info.f_blocks * (uint64_t)info.f_frsize);
    repository_status_set_free(status, (uint64_t)info.f_bavail * (uint64_t)info.f_frsize);
    repository_status_set_file_system(status, file_system_name(&info));
    g_autofree char *work = g_build_filename(repository->path, "work", NULL);
    repository_status_set_reflink(status, folder_can_reflink(work));
}

static bool dir_open(Repository *repository, Error *err) {
    if (!repository_has(repository, REPOSITORY_FIELD_ID))
        return error_set(err, ERROR_INVALID, "/repository/id", "a repository needs an id");
    fd_auto int fd = -1;
    if (!trusted_folder_open(repository->path, true, &fd, err) || !describe(repository, err) ||
        !make_folders(repository, fd, err))
        return false;
    dir_probe(repository);
    return true;
}

static bool dir_work_folder(
    const Repository *repository, const char *operation, char **ret_path, Error *err) {
    if (!dir_check(repository, err))
        return false;
    /* The operation's name may hold any character. */
    g_autofree char *name = g_compute_checksum_for_string(G_CHECKSUM_SHA256, operation, -1);
    name[32] = '\0';
    g_autofree char *path = g_build_filename(repository->path, "work", name, NULL);
    if (!tree_remove(path, err) || !folder_make(path, 0700, err))
        return false;
    *ret_path = g_steal_pointer(&path);
    return true;
}

static bool dir_assembly_folder(
    const Repository *repository, const char *upload_id, char **ret_path, Error *err) {
    g_autofree char *path = g_build_filename(repository->path, "assemblies", upload_id, NULL);
    if (!dir_check(repository, err))
        return false;
    *ret_path = g_steal_pointer(&path);
    return true;
}

static bool dir_assemblies_sweep(const Repository *repository, int64_t age_s, Error *err) {
    g_autofree char *folder = g_build_filename(repository->path, "assemblies", NULL);
    g_autoptr(GPtrArray) names = NULL;
    int64_t oldest_s = clock_realtime_ns(clock_system()) / NS_PER_S - age_s;
    if (access(folder, F_OK) < 0) /* made by an older version */
        return true;
    if (!dir_check(repository, err) || !folder_list(folder, &names, err))
        return false;
    for (guint i = 0; i < names->len; i++) {
        g_autofree char *path = g_build_filename(folder, g_ptr_array_index(names, i), NULL);
        g_autofree char *data = g_build_filename(path, ASSEMBLY_FILE, NULL);
        struct stat status;
        if (stat(data, &status) < 0 && stat(path, &status) < 0)
            continue;
        if (status.st_mtim.tv_sec < oldest_s && !tree_remove(path, err))
            return false;
    }
    return true;
}

bool dir_trash_make(const Repository *repository, const char *id, char **ret_path, Error *err) {
    g_autofree char *time = time_to_text(clock_realtime_ns(clock_system()));
    g_autofree char *path = g_strdup_printf("%s/trash/%s-%s", repository->path, time, id);
    if (!folder_make(path, 0700, err) || !dir_sync_parent(path, err))
        return false;
    *ret_path = g_steal_pointer(&path);
    return true;
}

bool dir_sync_parent(const char *path, Error *err) {
    g_autofree char *folder = g_path_get_dirname(path);
    return folder_sync(folder, err);
}

/* The new name first: a power cut in between may leave two names, never none. */
bool dir_move_to_trash(const char *path, const char *trash, Error *err) {
    g_autofree char *name = g_path_get_basename(path);
    g_autofree char *destination = g_build_filename(trash, name, NULL);
    if (rename(path, destination) < 0 && errno != ENOENT)
        return error_set_errno(err, errno, "moving %s to the trash", path);
    return folder_sync(trash, err) && dir_sync_parent(path, err);
}

const RepositoryKindOps repository_dir = {
    .name = "dir",
    .open = dir_open,
    .check = dir_check,
    .probe = dir_probe,
    .scan = dir_scan,
    .vm_create = dir_vm_create,
    .vm_prepare = dir_vm_prepare,
    .vm_write = dir_vm_write,
    .disk_discard = dir_disk_discard,
    .vm_read = dir_vm_read,
    .vm_adopt = dir_vm_adopt,
    .vm_delete = dir_vm_delete,
    .template_store = dir_template_store,
    .template_from_vm = dir_template_from_vm,
    .template_write = dir_template_write,
    .template_read = dir_template_read,
    .template_delete = dir_template_delete,
    .work_folder = dir_work_folder,
    .assembly_folder = dir_assembly_folder,
    .assemblies_sweep = dir_assemblies_sweep,
    .iso_read = dir_iso_read,
    .trash_bound = dir_trash_bound,
    .iso_store = dir_iso_store,
    .iso_delete = dir_iso_delete,
};
