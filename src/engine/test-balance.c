/* Plans that even out: each move is the best one there is, breaks no rule, and a plan that was carried out is
 * followed by none. */
#include "engine/balance.h"
#include <glib.h>
#include <math.h>
#include <string.h>

#define GIB (UINT64_C(1) << 30)
enum { MOST_HOSTS = 12, MOST_VMS = 60 };

typedef struct World {
    BalanceHost hosts[MOST_HOSTS];
    BalanceVm vms[MOST_VMS];
    BalanceWorld world;
    int apart; /* VMs whose number leaves 0 when divided by it stay apart from each other; 0: none */
} World;

static bool stays_apart(size_t vm, size_t host, const size_t *places, void *data) {
    const World *self = data;
    for (size_t i = 0; self->apart && vm % (size_t)self->apart == 0 && i < self->world.n_vms;
         i += (size_t)self->apart)
        if (i != vm && places[i] == host)
            return false;
    return true;
}

static void world_init(World *self, size_t n_hosts, size_t n_vms) {
    memset(self, 0, sizeof *self);
    self->world = (BalanceWorld){self->hosts, n_hosts, self->vms, n_vms, stays_apart, self};
    for (size_t i = 0; i < n_hosts; i++)
        self->hosts[i] = (BalanceHost){
            .name = "host", .memory_bytes = 64 * GIB, .cpus = 16, .may_give = true, .may_take = true};
    for (size_t i = 0; i < n_vms; i++)
        self->vms[i] = (BalanceVm){.name = "vm", .memory_bytes = 4 * GIB, .cpus = 1, .may_move = true};
}

/* Some hosts are larger, some in maintenance, some VMs stay; nothing is overfull. */
static void world_random(World *self, GRand *random) {
    uint64_t used[MOST_HOSTS] = {0};
    world_init(self, (size_t)g_rand_int_range(random, 2, MOST_HOSTS + 1),
        (size_t)g_rand_int_range(random, 1, MOST_VMS + 1));
    self->apart = g_rand_int_range(random, 0, 8);
    for (size_t i = 0; i < self->world.n_hosts; i++) {
        self->hosts[i].memory_bytes = (uint64_t)g_rand_int_range(random, 256, 512) * GIB;
        self->hosts[i].cpus = g_rand_int_range(random, 8, 64);
        self->hosts[i].may_take = g_rand_int_range(random, 0, 8) != 0;
        self->hosts[i].may_give = g_rand_int_range(random, 0, 8) != 0;
    }
    for (size_t i = 0; i < self->world.n_vms; i++) {
        BalanceVm *vm = &self->vms[i];
        vm->host = (size_t)g_rand_int_range(random, 0, (int)self->world.n_hosts);
        vm->memory_bytes = (uint64_t)g_rand_int_range(random, 1, 16) * GIB;
        vm->cpus = g_rand_double_range(random, 0, 4);
        vm->may_move = g_rand_int_range(random, 0, 10) != 0;
        if (used[vm->host] + vm->memory_bytes > self->hosts[vm->host].memory_bytes)
            vm->memory_bytes = 1;
        used[vm->host] += vm->memory_bytes;
    }
}

static double spread_of(const World *self) {
    static const BalanceRules nothing = {.most_moves = 0};
    BalancePlan plan = balance(&self->world, &nothing);
    double spread = plan.spread_before;
    balance_plan_clear(&plan);
    return spread;
}

static bool is_allowed(const World *self, size_t vm, size_t to) {
    size_t places[MOST_VMS];
    uint64_t used = self->vms[vm].memory_bytes;
    for (size_t i = 0; i < self->world.n_vms; i++) {
        places[i] = self->vms[i].host;
        used += self->vms[i].host == to ? self->vms[i].memory_bytes : 0;
    }
    return self->vms[vm].may_move && self->hosts[self->vms[vm].host].may_give && self->hosts[to].may_take &&
           self->vms[vm].host != to && used <= self->hosts[to].memory_bytes &&
           stays_apart(vm, to, places, (void *)(uintptr_t)self);
}

static double best_spread(World *self) {
    double best = spread_of(self);
    for (size_t vm = 0; vm < self->world.n_vms; vm++)
        for (size_t to = 0; to < self->world.n_hosts; to++) {
            size_t from = self->vms[vm].host;
            if (!is_allowed(self, vm, to))
                continue;
            self->vms[vm].host = to;
            best = MIN(best, spread_of(self));
            self->vms[vm].host = from;
        }
    return best;
}

static void carry_out(World *self, const BalancePlan *plan, bool is_greedy) {
    for (size_t i = 0; i < plan->n_moves; i++) {
        const BalanceMove *move = &plan->moves[i];
        double best = is_greedy ? best_spread(self) : 0;
        g_assert_cmpuint(self->vms[move->vm].host, ==, move->from);
        g_assert_true(is_allowed(self, move->vm, move->to));
        self->vms[move->vm].host = move->to;
        if (is_greedy) {
            g_assert_cmpfloat_with_epsilon(move->spread, spread_of(self), 1e-9);
            g_assert_cmpfloat_with_epsilon(move->spread, best, 1e-9);
        }
    }
}

static void test_hosts_that_carry_alike_are_left_alone(void) {
    static const BalanceRules rules = {.most_moves = 100};
    World self;
    world_init(&self, 4, 40);
    for (size_t i = 0; i < 40; i++)
        self.vms[i].host = i % 4;
    BalancePlan plan = balance(&self.world, &rules);
    g_assert_cmpuint(plan.n_moves, ==, 0);
    g_assert_cmpfloat_with_epsilon(plan.spread_before, 0, 1e-12);
    balance_plan_clear(&plan);
}

static void test_a_new_host_gets_its_part(void) {
    static const BalanceRules rules = {.most_moves = 100};
    World self;
    world_init(&self, 4, 24);
    for (size_t i = 0; i < 24; i++)
        self.vms[i].host = i % 3;
    BalancePlan plan = balance(&self.world, &rules);
    g_assert_cmpuint(plan.n_moves, ==, 6);
    g_assert_cmpfloat_with_epsilon(plan.spread_after, 0, 1e-12);
    g_assert_cmpfloat_with_epsilon(plan.moves[0].from_memory[0], 0.5, 1e-12);
    g_assert_cmpfloat_with_epsilon(plan.moves[0].to_memory[1], 4.0 / 64, 1e-12);
    carry_out(&self, &plan, true);
    balance_plan_clear(&plan);
}

static void test_what_is_enough_is_not_bettered(void) {
    const BalanceRules rules = {.most_moves = 100, .enough = 0.1};
    World self;
    world_init(&self, 2, 16);
    for (size_t i = 0; i < 16; i++)
        self.vms[i].host = i < 12;
    BalancePlan plan = balance(&self.world, &rules);
    g_assert_cmpfloat(plan.spread_before, >, 0.1);
    g_assert_cmpfloat(plan.spread_after, <=, 0.1);
    g_assert_cmpfloat(plan.spread_after, >, 0);
    balance_plan_clear(&plan);
}

static void test_each_move_is_the_best_and_the_plan_ends(void) {
    static const BalanceRules rules = {.most_moves = 1000, .least_gain = 0.001};
    g_autoptr(GRand) random = g_rand_new_with_seed((guint32)g_test_rand_int());
    guint n_moves = 0;
    for (int i = 0; i < 60; i++) {
        World self;
        world_random(&self, random);
        BalancePlan plan = balance(&self.world, &rules);
        carry_out(&self, &plan, true);
        n_moves += (guint)plan.n_moves;
        balance_plan_clear(&plan);
        plan = balance(&self.world, &rules);
        g_assert_cmpuint(plan.n_moves, ==, 0);
        balance_plan_clear(&plan);
    }
    g_assert_cmpuint(n_moves, >, 200);
}

static void test_few_moves_are_the_first_of_many(void) {
    static const BalanceRules many = {.most_moves = 1000}, few = {.most_moves = 2};
    g_autoptr(GRand) random = g_rand_new_with_seed((guint32)g_test_rand_int());
    World self;
    world_random(&self, random);
    BalancePlan all = balance(&self.world, &many), some = balance(&self.world, &few);
    g_assert_cmpuint(some.n_moves, ==, MIN(all.n_moves, 2));
    for (size_t i = 0; i < some.n_moves; i++)
        g_assert_true(some.moves[i].vm == all.moves[i].vm && some.moves[i].to == all.moves[i].to);
    balance_plan_clear(&all);
    balance_plan_clear(&some);
}

static void test_a_host_is_emptied(void) {
    World self;
    world_init(&self, 3, 12);
    self.vms[3].may_move = false;
    self.vms[4].memory_bytes = 100 * GIB; /* fits nowhere */
    self.hosts[0].memory_bytes = 200 * GIB;
    for (size_t i = 8; i < 12; i++)
        self.vms[i].host = 1;
    BalancePlan plan = balance_empty(&self.world, 0);
    g_assert_cmpuint(plan.n_moves, ==, 6);
    carry_out(&self, &plan, false);
    size_t n[3] = {0};
    for (size_t i = 0; i < 12; i++)
        n[self.vms[i].host]++;
    g_assert_cmpuint(n[0], ==, 2);
    g_assert_cmpuint(n[1], ==, n[2]);
    balance_plan_clear(&plan);
}

static void test_nothing_to_do_is_no_trouble(void) {
    static const BalanceRules rules = {.most_moves = 10};
    World self;
    world_init(&self, 0, 0);
    BalancePlan plan = balance(&self.world, &rules);
    g_assert_cmpuint(plan.n_moves, ==, 0);
    balance_plan_clear(&plan);
    world_init(&self, 1, 3);
    plan = balance(&self.world, &rules);
    g_assert_cmpuint(plan.n_moves, ==, 0);
    balance_plan_clear(&plan);
    plan = balance_empty(&self.world, 0);
    g_assert_cmpuint(plan.n_moves, ==, 0);
    balance_plan_clear(&plan);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/balance/alike", test_hosts_that_carry_alike_are_left_alone);
    g_test_add_func("/balance/new-host", test_a_new_host_gets_its_part);
    g_test_add_func("/balance/enough", test_what_is_enough_is_not_bettered);
    g_test_add_func("/balance/best-moves", test_each_move_is_the_best_and_the_plan_ends);
    g_test_add_func("/balance/few-moves", test_few_moves_are_the_first_of_many);
    g_test_add_func("/balance/empty", test_a_host_is_emptied);
    g_test_add_func("/balance/nothing", test_nothing_to_do_is_no_trouble);
    return g_test_run();
}
