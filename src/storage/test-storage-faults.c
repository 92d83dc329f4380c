/* Proves that nothing is lost, and nothing followed, because of what somebody else or a fault left in a
 * folder. */
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/file.h"
#include "storage/test-place.h"

/* Folders that were synced, whether or not the file `gone` was still there then. */
static struct {
    GPtrArray *folders;
    char *gone;
} synced;

/* Instead of the C library's, for all that is linked into this program. */
int fsync(int fd) {
    g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", fd);
    g_autofree char *path = g_file_read_link(link, NULL);
    if (synced.folders && path && access(synced.gone, F_OK) != 0)
        g_ptr_array_add(synced.folders, g_steal_pointer(&path));
    return (int)syscall(SYS_fsync, fd);
}

/* From now on, folders that are synced without that file of the repository. */
static void syncs_watch(const Place *place, const char *gone) {
    synced.folders = g_ptr_array_new_with_free_func(g_free);
    synced.gone = g_build_filename(place->repository.path, gone, NULL);
}

static void syncs_end(void) {
    g_clear_pointer(&synced.folders, g_ptr_array_unref);
    g_clear_pointer(&synced.gone, g_free);
}

/* That the folder was; a name that ends with a slash means one in it. */
static void expect_synced(const Place *place, const char *folder) {
    g_autofree char *path = g_strdup_printf("%s/%s", place->repository.path, folder);
    bool is_found = false;
    for (guint i = 0; i < synced.folders->len && !is_found; i++)
        is_found = g_str_has_suffix(path, "/") ? g_str_has_prefix(synced.folders->pdata[i], path)
                                               : g_str_equal(synced.folders->pdata[i], path);
    if (!is_found)
        g_error("%s was not synced after %s was gone", path, synced.gone);
}

static void expect_refused(const Place *place, const char *path, const char *at) {
    g_auto(Repository) repository = {0};
    g_auto(Error) err = {0};
    repository_copy(&repository, &place->repository);
    repository_set_path(&repository, path);
    bool is_open = repository_dir.open(&repository, &err);
    g_autofree char *text = is_open ? NULL : error_text(&err);
    g_test_message("%s", text);
    g_assert_cmpint(err.code, ==, ERROR_INVALID);
    g_assert_cmpstr(err.field, ==, "/repository/path");
    g_assert_nonnull(strstr(text, at));
}

static void test_folders_that_others_can_change_are_refused(void) {
    g_auto(Place) place;
    place_init(&place);
    g_autofree char *open = g_build_filename(place.folder, "open", NULL),
                    *parent = g_build_filename(open, "inner", NULL),
                    *inner = g_build_filename(parent, "repository", NULL);
    g_auto(Error) err = {0};
    struct stat status;
    g_assert_true(folder_make(open, 0700, NULL));
    g_assert_cmpint(chmod(open, 0777), ==, 0);
    expect_refused(&place, inner, open);
    expect_refused(&place, open, open);
    g_assert_cmpint(chmod(open, 01777), ==, 0); /* as /tmp: what is ours in it stays ours */
    expect_refused(&place, open, open);
    repository_set_path(&place.repository, inner);
    g_assert_false(repository_dir.open(&place.repository, &err)); /* perhaps a disk that is not mounted */
    g_assert_cmpint(err.code, ==, ERROR_NOT_FOUND);
    g_assert_cmpstr(err.field, ==, "/repository/path");
    g_assert_true(folder_make(parent, 0711, NULL));
    g_assert_true(repository_dir.open(&place.repository, NULL));
    g_assert_cmpint(stat(inner, &status), ==, 0);
    g_assert_cmpint(status.st_mode & 07777, ==, 0711);
}

/* `disks` leads to another folder: its mode stays, nothing is written through it. */
static void test_links_inside_a_repository_are_not_followed(void) {
    g_auto(Place) place;
    g_auto(Error) err = {0};
    place_init(&place);
    g_autofree char *target = g_build_filename(place.folder, "target", NULL),
                    *disks = g_build_filename(place.repository.path, "disks", NULL);
    struct stat status;
    g_assert_true(folder_make(target, 0700, NULL));
    g_assert_cmpint(rmdir(disks), ==, 0);
    g_assert_cmpint(symlink(target, disks), ==, 0);
    expect_refused(&place, place.repository.path, disks);
    g_assert_false(repository_dir.check(&place.repository, &err));
    g_assert_cmpint(err.code, ==, ERROR_INVALID);
    repository_dir.probe(&place.repository);
    g_assert_cmpint(place.repository.status.state, ==, REPOSITORY_STATE_FAILED);
    g_assert_cmpint(stat(target, &status), ==, 0);
    g_assert_cmpint(status.st_mode & 07777, ==, 0700);
}

static void test_own_links_lead_to_a_repository_and_those_of_others_do_not(void) {
    const uid_t stranger = 4321;
    g_auto(Place) place;
    place_init(&place);
    g_autofree char *link = g_build_filename(place.folder, "link", NULL),
                    *path = g_build_filename(link, "repository", NULL),
                    *real = g_strdup(place.repository.path);
    g_assert_cmpint(symlink(place.folder, link), ==, 0);
    repository_set_path(&place.repository, path);
    g_assert_true(repository_dir.open(&place.repository, NULL));
    if (geteuid() != 0) {
        g_test_skip("folders of others need root");
        return;
    }
    g_assert_cmpint(lchown(link, stranger, stranger), ==, 0);
    expect_refused(&place, path, link);
    g_autofree char *disks = g_build_filename(real, "disks", NULL);
    g_assert_cmpint(chown(disks, stranger, stranger), ==, 0);
    expect_refused(&place, real, disks);
    g_assert_cmpint(chown(disks, 0, 0), ==, 0);
    g_assert_cmpint(chown(real, stranger, stranger), ==, 0);
    expect_refused(&place, real, real);
    g_assert_cmpint(chown(real, 0, 0), ==, 0);
    g_assert_cmpint(chown(place.folder, stranger, stranger), ==, 0);
    expect_refused(&place, real, place.folder);
}

/* The agent is root: a name that leads out of the template's folder would copy any file into a template. */
static void test_kernel_that_lies_elsewhere_is_not_copied(void) {
    static const char *const names[] = {"../../lodge-repository.json", "/etc/hostname", "..", ".hidden", ""};
    g_auto(Place) place;
    g_auto(Vm) vm = {0};
    place_init(&place);
    place_add_template(&place);
    make_vm(&place, false, CLONE_METHOD_AUTO, &vm);
    for (size_t i = 0; i < 2 * G_N_ELEMENTS(names); i++) {
        g_auto(AgentTemplateFromVm) request;
        g_auto(Template) made = {0};
        g_auto(Error) err = {0};
        CloneMethod method;
        const char *name = names[i / 2];
        bool is_kernel = i % 2;
        capture_init(&request, &place, &vm);
        DirectBoot *boot = vm_put_direct_boot(&request.vm);
        direct_boot_copy(boot, &place.template.direct_boot);
        if (is_kernel)
            direct_boot_set_kernel(boot, name);
        else
            direct_boot_set_initrd(boot, name);
        template_set_id(&made, OTHER_ID);
        g_assert_false(repository_dir.template_from_vm(&request, &made, NULL, &method, &err));
        g_assert_cmpint(err.code, ==, ERROR_INVALID);
        g_assert_cmpstr(err.field, ==, "/vm/direct_boot");
        g_assert_false(exists(&place, "templates/" OTHER_ID));
        assert_no_debris(&place, 1);
    }
}

/* What a note cannot say may be needed: each removal fails and names the file, and nothing is lost. */
static void test_unreadable_note_keeps_every_disk(void) {
    static const char *const notes[] = {"{", "", "{\"format\":2}", "{\"format\":1,\"backing\":7}"};
    g_auto(Place) place;
    g_auto(Vm) vm = {0};
    place_init(&place);
    place_add_template(&place);
    make_vm(&place, true, CLONE_METHOD_OVERLAY, &vm);
    g_autofree char *note = g_build_filename(place.repository.path, "disks", DISK_ID ".json", NULL);
    g_autofree char *base = repository_template_disk_path(&place.repository, &place.template.disks.items[0]);
    for (size_t i = 0; i < G_N_ELEMENTS(notes); i++) {
        g_auto(Error) deleted = {0}, stored = {0}, backing = {0}, gone = {0};
        g_auto(RepositoryBacking) below = {0};
        g_auto(Template) again = {0};
        g_autofree char *work = NULL;
        g_assert_true(file_replace(note, notes[i], strlen(notes[i]), 0600, NULL));
        g_assert_false(repository_dir.template_delete(&place.repository, &place.template, &deleted));
        g_assert_nonnull(strstr(deleted.message, note));
        g_assert_true(repository_dir.work_folder(&place.repository, "build/2", &work, NULL));
        template_copy(&again, &place.template);
        g_assert_false(repository_dir.template_store(&place.repository, &again, work, &stored));
        g_assert_nonnull(strstr(stored.message, note));
        g_assert_false(repository_backing(&place.repository, DISK_ID, DISK_FORMAT_QCOW2, &below, &backing));
        g_assert_nonnull(strstr(backing.message, note));
        g_assert_false(repository_dir.vm_delete(&place.repository, VM_ID, false, &gone));
        g_assert_nonnull(strstr(gone.message, note));
        g_assert_cmpint(access(base, F_OK), ==, 0);
        g_assert_true(exists(&place, "vms/" VM_ID "/vm.json"));
    }
}

static void test_unreadable_note_of_a_template_stops_its_clones(void) {
    g_auto(Place) place;
    g_auto(AgentVm) request;
    g_auto(Vm) vm = {0};
    g_auto(Error) err = {0};
    place_init(&place);
    place_add_template(&place);
    g_autofree char *note =
        g_strdup_printf("%s/disks/%s.json", place.repository.path, place.template.disks.items[0].id);
    g_assert_true(file_replace(note, "{", 1, 0600, NULL));
    request_init(&request, &place, true);
    vm_copy(&vm, &request.vm);
    g_assert_false(repository_dir.vm_create(&request, &vm, NULL, &err));
    g_assert_nonnull(strstr(err.message, note));
}

/* A scan goes on: it shows the note, and calls nothing debris that the note may need. */
static void test_scan_shows_an_unreadable_note(void) {
    g_auto(Place) place;
    g_auto(Vm) vm = {0};
    g_auto(AgentRepositoryContent) content = {0};
    place_init(&place);
    place_add_template(&place);
    make_vm(&place, true, CLONE_METHOD_OVERLAY, &vm);
    place_add_template(&place); /* only the note names the older build's disk */
    g_autofree char *note = g_build_filename(place.repository.path, "disks", DISK_ID ".json", NULL);
    g_assert_true(file_replace(note, "{", 1, 0600, NULL));
    g_assert_true(repository_dir.scan(&place.repository, &content, NULL));
    g_assert_cmpuint(content.debris.n, ==, 1);
    g_assert_cmpstr(content.debris.items[0], ==, "disks/" DISK_ID ".json");
    g_assert_cmpuint(content.vms.n, ==, 1);
}

static void test_unreadable_vm_keeps_the_kernel_and_the_iso(void) {
    g_auto(Place) place;
    g_auto(Vm) vm = {0};
    g_auto(Iso) iso = {0};
    g_auto(Error) deleted = {0}, stored = {0}, removed = {0};
    place_init(&place);
    place_add_template(&place);
    make_vm(&place, false, CLONE_METHOD_AUTO, &vm);
    g_autofree char *path = g_build_filename(place.repository.path, "vms", VM_ID, "vm.json", NULL);
    g_autofree char *kernel =
        repository_template_file_path(&place.repository, TEMPLATE_ID, place.template.direct_boot.kernel);
    g_autofree char *work = NULL;
    g_assert_true(file_replace(path, "{", 1, 0600, NULL));
    g_assert_false(repository_dir.template_delete(&place.repository, &place.template, &deleted));
    g_assert_nonnull(strstr(deleted.message, path));
    g_assert_true(repository_dir.work_folder(&place.repository, "build/2", &work, NULL));
    g_assert_false(repository_dir.template_store(&place.repository, &place.template, work, &stored));
    g_assert_nonnull(strstr(stored.message, path));
    iso_set_id(&iso, OTHER_ID);
    g_assert_false(repository_dir.iso_delete(&place.repository, &iso, &removed));
    g_assert_nonnull(strstr(removed.message, path));
    g_assert_cmpint(access(kernel, F_OK), ==, 0);
}

/* A power cut after the answer brings nothing back. */
static void test_what_is_deleted_is_durably_gone(void) {
    g_auto(Place) place;
    g_auto(Vm) vm = {0}, again = {0};
    g_auto(Iso) iso = {0};
    g_autofree char *work = NULL;
    place_init(&place);
    make_vm(&place, false, CLONE_METHOD_AUTO, &vm);
    syncs_watch(&place, "vms/" VM_ID);
    g_assert_true(repository_dir.vm_delete(&place.repository, VM_ID, false, NULL));
    expect_synced(&place, "vms");
    expect_synced(&place, "trash/");
    syncs_end();
    make_vm(&place, false, CLONE_METHOD_AUTO, &again);
    syncs_watch(&place, "disks/" DISK_ID ".json");
    g_assert_true(repository_dir.vm_delete(&place.repository, VM_ID, true, NULL));
    expect_synced(&place, "disks");
    expect_synced(&place, "trash");
    syncs_end();
    g_assert_true(repository_dir.work_folder(&place.repository, "import", &work, NULL));
    g_autofree char *data = g_build_filename(work, "iso", NULL);
    g_assert_true(file_replace(data, "x", 1, 0600, NULL));
    iso_set_id(&iso, OTHER_ID);
    g_assert_true(repository_dir.iso_store(&place.repository, &iso, work, NULL));
    syncs_watch(&place, "isos/" OTHER_ID ".json");
    g_assert_true(repository_dir.iso_delete(&place.repository, &iso, NULL));
    expect_synced(&place, "isos");
    syncs_end();
}

static void test_discarded_disks_and_templates_are_durably_gone(void) {
    g_auto(Place) place;
    g_auto(Vm) vm = {0};
    place_init(&place);
    place_add_template(&place);
    make_vm(&place, false, CLONE_METHOD_AUTO, &vm);
    syncs_watch(&place, "disks/" DISK_ID ".json");
    g_assert_true(repository_dir.disk_discard(&place.repository, VM_ID, DISK_ID, NULL));
    expect_synced(&place, "disks");
    syncs_end();
    g_autofree char *disk = g_strdup_printf("disks/%s.json", place.template.disks.items[0].id);
    syncs_watch(&place, disk);
    g_assert_true(repository_dir.template_delete(&place.repository, &place.template, NULL));
    expect_synced(&place, "disks");
    expect_synced(&place, "templates");
    syncs_end();
}

static void test_failed_create_is_durably_undone(void) {
    g_auto(Place) place;
    g_auto(AgentVm) request;
    g_auto(Vm) vm = {0};
    place_init(&place);
    request_init(&request, &place, false);
    vm_add_disks(&request.vm); /* without an id */
    vm_copy(&vm, &request.vm);
    syncs_watch(&place, "disks/" DISK_ID ".json");
    g_assert_false(repository_dir.vm_create(&request, &vm, NULL, NULL));
    expect_synced(&place, "disks");
    expect_synced(&place, "vms");
    syncs_end();
}

/* ---- a full file system ---- */

enum { PAGE = 4096 };

/* A repository in a file system of 1 MiB that only this process sees; false: the test is skipped. */
static bool small_place_init(Place *place) {
    *place = (Place){0};
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        g_test_skip("a file system of its own needs root");
        return false;
    }
    char *folder = g_dir_make_tmp("lodge-small-XXXXXX", NULL);
    g_assert_cmpint(mount("tmpfs", folder, "tmpfs", 0, "size=1m,mode=0711"), ==, 0);
    place_init_at(place, folder);
    return true;
}

static void small_place_end(const Place *place) {
    g_assert_cmpint(umount2(place->folder, MNT_DETACH), ==, 0);
}

static void fill(const Place *place, size_t left_bytes) {
    g_autofree char *ballast = g_build_filename(place->folder, "ballast", NULL);
    struct statvfs info;
    fd_auto int fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    g_assert_cmpint(ftruncate(fd, 0), ==, 0);
    g_assert_cmpint(statvfs(place->folder, &info), ==, 0);
    g_assert_cmpint(posix_fallocate(fd, 0, (off_t)(info.f_bavail * info.f_frsize - left_bytes)), ==, 0);
}

static void test_change_of_a_full_repository_leaves_no_disk(void) {
    g_auto(Place) place;
    g_auto(Vm) vm = {0};
    int n_failed = 0;
    if (!small_place_init(&place))
        return;
    make_vm(&place, false, CLONE_METHOD_AUTO, &vm);
    for (size_t left = 0; left <= 2 * PAGE; left += PAGE) {
        for (int second = 0; second < 2; second++) {
            g_auto(Vm) wanted = {0};
            g_auto(Error) err = {0};
            vm_copy(&wanted, &vm);
            disk_set_id(vm_add_disks(&wanted), OTHER_ID);
            disk_set_size(&wanted.disks.items[1], MIB);
            fill(&place, left);
            bool is_done = second ? repository_dir.vm_write(&place.repository, &wanted, NULL, &err)
                                  : repository_dir.vm_prepare(&place.repository, &wanted, 0, &err);
            if (is_done)
                continue;
            n_failed++;
            g_assert_cmpint(err.code, ==, ERROR_NO_SPACE);
            g_assert_false(exists(&place, "disks/" OTHER_ID ".raw"));
            g_assert_false(exists(&place, "disks/" OTHER_ID ".json"));
            assert_no_debris(&place, 1);
        }
    }
    g_assert_cmpint(n_failed, >=, 4); /* also where the disk and its note fit, but no vm.json */
    small_place_end(&place);
}

static void test_change_of_a_full_repository_is_undone(void) {
    g_auto(Place) place;
    g_auto(Vm) vm = {0}, wanted = {0};
    g_auto(Error) err = {0};
    if (!small_place_init(&place))
        return;
    make_vm(&place, false, CLONE_METHOD_AUTO, &vm);
    cloud_init_set_enabled(
        vm_put_cloud_init(&vm), false); /* a medium that may hold new secrets is made again */
    g_assert_true(repository_dir.vm_write(&place.repository, &vm, NULL, NULL));
    vm_copy(&wanted, &vm);
    disk_set_id(vm_add_disks(&wanted), OTHER_ID);
    disk_set_size(&wanted.disks.items[1], MIB);
    g_assert_true(repository_dir.vm_prepare(&place.repository, &wanted, 0, NULL));
    fill(&place, 0);
    g_assert_false(repository_dir.vm_prepare(&place.repository, &vm, 0, &err));
    g_assert_cmpint(err.code, ==, ERROR_NO_SPACE);
    g_assert_true(repository_dir.vm_prepare(&place.repository, &vm, VM_CHANGE_DISCARDS, NULL));
    g_assert_true(repository_dir.disk_discard(&place.repository, VM_ID, OTHER_ID, NULL));
    g_assert_true(repository_dir.vm_write(&place.repository, &vm, NULL, NULL));
    g_assert_false(exists(&place, "disks/" OTHER_ID ".raw"));
    assert_no_debris(&place, 1);
    small_place_end(&place);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/storage-faults/folders-of-others", test_folders_that_others_can_change_are_refused);
    g_test_add_func("/storage-faults/links-inside", test_links_inside_a_repository_are_not_followed);
    g_test_add_func(
        "/storage-faults/links-on-the-way", test_own_links_lead_to_a_repository_and_those_of_others_do_not);
    g_test_add_func("/storage-faults/kernel-elsewhere", test_kernel_that_lies_elsewhere_is_not_copied);
    g_test_add_func("/storage-faults/unreadable-note", test_unreadable_note_keeps_every_disk);
    g_test_add_func(
        "/storage-faults/unreadable-note-of-a-template", test_unreadable_note_of_a_template_stops_its_clones);
    g_test_add_func("/storage-faults/unreadable-note-in-a-scan", test_scan_shows_an_unreadable_note);
    g_test_add_func("/storage-faults/unreadable-vm", test_unreadable_vm_keeps_the_kernel_and_the_iso);
    g_test_add_func("/storage-faults/deleted-is-gone", test_what_is_deleted_is_durably_gone);
    g_test_add_func("/storage-faults/discarded-is-gone", test_discarded_disks_and_templates_are_durably_gone);
    g_test_add_func("/storage-faults/undone-is-gone", test_failed_create_is_durably_undone);
    g_test_add_func("/storage-faults/full-leaves-no-disk", test_change_of_a_full_repository_leaves_no_disk);
    g_test_add_func("/storage-faults/full-is-undone", test_change_of_a_full_repository_is_undone);
    return g_test_run();
}
