/* Proves what keeps a VM from a host, what makes a host the better one, and that the reasons are told. */
#include "engine/placement.h"
#include <glib.h>
#include <string.h>

#define GIB (UINT64_C(1) << 30)
#define NAMES(...) \
    ((PlacementNames){(const char *const[]){__VA_ARGS__}, G_N_ELEMENTS(((const char *const[]){__VA_ARGS__}))})

enum { MOST_HOSTS = 1000, MOST_VMS = 1000, N_PLACED = 1000 };

typedef struct World {
    PlacementHost *hosts;
    PlacementRepository *repositories;
    PlacementVm *vms;
    GPtrArray *names;
    PlacementWorld world;
    PlacementRequest request;
} World;

static const char *name_of(World *self, const char *prefix, size_t i) {
    char *name = g_strdup_printf("%s-%04zu", prefix, i + 1);
    g_ptr_array_add(self->names, name);
    return name;
}

/* Hosts alike, each with a repository of its own. */
static void world_init(World *self, size_t n_hosts) {
    *self = (World){.names = g_ptr_array_new_with_free_func(g_free)};
    self->hosts = g_new0(PlacementHost, n_hosts);
    self->repositories = g_new0(PlacementRepository, n_hosts);
    self->vms = g_new0(PlacementVm, MOST_VMS);
    for (size_t i = 0; i < n_hosts; i++) {
        self->hosts[i] = (PlacementHost){.name = name_of(self, "node", i),
            .is_candidate = true,
            .memory_bytes = 64 * GIB,
            .cpus = 16,
            .vcpus_limit = 32};
        self->repositories[i] = (PlacementRepository){
            .name = name_of(self, "disks", i), .is_candidate = true, .host = i, .free_bytes = 100 * GIB};
    }
    self->world = (PlacementWorld){self->hosts, n_hosts, self->repositories, n_hosts, self->vms, 0};
    self->request = (PlacementRequest){.memory_bytes = 3 * GIB, .vcpus = 1, .vcpus_maximum = 1};
}

static void world_clear(World *self) {
    g_free(self->hosts);
    g_free(self->repositories);
    g_free(self->vms);
    g_ptr_array_unref(self->names);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

static void add_vm(World *self, size_t host, PlacementNames tags, PlacementNames anti_affinity) {
    self->vms[self->world.n_vms++] = (PlacementVm){host, tags, anti_affinity};
}

/* With plain spaces: GLib puts others between numbers and units. */
static char *plain(char *take_text) {
    g_auto(GStrv) parts = g_strsplit(take_text, "\u00a0", -1);
    g_free(take_text);
    return g_strjoinv(" ", parts);
}

static void expect_place(const World *self, size_t host, const char *reason) {
    Placement *placement = placement_new(&self->world, &self->request);
    const PlacementCandidate *choice = placement_look(placement);
    g_assert_nonnull(choice);
    g_assert_cmpuint(choice->host, ==, host);
    g_autofree char *told = plain(placement_reason(placement, choice));
    if (!g_str_has_prefix(told, reason))
        g_error("the reason is \"%s\", not \"%s\"", told, reason);
    placement_free(placement);
}

/* Of two hosts the first cannot take the VM; alone it is refused. */
static void expect_refusal(World *self, PlacementVerdict verdict, const char *reason) {
    expect_place(self, 1, "the only one that can take it");
    self->hosts[1].is_candidate = false;
    Placement *placement = placement_new(&self->world, &self->request);
    g_assert_null(placement_look(placement));
    const PlacementCandidate *closest = placement_closest(placement);
    g_assert_cmpuint(closest->host, ==, 0);
    g_assert_cmpint(closest->verdict, ==, verdict);
    g_autofree char *all = plain(placement_refusals(placement, 5));
    g_autofree char *expected = g_strdup_printf("node-0001: %s", reason);
    g_assert_cmpstr(all, ==, expected);
    placement_free(placement);
}

/* ---- filters ---- */

static void test_hosts_out_of_reach(void) {
    g_auto(World) world;
    world_init(&world, 2);
    world.hosts[0].away = "is unreachable";
    expect_refusal(&world, PLACEMENT_AWAY, "is unreachable");
}

static void test_maintenance(void) {
    g_auto(World) world;
    world_init(&world, 2);
    world.hosts[0].is_in_maintenance = true;
    expect_refusal(&world, PLACEMENT_IN_MAINTENANCE, "is in maintenance");
}

static void test_memory_counts_for_vms_that_start(void) {
    g_auto(World) world;
    world_init(&world, 2);
    world.hosts[0].reserve_bytes = 2 * GIB;
    world.hosts[0].promised_bytes = 60 * GIB;
    world.request.starts = true;
    expect_refusal(&world, PLACEMENT_FULL, "has 2.0 GiB of memory left, 3.0 GiB needed");
    world.request.starts = false;
    expect_place(&world, 0, "no other choice");
    world.request.starts = true;
    world.hosts[0].promised_bytes = 59 * GIB;
    expect_place(&world, 0, "no other choice");
    world.hosts[0].promised_bytes = 99 * GIB;
    world.hosts[0].memory_bytes = 0; /* not known */
    expect_place(&world, 0, "no other choice");
}

static void test_cpus(void) {
    g_auto(World) world;
    world_init(&world, 2);
    world.request.vcpus_maximum = 32;
    world.hosts[0].vcpus_limit = 31;
    expect_refusal(&world, PLACEMENT_FEW_CPUS, "one VM can have 31 vCPUs there, not 32");
}

static void test_networks(void) {
    g_auto(World) world;
    world_init(&world, 2);
    world.request.networks = NAMES("lan", "db");
    world.hosts[0].networks = NAMES("lan", "dmz");
    world.hosts[1].networks = NAMES("db", "lan");
    expect_refusal(&world, PLACEMENT_NO_NETWORK, "lacks the network db");
}

/* Of other networks nobody asks. */
static void test_networks_that_a_host_should_have(void) {
    g_auto(World) world;
    static const PlacementLack lacks[] = {
        {1, "dmz", "the bridge br9 does not exist"}, {0, "db", "the bridge br0 does not exist"}};
    world_init(&world, 2);
    world.request.networks = NAMES("lan", "db");
    world.hosts[0].networks = world.hosts[1].networks = NAMES("lan", "db", "dmz");
    world.world.lacks = lacks;
    world.world.n_lacks = G_N_ELEMENTS(lacks);
    expect_refusal(&world, PLACEMENT_NO_NETWORK, "lacks the network db: the bridge br0 does not exist");
}

static void test_what_the_mode_cannot_do(void) {
    g_auto(World) world;
    world_init(&world, 2);
    world.hosts[0].cannot = "the mode pvh has no UEFI firmware";
    expect_refusal(&world, PLACEMENT_CANNOT, "the mode pvh has no UEFI firmware");
}

static void test_a_host_without_repository(void) {
    g_auto(World) world;
    world_init(&world, 2);
    world.repositories[0].is_candidate = false;
    expect_refusal(&world, PLACEMENT_NO_REPOSITORY, "has no repository");
}

static void test_repositories_that_are_not_ready(void) {
    g_auto(World) world;
    world_init(&world, 2);
    world.repositories[0].unready = "cannot be used: no such folder";
    expect_refusal(&world, PLACEMENT_UNREADY, "the repository disks-0001 cannot be used: no such folder");
}

static void test_repositories_that_one_host_does_not_see(void) {
    g_auto(World) world;
    world_init(&world, 2);
    const char *const unready_on[] = {"cannot be used: it is not mounted", NULL};
    world.repositories[0] = (PlacementRepository){.name = "san",
        .is_candidate = true,
        .host = PLACEMENT_NONE,
        .free_bytes = GIB,
        .unready_on = unready_on};
    world.world.n_repositories = 1;
    expect_refusal(&world, PLACEMENT_UNREADY, "the repository san cannot be used: it is not mounted");
}

static void test_repositories_that_lack_something(void) {
    g_auto(World) world;
    world_init(&world, 2);
    world.repositories[0].lacks = "lacks the ISO netinst";
    expect_refusal(&world, PLACEMENT_LACKS, "the repository disks-0001 lacks the ISO netinst");
}

static void test_room(void) {
    g_auto(World) world;
    world_init(&world, 2);
    world.request.disk_bytes = 10 * GIB;
    world.repositories[0].free_bytes = 9 * GIB;
    expect_refusal(&world, PLACEMENT_NO_ROOM, "the repository disks-0001 has 9.0 GiB left, 10.0 GiB needed");
    world.repositories[0].free_bytes = PLACEMENT_UNKNOWN_BYTES;
    expect_place(&world, 0, "no other choice");
}

static void test_affinity(void) {
    g_auto(World) world;
    world_init(&world, 2);
    world.request.affinity = NAMES("db", "cache");
    expect_place(&world, 0, "the first of those alike"); /* there is none yet */
    add_vm(&world, 1, NAMES("web", "cache"), (PlacementNames){0});
    expect_refusal(&world, PLACEMENT_NOT_BESIDE, "has no VM with one of the tags db, cache");
}

static void test_anti_affinity(void) {
    g_auto(World) world;
    world_init(&world, 2);
    world.request.anti_affinity = NAMES("db");
    add_vm(&world, 0, NAMES("web", "db"), (PlacementNames){0});
    add_vm(&world, 1, NAMES("web"), (PlacementNames){0});
    expect_refusal(&world, PLACEMENT_BESIDE, "has a VM with the tag db");
}

static void test_anti_affinity_holds_both_ways(void) {
    g_auto(World) world;
    world_init(&world, 2);
    world.request.tags = NAMES("db");
    add_vm(&world, 0, (PlacementNames){0}, NAMES("db"));
    expect_refusal(&world, PLACEMENT_BESIDE, "has a VM that keeps away from the tag db");
}

/* ---- scores ---- */

static void test_memory_decides(void) {
    g_auto(World) world;
    world_init(&world, 3);
    world.hosts[0].assigned_bytes = 20 * GIB;
    world.hosts[2].assigned_bytes = 10 * GIB;
    expect_place(&world, 1, "most free memory (61.0 GiB of 64.0 GiB after it)");
    world.hosts[1].assigned_bytes = 30 * GIB;
    expect_place(&world, 2, "most free memory (51.0 GiB of 64.0 GiB after it)");
    world.hosts[2].reserve_bytes = 11 * GIB;
    expect_place(&world, 0, "most free memory (41.0 GiB of 64.0 GiB after it)");
}

static void test_vcpus_decide(void) {
    g_auto(World) world;
    world_init(&world, 3);
    world.hosts[0].vcpus_assigned = 12;
    world.hosts[1].vcpus_assigned = 8;
    world.hosts[2].vcpus_assigned = 7;
    expect_place(&world, 2, "fewest vCPUs for each CPU (0.5 after it)");
    world.hosts[0].cpus = 64;
    expect_place(&world, 0, "fewest vCPUs for each CPU (0.2 after it)");
}

static void test_room_decides(void) {
    g_auto(World) world;
    world_init(&world, 2);
    world.repositories[0].free_bytes = 50 * GIB;
    expect_place(&world, 1, "most room in its repository (100.0 GiB)");
}

static void test_names_decide_between_equals(void) {
    g_auto(World) world;
    world_init(&world, 3);
    world.hosts[1].name = "a-node";
    expect_place(&world, 1, "the first of those alike");
    PlacementRepository shared[] = {{.name = "b", .is_candidate = true, .host = PLACEMENT_NONE},
        {.name = "a", .is_candidate = true, .host = PLACEMENT_NONE}};
    world.world.repositories = shared;
    world.world.n_repositories = G_N_ELEMENTS(shared);
    Placement *placement = placement_new(&world.world, &world.request);
    g_assert_cmpuint(placement_look(placement)->repository, ==, 1);
    placement_free(placement);
}

/* ---- batches ---- */

/* How many of a batch each host gets; the last VMs fit nowhere when fewer are placed than asked for. */
static size_t place_batch(const World *self, size_t n, size_t *ret_counts) {
    Placement *placement = placement_new(&self->world, &self->request);
    size_t placed = 0;
    const PlacementCandidate *choice = NULL;
    memset(ret_counts, 0, self->world.n_hosts * sizeof *ret_counts);
    while (placed < n && (choice = placement_look(placement)) != NULL) {
        ret_counts[choice->host]++;
        placement_take(placement, choice);
        placed++;
    }
    placement_free(placement);
    return placed;
}

static void test_a_batch_spreads(void) {
    g_auto(World) world;
    size_t counts[3];
    world_init(&world, 3);
    world.request.memory_bytes = GIB / 16;
    world.hosts[1].assigned_bytes = GIB;
    g_assert_cmpuint(place_batch(&world, 9, counts), ==, 9);
    for (size_t i = 0; i < 3; i++)
        g_assert_cmpuint(counts[i], ==, 3);
    world.hosts[2].memory_bytes = 4 * GIB; /* a small one gets less */
    g_assert_cmpuint(place_batch(&world, 20, counts), ==, 20);
    g_assert_cmpuint(counts[2], <, 3);
}

static void test_a_batch_ends_where_hosts_are_full(void) {
    g_auto(World) world;
    size_t counts[2];
    world_init(&world, 2);
    world.request.starts = true;
    world.request.memory_bytes = 20 * GIB;
    world.hosts[1].promised_bytes = world.hosts[1].assigned_bytes = 40 * GIB;
    g_assert_cmpuint(place_batch(&world, 9, counts), ==, 4);
    g_assert_cmpuint(counts[0], ==, 3);
    g_assert_cmpuint(counts[1], ==, 1);
}

static void test_a_batch_keeps_apart_or_together(void) {
    g_auto(World) world;
    size_t counts[3];
    world_init(&world, 3);
    world.request.tags = world.request.anti_affinity = NAMES("web");
    g_assert_cmpuint(place_batch(&world, 9, counts), ==, 3);
    world.request.anti_affinity = (PlacementNames){0};
    world.request.affinity = NAMES("web");
    g_assert_cmpuint(place_batch(&world, 9, counts), ==, 9);
    g_assert_cmpuint(counts[0], ==, 9);
    world.request.tags = world.request.affinity = (PlacementNames){0};
    world.request.stays_together = true;
    g_assert_cmpuint(place_batch(&world, 9, counts), ==, 9);
    g_assert_cmpuint(counts[0], ==, 9);
}

static void test_few_refusals_stand_for_many(void) {
    g_auto(World) world;
    world_init(&world, 9);
    for (size_t i = 0; i < 9; i++)
        world.hosts[i].is_in_maintenance = true;
    Placement *placement = placement_new(&world.world, &world.request);
    g_assert_null(placement_look(placement));
    g_autofree char *text = placement_refusals(placement, 2);
    g_assert_cmpstr(text, ==, "node-0001: is in maintenance; node-0002: is in maintenance; and 7 more");
    placement_free(placement);
}

/* Each look is linear in the hosts, whatever runs on them: a million of looks at a host, no more. */
static void test_a_thousand_vms_on_a_thousand_hosts(void) {
    g_auto(World) world;
    g_autofree size_t *counts = g_new0(size_t, MOST_HOSTS);
    world_init(&world, MOST_HOSTS);
    world.request.tags = world.request.anti_affinity = NAMES("new");
    PlacementNames tags = NAMES("old", "web", "db"), anti_affinity = NAMES("elsewhere");
    for (size_t i = 0; i < MOST_VMS; i++)
        add_vm(&world, i * 7 % MOST_HOSTS, tags, anti_affinity);
    g_assert_cmpuint(place_batch(&world, N_PLACED, counts), ==, N_PLACED);
    for (size_t i = 0; i < MOST_HOSTS; i++)
        g_assert_cmpuint(counts[i], ==, 1);
    g_assert_cmpuint(place_batch(&world, N_PLACED + 1, counts), ==, N_PLACED);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function) g_test_add_func("/placement/" name, function)
    ADD("away", test_hosts_out_of_reach);
    ADD("maintenance", test_maintenance);
    ADD("memory", test_memory_counts_for_vms_that_start);
    ADD("cpus", test_cpus);
    ADD("networks", test_networks);
    ADD("lacks-network", test_networks_that_a_host_should_have);
    ADD("mode", test_what_the_mode_cannot_do);
    ADD("no-repository", test_a_host_without_repository);
    ADD("unready", test_repositories_that_are_not_ready);
    ADD("unready-on-one", test_repositories_that_one_host_does_not_see);
    ADD("lacks", test_repositories_that_lack_something);
    ADD("room", test_room);
    ADD("affinity", test_affinity);
    ADD("anti-affinity", test_anti_affinity);
    ADD("both-ways", test_anti_affinity_holds_both_ways);
    ADD("memory-decides", test_memory_decides);
    ADD("vcpus-decide", test_vcpus_decide);
    ADD("room-decides", test_room_decides);
    ADD("names-decide", test_names_decide_between_equals);
    ADD("batch-spreads", test_a_batch_spreads);
    ADD("batch-ends", test_a_batch_ends_where_hosts_are_full);
    ADD("batch-tags", test_a_batch_keeps_apart_or_together);
    ADD("few-refusals", test_few_refusals_stand_for_many);
    ADD("thousands", test_a_thousand_vms_on_a_thousand_hosts);
    return g_test_run();
}
