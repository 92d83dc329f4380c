/* The parts of the kind `dir`. Private to src/storage; contracts as in repository-kind.h. */
#pragma once
#include "storage/repository-kind.h"

/* That the folder is this very repository (nothing is written into a mount point whose file system is
 * missing) and that nobody but the agent's user can lead out of it (dir-trust.h). */
bool dir_check(const Repository *repository, Error *err);
/* Moves a file or folder into a folder of the trash, for good also after a power cut; a missing one is no
 * error.
 */
bool dir_move_to_trash(const char *path, const char *trash, Error *err);
/* Makes the end of a file durable that was removed or moved away; the file need not be there. */
bool dir_sync_parent(const char *path, Error *err);
/* A new folder trash/<time>-<id>. */
bool dir_trash_make(const Repository *repository, const char *id, char **ret_path, Error *err);

bool dir_trash_bound(
    const Repository *repository, int64_t oldest_ns, uint64_t most_bytes, int64_t now_ns, Error *err);

bool dir_vm_create(const AgentVm *request, Vm *vm, const Cancel *cancel, Error *err);
bool dir_vm_prepare(const Repository *repository, Vm *vm, int flags, Error *err);
bool dir_disk_discard(const Repository *repository, const char *vm_id, const char *disk_id, Error *err);
bool dir_vm_write(const Repository *repository, Vm *vm, const char *definition, Error *err);
bool dir_vm_read(const Repository *repository, const char *vm_id, Vm *ret_vm, Error *err);
bool dir_vm_adopt(const Repository *repository, const Vm *vm, const char *original, Error *err);
bool dir_vm_delete(const Repository *repository, const char *vm_id, bool purge, Error *err);
bool dir_template_store(
    const Repository *repository, Template *definition, const char *work_folder, Error *err);
bool dir_template_from_vm(const AgentTemplateFromVm *request, Template *definition, const Cancel *cancel,
    CloneMethod *ret_method, Error *err);
bool dir_template_write(const Repository *repository, const Template *definition, Error *err);
bool dir_template_read(
    const Repository *repository, const char *template_id, Template *ret_template, Error *err);
bool dir_template_delete(const Repository *repository, const Template *definition, Error *err);
bool dir_iso_store(const Repository *repository, Iso *iso, const char *work_folder, Error *err);
bool dir_iso_read(const Repository *repository, const char *iso_id, Iso *ret_iso, Error *err);
bool dir_iso_delete(const Repository *repository, const Iso *iso, Error *err);
bool dir_scan(const Repository *repository, AgentRepositoryContent *ret_content, Error *err);
/* Kernels of a template that lies elsewhere go to the trash folder when no VM here is started with them. */
bool dir_boot_files_leave(
    const Repository *repository, const char *template_id, const char *trash, Error *err);
