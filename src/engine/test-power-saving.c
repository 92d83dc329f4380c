/* Hosts that are to be switched off: their VMs fit on the others, which are not filled beyond what is
 * allowed. */
#include "engine/power-saving.h"
#include <glib.h>
#include <string.h>

#define GIB (UINT64_C(1) << 30)
enum { MOST_HOSTS = 16, MOST_VMS = 64 };

typedef struct World {
    BalanceHost hosts[MOST_HOSTS];
    BalanceVm vms[MOST_VMS];
    BalanceWorld world;
} World;

/* Hosts of 64 GiB with `per_host` VMs of 4 GiB each, one less on each host than on the one before it. */
static void world_init(World *self, size_t n_hosts, size_t per_host) {
    memset(self, 0, sizeof *self);
    self->world = (BalanceWorld){.hosts = self->hosts, .n_hosts = n_hosts, .vms = self->vms};
    for (size_t i = 0; i < n_hosts; i++) {
        self->hosts[i] = (BalanceHost){
            .name = "host", .memory_bytes = 64 * GIB, .cpus = 16, .may_give = true, .may_take = true};
        for (size_t k = i; k < per_host; k++)
            self->vms[self->world.n_vms++] =
                (BalanceVm){.name = "vm", .host = i, .memory_bytes = 4 * GIB, .may_move = true};
    }
}

static void expect(const World *self, SavingRules rules, const char *expected) {
    Saving *savings = NULL;
    size_t n = power_saving(&self->world, &rules, &savings);
    g_autoptr(GString) told = g_string_new(NULL);
    for (size_t i = 0; i < n; i++)
        g_string_append_printf(
            told, "%zu(%zu,%.0f%%) ", savings[i].host, savings[i].plan.n_moves, savings[i].load * 100);
    g_assert_cmpstr(told->str, ==, expected);
    savings_free(savings, n);
}

static void test_the_emptiest_goes_first(void) {
    World world;
    world_init(&world, 4, 4); /* 4, 3, 2, 1 VMs: 16, 12, 8, 4 of 64 GiB */
    expect(&world, (SavingRules){1, 0.8}, "3(1,19%) ");
    expect(&world, (SavingRules){10, 0.8}, "3(1,19%) 1(3,31%) 0(5,62%) ");
    expect(&world, (SavingRules){10, 0.5}, "3(1,19%) 1(3,31%) ");
    expect(&world, (SavingRules){0, 0.8}, "");
}

static void test_what_cannot_move_keeps_its_host(void) {
    World world;
    world_init(&world, 3, 3);
    world.vms[5].may_move = false; /* the only one of the last host */
    expect(&world, (SavingRules){10, 0.8}, "1(2,19%) 0(3,38%) ");
    world.hosts[1].may_take = false; /* in maintenance */
    expect(&world, (SavingRules){10, 0.8}, "0(3,25%) ");
}

static void test_the_last_host_stays(void) {
    World world;
    world_init(&world, 1, 0);
    expect(&world, (SavingRules){10, 1}, "");
    world_init(&world, 2, 0);
    expect(&world, (SavingRules){10, 1}, "0(0,0%) ");
}

/* Whatever the world: no host that stays is beyond the limit because of it, and each VM of a host that goes
 * has one move. */
static void test_any_world(void) {
    GRand *random = g_rand_new_with_seed(20);
    for (int round = 0; round < 500; round++) {
        World world;
        Saving *savings = NULL;
        world_init(&world, (size_t)g_rand_int_range(random, 1, MOST_HOSTS), 0);
        world.world.n_vms = (size_t)g_rand_int_range(random, 0, MOST_VMS);
        for (size_t i = 0; i < world.world.n_vms; i++)
            world.vms[i] = (BalanceVm){.name = "vm",
                .host = (size_t)g_rand_int_range(random, 0, (int)world.world.n_hosts),
                .memory_bytes = (uint64_t)g_rand_int_range(random, 1, 20) * GIB,
                .may_move = g_rand_int_range(random, 0, 8) != 0};
        double most = g_rand_double_range(random, 0.3, 1);
        size_t n = power_saving(&world.world, &(SavingRules){5, most}, &savings);
        size_t places[MOST_VMS];
        bool is_empty[MOST_HOSTS] = {false};
        for (size_t i = 0; i < world.world.n_vms; i++)
            places[i] = world.vms[i].host;
        for (size_t i = 0; i < n; i++) {
            for (size_t k = 0; k < savings[i].plan.n_moves; k++) {
                const BalanceMove *move = &savings[i].plan.moves[k];
                g_assert_cmpuint(places[move->vm], ==, savings[i].host);
                g_assert_true(world.vms[move->vm].may_move && !is_empty[move->to]);
                places[move->vm] = move->to;
            }
            is_empty[savings[i].host] = true;
            g_assert_cmpfloat(savings[i].load, <=, most + 1e-9);
            for (size_t vm = 0; vm < world.world.n_vms; vm++)
                g_assert_cmpuint(places[vm], !=, savings[i].host);
        }
        savings_free(savings, n);
    }
    g_rand_free(random);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/power-saving/emptiest-first", test_the_emptiest_goes_first);
    g_test_add_func("/power-saving/cannot-move", test_what_cannot_move_keeps_its_host);
    g_test_add_func("/power-saving/last-stays", test_the_last_host_stays);
    g_test_add_func("/power-saving/any-world", test_any_world);
    return g_test_run();
}
