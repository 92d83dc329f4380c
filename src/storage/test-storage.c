/* Proves that a folder describes itself, that clones are what they say, and that crashes leave only what can
 * be found. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"
#include "storage/definition.h"
#include "storage/test-place.h"

static void test_only_the_same_repository_is_taken_over(void) {
    g_auto(Place) place;
    place_init(&place);
    g_assert_cmpint(place.repository.status.state, ==, REPOSITORY_STATE_READY);
    g_assert_cmpuint(place.repository.status.size, >, 0);
    g_assert_true(repository_dir.open(&place.repository, NULL));
    repository_set_id(&place.repository, OTHER_ID);
    g_auto(Error) err = {0};
    g_assert_false(repository_dir.open(&place.repository, &err));
    g_assert_cmpint(err.code, ==, ERROR_NOT_OWNER);
}

static void test_folder_with_foreign_files_is_left_alone(void) {
    g_auto(Place) place;
    place_init(&place);
    g_autofree char *path = g_build_filename(place.folder, "home", NULL),
                    *file = g_build_filename(path, "letter", NULL);
    g_assert_true(folder_make(path, 0755, NULL) && file_replace(file, "x", 1, 0600, NULL));
    repository_set_path(&place.repository, path);
    g_auto(Error) err = {0};
    g_assert_false(repository_dir.open(&place.repository, &err));
    g_assert_cmpint(err.code, ==, ERROR_EXISTS);
}

static void test_newer_format_is_refused(void) {
    g_auto(Place) place;
    place_init(&place);
    g_autofree char *path = g_build_filename(place.repository.path, "lodge-repository.json", NULL);
    const char text[] = "{\"format\":2,\"id\":\"" REPOSITORY_ID "\"}";
    g_assert_true(file_replace(path, text, strlen(text), 0600, NULL));
    g_auto(Error) err = {0};
    g_assert_false(repository_dir.open(&place.repository, &err));
    g_assert_cmpint(err.code, ==, ERROR_NEWER_FORMAT);
    repository_dir.probe(&place.repository);
    g_assert_cmpint(place.repository.status.state, ==, REPOSITORY_STATE_FAILED);
}

static void test_vm_json_holds_no_secret(void) {
    g_auto(Place) place;
    place_init(&place);
    g_auto(Vm) vm = {0};
    make_vm(&place, false, CLONE_METHOD_AUTO, &vm);
    g_autofree char *path = g_build_filename(place.repository.path, "vms", VM_ID, "vm.json", NULL),
                    *text = NULL;
    g_assert_true(file_read(path, 1 << 20, &text, NULL, NULL));
    g_assert_null(strstr(text, "secret"));
    g_assert_true(exists(&place, "vms/" VM_ID "/seed.iso"));
    g_assert_false(exists(&place, "vms/" VM_ID "/draft.json"));
    assert_no_debris(&place, 1);
}

static void assert_content(const Place *place, const Vm *vm) {
    g_autofree char *path = repository_disk_path(&place->repository, &vm->disks.items[0]);
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
    char content[8] = {0};
    struct stat status;
    g_assert_cmpint(pread(fd, content, 7, 65536), ==, 7);
    g_assert_cmpstr(content, ==, "content");
    g_assert_cmpint(fstat(fd, &status), ==, 0);
    g_assert_cmpint(status.st_size, ==, (int64_t)MIB);
    g_assert_cmpint(status.st_blocks * 512, <, (int64_t)MIB);
}

static void test_full_copy_has_the_content_and_stays_sparse(void) {
    g_auto(Place) place;
    place_init(&place);
    place_add_template(&place);
    g_auto(Vm) vm = {0};
    make_vm(&place, true, CLONE_METHOD_FULL, &vm);
    g_assert_cmpint(vm.disks.items[0].clone, ==, CLONE_METHOD_FULL);
    assert_content(&place, &vm);
}

static bool is_one_file_system(const char *a, const char *b) {
    struct stat first, second;
    return stat(a, &first) < 0 || stat(b, &second) < 0 || first.st_dev == second.st_dev;
}

static void test_template_on_another_file_system_is_cloned(void) {
    static const CloneMethod methods[] = {CLONE_METHOD_AUTO, CLONE_METHOD_FULL};
    if (is_one_file_system(g_get_tmp_dir(), "/dev/shm")) {
        g_test_skip("there is only one file system");
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(methods); i++) {
        g_auto(Place) home, place;
        g_auto(AgentVm) request;
        g_auto(Vm) vm = {0};
        g_auto(Error) err = {0};
        place_init(&home);
        place_init_at(&place, g_mkdtemp(g_strdup("/dev/shm/lodge-storage-XXXXXX")));
        place_add_template(&home);
        g_autofree char *template_disk =
            repository_template_disk_path(&home.repository, &home.template.disks.items[0]);
        static const char zeros[256 << 10];
        fd_auto int fd =
            open(template_disk, O_WRONLY | O_CLOEXEC); /* written, and still a hole of the clone */
        g_assert_cmpint(pwrite(fd, zeros, sizeof zeros, 512 << 10), ==, (ssize_t)sizeof zeros);
        request_init(&request, &place, true);
        template_clear(&request.template);
        template_copy(agent_vm_put_template(&request), &home.template);
        repository_copy(agent_vm_put_template_repository(&request), &home.repository);
        agent_vm_set_clone(&request, methods[i]);
        vm_copy(&vm, &request.vm);
        if (!repository_dir.vm_create(&request, &vm, NULL, &err))
            g_error("%s", err.message);
        g_assert_cmpint(vm.disks.items[0].clone, ==, CLONE_METHOD_FULL);
        assert_content(&place, &vm);
        g_autofree char *disk = repository_disk_path(&place.repository, &vm.disks.items[0]);
        struct stat status;
        g_assert_cmpint(stat(disk, &status), ==, 0);
        g_assert_cmpint(status.st_blocks * 512, <=, 64 << 10);
        g_assert_true(repository_dir.template_delete(&home.repository, &home.template, &err));
    }
}

static void test_overlay_keeps_its_template(void) {
    g_auto(Place) place;
    place_init(&place);
    place_add_template(&place);
    g_auto(Vm) vm = {0};
    make_vm(&place, true, CLONE_METHOD_OVERLAY, &vm);
    g_assert_cmpint(vm.disks.items[0].format, ==, DISK_FORMAT_QCOW2);
    g_autofree char *old_disk =
        repository_template_disk_path(&place.repository, &place.template.disks.items[0]);
    g_auto(Error) err = {0};
    g_assert_false(repository_dir.template_delete(&place.repository, &place.template, &err));
    g_assert_cmpint(err.code, ==, ERROR_IN_USE);
    place_add_template(&place); /* a rebuild */
    g_assert_cmpint(access(old_disk, F_OK), ==, 0);
    assert_no_debris(&place, 1);
    g_assert_true(repository_dir.vm_delete(&place.repository, VM_ID, true, NULL));
    g_assert_true(repository_dir.template_delete(&place.repository, &place.template, NULL));
    g_assert_false(exists(&place, "templates/" TEMPLATE_ID));
}

static void test_automatic_clone_works_on_every_file_system(void) {
    g_auto(Place) place;
    place_init(&place);
    place_add_template(&place);
    g_auto(Vm) vm = {0};
    make_vm(&place, true, CLONE_METHOD_AUTO, &vm);
    CloneMethod expected = place.repository.status.reflink ? CLONE_METHOD_REFLINK : CLONE_METHOD_OVERLAY;
    g_assert_cmpint(vm.disks.items[0].clone, ==, expected);
    g_assert_cmpuint(vm.disks.items[0].size, ==, MIB);
}

static void test_create_twice_is_done_once(void) {
    g_auto(Place) place;
    place_init(&place);
    g_auto(Vm) first = {0};
    make_vm(&place, false, CLONE_METHOD_AUTO, &first);
    g_autofree char *path = repository_disk_path(&place.repository, &first.disks.items[0]);
    fd_auto int fd = open(path, O_WRONLY | O_CLOEXEC);
    g_assert_cmpint(write(fd, "guest", 5), ==, 5);
    g_auto(Vm) second = {0};
    make_vm(&place, false, CLONE_METHOD_AUTO, &second);
    g_assert_true(model_equal(&vm_type, &first, &second));
    g_autofree char *content = NULL;
    g_assert_true(file_read(path, 4 * MIB, &content, NULL, NULL));
    g_assert_cmpstr(content, ==, "guest");
}

static void test_failed_create_leaves_nothing(void) {
    g_auto(Place) place;
    place_init(&place);
    g_auto(AgentVm) request;
    request_init(&request, &place, false);
    vm_add_disks(&request.vm); /* without an id */
    g_auto(Vm) vm = {0};
    vm_copy(&vm, &request.vm);
    g_auto(Error) err = {0};
    g_assert_false(repository_dir.vm_create(&request, &vm, NULL, &err));
    g_assert_cmpstr(err.field, ==, "/disks/1/id");
    assert_no_debris(&place, 0);
    g_assert_false(exists(&place, "vms/" VM_ID));
}

static void test_interrupted_create_is_debris_and_can_be_repeated(void) {
    g_auto(Place) place;
    place_init(&place);
    g_auto(Vm) vm = {0};
    make_vm(&place, false, CLONE_METHOD_AUTO, &vm);
    /* As a crash before the last step leaves it. */
    g_autofree char *path = g_build_filename(place.repository.path, "vms", VM_ID, "vm.json", NULL);
    g_autofree char *draft = g_build_filename(place.repository.path, "vms", VM_ID, "draft.json", NULL);
    g_assert_cmpint(rename(path, draft), ==, 0);
    g_auto(AgentRepositoryContent) content = {0};
    g_assert_true(repository_dir.scan(&place.repository, &content, NULL));
    g_assert_cmpuint(content.vms.n, ==, 0);
    g_assert_cmpuint(content.debris.n, ==, 3); /* the folder, the disk, its note */
    g_auto(Vm) again = {0};
    make_vm(&place, false, CLONE_METHOD_AUTO, &again);
    assert_no_debris(&place, 1);
    g_assert_cmpint(rename(path, draft), ==, 0);
    g_assert_true(repository_dir.vm_delete(&place.repository, VM_ID, false, NULL));
    assert_no_debris(&place, 0);
}

static void test_higher_revision_is_never_overwritten(void) {
    g_auto(Place) place;
    place_init(&place);
    g_auto(Vm) vm = {0};
    make_vm(&place, false, CLONE_METHOD_AUTO, &vm);
    vm_set_revision(&vm, 2);
    g_auto(Error) err = {0};
    g_assert_false(repository_dir.vm_write(&place.repository, &vm, NULL, &err));
    g_assert_cmpint(err.code, ==, ERROR_CONFLICT);
    vm_set_revision(&vm, 4);
    g_assert_true(repository_dir.vm_write(&place.repository, &vm, "<domain/>", NULL));
    g_assert_true(exists(&place, "vms/" VM_ID "/domain.xml"));
}

static void test_disks_grow_appear_and_go_to_the_trash(void) {
    g_auto(Place) place;
    place_init(&place);
    g_auto(Vm) vm = {0};
    make_vm(&place, false, CLONE_METHOD_AUTO, &vm);
    disk_set_size(&vm.disks.items[0], 3 * MIB);
    disk_set_id(vm_add_disks(&vm), OTHER_ID);
    disk_set_size(&vm.disks.items[1], MIB);
    disk_set_format(&vm.disks.items[1], DISK_FORMAT_QCOW2);
    g_assert_true(repository_dir.vm_write(&place.repository, &vm, NULL, NULL));
    g_assert_true(exists(&place, "disks/" OTHER_ID ".qcow2"));
    g_autofree char *path = repository_disk_path(&place.repository, &vm.disks.items[0]);
    struct stat status;
    g_assert_cmpint(stat(path, &status), ==, 0);
    g_assert_cmpint(status.st_size, ==, (int64_t)(3 * MIB));
    disk_clear(&vm.disks.items[1]);
    vm.disks.n = 1;
    g_assert_true(repository_dir.vm_write(&place.repository, &vm, NULL, NULL));
    g_assert_false(exists(&place, "disks/" OTHER_ID ".qcow2"));
    assert_no_debris(&place, 1);
    disk_set_size(&vm.disks.items[0], MIB);
    g_auto(Error) err = {0};
    g_assert_false(repository_dir.vm_write(&place.repository, &vm, NULL, &err));
    g_assert_cmpstr(err.field, ==, "/disks/0/size");
}

/* Killed after the first half, the repository names all that lies in it; the second half or the way back end
 * it. */
static void test_interrupted_change_is_no_debris(void) {
    g_auto(Place) place;
    place_init(&place);
    g_auto(Vm) vm = {0}, before = {0}, both = {0};
    make_vm(&place, false, CLONE_METHOD_AUTO, &vm);
    vm_copy(&before, &vm);
    disk_set_id(&vm.disks.items[0], OTHER_ID); /* another disk instead of the first */
    disk_set_size(&vm.disks.items[0], MIB);
    g_assert_true(repository_dir.vm_prepare(&place.repository, &vm, VM_CHANGE_WHILE_IT_RUNS, NULL));
    assert_no_debris(&place, 1);
    g_assert_true(repository_dir.vm_read(&place.repository, VM_ID, &both, NULL));
    g_assert_cmpuint(both.disks.n, ==, 2);
    g_assert_true(both.disks.items[1].detached);
    g_assert_true(
        repository_dir.vm_prepare(&place.repository, &before, VM_CHANGE_WHILE_IT_RUNS, NULL)); /* back */
    g_assert_true(repository_dir.disk_discard(&place.repository, VM_ID, OTHER_ID, NULL));
    g_assert_true(
        repository_dir.disk_discard(&place.repository, VM_ID, OTHER_ID, NULL)); /* may be repeated */
    g_assert_true(repository_dir.vm_write(&place.repository, &before, NULL, NULL));
    g_assert_false(exists(&place, "disks/" OTHER_ID ".raw"));
    g_assert_true(exists(&place, "disks/" DISK_ID ".raw"));
    assert_no_debris(&place, 1);
}

static void test_only_own_disks_are_discarded(void) {
    g_auto(Place) place;
    place_init(&place);
    g_auto(Vm) vm = {0};
    g_auto(Error) err = {0};
    make_vm(&place, false, CLONE_METHOD_AUTO, &vm);
    g_assert_false(repository_dir.disk_discard(&place.repository, OTHER_ID, DISK_ID, &err));
    g_assert_cmpint(err.code, ==, ERROR_IN_USE);
    error_clear(&err);
    g_assert_false(repository_dir.disk_discard(&place.repository, VM_ID, "../vms/x", &err));
    g_assert_cmpint(err.code, ==, ERROR_INVALID);
    g_assert_true(exists(&place, "disks/" DISK_ID ".raw"));
}

static void test_lost_disk_is_never_replaced_by_an_empty_one(void) {
    g_auto(Place) place;
    place_init(&place);
    g_auto(Vm) vm = {0};
    make_vm(&place, false, CLONE_METHOD_AUTO, &vm);
    g_autofree char *path = repository_disk_path(&place.repository, &vm.disks.items[0]);
    unlink(path);
    g_auto(Error) err = {0};
    g_assert_false(repository_dir.vm_write(&place.repository, &vm, NULL, &err));
    g_assert_cmpint(err.code, ==, ERROR_NOT_FOUND);
    g_assert_false(exists(&place, "disks/" DISK_ID ".raw"));
}

static void test_kernel_of_a_vm_keeps_the_template(void) {
    g_auto(Place) place;
    place_init(&place);
    place_add_template(&place);
    g_auto(AgentVm) request;
    request_init(&request, &place, false);
    direct_boot_copy(vm_put_direct_boot(&request.vm), &place.template.direct_boot);
    g_auto(Vm) vm = {0};
    vm_copy(&vm, &request.vm);
    g_assert_true(repository_dir.vm_create(&request, &vm, NULL, NULL));
    g_auto(Error) err = {0};
    g_assert_false(repository_dir.template_delete(&place.repository, &place.template, &err));
    g_assert_cmpint(err.code, ==, ERROR_IN_USE);
}

/* The VM's disk is an overlay: so is the new template's, and a VM's of that. */
static void test_template_from_an_overlay_keeps_what_it_leans_on(void) {
    g_auto(Place) place;
    g_auto(Vm) vm = {0};
    g_auto(AgentTemplateFromVm) request;
    g_auto(Template) made = {0}, read = {0};
    g_auto(Error) err = {0};
    CloneMethod method = CLONE_METHOD_AUTO;
    place_init(&place);
    place_add_template(&place);
    make_vm(&place, true, CLONE_METHOD_OVERLAY, &vm);
    capture_init(&request, &place, &vm);
    template_set_id(&made, OTHER_ID);
    template_set_name(&made, "golden");
    g_assert_true(repository_dir.template_from_vm(&request, &made, NULL, &method, &err));
    g_assert_cmpint(made.disks.items[0].format, ==, DISK_FORMAT_QCOW2);
    g_assert_cmpint(method, !=, CLONE_METHOD_AUTO);
    g_assert_true(repository_dir.template_read(&place.repository, OTHER_ID, &read, NULL));
    g_assert_true(repository_dir.vm_delete(&place.repository, VM_ID, true, NULL));
    g_assert_false(repository_dir.template_delete(&place.repository, &place.template, &err));
    g_assert_cmpint(err.code, ==, ERROR_IN_USE);
    assert_no_debris(&place, 0);
    g_assert_true(repository_dir.template_delete(&place.repository, &made, NULL));
    g_assert_true(repository_dir.template_delete(&place.repository, &place.template, NULL));
    assert_no_debris(&place, 0);
}

static void test_failed_template_from_a_vm_leaves_nothing(void) {
    g_auto(Place) place;
    g_auto(Vm) vm = {0};
    g_auto(AgentTemplateFromVm) request;
    g_auto(Template) made = {0};
    g_auto(Error) err = {0};
    CloneMethod method;
    place_init(&place);
    make_vm(&place, false, CLONE_METHOD_AUTO, &vm);
    capture_init(&request, &place, &vm);
    disk_set_id(vm_add_disks(&request.vm), OTHER_ID); /* its second disk is not there */
    template_set_id(&made, TEMPLATE_ID);
    g_assert_false(repository_dir.template_from_vm(&request, &made, NULL, &method, &err));
    assert_no_debris(&place, 1);
    g_assert_false(exists(&place, "templates/" TEMPLATE_ID));
}

/* A disk that was taken in, and then the agent died before template.json. */
static void test_interrupted_template_is_cleaned_up_by_the_next_try(void) {
    g_auto(Place) place;
    const DiskNote note = {.template = TEMPLATE_ID};
    place_init(&place);
    g_assert_true(disk_note_write(&place.repository, OTHER_ID, &note, NULL));
    g_autofree char *disk = g_build_filename(place.repository.path, "disks", OTHER_ID ".raw", NULL);
    g_assert_true(file_replace(disk, "half", 4, 0600, NULL));
    place_add_template(&place);
    g_assert_false(exists(&place, "disks/" OTHER_ID ".raw"));
    assert_no_debris(&place, 0);
}

static void test_old_assemblies_are_swept(void) {
    g_auto(Place) place;
    g_autofree char *folder = NULL;
    place_init(&place);
    g_assert_true(repository_dir.assembly_folder(&place.repository, OTHER_ID, &folder, NULL));
    g_autofree char *data = g_build_filename(folder, ASSEMBLY_FILE, NULL);
    g_assert_true(folder_make(folder, 0700, NULL));
    g_assert_true(file_replace(data, "x", 1, 0600, NULL));
    g_assert_true(repository_dir.assemblies_sweep(&place.repository, 60, NULL));
    g_assert_true(exists(&place, "assemblies/" OTHER_ID "/" ASSEMBLY_FILE));
    const struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    g_assert_cmpint(utimensat(AT_FDCWD, data, old, 0), ==, 0);
    g_assert_true(repository_dir.assemblies_sweep(&place.repository, 60, NULL));
    g_assert_false(exists(&place, "assemblies/" OTHER_ID));
}

static void test_a_later_epoch_wins_over_a_higher_revision(void) {
    g_auto(Place) place;
    place_init(&place);
    g_auto(Vm) vm = {0};
    make_vm(&place, false, CLONE_METHOD_AUTO, &vm);
    vm_set_epoch(&vm, 2);
    vm_set_revision(&vm, 1);
    g_assert_true(repository_dir.vm_write(&place.repository, &vm, NULL, NULL));
    vm_set_epoch(&vm, 1);
    vm_set_revision(&vm, 9);
    g_auto(Error) err = {0};
    g_assert_false(repository_dir.vm_write(&place.repository, &vm, NULL, &err));
    g_assert_cmpint(err.code, ==, ERROR_CONFLICT);
}

static void test_a_rebuild_leaves_the_kernel_that_a_vm_boots(void) {
    g_auto(Place) place;
    place_init(&place);
    place_add_template(&place);
    g_auto(Vm) vm = {0};
    make_vm(&place, false, CLONE_METHOD_AUTO, &vm);
    g_autofree char *first = g_strdup(place.template.direct_boot.kernel);
    direct_boot_copy(vm_put_direct_boot(&vm), &place.template.direct_boot);
    g_assert_true(repository_dir.vm_write(&place.repository, &vm, NULL, NULL));
    place_add_template(&place);
    g_autofree char *second = g_strdup(place.template.direct_boot.kernel);
    g_assert_cmpstr(second, !=, first);
    g_autofree char *first_file = g_strdup_printf("templates/" TEMPLATE_ID "/%s", first);
    g_autofree char *second_file = g_strdup_printf("templates/" TEMPLATE_ID "/%s", second);
    g_assert_true(exists(&place, first_file) && exists(&place, second_file));
    g_assert_true(repository_dir.vm_delete(&place.repository, VM_ID, true, NULL));
    place_add_template(&place);
    g_assert_false(exists(&place, first_file) || exists(&place, second_file));
}

/* As it is where a VM came from another host: its kernel is there, the template is not. */
static void test_a_kernel_without_template_leaves_with_its_vm(void) {
    g_auto(Place) place;
    place_init(&place);
    place_add_template(&place);
    g_auto(Vm) vm = {0};
    make_vm(&place, false, CLONE_METHOD_AUTO, &vm);
    direct_boot_copy(vm_put_direct_boot(&vm), &place.template.direct_boot);
    g_assert_true(repository_dir.vm_write(&place.repository, &vm, NULL, NULL));
    g_autofree char *definition =
        g_build_filename(place.repository.path, "templates/" TEMPLATE_ID "/template.json", NULL);
    g_autofree char *kernel = g_strdup_printf("templates/" TEMPLATE_ID "/%s", vm.direct_boot.kernel);
    g_autofree char *other = g_build_filename(place.repository.path, "vms/other", NULL);
    g_autofree char *other_note = g_build_filename(other, "vm.json", NULL);
    g_autoptr(json_t) json = vm_encode(&vm, MODEL_ENCODE_DEFINITION);
    g_autofree char *text = json_to_text(json);
    g_assert_cmpint(unlink(definition), ==, 0);
    g_assert_true(folder_make(other, 0700, NULL) && file_replace(other_note, text, strlen(text), 0600, NULL));
    g_assert_true(repository_dir.vm_delete(&place.repository, VM_ID, true, NULL));
    g_assert_true(exists(&place, kernel)); /* the other one is started with it */
    g_assert_true(tree_remove(other, NULL));
    g_auto(Vm) last = {0};
    make_vm(&place, false, CLONE_METHOD_AUTO, &last);
    direct_boot_copy(vm_put_direct_boot(&last), &place.template.direct_boot);
    g_assert_true(repository_dir.vm_write(&place.repository, &last, NULL, NULL));
    g_assert_true(repository_dir.vm_delete(&place.repository, VM_ID, true, NULL));
    g_assert_false(exists(&place, "templates/" TEMPLATE_ID));
}

/* Throws away a VM with one disk that is written so far, `hours` ago. */
static void throw_away(const Place *place, int hours, size_t written_bytes) {
    g_auto(Vm) vm = {0};
    make_vm(place, false, CLONE_METHOD_AUTO, &vm);
    g_autofree char *disk = repository_disk_path(&place->repository, &vm.disks.items[0]);
    g_autofree char *content = g_malloc0(written_bytes);
    fd_auto int fd = open(disk, O_WRONLY | O_CLOEXEC);
    g_assert_cmpint(pwrite(fd, content, written_bytes, 0), ==, (ssize_t)written_bytes);
    g_assert_cmpint(fsync(fd), ==, 0); /* so that it occupies its blocks */
    g_assert_true(repository_dir.vm_delete(&place->repository, VM_ID, false, NULL));
    g_autofree char *trash = g_build_filename(place->repository.path, "trash", NULL);
    g_autoptr(GPtrArray) names = NULL;
    g_assert_true(folder_list(trash, &names, NULL));
    g_autofree char *newest = g_build_filename(trash, names->pdata[0], NULL); /* begins with the year */
    g_autofree char *aged = g_strdup_printf("%s/old-%d", trash, hours);
    const struct timespec time = {.tv_sec = g_get_real_time() / G_USEC_PER_SEC - hours * 3600};
    g_assert_cmpint(rename(newest, aged), ==, 0);
    g_assert_cmpint(utimensat(AT_FDCWD, aged, (struct timespec[]){time, time}, 0), ==, 0);
}

static void test_the_trash_is_bounded_by_age_and_size(void) {
    const int64_t day_ns = 24 * 3600 * NS_PER_S;
    g_auto(Place) place;
    place_init(&place);
    int64_t now_ns = clock_realtime_ns(clock_system());
    static const int hours[] = {0, 3, 5, 50};
    for (size_t i = 0; i < G_N_ELEMENTS(hours); i++)
        throw_away(&place, hours[i], hours[i] == 5 ? 2 * MIB : 4096);
    g_assert_true(repository_dir.trash_bound(&place.repository, 3 * day_ns, MIB * 100, now_ns, NULL));
    g_assert_true(exists(&place, "trash/old-50"));
    g_assert_true(repository_dir.trash_bound(&place.repository, 2 * day_ns, MIB * 100, now_ns, NULL));
    g_assert_false(exists(&place, "trash/old-50"));
    g_assert_true(repository_dir.trash_bound(&place.repository, 2 * day_ns, 2 * MIB, now_ns, NULL));
    g_assert_false(exists(&place, "trash/old-5"));
    g_assert_true(exists(&place, "trash/old-3"));
    g_assert_true(repository_dir.trash_bound(&place.repository, 2 * day_ns, 0, now_ns, NULL));
    g_assert_false(exists(&place, "trash/old-3"));
    g_assert_true(exists(&place, "trash/old-0")); /* perhaps still on its way in */
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func(
        "/storage/only-the-same-repository-is-taken-over", test_only_the_same_repository_is_taken_over);
    g_test_add_func(
        "/storage/folder-with-foreign-files-is-left-alone", test_folder_with_foreign_files_is_left_alone);
    g_test_add_func("/storage/newer-format-is-refused", test_newer_format_is_refused);
    g_test_add_func("/storage/vm-json-holds-no-secret", test_vm_json_holds_no_secret);
    g_test_add_func("/storage/full-copy-is-sparse", test_full_copy_has_the_content_and_stays_sparse);
    g_test_add_func("/storage/overlay-keeps-its-template", test_overlay_keeps_its_template);
    g_test_add_func("/storage/automatic-clone", test_automatic_clone_works_on_every_file_system);
    g_test_add_func("/storage/create-twice-is-done-once", test_create_twice_is_done_once);
    g_test_add_func("/storage/failed-create-leaves-nothing", test_failed_create_leaves_nothing);
    g_test_add_func("/storage/interrupted-create", test_interrupted_create_is_debris_and_can_be_repeated);
    g_test_add_func(
        "/storage/higher-revision-is-never-overwritten", test_higher_revision_is_never_overwritten);
    g_test_add_func("/storage/disks-grow-appear-and-go", test_disks_grow_appear_and_go_to_the_trash);
    g_test_add_func("/storage/interrupted-change", test_interrupted_change_is_no_debris);
    g_test_add_func("/storage/only-own-disks-are-discarded", test_only_own_disks_are_discarded);
    g_test_add_func("/storage/lost-disk", test_lost_disk_is_never_replaced_by_an_empty_one);
    g_test_add_func(
        "/storage/template-from-an-overlay", test_template_from_an_overlay_keeps_what_it_leans_on);
    g_test_add_func("/storage/failed-template-from-a-vm", test_failed_template_from_a_vm_leaves_nothing);
    g_test_add_func("/storage/interrupted-template", test_interrupted_template_is_cleaned_up_by_the_next_try);
    g_test_add_func("/storage/old-assemblies", test_old_assemblies_are_swept);
    g_test_add_func("/storage/kernel-keeps-the-template", test_kernel_of_a_vm_keeps_the_template);
    g_test_add_func("/storage/epoch-before-revision", test_a_later_epoch_wins_over_a_higher_revision);
    g_test_add_func("/storage/kernel-without-template", test_a_kernel_without_template_leaves_with_its_vm);
    g_test_add_func("/storage/rebuild-leaves-kernels", test_a_rebuild_leaves_the_kernel_that_a_vm_boots);
    g_test_add_func("/storage/trash-is-bounded", test_the_trash_is_bounded_by_age_and_size);
    g_test_add_func("/storage/clone-across-file-systems", test_template_on_another_file_system_is_cloned);
    return g_test_run();
}
