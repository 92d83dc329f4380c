/* By name: how many logs were set aside is the hypervisor's setting. */
#include "hypervisor/vm-files.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

static bool is_of_vm(const char *name, const char *vm_id) {
    static const char *const endings[] = {".log", ".nvram", ".crashed", ".vnc", ".adopted"};
    if (!g_str_has_prefix(name, vm_id))
        return false;
    const char *ending = name + strlen(vm_id);
    for (size_t i = 0; i < G_N_ELEMENTS(endings); i++)
        if (!strcmp(ending, endings[i]))
            return true;
    return g_str_has_prefix(ending, ".log.");
}

bool vm_files_remove(const char *folder, const char *vm_id, Error *err) {
    g_autoptr(GError) failure = NULL;
    g_autoptr(GDir) names = g_dir_open(folder, 0, &failure);
    if (!names)
        return error_set(err, ERROR_IO, NULL, "%s", failure->message);
    for (const char *name; (name = g_dir_read_name(names));) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        if (is_of_vm(name, vm_id) && unlink(path) < 0 && errno != ENOENT)
            return error_set_errno(err, errno, "removing %s", path);
    }
    return true;
}
