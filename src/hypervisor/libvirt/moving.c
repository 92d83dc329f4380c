/* Marks are empty files; what lodge-migrate says is a line at a time. */
#include "hypervisor/libvirt/moving.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "base/file.h"
#include "base/process.h"
#include "hypervisor/crash-mark.h"
#include "hypervisor/libvirt/migrate-tap.h"

enum { MIB = 1024 * 1024 };

char *moving_folder(HypervisorSession *session, const char *migration_id, bool is_target G_GNUC_UNUSED) {
    return g_strdup_printf("/run/%s-migrate/%s", session->instance, migration_id);
}

char *moving_daemon_socket(const char *modular) {
    return g_strdup(access(modular, F_OK) == 0 ? modular : "/run/libvirt/libvirt-sock");
}

/* ---- marks ---- */

static char *mark_path(const HypervisorSession *session, const char *vm_id, const char *mark) {
    return g_strdup_printf("%s/%s%s", session->state_folder, vm_id, mark);
}

bool moving_mark(const HypervisorSession *session, const char *vm_id, const char *mark, Error *err) {
    g_autofree char *path = mark_path(session, vm_id, mark);
    return file_replace(path, "", 0, 0600, err);
}

bool moving_has_mark(const HypervisorSession *session, const char *vm_id, const char *mark) {
    g_autofree char *path = mark_path(session, vm_id, mark);
    return access(path, F_OK) == 0;
}

void moving_unmark(const HypervisorSession *session, const char *vm_id, const char *mark) {
    g_autofree char *path = mark_path(session, vm_id, mark);
    unlink(path);
}

void moving_forget(const HypervisorSession *session, const char *vm_id) {
    moving_unmark(session, vm_id, MOVING_EXPECTED);
    moving_unmark(session, vm_id, MOVING_LEFT);
    crash_mark_clear(session->state_folder, vm_id);
}

bool moving_is_led(const HypervisorSession *session, const char *vm_id) {
    g_autofree char *path = mark_path(session, vm_id, MOVING_LEADING);
    fd_auto int fd = open(path, O_RDWR | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
}

MigrationHere moving_without_domain(const HypervisorSession *session, const char *vm_id) {
    g_auto(AgentVmState) crash = {0};
    if (crash_mark_read(session->state_folder, vm_id, &crash))
        return MIGRATION_ENDED;
    return moving_has_mark(session, vm_id, MOVING_LEFT) ? MIGRATION_LEFT : MIGRATION_NOTHING;
}

bool moving_tap(MigrationTap *tap, const uint8_t *bytes, size_t length) {
    G_STATIC_ASSERT(sizeof(LibvirtTap) <= sizeof(MigrationTap));
    return libvirt_tap_feed((LibvirtTap *)tap, bytes, length);
}

/* ---- lodge-migrate ---- */

typedef struct Telling {
    const ImageProgress *progress;
    char *last; /* what it said last that was no progress */
} Telling;

static void take_line(const char *line, void *data) {
    Telling *telling = data;
    int percent = 0;
    if (sscanf(line, "progress %d", &percent) == 1) {
        progress_report(telling->progress, CLAMP(percent, 0, 99), "Copying");
        return;
    }
    g_free(telling->last);
    telling->last = g_strdup(line);
}

static void add_option(GPtrArray *words, const char *name, const char *value) {
    g_ptr_array_add(words, g_strdup(name));
    g_ptr_array_add(words, g_strdup(value));
}

static GPtrArray *command(
    const HypervisorSession *session, const HypervisorMigration *migration, const MovingLead *lead) {
    const char *id = migration->vm->vm->id;
    GPtrArray *words = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *bandwidth = g_strdup_printf("%" G_GINT64_FORMAT, (migration->bandwidth + MIB - 1) / MIB);
    g_ptr_array_add(words, g_build_filename(lead->helpers, "lodge-migrate", NULL));
    add_option(words, session->dialect->uri, id);
    g_ptr_array_add(words, g_strdup(migration->folder));
    g_ptr_array_add(words, mark_path(session, id, ""));
    if (migration->copies_disks)
        g_ptr_array_add(words, g_strdup("--copy-disks"));
    if (migration->bandwidth > 0)
        add_option(words, "--bandwidth", bandwidth);
    if (lead->memory)
        add_option(words, "--memory", lead->memory);
    for (guint i = 0; lead->written && i < lead->written->len; i++)
        add_option(words, "--written", lead->written->pdata[i]);
    g_ptr_array_add(words, NULL);
    return words;
}

bool moving_lead(HypervisorSession *session, const HypervisorMigration *migration, const MovingLead *lead,
    const char *target_xml, const ImageProgress *progress, const Cancel *cancel, Error *err) {
    g_autofree char *path = g_build_filename(migration->folder, "target.xml", NULL);
    if (!file_replace(path, target_xml, strlen(target_xml), 0600, err))
        return false;
    g_autoptr(GPtrArray) words = command(session, migration, lead);
    Telling telling = {.progress = progress};
    const ProcessSpec spec = {.argv = (const char *const *)words->pdata,
        .cancel = cancel,
        .on_line = take_line,
        .on_line_data = &telling};
    g_auto(Error) why = {0};
    bool has_moved = process_run(&spec, NULL, &why);
    if (!has_moved && why.code == ERROR_TOOL_FAILED)
        error_set(err, ERROR_HYPERVISOR, NULL, "%s", telling.last ? telling.last : "lodge-migrate ended");
    else
        error_move(err, &why);
    g_free(telling.last);
    return has_moved;
}
