/*
 * VMs that other tools made: told of with what stands against adopting them, and taken over. First vm.json is
 * durable, then the other tool forgets the VM: at no moment nobody knows it, and until the second is done
 * Lodge cannot start it.
 */
#include <stdlib.h>
#include <string.h>
#include "agent/agent-private.h"
#include "rpc/rpc-frame.h"
#include "storage/outside-disk.h"
#include "storage/repository-kind.h"

enum { PAGE_BYTES = RPC_MAX_FRAME / 2, LINE_BYTES = 500, MOST_LINES = 64 };

/* ---- what the hypervisor does not know: the disks' files ---- */

static void add_obstacle(ForeignVm *vm, const char *text) {
    g_autofree char *line = g_utf8_make_valid(text, -1);
    if (strlen(line) > LINE_BYTES)
        *g_utf8_find_prev_char(line, line + LINE_BYTES) = '\0';
    if (vm->obstacles.n < MOST_LINES)
        foreign_vm_add_obstacles(vm, line);
}

/* Beside the folder "disks" of a repository: it belongs to a VM or a template there. */
static bool lies_in_repository(const char *path) {
    g_autofree char *folder = g_path_get_dirname(path), *above = g_path_get_dirname(folder);
    g_autofree char *mark = g_build_filename(above, "lodge-repository.json", NULL);
    return g_file_test(mark, G_FILE_TEST_EXISTS);
}

/* A file has one name, so that nobody adopts it under two; a device's may be another one after a start. */
static void settle_path(Disk *disk) {
    char *real = realpath(disk->path, NULL);
    if (real && !g_str_has_prefix(real, "/dev/"))
        disk_set_path(disk, real);
    free(real);
}

static void look_at_disk(ForeignVm *vm, Disk *disk) {
    OutsideDisk found;
    g_auto(Error) err = {0};
    if (!disk->path)
        return;
    settle_path(disk);
    if (lies_in_repository(disk->path)) {
        g_autofree char *text = g_strdup_printf("%s lies in a repository of Lodge", disk->path);
        add_obstacle(vm, text);
    } else if (!outside_disk_look(disk->path, disk->format, &found, &err)) {
        g_autofree char *text = error_text(&err);
        add_obstacle(vm, text);
    } else if (found.size_bytes < 512) {
        add_obstacle(vm, "one of its disks is empty");
    } else {
        disk_set_size(disk, found.size_bytes);
    }
}

static void look_at_disks(ForeignVm *vm) {
    for (size_t i = 0; i < vm->disks.n; i++)
        look_at_disk(vm, &vm->disks.items[i]);
}

/* ---- vm.foreign ---- */

static int compare_ids(const void *a, const void *b) {
    return g_strcmp0(((const ForeignVm *)a)->id, ((const ForeignVm *)b)->id);
}

static size_t encoded_bytes(const ForeignVm *vm) {
    g_autoptr(json_t) json = foreign_vm_encode(vm, MODEL_ENCODE_ALL);
    return json_dumpb(json, NULL, 0, JSON_COMPACT) + 1;
}

/* All are read for each page: there are few, and people ask for them now and then. */
bool handle_vm_foreign(AgentCall *call, Error *err) {
    const char *after = ((const AgentForeignAsk *)call->parameters)->after;
    const Hypervisor *driver = call->agent->driver;
    AgentForeignList *page = call->result;
    g_auto(AgentForeignList) all = {0};
    const ForeignVm *last = NULL;
    size_t bytes = 0;
    if (!driver->foreign)
        return error_set(err, ERROR_UNSUPPORTED, NULL, "the driver %s knows no other tool", driver->name);
    if (!driver->foreign(call->agent->session, &all, err))
        return false;
    if (all.vms.n > 0)
        qsort(all.vms.items, all.vms.n, sizeof(ForeignVm), compare_ids);
    for (size_t i = 0; i < all.vms.n; i++) {
        ForeignVm *vm = &all.vms.items[i];
        if (!vm->id || (after && strcmp(vm->id, after) <= 0))
            continue;
        look_at_disks(vm);
        bytes += encoded_bytes(vm);
        if (last && bytes > PAGE_BYTES) {
            agent_foreign_list_set_next(page, last->id);
            return true;
        }
        foreign_vm_copy(agent_foreign_list_add_vms(page), vm);
        last = vm;
    }
    return true;
}

/* ---- vm.adopt ---- */

static bool is_other(const char *what, Error *err) {
    return error_set(err, ERROR_CONFLICT, NULL,
        "the VM has been changed by another tool meanwhile (%s); look again (host vms) and repeat", what);
}

static bool same_disks(const ForeignVm *found, const Vm *vm) {
    bool is_same = found->disks.n == vm->disks.n;
    for (size_t i = 0; is_same && i < vm->disks.n; i++) {
        const Disk *there = &found->disks.items[i], *here = &vm->disks.items[i];
        is_same = g_strcmp0(there->path, here->path) == 0 && there->kind == here->kind &&
                  there->format == here->format && there->bus == here->bus;
    }
    return is_same;
}

static bool same_nics(const ForeignVm *found, const Vm *vm) {
    bool is_same = found->nics.n == vm->nics.n;
    for (size_t i = 0; is_same && i < vm->nics.n; i++)
        is_same = g_strcmp0(found->nics.items[i].mac, vm->nics.items[i].mac) == 0;
    return is_same;
}

static bool check_is_as_told(const ForeignVm *found, const Vm *vm, Error *err) {
    if (found->obstacles.n > 0)
        return error_set(
            err, ERROR_UNSUPPORTED, NULL, "%s cannot be adopted: %s", found->name, found->obstacles.items[0]);
    if (found->vcpus != vm->vcpus)
        return is_other("vCPUs", err);
    if (found->memory != vm->memory)
        return is_other("memory", err);
    if (found->firmware != vm->firmware)
        return is_other("firmware", err);
    if (!same_disks(found, vm))
        return is_other("disks", err);
    return same_nics(found, vm) || is_other("NICs", err);
}

/* Taken before, and only the answer was lost. */
static bool was_adopted(const RepositoryKindOps *kind, const AgentVm *request, const char *host_id) {
    g_auto(Vm) kept = {0};
    return kind->vm_read(&request->repository, request->vm.id, &kept, NULL) &&
           g_strcmp0(kept.host, host_id) == 0;
}

/* Whoever asks hears why it failed; what stays of it would be debris that a scan shows. */
static void take_back(const AgentCall *call, const RepositoryKindOps *kind, const AgentVm *request) {
    g_auto(ForeignVm) found = {0};
    g_autofree char *text = NULL;
    if (call->agent->driver->foreign_read(call->agent->session, request->vm.id, &found, &text, NULL))
        kind->vm_delete(&request->repository, request->vm.id, true, NULL);
}

static bool adopt(const AgentCall *call, const RepositoryKindOps *kind, const AgentVm *request, Error *err) {
    const Hypervisor *driver = call->agent->driver;
    g_auto(ForeignVm) found = {0};
    g_autofree char *text = NULL;
    g_auto(Error) missing = {0};
    if (!driver->foreign_read(call->agent->session, request->vm.id, &found, &text, &missing)) {
        if (missing.code == ERROR_NOT_FOUND && was_adopted(kind, request, call->agent->host_id))
            return driver->adopt(call->agent->session, &request->vm, err);
        error_move(err, &missing);
        return false;
    }
    look_at_disks(&found);
    if (!check_is_as_told(&found, &request->vm, err) ||
        !kind->vm_adopt(&request->repository, &request->vm, text, err))
        return false;
    if (driver->adopt(call->agent->session, &request->vm, err))
        return true;
    take_back(call, kind, request);
    return false;
}

bool handle_vm_adopt(AgentCall *call, Error *err) {
    const AgentVm *request = call->parameters;
    const RepositoryKindOps *kind = repository_kind_of(&request->repository, err);
    if (!kind)
        return false;
    if (!call->agent->driver->adopt)
        return error_set(
            err, ERROR_UNSUPPORTED, NULL, "the driver %s cannot adopt VMs", call->agent->driver->name);
    return adopt(call, kind, request, err) && agent_vm_state(call->agent, request->vm.id, call->result, err);
}
