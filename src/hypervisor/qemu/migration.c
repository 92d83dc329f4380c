/*
 * Live migration (docs/live-migration.md). Marks in the state folder tell what libvirt does not: ID.expected
 * at the target, from `expect` until the VM was let go on; ID.leading, locked by lodge-migrate while it
 * leads; ID.left, made by it when all of it has gone. The folder of the sockets has the same path on both
 * machines, because libvirt gives the same path to both QEMUs.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/process.h"
#include "hypervisor/crash-mark.h"
#include "hypervisor/libvirt/migrate-tap.h"
#include "hypervisor/qemu/migration-xml.h"
#include "hypervisor/qemu/session.h"

enum { MIB = 1024 * 1024 };

/* ---- marks ---- */

static char *mark_path(const HypervisorSession *session, const char *vm_id, const char *mark) {
    return g_strdup_printf("%s/%s%s", session->state_folder, vm_id, mark);
}

static bool has_mark(const HypervisorSession *session, const char *vm_id, const char *mark) {
    g_autofree char *path = mark_path(session, vm_id, mark);
    return access(path, F_OK) == 0;
}

static void unmark(const HypervisorSession *session, const char *vm_id, const char *mark) {
    g_autofree char *path = mark_path(session, vm_id, mark);
    unlink(path);
}

void qemu_migration_forget(const HypervisorSession *session, const char *vm_id) {
    unmark(session, vm_id, ".expected");
    unmark(session, vm_id, ".left");
    crash_mark_clear(session->state_folder, vm_id);
}

/* Whether lodge-migrate leads one of it, perhaps one that an agent before this one has started. */
static bool is_led(const HypervisorSession *session, const char *vm_id) {
    g_autofree char *path = mark_path(session, vm_id, ".leading");
    fd_auto int fd = open(path, O_RDWR | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
}

/* ---- the target ---- */

/* Not in /run/INSTANCE, where the manager writes too: in this one nobody but root makes anything. */
static char *qemu_folder(HypervisorSession *session, const char *migration_id, bool is_target G_GNUC_UNUSED) {
    return g_strdup_printf("/run/%s-migrate/%s", session->instance, migration_id);
}

/* QEMU makes its sockets there itself. */
static bool give_folder(HypervisorSession *session, const char *folder, Error *err) {
    QemuUser user;
    if (!qemu_user((QemuSession *)session, &user, err))
        return false;
    return (chown(folder, user.uid, user.gid) == 0 && chmod(folder, 0700) == 0) ||
           error_set_errno(err, errno, "%s", folder);
}

static bool qemu_expect(HypervisorSession *session, const HypervisorMigration *migration, Error *err) {
    g_autofree char *mark = mark_path(session, migration->vm->vm->id, ".expected");
    qemu_migration_forget(session, migration->vm->vm->id);
    return give_folder(session, migration->folder, err) &&
           qemu_share_backing((QemuSession *)session, migration->vm, err) &&
           session_open_networks(session, migration->vm, err) && file_replace(mark, "", 0, 0600, err);
}

static char *qemu_path(HypervisorSession *session G_GNUC_UNUSED, const HypervisorMigration *migration,
    MigrationChannel channel) {
    static const char *const daemons[] = {"/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock"};
    if (channel != MIGRATION_CHANNEL_CONTROL)
        return channel == MIGRATION_CHANNEL_DISKS && !migration->copies_disks
                   ? NULL
                   : migration_socket(migration->folder, channel);
    return g_strdup(access(daemons[0], F_OK) == 0 ? daemons[0] : daemons[1]);
}

/* ---- the source ---- */

typedef struct Telling {
    const ImageProgress *progress;
    char *last; /* what lodge-migrate said last that was no progress */
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

/* What the source's kernel keeps of a disk that both hosts see, the target would not read. */
static bool check_caches(const char *running, const HypervisorMigration *migration, Error *err) {
    return migration->copies_disks || !strstr(running, "cache='writeback'") ||
           error_set(err, ERROR_UNSUPPORTED, NULL,
               "the file system of its disks cannot do without the host's cache (O_DIRECT), so that another "
               "host would read old blocks; stop the VM and move it then");
}

static bool write_definition(HypervisorSession *session, const HypervisorMigration *migration, Error *err) {
    g_autoptr(virDomain) domain = session_find_running(session, migration->vm->vm->id, err);
    g_autofree char *running = domain ? virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_MIGRATABLE) : NULL;
    if (!running)
        return domain ? connection_error(err, "the VM's definition cannot be read") : false;
    if (!check_caches(running, migration, err))
        return false;
    const QemuMigrationPaths paths = {.vm = migration->vm,
        .state_folder = session->state_folder,
        .state_folder_there =
            migration->state_folder_there ? migration->state_folder_there : session->state_folder,
        .here = migration->vm_here,
        .same_disks = !migration->copies_disks};
    g_autofree char *xml = qemu_migration_xml(running, &paths, err);
    g_autofree char *path = g_build_filename(migration->folder, "target.xml", NULL);
    return xml && file_replace(path, xml, strlen(xml), 0600, err);
}

static bool lead(HypervisorSession *session, const HypervisorMigration *migration,
    const ImageProgress *progress, const Cancel *cancel, Error *err) {
    const char *id = migration->vm->vm->id;
    g_autofree char *program = g_build_filename(((QemuSession *)session)->helpers, "lodge-migrate", NULL);
    g_autofree char *mark = mark_path(session, id, "");
    g_autofree char *bandwidth = g_strdup_printf("%" G_GINT64_FORMAT, (migration->bandwidth + MIB - 1) / MIB);
    const char *argv[10] = {program, session->dialect->uri, id, migration->folder, mark};
    size_t n = 5;
    if (migration->copies_disks)
        argv[n++] = "--copy-disks";
    if (migration->bandwidth > 0) {
        argv[n++] = "--bandwidth";
        argv[n++] = bandwidth;
    }
    Telling telling = {.progress = progress};
    const ProcessSpec spec = {.argv = argv, .cancel = cancel, .on_line = take_line, .on_line_data = &telling};
    g_auto(Error) why = {0};
    bool has_moved = process_run(&spec, NULL, &why);
    if (!has_moved && why.code == ERROR_TOOL_FAILED)
        error_set(err, ERROR_HYPERVISOR, NULL, "%s", telling.last ? telling.last : "lodge-migrate ended");
    else
        error_move(err, &why);
    g_free(telling.last);
    return has_moved;
}

static bool qemu_move(HypervisorSession *session, const HypervisorMigration *migration,
    const ImageProgress *progress, const Cancel *cancel, Error *err) {
    unmark(session, migration->vm->vm->id, ".left"); /* of an earlier life here */
    return write_definition(session, migration, err) && lead(session, migration, progress, cancel, err);
}

static bool qemu_tap(MigrationTap *tap, const uint8_t *bytes, size_t length) {
    G_STATIC_ASSERT(sizeof(LibvirtTap) <= sizeof(MigrationTap));
    return libvirt_tap_feed((LibvirtTap *)tap, bytes, length);
}

/* ---- both ---- */

static MigrationHere without_domain(HypervisorSession *session, const char *vm_id) {
    g_auto(AgentVmState) crash = {0};
    if (crash_mark_read(session->state_folder, vm_id, &crash))
        return MIGRATION_ENDED;
    return has_mark(session, vm_id, ".left") ? MIGRATION_LEFT : MIGRATION_NOTHING;
}

static bool look_at(
    HypervisorSession *session, virDomain *domain, const char *vm_id, MigrationHere *ret_here, Error *err) {
    int state = VIR_DOMAIN_NOSTATE, reason = 0;
    if (virDomainGetState(domain, &state, &reason, 0) < 0)
        return connection_error(err, "the VM's state cannot be asked for");
    bool is_expected = has_mark(session, vm_id, ".expected");
    bool is_migrating = state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_MIGRATION;
    if (is_migrating)
        *ret_here = is_expected ? MIGRATION_ARRIVING : MIGRATION_HELD;
    else
        *ret_here = is_expected && state == VIR_DOMAIN_PAUSED ? MIGRATION_ARRIVED : MIGRATION_RUNS;
    return true;
}

static bool qemu_look(HypervisorSession *session, const char *vm_id, MigrationHere *ret_here, Error *err) {
    g_autoptr(virDomain) domain = NULL;
    if (is_led(session, vm_id)) {
        *ret_here = MIGRATION_LEADING;
        return true;
    }
    if (!session_find(session, vm_id, &domain, err))
        return false;
    if (domain)
        return look_at(session, domain, vm_id, ret_here, err);
    *ret_here = without_domain(session, vm_id);
    return true;
}

static bool resume(HypervisorSession *session, const char *vm_id, Error *err) {
    g_autoptr(virDomain) domain = session_find_running(session, vm_id, err);
    return domain && (virDomainResume(domain) == 0 || connection_error(err, "the VM does not go on"));
}

static bool destroy(HypervisorSession *session, const char *vm_id, Error *err) {
    g_autoptr(virDomain) domain = NULL;
    if (!session_find(session, vm_id, &domain, err))
        return false;
    if (domain && virDomainDestroy(domain) < 0 && !connection_is_missing())
        return connection_error(err, "the copy cannot be ended");
    qemu_migration_forget(session, vm_id);
    unmark(session, vm_id, ".leading");
    return true;
}

static bool qemu_act(HypervisorSession *session, const char *vm_id, MigrationStep step, Error *err) {
    MigrationHere here = MIGRATION_UNKNOWN;
    if (!qemu_look(session, vm_id, &here, err))
        return false;
    bool is_target = step == MIGRATION_START_TARGET || step == MIGRATION_RESUME_SOURCE;
    bool is_done = is_target ? here == MIGRATION_RUNS : here == MIGRATION_NOTHING;
    if (!is_done && !migration_may(step, here))
        return error_set(err, ERROR_WRONG_STATE, NULL, "%s is not meant for a VM of which this is here: %s",
            migration_step_name(step), migration_here_name(here));
    if (!is_target)
        return destroy(session, vm_id, err);
    if (!is_done && !resume(session, vm_id, err))
        return false;
    unmark(session, vm_id, ".expected");
    return true;
}

const HypervisorMover qemu_mover = {
    qemu_folder, qemu_expect, qemu_path, qemu_move, qemu_tap, qemu_look, qemu_act};
