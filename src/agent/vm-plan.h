/*
 * From what the manager says of a VM to what the driver needs: paths of disks, seed, ISOs, kernel; the
 * command line; networks of NICs. Any thread; blocks for a moment.
 */
#pragma once
#include "hypervisor/hypervisor.h"

typedef struct VmPlan {
    HypervisorVm vm; /* borrows from the members below and from what the plan was made of */
    Vm definition;   /* the VM with the schema's defaults */
    HypervisorDisk *disks;
    HypervisorNic *nics;
    GPtrArray *texts;
} VmPlan;
void vm_plan_clear(VmPlan *plan);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VmPlan, vm_plan_clear)

/* Must outlive the plan. */
typedef struct VmPlanSource {
    const Vm *vm;
    const Repository *repository;
    const Repository *template_repository; /* where direct boot's files lie; NULL: the VM's */
    const Network *networks;
    size_t n_networks;
    const Iso *isos;
    size_t n_isos;
    Acceleration acceleration;
    const CpuLevel *cpu; /* of hypervisor.h */
} VmPlanSource;

/* ERROR_INVALID, ERROR_NOT_FOUND with the field ("/vm/nics/0/network"). On failure *ret_plan must be cleared
 * too. */
bool vm_plan_make(const VmPlanSource *source, VmPlan *ret_plan, Error *err);
/* Where its cloud-init medium lies in a repository, also in one of another host; borrowed from the plan. */
const char *vm_plan_seed_path(VmPlan *plan, const Repository *repository);
