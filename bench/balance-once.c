/*
 * One plan of src/engine/balance for a world on standard input; used by bench/balance.
 *
 *   balance-once MOST_MOVES
 *
 * Input: "N_HOSTS N_VMS", then a line "MEMORY_MIB CPUS" for each host and "HOST MEMORY_MIB CPUS" for each VM.
 * Output: "SECONDS N_MOVES", then "VM TO" for each move.
 */
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "engine/balance.h"

#define MIB (UINT64_C(1) << 20)

static bool read_world(BalanceHost **ret_hosts, BalanceVm **ret_vms, BalanceWorld *ret_world) {
    size_t n_hosts = 0, n_vms = 0;
    if (scanf("%zu %zu", &n_hosts, &n_vms) != 2 || n_hosts < 1 || n_hosts > 100000 || n_vms > 10000000)
        return false;
    BalanceHost *hosts = *ret_hosts = g_new0(BalanceHost, n_hosts);
    BalanceVm *vms = *ret_vms = g_new0(BalanceVm, n_vms);
    uint64_t memory_mib = 0;
    for (size_t i = 0; i < n_hosts; i++) {
        if (scanf("%" SCNu64 " %lf", &memory_mib, &hosts[i].cpus) != 2)
            return false;
        hosts[i].name = "host";
        hosts[i].memory_bytes = memory_mib * MIB;
        hosts[i].may_give = hosts[i].may_take = true;
    }
    for (size_t i = 0; i < n_vms; i++) {
        if (scanf("%zu %" SCNu64 " %lf", &vms[i].host, &memory_mib, &vms[i].cpus) != 3 ||
            vms[i].host >= n_hosts)
            return false;
        vms[i].name = "vm";
        vms[i].memory_bytes = memory_mib * MIB;
        vms[i].may_move = true;
    }
    *ret_world = (BalanceWorld){.hosts = hosts, .n_hosts = n_hosts, .vms = vms, .n_vms = n_vms};
    return true;
}

int main(int argc, char **argv) {
    g_autofree BalanceHost *hosts = NULL;
    g_autofree BalanceVm *vms = NULL;
    BalanceWorld world;
    if (argc != 2 || !read_world(&hosts, &vms, &world)) {
        fprintf(stderr, "balance-once: the world is not understood\n");
        return 2;
    }
    const BalanceRules rules = {.most_moves = strtoul(argv[1], NULL, 10)};
    gint64 begun_us = g_get_monotonic_time();
    BalancePlan plan = balance(&world, &rules);
    printf("%.4f %zu\n", (double)(g_get_monotonic_time() - begun_us) / G_USEC_PER_SEC, plan.n_moves);
    for (size_t i = 0; i < plan.n_moves; i++)
        printf("%zu %zu\n", plan.moves[i].vm, plan.moves[i].to);
    balance_plan_clear(&plan);
    return 0;
}
