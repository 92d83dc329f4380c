/*
 * Which VMs to move so that the hosts of a pool carry alike. Pure: no I/O, no clock; the same world gives the
 * same plan. Any thread.
 *
 * The measure is the spread: the standard deviation of the hosts' loads around the pool's, of memory and of
 * CPUs together (0: all alike); each host counts alike. The best move comes first; a plan ends when no
 * move brings enough. Carried out and asked for again it is empty, so that VMs do not wander.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct BalanceHost {
    const char *name;
    uint64_t memory_bytes; /* for VMs: without what the host keeps for itself; at least 1 */
    double cpus;           /* more than 0 */
    bool may_give, may_take;
} BalanceHost;

typedef struct BalanceVm {
    const char *name;
    size_t host;           /* index of the one that it runs on */
    uint64_t memory_bytes; /* promised to it */
    double cpus;           /* that it keeps busy, over some minutes; 0 or more */
    bool may_move;
} BalanceVm;

typedef struct BalanceWorld {
    const BalanceHost *hosts;
    size_t n_hosts;
    const BalanceVm *vms;
    size_t n_vms;
    /* Whether that VM could run there, memory apart: CPU, networks, repositories, affinity. NULL: everywhere.
     * `places` has the host of each VM as the plan has it by then. */
    bool (*may_run)(size_t vm, size_t host, const size_t *places, void *data);
    void *data;
} BalanceWorld;

typedef struct BalanceRules {
    size_t most_moves;
    double least_gain; /* how much a move must lower the spread, in parts of 1; 0: 0.02 divided by the number
                          of hosts */
    double enough;     /* a spread that is good enough: nothing is moved below it */
} BalanceRules;

typedef struct BalanceMove {
    size_t vm, from, to;
    double spread; /* after it */
    /* Of both hosts, in parts of 1, before and after: why it is proposed. */
    double from_memory[2], to_memory[2], from_cpus[2], to_cpus[2];
} BalanceMove;

typedef struct BalancePlan {
    BalanceMove *moves; /* in the order in which they should be done */
    size_t n_moves;
    double spread_before, spread_after;
} BalancePlan;

BalancePlan balance(const BalanceWorld *world, const BalanceRules *rules);
void balance_plan_clear(BalancePlan *plan);

/* The moves that empty a host, each VM to where it does least harm; VMs that fit nowhere have no move. The
 * spread is that of the others. */
BalancePlan balance_empty(const BalanceWorld *world, size_t host);
