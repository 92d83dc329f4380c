/*
 * From what a user asks for to complete definitions. Pure: no I/O, no clock; ids and MACs come from the given
 * generator. Any thread.
 */
#pragma once
#include "model/model.h"
#include "types.h"

typedef struct VmPlanWorld {
    const Template *source; /* NULL: an empty VM */
    const char *pool_id, *host_id, *repository_id, *default_network_id;
    const char *mac_prefix; /* "52:54:00" */
    bool (*is_mac_taken)(const char *mac, void *data);
    char *(*new_id)(void *data); /* a UUID, newly allocated */
    void *data;
} VmPlanWorld;

/* The name of the i-th of n (from 1): `{n}` in the pattern is replaced, else "-i" is added when there are
 * several. */
char *vm_plan_name(const char *pattern, int64_t i, int64_t n);
/* A free MAC below a prefix of three bytes. ERROR_NO_CAPACITY when none is found. */
bool vm_plan_mac(const char *prefix, bool (*is_taken)(const char *mac, void *data), void *data, GRand *random,
    char **ret_mac, Error *err);
/* The i-th VM that the request asks for; `random` makes MACs. ERROR_INVALID names the field. */
bool vm_plan(
    const VmCreate *request, const VmPlanWorld *world, int64_t i, GRand *random, Vm *ret_vm, Error *err);
/* Whether the host could run it: ERROR_UNSUPPORTED (vCPUs, what its mode cannot do), ERROR_NO_CAPACITY
 * (memory, only when it is to be started: what the host has less its reserve and what is promised to other
 * VMs, in bytes). True as long as nothing is known of the host. */
bool vm_fits(const Vm *vm, const Host *host, bool starts, uint64_t promised, Error *err);
/* The same for a VM that was planned from that template (may be NULL): errors name the field of the request.
 * Whether a template boots a kernel directly is only known once it is built. */
bool vm_plan_fits(
    const Vm *vm, const Template *source, const Host *host, bool starts, uint64_t promised, Error *err);
