/*
 * Live migration between Xen hosts (docs/live-migration.md, "Xen"): libvirt carries memory over TCP, by an
 * address of the machine's own, and copies no disks. Its Finish leaves the copy paused; when its Confirm has
 * ended the source's domain, nothing writes to the disks any more, and only then the switch is made. What
 * libvirt does not tell, the hypervisor does (xl list -v), and the processes that carry the memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "hypervisor/libvirt/migration-xml.h"
#include "hypervisor/libvirt/moving.h"
#include "hypervisor/xen/domain-list.h"
#include "hypervisor/xen/dying.h"
#include "hypervisor/xen/loopback-guard.h"
#include "hypervisor/xen/loops.h"
#include "hypervisor/xen/preflight.h"
#include "hypervisor/xen/save.h"
#include "hypervisor/xen/session.h"
#include "hypervisor/xen/strays.h"
#include "hypervisor/xen/vcpus.h"

#define HELPER "libxl-save-helper"

enum { ARGUMENTS_LIMIT = 4096, DOMAIN_WORD = 4, TOOL_TIMEOUT_MS = 60000 };

/* ---- what cannot be ---- */

static bool check_disk(const HypervisorDisk *disk, Error *err) {
    if (disk->disk->kind != DISK_KIND_DISK || disk->disk->detached || !disk->path)
        return true;
    if (disk->disk->format == DISK_FORMAT_QCOW2)
        return error_set(err, ERROR_UNSUPPORTED, "/disks",
            "the disk %s is of format qcow2, which a Xen host keeps partly in memory while the VM runs: "
            "it moves while it is stopped",
            disk->disk->name);
    fd_auto int fd = open(disk->path, O_RDONLY | O_DIRECT | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 || error_set(err, ERROR_UNSUPPORTED, "/disks",
                          "the disk %s cannot be read past the host's cache (O_DIRECT: %s)", disk->disk->name,
                          g_strerror(errno));
}

static bool check(const HypervisorMigration *migration, Error *err) {
    if (migration->copies_disks)
        return error_set(err, ERROR_UNSUPPORTED, "/repository",
            "between Xen hosts a running VM moves only where both see its disks");
    if (migration->bandwidth > 0)
        return error_set(err, ERROR_UNSUPPORTED, "/bandwidth",
            "libvirt's Xen driver moves VMs as fast as it can; leave the limit out");
    for (size_t i = 0; i < migration->vm->n_disks; i++)
        if (!check_disk(&migration->vm->disks[i], err))
            return false;
    return true;
}

/* ---- ways ---- */

static char *xen_entry(HypervisorSession *session, const char *migration_id, MigrationChannel channel) {
    g_autofree char *folder = moving_folder(session, migration_id, false);
    switch (channel) {
    case MIGRATION_CHANNEL_CONTROL:
        return migration_socket(folder, channel);
    case MIGRATION_CHANNEL_MEMORY:
        return loopback_guard_address(migration_id);
    default:
        return NULL;
    }
}

static bool xen_guard(HypervisorSession *session, Error *err) {
    return loopback_guard_close(session->instance, err);
}

static char *xen_path(HypervisorSession *session G_GNUC_UNUSED, const HypervisorMigration *migration,
    MigrationChannel channel) {
    g_autofree char *id = g_path_get_basename(migration->folder);
    switch (channel) {
    case MIGRATION_CHANNEL_CONTROL:
        return moving_daemon_socket("/run/libvirt/virtxend-sock");
    case MIGRATION_CHANNEL_MEMORY:
        return loopback_guard_address(id);
    default:
        return NULL;
    }
}

/* ---- the target ---- */

static bool xen_expect(HypervisorSession *session, const HypervisorMigration *migration, Error *err) {
    const char *id = migration->vm->vm->id;
    XenXmlOptions options;
    g_autoptr(virConnect) connection = session_work(session, err);
    if (!connection || !check(migration, err) || !xen_guard(session, err) ||
        !xen_xml_options(session, migration->vm, &options, err) || !xen_check_no_stray(session, id, err) ||
        !xen_check_is_dead(session, id, err) ||
        !xen_preflight(connection, migration->vm, options.mode, err) ||
        !session_open_networks(session, migration->vm, err))
        return false;
    moving_forget(session, id);
    return moving_mark(session, id, MOVING_EXPECTED, err);
}

/* ---- the source ---- */

static GPtrArray *written_files(const HypervisorVm *vm) {
    GPtrArray *paths = g_ptr_array_new();
    for (size_t i = 0; i < vm->n_disks; i++)
        if (vm->disks[i].path && vm->disks[i].disk->kind == DISK_KIND_DISK && !vm->disks[i].disk->detached)
            g_ptr_array_add(paths, (char *)vm->disks[i].path);
    return paths;
}

/* Newly allocated; NULL with the error. */
static char *definition_there(
    HypervisorSession *session, const HypervisorMigration *migration, virDomain *domain, Error *err) {
    g_autofree char *running = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_MIGRATABLE | VIR_DOMAIN_XML_SECURE);
    if (!running) {
        connection_error(err, "the VM's definition cannot be read");
        return NULL;
    }
    const MigrationPaths paths = {.vm = migration->vm,
        .state_folder = session->state_folder,
        .state_folder_there =
            migration->state_folder_there ? migration->state_folder_there : session->state_folder,
        .here = migration->vm_here,
        .same_disks = true};
    return migration_xml(running, &paths, err);
}

/* All that went by the host's cache before. */
static bool write_out(const GPtrArray *paths, Error *err) {
    for (guint i = 0; i < paths->len; i++) {
        fd_auto int fd = open(paths->pdata[i], O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || fsync(fd) < 0)
            return error_set_errno(err, errno, "writing out %s", (const char *)paths->pdata[i]);
    }
    return true;
}

static bool xen_move(HypervisorSession *session, const HypervisorMigration *migration,
    const ImageProgress *progress, const Cancel *cancel, Error *err) {
    g_autofree char *id = g_path_get_basename(migration->folder);
    g_autofree char *address = loopback_guard_address(id), *memory = g_strconcat("tcp://", address, NULL);
    g_autoptr(GPtrArray) written = written_files(migration->vm);
    const MovingLead lead = {
        .helpers = ((XenSession *)session)->helpers, .memory = memory, .written = written};
    if (!check(migration, err))
        return false;
    moving_unmark(session, migration->vm->vm->id, MOVING_LEFT); /* of an earlier life here */
    moving_unmark(session, migration->vm->vm->id, MOVING_EXPECTED);
    g_autoptr(virDomain) domain = session_find_running(session, migration->vm->vm->id, err);
    if (!domain || !xen_bypass_cache(virDomainGetID(domain), err) || !write_out(written, err))
        return false;
    g_autofree char *xml = definition_there(session, migration, domain, err);
    g_clear_pointer(&domain, virDomainFree);
    return xml && moving_lead(session, migration, &lead, xml, progress, cancel, err);
}

/* From here on libvirt may end the domain at any moment, whether somebody waits for that or not: what has no
 * domain then has left. */
static void xen_arrived(HypervisorSession *session, const char *vm_id) {
    g_auto(Error) err = {0};
    if (!moving_mark(session, vm_id, MOVING_LEFT, &err))
        log_warning("%s: that it has arrived cannot be noted: %s", vm_id, err.message);
}

/* ---- both ---- */

/* libxl's own process that carries the memory of that domain (libxl_save_callout.c: "--save-domain",
 * two descriptors, the domain's number). */
static bool is_helper_of(const char *process, unsigned domain_id) {
    g_autofree char *path = g_strdup_printf("/proc/%s/cmdline", process), *text = NULL;
    size_t length = 0, n = 0;
    if (!file_read(path, ARGUMENTS_LIMIT, &text, &length, NULL))
        return false;
    const char *words[DOMAIN_WORD + 1] = {NULL};
    for (const char *word = text; word < text + length && n < G_N_ELEMENTS(words); word += strlen(word) + 1)
        words[n++] = word;
    return n == G_N_ELEMENTS(words) && g_str_has_suffix(words[0], HELPER) &&
           g_ascii_strtoull(words[DOMAIN_WORD], NULL, 10) == domain_id;
}

/* Whether its memory is on its way, in either direction, whoever asked for that. */
static bool is_carried(unsigned domain_id) {
    g_autoptr(GDir) processes = g_dir_open("/proc", 0, NULL);
    for (const char *name = processes ? g_dir_read_name(processes) : NULL; name;
         name = g_dir_read_name(processes))
        if (g_ascii_isdigit(name[0]) && is_helper_of(name, domain_id))
            return true;
    return false;
}

/* Of a domain that libvirt runs. Whether it is held the hypervisor tells: a libvirtd that was started anew
 * takes all for running. At the target libvirt knows a domain as one that runs when all of it is there. */
static bool look_at(
    HypervisorSession *session, virDomain *domain, const char *vm_id, MigrationHere *ret_here, Error *err) {
    bool is_expected = moving_has_mark(session, vm_id, MOVING_EXPECTED);
    if (!is_expected && is_carried(virDomainGetID(domain))) {
        *ret_here = MIGRATION_LEADING;
        return true;
    }
    g_autoptr(GArray) rows = xen_domain_list(err);
    const XenDomainRow *row = rows ? xen_domain_find(rows, vm_id) : NULL;
    if (!row || row->is_dying)
        return rows ? error_set(err, ERROR_BUSY, NULL, "the VM's domain is just ending") : false;
    *ret_here = is_expected && row->is_paused ? MIGRATION_ARRIVED
                : row->is_suspended           ? MIGRATION_HELD
                                              : MIGRATION_RUNS;
    return true;
}

/* Of one that libvirt does not run: the hypervisor may have it still, or already. */
static bool look_below(HypervisorSession *session, const char *vm_id, MigrationHere *ret_here, Error *err) {
    g_autoptr(GArray) rows = xen_domain_list(err);
    if (!rows)
        return false;
    const XenDomainRow *row = xen_domain_find(rows, vm_id);
    if (!row) {
        *ret_here = moving_without_domain(session, vm_id);
        return true;
    }
    if (row->is_dying || !moving_has_mark(session, vm_id, MOVING_EXPECTED))
        return error_set(err, ERROR_BUSY, NULL, "a domain of the VM is there that libvirt does not run");
    *ret_here = MIGRATION_ARRIVING;
    return true;
}

static bool xen_look(HypervisorSession *session, const char *vm_id, MigrationHere *ret_here, Error *err) {
    g_autoptr(virDomain) domain = NULL;
    g_auto(Error) fault = {0};
    if (moving_is_led(session, vm_id)) {
        *ret_here = MIGRATION_LEADING;
        return true;
    }
    if (!session_find(session, vm_id, &domain, &fault) && fault.code != ERROR_BUSY) {
        error_move(err, &fault);
        return false;
    }
    return domain && virDomainIsActive(domain) == 1 ? look_at(session, domain, vm_id, ret_here, err)
                                                    : look_below(session, vm_id, ret_here, err);
}

static bool is_held(const char *vm_id) {
    g_autoptr(GArray) rows = xen_domain_list(NULL);
    const XenDomainRow *row = rows ? xen_domain_find(rows, vm_id) : NULL;
    return !row || row->is_paused;
}

/* libvirt lets nothing go on that it holds for a client that died, or takes for running. */
static bool resume_target(HypervisorSession *session, const char *vm_id, Error *err) {
    g_autoptr(virDomain) domain = session_find_running(session, vm_id, err);
    if (!domain || !xen_bypass_cache(virDomainGetID(domain), err))
        return false;
    xen_see_run(domain); /* before it runs: libxl offers all vCPUs */
    virDomainResume(domain);
    const char *const unpause[] = {"xl", "unpause", virDomainGetName(domain), NULL};
    const ProcessSpec let_go = {.argv = unpause, .timeout_ms = TOOL_TIMEOUT_MS};
    return !is_held(vm_id) || process_run(&let_go, NULL, err);
}

static bool resume_source(HypervisorSession *session, const char *vm_id, Error *err) {
    g_autoptr(virDomain) domain = session_find_running(session, vm_id, err);
    if (!domain || !xen_run_on(domain, err))
        return false;
    moving_unmark(session, vm_id, MOVING_LEFT);
    return true;
}

/* libvirt may hold it for a client that died: then the hypervisor ends it. */
static bool destroy(HypervisorSession *session, const char *vm_id, Error *err) {
    g_autoptr(virDomain) domain = NULL;
    g_auto(Error) fault = {0};
    if (session_find(session, vm_id, &domain, &fault) && domain)
        virDomainDestroy(domain);
    if (!xen_end_stray(session, vm_id, false, err) || !xen_check_is_dead(session, vm_id, err))
        return false;
    moving_forget(session, vm_id);
    moving_unmark(session, vm_id, MOVING_LEADING);
    return true;
}

static bool xen_act(HypervisorSession *session, const char *vm_id, MigrationStep step, Error *err) {
    MigrationHere here = MIGRATION_UNKNOWN;
    bool is_done = false;
    if (!xen_look(session, vm_id, &here, err) || !migration_check(step, here, &is_done, err))
        return false;
    if (!migration_goes_on(step))
        return destroy(session, vm_id, err);
    if (!is_done && !(step == MIGRATION_START_TARGET ? resume_target : resume_source)(session, vm_id, err))
        return false;
    moving_unmark(session, vm_id, MOVING_EXPECTED);
    return true;
}

const HypervisorMover xen_mover = {moving_folder, xen_entry, xen_guard, xen_expect, xen_path, xen_move,
    moving_tap, xen_arrived, xen_look, xen_act};
