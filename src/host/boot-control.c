/* One file of two lines; the second one is what counts, for GRUB and for us. */
#include "host/boot-control.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/process.h"

#define VARIABLE "GRUB_CMDLINE_XEN_DEFAULT"

enum { FILE_LIMIT = 4096, TOOL_TIMEOUT_MS = 300000 };

static const uint64_t mib = 1 << 20;
static const uint64_t rounding = UINT64_C(64) << 20; /* page tables and the like come off */

static char *file_path(const BootControl *place) {
    return g_strdup_printf("%s/etc/default/grub.d/%s-control.cfg", place->root, place->instance);
}

static char *file_text(const HostControl *wanted) {
    GString *text = g_string_new("# Written by lodge-agent from the host's definition (lodge host update "
                                 "--control); changes are overwritten.\n" VARIABLE "=\"$" VARIABLE);
    if (host_control_has(wanted, HOST_CONTROL_FIELD_MEMORY))
        g_string_append_printf(
            text, " dom0_mem=%" PRIu64 "M,max:%" PRIu64 "M", wanted->memory / mib, wanted->memory / mib);
    if (host_control_has(wanted, HOST_CONTROL_FIELD_VCPUS))
        g_string_append_printf(text, " dom0_max_vcpus=%" PRId64, wanted->vcpus);
    g_string_append(text, "\"\n");
    return g_string_free(text, FALSE);
}

static bool update_loader(const BootControl *place, Error *err) {
    g_autofree char *tool = g_strdup_printf("%s/usr/sbin/update-grub", place->root);
    const char *const argv[] = {tool, NULL};
    if (access(tool, X_OK) != 0)
        return error_set(err, ERROR_TOOL_FAILED, "/control",
            "update-grub is not there: give the hypervisor these arguments in the boot loader's own way");
    return process_run(&(ProcessSpec){.argv = argv, .timeout_ms = TOOL_TIMEOUT_MS}, NULL, err);
}

bool boot_control_write(const BootControl *place, const HostControl *wanted, Error *err) {
    g_autofree char *path = file_path(place), *folder = g_path_get_dirname(path), *before = NULL;
    bool is_there = file_read(path, FILE_LIMIT, &before, NULL, NULL);
    if (!wanted || !wanted->present) {
        if (unlink(path) < 0 && errno != ENOENT)
            return error_set_errno(err, errno, "%s", path);
        return !is_there || update_loader(place, err);
    }
    g_autofree char *text = file_text(wanted);
    if (is_there && !strcmp(before, text))
        return true;
    return folder_make(folder, 0755, err) && file_replace(path, text, strlen(text), 0644, err) &&
           update_loader(place, err);
}

bool boot_control_read(const BootControl *place, HostControl *ret_wanted) {
    g_autofree char *path = file_path(place), *text = NULL;
    uint64_t memory = 0;
    int64_t vcpus = 0;
    if (!file_read(path, FILE_LIMIT, &text, NULL, NULL))
        return false;
    const char *memory_at = strstr(text, " dom0_mem="), *vcpus_at = strstr(text, " dom0_max_vcpus=");
    if (memory_at && sscanf(memory_at, " dom0_mem=%" SCNu64 "M", &memory) == 1)
        host_control_set_memory(ret_wanted, memory * mib);
    if (vcpus_at && sscanf(vcpus_at, " dom0_max_vcpus=%" SCNd64, &vcpus) == 1)
        host_control_set_vcpus(ret_wanted, vcpus);
    return true;
}

bool boot_control_is_met(const HostControl *wanted, uint64_t memory_now, int64_t cpus_now) {
    uint64_t wanted_memory =
        host_control_has(wanted, HOST_CONTROL_FIELD_MEMORY) ? wanted->memory : memory_now;
    uint64_t difference = MAX(wanted_memory, memory_now) - MIN(wanted_memory, memory_now);
    return difference <= rounding &&
           (!host_control_has(wanted, HOST_CONTROL_FIELD_VCPUS) || wanted->vcpus == cpus_now);
}
