/* What the driver needs of a VM. */
#include "agent/vm-plan.h"
#include <string.h>
#include <unistd.h>
#include "storage/outside-disk.h"
#include "storage/repository-kind.h"

void vm_plan_clear(VmPlan *plan) {
    vm_clear(&plan->definition);
    g_clear_pointer(&plan->disks, g_free);
    g_clear_pointer(&plan->nics, g_free);
    g_clear_pointer(&plan->texts, g_ptr_array_unref);
}

static const char *keep(VmPlan *plan, char *take_text) {
    g_ptr_array_add(plan->texts, take_text);
    return take_text;
}

static bool is_named(const char *reference, const char *id, const char *name) {
    return g_strcmp0(reference, id) == 0 || g_strcmp0(reference, name) == 0;
}

static const Iso *find_iso(const VmPlanSource *source, const char *reference) {
    for (size_t i = 0; i < source->n_isos; i++)
        if (is_named(reference, source->isos[i].id, source->isos[i].name))
            return &source->isos[i];
    return NULL;
}

static bool plan_cd(const VmPlanSource *source, VmPlan *plan, size_t index, Error *err) {
    const Disk *disk = &plan->definition.disks.items[index];
    if (!disk_has(disk, DISK_FIELD_IMAGE))
        return true;
    const Iso *iso = find_iso(source, disk->image);
    if (!iso || !iso->id) {
        g_autofree char *field = g_strdup_printf("/vm/disks/%zu/image", index);
        return error_set(err, ERROR_NOT_FOUND, field, "there is no ISO %s", disk->image);
    }
    plan->disks[index].path = keep(plan, repository_iso_path(source->repository, iso->id));
    return true;
}

/* The hypervisor never hears of disks that are only kept. */
static void drop_detached(Vm *vm) {
    size_t n = 0;
    for (size_t i = 0; i < vm->disks.n; i++) {
        if (vm->disks.items[i].detached)
            disk_clear(&vm->disks.items[i]);
        else
            vm->disks.items[n++] = vm->disks.items[i];
    }
    vm->disks.n = n;
}

/* The whole chain: a template that was made from a VM may lie on that VM's template. */
static bool plan_backing(const VmPlanSource *source, VmPlan *plan, HypervisorDisk *disk, Error *err) {
    g_auto(RepositoryBacking) below = {0};
    const char *id = disk->disk->id;
    DiskFormat format = disk->disk->format;
    for (;;) {
        g_auto(RepositoryBacking) next = {0};
        if (!repository_backing(source->repository, id, format, &next, err))
            return false;
        if (!next.path)
            return true;
        if (disk->n_backing == HYPERVISOR_BACKING_MAX)
            return error_set(err, ERROR_UNSUPPORTED, NULL, "the disk %s lies on more than %d others",
                disk->disk->id, HYPERVISOR_BACKING_MAX);
        repository_backing_clear(&below);
        below = next;
        next = (RepositoryBacking){0};
        disk->backing[disk->n_backing++] =
            (HypervisorBacking){keep(plan, g_strdup(below.path)), below.format};
        id = below.disk_id;
        format = below.format;
    }
}

static bool plan_disks(const VmPlanSource *source, VmPlan *plan, Error *err) {
    Vm *vm = &plan->definition;
    drop_detached(vm);
    plan->disks = g_new0(HypervisorDisk, vm->disks.n + 1);
    for (size_t i = 0; i < vm->disks.n; i++) {
        const Disk *disk = &vm->disks.items[i];
        plan->disks[i].disk = disk;
        if (disk->kind == DISK_KIND_CD) {
            if (!plan_cd(source, plan, i, err))
                return false;
            continue;
        }
        if (!disk_has(disk, DISK_FIELD_ID)) {
            g_autofree char *field = g_strdup_printf("/vm/disks/%zu/id", i);
            return error_set(err, ERROR_INVALID, field, "a disk needs an id");
        }
        if (disk->path && !outside_disk_check(disk->path, err)) {
            g_autofree char *field = g_strdup_printf("/vm/disks/%zu", i);
            return err ? error_prefix_field(err, field) : false;
        }
        plan->disks[i].path = keep(plan, repository_disk_path(source->repository, disk));
        if (!plan_backing(source, plan, &plan->disks[i], err))
            return false;
    }
    plan->vm.disks = plan->disks;
    plan->vm.n_disks = vm->disks.n;
    plan->vm.shares_files = source->repository->kind == REPOSITORY_KIND_SHARED;
    return true;
}

static bool plan_nics(const VmPlanSource *source, VmPlan *plan, Error *err) {
    Vm *vm = &plan->definition;
    plan->nics = g_new0(HypervisorNic, vm->nics.n + 1);
    for (size_t i = 0; i < vm->nics.n; i++) {
        plan->nics[i].nic = &vm->nics.items[i];
        for (size_t n = 0; n < source->n_networks; n++)
            if (is_named(vm->nics.items[i].network, source->networks[n].id, source->networks[n].name))
                plan->nics[i].network = &source->networks[n];
        if (!plan->nics[i].network) {
            g_autofree char *field = g_strdup_printf("/vm/nics/%zu/network", i);
            return error_set(err, ERROR_NOT_FOUND, field, "the call names no such network");
        }
    }
    plan->vm.nics = plan->nics;
    plan->vm.n_nics = vm->nics.n;
    return true;
}

static bool plan_boot(const VmPlanSource *source, VmPlan *plan, Error *err) {
    const Vm *vm = &plan->definition;
    const DirectBoot *boot = &vm->direct_boot;
    if (!vm_has(vm, VM_FIELD_DIRECT_BOOT))
        return true;
    bool has_initrd = direct_boot_has(boot, DIRECT_BOOT_FIELD_INITRD);
    if (!repository_check_file_name(boot->kernel, "/vm/direct_boot", err) ||
        (has_initrd && !repository_check_file_name(boot->initrd, "/vm/direct_boot", err)))
        return false;
    const Repository *home = source->template_repository ? source->template_repository : source->repository;
    plan->vm.kernel_path = keep(plan, repository_template_file_path(home, boot->template, boot->kernel));
    if (has_initrd)
        plan->vm.initrd_path = keep(plan, repository_template_file_path(home, boot->template, boot->initrd));
    plan->vm.command_line =
        keep(plan, g_strdup_printf("%s%slodge.hostname=%s%s%s", boot->command_line ? boot->command_line : "",
                       boot->command_line ? " " : "", vm->name, vm->kernel_arguments ? " " : "",
                       vm->kernel_arguments ? vm->kernel_arguments : ""));
    return true;
}

static void plan_seed(const VmPlanSource *source, VmPlan *plan) {
    const Vm *vm = &plan->definition;
    if (!vm_has(vm, VM_FIELD_CLOUD_INIT) || !vm->cloud_init.enabled)
        return;
    const char *path = keep(plan, repository_seed_path(source->repository, vm->id));
    if (access(path, R_OK) == 0)
        plan->vm.seed_path = path;
}

const char *vm_plan_seed_path(VmPlan *plan, const Repository *repository) {
    return keep(plan, repository_seed_path(repository, plan->definition.id));
}

bool vm_plan_make(const VmPlanSource *source, VmPlan *ret_plan, Error *err) {
    *ret_plan = (VmPlan){.texts = g_ptr_array_new_with_free_func(g_free)};
    if (!vm_has(source->vm, VM_FIELD_ID) || !vm_has(source->vm, VM_FIELD_NAME))
        return error_set(err, ERROR_INVALID, "/vm/id", "a VM needs an id and a name");
    vm_copy(&ret_plan->definition, source->vm);
    model_apply_defaults(&vm_type, &ret_plan->definition);
    ret_plan->vm =
        (HypervisorVm){.vm = &ret_plan->definition, .acceleration = source->acceleration, .cpu = source->cpu};
    if (!plan_disks(source, ret_plan, err) || !plan_nics(source, ret_plan, err) ||
        !plan_boot(source, ret_plan, err))
        return false;
    plan_seed(source, ret_plan);
    return true;
}
