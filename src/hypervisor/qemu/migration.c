/* Live migration (docs/live-migration.md). The folder of the sockets has the same path on both machines,
 * because libvirt gives the same path to both QEMUs. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "hypervisor/libvirt/migration-xml.h"
#include "hypervisor/libvirt/moving.h"
#include "hypervisor/qemu/session.h"

/* ---- the target ---- */

/* QEMU makes its sockets there itself. */
static bool give_folder(HypervisorSession *session, const char *folder, Error *err) {
    QemuUser user;
    if (!qemu_user((QemuSession *)session, &user, err))
        return false;
    return (chown(folder, user.uid, user.gid) == 0 && chmod(folder, 0700) == 0) ||
           error_set_errno(err, errno, "%s", folder);
}

static bool qemu_expect(HypervisorSession *session, const HypervisorMigration *migration, Error *err) {
    moving_forget(session, migration->vm->vm->id);
    return give_folder(session, migration->folder, err) &&
           qemu_share_backing((QemuSession *)session, migration->vm, err) &&
           session_open_networks(session, migration->vm, err) &&
           moving_mark(session, migration->vm->vm->id, MOVING_EXPECTED, err);
}

static char *qemu_path(HypervisorSession *session G_GNUC_UNUSED, const HypervisorMigration *migration,
    MigrationChannel channel) {
    if (channel != MIGRATION_CHANNEL_CONTROL)
        return channel == MIGRATION_CHANNEL_DISKS && !migration->copies_disks
                   ? NULL
                   : migration_socket(migration->folder, channel);
    return moving_daemon_socket("/run/libvirt/virtqemud-sock");
}

/* ---- the source ---- */

/* What the source's kernel keeps of a disk that both hosts see, the target would not read. */
static bool check_caches(const char *running, const HypervisorMigration *migration, Error *err) {
    return migration->copies_disks || !strstr(running, "cache='writeback'") ||
           error_set(err, ERROR_UNSUPPORTED, NULL,
               "the file system of its disks cannot do without the host's cache (O_DIRECT), so that another "
               "host would read old blocks; stop the VM and move it then");
}

/* Newly allocated; NULL with the error. */
static char *definition_there(HypervisorSession *session, const HypervisorMigration *migration, Error *err) {
    g_autoptr(virDomain) domain = session_find_running(session, migration->vm->vm->id, err);
    g_autofree char *running = domain ? virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_MIGRATABLE) : NULL;
    if (domain && !running)
        connection_error(err, "the VM's definition cannot be read");
    if (!running || !check_caches(running, migration, err))
        return NULL;
    const MigrationPaths paths = {.vm = migration->vm,
        .state_folder = session->state_folder,
        .state_folder_there =
            migration->state_folder_there ? migration->state_folder_there : session->state_folder,
        .here = migration->vm_here,
        .same_disks = !migration->copies_disks};
    return migration_xml(running, &paths, err);
}

static bool qemu_move(HypervisorSession *session, const HypervisorMigration *migration,
    const ImageProgress *progress, const Cancel *cancel, Error *err) {
    const MovingLead lead = {.helpers = ((QemuSession *)session)->helpers};
    moving_unmark(session, migration->vm->vm->id, MOVING_LEFT); /* of an earlier life here */
    moving_unmark(session, migration->vm->vm->id, MOVING_EXPECTED);
    g_autofree char *xml = definition_there(session, migration, err);
    return xml && moving_lead(session, migration, &lead, xml, progress, cancel, err);
}

/* ---- both ---- */

static bool look_at(
    HypervisorSession *session, virDomain *domain, const char *vm_id, MigrationHere *ret_here, Error *err) {
    int state = VIR_DOMAIN_NOSTATE, reason = 0;
    if (virDomainGetState(domain, &state, &reason, 0) < 0)
        return connection_error(err, "the VM's state cannot be asked for");
    bool is_expected = moving_has_mark(session, vm_id, MOVING_EXPECTED);
    bool is_migrating = state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_MIGRATION;
    if (is_migrating)
        *ret_here = is_expected ? MIGRATION_ARRIVING : MIGRATION_HELD;
    else
        *ret_here = is_expected && state == VIR_DOMAIN_PAUSED ? MIGRATION_ARRIVED : MIGRATION_RUNS;
    return true;
}

static bool qemu_look(HypervisorSession *session, const char *vm_id, MigrationHere *ret_here, Error *err) {
    g_autoptr(virDomain) domain = NULL;
    if (moving_is_led(session, vm_id)) {
        *ret_here = MIGRATION_LEADING;
        return true;
    }
    if (!session_find(session, vm_id, &domain, err))
        return false;
    if (domain)
        return look_at(session, domain, vm_id, ret_here, err);
    *ret_here = moving_without_domain(session, vm_id);
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
    moving_forget(session, vm_id);
    moving_unmark(session, vm_id, MOVING_LEADING);
    return true;
}

static bool qemu_act(HypervisorSession *session, const char *vm_id, MigrationStep step, Error *err) {
    MigrationHere here = MIGRATION_UNKNOWN;
    bool is_done = false;
    if (!qemu_look(session, vm_id, &here, err) || !migration_check(step, here, &is_done, err))
        return false;
    if (!migration_goes_on(step))
        return destroy(session, vm_id, err);
    if (!is_done && !resume(session, vm_id, err))
        return false;
    moving_unmark(session, vm_id, MOVING_EXPECTED);
    return true;
}

const HypervisorMover qemu_mover = {
    moving_folder, NULL, NULL, qemu_expect, qemu_path, qemu_move, moving_tap, NULL, qemu_look, qemu_act};
