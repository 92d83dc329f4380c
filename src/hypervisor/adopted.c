/* The mark holds the path of the other tool's UEFI variables, or nothing. */
#include "hypervisor/adopted.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "hypervisor/device-change.h"
#include "hypervisor/restart.h"

enum { MARK_LIMIT = 4096, NVRAM_LIMIT = 64 << 20 };

static char *path_of(const char *folder, const char *vm_id, const char *ending) {
    return g_strdup_printf("%s/%s.%s", folder, vm_id, ending);
}

bool adopted_mark_set(const char *folder, const char *vm_id, const char *nvram, Error *err) {
    g_autofree char *path = path_of(folder, vm_id, "adopted");
    const char *text = nvram ? nvram : "";
    return file_replace(path, text, strlen(text), 0600, err);
}

void adopted_mark_clear(const char *folder, const char *vm_id) {
    g_autofree char *path = path_of(folder, vm_id, "adopted");
    unlink(path);
}

bool adopted_mark_has(const char *folder, const char *vm_id) {
    g_autofree char *path = path_of(folder, vm_id, "adopted");
    return access(path, F_OK) == 0;
}

bool adopted_nvram_take(const char *folder, const char *vm_id, const char *nvram, Error *err) {
    g_autofree char *path = path_of(folder, vm_id, "nvram");
    g_autofree char *data = NULL;
    size_t length = 0;
    if (access(path, F_OK) == 0)
        return true;
    return (file_read(nvram, NVRAM_LIMIT, &data, &length, err) &&
               file_replace(path, data, length, 0600, err)) ||
           error_wrap(err, ERROR_NONE, "the UEFI variables of the adopted VM");
}

bool adopted_settle(const char *folder, const char *vm_id, Error *err) {
    g_autofree char *path = path_of(folder, vm_id, "adopted");
    g_autofree char *nvram = NULL;
    g_auto(Error) missing = {0};
    if (!file_read(path, MARK_LIMIT, &nvram, NULL, &missing)) {
        if (missing.code == ERROR_NOT_FOUND)
            return true;
        error_move(err, &missing);
        return false;
    }
    if (*nvram && !adopted_nvram_take(folder, vm_id, nvram, err))
        return false;
    return unlink(path) == 0 || errno == ENOENT || error_set_errno(err, errno, "removing %s", path);
}

static void add_pending(AgentVmChanged *changed, const char *pointer) {
    for (size_t i = 0; i < changed->pending.n; i++)
        if (!strcmp(changed->pending.items[i], pointer))
            return;
    agent_vm_changed_add_pending(changed, pointer);
}

static bool note_changes(const GArray *changes, const char *pointer, AgentVmChanged *changed, Error *err) {
    for (guint i = 0; i < changes->len; i++) {
        if (g_array_index(changes, DeviceChange, i).kind == DEVICE_DETACH)
            return adopted_refuse("takes nothing away", err);
        add_pending(changed, pointer);
    }
    return true;
}

bool adopted_update(const Vm *running, const Vm *wanted, AgentVmChanged *changed, Error *err) {
    g_autoptr(GArray) disks = disk_changes(running, wanted), nics = nic_changes(running, wanted);
    restart_pending(running, wanted, changed);
    if (running->vcpus != wanted->vcpus)
        add_pending(changed, "/vcpus");
    if (running->memory != wanted->memory)
        add_pending(changed, "/memory");
    return note_changes(disks, "/disks", changed, err) && note_changes(nics, "/nics", changed, err);
}

bool adopted_refuse(const char *what, Error *err) {
    return error_set(err, ERROR_WRONG_STATE, NULL,
        "the VM still runs as the tool that made it has defined it, and Lodge %s until it was stopped and "
        "started once",
        what);
}
