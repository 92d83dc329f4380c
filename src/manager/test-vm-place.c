/* Proves on which host a VM is placed, and what a host that cannot run it says. */
#include <string.h>
#include "base/file.h"
#include "engine/network-state.h"
#include "manager/network-hosts.h"
#include "manager/repository-hosts.h"
#include "manager/vm-cpu.h"
#include "inventory/pool-status.h"
#include "manager/vm-place.h"

#define POOL "11111111-1111-4111-8111-111111111111"
#define REPOSITORY "22222222-2222-4222-8222-222222222222"
#define LIGHT "33333333-3333-4333-8333-333333333333" /* has the most memory, and one mode that lacks much */
#define FULL "44444444-4444-4444-8444-444444444444"
#define NEIGHBOUR "66666666-6666-4666-8666-666666666666"
#define OFFICE "88888888-8888-4888-8888-888888888888"

typedef struct World {
    char *folder;
    Store *store;
    Inventory *inventory;
    VmCreate request;
} World;

static int n_open; /* commits that are not durable yet */

static void committed(const Error *err, void *data G_GNUC_UNUSED) {
    g_assert_null(err);
    n_open--;
}

static void commit(World *world, InventoryChange *take_change) {
    g_assert_nonnull(take_change);
    n_open++;
    inventory_commit(world->inventory, take_change, committed, NULL);
    while (n_open)
        g_main_context_iteration(NULL, TRUE);
}

static void put(World *world, ResourceId kind, const void *object) {
    InventoryChange *change = inventory_change_new(world->inventory);
    inventory_change_put(change, kind, object);
    commit(world, change);
}

static void add_mode(HostStatus *status, VmMode name, bool is_pc) {
    HostMode *mode = host_status_add_modes(status);
    host_mode_set_mode(mode, name);
    host_mode_set_uefi(mode, is_pc);
    host_mode_set_graphics(mode, is_pc);
}

static void add_host(World *world, const char *id, const char *name, uint64_t memory) {
    g_auto(Host) host = {0};
    host_set_id(&host, id);
    host_set_name(&host, name);
    host_set_pool(&host, POOL);
    host_set_address(&host, "unix:/nowhere");
    put(world, RESOURCE_HOST, &host);
    HostStatus *status = host_put_status(inventory_runtime(world->inventory, RESOURCE_HOST, id));
    host_status_set_state(status, HOST_STATE_CONNECTED);
    host_status_set_memory(status, memory);
    add_mode(status, VM_MODE_PVH, false);
    if (g_str_equal(id, FULL))
        add_mode(status, VM_MODE_HVM, true);
    inventory_runtime_changed(world->inventory, RESOURCE_HOST, id);
}

static void set_up(World *world, const void *data G_GNUC_UNUSED) {
    world->folder = g_dir_make_tmp("lodge-place-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(world->folder, "store.db", NULL);
    world->store = store_open_sqlite(path, NULL, clock_system(), NULL);
    g_assert_nonnull(world->store);
    world->inventory = inventory_new(world->store, clock_system());
    g_assert_true(inventory_load(world->inventory, NULL));
    g_auto(Pool) pool = {0};
    pool_set_id(&pool, POOL);
    pool_set_name(&pool, "default");
    put(world, RESOURCE_POOL, &pool);
    g_auto(Repository) repository = {0};
    repository_set_id(&repository, REPOSITORY);
    repository_set_name(&repository, "main");
    repository_set_path(&repository, "/nowhere");
    repository_set_pool(&repository, POOL);
    put(world, RESOURCE_REPOSITORY, &repository);
    add_host(world, LIGHT, "light", UINT64_C(8) << 30);
    add_host(world, FULL, "full", UINT64_C(4) << 30);
    vm_create_set_name(&world->request, "web");
    vm_create_set_count(&world->request, 1);
}

static void tear_down(World *world, const void *data G_GNUC_UNUSED) {
    inventory_free(world->inventory);
    store_close(world->store);
    tree_remove(world->folder, NULL);
    g_free(world->folder);
    vm_create_clear(&world->request);
}

static void expect_host(World *world, const char *expected) {
    g_auto(Error) err = {0};
    g_autoptr(VmPlaces) places = vm_places_new(world->inventory, &world->request, &err);
    const VmPlanWorld *plan = NULL;
    g_assert_cmpstr(err.message, ==, NULL);
    g_assert_true(vm_places_next(places, 1, &plan, NULL, &err));
    g_assert_cmpstr(plan->host_id, ==, expected);
    g_assert_cmpstr(plan->repository_id, ==, REPOSITORY);
}

static void expect_refused(World *world, ErrorCode code, const char *field, const char *text) {
    g_auto(Error) err = {0};
    g_autoptr(VmPlaces) places = vm_places_new(world->inventory, &world->request, &err);
    const VmPlanWorld *plan = NULL;
    g_assert_false(places && vm_places_next(places, 1, &plan, NULL, &err));
    g_assert_cmpint(err.code, ==, code);
    g_assert_cmpstr(err.field, ==, field);
    if (!strstr(err.message, text))
        g_error("\"%s\" does not say \"%s\"", err.message, text);
}

static Vm vm_on(const char *host) {
    Vm vm = {0};
    vm_set_id(&vm, "55555555-5555-4555-8555-555555555555");
    vm_set_name(&vm, "web");
    vm_set_host(&vm, host);
    return vm;
}

static void test_memory_decides_between_hosts_that_can(World *world, const void *data G_GNUC_UNUSED) {
    expect_host(world, LIGHT);
}

static void test_a_host_that_can_is_preferred(World *world, const void *data G_GNUC_UNUSED) {
    vm_create_set_firmware(&world->request, FIRMWARE_UEFI);
    expect_host(world, FULL);
    vm_create_set_firmware(&world->request, FIRMWARE_BIOS);
    vm_create_set_mode(&world->request, VM_MODE_HVM);
    expect_host(world, FULL);
}

static void test_without_one_that_can_the_best_one_tells_why(World *world, const void *data G_GNUC_UNUSED) {
    vm_create_set_mode(&world->request, VM_MODE_PV);
    expect_refused(world, ERROR_UNSUPPORTED, "/mode", "no host of the pool default can take web: full: ");
    vm_create_set_host(&world->request, LIGHT);
    expect_refused(world, ERROR_UNSUPPORTED, "/mode", "web cannot run on the host light");
}

/* Shared by all: what each sees of it decides. */
static void test_a_host_that_sees_the_repository_is_taken(World *world, const void *data G_GNUC_UNUSED) {
    g_auto(Repository) repository = {0};
    repository_set_id(&repository, "77777777-7777-4777-8777-777777777777");
    repository_set_name(&repository, "san");
    repository_set_kind(&repository, REPOSITORY_KIND_SHARED);
    repository_set_path(&repository, "/san");
    repository_set_pool(&repository, POOL);
    put(world, RESOURCE_REPOSITORY, &repository);
    g_auto(RepositoryStatus) told = {0};
    repository_status_set_state(&told, REPOSITORY_STATE_READY);
    repository_status_set_free(&told, UINT64_C(1) << 40);
    repository_take_view(world->inventory, repository.id, FULL, &told, NULL);
    repository_take_view(world->inventory, repository.id, LIGHT, NULL, "it is not mounted");
    const Repository *known = inventory_get(world->inventory, RESOURCE_REPOSITORY, repository.id)->data;
    g_assert_cmpint(known->status.state, ==, REPOSITORY_STATE_READY);
    g_assert_cmpstr(known->status.reason, ==, "on light: it is not mounted");
    g_assert_cmpstr(repository_worker(world->inventory, known), ==, FULL);
    vm_create_set_repository(&world->request, repository.id);
    g_auto(Error) err = {0};
    g_autoptr(VmPlaces) places = vm_places_new(world->inventory, &world->request, &err);
    const VmPlanWorld *plan = NULL;
    g_assert_true(vm_places_next(places, 1, &plan, NULL, &err));
    g_assert_cmpstr(plan->host_id, ==, FULL);
    vm_create_set_host(&world->request, LIGHT);
    expect_refused(world, ERROR_WRONG_STATE, "/repository", "san cannot be used: it is not mounted");
    repositories_forget_view(world->inventory, FULL);
    g_assert_cmpint(known->status.state, ==, REPOSITORY_STATE_FAILED);
    g_assert_cmpuint(known->status.hosts.n, ==, 1);
}

static void set_maintenance(World *world, const char *id) {
    g_auto(Host) host = {0};
    host_copy(&host, inventory_get(world->inventory, RESOURCE_HOST, id)->data);
    host_set_maintenance(&host, true);
    put(world, RESOURCE_HOST, &host);
}

static void test_a_host_in_maintenance_gets_nothing(World *world, const void *data G_GNUC_UNUSED) {
    g_auto(Vm) there = vm_on(LIGHT);
    g_auto(Error) err = {0};
    set_maintenance(world, LIGHT);
    expect_host(world, FULL);
    vm_create_set_host(&world->request, LIGHT);
    expect_refused(world, ERROR_WRONG_STATE, "/host", "is in maintenance");
    g_assert_false(vm_may_start(world->inventory, &there, &err));
    g_assert_cmpint(err.code, ==, ERROR_WRONG_STATE);
    g_assert_cmpstr(err.field, ==, "/host");
    vm_status_set_state(vm_put_status(&there), VM_STATE_RUNNING);
    g_assert_true(vm_may_start(world->inventory, &there, NULL));
}

/* Puts a VM with that tag there, which runs. */
static void add_neighbour(World *world, const char *host, const char *tag) {
    g_auto(Vm) vm = {0};
    vm_set_id(&vm, NEIGHBOUR);
    vm_set_name(&vm, "neighbour");
    vm_set_host(&vm, host);
    vm_add_tags(&vm, tag);
    put(world, RESOURCE_VM, &vm);
    Vm *now = inventory_runtime(world->inventory, RESOURCE_VM, NEIGHBOUR);
    vm_status_set_state(vm_put_status(now), VM_STATE_RUNNING);
    inventory_runtime_changed(world->inventory, RESOURCE_VM, NEIGHBOUR);
}

static void test_tags_keep_vms_together_and_apart(World *world, const void *data G_GNUC_UNUSED) {
    add_neighbour(world, LIGHT, "db");
    vm_create_add_anti_affinity(&world->request, "db");
    expect_host(world, FULL);
    vm_create_set_host(&world->request, LIGHT);
    expect_refused(world, ERROR_NO_CAPACITY, "/anti_affinity", "has a VM with the tag db");
    vm_create_clear(&world->request);
    vm_create_set_name(&world->request, "web");
    vm_create_add_affinity(&world->request, "db");
    expect_host(world, LIGHT);
    vm_create_set_host(&world->request, FULL);
    expect_refused(world, ERROR_NO_CAPACITY, "/affinity", "has no VM with the tag db");
}

static void test_no_vm_starts_beside_one_it_keeps_away_from(World *world, const void *data G_GNUC_UNUSED) {
    g_auto(Vm) here = vm_on(FULL), there = vm_on(LIGHT);
    g_auto(Error) err = {0};
    add_neighbour(world, LIGHT, "db");
    vm_add_anti_affinity(&here, "db");
    vm_add_anti_affinity(&there, "db");
    g_assert_true(vm_may_start(world->inventory, &here, NULL));
    g_assert_false(vm_may_start(world->inventory, &there, &err));
    g_assert_cmpstr(err.field, ==, "/anti_affinity");
    g_assert_nonnull(strstr(err.message, "a VM that has the tag db runs on the host light"));
    g_assert_null(strstr(err.message, "neighbour"));
}

/* A job that is to make such a VM there. */
static void add_plan(World *world, const char *host, const char *tag) {
    g_auto(Job) job = {0};
    job_set_id(&job, "77777777-7777-4777-8777-777777777777");
    job_set_kind(&job, "vm.create");
    job_set_state(&job, JOB_STATE_QUEUED);
    job_take_data(&job, json_pack("{s[{ss ss ss s[s]}]}", "vms", "id", NEIGHBOUR, "name", "neighbour", "host",
                            host, "tags", tag));
    put(world, RESOURCE_JOB, &job);
}

static void test_what_is_only_planned_counts(World *world, const void *data G_GNUC_UNUSED) {
    add_plan(world, LIGHT, "db");
    vm_create_add_anti_affinity(&world->request, "db");
    expect_host(world, FULL);
}

static void test_what_is_on_its_way_counts(World *world, const void *data G_GNUC_UNUSED) {
    Vm vm = vm_on(FULL);
    vm_set_memory(&vm, UINT64_C(7) << 30);
    put(world, RESOURCE_VM, &vm);
    g_auto(Job) job = {0};
    job_set_id(&job, "88888888-8888-4888-8888-888888888888");
    job_set_kind(&job, "vm.migrate");
    job_set_state(&job, JOB_STATE_RUNNING);
    job_set_target(&job, "vm/55555555-5555-4555-8555-555555555555");
    job_take_data(&job, json_pack("{ss sb}", "to", LIGHT, "is_stopped", 1));
    put(world, RESOURCE_JOB, &job);
    vm_create_set_memory(&world->request, UINT64_C(2) << 30);
    vm_create_set_start(&world->request, true);
    expect_host(world, LIGHT);
    job_set_id(&job, "99999999-9999-4999-8999-999999999999");
    job_take_data(&job, json_pack("{ss sb}", "to", LIGHT, "is_stopped", 0));
    put(world, RESOURCE_JOB, &job);
    expect_host(world, FULL);
    vm_clear(&vm);
}

static void test_the_reasons_are_told(World *world, const void *data G_GNUC_UNUSED) {
    g_autoptr(VmPlaces) places = NULL;
    g_autoptr(json_t) told = NULL;
    const VmPlanWorld *plan = NULL;
    set_maintenance(world, FULL);
    places = vm_places_new(world->inventory, &world->request, NULL);
    g_assert_true(vm_places_next(places, 1, &plan, &told, NULL));
    g_assert_cmpstr(json_text_at(told, "vm"), ==, "web");
    g_assert_cmpstr(json_text_at(told, "host"), ==, "light");
    g_assert_cmpstr(json_text_at(told, "repository"), ==, "main");
    g_assert_true(g_str_has_prefix(json_text_at(told, "reason"), "the only one that can take it"));
    g_assert_cmpstr(json_text_at(told, "refused.0.host"), ==, "full");
    g_assert_cmpstr(json_text_at(told, "refused.0.reason"), ==, "is in maintenance");
}

static void test_what_its_host_cannot_do_does_not_start(World *world, const void *data G_GNUC_UNUSED) {
    g_auto(Vm) here = vm_on(FULL), there = vm_on(LIGHT);
    g_auto(Error) err = {0};
    vm_set_firmware(&here, FIRMWARE_UEFI);
    vm_set_firmware(&there, FIRMWARE_UEFI);
    g_assert_true(vm_may_start(world->inventory, &here, NULL));
    g_assert_cmpstr(vm_mode_name(world->inventory, &here), ==, "hvm");
    g_assert_false(vm_may_start(world->inventory, &there, &err));
    g_assert_cmpint(err.code, ==, ERROR_UNSUPPORTED);
    g_assert_cmpstr(err.field, ==, "/firmware");
    g_assert_null(vm_mode_name(world->inventory, &there));
}

static void test_a_change_is_measured_by_what_was(World *world, const void *data G_GNUC_UNUSED) {
    g_auto(Vm) before = vm_on(LIGHT), after = vm_on(LIGHT);
    g_auto(Error) err = {0};
    vm_set_firmware(&after, FIRMWARE_UEFI);
    g_assert_false(vm_may_become(world->inventory, &before, &after, &err));
    g_assert_cmpstr(err.field, ==, "/firmware");
    g_assert_true(vm_may_become(world->inventory, &after, &after, NULL)); /* its host cannot run it anyway */
    g_assert_true(vm_may_become(world->inventory, &after, &before, NULL));
}

/* A bridge that only one of the hosts has. */
static void add_office(World *world) {
    g_auto(Network) network = {0};
    network_set_id(&network, OFFICE);
    network_set_name(&network, "office");
    network_set_pool(&network, POOL);
    network_set_kind(&network, NETWORK_KIND_BRIDGE);
    network_set_bridge(&network, "br0");
    put(world, RESOURCE_NETWORK, &network);
    Network *now = inventory_runtime(world->inventory, RESOURCE_NETWORK, OFFICE);
    NetworkStatus *status = network_put_status(now);
    static const char *const hosts[] = {"full", "light"};
    for (size_t i = 0; i < G_N_ELEMENTS(hosts); i++) {
        NetworkHost *row = network_status_add_hosts(status);
        network_host_set_host(row, hosts[i]);
        network_host_set_state(row, i ? NETWORK_STATE_FAILED : NETWORK_STATE_ACTIVE);
        network_host_set_reason(row, i ? "the bridge br0 does not exist" : NULL);
    }
    network_state_sum(status);
}

static void test_hosts_without_the_network_get_nothing(World *world, const void *data G_GNUC_UNUSED) {
    g_auto(Vm) vm = vm_on(FULL);
    g_auto(Error) err = {0};
    add_office(world);
    expect_host(world, LIGHT);
    vm_create_set_network(&world->request, OFFICE);
    expect_host(world, FULL);
    vm_create_set_host(&world->request, LIGHT);
    expect_refused(
        world, ERROR_CONFLICT, "/network", "lacks the network office: the bridge br0 does not exist");
    const Host *light = inventory_get(world->inventory, RESOURCE_HOST, LIGHT)->data,
               *full = inventory_get(world->inventory, RESOURCE_HOST, FULL)->data;
    g_assert_true(vm_networks_are_on(world->inventory, &vm, light, NULL));
    nic_set_network(vm_add_nics(&vm), OFFICE);
    g_assert_true(vm_networks_are_on(world->inventory, &vm, full, NULL));
    g_assert_false(vm_networks_are_on(world->inventory, &vm, light, &err));
    g_assert_cmpint(err.code, ==, ERROR_CONFLICT);
    g_assert_cmpstr(err.field, ==, "/to_host");
    g_assert_cmpstr(err.message, ==, "light lacks the network office: the bridge br0 does not exist");
}

static void test_each_host_is_told_its_own_bridge(
    World *world G_GNUC_UNUSED, const void *data G_GNUC_UNUSED) {
    g_auto(Network) network = {0};
    network_set_id(&network, OFFICE);
    network_set_bridge(&network, "br0");
    NetworkBridge *other = network_add_bridges(&network);
    network_bridge_set_host(other, FULL);
    network_bridge_set_bridge(other, "br1");
    g_autoptr(json_t) light = network_definition(&network, LIGHT), full = network_definition(&network, FULL);
    g_assert_cmpstr(json_text_at(light, "bridge"), ==, "br0");
    g_assert_cmpstr(json_text_at(full, "bridge"), ==, "br1");
    g_assert_null(json_object_get(full, "bridges"));
}

static const Host *tell_cpu(World *world, const char *id, const char *vendor, const char *names) {
    Host *host = inventory_runtime(world->inventory, RESOURCE_HOST, id);
    HostCpu *cpu = host_status_put_cpu(&host->status);
    g_auto(GStrv) words = g_strsplit(names, " ", -1);
    host_cpu_clear(cpu);
    host_cpu_set_vendor(cpu, vendor);
    for (char **word = words; *word; word++)
        host_cpu_add_feature_names(cpu, *word);
    return host;
}

static Vm running_on(const char *host, const char *acceleration, int64_t started) {
    Vm vm = vm_on(host);
    vm_status_set_state(vm_put_status(&vm), VM_STATE_RUNNING);
    vm_status_set_acceleration(&vm.status, acceleration);
    vm_status_set_started(&vm.status, started);
    return vm;
}

static void test_a_vm_keeps_the_processor_of_its_start(World *world, const void *data G_GNUC_UNUSED) {
    const Host *light = tell_cpu(world, LIGHT, "Intel", "aes avx2 avx512f"),
               *full = tell_cpu(world, FULL, "Intel", "aes avx2");
    g_auto(Vm) vm = running_on(LIGHT, "kvm", NS_PER_S), emulated = running_on(LIGHT, "emulation", NS_PER_S),
               old = running_on(FULL, "kvm", NS_PER_S);
    g_auto(Error) err = {0};
    g_assert_false(vm_cpu_is_on(world->inventory, &vm, full, &err));
    g_assert_cmpint(err.code, ==, ERROR_UNSUPPORTED);
    g_assert_cmpstr(err.field, ==, "/to_host");
    g_assert_cmpstr(err.message, ==, "the processor of full lacks what web was started with: avx512f");
    g_assert_true(vm_cpu_is_on(world->inventory, &emulated, full, NULL));
    /* There and back, as long as it was not started anew meanwhile. */
    g_assert_true(vm_cpu_is_on(world->inventory, &old, light, NULL));
    g_autoptr(json_t) origin = vm_cpu_origin(&old);
    vm_set_host(&old, LIGHT);
    vm_cpu_take_along(&old, origin);
    g_assert_true(vm_cpu_is_on(world->inventory, &old, full, NULL));
    g_autoptr(json_t) further = vm_cpu_origin(&old);
    g_assert_true(json_equal(origin, further));
    vm_status_set_started(&old.status, 2 * NS_PER_S);
    g_assert_false(vm_cpu_is_on(world->inventory, &old, full, NULL));
    tell_cpu(world, FULL, "AMD", "aes avx2 avx512f");
    error_clear(&err);
    g_assert_false(vm_cpu_is_on(world->inventory, &vm, full, &err));
    g_assert_nonnull(strstr(err.message, "a processor of Intel, and full has one of AMD"));
}

static void test_nothing_is_refused_for_what_nobody_told(World *world, const void *data G_GNUC_UNUSED) {
    const Host *full = inventory_get(world->inventory, RESOURCE_HOST, FULL)->data;
    g_auto(Vm) vm = running_on(LIGHT, "kvm", NS_PER_S), stopped = vm_on(LIGHT);
    g_autoptr(json_t) origin = vm_cpu_origin(&stopped);
    tell_cpu(world, LIGHT, "Intel", "aes");
    g_assert_true(vm_cpu_is_on(world->inventory, &vm, full, NULL));
    g_assert_true(json_is_null(origin));
    vm_cpu_take_along(&stopped, origin);
    g_assert_false(vm_has(&stopped, VM_FIELD_CPU_FROM));
}

/* As a start of it would be given it now, durable in the pool. */
static void give(World *world, Vm *vm, const char *model) {
    g_auto(CpuLevel) level = {0};
    bool is_less = vm_cpu_level(world->inventory, vm, &level);
    g_assert_cmpstr(is_less ? level.model : NULL, ==, model);
    InventoryChange *change = is_less ? vm_cpu_remember(world->inventory, vm, &level) : NULL;
    if (change)
        commit(world, change);
    g_assert_true(!is_less || !vm_cpu_remember(world->inventory, vm, &level));
    vm_status_set_cpu_level(&vm->status, is_less ? level.id : NULL);
}

static void test_a_vm_is_given_what_its_pool_has(World *world, const void *data G_GNUC_UNUSED) {
    tell_cpu(world, LIGHT, "Intel", "aes avx2 avx512f");
    const Host *full = tell_cpu(world, FULL, "Intel", "aes avx2");
    host_cpu_set_model((HostCpu *)(uintptr_t)&full->status.cpu, "Haswell");
    g_auto(Vm) vm = running_on(LIGHT, "kvm", NS_PER_S), old = running_on(FULL, "kvm", NS_PER_S);
    vm_set_pool(&vm, POOL);
    vm_set_pool(&old, POOL);
    give(world, &old, NULL);
    give(world, &vm, "Haswell");
    g_assert_true(vm_cpu_is_on(world->inventory, &vm, full, NULL));
    vm_set_cpu(&vm, GUEST_CPU_HOST);
    give(world, &vm, NULL);
    g_assert_false(vm_cpu_is_on(world->inventory, &vm, full, NULL));
    vm_set_cpu(&vm, GUEST_CPU_COMMON);
    give(world, &vm, "Haswell");
    /* What it was given stays; the host that comes later lacks some of it. */
    tell_cpu(world, FULL, "Intel", "aes");
    g_assert_false(vm_cpu_is_on(world->inventory, &vm, full, NULL));
    vm_status_set_cpu_level(&vm.status, "from elsewhere");
    g_assert_true(vm_cpu_is_on(world->inventory, &vm, full, NULL));
}

static void test_a_processor_is_known_while_its_host_is_away(World *world, const void *data G_GNUC_UNUSED) {
    tell_cpu(world, LIGHT, "Intel", "aes avx2");
    commit(world, host_cpu_remember(world->inventory, LIGHT));
    g_assert_null(host_cpu_remember(world->inventory, LIGHT));
    Host *light = inventory_runtime(world->inventory, RESOURCE_HOST, LIGHT);
    host_status_clear(host_put_status(light));
    host_status_set_state(&light->status, HOST_STATE_UNREACHABLE);
    g_assert_cmpuint(host_known_cpu(light)->feature_names.n, ==, 2);
    host_status_set_state(&light->status, HOST_STATE_CONNECTED); /* its guests are emulated now */
    g_assert_null(host_known_cpu(light));
    commit(world, host_cpu_remember(world->inventory, LIGHT));
    light = inventory_runtime(world->inventory, RESOURCE_HOST, LIGHT);
    g_assert_false(host_has(light, HOST_FIELD_CPU_SEEN));
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function) g_test_add("/vm-place/" name, World, NULL, set_up, function, tear_down)
    ADD("memory-decides", test_memory_decides_between_hosts_that_can);
    ADD("a-host-that-can-is-preferred", test_a_host_that_can_is_preferred);
    ADD("the-best-one-tells-why", test_without_one_that_can_the_best_one_tells_why);
    ADD("shared-repository", test_a_host_that_sees_the_repository_is_taken);
    ADD("maintenance", test_a_host_in_maintenance_gets_nothing);
    ADD("tags", test_tags_keep_vms_together_and_apart);
    ADD("start-beside", test_no_vm_starts_beside_one_it_keeps_away_from);
    ADD("planned", test_what_is_only_planned_counts);
    ADD("arriving", test_what_is_on_its_way_counts);
    ADD("reasons", test_the_reasons_are_told);
    ADD("networks", test_hosts_without_the_network_get_nothing);
    ADD("bridges", test_each_host_is_told_its_own_bridge);
    ADD("cpu", test_a_vm_keeps_the_processor_of_its_start);
    ADD("cpu-unknown", test_nothing_is_refused_for_what_nobody_told);
    ADD("cpu-common", test_a_vm_is_given_what_its_pool_has);
    ADD("cpu-away", test_a_processor_is_known_while_its_host_is_away);
    ADD("start", test_what_its_host_cannot_do_does_not_start);
    ADD("change", test_a_change_is_measured_by_what_was);
    return g_test_run();
}
