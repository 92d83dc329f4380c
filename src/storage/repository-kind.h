/*
 * The repository plug point: one const struct of functions for each kind of storage (dir, shared; later nfs,
 * ocfs2…). A repository describes itself (docs/repository-format.md): whoever finds the folder can rebuild
 * everything in it. All functions block; several threads may work on different objects of one repository at
 * once. All changes can be repeated: done again after a crash they end in the same state.
 */
#pragma once
#include "base/cancel.h"
#include "types.h"

/* What arrives in an assembly's folder. Its time of change, or the folder's when it was taken away, tells
 * whether somebody still works on it. */
#define ASSEMBLY_FILE "data"

/* What a change of a VM means for its files. */
enum {
    VM_CHANGE_WHILE_IT_RUNS = 1 << 0, /* the hypervisor grows its disks, not vm_prepare */
    VM_CHANGE_DISCARDS = 1 << 1,      /* disks are discarded next */
};

typedef struct RepositoryKindOps {
    const char *name; /* RepositoryKind's name */

    /* Makes it in an empty or missing folder, or takes over one that describes itself with the same id
     * (ERROR_NOT_OWNER for another id, ERROR_NEWER_FORMAT). ERROR_INVALID when somebody who is not root could
     * change it. Fills in status. */
    bool (*open)(Repository *repository, Error *err);
    /* That it is there, is this one and nobody else can change it. All others look first too; this is for who
     * only names files of it. */
    bool (*check)(const Repository *repository, Error *err);
    /* State, size, free, reflink, file_system. Never fails: state `failed` with the reason instead. */
    void (*probe)(Repository *repository);
    /* Reads all definitions; damaged ones become debris, never an error. */
    bool (*scan)(const Repository *repository, AgentRepositoryContent *ret_content, Error *err);

    /* Makes the disks of a VM (clone from the template's or a source VM's, or empty), the cloud-init medium,
     * and last vm.json: a VM without vm.json does not exist. Sets each disk's id-named file, format, clone
     * method in *vm. ERROR_NO_SPACE before anything is written where that can be known. On failure nothing
     * stays. */
    bool (*vm_create)(const AgentVm *request, Vm *vm, const Cancel *cancel, Error *err);
    /* The first half of a change, before a running VM is changed: makes disks that are new, grows those that
     * grew, and writes a vm.json that names the new and the old disks, so that nothing is debris whatever
     * happens next. vm_write is the second half. `flags`: VM_CHANGE_…. On failure no new disk stays. A change
     * that makes no disk and discards some succeeds in a full repository too: vm.json stays as it is until
     * then. */
    bool (*vm_prepare)(const Repository *repository, Vm *vm, int flags, Error *err);
    /* Writes vm.json (and domain.xml when `definition` is given), refuses to replace a higher revision
     * (ERROR_CONFLICT); makes disks that are new (on failure they do not stay), grows disks that grew;
     * removed disks go to the trash. */
    bool (*vm_write)(const Repository *repository, Vm *vm, const char *definition, Error *err);
    /* Deletes a disk of the VM for good, without trash; one that is not there is success. */
    bool (*disk_discard)(const Repository *repository, const char *vm_id, const char *disk_id, Error *err);
    bool (*vm_read)(const Repository *repository, const char *vm_id, Vm *ret_vm, Error *err);
    /* Writes vm.json of a VM whose disks lie elsewhere (Disk.path), and before it, once, how another tool
     * defined it (`original`, or NULL). Repeated it leaves both as they are. */
    bool (*vm_adopt)(const Repository *repository, const Vm *vm, const char *original, Error *err);
    /* To the trash, or gone. A VM that is not there is success. */
    bool (*vm_delete)(const Repository *repository, const char *vm_id, bool purge, Error *err);

    /* Moves files that a build, import or copy left in `work_folder` ("disk", "kernel", "initrd") into place
     * under the template's id; last writes template.json. Sets size, built. Replaces an older build of the
     * same template. */
    bool (*template_store)(
        const Repository *repository, Template *definition, const char *work_folder, Error *err);
    bool (*template_write)(const Repository *repository, const Template *definition, Error *err);
    /* ERROR_NOT_FOUND when it does not exist (yet). */
    bool (*template_read)(
        const Repository *repository, const char *template_id, Template *ret_template, Error *err);
    bool (*template_delete)(
        const Repository *repository, const Template *definition, Error *err); /* ERROR_IN_USE by overlays */
    /* Copies the disks of a VM that does not run (reflink where the file system can), and the kernel that it
     * boots, into a template; last writes template.json. A copy of an overlay leans on the same template
     * disk. *ret_method tells how the first disk was copied. On failure nothing stays. */
    bool (*template_from_vm)(const AgentTemplateFromVm *request, Template *definition, const Cancel *cancel,
        CloneMethod *ret_method, Error *err);
    /* A folder on the repository's file system for unfinished work, named by the operation; emptied if it
     * exists. */
    bool (*work_folder)(const Repository *repository, const char *operation, char **ret_path, Error *err);
    /* A folder for what arrives piece by piece, named by an upload's id; not made here. It outlives the
     * agent and whoever sends; assemblies_sweep ends it. */
    bool (*assembly_folder)(const Repository *repository, const char *upload_id, char **ret_path, Error *err);
    /* Removes assemblies that nobody has touched for `age_s` seconds. */
    bool (*assemblies_sweep)(const Repository *repository, int64_t age_s, Error *err);
    bool (*iso_read)(const Repository *repository, const char *iso_id, Iso *ret_iso, Error *err);
    /* Removes for good what was thrown away longer ago than `oldest_ns`, then the oldest until the trash
     * occupies no more than `most_bytes`; never what is less than an hour old. */
    bool (*trash_bound)(
        const Repository *repository, int64_t oldest_ns, uint64_t most_bytes, int64_t now_ns, Error *err);
    bool (*iso_store)(
        const Repository *repository, Iso *iso, const char *work_folder, Error *err); /* file "iso" */
    bool (*iso_delete)(const Repository *repository, const Iso *iso, Error *err);
} RepositoryKindOps;

/* For `shared` too, which several hosts see: each works on the objects that its manager gives to it. */
extern const RepositoryKindOps repository_dir;
const RepositoryKindOps *repository_kind_find(RepositoryKind kind);
/* The same; NULL with ERROR_UNSUPPORTED at /repository/kind when this agent has no such kind. */
const RepositoryKindOps *repository_kind_of(const Repository *repository, Error *err);

/* A name that comes from a definition, of a file in a folder of the repository: it must not lead out of it.
 * ERROR_INVALID at `field`. */
bool repository_check_file_name(const char *name, const char *field, Error *err);

/* Paths inside a repository; newly allocated. That of an adopted VM's disk may be outside. */
char *repository_disk_path(const Repository *repository, const Disk *disk);
/* The disk that an overlay lies on: a template's, which may be an overlay itself. Owned by the caller. */
typedef struct RepositoryBacking {
    char *disk_id, *path; /* NULL: there is none */
    DiskFormat format;
} RepositoryBacking;
void repository_backing_clear(RepositoryBacking *backing);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RepositoryBacking, repository_backing_clear)
/* Reads the note of the disk; NOT_FOUND when it lies on one that is missing. */
bool repository_backing(const Repository *repository, const char *disk_id, DiskFormat format,
    RepositoryBacking *ret_backing, Error *err);
/* Writes what the guest sees of a disk that lies on others into a new file of the same format that lies on
 * none. Nobody may write to the disk meanwhile; what is left of a failure is the caller's. */
bool repository_flatten(const Repository *repository, const Disk *disk, const char *destination,
    const Cancel *cancel, Error *err);
char *repository_template_disk_path(const Repository *repository, const TemplateDisk *disk);
char *repository_template_file_path(const Repository *repository, const char *template_id, const char *file);
char *repository_seed_path(const Repository *repository, const char *vm_id);
char *repository_memory_path(const Repository *repository, const char *vm_id); /* of a saved VM */
char *repository_iso_path(const Repository *repository, const char *iso_id);
