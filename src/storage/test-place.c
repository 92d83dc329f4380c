/* The repository, the template and the VM of the tests. */
#include "storage/test-place.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"

void place_init_at(Place *place, char *take_folder) {
    *place = (Place){.folder = take_folder};
    g_autofree char *path = g_build_filename(place->folder, "repository", NULL);
    repository_set_id(&place->repository, REPOSITORY_ID);
    repository_set_name(&place->repository, "first");
    repository_set_path(&place->repository, path);
    g_auto(Error) err = {0};
    if (!repository_dir.open(&place->repository, &err))
        g_error("%s", err.message);
}

void place_init(Place *place) {
    place_init_at(place, g_dir_make_tmp("lodge-storage-XXXXXX", NULL));
}

void place_clear(Place *place) {
    tree_remove(place->folder, NULL);
    g_free(place->folder);
    repository_clear(&place->repository);
    template_clear(&place->template);
}
void place_add_template(Place *place) {
    g_autofree char *work = NULL;
    g_assert_true(repository_dir.work_folder(&place->repository, "build/1", &work, NULL));
    g_autofree char *disk = g_build_filename(work, "disk", NULL);
    fd_auto int fd = open(disk, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    g_assert_cmpint(pwrite(fd, "content", 7, 65536), ==, 7);
    g_assert_cmpint(ftruncate(fd, (off_t)MIB), ==, 0);
    g_autofree char *kernel = g_build_filename(work, "kernel", NULL);
    g_assert_true(file_replace(kernel, "kernel", 6, 0600, NULL));
    template_clear(&place->template);
    template_set_id(&place->template, TEMPLATE_ID);
    template_set_name(&place->template, "small");
    g_auto(Error) err = {0};
    if (!repository_dir.template_store(&place->repository, &place->template, work, &err))
        g_error("%s", err.message);
}

void request_init(AgentVm *request, const Place *place, bool from_template) {
    *request = (AgentVm){0};
    Vm *vm = agent_vm_put_vm(request);
    vm_set_id(vm, VM_ID);
    vm_set_name(vm, "web");
    vm_set_revision(vm, 3);
    disk_set_id(vm_add_disks(vm), DISK_ID);
    if (!from_template)
        disk_set_size(&vm->disks.items[0], 2 * MIB);
    cloud_init_set_user_data(vm_put_cloud_init(vm), "#cloud-config\npassword: secret\n");
    repository_copy(agent_vm_put_repository(request), &place->repository);
    if (from_template)
        template_copy(agent_vm_put_template(request), &place->template);
}

void make_vm(const Place *place, bool from_template, CloneMethod clone, Vm *ret_vm) {
    g_auto(AgentVm) request;
    request_init(&request, place, from_template);
    agent_vm_set_clone(&request, clone);
    vm_copy(ret_vm, &request.vm);
    g_auto(Error) err = {0};
    if (!repository_dir.vm_create(&request, ret_vm, NULL, &err))
        g_error("%s", err.message);
}

bool exists(const Place *place, const char *name) {
    g_autofree char *path = g_build_filename(place->repository.path, name, NULL);
    return access(path, F_OK) == 0;
}

void assert_no_debris(const Place *place, size_t n_vms) {
    g_auto(AgentRepositoryContent) content = {0};
    g_assert_true(repository_dir.scan(&place->repository, &content, NULL));
    g_assert_cmpuint(content.debris.n, ==, 0);
    g_assert_cmpuint(content.vms.n, ==, n_vms);
}

void capture_init(AgentTemplateFromVm *request, const Place *place, const Vm *vm) {
    *request = (AgentTemplateFromVm){0};
    vm_copy(agent_template_from_vm_put_vm(request), vm);
    repository_copy(agent_template_from_vm_put_repository(request), &place->repository);
}
