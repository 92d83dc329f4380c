/*
 * What there is on the fake hosts: ids, names, MACs and sizes follow from a seed, so that each start has the
 * same ones; nothing of it is stored. What the VMs do is kept in memory only: after a start it is again what
 * the seed says. VMs are numbered in the order of their ids. Main loop only.
 */
#pragma once
#include "model/method.h"

enum { WORLD_MOST_HOSTS = 10000, WORLD_MOST_VMS = 10000 };

typedef struct World World;
World *world_new(int n_hosts, int n_vms, uint32_t seed);
void world_free(World *world); /* accepts NULL */

int world_hosts(const World *world);
int world_vms(const World *world); /* of each host */

/* Newly allocated. */
char *world_host_id(const World *world, int host);
char *world_host_name(int host);

/* All have one bridge. */
void world_fill_network(const World *world, Network *network);
void world_fill_repository(const World *world, int host, Repository *repository);
void world_fill_repository_status(const World *world, RepositoryStatus *status);
void world_fill_vm(const World *world, int host, int vm, Vm *ret_vm);
void world_fill_vm_state(const World *world, int host, int vm, AgentVmState *ret_state);
void world_fill_host(const World *world, int host, HostStatus *status);

/* -1: no such VM. */
int world_find(const World *world, int host, const char *vm_id);
VmState world_state(const World *world, int host, int vm);
void world_set_state(World *world, int host, int vm, VmState state);
/* What changes without anybody's asking: another figure of free memory, and `n` VMs that stop or start, their
 * numbers behind those in `changed` (int). */
void world_beat(World *world, int host, int n, GArray *changed);
