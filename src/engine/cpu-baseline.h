/*
 * What the processors of several hosts have in common: a guest that is started with no more can go to each of
 * them. Pure. Any thread.
 */
#pragma once
#include "types.h"

/* The features that all have, by name; the vendor when it is the same, and then the model of one that has
 * nothing beyond them. Empty when there are none. */
void cpu_baseline(const HostCpu *const *cpus, size_t n_cpus, HostCpu *ret_baseline);
/* What a guest that starts on `own` is given so that it can go to all of `cpus` (`own` among them) that have
 * its maker: the model of the one with the least beyond what they have in common, with every feature said to
 * be there or not. False, and nothing set, when `own` has nothing beyond that: then it is given all of it. */
bool cpu_level_for(const HostCpu *own, const HostCpu *const *cpus, size_t n_cpus, CpuLevel *ret_level);
/* As a processor. */
void cpu_of_level(const CpuLevel *level, HostCpu *ret_cpu);
/* Names of the features that the other one lacks, sorted, NULL-terminated, newly allocated. */
char **cpu_beyond(const HostCpu *cpu, const HostCpu *other);
/* "avx2, avx512f and 7 more". Newly allocated. */
char *cpu_names_text(char *const *names, size_t most);
