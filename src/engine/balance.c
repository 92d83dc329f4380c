/*
 * Greedy, one move after the other. For each VM the best move is kept; after a move only the two hosts that
 * it touched are looked at again, and a kept move whose target has changed counts as the most that the VM
 * could gain until it is looked at.
 */
#include "engine/balance.h"
#include <glib.h>
#include <math.h>

/* Of one host; a move touches two of many. */
#define DEFAULT_LEAST_GAIN 0.02
#define NOWHERE SIZE_MAX

typedef struct Load {
    double memory, cpus; /* in use, in the units of the world */
} Load;

typedef struct Best {
    size_t target; /* NOWHERE: none */
    double gain;   /* by how much the square of the spread falls; the most it could when stale */
    bool is_stale;
} Best;

typedef struct Balance {
    const BalanceWorld *world;
    size_t *places;    /* of each VM */
    Load *loads;       /* of each host */
    size_t n_counting; /* hosts */
    Load total, mean;  /* what all of them have; the pool's load in parts of 1 */
    double square;     /* of the spread */
    Best *bests;
    size_t left_out; /* a host that does not count; NOWHERE: none */
} Balance;

static bool counts(const Balance *self, size_t host) {
    return host != self->left_out && (self->world->hosts[host].may_give || self->world->hosts[host].may_take);
}

/* What a host with that load adds to the square of the spread: half for memory, half for CPUs. */
static double share(const Balance *self, size_t host, double memory, double cpus) {
    const BalanceHost *own = &self->world->hosts[host];
    double off_memory = memory / (double)own->memory_bytes - self->mean.memory,
           off_cpus = cpus / own->cpus - self->mean.cpus;
    return (off_memory * off_memory + off_cpus * off_cpus) / 2 / (double)self->n_counting;
}

static double share_now(const Balance *self, size_t host) {
    return counts(self, host) ? share(self, host, self->loads[host].memory, self->loads[host].cpus) : 0;
}

/* By how much the share falls when the VM goes (sign -1) or comes (+1). */
static double relief(const Balance *self, size_t host, const BalanceVm *vm, double sign) {
    const Load *load = &self->loads[host];
    if (!counts(self, host))
        return 0;
    return share_now(self, host) -
           share(self, host, load->memory + sign * (double)vm->memory_bytes, load->cpus + sign * vm->cpus);
}

static void balance_begin(Balance *self, const BalanceWorld *world, size_t left_out) {
    *self = (Balance){.world = world, .left_out = left_out};
    self->places = g_new(size_t, world->n_vms);
    self->loads = g_new0(Load, world->n_hosts);
    self->bests = g_new0(Best, world->n_vms);
    Load used = {0};
    for (size_t i = 0; i < world->n_vms; i++) {
        const BalanceVm *vm = &world->vms[i];
        self->places[i] = vm->host;
        self->loads[vm->host].memory += (double)vm->memory_bytes;
        self->loads[vm->host].cpus += vm->cpus;
    }
    for (size_t i = 0; i < world->n_hosts; i++) {
        if (counts(self, i)) {
            self->n_counting++;
            self->total.memory += (double)world->hosts[i].memory_bytes;
            self->total.cpus += world->hosts[i].cpus;
        }
        if (counts(self, i) || i == left_out) { /* what is to leave counts as there */
            used.memory += self->loads[i].memory;
            used.cpus += self->loads[i].cpus;
        }
    }
    if (self->total.memory > 0)
        self->mean = (Load){used.memory / self->total.memory, used.cpus / self->total.cpus};
    for (size_t i = 0; i < world->n_hosts; i++)
        self->square += share_now(self, i);
}

static void balance_end(Balance *self) {
    g_free(self->places);
    g_free(self->loads);
    g_free(self->bests);
}

static double spread(const Balance *self) {
    return sqrt(MAX(self->square, 0));
}

/* ---- which move is the best ---- */

static bool fits(const Balance *self, size_t vm, size_t host) {
    const BalanceWorld *world = self->world;
    return counts(self, host) && world->hosts[host].may_take && host != self->places[vm] &&
           self->loads[host].memory + (double)world->vms[vm].memory_bytes <=
               (double)world->hosts[host].memory_bytes &&
           (!world->may_run || world->may_run(vm, host, self->places, world->data));
}

static void offer(Best *best, size_t target, double gain) {
    if (best->target == NOWHERE || gain > best->gain) {
        best->target = target;
        best->gain = gain;
    }
}

static bool may_leave(const Balance *self, size_t vm) {
    return self->world->vms[vm].may_move && self->world->hosts[self->places[vm]].may_give;
}

static void look(Balance *self, size_t vm) {
    const BalanceVm *own = &self->world->vms[vm];
    Best *best = &self->bests[vm];
    *best = (Best){.target = NOWHERE};
    if (!may_leave(self, vm))
        return;
    double leaves = relief(self, self->places[vm], own, -1);
    for (size_t host = 0; host < self->world->n_hosts; host++) {
        if (best->target != NOWHERE && leaves + relief(self, host, own, 1) <= best->gain)
            continue;
        if (fits(self, vm, host))
            offer(best, host, leaves + relief(self, host, own, 1));
    }
}

/* Two hosts have changed: one has become a better target, the other a worse one, and both for what runs
 * there. */
static void look_after_move(Balance *self, size_t from, size_t to) {
    for (size_t vm = 0; vm < self->world->n_vms; vm++) {
        Best *best = &self->bests[vm];
        const BalanceVm *own = &self->world->vms[vm];
        if (self->places[vm] == from || self->places[vm] == to) {
            look(self, vm);
            continue;
        }
        if (!may_leave(self, vm))
            continue;
        best->is_stale = best->is_stale || best->target == to || best->target == from;
        double gain = relief(self, self->places[vm], own, -1) + relief(self, from, own, 1);
        if ((best->target == NOWHERE || gain > best->gain) && fits(self, vm, from))
            *best = (Best){.target = from, .gain = gain}; /* more than all others could bring */
    }
}

static size_t best_vm(Balance *self) {
    for (;;) {
        size_t found = NOWHERE;
        for (size_t vm = 0; vm < self->world->n_vms; vm++) {
            const Best *best = &self->bests[vm];
            if (best->target != NOWHERE && (found == NOWHERE || best->gain > self->bests[found].gain))
                found = vm;
        }
        if (found == NOWHERE || !self->bests[found].is_stale)
            return found;
        look(self, found);
    }
}

/* ---- moving ---- */

static double part_of_memory(const Balance *self, size_t host) {
    return self->loads[host].memory / (double)self->world->hosts[host].memory_bytes;
}

static double part_of_cpus(const Balance *self, size_t host) {
    return self->loads[host].cpus / self->world->hosts[host].cpus;
}

static void note_loads(const Balance *self, BalanceMove *move, int after) {
    move->from_memory[after] = part_of_memory(self, move->from);
    move->to_memory[after] = part_of_memory(self, move->to);
    move->from_cpus[after] = part_of_cpus(self, move->from);
    move->to_cpus[after] = part_of_cpus(self, move->to);
}

static void move_vm(Balance *self, size_t vm, size_t to, GArray *moves) {
    const BalanceVm *own = &self->world->vms[vm];
    BalanceMove move = {.vm = vm, .from = self->places[vm], .to = to};
    Load *from_load = &self->loads[move.from], *to_load = &self->loads[to];
    note_loads(self, &move, 0);
    self->square -= relief(self, move.from, own, -1) + relief(self, to, own, 1);
    from_load->memory -= (double)own->memory_bytes;
    from_load->cpus -= own->cpus;
    to_load->memory += (double)own->memory_bytes;
    to_load->cpus += own->cpus;
    self->places[vm] = to;
    note_loads(self, &move, 1);
    move.spread = spread(self);
    g_array_append_val(moves, move);
}

static BalancePlan plan_of(Balance *self, GArray *take_moves, double before) {
    BalancePlan plan = {.n_moves = take_moves->len, .spread_before = before, .spread_after = spread(self)};
    plan.moves = (BalanceMove *)(void *)g_array_free(take_moves, FALSE);
    balance_end(self);
    return plan;
}

BalancePlan balance(const BalanceWorld *world, const BalanceRules *rules) {
    Balance self;
    GArray *moves = g_array_new(FALSE, FALSE, sizeof(BalanceMove));
    balance_begin(&self, world, NOWHERE);
    double least =
        rules->least_gain > 0 ? rules->least_gain : DEFAULT_LEAST_GAIN / (double)MAX(self.n_counting, 1);
    double before = spread(&self);
    for (size_t vm = 0; vm < world->n_vms; vm++)
        look(&self, vm);
    while (moves->len < rules->most_moves && spread(&self) > rules->enough) {
        size_t vm = best_vm(&self);
        if (vm == NOWHERE)
            break;
        Best best = self.bests[vm];
        size_t from = self.places[vm];
        if (spread(&self) - sqrt(MAX(self.square - best.gain, 0)) < least)
            break;
        move_vm(&self, vm, best.target, moves);
        look_after_move(&self, from, best.target);
    }
    return plan_of(&self, moves, before);
}

/* The largest first: small ones find a place in what is left. */
static int by_memory(const void *one, const void *other, void *data) {
    const BalanceVm *vms = data;
    uint64_t a = vms[*(const size_t *)one].memory_bytes, b = vms[*(const size_t *)other].memory_bytes;
    return a < b ? 1 : a > b ? -1 : 0;
}

BalancePlan balance_empty(const BalanceWorld *world, size_t host) {
    Balance self;
    GArray *moves = g_array_new(FALSE, FALSE, sizeof(BalanceMove));
    g_autoptr(GArray) leaving = g_array_new(FALSE, FALSE, sizeof(size_t));
    balance_begin(&self, world, host);
    double before = spread(&self);
    for (size_t vm = 0; vm < world->n_vms; vm++)
        if (self.places[vm] == host && world->vms[vm].may_move)
            g_array_append_val(leaving, vm);
    g_array_sort_with_data(leaving, by_memory, (void *)(uintptr_t)world->vms);
    for (guint i = 0; i < leaving->len; i++) {
        size_t vm = g_array_index(leaving, size_t, i);
        Best best = {.target = NOWHERE};
        for (size_t target = 0; target < world->n_hosts; target++)
            if (fits(&self, vm, target))
                offer(&best, target, relief(&self, target, &world->vms[vm], 1));
        if (best.target != NOWHERE)
            move_vm(&self, vm, best.target, moves);
    }
    return plan_of(&self, moves, before);
}

void balance_plan_clear(BalancePlan *plan) {
    g_free(plan->moves);
    *plan = (BalancePlan){0};
}
