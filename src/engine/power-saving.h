/*
 * Which hosts of a pool could be switched off: emptied one after the other, the one with the least memory in
 * use first, while all of its VMs fit on the others. Pure: no I/O, no clock. Any thread.
 */
#pragma once
#include "engine/balance.h"

typedef struct SavingRules {
    size_t most_hosts;
    double most_load; /* how much of its memory a host that stays may promise, in parts of 1 */
} SavingRules;

typedef struct Saving {
    size_t host;
    BalancePlan plan; /* the moves that empty it, after those of the hosts before it */
    double load;      /* of the fullest host that takes one of them, afterwards; 0: nothing moves */
} Saving;

/* In the order in which they should be emptied; *ret_savings is to be freed by savings_free. One host that
 * takes VMs stays at least. */
size_t power_saving(const BalanceWorld *world, const SavingRules *rules, Saving **ret_savings);
void savings_free(Saving *savings, size_t n);
