#include "engine/power-saving.h"
#include <glib.h>
#include <string.h>

/* The world as it is after the moves so far; hosts are as large as they may be filled. */
typedef struct Pool {
    BalanceWorld world;
    BalanceHost *hosts;
    BalanceVm *vms;
    double most_load;
    const BalanceWorld *original;
} Pool;

static void pool_begin(Pool *self, const BalanceWorld *world, double most_load) {
    *self = (Pool){.world = *world, .most_load = most_load, .original = world};
    self->hosts = g_new0(BalanceHost, world->n_hosts + 1);
    self->vms = g_new0(BalanceVm, world->n_vms + 1);
    memcpy(self->hosts, world->hosts, world->n_hosts * sizeof *self->hosts);
    if (world->n_vms)
        memcpy(self->vms, world->vms, world->n_vms * sizeof *self->vms);
    for (size_t i = 0; i < world->n_hosts; i++)
        self->hosts[i].memory_bytes =
            MAX((uint64_t)((double)world->hosts[i].memory_bytes * most_load), UINT64_C(1));
    self->world.hosts = self->hosts;
    self->world.vms = self->vms;
}

static void pool_end(Pool *self) {
    g_free(self->hosts);
    g_free(self->vms);
}

static uint64_t used_on(const Pool *self, size_t host) {
    uint64_t used = 0;
    for (size_t i = 0; i < self->world.n_vms; i++)
        used += self->vms[i].host == host ? self->vms[i].memory_bytes : 0;
    return used;
}

static size_t vms_on(const Pool *self, size_t host) {
    size_t n = 0;
    for (size_t i = 0; i < self->world.n_vms; i++)
        n += self->vms[i].host == host;
    return n;
}

static size_t n_takers(const Pool *self) {
    size_t n = 0;
    for (size_t i = 0; i < self->world.n_hosts; i++)
        n += self->hosts[i].may_take;
    return n;
}

/* The one with the least in use that was not tried; SIZE_MAX: none. */
static size_t next_host(const Pool *self, const bool *is_tried) {
    size_t best = SIZE_MAX;
    uint64_t least = 0;
    for (size_t i = 0; i < self->world.n_hosts; i++) {
        if (is_tried[i] || !self->hosts[i].may_give || !self->hosts[i].may_take)
            continue;
        uint64_t used = used_on(self, i);
        if (best == SIZE_MAX || used < least) {
            best = i;
            least = used;
        }
    }
    return best;
}

static double load_of(const Pool *self, size_t host) {
    return (double)used_on(self, host) / (double)self->original->hosts[host].memory_bytes;
}

/* Parts of what there is, not of what may be filled. */
static void tell_true_loads(const Pool *self, BalancePlan *plan) {
    for (size_t i = 0; i < plan->n_moves; i++)
        for (size_t when = 0; when < 2; when++) {
            plan->moves[i].from_memory[when] *= self->most_load;
            plan->moves[i].to_memory[when] *= self->most_load;
        }
}

/* Whether all of its VMs can go; then they have. */
static bool empty(Pool *self, size_t host, Saving *ret_saving) {
    self->hosts[host].may_take = false;
    BalancePlan plan = balance_empty(&self->world, host);
    if (plan.n_moves < vms_on(self, host)) {
        balance_plan_clear(&plan);
        self->hosts[host].may_take = true;
        return false;
    }
    self->hosts[host].may_give = false;
    tell_true_loads(self, &plan);
    for (size_t i = 0; i < plan.n_moves; i++)
        self->vms[plan.moves[i].vm].host = plan.moves[i].to;
    *ret_saving = (Saving){.host = host, .plan = plan};
    for (size_t i = 0; i < plan.n_moves; i++)
        ret_saving->load = MAX(ret_saving->load, load_of(self, plan.moves[i].to));
    return true;
}

size_t power_saving(const BalanceWorld *world, const SavingRules *rules, Saving **ret_savings) {
    Pool pool;
    size_t n = 0, host;
    g_autofree bool *is_tried = g_new0(bool, world->n_hosts + 1);
    *ret_savings = g_new0(Saving, world->n_hosts + 1);
    pool_begin(&pool, world, rules->most_load);
    while (n < rules->most_hosts && n_takers(&pool) > 1 && (host = next_host(&pool, is_tried)) != SIZE_MAX) {
        is_tried[host] = true;
        n += empty(&pool, host, &(*ret_savings)[n]);
    }
    pool_end(&pool);
    return n;
}

void savings_free(Saving *savings, size_t n) {
    for (size_t i = 0; i < n; i++)
        balance_plan_clear(&savings[i].plan);
    g_free(savings);
}
