/* Everything is a hash of the seed and a number. */
#include "world.h"
#include <string.h>
#include "base/clock.h"
#include "model/abilities.h"

#define GIB (UINT64_C(1) << 30)
#define MIB (UINT64_C(1) << 20)
/* 2026-01-01, when all of it was made. */
#define MADE_NS (INT64_C(1767225600) * NS_PER_S)

enum { RUNNING_PERCENT = 80, HOST_CPUS = 64, HOST_GIB = 1024, VCPUS_LIMIT = 288, FREE_STEPS = 64 };
enum { SECOND_DISK_EVERY = 4, SECOND_NIC_EVERY = 8, ADDRESS_LENGTH = 32 };

/* What a number is drawn for. */
typedef enum Kind { KIND_HOST, KIND_VM, KIND_DISK, KIND_NIC, KIND_REPOSITORY, KIND_NETWORK, KIND_BOOT } Kind;

typedef struct Guest {
    int64_t started_ns; /* 0: it was not started since our start */
    uint64_t memory;
    VmState state;
} Guest;

struct World {
    int n_hosts, n_vms;
    uint32_t seed;
    Guest *guests; /* of host 0, then of host 1 … */
    int *beats;    /* of each host */
    GRand *random;
};

/* ---- numbers ---- */

/* Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (2014). */
static uint64_t mix(uint64_t value) {
    value += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

static uint64_t draw(const World *world, Kind kind, int host, int number) {
    uint64_t place = mix(((uint64_t)world->seed << 8) | (uint64_t)kind);
    return mix(place ^ mix(((uint64_t)(uint32_t)host << 32) | (uint32_t)number));
}

/* Those of one host and kind are in the order of their numbers (RFC 9562, version 8: of one's own making). */
static char *make_id(const World *world, Kind kind, int host, int number) {
    uint64_t hash = draw(world, kind, host, -1);
    return g_strdup_printf("%08x-%04x-8%03x-8%03x-%012x", (unsigned)(hash >> 32),
        (unsigned)(hash >> 16 & 0xffff), (unsigned)(hash >> 4 & 0xfff), (unsigned)kind, (unsigned)number);
}

static Guest *guest_of(const World *world, int host, int vm) {
    g_assert(host >= 0 && host < world->n_hosts && vm >= 0 && vm < world->n_vms);
    return &world->guests[(size_t)host * (size_t)world->n_vms + (size_t)vm];
}

static uint64_t memory_of(const World *world, int host, int vm) {
    return (512 * MIB) << draw(world, KIND_VM, host, vm) % 5;
}

static int64_t vcpus_of(const World *world, int host, int vm) {
    return INT64_C(1) << (draw(world, KIND_VM, host, vm) >> 8) % 4;
}

/* ---- life ---- */

World *world_new(int n_hosts, int n_vms, uint32_t seed) {
    World *world = g_new0(World, 1);
    *world = (World){.n_hosts = n_hosts, .n_vms = n_vms, .seed = seed, .random = g_rand_new_with_seed(seed)};
    world->guests = g_new0(Guest, (size_t)n_hosts * (size_t)n_vms);
    world->beats = g_new0(int, (size_t)n_hosts);
    for (int host = 0; host < n_hosts; host++)
        for (int vm = 0; vm < n_vms; vm++) {
            bool runs = (draw(world, KIND_VM, host, vm) >> 16) % 100 < RUNNING_PERCENT;
            *guest_of(world, host, vm) = (Guest){
                .memory = memory_of(world, host, vm), .state = runs ? VM_STATE_RUNNING : VM_STATE_STOPPED};
        }
    return world;
}

void world_free(World *world) {
    if (!world)
        return;
    g_rand_free(world->random);
    g_free(world->guests);
    g_free(world->beats);
    g_free(world);
}

int world_hosts(const World *world) {
    return world->n_hosts;
}

int world_vms(const World *world) {
    return world->n_vms;
}

/* ---- definitions ---- */

char *world_host_id(const World *world, int host) {
    return make_id(world, KIND_HOST, host, 0);
}

char *world_host_name(int host) {
    return g_strdup_printf("fleet-%05d", host);
}

void world_fill_network(const World *world, Network *network) {
    g_autofree char *id = make_id(world, KIND_NETWORK, 0, 0);
    network_set_id(network, id);
    network_set_name(network, "fleet");
    network_set_revision(network, 1);
    network_set_epoch(network, 1);
    network_set_created(network, MADE_NS);
    network_set_updated(network, MADE_NS);
    network_set_kind(network, NETWORK_KIND_BRIDGE);
    network_set_bridge(network, "br0");
}

void world_fill_repository(const World *world, int host, Repository *repository) {
    g_autofree char *id = make_id(world, KIND_REPOSITORY, host, 0);
    g_autofree char *name = g_strdup_printf("disks-%05d", host);
    repository_set_id(repository, id);
    repository_set_name(repository, name);
    repository_set_revision(repository, 1);
    repository_set_epoch(repository, 1);
    repository_set_created(repository, MADE_NS);
    repository_set_updated(repository, MADE_NS);
    repository_set_kind(repository, REPOSITORY_KIND_DIR);
    repository_set_path(repository, "/srv/fake");
}

void world_fill_repository_status(const World *world, RepositoryStatus *status) {
    uint64_t size = (uint64_t)MAX(world->n_vms, 1) * 128 * GIB;
    repository_status_set_state(status, REPOSITORY_STATE_READY);
    repository_status_set_size(status, size);
    repository_status_set_free(status, size / 2);
    repository_status_set_reflink(status, true);
    repository_status_set_file_system(status, "xfs");
}

static char *mac_of(const World *world, int host, int vm, int nic) {
    unsigned number = (unsigned)vm * 2 + (unsigned)nic;
    return g_strdup_printf("02:%02x:%02x:%02x:%02x:%02x", (unsigned)mix(world->seed) & 0xff,
        (unsigned)host >> 8, (unsigned)host & 0xff, number >> 8, number & 0xff);
}

static int nics_of(int vm) {
    return vm % SECOND_NIC_EVERY == 0 ? 2 : 1;
}

static void add_disk(const World *world, int host, int vm, int number, Vm *ret_vm) {
    g_autofree char *id = make_id(world, KIND_DISK, host, vm * 2 + number);
    g_autofree char *name = g_strdup_printf("disk%d", number);
    Disk *disk = vm_add_disks(ret_vm);
    disk_set_id(disk, id);
    disk_set_name(disk, name);
    disk_set_size(disk, (4 * GIB) << draw(world, KIND_DISK, host, vm * 2 + number) % 5);
    disk_set_format(disk, DISK_FORMAT_QCOW2);
    disk_set_bus(disk, DISK_BUS_VIRTIO);
}

static void add_nic(const World *world, int host, int vm, int number, Vm *ret_vm) {
    g_autofree char *id = make_id(world, KIND_NIC, host, vm * 2 + number);
    g_autofree char *name = g_strdup_printf("nic%d", number);
    g_autofree char *network = make_id(world, KIND_NETWORK, 0, 0);
    g_autofree char *mac = mac_of(world, host, vm, number);
    Nic *nic = vm_add_nics(ret_vm);
    nic_set_id(nic, id);
    nic_set_name(nic, name);
    nic_set_network(nic, network);
    nic_set_mac(nic, mac);
    nic_set_model(nic, NIC_MODEL_VIRTIO);
}

void world_fill_vm(const World *world, int host, int vm, Vm *ret_vm) {
    static const char *const tags[] = {"web", "db", "build", "mail"};
    g_autofree char *id = make_id(world, KIND_VM, host, vm);
    g_autofree char *name = g_strdup_printf("vm-%05d-%05d", host, vm);
    vm_set_id(ret_vm, id);
    vm_set_name(ret_vm, name);
    vm_add_tags(ret_vm, tags[(draw(world, KIND_VM, host, vm) >> 24) % G_N_ELEMENTS(tags)]);
    vm_set_revision(ret_vm, 1);
    vm_set_epoch(ret_vm, 1);
    vm_set_created(ret_vm, MADE_NS);
    vm_set_updated(ret_vm, MADE_NS);
    vm_set_vcpus(ret_vm, vcpus_of(world, host, vm));
    vm_set_memory(ret_vm, memory_of(world, host, vm));
    vm_set_guest_os(ret_vm, "debian12");
    for (int i = 0; i < (vm % SECOND_DISK_EVERY == 0 ? 2 : 1); i++)
        add_disk(world, host, vm, i, ret_vm);
    for (int i = 0; i < nics_of(vm); i++)
        add_nic(world, host, vm, i, ret_vm);
    model_apply_defaults(&vm_type, ret_vm);
}

/* ---- states ---- */

/* From the block for benchmarks (RFC 2544), which no real network routes; they repeat. */
static void add_address(const World *world, int host, int vm, int nic, VmStatus *status) {
    uint64_t hash = draw(world, KIND_NIC, host, vm * 2 + nic);
    g_autofree char *text = g_strdup_printf(
        "198.%u.%u.%u", 18 + (unsigned)(hash >> 16 & 1), (unsigned)(hash >> 8 & 255), (unsigned)(hash & 255));
    g_autofree char *mac = mac_of(world, host, vm, nic);
    Address *address = vm_status_add_addresses(status);
    address_set_address(address, text);
    address_set_mac(address, mac);
    address_set_source(address, ADDRESS_SOURCE_AGENT);
}

void world_fill_vm_state(const World *world, int host, int vm, AgentVmState *ret_state) {
    const Guest *guest = guest_of(world, host, vm);
    g_autofree char *id = make_id(world, KIND_VM, host, vm);
    g_autofree char *name = g_strdup_printf("fleet-%s", id);
    VmStatus *status = agent_vm_state_put_status(ret_state);
    agent_vm_state_set_id(ret_state, id);
    agent_vm_state_set_name(ret_state, name);
    agent_vm_state_set_managed(ret_state, true);
    vm_status_set_state(status, guest->state);
    if (guest->state == VM_STATE_STOPPED)
        return;
    for (int i = 0; i < nics_of(vm); i++)
        add_address(world, host, vm, i, status);
    vm_status_set_vcpus_online(status, vcpus_of(world, host, vm));
    vm_status_set_memory_actual(status, guest->memory);
    vm_status_set_started(status, guest->started_ns ? guest->started_ns : MADE_NS);
    vm_status_set_acceleration(status, "kvm");
    vm_status_set_mode(status, VM_MODE_HVM);
    vm_status_set_agent(status, "7.2.0");
}

static void add_hardware(const World *world, int host, HostStatus *status) {
    host_status_set_machine(status, "Fake Systems F1000");
    host_status_set_firmware(status, "UEFI Fake Systems 1.0 01/01/2026");
    for (int i = 0; i < 2; i++) {
        g_autofree char *name = g_strdup_printf("eth%d", i);
        uint64_t hash = draw(world, KIND_HOST, host, i);
        g_autofree char *mac = g_strdup_printf("06:00:%02x:%02x:%02x:%02x", (unsigned)(hash & 255),
            (unsigned)(hash >> 8 & 255), (unsigned)(hash >> 16 & 255), (unsigned)(hash >> 24 & 255));
        HostNic *nic = host_status_add_nics(status);
        host_nic_set_name(nic, name);
        host_nic_set_mac(nic, mac);
        host_nic_set_link(nic, true);
        host_nic_set_speed(nic, 25000);
        host_nic_set_module(nic, "mlx5_core");
        g_autofree char *disk_name = g_strdup_printf("nvme%dn1", i);
        HostDisk *disk = host_status_add_disks(status);
        host_disk_set_name(disk, disk_name);
        host_disk_set_size(disk, 3840 * GIB);
        host_disk_set_model(disk, "Fake NVMe");
        host_disk_set_rotational(disk, false);
    }
}

void world_fill_host(const World *world, int host, HostStatus *status) {
    g_autofree char *name = world_host_name(host);
    g_autofree char *boot = make_id(world, KIND_BOOT, host, 0);
    uint64_t used = (uint64_t)(world->beats[host] % FREE_STEPS) * 4 * MIB;
    int64_t n_running = 0;
    for (int vm = 0; vm < world->n_vms; vm++)
        if (guest_of(world, host, vm)->state != VM_STATE_STOPPED) {
            n_running++;
            used += guest_of(world, host, vm)->memory;
        }
    host_status_set_state(status, HOST_STATE_CONNECTED);
    host_status_set_driver(status, HYPERVISOR_DRIVER_FAKE);
    host_status_set_agent_version(status, LODGE_VERSION);
    host_status_set_hostname(status, name);
    host_status_set_kernel(status, "6.1.0-fake-amd64");
    host_status_set_boot_id(status, boot);
    host_status_set_operating_system(status, "Debian GNU/Linux 12 (bookworm)");
    host_status_set_hypervisor(status, "fake");
    host_status_set_acceleration(status, "kvm");
    host_status_set_acceleration_reason(status, "nothing runs here");
    host_status_set_cpus(status, HOST_CPUS);
    host_status_set_cpu_model(status, "Fake CPU");
    host_status_set_memory(status, HOST_GIB * GIB);
    host_status_set_memory_free(status, HOST_GIB * GIB - MIN(used, HOST_GIB * GIB));
    host_status_set_vms_running(status, n_running);
    host_status_set_vcpus_limit(status, VCPUS_LIMIT);
    host_status_set_modules_state(status, MODULES_STATE_OPEN);
    abilities_report("fake", status);
    add_hardware(world, host, status);
}

int world_find(const World *world, int host, const char *vm_id) {
    const char *last = vm_id ? strrchr(vm_id, '-') : NULL;
    guint64 number = 0;
    if (!last ||
        !g_ascii_string_to_unsigned(last + 1, 16, 0, (guint64)MAX(world->n_vms - 1, 0), &number, NULL))
        return -1;
    g_autofree char *id = make_id(world, KIND_VM, host, (int)number);
    return strcmp(id, vm_id) == 0 && (int)number < world->n_vms ? (int)number : -1;
}

VmState world_state(const World *world, int host, int vm) {
    return guest_of(world, host, vm)->state;
}

void world_set_state(World *world, int host, int vm, VmState state) {
    Guest *guest = guest_of(world, host, vm);
    if (guest->state == VM_STATE_STOPPED && state != VM_STATE_STOPPED)
        guest->started_ns = clock_realtime_ns(clock_system());
    guest->state = state;
}

void world_beat(World *world, int host, int n, GArray *changed) {
    world->beats[host]++;
    for (int i = 0; i < n && world->n_vms > 0; i++) {
        int vm = g_rand_int_range(world->random, 0, world->n_vms);
        bool runs = world_state(world, host, vm) != VM_STATE_STOPPED;
        world_set_state(world, host, vm, runs ? VM_STATE_STOPPED : VM_STATE_RUNNING);
        g_array_append_val(changed, vm);
    }
}
