/* Disks that lie outside of a repository are used where they are, by paths that nobody else can change, and
 * never moved or removed. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "storage/outside-disk.h"
#include "storage/test-place.h"

enum { HEADER_BYTES = 104 };

static char *file_in(const Place *place, const char *name, const char *content, size_t size) {
    char *path = g_build_filename(place->folder, name, NULL);
    g_assert_true(file_replace(path, content, strlen(content), 0600, NULL));
    g_assert_cmpint(truncate(path, (off_t)size), ==, 0);
    return path;
}

/* Version 3, 1 MiB; with a backing file's name at `backing`, and features. */
static char *layer_in(const Place *place, const char *name, uint64_t backing, uint64_t features) {
    char header[HEADER_BYTES] = {'Q', 'F', 'I', (char)0xfb, 0, 0, 0, 3};
    const struct {
        size_t at;
        uint64_t value;
    } numbers[] = {{8, backing}, {24, MIB}, {72, features}};
    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
        uint64_t big = GUINT64_TO_BE(numbers[i].value);
        memcpy(header + numbers[i].at, &big, sizeof big);
    }
    char *path = g_build_filename(place->folder, name, NULL);
    g_assert_true(file_replace(path, header, sizeof header, 0600, NULL));
    return path;
}

static void assert_refused(const char *path, DiskFormat format, ErrorCode code) {
    OutsideDisk disk;
    g_auto(Error) err = {0};
    g_assert_false(outside_disk_look(path, format, &disk, &err));
    g_assert_cmpint(err.code, ==, code);
    g_assert_null(err.field);
}

static void test_sizes(void) {
    g_auto(Place) place;
    place_init(&place);
    OutsideDisk disk;
    g_auto(Error) err = {0};
    g_autofree char *raw = file_in(&place, "a \"b\" \xc3\xbc.raw", "x", 4096),
                    *whole = layer_in(&place, "w", 0, 0);
    g_autofree char *layer = layer_in(&place, "l", 512, 0), *beside = layer_in(&place, "d", 0, 1 << 2);
    g_assert_true(outside_disk_look(raw, DISK_FORMAT_RAW, &disk, &err));
    g_assert_true(disk.size_bytes == 4096 && disk.is_whole && !disk.is_device);
    g_assert_true(outside_disk_look(whole, DISK_FORMAT_QCOW2, &disk, &err));
    g_assert_true(disk.size_bytes == MIB && disk.is_whole);
    g_assert_true(outside_disk_check_copy(whole, DISK_FORMAT_QCOW2, &err));
    g_assert_true(outside_disk_look(layer, DISK_FORMAT_QCOW2, &disk, &err));
    g_assert_true(disk.size_bytes == MIB && !disk.is_whole);
    g_assert_true(outside_disk_look(beside, DISK_FORMAT_QCOW2, &disk, &err));
    g_assert_false(disk.is_whole);
    g_assert_false(outside_disk_check_copy(layer, DISK_FORMAT_QCOW2, &err));
    g_assert_cmpint(err.code, ==, ERROR_UNSUPPORTED);
    assert_refused(raw, DISK_FORMAT_QCOW2, ERROR_CORRUPT);
}

static void test_paths_of_others(void) {
    g_auto(Place) place;
    place_init(&place);
    g_autofree char *raw = file_in(&place, "a.raw", "x", 4096);
    g_autofree char *open_folder = g_build_filename(place.folder, "open", NULL);
    g_autofree char *inside = g_build_filename(open_folder, "a.raw", NULL);
    g_autofree char *link = g_build_filename(place.folder, "link", NULL);
    g_autofree char *loop = g_build_filename(place.folder, "loop", NULL);
    g_autofree char *out = g_build_filename(place.folder, "out", NULL);
    g_autofree char *none = g_build_filename(place.folder, "none", NULL);
    g_assert_true(folder_make(open_folder, 0700, NULL) && file_replace(inside, "x", 1, 0600, NULL));
    g_assert_cmpint(chmod(open_folder, 0777), ==, 0);
    g_assert_true(symlink("a.raw", link) == 0 && symlink("loop", loop) == 0 && symlink(inside, out) == 0);
    g_assert_true(outside_disk_check(link, NULL)); /* nobody else can lead it elsewhere */
    g_assert_true(outside_disk_check(raw, NULL));
    assert_refused(inside, DISK_FORMAT_RAW, ERROR_INVALID);
    assert_refused(out, DISK_FORMAT_RAW, ERROR_INVALID);
    assert_refused(place.folder, DISK_FORMAT_RAW, ERROR_INVALID);
    assert_refused("a.raw", DISK_FORMAT_RAW, ERROR_INVALID);
    assert_refused(none, DISK_FORMAT_RAW, ERROR_NOT_FOUND);
    g_assert_false(outside_disk_check(loop, NULL));
}

static void adopt_vm(const Place *place, const char *path, Vm *vm) {
    vm_set_id(vm, VM_ID);
    vm_set_name(vm, "old");
    vm_set_revision(vm, 1);
    Disk *disk = vm_add_disks(vm);
    disk_set_id(disk, DISK_ID);
    disk_set_kind(disk, DISK_KIND_DISK);
    disk_set_format(disk, DISK_FORMAT_RAW);
    disk_set_size(disk, MIB);
    disk_set_path(disk, path);
    g_assert_true(repository_dir.vm_adopt(&place->repository, vm, "<domain/>", NULL));
}

static uint64_t size_of(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 ? (uint64_t)status.st_size : 0;
}

static void test_adopted_disks_stay(void) {
    g_auto(Place) place;
    place_init(&place);
    g_autofree char *raw = file_in(&place, "old.raw", "content", MIB);
    g_autofree char *kept = g_build_filename(place.repository.path, "vms", VM_ID, "adopted.xml", NULL);
    g_autofree char *text = NULL;
    g_auto(Vm) vm = {0}, read = {0};
    adopt_vm(&place, raw, &vm);
    g_assert_true(repository_dir.vm_adopt(&place.repository, &vm, "<other/>", NULL)); /* repeated */
    g_assert_true(file_read(kept, MIB, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "<domain/>");
    g_assert_true(repository_dir.vm_read(&place.repository, VM_ID, &read, NULL));
    g_assert_cmpstr(read.disks.items[0].path, ==, raw);
    assert_no_debris(&place, 1);

    /* It grows where it is; a new disk lies in the repository whatever it says. */
    disk_set_size(&vm.disks.items[0], 2 * MIB);
    Disk *more = vm_add_disks(&vm);
    disk_set_id(more, OTHER_ID);
    disk_set_size(more, MIB);
    disk_set_path(more, raw);
    vm_set_revision(&vm, 2);
    g_assert_true(repository_dir.vm_write(&place.repository, &vm, NULL, NULL));
    g_assert_cmpuint(size_of(raw), ==, 2 * MIB);
    g_assert_null(vm.disks.items[1].path);
    g_assert_true(exists(&place, "disks/" OTHER_ID ".raw"));

    /* Taken away it stays; so it does when the VM goes for good. */
    g_autofree char *again = g_strdup(raw);
    disk_clear(&vm.disks.items[0]);
    vm.disks.items[0] = vm.disks.items[1];
    vm.disks.n = 1;
    vm_set_revision(&vm, 3);
    g_assert_true(repository_dir.vm_write(&place.repository, &vm, NULL, NULL));
    g_assert_cmpuint(size_of(again), ==, 2 * MIB);
    g_assert_true(repository_dir.disk_discard(&place.repository, VM_ID, DISK_ID, NULL));
    g_assert_true(repository_dir.vm_delete(&place.repository, VM_ID, true, NULL));
    g_assert_cmpuint(size_of(again), ==, 2 * MIB);
    g_assert_false(exists(&place, "vms/" VM_ID));
    assert_no_debris(&place, 0);
}

static void test_clone_of_an_adopted_vm(void) {
    g_auto(Place) place;
    place_init(&place);
    g_autofree char *raw = file_in(&place, "old.raw", "content", MIB);
    g_auto(Vm) source = {0}, vm = {0};
    g_auto(AgentVm) request = {0};
    g_autofree char *text = NULL;
    vm_set_id(&source, OTHER_ID);
    vm_set_name(&source, "old");
    Disk *disk = vm_add_disks(&source);
    disk_set_id(disk, OTHER_ID);
    disk_set_format(disk, DISK_FORMAT_RAW);
    disk_set_size(disk, MIB);
    disk_set_path(disk, raw);
    request_init(&request, &place, false);
    vm_copy(agent_vm_put_source(&request), &source);
    vm_copy(&vm, &request.vm);
    disk_set_path(&vm.disks.items[0], raw); /* must not be believed: what stands there would be replaced */
    g_assert_true(repository_dir.vm_create(&request, &vm, NULL, NULL));
    g_assert_null(vm.disks.items[0].path);
    g_autofree char *copy = repository_disk_path(&place.repository, &vm.disks.items[0]);
    g_assert_true(g_str_has_prefix(copy, place.repository.path));
    g_assert_true(file_read(copy, 8 * MIB, &text, NULL, NULL));
    g_assert_cmpint(memcmp(text, "content", 7), ==, 0);
    g_assert_cmpuint(size_of(raw), ==, MIB);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/outside-disk/sizes", test_sizes);
    g_test_add_func("/outside-disk/paths-of-others", test_paths_of_others);
    g_test_add_func("/outside-disk/adopted-disks-stay", test_adopted_disks_stay);
    g_test_add_func("/outside-disk/clone", test_clone_of_an_adopted_vm);
    return g_test_run();
}
