/* A repository that somebody else wrote: the same bytes as every kind of definition file in it. */
#include <string.h>
#include "base/file.h"
#include "fuzz.h"
#include "storage/definition.h"
#include "storage/dir.h"

#define ID "33333333-3333-4333-8333-333333333333"
enum { MAX_SIZE = 65536 };

const char *const fuzz_seeds[] = {
    "{\"format\":1,\"id\":\"" ID "\",\"name\":\"web\",\"revision\":3,\"vcpus\":1,\"disks\":[{\"id\":\"" ID
    "\",\"size\":1048576,\"format\":\"qcow2\"}],\"nics\":[{\"mac\":\"52:54:00:00:00:01\"}]}",
    "{\"format\":1,\"id\":\"" ID "\",\"name\":\"main\",\"kind\":\"dir\",\"path\":\"/srv/lodge\"}",
    "{\"format\":2,\"id\":\"x\"}",
    "{\"format\":1,\"id\":\"" ID "\",\"vm\":\"" ID "\",\"backing\":\"" ID "\"}",
    "{\"format\":-1,\"name\":null,\"disks\":{}}", NULL};

static void read_as(const char *name, const TypeDescriptor *type) {
    g_autofree char *path = g_build_filename(fuzz_folder(), name, NULL);
    void *object = g_malloc0(type->size);
    g_auto(Error) err = {0};
    if (!definition_read(path, type, object, &err))
        g_assert_true(err.code == ERROR_CORRUPT || err.code == ERROR_NEWER_FORMAT);
    model_free(type, object);
}

static void scan(void) {
    g_auto(Repository) repository = {0};
    g_auto(AgentRepositoryContent) content = {0};
    g_auto(Error) err = {0};
    repository_set_id(&repository, ID);
    repository_set_path(&repository, fuzz_folder());
    if (!dir_scan(&repository, &content, &err)) {
        g_autofree char *text = error_text(&err);
        g_error("%s", text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char description[] = "{\"format\":1,\"id\":\"" ID "\",\"name\":\"main\",\"kind\":\"dir\"}";
    size = MIN(size, MAX_SIZE);
    fuzz_write("lodge-repository.json", data, size);
    read_as("lodge-repository.json", &repository_type);
    fuzz_write("lodge-repository.json", description, strlen(description));
    fuzz_write("vms/" ID "/vm.json", data, size);
    fuzz_write("templates/" ID "/template.json", data, size);
    fuzz_write("isos/" ID ".json", data, size);
    fuzz_write("disks/" ID ".json", data, size);
    read_as("vms/" ID "/vm.json", &vm_type);
    scan();
    return 0;
}
